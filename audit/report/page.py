"""The page as a whole: its first screen, and what each section reads from the ledger, for the templates beside it."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evenly.audit.card import read_balance
from evenly.audit.diff import count_moves
from evenly.audit.errors import AuditError
from evenly.audit.funnel import kept_by_source, largest_losses, read_funnel, read_key_figures, read_source_funnel
from evenly.audit.published import PublishedBuild, ReadBytes
from evenly.audit.report.captions import read_recaptioning, read_scores
from evenly.audit.report.classes import read_adapters, read_descriptions
from evenly.audit.report.gallery import read_gallery
from evenly.audit.report.probes import read_probes, read_worth
from evenly.audit.report.regions import count_regions
from evenly.audit.safe_text import visible
from evenly.curation.align import ALIGN
from evenly.curation.captions.judgement import RECAPTION
from evenly.curation.regions.judgement import FIND_REGIONS
from evenly.storage.builds import Builds
from evenly.storage.errors import StorageError
from evenly.storage.journals import PAGE, RunRecord, read_runs
from evenly.storage.ledger import StepRecord
from evenly.storage.records import content_hash, read_if_there
from evenly.storage.workspace import Workspace

KINDS = ("entered", "left", "changed")
SHOWN = 5
"""Changes, the largest first, and steps of which more is lost."""
LEAST_GROWTH = 0.01
"""By so much of its rows a step must lose more than before to be looked at, and by GROWTH times."""
GROWTH = 1.5
FAILING = 0.1
"""The share of its rows on which a step must fail to be looked at in a first build."""
Losses = Mapping[str, float]
"""The shares of a step's rows that went by each reason; under "" that on which it failed."""


def standing_of(workspace: Workspace, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Where a build stands among those of its recipe, as JSON values.

    previous: the build that was `latest` when it was made; where the journal does not say, and of part of the pool, the
    newest one before it of the same limit. latest: that which was promoted, and whether it is the "same", "older" or
    "newer" (`latest_is`). was_held: it was held back when made. hold: why promotions are. None where there is none.
    asked_again: URLs that the run which made it asked again, by the reason of their failure. failed: runs since its
    last one that failed. overdue: since when no rebuild ended with it, where people were told that it is too old.
    """
    builds, recipe = Builds(workspace), str(manifest["recipe_name"])
    created = {
        str(build["build"]): str(build["created"])
        for build in builds.manifests()
        if build["recipe_name"] == recipe and build["limit"] == manifest["limit"]
    }
    latest, failed, last = builds.latest_of(recipe), list[RunRecord](), None
    for run in read_runs(workspace, recipe):
        if run.build == manifest["build"]:
            last = run
            break
        failed += [run] if run.outcome == "failed" else []
    started = islice(read_runs(workspace, recipe, started_by=str(manifest["created"])), PAGE)
    last_run = next((run for run in started if run.build == manifest["build"]), None)
    earlier = [build for build, moment in created.items() if moment < manifest["created"]]
    if last_run is not None and last_run.previous in created:
        earlier = [last_run.previous]
    stale = workspace.runs / recipe / "stale" / f"{manifest['build']}.json"
    overdue = None if last is None else (read_if_there(stale) or {}).get("since")
    return {
        "previous": earlier[-1] if earlier else None,
        "latest": latest,
        "latest_is": _compared(created.get(latest or ""), str(manifest["created"])),
        "was_held": last_run is not None and last_run.outcome == "held",
        "hold": builds.holds().get(recipe),
        "asked_again": {} if last_run is None else dict(last_run.asked_again),
        "failed": [{"ended": run.ended, "error": run.error} for run in reversed(failed) if last is not None],
        "overdue": overdue if overdue and last is not None and last.ended <= overdue else None,
    }


def _compared(latest: str | None, created: str) -> str | None:
    if latest is None:
        return None
    return "same" if latest == created else "older" if latest < created else "newer"


def read_overview(build: PublishedBuild) -> dict[str, Any]:
    """`standing` of the build, its `moves` since the previous one, and the steps that are `grown` or `failing`.

    moves: None without a previous build, a text where the two cannot be compared. grown: steps that fail on more of
    their rows than in the previous build, or that more go by for a reason, with both shares. failing: those that fail
    on many, where there is nothing to compare them with.
    """
    standing = standing_of(build.workspace, build.manifest)
    if standing["previous"] is None:
        losses = _losses(build.manifest)
        failing = [{"name": name, "share": shares[""]} for name, shares in losses.items() if shares[""] >= FAILING]
        return {"standing": standing, "moves": None, "grown": [], "failing": failing}
    previous = Builds(build.workspace).read(standing["previous"])
    return {
        "standing": standing,
        "moves": _read_moves(build, previous),
        "grown": _grown(_losses(previous), _losses(build.manifest)),
        "failing": [],
    }


def _read_moves(build: PublishedBuild, previous: Mapping[str, Any]) -> dict[str, Any] | str:
    try:
        difference = count_moves(build.workspace, previous, build.manifest)
    except (AuditError, StorageError) as error:  # of the previous build: this one can be shown all the same
        return str(error)
    moves = [(kind, change) for kind in KINDS for change in getattr(difference, kind)]
    return {
        **{name: getattr(difference, name) for name in ("before", "kept_before", "kept_after", "unchanged", "causes")},
        **{kind: sum(change.count for its_kind, change in moves if its_kind == kind) for kind in KINDS},
        "created": previous["created"],
        "largest": sorted(moves, key=lambda move: -move[1].count)[:SHOWN],
    }


def _losses(manifest: Mapping[str, Any]) -> dict[str, Losses]:
    """The losses of each step that judges rows."""
    return {
        step["name"]: {
            name: count / max(step["rows_in"], 1)
            for name, count in {"": step["counts"]["failed"], **step["reasons"]}.items()
        }
        for step in manifest["steps"]
        if step["counts"]
    }


def _grown(previous: Mapping[str, Losses], losses: Mapping[str, Losses]) -> list[dict[str, Any]]:
    """The steps of both builds in which a share has grown, the largest growth first: name, failed and reasons."""
    steps = list[tuple[float, dict[str, Any]]]()
    for name in losses.keys() & previous.keys():
        shares = {reason: (share, previous[name].get(reason, 0.0)) for reason, share in losses[name].items()}
        grown = {
            reason: (share, earlier)
            for reason, (share, earlier) in shares.items()
            if share - earlier >= LEAST_GROWTH and share >= GROWTH * earlier
        }
        if grown:
            growth = max(share - earlier for share, earlier in grown.values())
            steps.append((growth, {"name": name, "failed": grown.pop("", None), "reasons": grown}))
    return [step for _, step in sorted(steps, key=lambda item: (-item[0], item[1]["name"]))[:SHOWN]]


TEMPLATES = Path(__file__).parent / "templates"
NOTHING = "\N{EN DASH}"


def render_report(
    workspace: Workspace,
    manifest: Mapping[str, Any],
    *,
    evaluations: Sequence[StepRecord] = (),
    descriptions: Sequence[StepRecord] = (),
    probes: Sequence[StepRecord] = (),
    worth: Sequence[StepRecord] = (),
    truth: Sequence[Mapping[str, Any]] = (),
    read_bytes: ReadBytes,
) -> str:
    """Return one self-contained HTML page about a build; the same build, beside the same others, gives the same page.

    `evaluations`, `descriptions`, `probes` and `worth` are steps made for the build; `truth` says per injected fault
    how well it was found. A section without data is left out. The page loads nothing and runs nothing: styles, plots
    and small pictures are inside, and every text is escaped, control characters made visible.
    """
    build = PublishedBuild(workspace, manifest)
    funnel, regions = read_funnel(build), build.step(FIND_REGIONS.name)
    align, recaption = build.step(ALIGN.name), build.step(RECAPTION.name)
    return page_environment().get_template("page.html.j2").render(
        manifest=manifest,
        overview=read_overview(build),
        figures=read_key_figures(build),
        funnel=funnel,
        sources=kept_by_source(read_source_funnel(build)),
        losses=largest_losses(funnel),
        balance=read_balance(build),
        scores=[] if align is None else read_scores(build, align),
        captions=None if recaption is None else read_recaptioning(build, recaption, read_bytes),
        gallery=read_gallery(build, read_bytes),
        regions=None if regions is None else count_regions(build, regions, read_bytes),
        truth=[dict(row) for row in truth],
        truth_extra=_extra_columns(truth),
        adapters=evaluations and read_adapters(build.ledger, evaluations),
        descriptions=descriptions and read_descriptions(build.ledger, descriptions),
        probes=probes and read_probes(build.ledger, probes),
        worth=worth and read_worth(build.ledger, worth),
        records=build.records,
        recipe=json.dumps(manifest["recipe"], indent=2, ensure_ascii=False, sort_keys=False).splitlines(),
    )  # fmt: skip


def read_sources(workspace: Workspace, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The funnel of each source of a build: see read_source_funnel."""
    return read_source_funnel(PublishedBuild(workspace, manifest))


def report_code() -> str:
    """The hash, in hex, of the code and templates that reports are made by, tables of the domain among them."""
    root = Path(__file__).parents[2]
    rooms = ("audit", "curation", "descriptions", "adapters")
    files = [file for room in rooms for file in (root / room).rglob("*.*") if file.suffix in {".py", ".j2", ".css"}]
    return content_hash({str(file.relative_to(root)): file.read_text("utf-8") for file in files})


def page_environment() -> Environment:
    """The templates beside this file: every text is escaped, and what would act in it is shown instead."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    environment.filters |= {"count": _count, "percent": _percent, "number": _number, "words": _words}
    environment.filters |= {"cell": _cell, "points": _points, "json": _json}
    environment.globals["scroll"] = _scroll
    environment.globals["style"] = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - our own
    return environment


def _scroll(label: str) -> Markup:
    """The attributes of an element that scrolls sideways, so that the keyboard reaches it and a reader names it."""
    return Markup('class="scroll" tabindex="0" role="group" aria-label="{}"').format(visible(label).removesuffix(", "))


def _seen(value: object) -> object:
    """Every value on its way to the page: what would act in a text is shown instead, None is nothing."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _extra_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of the truth table beside those that every row has a place for, in the order met."""
    main = ("fault", "injected", "judged", "found", "claimed", "precision", "recall")
    return [name for name in dict.fromkeys(name for row in rows for name in row) if name not in main]


def _count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def _number(value: float | None, digits: int = 3) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _points(value: float | None) -> str:
    """A difference of two shares in percentage points, with its sign."""
    return NOTHING if value is None else f"{100 * value:+.1f}".replace("-", "\u2212")


def _words(name: str) -> str:
    """A snake_case name as words."""
    return name.replace("_", " ")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cell(value: object) -> str:
    """Any value for a cell of a table whose columns are not known beforehand."""
    if value is None:
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    is_whole = isinstance(value, int) or value.is_integer()
    return f"{value:,.0f}" if is_whole else f"{value:.3f}"
