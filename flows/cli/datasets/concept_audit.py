"""`evenly concepts`: counts of names in captions, and the frequency and relevance of each class by them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenly.adapters.evaluation.measures.head_tail import TAIL_RULES, TailRule, tail_classes
from evenly.curation.concepts.matching import normalised
from evenly.curation.concepts.name_audit import FrequencyRule
from evenly.descriptions.chat.endpoint import LanguageModel
from evenly.descriptions.relevance import RelevanceRule
from evenly.flows.audit_concepts import audit_concepts
from evenly.flows.cli.classes.class_names import names_of
from evenly.flows.cli.datasets.options import ConceptsOptions
from evenly.flows.cli.errors import UsageError
from evenly.flows.recipe import Source
from evenly.flows.recipe.files import read_class_file
from evenly.flows.runs import as_flow
from evenly.signatures import fields_of
from evenly.storage.builds import Builds
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.records import replacing
from evenly.storage.workspace import Workspace

TABLES = (".csv", ".parquet")
FEWEST_TOLD_APART = 20
"""Judged captions from which a judge that gave all of them one answer is taken to tell nothing apart."""


def audit_list(
    classes: Path, options: ConceptsOptions, *, build: str | None, pool: Source | None, llm: LanguageModel
) -> dict[str, Any]:
    """The audit of a class list in the captions of a build or a pool: `classes` and `names` as rows, and what it took.

    relevant_total is relevance x actual_freq, with the interval of the relevance; null without judgements. The tail is
    by relevant_total where every class that captions name has one, else by actual_freq: `tail_by` says which. It is by
    actual_freq as well where a judge gave FEWEST_TOLD_APART captions or more `one_answer`: it may not have read them.
    """
    if (build is None) == (pool is None):
        raise UsageError("`concepts` must get `--build` or `--pool`, one of the two. Example: --build latest")
    if options.tail not in TAIL_RULES:
        raise UsageError(f"`--tail` must be one of {', '.join(TAIL_RULES)}; got `{options.tail}`. Choose one of these.")
    if options.prefix is not None and not normalised(options.prefix):
        raise UsageError(f"`--prefix` must hold a letter or digit; got {options.prefix!r}. Write a word.")
    listing = read_class_file(classes)
    class_names = names_of(listing.class_list, options.synonyms, root=options.root)
    workspace = Workspace.at(options.root)
    rule = FrequencyRule(
        **fields_of(FrequencyRule, options) | {"build": build and str(Builds(workspace).read(build)["build"])},
        list=listing.name,
        names={name: list(names) for name, names in class_names.names.items()},
    )
    judging = RelevanceRule(**fields_of(RelevanceRule, options), class_list=listing.class_list, text=listing.text)
    keys = as_flow(audit_concepts)(
        rule=rule,
        judging=judging if options.judge else None,
        llm=llm,
        pool=pool,
        root=str(workspace.root),
    )
    ledger = Ledger(workspace)
    counted, judged = ledger.get(keys[0]), ledger.get(keys[1]) if keys[1:] else None
    facts = {
        "list": listing.name,
        "build": rule.build,
        "pool": None if pool is None else pool.path,
        "prefix": options.prefix,
        "synonyms": class_names.origin,
        "refused_names": class_names.refused,
        "captions_searched": counted.notes["captions_searched"],
        "steps": keys,
        **_classes(ledger, counted, judged, options.tail),
        "names": ledger.table(counted, "names").to_pylist(),
    }
    return facts if judged is None else facts | {"judging": dict(judged.notes)}


def _classes(ledger: Ledger, counted: StepRecord, judged: StepRecord | None, tail: TailRule) -> dict[str, Any]:
    """One row per class, in the order of the list, and what holds for all of them."""
    rows: list[dict[str, Any]] = ledger.table(counted, "classes").to_pylist()
    relevance = [] if judged is None else ledger.table(judged, "relevance").to_pylist()
    by_class = {row["class"]: row for row in relevance}
    rows = [row | _total(row["actual_freq"], by_class.get(row["class"])) for row in rows]
    unknown = [row["class"] for row in rows if row["relevant_total"] is None]
    judgements, yes = (sum(row[name] for row in relevance) for name in ("judged", "yes"))
    one_answer = judgements >= FEWEST_TOLD_APART and yes in {0, judgements}
    measure = "actual_freq" if unknown or one_answer else "relevant_total"
    in_tail = tail_classes([row[measure] for row in rows], [row["class"] for row in rows], rule=tail)
    for row, rare in zip(rows, in_tail, strict=True):
        row["tail"] = bool(rare)
    return {
        "classes": rows,
        "tail_by": measure,
        "tail_rule": tail,
        "without_estimate": unknown if judged else [],
        "one_answer": one_answer,
        "renamed": sum(row["strict"] != row["class"] for row in rows),
    }


def _total(frequency: int, relevance: Mapping[str, Any] | None) -> dict[str, Any]:
    """Judgements of a class and what they make of its frequency; a class that no caption names has a total of 0."""
    names = ("judged", "yes", "unjudged", "relevance", "relevance_low", "relevance_high")
    facts = {name: None if relevance is None else relevance[name] for name in names}
    if facts["relevance"] is None:
        totals = [0.0 if relevance and not frequency else None] * 3
    else:
        totals = [float(facts[name] or 0.0) * frequency for name in names[3:]]
    return facts | dict(zip(("relevant_total", "total_low", "total_high"), totals, strict=True))


def write_tables(out: Path, facts: Mapping[str, Any]) -> list[str]:
    """Write the rows of classes to `out` (.csv or .parquet) and those of names beside it; the paths."""
    names_path = out.with_name(f"{out.stem}-names{out.suffix}")
    for path, rows in ((out, facts["classes"]), (names_path, facts["names"])):
        _write(path, pd.DataFrame(rows))
    return [str(out), str(names_path)]


def check_ending(option: str, path: Path | None, endings: Sequence[str]) -> None:
    """Refuse the name of a file to be written that does not say its kind, before any work."""
    if path is not None and path.suffix not in endings:
        raise UsageError(f"`{option}` must end in {' or '.join(endings)}; got `{path}`. Rename it.")


def _write(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = table.to_csv(index=False).encode() if path.suffix == ".csv" else table.to_parquet(index=False)
    with replacing(path) as file:
        file.write(content)


def ordered(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of classes, the most frequent first; of equal ones in the order of the alphabet."""
    rows, measure = facts["classes"], facts["tail_by"]
    order = np.lexsort(([row["class"] for row in rows], [-(row[measure] or 0) for row in rows]))
    return [rows[place] for place in order]
