"""Encoders refined over the kept pairs of a build: which pairs, the step, what it changed."""
