"""Pools of image-text pairs in every form that people have them."""
