"""Concept lists, and which of their entries a caption names."""
