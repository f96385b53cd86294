"""`evenly effects`: the claims of all methods, judged on the proving ground."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from annotated_types import Ge

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import print_rows, print_text
from evenly.signatures import InWorkspace, Named, Place, taking

if TYPE_CHECKING:
    from evenly.adapters.effects import Claim

FROZEN = "the frozen encoder"


@dataclass(frozen=True, kw_only=True)
class EffectsOptions(InWorkspace):
    """Options of `evenly effects`."""

    refine: Annotated[
        str, "Refined encoders of the workspace to judge beside the frozen one, with commas; empty: none."
    ] = "ground"
    only: Annotated[str, "Numbers of the systems to judge, with commas; empty: all."] = ""
    seeds: Annotated[int, Ge(1), "How often what is drawn is drawn anew."] = 3
    check_choices: Annotated[
        bool, Named("--check-choices"), "Permute the test labels too: the same must be chosen."
    ] = False
    markdown: Annotated[Place | None, "Write the page of docs/effects.md there, and its plot beside it."] = None


@taking(EffectsOptions)
def effects_command(
    ground: Annotated[Path, typer.Argument(help="A folder that `evenly demo --ground` made.")], options: EffectsOptions
) -> dict[str, Any]:
    """Judge what each method claims against its rival on the proving ground, with intervals, controls and verdicts.

    The workspace is `workspace/` of the ground, unless `root` names another.

    Example: evenly effects ~/.cache/evenly/ground

    Example: evenly effects ~/.cache/evenly/ground --only 12,28

    Example: evenly effects ~/.cache/evenly/ground --markdown docs/effects.md --check-choices
    """
    from evenly.adapters.effects.ground import permuted_test
    from evenly.adapters.effects.page import effects_page
    from evenly.audit.report.plots.effects import draw_effects
    from evenly.flows.runs import workspace_run
    from evenly.storage.records import replace_text
    from evenly.tasks.adapters.effects import measure_effects, read_ground
    from evenly.tasks.run import EncoderChoice, SecondChoice

    claims = _chosen_claims(options.only)
    root = ground / "workspace" if options.root is None else options.root
    names = [None, *(name.strip() for name in options.refine.split(",") if name.strip())]
    seeds = range(1, options.seeds + 1)
    tables: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        run = workspace_run(root, encoder=EncoderChoice(refine=name), second=SecondChoice())
        rows = read_ground(run, ground)
        encoder = FROZEN if name is None else f"the refined encoder `{name}`"
        tables[encoder] = measure_effects(run, rows, seeds=seeds, claims=claims)
        if options.check_choices:
            permuted = measure_effects(run, permuted_test(rows, seed=1), seeds=seeds, claims=claims)
            _check_choices(tables[encoder], permuted)
    further = [] if options.refine == "ground" else ["--refine", options.refine]
    further += ["--only", options.only] if options.only else []
    command = shlex.join(["evenly", "effects", "GROUND", *further])
    if options.markdown is not None:
        page = Path(options.markdown)
        replace_text(page.with_suffix(".svg"), draw_effects(tables))
        replace_text(page, effects_page(tables, command=command, seeds=options.seeds, plot=f"{page.stem}.svg"))
    return {"ground": str(ground), "seeds": list(seeds), "encoders": tables}


def _chosen_claims(numbers: str) -> "Sequence[Claim]":
    from evenly.adapters.effects import CLAIMS

    wanted = {name.strip() for name in numbers.split(",") if name.strip()}
    judged = {str(claim.number) for claim in CLAIMS}
    if wanted - judged:
        raise UsageError(
            f"`only` must be numbers of systems, {', '.join(sorted(judged, key=int))}; got "
            f"{', '.join(sorted(wanted - judged))}. Leave it out to judge all."
        )
    return [claim for claim in CLAIMS if not wanted or str(claim.number) in wanted]


def _check_choices(lines: list[dict[str, Any]], permuted: list[dict[str, Any]]) -> None:
    for line, again in zip(lines, permuted, strict=True):
        if line.get("chosen") != again.get("chosen"):
            raise UsageError(
                f"choices must not depend on test labels; `{line['system']}` chose {line.get('chosen')}, and "
                f"{again.get('chosen')} with permuted ones. Report this."
            )


def _print_effects(result: Mapping[str, Any]) -> None:
    from evenly.adapters.effects.page import shown_values, verdict_counts

    for encoder, lines in result["encoders"].items():
        columns = ("rival, method", "gain", "verdict", "to decide")
        rows = [{"system": line["system"], "against": line["rival"], **shown_values(line)} for line in lines]
        print_rows(encoder, [{name: row[name] for name in ("system", "against", *columns)} for row in rows])
        print_text(verdict_counts(lines))


COMMANDS = {"effects": typed(effects_command, _print_effects)}
