"""The steps and how they run: read from storage, make one domain call, write. Prefect is known here and in flows."""

if __name__ != "evenly.tasks":
    raise ImportError(
        f"this package is `evenly.tasks`; it was imported as `{__name__}`. Install evenly, then import that."
    )
