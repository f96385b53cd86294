"""Commands that choose pictures for classes: retrieve."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenly.flows.cli.datasets.concepts import Classes, Synonyms
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import AsJson, print_funnel, print_result, print_rows, print_text, printable
from evenly.signatures import Root

if TYPE_CHECKING:
    from evenly.flows.cli.datasets.retrieval import PoolChoice


def retrieve_command(
    classes: Classes,
    root: Root = None,
    as_json: AsJson = False,
    build: Annotated[
        str | None, typer.Option(help="The build whose pictures are chosen from, or a recipe; default: latest.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="Your own instead: a folder of pictures, .tar shards, .parquet with features.")
    ] = None,
    caption: Annotated[str | None, typer.Option(help="With --pool: their column or key; default: caption.")] = None,
    vector: Annotated[str | None, typer.Option(help="With --pool: the features in or beside the .parquet.")] = None,
    model: Annotated[str, typer.Option(help="With --pool: `embedded`, or an open_clip model.")] = "embedded",
    pretrained: Annotated[str | None, typer.Option(help="With --pool: the weights of the model.")] = None,
    method: Annotated[str, typer.Option(help="t2t, t2i, swat or reco; docs/concepts.md.")] = "t2t",
    per_class: Annotated[int, typer.Option(min=1, help="Pictures wanted for each class.")] = 100,
    synonyms: Synonyms = None,
    template: Annotated[list[str] | None, typer.Option(help="A prompt, {} the name; may be repeated.")] = None,
    min_image_cosine: Annotated[
        float | None, typer.Option(help="Least cosine of picture and prompts; default: 0.25 with swat, else none.")
    ] = None,
    max_duplicate_cosine: Annotated[
        float | None, typer.Option(help="Pictures nearer to one another are merged; default: 0.9 with swat, else none.")
    ] = None,
    seed_share: Annotated[float, typer.Option(min=0.01, max=1, help="Share that makes a prototype.")] = 0.5,
    against: Annotated[
        list[Path] | None, typer.Option(help="A folder or file of evaluation pictures to stay clear of; repeatable.")
    ] = None,
    max_evaluation_cosine: Annotated[float, typer.Option(help="With --against: from which cosine on.")] = 0.95,
    out: Annotated[Path | None, typer.Option(help="The folder to write tables, prototypes and support.npz to.")] = None,
) -> None:
    """Choose pictures for each class by captions and features, without labels, as a set to learn from.

    Example: evenly retrieve birds.txt --method swat --synonyms wordnet --out support

    Example: evenly retrieve birds.txt --pool photos --caption text --per-class 16 --out support

    Example: evenly fit --arrays support/support.npz --adapter real_linear --out fitted
    """
    from evenly.flows.cli.datasets.retrieval import TEMPLATES, Retrieving, retrieve_list

    chosen = _pool(build, pool, caption=caption, vector=vector, model=model, pretrained=pretrained)
    retrieving = Retrieving(
        method=method,
        per_class=per_class,
        templates=tuple(template or TEMPLATES),
        synonyms=synonyms,
        min_image_cosine=min_image_cosine,
        max_duplicate_cosine=max_duplicate_cosine,
        seed_share=seed_share,
        against=tuple(against or ()),
        max_evaluation_cosine=max_evaluation_cosine,
    )
    facts = retrieve_list(classes, retrieving, pool=chosen, out=out, root=root)

    def table() -> None:
        if "pool" in facts:
            print_funnel(facts["pool"])
            print_text(f"build {facts['build']}")
        rows = [{name: row[name] for name in ("class", "candidates", "kept", "short")} for row in facts["classes"]]
        print_rows(f"{facts['list']} by {facts['method']}", rows)
        print_text(
            f"{facts['kept']:,} kept, {facts['different_pictures']:,} different pictures of {facts['pictures']:,}"
        )
        for title, counts in (("never chosen", facts["excluded"]), ("not kept", facts["reasons"])):
            print_text(f"{title}: {', '.join(f'{reason} {n:,}' for reason, n in counts.items()) or 'none'}")
        if facts["short"]:
            print_text(f"fall short: {len(facts['short'])} classes: {printable(', '.join(facts['short']))}")
        for path in facts.get("written", ()):
            print_text(f"written  {path}")

    print_result(facts, table, as_json=as_json)


def _pool(
    build: str | None, pool: str | None, *, caption: str | None, vector: str | None, model: str, pretrained: str | None
) -> "PoolChoice":
    from evenly.flows.cli.datasets.retrieval import PoolChoice
    from evenly.flows.collect_pool import pool_source
    from evenly.flows.recipe import RecipeFeatures

    if pool is None:
        if caption is not None or vector is not None or (model, pretrained) != ("embedded", None):
            raise UsageError(
                "`--caption`, `--vector`, `--model` and `--pretrained` must go with `--pool`; got none. Leave "
                "them out: a build has its own encoder."
            )
        return PoolChoice(build=build or "latest")
    if build is not None:
        raise UsageError("`retrieve` must get `--build` or `--pool`, not both. Leave one out.")
    features = RecipeFeatures(model=model, pretrained=pretrained)
    return PoolChoice(source=pool_source(pool, features, caption=caption, vector=vector), features=features)


COMMANDS: dict[str, Callable[..., None]] = {"retrieve": retrieve_command}
