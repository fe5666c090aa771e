"""Measurements to alerts: judge, keep state, say who hears of it."""
