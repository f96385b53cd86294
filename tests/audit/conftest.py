"""A little rebuild of some thirty pairs through the real ledger: every step of a recipe, in a second."""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from audit.content import content_hash_of, content_table_hash
from curation.draws import draw
from curation.uids import pair_uid
from storage.builds import Builds
from storage.ledger import Ledger, StepOutput, StepRecord, StepSpec
from storage.samples import Samples, wide_table
from storage.workspace import Workspace

SCRIPT = "<script>alert('fox')</script> a fox \x1b[31mred\u202e"
CONCEPTS = ("fox", "cat", "tree", "car", "flag")
DRAW_STEP = "balance"

DRAWS = pa.schema(
    [
        ("uid", pa.string()),
        ("entry", pa.string()),
        ("p", pa.float64()),
        ("draw", pa.float64()),
        ("deciding", pa.bool_()),
    ]
)
CANDIDATES = pa.schema(
    [("uid", pa.string()), ("caption", pa.string()), ("origin", pa.string()), ("score", pa.float64())]
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
    keep_top: float = 0.9
    encoder: str = "encoder-a"
    versions: Mapping[str, int] = field(default_factory=dict)
    off: tuple[str, ...] = ()
    name: str = "little"

    def but(self, **changes: object) -> "Little":
        return replace(self, **changes)


def picture(number: int) -> bytes:
    """A PNG whose content follows from `number`; negative numbers give tiny ones."""
    side = 8 if number < 0 else 96
    base = np.random.default_rng(number % 1000).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(base).resize((side, side), Image.Resampling.NEAREST)
    if number >= 1000:
        image = image.resize((80, 80)).resize((side, side))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


class Rebuild:
    """Runs the steps of one `Little` in a workspace, each committed to the ledger."""

    def __init__(self, workspace: Workspace, little: Little, started: datetime) -> None:
        self.little, self.started, self.records = little, started, list[StepRecord]()
        self.ledger = Ledger(workspace)
        self.samples = Samples(workspace, little.name)

    def commit(self, name: str, rule: dict[str, Any], output: StepOutput, **identity: object) -> None:
        inputs = {record.name: record.output_hash for record in self.records}
        if not self.records:
            inputs["pool"] = hashlib.sha256(repr(self.little.pool).encode()).hexdigest()
        spec = StepSpec(name=name, version=self.little.versions.get(name, 1), rule=rule, inputs=inputs, **identity)
        uids = self.uids() if self.records and output.decisions is not None else None
        run = "11111111-2222-3333-4444-555555555555"
        self.records.append(self.ledger.commit(spec, output, uids=uids, started=self.started, flow_run_id=run))

    def judge(
        self,
        name: str,
        rule: dict[str, Any],
        verdicts: Callable[[dict[str, Any]], tuple[Any, ...]],
        columns: Mapping[str, tuple[pa.DataType, Callable[[dict[str, Any]], Any]]] | None = None,
        **more: object,
    ) -> None:
        """`verdicts` maps a pair to (reason, value, into); reasons of the download that start a failure are failed."""
        if name in self.little.off:
            return
        pairs = self.alive()
        found = [(*verdicts(pair), None, None)[:3] for pair in pairs]
        fails = name == "download"
        kinds = ["kept" if not r else "merged" if into else "failed" if fails else "dropped" for r, _, into in found]
        table = {
            "uid": pa.array([pair["uid"] for pair in pairs], pa.string()),
            "verdict": pa.array(kinds, pa.string()),
            "reason": pa.array([reason for reason, _, _ in found], pa.string()),
            "value": pa.array([value for _, value, _ in found], pa.float64()),
            "into": pa.array([into for _, _, into in found], pa.string()),
        }
        for column, (kind, make) in (columns or {}).items():
            table[column] = pa.array([make(pair) for pair in pairs], kind)
        tables, notes = more.pop("tables", {}), more.pop("notes", {})
        self.commit(name, rule, StepOutput(decisions=pa.table(table), tables=tables, notes=notes), **more)

    def uids(self) -> pa.Array:
        return self.ledger.alive(self.records, [])["uid"].combine_chunks()

    def alive(self) -> list[dict[str, Any]]:
        known = dict.fromkeys(name for record in self.records for name in record.columns)
        rows: list[dict[str, Any]] = self.ledger.alive(self.records, list(known)).to_pylist()
        return rows

    def run(self) -> None:
        self.collect()
        words = lambda pair: len(pair["caption"].split())  # noqa: E731
        self.judge(
            "check_texts",
            {"caption_length": {"min_words": self.little.min_words}},
            lambda pair: ("too_few_words" if words(pair) < self.little.min_words else "", words(pair)),
            {"caption_length_value": (pa.float64(), words)},
        )
        self.match()
        self.draw("preselect", self.little.t * 3)
        self.download()
        self.deduplicate()
        self.recaption()
        self.align()
        self.draw("balance", self.little.t)

    def collect(self) -> None:
        arrivals, pairs = [], {}
        for row, item in enumerate(self.little.pool):
            uid = pair_uid(item.url, item.caption) if item.url else None
            verdict, reason, into = "kept", "", None
            if uid is None:
                verdict, reason = "dropped", "no_url"
            elif uid in pairs:
                verdict, reason, into = "merged", "duplicate_row", uid
            elif self.little.limit is not None and len(pairs) >= self.little.limit:
                verdict, reason = "dropped", "limit"
            else:
                pairs[uid] = item
            arrivals.append(("web", "f" * 64, row, uid, verdict, reason, into))
        names = ("source", "file_hash", "row", "uid", "verdict", "reason", "into")
        kinds = (pa.string(), pa.string(), pa.int64(), pa.string(), pa.string(), pa.string(), pa.string())
        table = pa.table(
            {n: pa.array([a[i] for a in arrivals], k) for i, (n, k) in enumerate(zip(names, kinds, strict=True))}
        )
        uids = sorted(pairs)
        decisions = pa.table(
            {
                "uid": pa.array(uids, pa.string()),
                "verdict": pa.array(["kept"] * len(uids)),
                "reason": pa.array([""] * len(uids)),
                "value": pa.nulls(len(uids), pa.float64()),
                "into": pa.nulls(len(uids), pa.string()),
                "url": pa.array([pairs[uid].url for uid in uids], pa.string()),
                "caption": pa.array([pairs[uid].caption for uid in uids], pa.string()),
                "source": pa.array(["web"] * len(uids)),
                "source_id": pa.nulls(len(uids), pa.string()),
                "group": pa.array([pairs[uid].group for uid in uids], pa.string()),
                "label": pa.nulls(len(uids), pa.string()),
            }
        )
        rule = {"limit": self.little.limit}
        self.commit("collect", rule, StepOutput(decisions=decisions, tables={"arrivals": table}, judged=table))

    def match(self, name: str = "match_concepts", column: str = "caption") -> None:
        if name in self.little.off:
            return
        pairs = self.alive()
        self.entries = {
            pair["uid"]: [n for n, concept in enumerate(CONCEPTS) if concept in pair[column].lower().split()]
            for pair in pairs
        }
        matches = pa.table(
            {
                "uid": pa.array(list(self.entries), pa.string()),
                "entries": pa.array(list(self.entries.values()), pa.list_(pa.int32())),
            }
        )
        concepts = pa.table({"entry": pa.array(CONCEPTS), "sources": pa.array([["list"]] * len(CONCEPTS))})
        self.judge(
            name,
            {"metadata": "list", "mode": "normalized"},
            lambda pair: ("" if self.entries[pair["uid"]] else "no_concept", len(self.entries[pair["uid"]])),
            tables={"matches": matches} | ({"concepts": concepts} if name == "match_concepts" else {}),
        )
        self.count = [sum(n in held for held in self.entries.values()) for n in range(len(CONCEPTS))]
        if name == "match_concepts":
            counts = pa.table(
                {"entry": pa.array(range(len(CONCEPTS)), pa.int32()), "concept": CONCEPTS, "count": self.count}
            )
            self.commit("count_concepts", {}, StepOutput(tables={"counts": counts}))

    def draw(self, name: str, t: float) -> None:
        if name in self.little.off:
            return
        rows = [
            {"uid": pair["uid"], "entry": CONCEPTS[n], "p": min(1.0, t / max(self.count[n], 1))}
            | {"draw": draw(seed=self.little.seed, step=DRAW_STEP, uid=pair["uid"], entry=CONCEPTS[n])}
            for pair in self.alive()
            for n in self.entries[pair["uid"]]
        ]
        for row in rows:
            row["deciding"] = row["draw"] < row["p"]
        kept = {row["uid"] for row in rows if row["deciding"]}
        keep = lambda pair: 1 - np.prod([1 - row["p"] for row in rows if row["uid"] == pair["uid"]])  # noqa: E731
        tables = {"draws": pa.Table.from_pylist(rows, DRAWS)}
        if name == "balance":
            after = [sum(n in self.entries[uid] for uid in kept) for n in range(len(CONCEPTS))]
            tables["counts"] = pa.table(
                {"concept": CONCEPTS, "before": self.count, "weighted": [float(n) for n in self.count]}
                | {"after": after, "p": [min(1.0, t / max(n, 1)) for n in self.count]}
            )
        self.judge(
            name,
            {"t": t},
            lambda pair: ("" if pair["uid"] in kept else f"{name}_draw", keep(pair)),
            tables=tables,
            notes={"t": t},
            seed=self.little.seed,
        )

    def download(self) -> None:
        drawn = {item.url: item.picture for item in self.little.pool}
        get = lambda pair: drawn[pair["url"]]  # noqa: E731
        data = lambda pair: None if isinstance(get(pair), str) else picture(get(pair))  # noqa: E731
        sha = lambda pair: None if data(pair) is None else hashlib.sha256(data(pair)).hexdigest()  # noqa: E731
        side = lambda pair: None if data(pair) is None else Image.open(io.BytesIO(data(pair))).width  # noqa: E731
        status = lambda pair: 404 if get(pair) == "http_404" else 200  # noqa: E731
        self.judge(
            "download",
            {"timeout_s": 10},
            lambda pair: (get(pair) if isinstance(get(pair), str) else "",),
            {
                "image_id": (pa.string(), sha),
                "width": (pa.int32(), side),
                "height": (pa.int32(), side),
                "http_status": (pa.int32(), status),
                "evidence": (pa.string(), lambda pair: f"HTTP {status(pair)}"),
            },
        )
        small = lambda pair: ("too_small" if pair["width"] < 16 else "",)  # noqa: E731
        colour = lambda pair: hashlib.md5(data(pair)).hexdigest()[:6]  # noqa: E731, S324
        self.judge("check_images", {"image_size": {"min_side": 16}}, small, {"colour": (pa.string(), colour)})

    def deduplicate(self) -> None:
        first: dict[str, str] = {}
        for pair in self.alive():
            first.setdefault(pair["image_id"], pair["uid"])
        twin = lambda pair: None if first[pair["image_id"]] == pair["uid"] else first[pair["image_id"]]  # noqa: E731
        self.judge("deduplicate_exact", {}, lambda p: ("exact_duplicate" if twin(p) else "", None, twin(p)))
        by_url = {pair["url"]: pair["uid"] for pair in self.alive()}
        near = {by_url.get("http://near.test/fox2.png"): by_url.get("http://p.test/fox2.png")}
        rows = [(a, b, "perceptual", 2.0) for a, b in near.items() if a and b]
        edges = pa.table(
            {
                "uid_a": pa.array([row[0] for row in rows], pa.string()),
                "uid_b": pa.array([row[1] for row in rows], pa.string()),
                "kind": pa.array([row[2] for row in rows], pa.string()),
                "distance": pa.array([row[3] for row in rows], pa.float64()),
            }
        )
        into = lambda pair: near.get(pair["uid"])  # noqa: E731
        self.judge(
            "deduplicate_perceptual",
            {"distance": 6},
            lambda pair: ("near_duplicate" if into(pair) else "", 2.0 if into(pair) else None, into(pair)),
            tables={"edges": edges},
        )

    def score(self, text: str, uid: str) -> float:
        digest = hashlib.sha256(f"{self.little.encoder}{text}{uid}".encode()).digest()
        return round(int.from_bytes(digest[:4], "little") / 2**32, 4)

    def recaption(self) -> None:
        if "recaption" in self.little.off:
            return
        rows, chosen = [], {}
        for pair in self.alive():
            options = [
                (pair["caption"], "original"),
                (f"{CONCEPTS[self.entries[pair['uid']][0]]} drawing", "retrieved"),
            ]
            scored = [(text, origin, self.score(text, pair["uid"])) for text, origin in options]
            chosen[pair["uid"]] = max(scored, key=lambda item: item[2])
            rows += [
                dict(zip(("uid", "caption", "origin", "score"), (pair["uid"], *item), strict=True)) for item in scored
            ]
        names = (("chosen_caption", pa.string()), ("caption_origin", pa.string()), ("caption_score", pa.float64()))
        self.judge(
            "recaption",
            {"margin": 0.0},
            lambda _: ("",),
            {name: (kind, lambda p, at=at: chosen[p["uid"]][at]) for at, (name, kind) in enumerate(names)},
            tables={"candidates": pa.Table.from_pylist(rows, CANDIDATES)},
            model=self.little.encoder,
        )

    def align(self) -> None:
        text = lambda pair: pair.get("chosen_caption") or pair["caption"]  # noqa: E731
        score = lambda pair: self.score(text(pair), pair["uid"])  # noqa: E731
        scores = sorted((score(pair) for pair in self.alive()), reverse=True)
        threshold = scores[max(1, int(len(scores) * self.little.keep_top)) - 1] if scores else 0.0
        self.judge(
            "align",
            {"keep_top": self.little.keep_top},
            lambda pair: ("" if score(pair) >= threshold else "low_score", score(pair)),
            notes={"threshold": threshold},
            model=self.little.encoder,
        )


def publish(workspace: Workspace, little: Little, started: datetime) -> dict[str, Any]:
    """Run the steps, write the sample table and the manifest; the manifest."""
    rebuild = Rebuild(workspace, little, started)
    rebuild.run()
    records = rebuild.records
    wide = wide_table(rebuild.ledger, records)
    recipe = {"name": little.name, "curate": {"balance": {"t": little.t}}}
    encoder = {"model": "embedded", "pretrained": None, "identity": little.encoder}
    content = content_hash_of(
        rebuild.ledger, records, wide, recipe=recipe, seed=little.seed, limit=little.limit, encoder=encoder
    )
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
            "hash": content_table_hash(wide),
        },
        "encoder": encoder,
        "code": dict(records[0].code),
    }
    Builds(workspace).publish(manifest)
    return Builds(workspace).read(manifest["build"])


Build = Callable[..., dict[str, Any]]


@pytest.fixture
def build(workspace: Workspace) -> Build:
    """Publish a little build: `build()` or `build(seed=8)` and so on, in the test's workspace."""

    def make(*, started: datetime = datetime(2026, 11, 24, 3, tzinfo=UTC), **changes: object) -> dict[str, Any]:
        return publish(workspace, Little().but(**changes), started)

    return make


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, Any]]:
    """One finished build that no test changes."""
    workspace = Workspace.at(tmp_path_factory.mktemp("published"))
    return workspace, publish(workspace, Little(), datetime(2026, 11, 24, 3, tzinfo=UTC))


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
