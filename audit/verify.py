"""Verification that a build is what its manifest says: hashes, keys, conservation, sample table, draws, pictures."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from evenly.audit.checks.findings import Finding, guarded
from evenly.audit.checks.rows import check_conservation, compare_samples
from evenly.audit.checks.stored import check_image_bytes, check_stored
from evenly.audit.published import Bar, PublishedBuild, ReadBytes, no_bar
from evenly.audit.replay import Mismatch, mismatch_in_words, mismatches, mismatching_notes, open_rejudging
from evenly.curation.draws import draws
from evenly.curation.errors import CurationError
from evenly.curation.filters.language_detector import Unpacking
from evenly.curation.step import Rejudging
from evenly.curation.steps import STEPS
from evenly.storage.builds import BuildInputs, content_hash_of
from evenly.storage.errors import StorageError
from evenly.storage.files.identities import altered
from evenly.storage.files.unpacked import unpacked_arrays
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.records import content_hash
from evenly.storage.samples import Samples
from evenly.storage.tables.hashing import Node, nodes_of, part_digest, root_of, table_hash
from evenly.storage.tables.partitions import Partition
from evenly.storage.web.images import open_pictures, reader
from evenly.storage.workspace import Workspace

IMAGES_SAMPLED = 100
# What `verify_build` checks, by the name that a finding carries.
CHECKS: Mapping[str, str] = {
    "record": "each step of the manifest is in the ledger and says the same there",
    "key": "each step's key is the hash of its name, version, rule, inputs, model and seed",
    "chain": "each step names as inputs the output hashes of all steps before it",
    "table": "each stored table has the recorded hash, and each step's output hash is made from these",
    "conservation": "each step judged the pairs that the steps before kept, each once; counts and reasons add up",
    "samples": "the sample table is as it was written, and holds what the steps say",
    "verdicts": "verdicts, values and tables of each step follow again from the pairs, its rule and what is stored",
    "content": "the content hash and the build id follow from all that",
    "features": "feature rows are as they were written, and those that the steps used",
    "downloads": "records of downloads, and what was measured of pictures, are as they were written",
    "replies": "replies of language models are as they were written",
    "artifacts": "adapters, refined encoders and indexes have their cards, and contents of the hashes these name",
    "receipts": "receipts of take-downs are signed by this workspace, and what they say holds still",
    "image": "the bytes of pictures have the hash that names them",
    "weights": "files of the encoder hold what was recorded of them, where they look so",
}


def verify_one(
    workspace: Workspace,
    manifest: Mapping[str, Any],
    *,
    seed: int,
    every_image: bool = False,
    bar: Bar = no_bar,
    cache: Path | None = None,
) -> list[dict[str, Any]]:
    """Faults of a build, as plain values; `seed` draws the pictures whose bytes are hashed.

    With a `cache` the weights of the build's encoder are hashed whole, where its identity is recorded there, and the
    model of languages is kept there unpacked.
    """
    if cache is not None:
        Unpacking.reader = partial(unpacked_arrays, cache)
    pictures = (
        open_pictures(workspace.downloads, workspace.exchange)
        if every_image
        else nullcontext(reader(workspace.downloads))
    )
    with pictures as read:
        findings = verify_build(workspace, manifest, read_bytes=read, seed=seed, every_image=every_image, bar=bar)
    if cache is not None and manifest["encoder"] is not None:
        for path, owner in altered(cache, {str(manifest["encoder"]["identity"])}):
            findings.append(Finding.of("weights", path, f"its content is not the one that was recorded of {owner}"))
    return [finding.to_dict() for finding in findings]


def new_seed() -> int:
    """A seed that no earlier run had: each verification looks at other pictures."""
    return secrets.randbelow(1 << 32)


def verify_build(
    workspace: Workspace,
    manifest: Mapping[str, Any],
    *,
    read_bytes: ReadBytes | None = None,
    images: int = IMAGES_SAMPLED,
    seed: int = 0,
    every_image: bool = False,
    bar: Bar = no_bar,
) -> list[Finding]:
    """Return what is wrong with a build, [] if nothing is; CHECKS says what is looked at.

    `read_bytes` gives the original bytes of image ids, in their order; None leaves pictures out. `images` is how many
    of the kept pairs' pictures are hashed, drawn by `seed`, unless `every_image` is. A step that is missing or
    unreadable ends the checks that need it, and is a finding. `bar` shows how far each check has come: a few partitions
    are in memory at once, never a whole table.
    """
    build = PublishedBuild(workspace, manifest, bar)
    findings = list(_check_records(build))
    if any(finding.unreadable for finding in findings):
        return findings
    findings += [*_check_keys(build.records), *_check_chain(build.records)]
    for record in build.records:
        findings += _check_tables(build, record)
    if not any(finding.unreadable for finding in findings):
        for check, find in (
            ("conservation", check_conservation),
            ("samples", _check_samples),
            ("verdicts", partial(check_verdicts, seed=seed)),
        ):
            findings += guarded(check, build.name, partial(find, build))
    findings += check_stored(build)
    if read_bytes is not None and not any(finding.unreadable for finding in findings):
        wanted = None if every_image else images
        findings += guarded("image", build.name, partial(check_image_bytes, build, read_bytes, wanted, seed=seed))
    return findings


def _check_records(build: PublishedBuild) -> Iterator[Finding]:
    """Compare each step of the manifest with its record."""
    ledger = Ledger(build.workspace)
    for step in build.manifest["steps"]:
        try:
            record = ledger.find(str(step["key"]))
        except (StorageError, KeyError) as error:
            yield Finding.of("record", step["name"], f"its record is not readable: {error}", unreadable=True)
            continue
        if record is None:
            yield Finding.of("record", step["name"], f"no record `{step['key']}` in the ledger", unreadable=True)
            continue
        stored = asdict(record)
        for name in step:
            if stored.get(name) != step[name]:
                yield Finding.of("record", f"{step['name']}.{name}", _differs("manifest", step[name], stored.get(name)))


def _check_keys(records: Sequence[StepRecord]) -> Iterator[Finding]:
    for record in records:
        if (key := record.spec.key) != record.key:
            yield Finding.of("key", record.name, _differs("record", record.key, key))


def _check_chain(records: Sequence[StepRecord]) -> Iterator[Finding]:
    for number, record in enumerate(records):
        for earlier in records[:number]:
            named = record.inputs.get(earlier.name)
            if named != earlier.output_hash:
                yield Finding.of(
                    "chain", f"{record.name} <- {earlier.name}", _differs("input", named, earlier.output_hash)
                )


def _check_tables(build: PublishedBuild, record: StepRecord) -> Iterator[Finding]:
    output_hash = content_hash({"tables": dict(record.hashes)})
    if output_hash != record.output_hash:
        yield Finding.of("table", record.name, _differs("output hash", record.output_hash, output_hash))
    for name, recorded in record.hashes.items():
        place = f"{record.name}/{name}"
        yield from guarded("table", place, partial(_check_table, build, record, name, recorded))


def _check_table(build: PublishedBuild, record: StepRecord, name: str, recorded: str) -> Iterator[Finding]:
    """The hash of each partition's rows, and that of the table, which follows from them."""
    place, layout, nodes = f"{record.name}/{name}", record.layout[name], list[Node]()
    damaged = False

    def hashed(ledger: Ledger) -> list[Node]:
        table = ledger.table(record, name)
        table.validate(full=True)
        build.keep(record, name, table)
        return nodes_of(table, ledger.part)

    partitions = Partition.all(layout.bits)
    hashes = build.each_partition(place, partitions, hashed)
    for partition, nodes_here in zip(partitions, hashes, strict=True):
        nodes += nodes_here
        stored, digest = layout.digest(partition.number), part_digest(nodes_here)
        if digest != stored:
            damaged = True
            yield Finding.of("table", place, _differs("hash", stored, digest))

    def read(numbers: range) -> pa.Table:
        parts = [Partition(bits=layout.bits, number=number) for number in numbers]
        return pa.concat_tables([_rows_of(build, record, name, part) for part in parts])

    if not damaged and (root := root_of(nodes, layout.bits, read)) != recorded:
        yield Finding.of("table", place, _differs("hash", recorded, root))


def _rows_of(build: PublishedBuild, record: StepRecord, name: str, partition: Partition) -> pa.Table:
    return Ledger(build.workspace, part=partition).table(record, name)


def _check_samples(build: PublishedBuild) -> Iterator[Finding]:
    """The sample table against the ledger, the manifest's numbers against the sample table, and the content hash."""
    recorded, name = build.manifest["samples"], str(build.manifest["recipe_name"])
    place = f"{name} version {recorded['version']}"
    Samples(build.workspace, name).check(int(recorded["version"]))
    compared = compare_samples(build)
    for column in sorted({*compared.of_steps, *compared.stored} - compared.added):
        if column not in compared.stored or column not in compared.of_steps:
            holder = "the ledger" if column in compared.of_steps else "the sample table"
            yield Finding.of("samples", f"{place}, column {column}", f"only {holder} has it")
        elif column in compared.differing:
            yield Finding.of("samples", f"{place}, column {column}", "holds other values than the steps gave")
    last = build.deciding[-1].counts.get("kept", 0)
    counted = {"rows": compared.rows, "kept": last}
    for key, value in counted.items():
        if recorded[key] != value:
            yield Finding.of("samples", f"manifest samples.{key}", _differs("manifest", recorded[key], value))
    yield from _check_content(build)


def _check_content(build: PublishedBuild) -> Iterator[Finding]:
    manifest = build.manifest
    inputs = BuildInputs(
        recipe=manifest["recipe"],
        seed=manifest["seed"],
        limit=manifest["limit"],
        encoder=manifest["encoder"],
        split=manifest.get("split"),
        forget=manifest.get("forget", ()),
    )
    computed = content_hash_of(build.ledger, build.records, inputs)
    if computed != manifest["content_hash"]:
        yield Finding.of("content", "manifest content_hash", _differs("manifest", manifest["content_hash"], computed))
    if not str(manifest["build"]).endswith(f"-{computed[:12]}"):
        yield Finding.of("content", "manifest build", _differs("id", manifest["build"], f"...-{computed[:12]}"))


def _differs(name: str, recorded: object, computed: object) -> str:
    return f"{name} says {_short(recorded)}; found {_short(computed)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


PAIRS_JUDGED = 100_000
"""Of a larger build about so many pairs are judged again by steps that judge each pair alone, drawn by a seed."""


def check_verdicts(build: PublishedBuild, *, seed: int) -> Iterator[Finding]:
    """Yield a finding for each column of a step, and each table, that comes out otherwise."""
    for record in build.records:
        judgement = STEPS.get(record.name)
        if judgement is None or judgement.rejudge is None or (judgement.seeded and record.seed is None):
            continue
        try:
            with open_rejudging(build, record, judgement) as rejudging:
                yield from _check_step(build, record, rejudging, seed)
        except (CurationError, TypeError, KeyError) as error:
            yield Finding.of("verdicts", record.name, f"cannot be judged again by this code: {error}")


def _check_step(build: PublishedBuild, record: StepRecord, rejudging: Rejudging, seed: int) -> Iterator[Finding]:
    share = 1.0 if rejudging.totals else min(1.0, PAIRS_JUDGED / max(record.rows_in, 1))
    parts = build.each(f"judging again: {record.name}", partial(_judged_again, record, rejudging, share, seed))
    n_pairs = sum(n for n, _, _ in parts)
    for note in mismatching_notes(rejudging, record):
        yield Finding.of(
            "verdicts", f"{record.name}.notes", f"{note.column} comes out otherwise: {mismatch_in_words(note)}"
        )
    of_columns = dict[tuple[str, str], list[Mismatch]]()
    for mismatch in (mismatch for _, differing, _ in parts for mismatch in differing):
        of_columns.setdefault((mismatch.table, mismatch.column), []).append(mismatch)
    for (table, name), differing in of_columns.items():
        place = record.name if table == "decisions" else f"{record.name}/{table}"
        rows = sum(mismatch.rows for mismatch in differing)
        text = f"{rows:,} rows of {n_pairs:,} pairs have another {name} when judged again"
        yield Finding.of("verdicts", place, f"{text}: {mismatch_in_words(differing[0])}")
    partials = [part for _, _, part in parts if part is not None]
    totals = {} if rejudging.totals is None else rejudging.totals(partials)
    for name, table in totals.items():
        if name not in record.hashes or table_hash(table) != table_hash(build.ledger.table(record, name)):
            yield Finding.of("verdicts", f"{record.name}/{name}", "differs when it is made again of all pairs")


def _judged_again(
    record: StepRecord, rejudging: Rejudging, share: float, seed: int, ledger: Ledger
) -> tuple[int, list[Mismatch], pa.Table | None]:
    """Verdicts of a partition judged again: how many, what differs, and what they give to a sum over all."""
    if share < 1:
        uids = ledger.decisions(record, ["uid"])["uid"].combine_chunks()
        drawn = draws(seed=seed, step="verify", uids=uids.to_pylist(), entries=[record.name] * len(uids))
        ledger = Ledger(ledger.workspace, part=ledger.part, only=uids.filter(pa.array(drawn < share)))
    judged = rejudging.judge(ledger)
    return len(judged.uids), mismatches(judged, record, ledger), judged.partial
