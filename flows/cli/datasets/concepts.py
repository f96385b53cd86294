"""Commands about classes and records in a pool or a build: concepts, clusters, link."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from evenly.flows.cli.output import AsJson, print_facts, print_result, print_rows, print_text, printable
from evenly.signatures import Root

if TYPE_CHECKING:
    from evenly.adapters.evaluation.measures.head_tail import TailRule

Classes = Annotated[Path, typer.Argument(help="A class list: one name per line, perhaps a tab and a definition.")]
Synonyms = Annotated[
    str | None,
    typer.Option(
        help="Other names: a .json, .tsv or .txt file, `wordnet`, or a described list (its name, a step key)."
    ),
]
MOST_REFUSED = 8
MOST_CLUSTERS = 10


def concepts_command(
    classes: Classes,
    root: Root = None,
    as_json: AsJson = False,
    build: Annotated[str | None, typer.Option(help="The build whose whole pool is looked at, or a recipe.")] = None,
    pool: Annotated[Path | None, typer.Option(help="A pool instead: .parquet, .csv or .jsonl.")] = None,
    caption: Annotated[str, typer.Option(help="With --pool: its column of captions.")] = "caption",
    synonyms: Synonyms = None,
    prefix: Annotated[str | None, typer.Option(help="A word that a caption must hold as well: satellite.")] = None,
    judge: Annotated[int, typer.Option(min=0, help="Most captions per class that a model judges; REAL: 10000.")] = 0,
    domain: Annotated[str | None, typer.Option(help="What kind of things the classes are, for the judge.")] = None,
    tail: Annotated[str, typer.Option(help="lowest_fifth, or published: one class more.")] = "lowest_fifth",
    base_url: Annotated[str, typer.Option(help="`embedded`, or an OpenAI-compatible endpoint.")] = "embedded",
    model: Annotated[str, typer.Option(help="The model's name at that endpoint.")] = "smollm2",
    budget_usd: Annotated[float | None, typer.Option(help="What the list may cost in all its runs.")] = None,
    prompt_usd_per_million: Annotated[float, typer.Option(help="Price of a million prompt tokens.")] = 0.0,
    completion_usd_per_million: Annotated[float, typer.Option(help="Price of a million tokens of replies.")] = 0.0,
    out: Annotated[Path | None, typer.Option(help="Write classes to this .csv or .parquet, names beside it.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the long tail into this .svg.")] = None,
    *,
    plurals: Annotated[bool, typer.Option("--plurals", help="Count plain plurals of names as well.")] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Ask through the endpoint's Batch API.")] = False,
) -> None:
    """Count how often captions name each class, by which name, and have a model judge how often they mean it.

    Example: evenly concepts birds.txt --build latest --synonyms wordnet --plot tail.svg

    Example: evenly concepts land.txt --pool pool.parquet --prefix satellite --judge 1000 --out land.csv
    """
    from evenly.audit.report.plots.classes import draw_concepts
    from evenly.flows.cli.classes.class_list import language_model, list_context
    from evenly.flows.cli.datasets.concept_audit import (
        Counting,
        audit_list,
        check_plot,
        check_table,
        ordered,
        write_tables,
    )
    from evenly.storage.records import replace_text

    llm = language_model(
        base_url=base_url,
        model=model,
        budget_usd=budget_usd,
        prompt_usd_per_million=prompt_usd_per_million,
        completion_usd_per_million=completion_usd_per_million,
        batch=batch,
    )
    if out is not None:
        check_table(out)
    if plot is not None:
        check_plot(plot)
    context = list_context(build, root=root, pool=pool, caption=caption)
    counting = Counting(
        synonyms=synonyms, prefix=prefix, plurals=plurals, judge=judge, domain=domain, tail=cast("TailRule", tail)
    )
    facts = audit_list(classes, counting, build=context.build, pool=context.pool, llm=llm, root=root)
    rows = ordered(facts["classes"], facts["tail_by"])
    written = [] if out is None else write_tables(out, facts)
    if plot is not None:
        title = f"{facts['list']} in {facts['captions_searched']:,} captions"
        replace_text(plot, draw_concepts(rows, title=title))
        written.append(str(plot))

    def table() -> None:
        title = f"{facts['list']}: captions of {facts['captions_searched']:,} that name each class"
        print_rows(title, [_line(row, judged=bool(judge)) for row in rows])
        _print_notes(facts)
        for path in written:
            print_text(f"written  {path}")

    print_result(facts | {"written": written}, table, as_json=as_json)


def clusters_command(
    root: Root = None,
    as_json: AsJson = False,
    build: Annotated[str, typer.Option(help="The build whose pictures are clustered.")] = "latest",
    k: Annotated[int, typer.Option("--k", min=1, help="Clusters.")] = 1000,
    labels: Annotated[int, typer.Option(min=1, help="Nearest clusters that each picture gets.")] = 8,
    iterations: Annotated[int, typer.Option(min=1, help="Of k-means.")] = 20,
    near_cosine: Annotated[float, typer.Option(min=-1, max=1, help="From which cosine on two are duplicates.")] = 0.95,
    out: Annotated[Path | None, typer.Option(help="The folder to write tables to, as Parquet.")] = None,
) -> None:
    """Cluster the pictures of a build, several clusters for each, and say how evenly they fill them.

    Example: evenly clusters --build latest --k 200 --labels 8 --out clusters
    """
    from evenly.flows.cli.datasets.clusters import cluster_build

    facts = cluster_build(build, k=k, labels=labels, iterations=iterations, near_cosine=near_cosine, out=out, root=root)

    def table() -> None:
        title = f"{facts['pictures']:,} pictures in {facts['k']:,} clusters, {facts['labels']} labels each"
        measures = ("effective", "entropy", "gini", "largest", "empty")
        rows = [
            {"counted": name.replace("_", " ")} | {measure: facts[name][measure] for measure in measures}
            for name in ("by_nearest", "by_all_labels")
        ]
        print_rows(title, rows)
        print_rows("the fullest clusters", facts["clusters"][:MOST_CLUSTERS])
        covered, share = facts["coverage"], facts["near_duplicate_share"]
        covered_text = ", ".join(f"{name} {covered[name]}" for name in ("mean", "median", "p05"))
        print_text(f"cosine with the nearest centre: {covered_text}")
        print_text(
            f"near-duplicates, cosine from {near_cosine:g} within a cluster: {facts['near_duplicates']:,} ({share:.1%})"
        )
        for path in facts.get("written", ()):
            print_text(f"written  {path}")

    print_result(facts, table, as_json=as_json)


def link_command(
    truth: Annotated[str, typer.Option(help="The column that names the true record of a pair; empty: unknown.")],
    root: Root = None,
    as_json: AsJson = False,
    build: Annotated[str, typer.Option(help="The build whose pairs are linked.")] = "latest",
    weight: Annotated[list[float] | None, typer.Option(help="Of the picture, 0 to 1; repeat it to choose one.")] = None,
    floor: Annotated[float, typer.Option(min=0.01, max=1.0, help="The lowest cosine that is tried.")] = 0.5,
    out: Annotated[Path | None, typer.Option(help="The folder to write the curve and the records to, as CSV.")] = None,
) -> None:
    """Choose from which cosine on pairs are one record, on half of the known records; judge it on the others by ARI.

    Example: evenly link --build latest --truth product_id --weight 0.5 --weight 0.636 --out links
    """
    from evenly.flows.cli.datasets.linkage import link_build

    facts = link_build(build, truth=truth, weights=weight or [0.636], floor=floor, out=out, root=root)

    def table() -> None:
        interval = "" if facts["low"] is None else f" [{facts['low']:.3f}, {facts['high']:.3f}]"
        halves = f"chosen on {facts['pairs_chooses']:,}, judged on {facts['pairs_judged']:,}"
        chosen = {"weight": facts["weight"], "min_cosine": facts["min_cosine"], "ARI where chosen": facts["chosen_ari"]}
        measured = {"ARI": f"{facts['ari']:.3f}{interval}", "precision": facts["precision"], "recall": facts["recall"]}
        title = f"{facts['pairs']:,} pairs of {facts['truth_records']:,} records by {truth}: {halves}"
        print_text(title)
        print_facts(chosen | measured)
        if facts["without_features"]:
            print_text(f"left out, without features: {facts['without_features']:,} pairs with a known record")
        print_text(f"in a recipe: {facts['recipe']}")
        for path in facts.get("written", ()):
            print_text(f"written  {path}")

    print_result(facts, table, as_json=as_json)


def _line(row: Mapping[str, Any], *, judged: bool) -> dict[str, Any]:
    """What fits a terminal."""
    name = row["strict"] if row["strict"] == row["relaxed"] else f"{row['strict']} (relaxed: {row['relaxed']})"
    shown = {
        "judged": f"{row['yes']:,} of {row['judged']:,}" if judged else "",
        "relevant": _interval(row) if judged else "",
    }
    line = {"class": row["class"], "captions": row["actual_freq"]}
    return line | (shown if judged else {}) | {"most frequent name": name, "tail": "tail" if row["tail"] else ""}


def _interval(row: Mapping[str, Any]) -> str:
    if row["relevant_total"] is None:
        return ""
    return f"{row['relevant_total']:,.0f} [{row['total_low']:,.0f}, {row['total_high']:,.0f}]"


def _print_notes(facts: Mapping[str, Any]) -> None:
    tail = sorted(row["class"] for row in facts["classes"] if row["tail"])
    print_text(f"tail, {facts['tail_rule']} by {facts['tail_by']}: {printable(', '.join(tail) or 'none')}")
    edge = max((row[facts["tail_by"]] for row in facts["classes"] if row["tail"]), default=None)
    ties = [row["class"] for row in facts["classes"] if not row["tail"] and row[facts["tail_by"]] == edge]
    if ties:
        print_text(f"as rare as the tail's last, out of it by the alphabet alone: {printable(', '.join(ties))}")
    print_text(f"better known by another name: {facts['renamed']} of {len(facts['classes'])}")
    never = [row["name"] for row in facts["names"] if row["never_matches"]]
    if never:
        print_text(f"names that no caption can match: {printable(', '.join(never))}")
    if facts["refused_names"]:
        shown = ", ".join(f"{name} ({reason})" for reason, name in facts["refused_names"][:MOST_REFUSED])
        print_text(f"left out, another class's own name: {len(facts['refused_names'])}: {printable(shown)}")
    if "judging" not in facts:
        return
    long = sum(row["too_long"] for row in facts["classes"])
    reasons = facts["judging"]["without_answer"]
    counts = ", ".join(f"{reason} {n:,}" for reason, n in reasons.items()) or "none"
    print_text(f"captions too long to be judged: {long:,}; replies without an answer: {counts}")
    if facts["one_answer"]:
        print_text(
            "the judge gave all captions one answer: it may not read them, and the tail is not by its judgements"
        )
    if facts["without_estimate"]:
        print_text(f"named but without a judgement: {printable(', '.join(facts['without_estimate']))}")
    account = facts["judging"]["account"]
    if account is not None:
        print_text(f"spent on this list in all its runs: ${account['spent_usd']:.6f}")


COMMANDS: dict[str, Callable[..., None]] = {
    "concepts": concepts_command,
    "clusters": clusters_command,
    "link": link_command,
}
