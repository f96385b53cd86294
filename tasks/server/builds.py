"""A build as a Prefect server shows it: artifacts, the name, tags and final state of the run, and the event."""

import shlex
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any
from urllib.parse import quote

from evenly.audit.diff import Difference, count_moves
from evenly.curation.captions.judgement import RECAPTION
from evenly.storage.builds import Builds, latest_made
from evenly.storage.errors import InputError
from evenly.storage.journals import PAGE, RunRecord, read_runs
from evenly.storage.ledger import Ledger
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.workspace import Workspace
from evenly.tasks.captions.recaption import captioner_rows
from evenly.tasks.rebuild.publish import Promotion, judge_promotion
from evenly.tasks.run import Run
from evenly.tasks.server.api import is_watched, run_id
from evenly.tasks.server.artifacts import (
    Artifact,
    artifact_key,
    leave_artifacts,
    markdown_text,
    name_run,
    served_at,
    table_artifact,
)
from evenly.tasks.server.events import BuildHeld, BuildPublished, emit
from evenly.tasks.server.jobs import Outcome, ended
from evenly.tasks.server.notices import MOST_CHARACTERS, Notice, send_notice
from evenly.tasks.verify_and_report import report_of

_ADAPTER_COLUMNS = {
    "name": "adapter",
    "texts": "texts",
    "accuracy": "accuracy",
    "low": "low",
    "high": "high",
    "validation_accuracy": "on validation",
    "n": "test pictures",
}
_DIGITS = 4
"""Of an accuracy in the table; the ledger and the cards of adapters have all of them."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A build that a run has published; `previous` was the latest of its recipe before.

    None where it has none, and of a part of the pool, which is compared with no other build.
    is_announced: people were told before that it is held back.
    """

    manifest: Mapping[str, Any]
    previous: str | None
    promotion: Promotion
    workspace: Workspace
    is_announced: bool = False

    @cached_property
    def difference(self) -> Difference | None:
        """The difference to the latest build before, all pairs counted; None where there is none, or it is this one."""
        if self.previous in (None, self.build):
            return None
        earlier = Builds(self.workspace).read(str(self.previous))
        return count_moves(self.workspace, earlier, self.manifest)

    @property
    def moved(self) -> dict[str, int]:
        """The number of pairs that `entered` and `left` since the latest build before; nothing where there is none."""
        if self.difference is None:
            return {} if self.previous is None else {"entered": 0, "left": 0}
        kinds = {"entered": self.difference.entered, "left": self.difference.left}
        return {kind: sum(change.count for change in changes) for kind, changes in kinds.items()}

    @property
    def build(self) -> str:
        """The build's id."""
        return str(self.manifest["build"])

    @property
    def recipe(self) -> str:
        """The name of its recipe."""
        return str(self.manifest["recipe_name"])

    @property
    def counts(self) -> str:
        """The number of pairs that it keeps."""
        samples = self.manifest["samples"]
        return f"{samples['kept']:,} of {samples['rows']:,} pairs kept"

    @property
    def outcome(self) -> Outcome:
        """The outcome of the run: `unchanged` where the latest build has come out again."""
        if self.promotion.is_held:
            return "held"
        return "unchanged" if self.promotion.is_latest and self.previous == self.build else "published"

    @property
    def event(self) -> str:
        """The outcome if people are to hear of it: `latest` moved, or a build is held for the first time; else ""."""
        is_news = not self.is_announced if self.promotion.is_held else self.promotion.is_latest
        return self.outcome if is_news and self.outcome != "unchanged" else ""

    @property
    def message(self) -> str:
        """The outcome in a line, with what to do."""
        parts = (f"{self.outcome}: {self.build}", self.counts, self.promotion.reason)
        return ", ".join(part for part in parts if part)


def published(run: Run, manifest: Mapping[str, Any], *, previous: str | None, max_change: float | None) -> Published:
    """A build with what became of it."""
    builds = Builds(run.workspace)
    promotion = judge_promotion(builds, manifest, max_change=max_change)
    is_announced = promotion.is_held and builds.is_announced(str(manifest["build"]), previous)
    return Published(
        manifest=manifest,
        previous=previous,
        promotion=promotion,
        workspace=run.workspace,
        is_announced=is_announced,
    )


def show_build(run: Run, build: Published) -> None:
    """Leave the funnel and the difference to the last build, name the run by the build, and send the event."""
    if not is_watched():
        return
    name_run(f"{build.outcome} {build.build}", [f"recipe:{build.recipe}", build.build])  # lists show no messages
    artifacts = [
        table_artifact(artifact_key(build.recipe, "funnel"), funnel_rows(build.manifest), build.message),
        _page(build, "diff", "\n".join(_difference_lines(build))),
    ]
    if rows := _captioner_rows(run, build.manifest):
        description = f"{build.build}: captions by who made them"
        artifacts.append(table_artifact(artifact_key(build.recipe, "captions"), rows, description))
    leave_artifacts(artifacts)
    if build.event == "held":
        emit(BuildHeld(**_facts(run, build), reason=build.promotion.reason))
    elif build.event == "published":
        emit(BuildPublished(**_facts(run, build)))


def _page(build: Published, name: str, data: str) -> Artifact:
    return Artifact(key=artifact_key(build.recipe, name), kind="markdown", data=data, description=build.message)


def show_results(run: Run, build: Published) -> None:
    """Leave the report and, where adapters were evaluated, their accuracies with intervals."""
    if not is_watched():
        return
    artifacts = [_page(build, "report", _summary(run, build))]
    if rows := _adapter_rows(run, build.build):
        description = f"{build.build}: accuracy on test pictures, with 95 % intervals"
        artifacts.append(table_artifact(artifact_key(build.recipe, "adapters"), rows, description))
    leave_artifacts(artifacts)


def show_history(workspace: Workspace, recipe: str) -> None:
    """Leave the table of the last runs of a recipe, the newest first."""
    if is_watched():
        rows = [_history_row(record) for record in islice(read_runs(workspace, recipe), PAGE)]
        leave_artifacts([table_artifact(artifact_key(recipe, "history"), rows, f"{recipe}: the last runs")])


def _history_row(record: RunRecord) -> dict[str, Any]:
    return {
        "ended (UTC)": record.ended[:16].replace("T", " "),
        "outcome": record.outcome,
        "build": record.build or "",
        "kept": record.kept,
        "entered": record.entered,
        "left": record.left,
        "asked again": ", ".join(f"{reason} {count:,}" for reason, count in record.asked_again.items()),
        "error": (record.error or "")[:MOST_CHARACTERS],
    }


def tell_of(run: Run, build: Published, blocks: Sequence[str]) -> None:
    """Send the news of a build, if it has any, through notification blocks; of a build that is held once."""
    if not build.event or not is_watched():
        return
    notice = Notice(
        event=build.event,
        recipe=build.recipe,
        text=build.message,
        run=str(run_id()),
        report=report_line(run, build.build),
    )
    send_notice(notice, blocks, run.progress.warn)
    if build.promotion.is_held:
        Builds(run.workspace).announce(build.build, build.previous)


def funnel_rows(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per step that judges pairs: how many came in, are dropped, merged or failed, by reason, and are kept."""
    return [
        {
            "step": step["name"],
            "in": step["rows_in"],
            **{verdict: step["counts"][verdict] for verdict in ("dropped", "failed", "merged")},
            "reasons": ", ".join(f"{reason} {count:,}" for reason, count in step["reasons"].items()),
            "kept": step["counts"]["kept"],
        }
        for step in manifest["steps"]
        if step["counts"]
    ]


def _captioner_rows(run: Run, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The outcome of each captioner of a build; nothing where no captions were chosen."""
    keys = [step["key"] for step in manifest["steps"] if step["name"] == RECAPTION.name]
    return [row for key in keys for row in captioner_rows(run.ledger.get(key).notes)]


def ended_with(build: Published) -> str:
    """The state in which a run of a rebuild ends."""
    return ended(build.build, build.message, outcome=build.outcome)


def _facts(run: Run, build: Published) -> dict[str, Any]:
    samples = build.manifest["samples"]
    return {
        "build": build.build,
        "recipe": build.recipe,
        "rows": samples["rows"],
        "kept": samples["kept"],
        "content_hash": build.manifest["content_hash"],
        "previous": build.previous,
        "root": str(run.workspace.root),
    }


def _difference_lines(build: Published) -> Iterator[str]:
    """The pairs that entered, left or read differently since the last build, by step, reason and cause."""
    yield f"# {markdown_text(build.build)}"
    difference = build.difference
    if difference is None:
        sentence = "The first build of its recipe." if build.manifest["limit"] is None else "A part of the pool."
        yield f"\n{sentence if build.previous is None else 'The last build again: nothing has changed.'}"
        return
    kept = f"kept {difference.kept_before:,} → {difference.kept_after:,}, unchanged {difference.unchanged:,}"
    yield f"\nSince {markdown_text(difference.before)}: {kept}."
    changes = {"entered": difference.entered, "left": difference.left, "changed": difference.changed}
    if any(changes.values()):
        yield "\n| | pairs | step | reason | cause |\n|---|---:|---|---|---|"
    for kind, rows in changes.items():
        for change in rows:
            cells = [change.step, change.reason, f"{change.cause_title}: {change.detail}"]
            yield f"| {kind} | {change.count:,} | {' | '.join(map(markdown_text, cells))} |"
    if difference.differs:
        yield f"\nThe builds differ in {markdown_text(', '.join(difference.differs))}."


def _summary(run: Run, build: Published) -> str:
    report_of(run.workspace, build.manifest)
    manifest, address = build.manifest, report_address(run, build.build)
    report = f"[Report](<{address}>)" if address else markdown_text(report_line(run, build.build).replace("`", ""))
    seed = f"Seed {manifest['seed']}, content hash {manifest['content_hash']}."
    return f"# {markdown_text(build.build)}\n\n{report}\n\n{seed}"


def report_address(run: Run, build: str) -> str:
    """The address of a build's report for a browser; "" where EVENLY_URL names none."""
    try:
        url = served_at()
    except InputError as error:
        run.progress.warn(str(error))
        return ""
    return f"{url}/{run.workspace.reports.name}/{quote(build)}.html" if url else ""


def report_line(run: Run, build: str) -> str:
    """A line on how a build's report is opened: its address, or the command that writes it and prints its path."""
    if address := report_address(run, build):
        return f"Report: {address}"
    root = run.workspace.root
    place = "" if isinstance(root, ObjectPath) else f" on {socket.gethostname()}"
    return f"Report: run `evenly report {build} --root {shlex.quote(str(root))}`{place}; it prints the page's path"


def _adapter_rows(run: Run, build: str) -> list[dict[str, Any]]:
    rows = []
    for record in latest_made(run.ledger, "evaluate_adapters", build=build):
        for row in Ledger(run.workspace).table(record, "results").to_pylist():
            shown = {heading: _rounded(row[name]) for name, heading in _ADAPTER_COLUMNS.items()}
            rows.append({"list": record.rule["list"], **shown})
    return rows


def _rounded(cell: Any) -> Any:  # noqa: ANN401 - a cell of the results
    return round(cell, _DIGITS) if isinstance(cell, float) else cell
