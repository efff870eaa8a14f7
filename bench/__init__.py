"""Measurements and acceptance checks; nothing here is installed."""
