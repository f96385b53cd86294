"""Requests to language models as stored: replies, batches, money."""
