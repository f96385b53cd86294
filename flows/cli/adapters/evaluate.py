"""Commands that judge adapters on test pictures, and two protocols of the field: base-to-new, sessions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from annotated_types import Ge

from evenly.flows.cli.adapters.options import BaseToNewOptions, Normalise, OptionalRecipe, Out, SessionsOptions
from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import Recipe, interval, print_rows, print_text
from evenly.signatures import InWorkspace, Named, taking


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(InWorkspace):
    """Options of `evenly evaluate`."""

    slices: Annotated[
        list[str] | None,
        Named("--slice"),
        "A column of the sample table: accuracy per value of it. Several with commas between are crossed. May "
        "be repeated.",
    ] = None
    arrays: Annotated[Path | None, "With --retrieval: an .npz of features instead of a recipe."] = None
    part: Annotated[str | None, "With --retrieval: train, val or test of each class list."] = None
    reject: Annotated[
        bool, Named("--reject"), "Open-set H: reject pictures of no class by a threshold chosen on val."
    ] = False
    retrieval: Annotated[
        bool, Named("--retrieval"), "The encoder: how it finds pictures by captions, captions by pictures."
    ] = False
    pairs: Annotated[int, Ge(2), "With --retrieval: how many of them."] = 5000
    normalise: Normalise = False


@taking(EvaluateOptions)
def evaluate_command(recipe: OptionalRecipe, options: EvaluateOptions) -> dict[str, Any]:
    """Evaluate the adapters of a recipe once on test data, with intervals and the difference to zero-shot.

    Example: evenly evaluate recipes/demo.yaml --slice width --slice label,source

    Example: evenly evaluate recipes/demo.yaml --retrieval --part test
    """
    if (recipe is None) == (options.arrays is None):
        raise UsageError("`evaluate` must get a recipe or `--arrays`, one of the two. Example: evenly evaluate r.yaml")
    if options.retrieval:
        if options.slices or options.reject:
            raise UsageError(
                "`--retrieval` must stand without `--slice` and `--reject`, which are of adapters. Leave them out."
            )
        from evenly.flows.cli.adapters.retrieval import array_retrieval, recipe_retrieval

        if recipe is not None:
            measured = recipe_retrieval(recipe, pairs=options.pairs, part=options.part, root=options.root)
        elif options.arrays is not None:
            measured = [array_retrieval(options.arrays, part=options.part, normalise=options.normalise)]
        return {"retrieval": measured}
    if recipe is None or options.part is not None:
        raise UsageError("`--arrays` and `--part` must stand with `--retrieval`; got no `--retrieval`. Add it.")
    from evenly.flows.cli.adapters.evaluation import evaluate_latest

    return evaluate_latest(recipe, root=options.root, slices=options.slices or ())


def _print_evaluated(result: dict[str, Any], *, reject: bool) -> None:
    if "retrieval" in result:
        from evenly.flows.cli.adapters.retrieval import print_retrieval

        print_retrieval(result["retrieval"])
        return
    from evenly.flows.cli.adapters.evaluation import print_evaluation, print_rejection

    for facts in result["lists"]:
        print_evaluation(facts)
        if reject:
            print_rejection(facts)


@dataclass(frozen=True, kw_only=True)
class ProbeOptions(InWorkspace):
    """Options of `evenly probe`."""

    out: Out = None
    corruptions: Annotated[bool, "Test pictures in twelve corruptions at five strengths."] = True
    diversity: Annotated[bool, "Diversity of the pictures given their captions."] = True
    binding: Annotated[bool, "Whether each of two objects gets its own colour."] = True
    retrieval: Annotated[bool, "How captions and pictures find each other."] = True


@taking(ProbeOptions)
def probe_command(recipe: Recipe, options: ProbeOptions) -> dict[str, Any]:
    """Probe the adapters of a recipe and its encoder: what corrupted pictures cost, what captions leave open.

    Example: evenly probe recipes/demo.yaml --no-diversity
    """
    from evenly.flows.cli.adapters.probe import PROBES, probe_latest

    probes = {name: getattr(options, name) for name in PROBES}
    return probe_latest(recipe, root=options.root, out=options.out, probes=probes)


def _print_probed(result: dict[str, Any]) -> None:
    from evenly.flows.cli.adapters.probe import print_probes

    print_probes(result)


@taking(BaseToNewOptions)
def base_to_new_command(
    files: Annotated[list[Path], typer.Argument(help="Files of features, one per data set.")], options: BaseToNewOptions
) -> dict[str, Any]:
    """Fit on the first half of the classes, judge that half and the other apart; both harmonic means, named.

    Example: evenly base-to-new digits.npz --adapter gda_base_to_new
    """
    from evenly.flows.cli.adapters.protocol_runs import base_to_new as run

    return run(files, options)


def _print_base_to_new(result: dict[str, Any]) -> None:
    names = {name: name for name in ("data_set", "base", "new", "harmonic_mean")}
    columns = names | {name: interval(name) for name in ("base", "new")}
    print_rows(f"base to new, {result['adapter']}: accuracy with 95 % intervals", result["data_sets"], columns)
    print_text(f"mean of the harmonic means {result['mean_of_harmonic_means']:.4f}")
    print_text(f"harmonic mean of the averages {result['harmonic_mean_of_averages']:.4f}")
    kept = [row["data_set"] for row in result["data_sets"] if row["kept_zero_shot"]]
    if kept:
        print_text(f"zero-shot kept, validation shows no gain: {', '.join(kept)}")
    for row in result["data_sets"]:
        for note in row["notes"]:
            print_text(f"note: {row['data_set']}: {note}")


@taking(SessionsOptions)
def sessions_command(
    file: Annotated[Path, typer.Argument(help="A file of features.")], options: SessionsOptions
) -> dict[str, Any]:
    """Learn classes session by session: accuracy over the classes seen so far, average, drop.

    Example: evenly sessions digits.npz --first 4 --step 2 --adapter cpe --against gda_incremental
    """
    from evenly.flows.cli.adapters.protocol_runs import sessions as run

    return run(file, options)


def _print_sessions(result: dict[str, Any]) -> None:
    names = {name: name for name in ("session", "classes", "rows", "accuracy", "old", "new")}
    columns = names | {"accuracy": interval("accuracy")}
    for learner in (result, *([result["against"]] if "against" in result else [])):
        title = f"{learner['adapter']}: accuracy over the classes seen so far, with 95 % intervals"
        print_rows(title, learner["sessions"], columns)
        print_text(f"average {learner['average']:.4f}, performance drop {learner['performance_drop']:.4f}")
    if "against" in result:
        gain = result["against"]["gain"]
        ends = "no interval" if gain["low"] is None else f"[{gain['low']:+.4f}, {gain['high']:+.4f}]"
        print_text(f"gain of the average over {result['against']['adapter']} {gain['estimate']:+.4f} {ends}")
    for note in result["notes"]:
        print_text(f"note: {note}")


COMMANDS = {
    "evaluate": typed(evaluate_command, _print_evaluated),
    "probe": typed(probe_command, _print_probed),
    "base-to-new": typed(base_to_new_command, _print_base_to_new),
    "sessions": typed(sessions_command, _print_sessions),
}
