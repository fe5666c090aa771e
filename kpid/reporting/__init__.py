"""Measurements to reports: assemble, draw, render, publish."""
