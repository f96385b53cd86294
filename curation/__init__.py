"""Curation: pairs of image and caption are matched, filtered, deduplicated, recaptioned and balanced.

Pure functions over Arrow tables and numpy arrays. Nothing here reads or writes a file, draws an unseeded random
number or knows what a flow is. Every rule is a frozen dataclass and every verdict is a row of `Decisions`.
"""

if __name__ != "evenly.curation":
    raise ImportError(
        f"this package is `evenly.curation`; it was imported as `{__name__}`. Install evenly, then import that."
    )
