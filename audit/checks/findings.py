"""One thing that is wrong with a build."""

from dataclasses import asdict, dataclass
from typing import Any

from evenly.audit.safe_text import visible


@dataclass(frozen=True, kw_only=True)
class Finding:
    """check: which of `verify.CHECKS` found it; where: the step, table or field; what: in words.

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
