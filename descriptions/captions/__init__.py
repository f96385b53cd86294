"""Captions by chat models: questions about a picture, its texts or its tags, and the captions in replies."""
