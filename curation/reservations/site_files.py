"""Files in which a site speaks for all below it: robots.txt (RFC 9309) and tdmrep.json of the TDM protocol.

What is said of a redirect counts as what is said of the picture. Each function returns the evidence, the line that
objects, or None where nothing does.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

from protego import Protego

from evenly.curation.reservations.mechanisms import Reservation
from evenly.curation.reservations.robots_lines import RobotsLines


class TdmFile:
    """One site's tdmrep.json (TDM Reservation Protocol, W3C Community Group): the first rule that matches decides.

    Patterns are those of robots.txt. A page or a picture instead of JSON is no such file. Raises ValueError for JSON
    that cannot be read: it is no consent.
    """

    def __init__(self, text: str) -> None:
        self._rules = [(rule, Protego.parse(_forbidding(rule["location"]))) for rule in _tdm_rules(text)]

    def objection(self, url: str) -> str | None:
        """The rule that reserves the rights in `url`, as JSON, or None."""
        for rule, pattern in self._rules:
            if not pattern.can_fetch(url, "*"):
                shown = {name: rule[name] for name in ("location", "tdm-reservation", "tdm-policy") if name in rule}
                return f"tdmrep.json: {json.dumps(shown)}" if str(rule["tdm-reservation"]).strip() == "1" else None
        return None


def _tdm_rules(text: str) -> list[dict[str, Any]]:
    if not text.lstrip().startswith(("[", "{")):
        return []
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({type(error).__name__})") from None
    rules = parsed if isinstance(parsed, list) else [parsed]
    return [
        rule
        for rule in rules
        if isinstance(rule, dict) and isinstance(rule.get("location"), str) and "tdm-reservation" in rule
    ]


def _forbidding(location: str) -> str:
    """A robots.txt that forbids what `location` matches and nothing else."""
    line = "".join(letter for letter in location if letter.isprintable()).strip().replace("#", "%23")
    return f"User-agent: *\nDisallow: {line}\n"


class RobotsTxt:
    """One site's robots.txt. Raises ValueError for what is no text: it is no consent."""

    def __init__(self, text: str) -> None:
        if "\0" in text:
            raise ValueError("it is no text")
        self._text = text
        self._rules = Protego.parse(text)
        self._read_at = datetime.now(UTC)

    def reservations(self, url: str, agent: str) -> Iterator[Reservation]:
        """What the file reserves of `url` for `agent`, by any of its lines; each names the file's hash and its time."""
        objection = self.objection(url, agent)
        objecting = [Reservation("robots", objection)] if objection else []
        for reservation in (*objecting, *self._lines.reservations(url, agent)):
            yield reservation._replace(file=self._identity)

    @cached_property
    def _lines(self) -> RobotsLines:
        return RobotsLines(self._text)

    @cached_property
    def _identity(self) -> str:
        digest = sha256(self._text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"robots.txt (sha256 {digest}, read {self._read_at:%Y-%m-%dT%H:%M:%SZ})"

    def objection(self, url: str, agent: str) -> str | None:
        """The line that forbids `url` to `agent`, or None. The longest matching line decides; Allow wins a tie."""
        if self._rules.can_fetch(url, agent):
            return None
        matching = [
            (agent.lower() in agents, len(path), f"Disallow: {path} (User-agent: {', '.join(agents)})")
            for agents, path, line_rule in self._disallowed
            if agents and {agent.lower(), "*"}.intersection(agents) and not line_rule.can_fetch(url, "*")
        ]
        return max(matching)[2] if matching else "robots.txt forbids this path"

    @cached_property
    def _disallowed(self) -> list[tuple[list[str], str, Protego]]:
        """Each Disallow line with its group's agents and a parser of that line alone: to show which one decided."""
        disallowed: list[tuple[list[str], str, Protego]] = []
        agents: list[str] = []
        in_rules = False
        for line in self._text.splitlines():
            field, _, value = line.partition("#")[0].partition(":")
            field, value = field.strip().lower(), value.strip()
            if field == "user-agent":
                agents = [value.lower()] if in_rules else [*agents, value.lower()]
                in_rules = False
            elif field in {"allow", "disallow"}:
                in_rules = True
                if field == "disallow" and value:
                    disallowed.append((agents, value, Protego.parse(f"User-agent: *\nDisallow: {value}")))
        return disallowed
