"""WHY: for one sample, what every step decided; for two builds, what changed; for one build, whether all adds up.

Reads storage, and calls the domain packages to replay what is pure. `why` explains a pair, `diff` compares builds,
`verify` checks one against the ledger, `content` says what the content hash of a build covers, `report` shows a build
as one HTML page. Nothing here changes what it looks at.
"""

if __name__ != "evenly.audit":
    raise ImportError(
        f"this package is `evenly.audit`; it was imported as `{__name__}`. Install evenly, then import that."
    )
