"""Storage of everything on disk: sample table, ledger, builds, features, requests, and collecting from the web.

All disk and web access of evenly is here, but model weights (features) and the chat client (descriptions).
"""

if __name__ != "evenly.storage":
    raise ImportError(
        f"this package is `evenly.storage`; it was imported as `{__name__}`. Install evenly, then import that."
    )

import os

os.environ.setdefault("LANCE_LOG", "error")  # lance warns on stderr whenever it creates a dataset
