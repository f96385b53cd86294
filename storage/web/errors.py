"""Errors of collecting from the web.

StorageError
└── DownloadError           a download run cannot go on; finished shards are kept
    └── FetchError          one URL cannot be had: always caught inside this package, where it becomes a record
"""

from collections.abc import Collection

from evenly.storage.errors import StorageError

DROPPED_OUTCOMES = frozenset({"robots", "x_robots_tag", "tdmrep", "too_many_bytes", "too_many_pixels"})
DROPPED_OUTCOMES |= {"content_usage", "content_signal", "noml", "rsl", "iptc", "c2pa"}
DROPPED_OUTCOMES |= {"too_slow", "too_much_memory"}
PASSING = ("dns", "connection", "timeout", "http_408", "http_425", "http_429", "http_5xx")
"""Outcomes that a later run may find otherwise: trouble of the network or of a server, not of the URL.

http_5xx stands for http_500 to http_599.
"""


class DownloadError(StorageError):
    """A download run that cannot go on; `passing`: it may another time."""

    def __init__(self, *texts: str, passing: bool = False) -> None:
        super().__init__(*texts)
        self.passing = passing


class FetchError(DownloadError):
    """One URL that cannot be had: `outcome` is the reason word, `evidence` the text that shows it.

    `again` says that a second try, `wait_s` seconds later where the server named a time, may end otherwise.
    """

    def __init__(self, outcome: str, evidence: str = "", *, again: bool = False, wait_s: float | None = None) -> None:
        super().__init__(outcome, evidence)
        self.outcome = outcome
        self.evidence = evidence
        self.again = again
        self.wait_s = wait_s


def verdict_of(outcome: str) -> str:
    """One of `kept`, `dropped` (a rule or the site's owner decided) and `failed` (it could not be had)."""
    if outcome == "success":
        return "kept"
    return "dropped" if outcome in DROPPED_OUTCOMES else "failed"


def may_pass(outcome: str, reasons: Collection[str] = PASSING) -> bool:
    """Whether an outcome is among `reasons`, by default all for which a later run may find another."""
    return outcome in reasons or ("http_5xx" in reasons and outcome.startswith("http_5"))
