"""The answer to "what changed": plain data, and its text for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evenly.audit.safe_text import visible


@dataclass(frozen=True, kw_only=True)
class Change:
    """A group of pairs that moved for one reason.

    step and reason: where they are out, or what reads differently. cause: data, rule, model, seed, code, several of
    them joined by " and ", or upstream; detail says it in words. count is of all; examples are the first by uid.
    """

    step: str
    reason: str
    cause: str
    detail: str
    count: int
    examples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """From build `before` to build `after`.

    `steps` has a row per step: kept before and after, and what differs in version, rule, model, seed or data. Pairs in
    both builds are `unchanged`, or counted under each of `changed` that holds for them. `differs` names what of the
    builds themselves differs: recipe, seed, limit, encoder, split, forget.
    """

    before: str
    after: str
    kept_before: int
    kept_after: int
    unchanged: int
    entered: Sequence[Change]
    left: Sequence[Change]
    changed: Sequence[Change]
    steps: Sequence[Mapping[str, Any]]
    differs: Sequence[str] = ()

    @property
    def causes(self) -> dict[str, int]:
        """Pairs that entered, left or changed, by cause."""
        found: dict[str, int] = {}
        for change in (*self.entered, *self.left, *self.changed):
            found[change.cause] = found.get(change.cause, 0) + change.count
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON-able values, with the counts by cause."""
        return asdict(self) | {"causes": self.causes}

    def to_text(self) -> str:
        """All of it as text for a terminal, where nothing that came from the web can act."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{visible(self.before)} -> {visible(self.after)}"
        yield f"  kept {self.kept_before:,} -> {self.kept_after:,} ({self.kept_after - self.kept_before:+,})"
        for name, changes in (("entered", self.entered), ("left", self.left), ("changed", self.changed)):
            yield ""
            yield f"{name} {_total(changes):,}"
            for change in changes:
                yield from _change_lines(change)
        yield ""
        yield f"{'unchanged'} {self.unchanged:,}"
        if self.causes:
            yield "by cause   " + ", ".join(f"{name} {count:,}" for name, count in self.causes.items())
        if self.differs:
            yield "differs in " + ", ".join(self.differs)
        yield ""
        yield f"{'step':<24}{'kept before':>12}{'after':>12}  differs"
        for step in self.steps:
            yield _step_line(step)


def _total(changes: Sequence[Change]) -> int:
    return sum(change.count for change in changes)


def _change_lines(change: Change) -> Iterator[str]:
    what = f"{change.step} ({visible(change.reason)})"
    yield f"  {change.count:>8,}  {what:<44}  cause {change.cause}: {visible(change.detail)}"
    for pair in change.examples:
        yield f"            {pair['uid']}  {visible(str(pair['url']))}  {visible(str(pair['caption']))}"
    hidden = change.count - len(change.examples)
    if hidden:
        yield f"            and {hidden:,} more"


def _step_line(step: Mapping[str, Any]) -> str:
    before, after = ("" if step[name] is None else f"{step[name]:,}" for name in ("kept_before", "kept_after"))
    differs = "; ".join(f"{cause}: {visible(words)}" for cause, words in step["differs"].items())
    return f"{step['step']:<24}{before:>12}{after:>12}  {differs}".rstrip()
