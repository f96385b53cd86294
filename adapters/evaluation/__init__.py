"""Honest evaluation: measures, intervals, experiments. Nothing here chooses a value, but `experiment` by validation."""
