"""The page as a whole: what each section reads from the ledger, put into the templates beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evenly.audit.funnel import kept_by_source, largest_losses, read_funnel, read_key_figures, read_source_funnel
from evenly.audit.published import PublishedBuild, ReadBytes
from evenly.audit.report.balance import read_balance
from evenly.audit.report.captions import read_recaptioning, read_scores
from evenly.audit.report.classes import read_adapters, read_descriptions
from evenly.audit.report.gallery import read_gallery
from evenly.audit.report.overview import read_overview
from evenly.audit.report.probes import read_probes, read_worth
from evenly.audit.safe_text import visible
from evenly.storage.ledger import StepRecord
from evenly.storage.records import content_hash
from evenly.storage.workspace import Workspace

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
    funnel = read_funnel(build)
    return page_environment().get_template("page.html.j2").render(
        manifest=manifest,
        overview=read_overview(build),
        figures=read_key_figures(build),
        funnel=funnel,
        sources=kept_by_source(read_source_funnel(build)),
        losses=largest_losses(funnel),
        balance=read_balance(build),
        scores=read_scores(build),
        captions=read_recaptioning(build, read_bytes),
        gallery=read_gallery(build, read_bytes),
        truth=[dict(row) for row in truth],
        truth_extra=_extra_columns(truth),
        adapters=read_adapters(build.ledger, evaluations),
        descriptions=read_descriptions(build.ledger, descriptions),
        probes=read_probes(build.ledger, probes),
        worth=read_worth(build.ledger, worth),
        records=build.records,
        recipe=json.dumps(manifest["recipe"], indent=2, ensure_ascii=False, sort_keys=False).splitlines(),
    )  # fmt: skip


def read_sources(workspace: Workspace, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The funnel of each source of a build: see read_source_funnel."""
    return read_source_funnel(PublishedBuild(workspace, manifest))


def report_code() -> str:
    """The hash, in hex, of the code and templates that reports are made by."""
    files = [file for file in TEMPLATES.parent.rglob("*.*") if file.suffix in {".py", ".j2", ".css"}]
    return content_hash({str(file.relative_to(TEMPLATES.parent)): file.read_text("utf-8") for file in files})


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
