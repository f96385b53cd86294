"""Captions for a picture: candidates, their scores and flags, and the choice among them."""
