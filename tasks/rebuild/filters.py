"""Check texts and pictures: each filter measures and judges; the first that does not keep a row decides it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.decisions import Decisions, first_of
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS, Filter
from evenly.storage.ledger import StepOutput
from evenly.tasks.decoding import fingerprints_of
from evenly.tasks.rebuild.lookups import LOOKUPS, lookup_hashes
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Rule, Step


def check_texts(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Judge captions by the text filters of the recipe, in the order of TEXT_FILTERS."""
    return _judge(run, before, rule, TEXT_FILTERS)


def check_images(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Judge pictures by the image filters of the recipe, and measure the fingerprint of each."""
    images = run.ledger.alive(before, ["image_id"])["image_id"].combine_chunks()
    fingerprints, reasons = fingerprints_of(run, images.unique())
    too_costly = Decisions.of(reason=[reasons.get(one, "") for one in images.to_pylist()])
    output = _judge(run, before, rule, IMAGE_FILTERS, first=(too_costly,))
    if output.decisions is None:
        return output
    rows = fingerprints.take(pc.index_in(images, fingerprints["image_id"].combine_chunks()))
    table = output.decisions
    for name in rows.column_names:
        if name != "image_id":
            table = table.append_column(name, rows[name])
    return StepOutput(decisions=table, notes=output.notes)


def _judge(
    run: Run, before: Records, rule: Rule, known: Mapping[str, Filter], *, first: Sequence[Decisions] = ()
) -> StepOutput:
    rules = {name: known[name].rule(**rule[name]) for name in known if name in rule}
    lookups = {name: LOOKUPS[name](run, one) for name, one in rules.items() if known[name].lookup}
    batch = run.ledger.alive(before, _columns(rule, known))
    decided: list[Decisions] = [Decisions.keep_all(batch.num_rows), *first]
    columns: dict[str, pa.Array] = {}
    for name, one in rules.items():
        read: tuple[Any, ...] = ()
        if name in lookups:
            read, one = (lookups[name].content,), replace(one, sha256=lookups[name].sha256)  # noqa: PLW2901 - the same rule, filled in
        measured, more = known[name].measure_all(batch, one, *read)
        columns |= {f"{name}_value": measured} | more
        decided.append(known[name].judge(measured, one))
    table = first_of(*decided).to_table(batch["uid"])
    for name, column in columns.items():
        table = table.append_column(name, column)
    return StepOutput(decisions=table, notes={name: one.sha256 for name, one in lookups.items()})


def _text_columns(_before: Records, rule: Rule) -> list[str]:
    return _columns(rule, TEXT_FILTERS)


def _image_columns(_before: Records, rule: Rule) -> list[str]:
    return sorted({"image_id", *_columns(rule, IMAGE_FILTERS)})


def _columns(rule: Rule, known: Mapping[str, Filter]) -> list[str]:
    return sorted({column for name in known if name in rule for column in known[name].columns})


CHECK_TEXTS = Step(name="check_texts", compute=check_texts, version=2, inputs=lookup_hashes, reads=_text_columns)
CHECK_IMAGES = Step(name="check_images", compute=check_images, reads=_image_columns)
