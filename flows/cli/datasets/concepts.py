"""Commands about classes and records in a pool or a build: concepts, clusters, link, retrieve."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.datasets.options import ClustersOptions, ConceptsOptions, LinkOptions, RetrieveOptions
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import (
    counted,
    print_facts,
    print_funnel,
    print_rows,
    print_text,
    print_written,
    printable,
    with_interval,
)
from evenly.signatures import fields_of, taking

Classes = Annotated[Path, typer.Argument(help="A class list: one name per line, perhaps a tab and a definition.")]
MOST_REFUSED = 8
MOST_CLUSTERS = 10
DEFAULT_WEIGHT = 0.636
"""Of the picture in `evenly link`, where none is named."""


@taking(ConceptsOptions)
def concepts_command(classes: Classes, options: ConceptsOptions) -> dict[str, Any]:
    """Count how often captions name each class, by which name, and have a model judge how often they mean it.

    Example: evenly concepts birds.txt --build latest --synonyms wordnet --plot tail.svg

    Example: evenly concepts land.txt --pool pool.parquet --prefix satellite --judge 1000 --out land.csv
    """
    from evenly.audit.report.plots.classes import draw_concepts
    from evenly.flows.cli.classes.class_list import language_model, list_context
    from evenly.flows.cli.datasets.concept_audit import TABLES, audit_list, check_ending, ordered, write_tables
    from evenly.storage.records import replace_text

    llm = language_model(options)
    check_ending("--out", options.out, TABLES)
    check_ending("--plot", options.plot, (".svg",))
    context = list_context(options.build, root=options.root, pool=options.pool, caption=options.caption)
    facts = audit_list(classes, options, build=context.build, pool=context.pool, llm=llm)
    written = [] if options.out is None else write_tables(options.out, facts)
    if options.plot is not None:
        title = f"{facts['list']} in {facts['captions_searched']:,} captions"
        replace_text(options.plot, draw_concepts(ordered(facts), title=title))
        written.append(str(options.plot))
    return facts | {"written": written}


def _print_concepts(facts: dict[str, Any], *, judge: int) -> None:
    from evenly.flows.cli.datasets.concept_audit import ordered

    title = f"{facts['list']}: captions of {facts['captions_searched']:,} that name each class"
    print_rows(title, [_line(row, judged=bool(judge)) for row in ordered(facts)])
    _print_notes(facts)
    print_written(facts)


@taking(ClustersOptions)
def clusters_command(options: ClustersOptions) -> dict[str, Any]:
    """Cluster the pictures of a build, several clusters for each, and say how evenly they fill them.

    Example: evenly clusters --build latest --k 200 --labels 8 --out clusters
    """
    import pyarrow.parquet as pq

    from evenly.flows.cluster_pictures import cluster_pictures
    from evenly.flows.runs import as_flow
    from evenly.storage.builds import open_build
    from evenly.storage.ledger import Ledger
    from evenly.storage.records import replacing
    from evenly.tasks.classes.clusters import ClusteringRule

    if options.labels > options.k:
        raise UsageError(
            f"`--labels` must be at most `--k`, {options.k}; got {options.labels}. Ask for fewer labels, or more "
            "clusters."
        )
    workspace, manifest = open_build(options.build, root=options.root)
    rule = ClusteringRule(**fields_of(ClusteringRule, options) | {"build": manifest["build"]})
    key = as_flow(cluster_pictures)(rule, root=str(workspace.root))
    ledger = Ledger(workspace)
    record = ledger.get(key)
    rows = ledger.table(record, "clusters").to_pylist()
    ordered = sorted(rows, key=lambda row: (-row["size"], row["cluster"]))
    facts = {"step": key, "build": manifest["build"], **record.notes, "clusters": ordered}
    if (out := options.out) is None:
        return facts
    paths = {name: out / f"{name}.parquet" for name in ("assignments", "clusters", "centroids")}
    out.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        with replacing(path) as file:
            pq.write_table(ledger.table(record, name), file)
    return facts | {"written": [str(path) for path in paths.values()]}


def _print_clusters(facts: dict[str, Any], *, near_cosine: float) -> None:
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
    print_written(facts)


@taking(LinkOptions)
def link_command(
    truth: Annotated[str, "The column that names the true record of a pair; empty: unknown."],
    options: LinkOptions,
) -> dict[str, Any]:
    """Choose from which cosine on pairs are one record, on half of the known records; judge it on the others by ARI.

    Example: evenly link --build latest --truth product_id --weight 0.5 --weight 0.636 --out links
    """
    import pandas as pd

    from evenly.flows.cli.adapters.own_features.fit import plain
    from evenly.flows.link_records import link_records
    from evenly.flows.runs import as_flow
    from evenly.storage.builds import open_build
    from evenly.storage.ledger import Ledger
    from evenly.storage.records import replace_text
    from evenly.tasks.pools.link import LinkRule

    weights = options.weight or [DEFAULT_WEIGHT]
    wrong = [weight for weight in weights if not 0 <= weight <= 1]
    if wrong:
        raise UsageError(f"`--weight` must be 0 to 1; got {wrong[0]}. Correct it.")
    workspace, manifest = open_build(options.build, root=options.root)
    rule = LinkRule(build=manifest["build"], truth=truth, weights=tuple(sorted(set(weights))), floor=options.floor)
    key = as_flow(link_records)(rule, root=str(workspace.root))
    ledger = Ledger(workspace)
    record = ledger.get(key)
    notes = plain(dict(record.notes))
    chosen = f"deduplicate: {{linked: {{weight: {notes['weight']:g}, min_cosine: {notes['min_cosine']:g}}}}}"
    facts = {"step": key, "build": manifest["build"], "truth": truth, **notes, "recipe": chosen}
    tables = {name: ledger.table(record, name).to_pylist() for name in ("curve", "records")}
    if (out := options.out) is not None:
        for name, rows in tables.items():
            replace_text(out / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))
        facts["written"] = [str(out / f"{name}.csv") for name in tables]
    return facts | {"curve": plain(tables["curve"])}


def _print_linked(facts: dict[str, Any]) -> None:
    halves = f"chosen on {facts['pairs_chooses']:,}, judged on {facts['pairs_judged']:,}"
    print_text(f"{facts['pairs']:,} pairs of {facts['truth_records']:,} records by {facts['truth']}: {halves}")
    chosen = {"weight": facts["weight"], "min_cosine": facts["min_cosine"], "ARI where chosen": facts["chosen_ari"]}
    measured = {"ARI": with_interval(facts["ari"], facts["low"], facts["high"])}
    print_facts(chosen | measured | {name: facts[name] for name in ("precision", "recall")})
    if facts["without_features"]:
        print_text(f"left out, without features: {facts['without_features']:,} pairs with a known record")
    print_text(f"in a recipe: {facts['recipe']}")
    print_written(facts)


def _line(row: Mapping[str, Any], *, judged: bool) -> dict[str, Any]:
    """The columns that fit a terminal."""
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


@taking(RetrieveOptions)
def retrieve_command(classes: Classes, options: RetrieveOptions) -> dict[str, Any]:
    """Choose pictures for each class by captions and features, without labels, as a set to learn from.

    Example: evenly retrieve birds.txt --method swat --synonyms wordnet --out support

    Example: evenly retrieve birds.txt --pool photos --caption text --per-class 16 --out support

    Example: evenly fit --arrays support/support.npz --adapter real_linear --out fitted
    """
    from evenly.flows.cli.datasets.retrieval import retrieve_list

    return retrieve_list(classes, options)


def _print_retrieved(facts: dict[str, Any]) -> None:
    if "pool" in facts:
        print_funnel(facts["pool"])
        print_text(f"build {facts['build']}")
    print_rows(f"{facts['list']} by {facts['method']}", facts["classes"], ("class", "candidates", "kept", "short"))
    print_text(f"{facts['kept']:,} kept, {facts['different_pictures']:,} different pictures of {facts['pictures']:,}")
    for title, counts in (("never chosen", facts["excluded"]), ("not kept", facts["reasons"])):
        print_text(f"{title}: {counted(counts) or 'none'}")
    if facts["short"]:
        print_text(f"fall short: {len(facts['short'])} classes: {printable(', '.join(facts['short']))}")
    print_written(facts)


COMMANDS = {
    "concepts": typed(concepts_command, _print_concepts),
    "clusters": typed(clusters_command, _print_clusters),
    "link": typed(link_command, _print_linked),
    "retrieve": typed(retrieve_command, _print_retrieved),
}
