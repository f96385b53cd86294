"""Reservations of rights: what a site, an answer and a picture file say of machines that learn from the picture.

`robots.txt` and tdmrep.json as files are in site_files.py; here stand what each mechanism says and how it is read.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, get_args

from evenly.storage.web.errors import FetchError

OptOut = Literal["robots", "x-robots-tag", "tdmrep", "content-usage", "content-signal", "noml", "rsl", "iptc", "c2pa"]
MECHANISMS: tuple[OptOut, ...] = get_args(OptOut)
FIRST: tuple[OptOut, ...] = MECHANISMS[:3]
"""Those that a rule respects which names none: recipes that left them out mean these, whatever is added."""
IN_ROBOTS_TXT: frozenset[OptOut] = frozenset({"robots", "content-usage", "content-signal", "rsl"})
UNREADABLE = " (unreadable)"
SITE_NOT_READ = "not read"
"""What is stored beside what the file reserves, where nobody looked at what the site and its answer do."""
RIGHTS = ("reservation", "reservation_evidence", "picture_copyright", "picture_license")
"""The columns of records about rights; those that earlier versions wrote do not have them."""


class Reservation(NamedTuple):
    """A mechanism by which rights are reserved, and the header, line or value that says so.

    `readable` is False where the mechanism is there and cannot be read: that is no consent. `file`: the file of the
    site in which the line stands, with its hash and when it was read.
    """

    mechanism: OptOut
    evidence: str
    readable: bool = True
    file: str = ""

    @property
    def name(self) -> str:
        """The mechanism, as it is stored for the pair."""
        return self.mechanism if self.readable else self.mechanism + UNREADABLE

    @property
    def outcome(self) -> str:
        """The reason word of a picture that goes for it."""
        word = self.mechanism.replace("-", "_")
        return word if self.readable else f"{word}_unreadable"


@dataclass(frozen=True, kw_only=True)
class PictureRights:
    """The reservations in a picture file, and the copyright and licence that it names, None where it names none."""

    reservations: tuple[Reservation, ...] = ()
    copyright: str | None = None
    license: str | None = None


NO_RIGHTS = PictureRights()
"""Those of a picture that says nothing, or was not read."""


def refuse(reservations: Iterable[Reservation], respected: Collection[str]) -> None:
    """Raise FetchError for the first mechanism, in their order, that is respected."""
    counted = [entry for entry in reservations if entry.mechanism in respected]
    if counted:
        first = min(counted, key=lambda entry: MECHANISMS.index(entry.mechanism))
        raise FetchError(first.outcome, first.evidence)


def mechanism_names(reservations: Iterable[Reservation]) -> str:
    """The names of the mechanisms, each once, in their order: as they are stored for a pair; "" for none."""
    by_order = sorted(reservations, key=lambda entry: (MECHANISMS.index(entry.mechanism), not entry.readable))
    return ", ".join(dict.fromkeys(entry.name for entry in by_order))


def stored_rights(
    reservations: Iterable[Reservation], rights: PictureRights, read_at: datetime
) -> dict[str, str | None]:
    """The columns of a record about rights: of the site and the headers, of the file, and when they were read.

    Of what was not had and reserves nothing as far as it was read, use none of them: nobody looked at all of it.
    """
    stated = [*reservations, *rights.reservations]
    lines = dict.fromkeys(": ".join(part for part in (entry.file, entry.evidence) if part) for entry in stated)
    evidence = f"{read_at:%Y-%m-%dT%H:%M:%SZ} {' | '.join(lines)}"[:4000] if lines else ""
    values = {
        "reservation": mechanism_names(stated),
        "reservation_evidence": evidence,
        "picture_copyright": rights.copyright,
        "picture_license": rights.license,
    }
    return {name: value and value.encode("utf-8", "replace").decode() for name, value in values.items()}


def refused_by(names: str | None, respected: Collection[str]) -> str:
    """The reason word for which stored `names` of a kept picture go by a rule that respects these mechanisms, or ""."""
    for name in (names or "").split(", "):
        mechanism = name.removesuffix(UNREADABLE)
        if mechanism in respected:
            word = mechanism.replace("-", "_")
            return word if name == mechanism else f"{word}_unreadable"
    return ""
