"""WHEN things run: one file per deployment, which only orders tasks; the `evenly` command; recipes."""

if __name__ != "evenly.flows":
    raise ImportError(
        f"this package is `evenly.flows`; it was imported as `{__name__}`. Install evenly, then import that."
    )
