"""The rule of a download: what is worth waiting for, what is too large, whose objections count."""

import os
import re
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import StringConstraints

from evenly.bounds import Wording, check_bounds
from evenly.storage.decoders.structure import MAX_BYTES, MAX_PIXELS
from evenly.storage.web.errors import PASSING, DownloadRuleError
from evenly.storage.web.reservations import FIRST, IN_ROBOTS_TXT, MECHANISMS, OptOut

CONTACT_VARIABLE = "EVENLY_CONTACT"
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
    max_bytes: Annotated[int, Gt(0)] = MAX_BYTES
    max_pixels: Annotated[int, Gt(0)] = MAX_PIXELS
    respect: tuple[OptOut, ...] = FIRST
    user_agent_token: Annotated[str, StringConstraints(pattern=_WORD)] = "evenly"  # noqa: S105 - a name
    store_reservations: bool = False

    def __post_init__(self) -> None:
        check_bounds(self, DownloadRuleError, remedy=_REMEDY, quote="`")
        unknown = [entry for entry in self.respect if entry not in MECHANISMS]
        _require(not unknown, "respect", f"hold only {', '.join(MECHANISMS)}", ", ".join(unknown))
        word = re.fullmatch(_WORD, self.user_agent_token)
        _require(word is not None, "user_agent_token", "be one word of letters, - and _", self.user_agent_token)

    @property
    def stores_reservations(self) -> bool:
        """Whether pairs have what was reserved of their pictures as columns."""
        return self.store_reservations or not {*self.respect} <= {*FIRST}

    @property
    def reads_robots(self) -> bool:
        """Whether robots.txt is asked for: where a mechanism that stands in it is respected, or all are stored."""
        return self.stores_reservations or bool(IN_ROBOTS_TXT.intersection(self.respect))

    @property
    def reads_tdm(self) -> bool:
        """Whether tdmrep.json is asked for."""
        return self.stores_reservations or "tdmrep" in self.respect


@dataclass(frozen=True, kw_only=True)
class PoolDownload(DownloadRule):
    """The download of a pool: it stops where nearly all URLs fail for one reason, unless `tolerate` names it."""

    tolerate: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Recorded failures that a run asks again: those of `reasons`, recorded at `until` or before; None: whenever."""

    reasons: tuple[str, ...] = PASSING
    until: datetime | None = None


def user_agent(rule: DownloadRule) -> str:
    """Name what asks: `evenly/<version>`, and whom to write to where the environment's EVENLY_CONTACT says it."""
    try:
        release = version("evenly")
    except PackageNotFoundError:
        release = "0"
    contact = os.environ.get(CONTACT_VARIABLE, "").strip()
    if not contact:
        return f"{rule.user_agent_token}/{release}"
    _require(contact.isascii() and contact.isprintable(), CONTACT_VARIABLE, "be printable ASCII", repr(contact))
    return f"{rule.user_agent_token}/{release} (+{contact})"


def _require(holds: bool, name: str, demand: str, value: object) -> None:  # noqa: FBT001 - a check reads best so
    if not holds:
        raise DownloadRuleError(f"`{name}` must {demand}; got `{value}`. {_REMEDY}")
