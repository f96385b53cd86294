"""Fitting and probing adapters on the features of a build."""
