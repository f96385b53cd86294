"""Findings of `evenly verify`. An error in reading damaged files becomes a finding and does not end the audit."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from evenly.audit.safe_text import visible
from evenly.storage.errors import StorageError
from evenly.storage.tables.arrow_files import first_line


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a build.

    check: which of `verify.CHECKS` found it; where: the step, table or field; what: in words.

    unreadable: True where content could not be read at all, so that other checks had to be left out.
    """

    check: str
    where: str
    what: str
    unreadable: bool = False

    @classmethod
    def of(cls, check: str, where: str, what: str, *, unreadable: bool = False) -> "Finding":
        """A finding whose words cannot act on a terminal."""
        return cls(check=check, where=visible(where), what=visible(what), unreadable=unreadable)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values."""
        return asdict(self)


# What lance and pyarrow raise for damaged files: ArrowInvalid is a ValueError, aborted tasks are RuntimeErrors.
_DAMAGE = (StorageError, OSError, ValueError, RuntimeError, LookupError, MemoryError)


def guarded(check: str, place: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return the findings of `look`, and one more that says what could not be read, where it stopped early."""
    findings = []
    try:
        for finding in look():
            findings.append(finding)  # noqa: PERF402 - those before an error count
    except _DAMAGE as error:
        findings.append(_unreadable(check, place, error))
    except BaseException as error:
        # A panic in lance's Rust code; its class derives from BaseException and cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        findings.append(_unreadable(check, place, error))
    return findings


def _unreadable(check: str, place: str, error: BaseException) -> Finding:
    return Finding.of(check, place, f"not readable: {first_line(error)}", unreadable=True)
