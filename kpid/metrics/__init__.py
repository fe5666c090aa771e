"""Canonical tables to measurements: plan, compile, measure, keep history."""
