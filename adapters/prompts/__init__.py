"""Prompt learners: adapters that learn context vectors beside class names, through a text tower."""
