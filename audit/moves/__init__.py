"""Moves of pairs between two builds: which pairs, by which difference of the builds, and what came of it."""
