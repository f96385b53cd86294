"""A search over partitions gives what the search of all pairs at once gives: tables, notes and counts, to the bit."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from evenly.curation.decisions import Decisions
from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.storage.tables.hashing import table_hash
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.deduplicate import (
    DEDUPLICATE_CAPTIONS,
    DEDUPLICATE_EXACT,
    DEDUPLICATE_LINKED,
    DEDUPLICATE_PERCEPTUAL,
    DEDUPLICATE_SEMANTIC,
)
from evenly.tasks.rebuild.duplicates import answers, pair_search, search
from evenly.tasks.run import Run
from evenly.tasks.stage import run_steps
from evenly.tasks.step import Step
from tests.step_outputs import output_of

N = 600
FEATURES = 24


class Encoder:
    """Texts as directions that their letters give."""

    identity = "letters"
    device_name = "a machine"

    def encode_texts(self, texts):
        rows = np.zeros((len(texts), FEATURES), np.float32)
        for row, text in enumerate(texts):
            for letter in text or "-":
                rows[row, ord(letter) % FEATURES] += 1
        return rows

    def truncated(self, texts):
        return [False] * len(texts)


def store_features(run: Run, pairs: pa.Table) -> None:
    """Features of all pictures: of every third near those of another, one without a direction."""
    random = np.random.default_rng(5)
    names = [name for name in pairs["image_id"].unique().to_pylist() if name is not None]
    rows = random.normal(size=(len(names), FEATURES))
    rows[::3] = rows[random.integers(0, len(names), len(rows[::3]))] + 0.1 * random.normal(
        size=(len(rows[::3]), FEATURES)
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[5] = 0
    FeatureStore(run.workspace, "letters", "images").append(names, rows.astype(np.float16), np.ones(len(names)))


WORDS = ("a", "the", "red", "green", "fox", "owl", "cat", "in", "snow", "two", "photo", "of", "by", "night", "tree")


def pool(*, with_nulls: bool) -> pa.Table:
    """Pairs of which about a third are near another by every measure: equal, edited, brightened; some without any."""
    random = np.random.default_rng(1)
    uids = sorted(random.bytes(16).hex() for _ in range(N))
    captions = [" ".join(random.choice(WORDS, random.integers(3, 12))) for _ in range(N)]
    images = [f"{random.integers(0, 2 * N // 3):064x}" for _ in range(N)]
    grids = random.integers(0, 256, (N, COLOUR_BYTES)).astype(np.uint8)
    grids[::5] = random.integers(100, 140, (len(grids[::5]), 1))
    hashes = random.integers(0, 2**64, N, dtype=np.uint64)
    for row in range(0, N, 3):
        other, kind = int(random.integers(0, N)), row // 3 % 5
        captions[row] = captions[other].upper() if kind == 0 else f"{captions[other]}!"
        grids[row], hashes[row] = grids[other], hashes[other] ^ np.uint64(kind)
        images[row] = images[other] if kind == 3 else images[row]
        if kind == 1:
            grids[row] = np.clip(grids[other].astype(int) + random.integers(-20, 20, COLOUR_BYTES), 0, 255)
        if kind == 2:
            grids[row] = np.clip(np.rint(grids[other] * 1.15), 0, 255)
    given = [None if row % 50 == 7 and with_nulls else image for row, image in enumerate(images)]
    colours = pa.FixedSizeListArray.from_arrays(pa.array(grids.ravel()), COLOUR_BYTES)
    return pa.table(
        {
            "uid": uids,
            "url": [f"https://a.test/{int(random.integers(0, N))}" for _ in range(N)],
            "caption": [None if row % 40 == 9 and with_nulls else text for row, text in enumerate(captions)],
            "image_id": pa.array(given, pa.string()),
            "width": pa.array(random.integers(1, 4, N), pa.int32()),
            "height": pa.array(random.integers(1, 4, N), pa.int32()),
            "phash": pa.array(hashes, mask=np.arange(N) % 60 == 11),
            "colour": colours,
        }
    )


def given_step(pairs: pa.Table) -> tuple[Step, dict]:
    decisions = Decisions.keep_all(pairs.num_rows).to_table(pairs["uid"])
    for name in pairs.column_names[1:]:
        decisions = decisions.append_column(name, pairs[name])
    step = Step(name="given", rule=dict, stored=dict, load=dict, judge=lambda *_: StepOutput(decisions=decisions))
    return step, {"pairs": table_hash(pairs)}


def searched(run: Run, bits: int, pairs: pa.Table, *steps: tuple[Step, dict]) -> list:
    """The records of the steps after that which gave the pairs."""
    cut = replace(run, bits=bits)
    step, rule = given_step(pairs)
    output = output_of(step, cut, [], rule)
    record = cut.ledger.commit(step.spec(cut, [], rule), output, uids=None, bits=bits, started=datetime.now(UTC))
    chosen = [(further, further.read(stored)) for further, stored in steps]
    records = run_steps(cut, chosen, InProcess(run=cut), [record])
    assert not run.exchange.exists() or not list(run.exchange.iterdir())
    return records[1:]


SEARCHES = {
    "exact": [(DEDUPLICATE_EXACT, {})],
    "captions of a picture": [(DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.3, "scope": "image"})],
    "captions of the pool": [(DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.5, "scope": "pool"})],
    "looks": [(DEDUPLICATE_PERCEPTUAL, {"max_distance": 16, "max_colour": 22.0, "max_shifted": 12.0})],
    "looks unshifted": [(DEDUPLICATE_PERCEPTUAL, {"max_distance": 6, "max_colour": 30.0, "max_shifted": None})],
    "features and colours": [(DEDUPLICATE_SEMANTIC, {"min_cosine": 0.9, "max_colour": 200.0, "tables": 8})],
    "features": [(DEDUPLICATE_SEMANTIC, {"min_cosine": 0.8, "max_colour": None, "tables": 4})],
    "records": [(DEDUPLICATE_LINKED, {"min_cosine": 0.95, "weight": 0.6, "tables": 8})],
    "one after the other": [
        (DEDUPLICATE_EXACT, {}),
        (DEDUPLICATE_PERCEPTUAL, {"max_distance": 16, "max_colour": 22.0, "max_shifted": 12.0}),
        (DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.5, "scope": "pool"}),
    ],
}


@pytest.mark.parametrize("bits", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("steps", SEARCHES.values(), ids=SEARCHES)
def test_partitions_find_what_the_whole_finds(workspace, tmp_path, monkeypatch, steps, bits):
    for module in (search, pair_search):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 16)
    monkeypatch.setattr(search, "ROWS_HELD", 100)
    monkeypatch.setattr(answers, "TABLES_AT_ONCE", 4)
    monkeypatch.setattr(search, "CELL_ROWS", 40)
    monkeypatch.setattr("evenly.tasks.encoders.open_encoder", lambda _run: Encoder())
    by_features = steps[0][0] in {DEDUPLICATE_SEMANTIC, DEDUPLICATE_LINKED}
    pairs, run = pool(with_nulls=not by_features), Run(workspace=workspace, seed=3)
    other = replace(run, workspace=Workspace.at(tmp_path / "cut"))
    for chosen in (run, other):
        store_features(chosen, pairs)
    whole = searched(run, 0, pairs, *steps)
    cut = searched(other, bits, pairs, *steps)
    assert [record.counts for record in cut] == [record.counts for record in whole]
    assert all(record.counts["merged"] > 20 for record in whole[:1])
    assert [dict(record.notes) for record in cut] == [dict(record.notes) for record in whole]
    assert [record.hashes for record in cut] == [record.hashes for record in whole]
    assert {record.bits for record in cut} == {bits}
