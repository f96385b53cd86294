"""A workspace with every kind of stored file, and what reading one of them gives after a flip or a cut.

Run by test_damage.py, in a process of its own, so that a crash is one that is counted: each line of stdin names a kind,
a file and a flip; each line of stdout says what came of it.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.artifacts.kinds import LeaderboardRuns, fitted_adapters_of, put_adapter, read_adapter
from evenly.storage.builds import Builds
from evenly.storage.chat.requests import Batches, Requests
from evenly.storage.chat.spending import SpendingJournal
from evenly.storage.errors import StorageError
from evenly.storage.feature_store import FeatureStore, RowStore
from evenly.storage.files.class_lists import Watched
from evenly.storage.files.concept_lists import read_concept_file, write_concepts
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.matches.matches import ENCODED, MatchFile, assemble, counts_path, entries_path
from evenly.storage.matches.stamped import BALANCED, BalancedFile, write_balanced
from evenly.storage.pools.local_pictures import record_features
from evenly.storage.pools.local_rows import FEATURES
from evenly.storage.samples import Samples
from evenly.storage.tables.hashing import table_hash
from evenly.storage.web.measured import read_measured, write_measured
from evenly.storage.web.shards import read_downloads, shard_names
from evenly.storage.workspace import Workspace
from evenly.tasks.pools.work import PoolParts

N = 3_000
RNG = np.random.default_rng(5)
UIDS = pa.array(sorted(hashlib.blake2b(str(row).encode(), digest_size=16).hexdigest() for row in range(N)))
SPEC = StepSpec(name="collect", version=1, rule={"words": 3}, inputs={})
MADE_AGAIN = "nothing is stored: the caller makes it again"
RUN = {"name": "gda", "texts": "templates", "shots": 1, "seed": 0, "accuracy": 0.5}


def decisions() -> pa.Table:
    columns = {
        "uid": UIDS,
        "verdict": pa.array(["kept", "dropped", "kept"] * (N // 3)),
        "reason": pa.array(["", "short", ""] * (N // 3)),
        "value": pa.array(RNG.random(N)),
        "into": pa.nulls(N, pa.string()),
        "caption": [f"a photo of thing {row % 97} number {row}" for row in range(N)],
        "entries": pa.array([[row % 7, row % 11] for row in range(N)], pa.list_(pa.int32())),
    }
    return pa.table(columns)


def matches() -> pa.Table:
    columns = {
        "uid": UIDS,
        "file": pa.array(["a.parquet"] * N),
        "row": pa.array(range(N), pa.int64()),
        "language": pa.nulls(N, pa.string()),
        "entries": pa.array([[row % 7] for row in range(N)], pa.list_(pa.int32())),
        "reason": pa.array([""] * N),
    }
    return pa.table([columns[field.name].cast(field.type) for field in ENCODED], schema=ENCODED)


def make(workspace: Workspace) -> None:
    """Write one of each kind."""
    table = decisions()
    Ledger(workspace).commit(SPEC, StepOutput(decisions=table), uids=UIDS, started=datetime(2026, 11, 24, tzinfo=UTC))
    version = Samples(workspace, "little").write(table)
    vectors = RNG.normal(size=(400, 32)).astype(np.float16)
    store = FeatureStore(workspace, "e" * 64, "images")
    store.append([f"picture{row}" for row in range(200)], vectors[:200], np.ones(200, np.float32))
    store.append([f"picture{row}" for row in range(200, 400)], vectors[200:], np.ones(200, np.float32))
    RowStore(workspace, "c" * 64, "codes").append(pa.array(["a", "b"]), RNG.integers(0, 255, (2, 64), np.uint8))
    addresses = [FEATURES + hashlib.sha256(str(row).encode()).hexdigest() for row in range(500)]
    record_features([pa.array(addresses)], folder=workspace.downloads)
    (name,) = shard_names(workspace.downloads)
    values = {hashlib.sha256(bytes([row])).hexdigest(): bytes([row]) * 8 for row in range(200)}
    write_measured(workspace.downloads / f"{name}.measured.parquet", "sizes", values)
    Requests(workspace).put("ab12", {"reply": "a fox, red", "cost_usd": 0.002, "outcome": "ok", "usage": {"n": 9}})
    batches = Batches(workspace)
    batches.create("ab", {"time": "1", "id": "ab"}, {"r1": {"messages": ["say fox"]}})
    batches.append("ab", {"event": "submitted", "batch": "b-17"})
    Watched(workspace).put("cd34", {"status": "described", "step": "k" * 64})
    Builds(workspace).publish({"build": "little-1", "created": "2026", "samples": {"version": version}, "steps": []})
    Builds(workspace).promote("little-1", recipe="little")
    journal = SpendingJournal(workspace, "birds")
    for number in range(40):
        journal.reserve(f"{number:032x}", 0.01 * number)
        journal.settle(f"{number:032x}", 0.005 * number)
    card = {
        "adapter": "gda",
        "arrays": {"means": {"shape": [7, 32], "dtype": "float32"}},
        "learned": {},
        "parameters": {},
    }
    arrays = {"means": RNG.random((7, 32)).astype(np.float32)}
    put_adapter(fitted_adapters_of(workspace, "b", "birds"), "gda", card, arrays, made_of={}, force=True)
    LeaderboardRuns(workspace.leaderboards, {"b": 1}).add(RUN, RNG.random(500) > 0.5)
    _make_matches(workspace.root)


def _make_matches(folder: Path) -> None:
    entries = pa.array([f"entry {number}" for number in range(11)])
    kept_parts(Workspace.at(folder / "parts")).of({"file": "f"}, lambda: [(matches(), None)])
    facts = {"list": {"entries": 11, "texts": "", "identity": "i"}}
    assemble(folder / "m.parquet", folder / "work", [("a", "f" * 64, [matches()])], entries=entries, facts=facts)
    rows = {"uid": UIDS, "p_keep": RNG.random(N), "kept": [True] * N, "reason": [""] * N, "deciding": [1] * N}
    table = pa.table({**rows, "draw": RNG.random(N)}).cast(BALANCED)
    write_balanced(folder / "b.parquet", [table], lambda: {"rows": N})
    _write_list(folder / "en.parquet")


def kept_parts(workspace: Workspace) -> PoolParts:
    return PoolParts(ledger=Ledger(workspace), step="match_pool", key="k")


def _write_list(path: Path) -> None:
    table = pa.table({"entry": [f"entry {number}" for number in range(400)]})
    places = pa.table({"entry": pa.array([], pa.string())})
    write_concepts(path, table, places, {})


def readings(workspace: Workspace) -> dict[str, tuple[list[Path], Callable[[], object]]]:
    """By kind: its files, and what is read of them as one value that can be compared."""
    root = workspace.root
    ledger, samples = Ledger(workspace), Samples(workspace, "little")
    where = f"uid = '{UIDS[7]}'"
    match = lambda: MatchFile.at(root / "m.parquet")  # noqa: E731
    matched = lambda: [[table_hash(group) for group in match().groups(ENCODED.names)], match().facts["counts"]]  # noqa: E731

    def table() -> object:
        record = ledger.find(SPEC.key)
        filtered = ledger.decisions(record, ["caption"], pc.field("uid") == UIDS[7])
        return [
            table_hash(ledger.decisions(record)),
            table_hash(ledger.decisions(record, ["value"])),
            table_hash(filtered),
        ]

    def features() -> object:
        store = FeatureStore(workspace, "e" * 64, "images")
        vectors, norms = store.read([f"picture{row}" for row in range(400)])
        return [hashlib.sha256(vectors.tobytes()).hexdigest(), norms.sum().item(), store.missing(["picture1", "new"])]

    def sampled() -> object:
        version = Builds(workspace).read("little-1")["samples"]["version"]
        return [
            table_hash(samples.read(version)),
            table_hash(samples.read(version, ["caption"], where)),
            table_hash(samples.read(version, ["uid"], "verdict = 'kept'")),
        ]

    def measured() -> object:
        values = read_measured(workspace.downloads, "sizes", shard_names(workspace.downloads))
        return table_hash(values) if values.num_rows else MADE_AGAIN

    def journal() -> object:
        spending = SpendingJournal(workspace, "birds")
        return [spending.total(), spending.lost()]

    def batch() -> object:
        return [Batches(workspace).records(), Batches(workspace).requests("ab")]

    def balanced() -> object:
        return [table_hash(group) for group in BalancedFile.at(root / "b.parquet").groups()]

    def adapter() -> object:
        card, arrays = read_adapter(fitted_adapters_of(workspace, "b", "birds"), "gda")
        return [card, {name: array.tolist() for name, array in arrays.items()}]

    def board() -> object:
        return [[row, right.tolist()] for row, right in LeaderboardRuns(workspace.leaderboards, {"b": 1}).all()]

    downloads = [workspace.downloads / f"{name}.parquet" for name in shard_names(workspace.downloads)]
    features_path, samples_path = FeatureStore(workspace, "e" * 64, "images").path, samples.path
    codes = RowStore(workspace, "c" * 64, "codes")
    parts = kept_parts(Workspace.at(root / "parts"))
    return {
        "ledger table": (_files(workspace.ledger, "*.arrow"), table),
        "step record": (_files(workspace.steps, "*.json"), table),
        "sample table, data": (_files(samples_path / "data", "*"), sampled),
        "sample table, index": (_files(samples_path / "_indices", "*.lance"), sampled),
        "sample table, manifest": (_files(samples_path / "_versions", "*.manifest"), sampled),
        "sample table, checksums": (_files(samples_path / "_sums", "*.json"), sampled),
        "features, data": (_files(features_path / "data", "*"), features),
        "features, manifest": (_files(features_path / "_versions", "*"), features),
        "features, checksums": (_files(features_path / "_sums", "*.json"), features),
        "codes": (_files(codes.path / "data", "*"), lambda: codes.read(pa.array(["b", "a"])).tolist()),
        "download records": (downloads, lambda: table_hash(read_downloads(workspace.downloads))),
        "measured": (_files(workspace.downloads, "*.measured.parquet"), measured),
        "reply": (_files(workspace.requests, "*.json"), lambda: Requests(workspace).get("ab12")),
        "batch": (_files(workspace.batches, "*.json"), batch),
        "watched list": (_files(workspace.watched, "*.json"), lambda: Watched(workspace).get("cd34")),
        "build manifest": (_files(workspace.builds, "little*.json"), lambda: Builds(workspace).read("little-1")),
        "alias": (_files(workspace.builds / "aliases", "*.json"), lambda: Builds(workspace).read("latest")),
        "spending journal": (_files(workspace.spending, "*.jsonl"), journal),
        "adapter": (_files(workspace.adapters, "*.*"), adapter),
        "arrays of an adapter": (_files(workspace.objects, "*"), adapter),
        "leaderboard run": (_files(workspace.leaderboards, "*.json"), board),
        "matches": ([root / "m.parquet"], matched),
        "matches, counts": ([counts_path(root / "m.parquet")], lambda: table_hash(match().counts())),
        "matches, entries": ([entries_path(root / "m.parquet")], lambda: str(match().texts())),
        "matches, part": (
            list((root / "parts" / "ledger").rglob("*.arrow")),
            lambda: [table_hash(parts.read(part)) for part in parts.of({"file": "f"}, list)[0]],
        ),
        "balanced": ([root / "b.parquet"], balanced),
        "concept list": ([root / "en.parquet"], lambda: list(read_concept_file(root / "en.parquet").entries)),
    }  # fmt: skip


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if path.is_file() and path.stat().st_size)


def damaged(content: bytes, at: float, bit: int | None) -> bytes:
    """`content` with a bit flipped at a share of its length, or cut there for None."""
    place = min(int(at * len(content)), len(content) - 1)
    if bit is None:
        return content[:place]
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


def outcome(path: Path, content: bytes, read: Callable[[], object], right: object) -> str:
    """What reading gives while `path` holds `content`: same, refused, again or silent; other errors end us."""
    kept = path.read_bytes()
    path.write_bytes(content)
    try:
        got = read()
    except StorageError as error:
        lines = str(error).splitlines()
        return "refused" if len(lines) == 1 and "`" in lines[0] else f"unclear {error}"
    else:
        return "again" if got == MADE_AGAIN else "same" if got == right else "silent"
    finally:
        path.write_bytes(kept)


def main() -> None:
    workspace = Workspace.at(sys.argv[1])
    kinds = readings(workspace)
    right = {}
    for line in sys.stdin:
        kind, number, at, bit = json.loads(line)
        paths, read = kinds[kind]
        if kind not in right:
            right[kind] = read()
        path = paths[number % len(paths)]
        said = outcome(path, damaged(path.read_bytes(), at, bit), read, right[kind])
        sys.stdout.write(json.dumps([kind, path.name, said]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
