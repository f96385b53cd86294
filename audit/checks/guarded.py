"""Reading what may be damaged: whatever goes wrong becomes a finding instead of ending the audit."""

from collections.abc import Callable, Iterable

from evenly.audit.checks.findings import Finding
from evenly.storage.errors import StorageError
from evenly.storage.tables.arrow_files import first_line

# What lance and pyarrow raise for damaged files: ArrowInvalid is a ValueError, aborted tasks are RuntimeErrors.
_DAMAGE = (StorageError, OSError, ValueError, RuntimeError, LookupError, MemoryError)


def guarded(check: str, where: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return the findings of `look`, and one more that says what could not be read, where it stopped early."""
    findings = []
    try:
        for finding in look():
            findings.append(finding)  # noqa: PERF402 - those before an error count
    except _DAMAGE as error:
        findings.append(_unreadable(check, where, error))
    except BaseException as error:
        # A panic in lance's Rust code; its class derives from BaseException and cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        findings.append(_unreadable(check, where, error))
    return findings


def _unreadable(check: str, where: str, error: BaseException) -> Finding:
    return Finding.of(check, where, f"not readable: {first_line(error)}", unreadable=True)
