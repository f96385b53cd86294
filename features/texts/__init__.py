"""Texts as an encoder reads them: how many tokens they take, and what becomes of those that are too long."""
