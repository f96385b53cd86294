"""Opt-outs: what a site's owner says about machines that collect, and the words it is said with.

Three ways are known, and the download's rule names those that are respected: robots.txt (RFC 9309), the X-Robots-Tag
header (noai, noimageai, noindex, noimageindex, none; for all or for one agent) and the TDM reservation protocol's
file and header (`tdm-reservation: 1`). What is said of a redirect counts as what is said of the picture. Each function
returns the evidence, the line that objects, or None where nothing does.
"""

import json
import re
from email.message import Message
from functools import cached_property
from typing import Any

from protego import Protego

OBJECTIONS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_AGENT = re.compile(r"\s*([A-Za-z0-9_*.-]+)\s*:\s*(.*)", re.DOTALL)


def x_robots_objection(headers: Message, agent: str) -> str | None:
    """The X-Robots-Tag header that forbids keeping the picture, to all or to `agent`, or None."""
    for value in headers.get_all("X-Robots-Tag", []):
        if _objects(str(value), agent.lower()):
            return f"X-Robots-Tag: {value}"
    return None


def _objects(value: str, agent: str) -> bool:
    """Read one header: `directive, …`, `agent: directive, …`, or several such groups after each other."""
    addressed = True
    for item in value.split(","):
        directive = item.strip().lower()
        named = _AGENT.fullmatch(item)
        if named and named[1].lower() not in _WITH_VALUE:
            addressed = named[1].lower() in (agent, "*")
            directive = named[2].strip().lower()
        if addressed and directive in OBJECTIONS:
            return True
    return False


def tdm_objection(headers: Message) -> str | None:
    """The header that reserves the rights of text and data mining, with its policy where one is named, or None."""
    for value in headers.get_all("tdm-reservation", []):
        if str(value).strip() == "1":
            policy = headers.get("tdm-policy")
            return "tdm-reservation: 1" + (f", tdm-policy: {policy}" if policy else "")
    return None


def tdm_is_said(headers: Message) -> bool:
    """Whether the headers say anything valid of TDM rights: then it supersedes the site's TDM file."""
    return any(str(value).strip() in {"0", "1"} for value in headers.get_all("tdm-reservation", []))


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
