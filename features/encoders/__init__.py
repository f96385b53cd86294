"""Encoders of this machine: which there are, and how fast."""
