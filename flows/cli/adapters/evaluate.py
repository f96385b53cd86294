"""Commands that judge adapters on test pictures: evaluate, probe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from evenly.flows.cli.adapters.options import Normalise, OptionalRecipe, Out
from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import Recipe
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
    from evenly.flows.cli.adapters.evaluation_tables import print_evaluation, print_rejection

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


COMMANDS = {"evaluate": typed(evaluate_command, _print_evaluated), "probe": typed(probe_command, _print_probed)}
