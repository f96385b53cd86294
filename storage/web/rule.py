# ruff: noqa: D102 - the class in curation says what each is
"""Rules of a download as this room sees them: limits, how it is read what is said of pictures, what is asked again."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Protocol

from evenly.storage.web.errors import PASSING, DownloadError

if TYPE_CHECKING:
    from PIL.Image import Image

CONTACT_VARIABLE = "EVENLY_CONTACT"
RIGHTS = ("reservation", "reservation_evidence", "picture_copyright", "picture_license")
"""The columns of records about rights; those that earlier versions wrote do not have them."""
Stated = tuple[str, str, bool, str]
"""A reservation of rights: its mechanism, the evidence, whether it could be read, the file of the site it stands in."""
Rights = tuple[tuple[Stated, ...], str | None, str | None]
"""The reservations in a picture file, and the copyright and licence that it names."""
NO_RIGHTS: Rights = ((), None, None)
"""Those of a picture that says nothing, or was not read."""

RightsReader = Callable[["Image", bytes, str], Rights]
"""Reads a picture that was decoded, its bytes and format; a function of a module, as decoder processes import it."""


class RobotsFile(Protocol):
    """One site's robots.txt."""

    def reservations(self, url: str, agent: str) -> Iterable[Stated]:
        """The reservations of `url` for `agent`."""


class TdmRules(Protocol):
    """One site's tdmrep.json."""

    def objection(self, url: str) -> str | None:
        """The rule that reserves the rights in `url`, or None."""


class WebRule(Protocol):
    """The rule of a download, of curation: its class says what each bound is, and reads what is said of pictures."""

    @property
    def timeout_s(self) -> float: ...
    @property
    def retries(self) -> int: ...
    @property
    def max_wait_s(self) -> float: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def max_pixels(self) -> int: ...
    @property
    def user_agent_token(self) -> str: ...
    @property
    def reads_robots(self) -> bool: ...
    @property
    def respects_robots(self) -> bool: ...
    @property
    def reads_tdm(self) -> bool: ...
    @property
    def respects_tdm(self) -> bool: ...
    def read_robots(self, text: str) -> RobotsFile: ...
    def read_tdm(self, text: str) -> TdmRules: ...
    def in_headers(self, headers: Message, in_tdm_file: str | None) -> Iterable[Stated]: ...
    @property
    def picture_reader(self) -> RightsReader: ...
    def refusal(self, stated: Iterable[Stated]) -> tuple[str, str] | None: ...
    def stored_rights(self, stated: Iterable[Stated], rights: Rights, read_at: datetime) -> dict[str, str | None]: ...


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Recorded failures that a run asks again: those of `reasons`, recorded at `until` or before; None: whenever."""

    reasons: tuple[str, ...] = PASSING
    until: datetime | None = None


def user_agent(rule: WebRule) -> str:
    """Name what asks: `evenly/<version>`, and whom to write to where the environment's EVENLY_CONTACT says it."""
    try:
        release = version("evenly")
    except PackageNotFoundError:
        release = "0"
    contact = os.environ.get(CONTACT_VARIABLE, "").strip()
    if not contact:
        return f"{rule.user_agent_token}/{release}"
    if not (contact.isascii() and contact.isprintable()):
        raise DownloadError(f"`{CONTACT_VARIABLE}` must be printable ASCII; got `{contact!r}`. Change the variable.")
    return f"{rule.user_agent_token}/{release} (+{contact})"
