"""Partitions worked on in a Ray cluster: docs/ray.md."""
