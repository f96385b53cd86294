"""Measures on test rows. Nothing here chooses a value."""
