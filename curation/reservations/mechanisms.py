"""Mechanisms that reserve rights, and what is stored of a picture for which some of them do.

Storage, which fetches and decodes, hands reservations on as the plain tuples that they are.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Literal, NamedTuple, get_args

OptOut = Literal["robots", "x-robots-tag", "tdmrep", "content-usage", "content-signal", "noml", "rsl", "iptc", "c2pa"]
MECHANISMS: tuple[OptOut, ...] = get_args(OptOut)
FIRST: tuple[OptOut, ...] = MECHANISMS[:3]
"""Those that a rule respects which names none: recipes that left them out mean these, whatever is added."""
IN_ROBOTS_TXT: frozenset[OptOut] = frozenset({"robots", "content-usage", "content-signal", "rsl"})
UNREADABLE = " (unreadable)"
SITE_NOT_READ = "not read"
"""What is stored beside what the file reserves, where nobody looked at what the site and its answer do."""


class Reservation(NamedTuple):
    """A mechanism by which rights are reserved, and the header, line or value that says so.

    `readable` is False where the mechanism is there and cannot be read: that is no consent. `file`: the file of the
    site in which the line stands, with its hash and when it was read.
    """

    mechanism: str
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

    @property
    def place(self) -> int:
        """The place in the order of mechanisms."""
        return [*MECHANISMS].index(self.mechanism)  # type: ignore[arg-type]  # a tuple of storage may hold any


Stated = tuple[str, str, bool, str]
"""A Reservation as storage hands it on."""
PlainRights = tuple[tuple[Stated, ...], str | None, str | None]
"""PictureRights as storage hands them on."""


class PictureRights(NamedTuple):
    """The reservations in a picture file, and the copyright and licence that it names, None where it names none."""

    reservations: tuple[Stated, ...] = ()
    copyright: str | None = None
    license: str | None = None


def stored_rights(reservations: Iterable[Stated], rights: PlainRights, read_at: datetime) -> dict[str, str | None]:
    """The columns of a record about rights: of the site and the headers, of the file, and when they were read.

    Of what was not had and reserves nothing as far as it was read, use none of them: nobody looked at all of it.
    """
    in_file = PictureRights(*rights)
    stated = [Reservation(*values) for values in (*reservations, *in_file.reservations)]
    lines = dict.fromkeys(": ".join(part for part in (entry.file, entry.evidence) if part) for entry in stated)
    evidence = f"{read_at:%Y-%m-%dT%H:%M:%SZ} {' | '.join(lines)}"[:4000] if lines else ""
    by_order = sorted(stated, key=lambda entry: (entry.place, not entry.readable))
    values = {
        "reservation": ", ".join(dict.fromkeys(entry.name for entry in by_order)),
        "reservation_evidence": evidence,
        "picture_copyright": in_file.copyright,
        "picture_license": in_file.license,
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
