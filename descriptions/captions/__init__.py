"""Captions by chat models: what is asked about a picture, its texts or its tags, and what of a reply is a caption."""
