"""WHEN things run: one file per deployment, which only orders tasks; the `evenly` command; recipes."""
