"""Opt-outs: what a site's owner says about machines that collect, and the words it is said with.

Three ways are known, and the download's rule names those that are respected: robots.txt (RFC 9309), the X-Robots-Tag
header (noai, noimageai, noindex, noimageindex, none; for all or for one agent) and the TDM reservation protocol's
header (`tdm-reservation: 1`). Each function returns the evidence, the line that objects, or None where nothing does.
"""

import re
from email.message import Message
from functools import cached_property

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


class RobotsTxt:
    """One site's robots.txt."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._rules = Protego.parse(text)

    def objection(self, url: str, agent: str) -> str | None:
        """The line that forbids `url` to `agent`, or None. The longest matching line decides; Allow wins a tie."""
        if self._rules.can_fetch(url, agent):
            return None
        matching = [
            (agent.lower() in agents, len(path), f"Disallow: {path} (User-agent: {', '.join(agents)})")
            for agents, path, alone in self._disallowed
            if agents and {agent.lower(), "*"}.intersection(agents) and not alone.can_fetch(url, "*")
        ]
        return max(matching)[2] if matching else "robots.txt forbids this path"

    @cached_property
    def _disallowed(self) -> list[tuple[list[str], str, Protego]]:
        """Each Disallow line with its group's agents and a parser of that line alone: to show which one decided."""
        found: list[tuple[list[str], str, Protego]] = []
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
                    found.append((agents, value, Protego.parse(f"User-agent: *\nDisallow: {value}")))
        return found
