"""The content hash of a build: what makes it what it is. storage/content.py says what of a table is content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.records import content_hash

CONTENT_VERSION = 2
"""The `content_version` that a manifest states."""


@dataclass(frozen=True, kw_only=True)
class BuildInputs:
    """The inputs of a build beside its steps.

    `recipe` comes without paths, endpoints and schedules; `split` enters the content hash by the hash of its rows,
    where there is one; `forget` holds keyed hashes in any order.
    """

    recipe: Mapping[str, Any]
    seed: int
    limit: int | None
    encoder: Mapping[str, Any] | None = None
    split: Mapping[str, str] | None = None
    forget: Sequence[str] = ()


def content_hash_of(ledger: Ledger, records: Sequence[StepRecord], inputs: BuildInputs) -> str:
    """SHA-256, in hex, of all that makes a build what it is.

    `records` are the steps in order. Of each enter name, version, rule, model, seed, counts, reasons and the content of
    its tables, by the root of each one's tree: the same for any number of partitions.
    """
    steps = [_of_step(record) | {"tables": _tables(ledger, record)} for record in records]
    return content_hash(_of_build(inputs) | {"version": CONTENT_VERSION, "steps": steps})


def _tables(ledger: Ledger, record: StepRecord) -> dict[str, str]:
    return {name: ledger.content_of(record, name) for name in record.hashes}


def _of_step(record: StepRecord) -> dict[str, Any]:
    names = ("name", "version", "rule", "model", "seed", "rows_in", "counts", "reasons")
    return {name: getattr(record, name) for name in names}


def _of_build(inputs: BuildInputs) -> dict[str, Any]:
    return {
        "recipe": inputs.recipe,
        "seed": inputs.seed,
        "limit": inputs.limit,
        "forget": sorted(inputs.forget),
        "encoder": inputs.encoder,
        **({} if inputs.split is None else {"split": inputs.split["sha256"]}),
    }
