"""Encoders refined over pairs of a build: small residual heads on frozen rows, trained by an objective."""
