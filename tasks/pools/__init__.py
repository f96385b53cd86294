"""Matching and balancing of whole pools, without a rebuild."""
