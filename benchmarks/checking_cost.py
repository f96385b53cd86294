"""Measure what checksums cost: the text steps of a rebuild, their tables read again, and look-ups, with and without.

Without: tables written and read by pyarrow alone from a memory map, rows of the sample table by Lance alone. Both are
run in turns; told are the medians of the processor time of each and of the ratios of neighbouring turns.

Run: python -m benchmarks.checking_cost [--texts N] [--turns N]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import lance
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import dataset, ipc

from benchmarks.incremental_rebuild import DEMO, TEXT_STEPS, rebuild, short_texts
from evenly.flows.recipe import read_recipe
from evenly.storage.ledger import Ledger
from evenly.storage.records import replacing
from evenly.storage.samples import Samples, wide_table
from evenly.storage.tables import arrow_files as tables
from evenly.storage.workspace import Workspace


def plain_write(path: Path, table: pa.Table) -> None:
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    with replacing(path) as stream, ipc.new_file(stream, table.schema, options=options) as writer:
        writer.write_table(tables._without_remnants(table), max_chunksize=1 << 20)  # noqa: SLF001 - what it writes, too


def plain_read(path: Path, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
    if where is not None:
        return dataset.dataset(path, format="ipc").to_table(columns=columns and list(columns), filter=where)
    with pa.memory_map(str(path)) as source:
        if columns is None:
            return ipc.open_file(source).read_all()
        names = ipc.open_file(source).schema.names
        options = ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
        return ipc.open_file(source, options=options).read_all().select(list(columns))


@contextmanager
def unchecked() -> Iterator[None]:
    """Tables of the ledger without checksums; the few records of steps have theirs."""
    with (
        mock.patch("evenly.storage.ledger.write_table", plain_write),
        mock.patch("evenly.storage.ledger.read_table", plain_read),
    ):
        yield


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(name: str, turns: int, checked: Callable[[], object], plain: Callable[[], object]) -> None:
    seconds(checked), seconds(plain)
    pairs = []
    for turn in range(turns):
        first, second = (checked, plain) if turn % 2 else (plain, checked)
        times = (seconds(first), seconds(second))
        pairs.append(times if turn % 2 else times[::-1])
    ratio = statistics.median(one / other for one, other in pairs)
    told = [statistics.median(times) * 1000 for times in zip(*pairs, strict=True)]
    print(f"  {name:44}{told[0]:>10,.1f} ms{told[1]:>12,.1f} ms{ratio - 1:>+10.1%}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(short_texts(options.texts), folder / "pool.parquet")
        recipe = read_recipe(DEMO)
        source = replace(recipe.sources[0], path=str(folder / "pool.parquet"))
        recipe = recipe.model_copy(update={"sources": (source,), "labels": None})
        number = iter(range(10_000))

        def checked() -> Path:
            root = folder / f"run{next(number)}"
            rebuild(recipe, root, lambda step: step in TEXT_STEPS)
            return root

        def plain() -> Path:
            with unchecked():
                return checked()

        print(f"{options.texts:,} texts, processor time{'checked':>35}{'without':>15}")
        compare("text steps of a rebuild", options.turns, checked, plain)
        root = checked()
        written_again(root, options.turns)
        look_up(root, plain(), options.turns)


def written_again(root: Path, turns: int) -> None:
    """All tables of a workspace, written once more."""
    held = [tables.read_table(path) for path in sorted((root / "ledger").rglob("*.arrow"))]
    path = root / "again.arrow"

    def write(how: Callable[[Path, pa.Table], None]) -> None:
        for table in held:
            how(path, table)

    compare("tables of these steps written", turns, lambda: write(tables.write_table), lambda: write(plain_write))


def look_up(with_sums: Path, without: Path, turns: int) -> None:
    held = {root: (Ledger(Workspace.at(root)), Ledger(Workspace.at(root)).records()) for root in (with_sums, without)}

    def every(root: Path, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> None:
        ledger, records = held[root]
        for record in records:
            if "decisions" in record.hashes:
                ledger.decisions(record, columns, where)

    def unchecked_every(*arguments: object) -> None:
        with unchecked():
            every(without, *arguments)  # type: ignore[arg-type]

    ledger, records = held[with_sums]
    order = {step: at for at, step in enumerate(TEXT_STEPS)}
    wide = wide_table(ledger, sorted(records, key=lambda record: order[record.name]))
    uid = wide["uid"][wide.num_rows // 2].as_py()
    where = pc.field("uid") == uid
    compare("decisions read whole", turns, lambda: every(with_sums), unchecked_every)
    names = ["uid", "verdict"]
    compare("uid and verdict read", turns, lambda: every(with_sums, names), lambda: unchecked_every(names))
    compare(
        "why: a uid in the decisions",
        turns,
        lambda: every(with_sums, None, where),
        lambda: unchecked_every(None, where),
    )
    samples = Samples(Workspace.at(with_sums), "texts")
    version, path = samples.write(wide), str(samples.path)
    sql = f"uid = '{uid}'"

    def by_lance() -> None:
        lance.dataset(path, version=version).to_table(filter=sql)

    compare("why: a uid in the sample table", turns, lambda: samples.read(version, where=sql), by_lance)


if __name__ == "__main__":
    main()
