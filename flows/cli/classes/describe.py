"""Commands about classes: describe, extract."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from annotated_types import Ge, Le

from evenly.flows.cli.adapters.options import ExtractOptions, OptionalRecipe
from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import counted, print_estimates, print_facts, print_rows, print_text, printable
from evenly.options import DescribeOptions
from evenly.signatures import Named, Place, taking


@dataclass(frozen=True, kw_only=True)
class DescribedOnce(DescribeOptions):
    """Options of `evenly describe`."""

    pairs_top: Annotated[int, Ge(2), "A pair: both in the top N of a picture or class text."] = 5
    pairs_cover: Annotated[float, Ge(0.01), Le(1.0), "Share of all such that is asked about."] = 0.9
    pool: Annotated[Place | None, "Count the synonyms in this .parquet, .csv or .jsonl."] = None
    caption: Annotated[str, "With --pool: its column of captions."] = "caption"
    plan: Annotated[bool, Named("--plan"), "Say what would be asked and cost; send nothing."] = False
    submit: Annotated[bool, "Emit the event that triggers the deployment, and return."] = False


@taking(DescribedOnce)
def describe_command(
    classes: Annotated[Path, typer.Argument(help="A class list: one name per line.")], options: DescribedOnce
) -> dict[str, Any]:
    """Write checked descriptions and synonyms for a class list; what is known already is not asked again.

    Example: evenly describe recipes/demo_classes.txt

    Example: evenly describe birds.txt --method differential,synonyms --build latest

    Example: evenly describe birds.txt --base-url https://api.openai.com/v1 --model gpt-4.1-mini --budget-usd 2
    --prompt-usd-per-million 0.4 --completion-usd-per-million 1.6 --plan
    """
    from evenly.adapters.methods.fudd import ConfusablePairs
    from evenly.flows.cli.classes.class_list import (
        describe_list,
        estimate_listing,
        language_model,
        list_context,
        submit_list,
    )
    from evenly.flows.recipe.files import read_class_file

    listing, root = read_class_file(classes), options.root
    methods = [name.strip() for names in options.methods or () for name in names.split(",")] or None
    llm = language_model(options)
    pairs = ConfusablePairs(top=options.pairs_top, cover=options.pairs_cover)
    if options.submit and (options.build is not None or options.pool is not None):
        raise UsageError(
            "`--submit` must come without --build and --pool; the deployment knows neither. Leave them out."
        )
    context = list_context(options.build, root=root, pairs=pairs, pool=options.pool, caption=options.caption)
    if options.plan:
        return {"descriptions": estimate_listing(listing, methods=methods, llm=llm, root=root, context=context)}
    if options.submit:
        return submit_list(listing, methods=methods, llm=llm, root=root)
    return describe_list(listing, methods=methods, llm=llm, root=root, context=context)


def _print_described(
    result: dict[str, Any],
    *,
    verbose: Annotated[bool, Named("--verbose"), "Print every text as well."] = False,
) -> None:
    if "event" in result:
        print_text(f"submitted {result['name']} as event {result['event']}")
        return
    if "step" not in result:
        print_estimates(result["descriptions"])
        return
    from evenly.tasks.classes.confusable import said

    print_described(result, verbose=verbose)
    if "names" in result:
        print_rows(f"captions of {result['captions_searched']:,} that hold a name", result["names"])
        print_rows("most frequent name, by REAL's two rules", result["most_frequent"])
    if "pairs_asked" in result:
        print_text(said(result))


@taking(ExtractOptions)
def extract_command(recipe: OptionalRecipe, options: ExtractOptions) -> dict[str, Any]:
    """Extract features of the latest build of a recipe, or of a folder of classes; --out is for `fit --arrays`.

    Example: evenly extract recipes/demo.yaml --list demo_classes --out pairs.npz

    Example: evenly extract --images digits --template "a picture of the number {}" --out digits.npz
    """
    if (recipe is None) == (options.images is None):
        raise UsageError("`extract` must get a recipe or `--images`, one of the two. Example: --images digits")
    from evenly.features.encoders.stages import profiled
    from evenly.flows.cli.adapters.extract import extract_latest, profile_facts

    with profiled() as profile:
        if recipe is not None:
            names = ("split", "classes", "template", "second")
            if named := [name for name in names if getattr(options, name) is not None]:
                raise UsageError(
                    f"`--{named[0]}` must come with `--images`; got a recipe, which says this itself. Leave it out."
                )
            result = extract_latest(recipe, options)
        elif options.images is not None:
            if options.class_list is not None:
                raise UsageError(
                    f"`--list` must come with a recipe; got `{options.class_list}` and --images. Leave it out."
                )
            if options.out is None:
                raise UsageError("`extract --images` must get `--out FILE.npz` as well. Add it.")
            from evenly.flows.cli.adapters.own_features.folders import extract_folder

            result = extract_folder(options.images, options.out, options)
    if options.profile:
        result["profile"] = profile_facts(profile)
    return result


def _print_extracted(result: dict[str, Any]) -> None:
    profile = result.get("profile")
    print_facts({name: value for name, value in result.items() if name != "profile"})
    if profile is None:
        return
    if not profile["pictures"]:
        print_text("no picture was encoded: all that were asked for have features")
        return
    print_rows("seconds of work", profile["stages"])
    print_text(
        f"{profile['pictures']:,} pictures in {profile['seconds']} s, {profile['pictures_per_s']} pictures/s; "
        f"{profile['limit']} is what limits it"
    )


def print_described(facts: Mapping[str, Any], *, verbose: bool = False) -> None:
    """Print what became of the texts of each class, what it took, and what nothing came of; see Descriptions.summary.

    verbose: every text as well.
    """
    texts = facts["descriptions"]
    if verbose:
        names = ("class", "method", "text", *(["other"] if any(text["other"] is not None for text in texts) else ()))
        print_rows("descriptions", texts, {name: name for name in names} | {"verdict": _verdict})
    print_rows("texts per class", _of_classes(texts))
    for line in _lines(facts):
        print_text(printable(line))
    if facts["undescribed"]:
        rows = [
            {"class": name or "(the list)", "method": method, "reasons": counted(reasons)}
            for name, method, reasons in facts["undescribed"]
        ]
        print_rows("without a text", rows)


def _verdict(text: Mapping[str, Any]) -> str:
    return str(text["verdict"]) + (f": {text['reason']}" if text["reason"] else "")


def _of_classes(texts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per class: accepted texts by method, and the others by reason."""
    from evenly.descriptions.descriptions import ACCEPTED

    classes: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for text in texts:
        accepted, refused = classes.setdefault(text["class"], (Counter(), Counter()))
        if text["verdict"] == ACCEPTED:
            accepted[text["method"]] += 1
        else:
            refused[text["reason"] or text["verdict"]] += 1
    return [
        {
            "class": name or "(the list)",
            "accepted": accepted.total(),
            "by method": counted(accepted),
            "refused": refused.total(),
            "by reason": counted(refused),
        }
        for name, (accepted, refused) in classes.items()
    ]


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{facts['class_list']}: {facts['accepted']:,} texts accepted for {facts['classes']:,} classes, "
        f"{_in_all(facts['rejected'])} rejected, {_in_all(facts['failed'])} failed"
    )
    cost = "" if facts["account"] is None else f", ${facts['cost_usd']:.6f}"
    yield (
        f"{facts['requests_sent']:,} requests sent, {facts['cache_hits']:,} replies known before; "
        f"{facts['prompt_tokens']:,} + {facts['completion_tokens']:,} tokens{cost}"
    )
    if facts["lost_attempts"]:
        yield (
            f"{facts['lost_attempts']:,} attempts brought no reply and may have been billed: at most "
            f"${facts['lost_usd']:.6f} more"
        )
    if (account := facts["account"]) is not None:
        limit = "" if account["limit_usd"] is None else f" of ${account['limit_usd']:.6f}"
        yield f"all runs on {facts['class_list']}: ${account['spent_usd']:.6f} spent{limit}"
    if facts["ungrounded"]:
        yield f"without a WordNet sense: {', '.join(facts['ungrounded'])}"
    if facts["unanswered"]:
        yield f"requests without an answer: {_in_all(facts['unanswered'])}. Run again: only these are asked"
    yield f"step {facts['step']}"


def _in_all(reasons: Mapping[str, int]) -> str:
    """A number, with the reasons that it is made of."""
    named = f" ({counted(reasons)})" if reasons else ""
    return f"{sum(reasons.values()):,}{named}"


COMMANDS = {
    "describe": typed(describe_command, _print_described),
    "extract": typed(extract_command, _print_extracted),
}
