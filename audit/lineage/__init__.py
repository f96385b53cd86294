"""Lineage of what a workspace holds: of what each thing was made, and what was made of it, by what was recorded."""
