"""Captions of a build: the candidates of a pair, and what came of each captioner."""
