"""Balancing of head and tail (MetaCLIP), and of sources."""
