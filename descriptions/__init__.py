"""Descriptions of what a class looks like: class names -> prompts, checked replies, synonyms.

A class list is parsed, each class grounded in a WordNet sense, every method asks its questions through one
content-addressed chat client, and every reply is checked before it may stand for a class. Nothing here reads or writes
files, knows Prefect or touches storage: replies are kept behind the `RequestStore` Protocol.
"""

if __name__ != "evenly.descriptions":
    raise ImportError(
        f"this package is `evenly.descriptions`; it was imported as `{__name__}`. Install evenly, then import that."
    )
