"""A little rebuild of some thirty pairs through the real ledger: every step of a recipe, in a second."""

import hashlib
import io
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from evenly.curation.align import Align, judge_alignment, resolve_threshold
from evenly.curation.balance.matched_pairs import count_entries
from evenly.curation.captions.choice import CANDIDATES, CHOSEN, ChoiceRule, choose_captions
from evenly.curation.concepts.matching import Matcher
from evenly.curation.decisions import Decisions, first_of
from evenly.curation.duplicates.fingerprints import measure_fingerprints
from evenly.curation.duplicates.image_duplicates import (
    Duplicates,
    Perceptual,
    deduplicate_exact,
    deduplicate_perceptual,
)
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS, Filter
from evenly.storage.builds import CONTENT_VERSION, BuildInputs, Builds, content_hash_of
from evenly.storage.ledger import Ledger, StepOutput, StepRecord, StepSpec
from evenly.storage.samples import Samples, wide_table
from evenly.storage.workspace import Workspace
from tests.curation.balance.whole_inputs import read_inputs
from tests.curation.test_uids import uid as uid_of

SCRIPT = "<script>alert('fox')</script> a fox \x1b[31mred\u202e"
CONCEPTS = ("fox", "cat", "tree", "car", "flag")
MATCH = {"metadata": "list", "mode": "normalized", "plurals": False}
ARRIVALS = pa.schema(
    [
        (name, pa.int64() if name == "row" else pa.string())
        for name in ("source", "file_hash", "row", "url", "caption", "uid", "verdict", "reason", "into")
    ]
)


@dataclass(frozen=True)
class PoolRow:
    """A row of the pool and the picture behind its URL: the colour of a drawn square, or how the download fails."""

    url: str
    caption: str
    picture: int | str
    group: str = "g0"


def _pool() -> tuple[PoolRow, ...]:
    flags = [PoolRow(f"http://p.test/flag{n}.png", f"a waving flag {n}", 100 + n, f"flag{n}") for n in range(12)]
    foxes = [PoolRow(f"http://p.test/fox{n}.png", f"one red fox {n}", 20 + n, f"fox{n}") for n in range(4)]
    rest = [
        PoolRow("http://p.test/script.png", SCRIPT, 40),
        PoolRow("http://p.test/fox0.png", "the same fox again", 20, "fox0"),
        PoolRow("http://copy.test/fox1.png", "an exact copy of a fox", 21, "fox1"),
        PoolRow("http://near.test/fox2.png", "nearly that fox", 1022, "fox2"),
        PoolRow("http://p.test/cat.png", "IMG 1234 cat", 50, "cat"),
        PoolRow("http://p.test/cat2.png", "two cat friends", 51, "cat2"),
        PoolRow("http://p.test/tree.png", "a green tree", 60, "tree"),
        PoolRow("http://p.test/short.png", "cat", 52),
        PoolRow("http://p.test/none.png", "nothing of interest", 53),
        PoolRow("http://dead.test/car.png", "a fast car", "http_404"),
        PoolRow("http://p.test/page.png", "a car page", "not_an_image"),
        PoolRow("http://p.test/tiny.png", "a tiny car", -5),
        PoolRow("http://p.test/tree.png", "a green tree", 60, "tree"),
        PoolRow("", "a fox without address", 0),
    ]
    return (*flags, *foxes, *rest)


@dataclass(frozen=True)
class Little:
    """What a little rebuild is made from; changing a field changes what a real recipe would change."""

    pool: tuple[PoolRow, ...] = field(default_factory=_pool)
    seed: int = 7
    limit: int | None = None
    min_words: int = 2
    t: float = 3.0
    balance: Mapping[str, Any] = field(default_factory=dict)
    keep_top: float = 0.9
    encoder: str = "encoder-a"
    versions: Mapping[str, int] = field(default_factory=dict)
    off: tuple[str, ...] = ()
    name: str = "little"
    bits: int = 0
    regions: tuple[Mapping[str, Any], ...] = ()

    def but(self, **changes: object) -> "Little":
        return replace(self, **changes)


@cache
def picture(number: int) -> bytes:
    """A picture that follows from `number`; negative ones are tiny, those from 1000 encoded anew with loss."""
    side = 8 if number < 0 else 96
    base = np.random.default_rng(number % 1000).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(base).resize((side, side), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, "WEBP" if number >= 1000 else "PNG", quality=95)
    return stream.getvalue()


Table = pa.Table
RECAPTION = {
    "captioners": [{"name": "retrieved", "kind": "retrieved"}],
    "choose": asdict(ChoiceRule(margin=0.1)),
    "judge": {"model": "embedded2"},
}


class Rebuild:
    """Runs the steps of one `Little` in a workspace by the real curation functions, each committed to the ledger."""

    def __init__(self, workspace: Workspace, little: Little, started: datetime) -> None:
        self.little, self.started, self.records = little, started, list[StepRecord]()
        self.ledger = Ledger(workspace)
        self.samples = Samples(workspace, little.name)

    def run(self) -> None:
        little = self.little
        self.collect()
        texts = {"caption_length": {"min_words": little.min_words}}
        self.judge("check_texts", texts, partial(_filter, TEXT_FILTERS, texts))
        self.judge("match_concepts", MATCH, partial(_match, "caption"))
        entries = self.ledger.table(self.record("match_concepts"), "matches")["entries"].combine_chunks()
        counts = {"entry": pa.array(range(len(CONCEPTS)), pa.int32()), "concept": CONCEPTS}
        counts["count"] = pa.array(count_entries(entries, len(CONCEPTS)))
        self.commit("count_concepts", {}, StepOutput(tables={"counts": pa.table(counts)}))
        threshold = {} if {"tail_share", "target"} & little.balance.keys() else {"t": little.t}
        balance = threshold | dict(little.balance)
        early = balance | {"headroom": 3.0}
        self.judge("preselect", early, partial(self.balance, "preselect", early), seed=little.seed)
        self.judge("download", {"timeout_s": 10}, self.download)
        images = {"image_size": {"min_side": 16}}
        self.judge("check_images", images, partial(_filter, IMAGE_FILTERS, images), add=_fingerprints)
        self.judge("deduplicate_exact", {}, lambda pairs: _merged(deduplicate_exact(pairs)))
        near = Perceptual()
        self.judge("deduplicate_perceptual", asdict(near), lambda pairs: _merged(deduplicate_perceptual(pairs, near)))
        if little.regions:
            further = {"attributes": True} if "attributes" in little.regions[0] else {}
            self.judge("find_regions", {"texts": "things.txt"} | further, self.find_regions)
        self.judge("recaption", RECAPTION, self.recaption, model=little.encoder, seed=0)
        self.judge("align", {"keep_top": little.keep_top}, self.align, model=little.encoder)
        caption = "caption" if "recaption" in little.off else "chosen_caption"
        self.judge("match_again", MATCH, partial(_match, caption))
        self.judge("balance", balance, partial(self.balance, "balance", balance), seed=little.seed)

    def commit(self, name: str, rule: dict[str, Any], output: StepOutput, **identity: object) -> None:
        inputs = {record.name: record.output_hash for record in self.records}
        read = {"collect": [(row.url, row.caption, row.group) for row in self.little.pool]}
        read["download"] = [(row.url, row.picture) for row in self.little.pool]
        if name in read:
            inputs["read"] = hashlib.sha256(repr(read[name]).encode()).hexdigest()
        spec = StepSpec(name=name, version=self.little.versions.get(name, 1), rule=rule, inputs=inputs, **identity)
        found = self.ledger.find(spec.key)
        if found is not None:
            self.records.append(found)
            return
        uids = self.alive()["uid"].combine_chunks() if self.records and output.decisions is not None else None
        run = "11111111-2222-3333-4444-555555555555"
        options = {"started": self.started, "bits": self.little.bits, "flow_run_id": run}
        self.records.append(self.ledger.commit(spec, output, uids=uids, **options))

    def judge(
        self,
        name: str,
        rule: dict[str, Any],
        decide: Callable[[Table], "Judged"],
        add: Callable[[Table], Table] | None = None,
        **identity: object,
    ) -> None:
        """Commit what `decide` says of the pairs that are alive, unless the step is off; `add` gives more columns."""
        if name in self.little.off:
            return
        pairs = self.alive()
        judged = decide(pairs)
        table = judged.decisions.to_table(pairs["uid"])
        more = add(pairs) if add else None
        for found in (judged.columns, more) if more is not None else (judged.columns,):
            for column in found.column_names:
                table = table.append_column(column, found[column])
        self.commit(name, rule, StepOutput(decisions=table, tables=judged.tables, notes=judged.notes), **identity)

    def record(self, name: str) -> StepRecord:
        return next(record for record in self.records if record.name == name)

    def alive(self) -> Table:
        known = dict.fromkeys(name for record in self.records for name in record.columns)
        return self.ledger.alive(self.records, list(known)).combine_chunks()

    def collect(self) -> None:
        arrivals, pairs = [], {}
        for row, item in enumerate(self.little.pool):
            uid = uid_of("pair", item.url, item.caption) if item.url else None
            verdict, reason, into = "kept", "", None
            if uid is None:
                verdict, reason = "dropped", "no_url"
            elif uid in pairs:
                verdict, reason, into = "merged", "same_pair", uid
            elif self.little.limit is not None and len(pairs) >= self.little.limit:
                verdict, reason = "dropped", "limit"
            else:
                pairs[uid] = item
            values = ("web", "f" * 64, row, item.url, item.caption, uid, verdict, reason, into)
            arrivals.append(dict(zip(ARRIVALS.names, values, strict=True)))
        table = pa.Table.from_pylist(arrivals, ARRIVALS)
        uids = pa.array(sorted(pairs), pa.string())
        rows = [pairs[uid] for uid in uids.to_pylist()]
        decisions = Decisions.keep_all(len(uids)).to_table(uids)
        for name in ("url", "caption", "group"):
            decisions = decisions.append_column(name, pa.array([getattr(row, name) for row in rows], pa.string()))
        decisions = decisions.append_column("source", pa.repeat(pa.scalar("web"), len(uids)))
        rule = {"limit": self.little.limit}
        self.commit("collect", rule, StepOutput(decisions=decisions, tables={"arrivals": table}, judged=table))

    def balance(self, step: str, rule: dict[str, Any], _pairs: Table) -> "Judged":
        inputs = read_inputs(self.ledger, self.records, step, rule, seed=self.little.seed)
        found = inputs.judged()
        return Judged(found.decisions, tables=inputs.tables(found), notes={"t": self.little.t})

    def download(self, pairs: Table) -> "Judged":
        drawn = {item.url: item.picture for item in self.little.pool}
        got = [drawn[url] for url in pairs["url"].to_pylist()]
        data = [None if isinstance(number, str) else picture(number) for number in got]
        sides = pa.array([None if one is None else Image.open(io.BytesIO(one)).width for one in data], pa.int32())
        failed = [isinstance(number, str) for number in got]
        status = [404 if number == "http_404" else 200 for number in got]
        columns = {
            "image_id": pa.array(
                [None if one is None else hashlib.sha256(one).hexdigest() for one in data], pa.string()
            ),
            "width": sides,
            "height": sides,
            "http_status": pa.array(status, pa.int32()),
            "evidence": pa.array([f"HTTP {number}" for number in status], pa.string()),
        }
        reasons = [number if isinstance(number, str) else "" for number in got]
        return Judged(Decisions.of(reason=reasons, failed=failed), columns=pa.table(columns))

    def score(self, text: str, uid: str) -> float:
        digest = hashlib.sha256(f"{self.little.encoder}{text}{uid}".encode()).digest()
        return round(int.from_bytes(digest[:4], "little") / 2**32, 4)

    def find_regions(self, pairs: Table) -> "Judged":
        """Every pair has the same regions but for the second, which has none."""
        empty = {"mask": "", "label": "", "phrase": "", "score": None, "source": "score_maps", "reason": ""}
        rows = [
            empty | dict(region) | {"uid": uid, "region": number}
            for place, uid in enumerate(pairs["uid"].to_pylist())
            for number, region in enumerate(self.little.regions if place != 1 else ())
        ]
        table = pa.Table.from_pylist(rows)
        counting = [row["uid"] for row in rows if not row["reason"]]
        counts = pa.array([counting.count(uid) for uid in pairs["uid"].to_pylist()])
        decisions = Decisions.of(reason=pa.repeat("", len(pairs)), value=counts.cast(pa.float64()))
        return Judged(decisions, columns=pa.table({"region_count": counts}), tables={"regions": table})

    def recaption(self, pairs: Table) -> "Judged":
        rows = []
        for uid, caption in zip(pairs["uid"].to_pylist(), pairs["caption"].to_pylist(), strict=True):
            offers = {caption: "original", f"a {CONCEPTS[int(uid, 16) % len(CONCEPTS)]} drawing": "retrieved"}
            rows += [{"uid": uid, "caption": text, "origin": origin} for text, origin in offers.items()]
        for row in rows:
            row |= {"score": self.score(row["caption"], row["uid"]), "sample": 0, "refused": "", "flags": []}
            row["judged"] = self.score(f"judged {row['caption']}", row["uid"])
        candidates = pa.Table.from_pylist(rows, CANDIDATES)
        found = choose_captions(pairs["uid"].combine_chunks(), candidates, ChoiceRule(margin=0.1))
        return Judged(found.decisions, columns=found.chosen.select(CHOSEN.names[1:]), tables={"candidates": candidates})

    def align(self, pairs: Table) -> "Judged":
        captions = pairs["chosen_caption" if "chosen_caption" in pairs.column_names else "caption"].to_pylist()
        uids = pairs["uid"].to_pylist()
        scores = pa.array([self.score(text, uid) for text, uid in zip(captions, uids, strict=True)], pa.float64())
        threshold = resolve_threshold(scores, Align(keep_top=self.little.keep_top))
        return Judged(judge_alignment(scores, threshold), notes={"threshold": threshold if len(scores) else None})


@dataclass(frozen=True)
class Judged:
    """What a step found: decisions, further columns, child tables and notes."""

    decisions: Decisions
    columns: Table = field(default_factory=lambda: pa.table({}))
    tables: Mapping[str, Table] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


def _filter(filters: Mapping[str, Filter], rules: Mapping[str, Any], pairs: Table) -> Judged:
    ((name, values),) = rules.items()
    rule = filters[name].rule(**values)
    measured = filters[name].measure(pairs, rule)
    decisions = first_of(Decisions.keep_all(len(measured)), filters[name].judge(measured, rule))
    return Judged(decisions, columns=pa.table({f"{name}_value": measured}))


def _match(column: str, pairs: Table) -> Judged:
    entries = Matcher(CONCEPTS, "normalized", plurals=False).match(pairs[column].combine_chunks())
    found = entries.value_lengths()
    reasons = pc.if_else(pc.greater(found, 0), "", "no_concept")
    matches = pa.table({"uid": pairs["uid"], "entries": entries}).filter(pc.greater(found, 0))
    tables = {"matches": matches}
    if column == "caption":
        tables["concepts"] = pa.table({"entry": CONCEPTS, "sources": [["list"]] * len(CONCEPTS)})
    return Judged(Decisions.of(reason=reasons, value=found.cast(pa.float64())), tables=tables)


def _merged(found: Duplicates) -> Judged:
    return Judged(found.decisions, tables={"edges": found.edges})


def _fingerprints(pairs: Table) -> Table:
    numbers = [item.picture for item in Little().pool if not isinstance(item.picture, str)]
    held = {hashlib.sha256(data).hexdigest(): data for data in map(picture, {*numbers, 777})}
    return measure_fingerprints([held[image_id] for image_id in pairs["image_id"].to_pylist()])


def publish(workspace: Workspace, little: Little, started: datetime) -> dict[str, Any]:
    """Run the steps, write the sample table and the manifest; the manifest."""
    rebuild = Rebuild(workspace, little, started)
    rebuild.run()
    records = rebuild.records
    wide = wide_table(rebuild.ledger, records)
    recipe = {"name": little.name, "curate": {"balance": {"t": little.t}}}
    encoder = {"model": "embedded", "pretrained": None, "identity": little.encoder}
    inputs = BuildInputs(recipe=recipe, seed=little.seed, limit=little.limit, encoder=encoder)
    content = content_hash_of(rebuild.ledger, records, inputs)
    fields = ("name", "key", "version", "rule", "model", "seed", "inputs", "output_hash", "hashes", "counts")
    manifest = {
        "build": f"{little.name}-{content[:12]}",
        "recipe_name": little.name,
        "recipe": recipe,
        "seed": little.seed,
        "limit": little.limit,
        "created": started.isoformat(),
        "content_hash": content,
        "steps": [{name: getattr(record, name) for name in (*fields, "reasons", "rows_in")} for record in records],
        "samples": {
            "version": rebuild.samples.write(wide),
            "rows": wide.num_rows,
            "kept": records[-1].counts["kept"],
        },
        "content_version": CONTENT_VERSION,
        "encoder": encoder,
        "code": dict(records[0].code),
    }
    Builds(workspace).publish(manifest)
    return Builds(workspace).read(manifest["build"])


Build = Callable[..., dict[str, Any]]
STARTED = datetime(2026, 11, 24, 3, tzinfo=UTC)


@pytest.fixture(scope="session")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a workspace with the little build as it is, to be copied; its manifest."""
    root = tmp_path_factory.mktemp("unchanged") / "workspace"
    return root, publish(Workspace.at(root), Little(), STARTED)


@pytest.fixture
def build(workspace: Workspace, unchanged: tuple[Path, dict[str, Any]]) -> Build:
    """Publish a little build: `build()` or `build(seed=8)` and so on, in the test's own workspace."""

    def make(*, started: datetime = STARTED, **changes: object) -> dict[str, Any]:
        root, manifest = unchanged
        if not (changes or started != STARTED or workspace.root.exists()):
            shutil.copytree(root, workspace.root)
            return deepcopy(manifest)
        return publish(workspace, Little().but(**changes), started)

    return make


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace for builds that no test changes; steps that they have in common run once."""
    return Workspace.at(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def shared_build(shared: Workspace) -> Build:
    """Publish a little build in the shared workspace, each once."""
    made: dict[str, dict[str, Any]] = {}

    def make(**changes: object) -> dict[str, Any]:
        little = Little().but(**changes)
        if repr(little) not in made:
            made[repr(little)] = publish(shared, little, STARTED)
        return made[repr(little)]

    return make


@pytest.fixture(scope="session")
def published(shared: Workspace, shared_build: Build) -> tuple[Workspace, dict[str, Any]]:
    """The plain little build and its workspace."""
    return shared, shared_build()


@pytest.fixture
def little() -> Little:
    """What the little build is made from, to be changed."""
    return Little()


@pytest.fixture(scope="session")
def read_all() -> Callable[[Sequence[str]], Iterable[bytes]]:
    """The pictures of the little pool by image_id."""
    numbers = [item.picture for item in Little().pool if not isinstance(item.picture, str)]
    held = {hashlib.sha256(data).hexdigest(): data for data in map(picture, numbers)}
    return lambda ids: [held[image_id] for image_id in ids]
