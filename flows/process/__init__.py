"""Processes that a command runs beside itself, and how they and it end."""
