"""Regions of pictures as a step of curation."""
