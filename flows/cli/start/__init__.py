"""Commands that start: demo, init, check, serve."""
