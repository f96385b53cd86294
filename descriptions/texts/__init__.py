"""Texts of a model's replies: read, checked, grounded in WordNet."""
