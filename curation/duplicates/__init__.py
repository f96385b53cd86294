"""Duplicate pictures, captions and records."""
