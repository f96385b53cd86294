"""Lines of robots.txt beside Allow and Disallow: Content-Usage, Content-Signal and RSL's License.

The first two are of a group, which names the agents that it is for; one before any group is for all. License is for all
wherever it stands. Of Content-Usage the lines with the longest path that matches count, all of these together.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from protego import Protego

from evenly.curation.reservations.headers import forbids_training, signals_no_training
from evenly.curation.reservations.mechanisms import Reservation

MOST_LINES = 1000
"""Of such lines in one file; what a longer one says of usage counts as unreadable."""
_RULES = frozenset({"allow", "disallow", "content-usage", "content-signal"})
_WEB_URL = re.compile(r"(?i:https?)://[^\s/?#]+\S*")


class _Line(NamedTuple):
    agents: list[str]
    name: str
    value: str


class RobotsLines:
    """The lines of one robots.txt that reserve rights."""

    def __init__(self, text: str) -> None:
        self._agents = {"*"}
        self._lines = [*self._read(text)]
        self._patterns = dict[str, Protego]()
        self._groups = dict[str, list[_Line]]()

    def reservations(self, url: str, agent: str) -> Iterator[Reservation]:
        """What the file reserves of `url` for `agent`."""
        if len(self._lines) > MOST_LINES:
            yield Reservation("content-usage", f"more than {MOST_LINES:,} lines of preferences", readable=False)
            return
        group = self._group(agent.lower())
        if usage := self._usage(group, url):
            yield Reservation("content-usage", usage)
        for line in group:
            if line.name == "content-signal" and signals_no_training(line.value):
                yield Reservation("content-signal", _shown("Content-Signal", line))
                break
        for line in self._lines:
            if line.name == "license" and _WEB_URL.fullmatch(line.value):
                yield Reservation("rsl", f"License: {line.value}")
                break

    def _group(self, agent: str) -> list[_Line]:
        """The lines for an agent: of groups that name it, else of those for all."""
        if agent not in self._groups:
            addressed = agent if agent in self._agents else "*"
            lines = (line for line in self._lines if line.name != "license")
            self._groups[agent] = [line for line in lines if addressed in line.agents]
        return self._groups[agent]

    def _usage(self, group: list[_Line], url: str) -> str | None:
        """The Content-Usage line that disallows training with `url`, of those with the longest path that matches."""
        lines = [(*_usage_parts(line.value), line) for line in group if line.name == "content-usage"]
        matching = [(path, preference, line) for path, preference, line in lines if self._matches(path, url)]
        longest = max((len(path) for path, _, _ in matching), default=0)
        counted = (line for path, preference, line in matching if len(path) == longest and forbids_training(preference))
        return next((_shown("Content-Usage", line) for line in counted), None)

    def _matches(self, path: str, url: str) -> bool:
        if not path:
            return True
        if path not in self._patterns:
            self._patterns[path] = Protego.parse(f"User-agent: *\nDisallow: {path}")
        return not self._patterns[path].can_fetch(url, "*")

    def _read(self, text: str) -> Iterator[_Line]:
        agents, in_rules, count = ["*"], True, 0
        for line in text.splitlines():
            name, _, value = line.partition("#")[0].partition(":")
            name, value = name.strip(" \t").lower(), value.strip()
            if name == "user-agent":
                agents = [] if in_rules else agents
                agents.append(value.lower())
                self._agents.add(value.lower())
                in_rules = False
            elif name in _RULES or name == "license":
                in_rules = in_rules or name in _RULES
                if name not in {"allow", "disallow"}:
                    yield _Line(agents, name, value)
                    count += 1
                    if count > MOST_LINES:
                        return


def _usage_parts(value: str) -> tuple[str, str]:
    """The path of a Content-Usage line, "" where it names none, and its statement of preference."""
    if not value.startswith("/"):
        return "", value
    path, *preference = value.split(None, 1)
    return path, preference[0] if preference else ""


def _shown(name: str, line: _Line) -> str:
    return f"{name}: {line.value} (User-agent: {', '.join(line.agents[:10])})"
