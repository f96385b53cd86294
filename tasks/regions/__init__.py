"""Regions of pictures: dense rows through the store, the search of a method, and its step."""
