"""The answer to "why": the identity of a pair and what every step said of it, as data and as text."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from evenly.audit.captions import CHOICE, caption_in_quotes, choice_lines
from evenly.audit.published import name_of
from evenly.audit.regions import REGION_TABLE, region_line
from evenly.audit.replay import Replay
from evenly.audit.safe_text import Line, as_html, visible
from evenly.curation.balance.judgement import BALANCE
from evenly.curation.captions.judgement import RECAPTION
from evenly.curation.concepts.judgement import MATCH_AGAIN


@dataclass(frozen=True, kw_only=True)
class StepSight:
    """One step that judged a pair.

    value: the number looked at; decided_by: the part of the rule that decided; notes: what the step noted of all its
    pairs, among it what a value was held against; columns: what the step found of the pair; rows: its rows of the
    step's child tables, by table; twin: uid, url, caption, ended and path of the pair that stands for it, where merged;
    run: key, started, ended, flow_run_id and code of the run.
    """

    step: str
    version: int
    verdict: str
    reason: str
    value: float | None
    rule: Mapping[str, Any]
    notes: Mapping[str, Any]
    model: str | None
    seed: int | None
    columns: Mapping[str, Any]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    twin: Mapping[str, Any] | None
    run: Mapping[str, Any]
    replay: Replay | None = None
    decided_by: Mapping[str, Any] = field(default_factory=dict)

    @property
    def held_against(self) -> dict[str, Any]:
        """Bounds of numbers: the threshold of what decided, or as noted of all pairs, and t of all."""
        names = ("threshold",) if "language" in self.notes else ("threshold", "t")
        rules = (rule for rule in self.decided_by.values() if isinstance(rule, Mapping) and "threshold" in rule)
        numbers = next(rules, self.notes)
        return {name: numbers[name] for name in names if numbers.get(name) is not None}


@dataclass(frozen=True, kw_only=True)
class PairHistory:
    """One pair: who it is, how it arrived, what each step said, and which pairs it stands for.

    uid: "" for a pool row from which none can be made. outcome: "kept", or the verdict that ended it; step and reason
    say where, both "" if kept. image: its image_id, and file, offset and size of the bytes where they are still held;
    None where nothing was downloaded. `merged` counts all pairs merged into this one and `merged_examples` lists the
    first of them.
    """

    uid: str
    outcome: str
    step: str
    reason: str
    identity: Mapping[str, Any]
    image: Mapping[str, Any] | None
    arrivals: Sequence[Mapping[str, Any]]
    steps: Sequence[StepSight]
    merged: int
    merged_examples: Sequence[Mapping[str, Any]]

    @property
    def balanced_caption(self) -> str | None:
        """The caption whose concepts `balance` counted: the chosen one if it was matched again; None: not there."""
        steps = {sight.step: sight for sight in self.steps}
        if BALANCE.name not in steps:
            return None
        chosen = steps[RECAPTION.name].columns if {RECAPTION.name, MATCH_AGAIN.name} <= steps.keys() else {}
        caption = chosen.get("chosen_caption", self.identity.get("caption"))
        return None if caption is None else str(caption)

    @property
    def sentence(self) -> str:
        """The answer in one sentence; nothing in it acts."""
        last = next((sight for sight in self.steps if sight.step == self.step), None)
        if self.outcome == "kept":
            merged = f" and stands for {self.merged:,} merged into it" if self.merged else ""
            return f"It is in the build{merged}: all {len(self.steps)} steps kept it."
        reason = visible(self.reason)
        if last is None:
            return f"It is out: `{self.step}` {_ENDED[self.outcome]} ({reason}) as it was collected."
        if last.twin is not None:
            twin = ", ".join((visible(last.twin["uid"]), *visible(name_of(last.twin)).split("  ")))
            return f"It is out: `{self.step}` merged it into {twin} ({reason}{_measured(last)})."
        return f"It is out: `{self.step}` {_ENDED[self.outcome]} ({reason}{_measured(last)})."


_ENDED = {"dropped": "dropped it", "failed": "failed on it", "merged": "merged it into another"}


def _measured(sight: StepSight) -> str:
    """The value that a step looked at, what it was held against, and the rule that decided where it is short."""
    value = "" if sight.value is None else f", value {_shown(sight.value)}"
    bounds = "".join(f", {name} {_shown(number)}" for name, number in sight.held_against.items())
    rule = "" if bounds else ", ".join(_deciding(sight.decided_by))
    return value + bounds + (f", {rule}" if rule and len(rule) <= _IN_A_SENTENCE else "")


def _deciding(rule: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Each field of a rule and its value; those of rules within it by their place."""
    for name, value in rule.items():
        if isinstance(value, Mapping):
            yield from _deciding(value, f"{place}{name}.")
        else:
            yield f"{visible(place + name)} {_shown(value)}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation:
    """All pairs of a build that were asked about by a uid or a URL."""

    build: str
    asked: str
    pairs: Sequence[PairHistory]

    @property
    def agrees(self) -> bool:
        """False if replaying any step gave something else than what is stored; true where nothing was replayed."""
        replays = [sight.replay for pair in self.pairs for sight in pair.steps]
        return all(replay.agrees is not False for replay in replays if replay is not None)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON-able values."""
        pairs = [
            asdict(pair) | {"balanced_caption": pair.balanced_caption, "sentence": pair.sentence} for pair in self.pairs
        ]
        return asdict(self) | {"pairs": pairs}

    def to_text(self, *, verbose: bool = False) -> str:
        """All of it as text for a terminal, where nothing that came from the web can act; `verbose`: whole rules."""
        return "\n".join("".join(text for text, _ in line) for line in explanation_lines(self, verbose=verbose))

    def __repr__(self) -> str:
        return self.to_text()

    def __rich__(self) -> object:
        """The same text with colours, for rich; no markup in it is read."""
        from rich.text import Text

        return Text.assemble(*(piece for line in explanation_lines(self) for piece in (*line, ("\n", ""))))

    def _repr_html_(self) -> str:
        return as_html(explanation_lines(self))


_STYLES = {"kept": "green", "dropped": "red", "failed": "yellow", "merged": "cyan"}
_LABEL_WIDTH = 12
_STEP_WIDTH = 24
_ROWS_SHOWN = 12
_WIDTH = 160
_WHOLE = ("url", "caption", "file_name")
_IN_A_SENTENCE = 60


def explanation_lines(explanation: Explanation, *, verbose: bool = False) -> Iterator[Line]:
    """Yield lines of (text, style) pieces: per pair who it is, how it ended, each step's verdict and its grounds.

    The run (start, code, flow run) is shown at the first step and where it differs from the step before. Of a rule what
    decided is shown; `verbose`: all of it.
    """
    for number, pair in enumerate(explanation.pairs):
        if number:
            yield [("", "")]
        yield from _pair_lines(explanation, pair, verbose=verbose)


def _pair_lines(explanation: Explanation, pair: PairHistory, *, verbose: bool) -> Iterator[Line]:
    place = f" at {pair.step} ({visible(pair.reason)})" if pair.step else ""
    yield [
        (visible(pair.uid) or "a row without uid", "bold"),
        (f"  {pair.outcome}{place}", _STYLES.get(pair.outcome, "")),
        (f" in build {visible(explanation.build)}", "dim"),
    ]
    yield [(pair.sentence, _STYLES.get(pair.outcome, ""))]
    for name, value in pair.identity.items():
        yield _labelled(name, value, str if verbose or name in _WHOLE else _cut)
    chosen = next((sight.columns["chosen_caption"] for sight in pair.steps if "chosen_caption" in sight.columns), None)
    if chosen is not None and chosen != pair.identity.get("caption"):
        yield _labelled("new caption", chosen)
    if pair.image is not None:
        yield _labelled("image", _place(pair.image))
    for arrival in pair.arrivals:
        yield _labelled("arrived", _arrival(arrival))
    if pair.merged:
        yield from _merged_lines(pair)
    if pair.steps:
        yield [("", "")]
        yield from _history_lines(pair, verbose=verbose)


def _merged_lines(pair: PairHistory) -> Iterator[Line]:
    yield _labelled("stands for", f"{pair.merged:,} merged pairs")
    for twin in pair.merged_examples:
        yield _note(f"{twin['uid']}  {_shown(twin['reason'])}  {visible(name_of(twin))}")
    if pair.merged > len(pair.merged_examples):
        yield _note(f"and {pair.merged - len(pair.merged_examples):,} more")


def _history_lines(pair: PairHistory, *, verbose: bool) -> Iterator[Line]:
    previous: StepSight | None = None
    for sight in pair.steps:
        yield from _step_lines(sight, verbose=verbose)
        if sight.step == BALANCE.name and RECAPTION.name in {step.step for step in pair.steps}:
            yield _detail("counted", f"concepts of the caption {caption_in_quotes(pair.balanced_caption)}")
        if previous is None or any(sight.run[name] != previous.run[name] for name in ("flow_run_id", "code")):
            yield _detail("run", _run(sight.run))
        if sight.replay is not None:
            yield _replay_line(sight.replay)
        previous = sight


def _step_lines(sight: StepSight, *, verbose: bool) -> Iterator[Line]:
    grounds = [visible(sight.reason)] if sight.reason else []
    if sight.value is not None:
        grounds.append(f"value {_shown(sight.value)}")
    grounds += [f"{name} {_shown(value)}" for name, value in sight.held_against.items()]
    head = f"  {sight.step:<{_STEP_WIDTH}}"
    verdict = f"{sight.verdict:<9}" if grounds else sight.verdict
    yield [(head, "bold"), (verdict, _STYLES.get(sight.verdict, "")), ("  ".join(grounds), "")]
    if rule := _rule(sight, verbose=verbose):
        yield _detail("rule", rule)
    if sight.seed is not None:
        yield _detail("seed", _shown(sight.seed))
    if sight.model is not None:
        yield _detail("model", visible(sight.model))
    yield from _column_lines(sight, verbose=verbose)
    if sight.twin is not None:
        yield from _twin_lines(sight.twin)
    for table, rows in sight.rows.items():
        if table == "candidates" and _is_choice(sight):
            continue
        for row in rows[:_ROWS_SHOWN]:
            values = ((name, value) for name, value in row.items() if value is not None)
            text = "  ".join(f"{visible(name)} {_shown(value)}" for name, value in values)
            yield _detail(table, region_line(row) if table == REGION_TABLE else text)
        if len(rows) > _ROWS_SHOWN:
            yield _detail(table, f"and {len(rows) - _ROWS_SHOWN:,} more rows (all of them with --json)")


def _rule(sight: StepSight, *, verbose: bool) -> str:
    """The whole rule of a step, or what of it decided; nothing of a step that looked at no number and kept the pair."""
    if verbose:
        return f"version {sight.version} {_shown(sight.rule)}"
    text = "" if sight.verdict == "kept" and sight.value is None else ", ".join(_deciding(sight.decided_by))
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}... (whole with --verbose)"


def _is_choice(sight: StepSight) -> bool:
    return "caption_reason" in sight.columns


def _column_lines(sight: StepSight, *, verbose: bool) -> Iterator[Line]:
    """The finding of the step of the pair; of a choice of captions, what was chosen and among what."""
    shown_below, cut = CHOICE if _is_choice(sight) else (), str if verbose else _cut
    columns = {name: value for name, value in sight.columns.items() if value != "" and name not in shown_below}
    if columns:
        yield _detail("found", "  ".join(f"{visible(name)}={cut(_shown(value))}" for name, value in columns.items()))
    for line in choice_lines(sight.columns, sight.rows.get("candidates", ())) if _is_choice(sight) else ():
        yield _detail(*line)


def _replay_line(replay: Replay) -> Line:
    agrees = {True: ", agrees", False: ", DIFFERS", None: ""}[replay.agrees]
    text = f"{replay.label}{agrees}: {visible(replay.detail)}"
    return _detail("replay", text, "bold red" if replay.agrees is False else "dim")


def _twin_lines(twin: Mapping[str, Any]) -> Iterator[Line]:
    ended = twin["ended"]
    fate = f"ended at {ended['step']} ({visible(ended['reason'])})" if ended["step"] else "kept"
    yield _detail("merged into", f"{visible(twin['uid'])}  {fate}  {visible(name_of(twin))}")
    yield _detail("", f"caption {_shown(twin['caption'])}")
    for edge in twin["path"] if len(twin["path"]) > 1 else ():
        yield _detail("edge", f"{edge['from']} - {edge['to']}  {_shown(edge['kind'])} {_shown(edge['distance'])}")


def _run(run: Mapping[str, Any]) -> str:
    code = run["code"]
    sha = str(code.get("git_sha") or "no commit")[:12] + (" (changed)" if code.get("dirty") else "")
    flow = f"  flow run {visible(str(run['flow_run_id']))}" if run["flow_run_id"] else ""
    return f"{visible(str(run['started']))[:19]}  code {visible(sha)}{flow}  step {str(run['key'])[:12]}"


def _place(image: Mapping[str, Any]) -> str:
    if not image.get("file"):
        return f"{image['image_id']}  (its bytes are not held here)"
    return f"{image['image_id']}  {visible(image['file'])} at {image['offset']}, {image['size']} bytes"


def _arrival(arrival: Mapping[str, Any]) -> str:
    reason = f" ({visible(arrival['reason'])})" if arrival.get("reason") else ""
    named = (name for name in ("source", "file_name", "row") if arrival.get(name) is not None)
    place = "  ".join(f"{name} {_shown(arrival[name])}" for name in named)
    return f"{place}  {arrival['verdict']}{reason}"


def _labelled(name: str, value: object, cut: Callable[[str], str] = str) -> Line:
    return [(f"  {visible(name):<{_LABEL_WIDTH - 1}} ", "dim"), (cut(_shown(value)), "")]


def _detail(name: str, text: str, style: str = "dim") -> Line:
    return [(f"  {'':<{_STEP_WIDTH}}{visible(name):<{_LABEL_WIDTH}} {text}", style)]


def _note(text: str) -> Line:
    return [(" " * (_LABEL_WIDTH + 2) + text, "dim")]


def _shown(value: object) -> str:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:g}"
    if isinstance(value, Mapping | list | tuple):
        return visible(json.dumps(value, ensure_ascii=False, default=str))
    return str(value)
