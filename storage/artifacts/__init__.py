"""Artifacts that are made of builds and have a name: fitted adapters, refined encoders, indices of features."""
