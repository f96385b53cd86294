"""Addresses of pictures that need no download, as a pair's `url` has them."""

LOCAL_ADDRESS = "^(?:sha256|features):(?P<hash>[0-9a-f]{64})$"
"""By the sha256 of a picture's bytes, or the hash of its features where only these are there."""
