"""Pairs of a build found by texts, pictures or other pairs: over those that were kept and those that were not."""
