"""HOW each step runs: read from storage, make one domain call, write. All that is Prefect's is here and in flows."""

if __name__ != "evenly.tasks":
    raise ImportError(
        f"this package is `evenly.tasks`; it was imported as `{__name__}`. Install evenly, then import that."
    )
