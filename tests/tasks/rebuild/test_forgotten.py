"""Pairs on the forget list are in no new build, in any number of partitions, and `diff`, `why` and `verify` say so."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st

from evenly.audit.diff import diff_builds
from evenly.audit.published import PublishedBuild
from evenly.audit.verify import verify_build
from evenly.audit.why import explain
from evenly.curation.collecting import pair_uids
from evenly.storage.pools.source import PoolSource
from evenly.storage.removal.forget import add_forgotten, read_forgotten
from evenly.storage.tables.partitions import Partition
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import InProcess
from evenly.tasks.partitioning import open_engine
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.balance import BALANCE
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_CONCEPTS
from evenly.tasks.rebuild.filters import CHECK_TEXTS
from evenly.tasks.run import Run
from evenly.tasks.stage import run_steps
from tests.few_examples import few
from tests.tasks.whole_rebuild import RULES, publish

SECRET = "a face that must go"  # noqa: S105 - no password
ROWS = [(f"https://a.test/{number}.jpg", f"a dog of number {number}") for number in range(60)]
ROWS += [(ROWS[3][0], SECRET), ROWS[5], ("https://secret.test/x.jpg", SECRET), ("https://secret.test/x.jpg", "")]
BY_URL = "https://secret.test/x.jpg"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "w").mkdir()
    lines = [json.dumps({"url": url, "text": caption}) for url, caption in ROWS]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    source = PoolSource(kind="jsonl", path=str(tmp_path / "pool.jsonl"), url="url", caption="text", name="pool")
    return Run(
        workspace=Workspace.at(tmp_path / "w"), seed=3, processes=1, sources=(source,), progress=Progress(quiet=True)
    )


def rebuild(run, bits=0, limit=None, each=None):
    cut = replace(run, bits=bits)
    steps = [(COLLECT, COLLECT.read({"limit": limit})), (CHECK_TEXTS, CHECK_TEXTS.read(RULES["check_texts"]))]
    each = each or InProcess(run=cut)
    records = run_steps(cut, steps, each)
    return publish(cut, records, engine=each, limit=limit)


def elsewhere(run, bits):
    """The run in a workspace that holds nothing but the same forget list."""
    workspace = Workspace.at(run.workspace.root.with_name(f"w{bits}"))
    shutil.copytree(run.workspace.forget, workspace.forget)
    return replace(run, workspace=workspace)


def uid_of(run, build, caption):
    samples = PublishedBuild(run.workspace, build).samples(["uid", "caption"])
    return samples.filter(pc.equal(samples["caption"], caption))["uid"][0].as_py()


def forget(run, build):
    """Put a pair on the list by its uid, and others by their URL; the uid."""
    uid = uid_of(run, build, ROWS[5][1])
    assert add_forgotten(run.workspace, [("uid", uid), ("url", BY_URL), ("url", ROWS[3][0])]) == 3
    return uid


def test_new_builds_hold_no_forgotten_pair_in_any_number_of_partitions(run):
    before = rebuild(run)
    uid = forget(run, before)
    runs = {bits: elsewhere(run, bits) for bits in (0, 1, 2)}
    builds = {bits: rebuild(other, bits) for bits, other in runs.items()}
    assert len({build["content_hash"] for build in builds.values()}) == 1
    assert [step["output_hash"] for step in builds[0]["steps"]] == [step["output_hash"] for step in builds[2]["steps"]]
    for bits, build in builds.items():
        assert verify_build(runs[bits].workspace, build) == []
        collect = build["steps"][0]
        assert collect["reasons"]["forgotten"] == 6
        assert collect["counts"]["failed"] == 0
        assert build["forget"] == [read_forgotten(run.workspace).digest]
        assert build["samples"]["rows"] == before["samples"]["rows"] - 5
    (pair,) = explain(runs[2].workspace, builds[2], uid).pairs
    assert (pair.outcome, pair.step, pair.reason) == ("dropped", "collect", "forgotten")


def test_neither_uid_nor_caption_nor_url_of_a_forgotten_pair_is_stored_anew(run):
    before = rebuild(run)
    uid = forget(run, before)
    build = rebuild(run, 2)
    published = PublishedBuild(run.workspace, build)
    tables = [published.ledger.table(record, name) for record in published.records for name in record.hashes]
    tables.append(published.samples())
    texts = {
        text
        for table in tables
        for column in table.columns
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        for text in column.drop_null().unique().to_pylist()
    }
    assert not texts & {uid, SECRET, BY_URL, *ROWS[3], ROWS[5][1]}
    assert {ROWS[0][0], ROWS[0][1]} <= texts
    key = read_forgotten(run.workspace).key.hex()
    records = [*run.workspace.steps.rglob("*.json"), *run.workspace.builds.rglob("*.json")]
    assert not [path for path in records if key in path.read_text()]


def test_diff_says_that_pairs_left_since_they_are_forgotten(run):
    before = rebuild(run)
    forget(run, before)
    difference = diff_builds(run.workspace, before, rebuild(run, 1))
    assert [(change.step, change.reason, change.cause, change.count) for change in difference.left] == [
        ("collect", "forgotten", "forgotten", 4)
    ]
    assert difference.entered == []
    assert "forget" in difference.differs
    assert difference.steps[0]["differs"] == {"forgotten": "other forget list"}


def test_a_forgotten_pair_takes_no_place_within_a_limit(run):
    before = rebuild(run)
    forget(run, before)
    for bits in (0, 2):
        other = elsewhere(run, bits)
        build = rebuild(other, bits, limit=20)
        assert build["samples"]["rows"] == 20
        assert verify_build(other.workspace, build) == []
        kept = PublishedBuild(other.workspace, build).samples(["uid"])["uid"].to_pylist()
        stays = PublishedBuild(run.workspace, rebuild(run)).samples(["uid"])["uid"].to_pylist()
        assert kept == sorted(stays)[:20]


def test_a_domain_is_refused_with_all_below_it_and_no_other(run):
    rows = [
        ("https://img.bad.test/1.jpg", "a dog"),
        ("http://BAD.test:80/2.jpg", "a cat"),
        ("https://notbad.test/3", "an owl"),
    ]
    pool = run.sources[0].path
    Path(pool).write_text("\n".join(json.dumps({"url": url, "text": text}) for url, text in rows))
    add_forgotten(run.workspace, [("domain", "bad.test")])
    for bits in (0, 2):
        assert rebuild(elsewhere(run, bits), bits)["steps"][0]["counts"] == {
            "kept": 1,
            "dropped": 2,
            "failed": 0,
            "merged": 0,
        }


LEVELLING = [
    *((COLLECT, {"limit": None}), (CHECK_TEXTS, {"caption_length": {"min_words": 2, "max_words": 8}})),
    (MATCH_CONCEPTS, {"metadata": "{root}/concepts.txt", "mode": "normalized", "plurals": False}),
    *((COUNT_CONCEPTS, {}), (BALANCE, {"t": 2.0})),
]


def kept_of(run, rows, listed, bits):
    """The kept uids of a pool in which draws and counts decide, with a forget list."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "concepts.txt").write_text("dog\ncat\nowl\n")
        (root / "pool.jsonl").write_text("\n".join(json.dumps({"url": url, "text": text}) for url, text in rows))
        source = replace(run.sources[0], path=str(root / "pool.jsonl"))
        own = replace(run, workspace=Workspace.at(root / "w"), sources=(source,), bits=bits)
        if listed:
            add_forgotten(own.workspace, listed)
        rules = [(step, step.read(json.loads(json.dumps(rule).replace("{root}", folder)))) for step, rule in LEVELLING]
        records = run_steps(own, rules, InProcess(run=own))
        return [
            uid
            for part in Partition.all(bits)
            for uid in replace(own, part=part).ledger.alive(records, [])["uid"].to_pylist()
        ]


@few(4, most=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_successor_keeps_what_a_pool_without_the_forgotten_pairs_would(run, data):
    animals = st.sampled_from(["a dog", "a cat", "an owl", "a dog and a cat", "three owls"])
    numbered = st.lists(st.tuples(st.integers(0, 7), animals, st.integers(0, 3)), min_size=3, max_size=30)
    rows = [(f"https://s{host}.test/{place}.jpg", f"{text} {place}") for host, text, place in data.draw(numbered)]
    chosen = data.draw(st.sets(st.sampled_from(rows), max_size=len(rows) - 1))
    hosts, bits = data.draw(st.sets(st.integers(0, 7), max_size=2)), data.draw(st.sampled_from([0, 2]))
    domains = {f"s{host}.test" for host in hosts}
    stays = [row for row in rows if row not in chosen and row[0].split("/")[2] not in domains]
    assume(stays)
    uids = pair_uids(*(pa.array(values, pa.string()) for values in zip(*sorted(chosen), strict=True))) if chosen else []
    listed = [("uid", str(uid)) for uid in uids] + [("domain", name) for name in sorted(domains)]
    assert kept_of(run, rows, listed, bits) == kept_of(run, stays, [], bits)


def test_an_empty_list_changes_no_key(run):
    build = rebuild(run)
    assert build["forget"] == []
    assert set(build["steps"][0]["inputs"]) == {"source 0"}
    forget(run, build)
    assert set(rebuild(run)["steps"][0]["inputs"]) == {"source 0", "forgotten"}


@pytest.mark.slow
def test_workers_forget_too(run):
    before = rebuild(run)
    forget(run, before)
    cut = replace(elsewhere(run, 2), bits=2, processes=2)
    with open_engine(cut) as each:
        assert rebuild(cut, 2, each=each)["content_hash"] == rebuild(run)["content_hash"]
