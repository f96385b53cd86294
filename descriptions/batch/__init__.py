"""Batches of requests to chat endpoints."""
