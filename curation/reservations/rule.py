"""The rule of a download: what is worth waiting for, what is too large, whose objections count."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le
from pydantic import StringConstraints

from evenly.bounds import Wording, check_bounds
from evenly.curation.errors import RuleError
from evenly.curation.reservations.headers import header_reservations
from evenly.curation.reservations.mechanisms import (
    FIRST,
    IN_ROBOTS_TXT,
    MECHANISMS,
    OptOut,
    PlainRights,
    Reservation,
    Stated,
    stored_rights,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from evenly.curation.reservations.site_files import RobotsTxt, TdmFile

PictureReader = Callable[["Image", bytes, str], PlainRights]
_WORD = r"^[A-Za-z][A-Za-z_-]*$"
_REMEDY = "Change it in the recipe's download step."


@dataclass(frozen=True, kw_only=True)
class DownloadRule:
    """The rule by which pictures are collected.

    `timeout_s` bounds one try as a whole: look-up, connection, redirects and body. After trouble that may pass, up to
    `retries` further tries follow; a server that asks for more than `max_wait_s` of patience is left alone.
    `max_pixels` is compared with the size in the header, before anything is decoded. `respect` names the reservations
    that are honoured, out of MECHANISMS; `user_agent_token` is the name that they may address. With
    `store_reservations`, and where one is respected that is not of the first three, each pair has what was said.
    """

    timeout_s: Annotated[float, Gt(0)] = 10.0
    retries: Annotated[int, Ge(0), Le(10)] = 2
    max_wait_s: Annotated[float, Ge(0), Wording(demand="be 0 or more")] = 30.0
    max_bytes: Annotated[int, Gt(0)] = 20_000_000  # as storage/decoders/structure.py has it for pictures of no recipe
    max_pixels: Annotated[int, Gt(0)] = 80_000_000
    respect: tuple[OptOut, ...] = FIRST
    user_agent_token: Annotated[str, StringConstraints(pattern=_WORD)] = "evenly"  # noqa: S105 - a name
    store_reservations: bool = False

    def __post_init__(self) -> None:
        check_bounds(self, RuleError, remedy=_REMEDY, quote="`")
        if unknown := [entry for entry in self.respect if entry not in MECHANISMS]:
            raise RuleError(f"`respect` must hold only {', '.join(MECHANISMS)}; got `{', '.join(unknown)}`. {_REMEDY}")
        if not re.fullmatch(_WORD, self.user_agent_token):
            raise RuleError(
                f"`user_agent_token` must be one word of letters, - and _; got `{self.user_agent_token}`. {_REMEDY}"
            )

    @property
    def stores_reservations(self) -> bool:
        """Whether pairs have what was reserved of their pictures as columns."""
        return self.store_reservations or not {*self.respect} <= {*FIRST}

    @property
    def respects_robots(self) -> bool:
        """Whether a site is left alone whose robots.txt cannot be had: a mechanism that stands in it is respected."""
        return bool(IN_ROBOTS_TXT.intersection(self.respect))

    @property
    def reads_robots(self) -> bool:
        """Whether robots.txt is asked for: it is respected, or all that is said is stored."""
        return self.stores_reservations or self.respects_robots

    @property
    def respects_tdm(self) -> bool:
        """Whether a site is left alone whose tdmrep.json cannot be had."""
        return "tdmrep" in self.respect

    @property
    def reads_tdm(self) -> bool:
        """Whether tdmrep.json is asked for."""
        return self.stores_reservations or self.respects_tdm

    def read_robots(self, text: str) -> "RobotsTxt":
        """A robots.txt; ValueError for what cannot be read."""
        from evenly.curation.reservations.site_files import RobotsTxt

        return RobotsTxt(text)

    def read_tdm(self, text: str) -> "TdmFile":
        """A tdmrep.json; ValueError for what cannot be read."""
        from evenly.curation.reservations.site_files import TdmFile

        return TdmFile(text)

    def in_headers(self, headers: Message, in_tdm_file: str | None) -> Iterator[Stated]:
        """Reservations in the headers of an answer; `in_tdm_file`: the site's TDM file's, which they may supersede."""
        return header_reservations(headers, self.user_agent_token, in_tdm_file)

    @property
    def picture_reader(self) -> PictureReader:
        """The function that reads what a picture file says, of a picture that was decoded, its bytes and format."""
        from evenly.curation.reservations.in_file import picture_rights

        return picture_rights

    def refusal(self, stated: Iterable[Stated]) -> tuple[str, str] | None:
        """The reason word and the evidence for which a picture goes of which this is said, or None."""
        counted = [Reservation(*values) for values in stated if values[0] in self.respect]
        first = min(counted, key=lambda entry: entry.place, default=None)
        return None if first is None else (first.outcome, first.evidence)

    def stored_rights(self, stated: Iterable[Stated], rights: PlainRights, read_at: datetime) -> dict[str, str | None]:
        """The columns of a record about rights, whatever is respected."""
        return stored_rights(stated, rights, read_at)


@dataclass(frozen=True, kw_only=True)
class PoolDownload(DownloadRule):
    """The download of a pool: it stops where nearly all URLs fail for one reason, unless `tolerate` names it."""

    tolerate: tuple[str, ...] = ()
