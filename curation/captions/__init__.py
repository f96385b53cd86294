"""Captions for a picture: candidates, what speaks for and against each, and which is chosen."""
