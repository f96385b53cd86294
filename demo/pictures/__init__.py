"""Pictures of the demo's web and of small data sets beside it."""
