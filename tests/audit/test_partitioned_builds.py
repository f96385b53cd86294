"""Builds in partitions: the same answers as of a build in one piece, and no more of it read than they take."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from evenly.audit.checks import rows
from evenly.audit.checks.rows import check_conservation
from evenly.audit.diff import diff_builds
from evenly.audit.published import PublishedBuild
from evenly.audit.verify import verify_build
from evenly.audit.why import explain
from evenly.curation.balance import parts, picked_texts
from evenly.storage import ledger, samples
from evenly.storage.ledger import Ledger
from evenly.storage.tables.arrow_files import read_table, write_table
from evenly.storage.tables.exchange import each_received
from evenly.storage.tables.partitions import partition_of
from evenly.storage.workspace import Workspace
from tests.audit.conftest import STARTED, Little, publish

BITS = 2


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory):
    """A build in four partitions, in a workspace of its own."""
    workspace = Workspace.at(tmp_path_factory.mktemp("cut"))
    return workspace, publish(workspace, Little(bits=BITS), STARTED)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of the ledger that were read; the sample table must not be."""
    paths: list[Path] = []
    read = ledger.read_table

    def noted(path: Path, *arguments: object):
        paths.append(path)
        return read(path, *arguments)

    def refused(*_: object, **__: object):
        pytest.fail("the sample table was read")

    monkeypatch.setattr(ledger, "read_table", noted)
    monkeypatch.setattr(samples, "read_rows", refused)
    monkeypatch.setattr(samples, "each_fragment", refused)
    return paths


def partitions_of(build: PublishedBuild, paths: list[Path], *, leave_out: tuple[str, ...] = ()) -> set[int]:
    """The partitions whose files of tables that are cut are among `paths`."""
    numbers = set[int]()
    for record in build.records:
        for name, layout in record.layout.items():
            files = {f"{name}-{digest[:32]}.arrow": int(number) for number, digest in layout.parts.items()}
            if layout.bits and name not in leave_out:
                seen = {path.name for path in paths if path.parent.name == record.name}
                numbers |= {number for file, number in files.items() if file in seen}
    return numbers


def plain(workspace, manifest, asked, **options) -> list[dict]:
    """An explanation without what differs between runs: when, by which step key."""
    pairs = explain(workspace, manifest, asked, **options).to_dict()["pairs"]
    for pair in pairs:
        for sight in pair["steps"]:
            del sight["run"]
    return pairs


@pytest.mark.slow
def test_a_build_in_partitions_is_explained_as_one_in_one_piece(cut, published):
    assert cut[1]["content_hash"] == published[1]["content_hash"]
    assert {record.bits for record in PublishedBuild(*cut).deciding} == {BITS}
    whole = PublishedBuild(*published)
    arrivals = whole.ledger.table(whole.deciding[0], "arrivals").to_pylist()
    asked = {row[name] for row in arrivals for name in ("uid", "url") if row[name]}
    for number, one in enumerate(sorted(asked)):
        replay = number % 9 == 0
        assert plain(*cut, one, replay=replay) == plain(*published, one, replay=replay), one


@pytest.fixture(scope="module")
def picked(tmp_path_factory: pytest.TempPathFactory):
    """A build in four partitions of which one text per picture was chosen."""
    workspace = Workspace.at(tmp_path_factory.mktemp("picked"))
    return workspace, publish(workspace, Little(bits=BITS).but(balance={"texts": "one_per_image"}), STARTED)


def test_one_text_per_picture_is_picked_again_without_all_pairs_at_once(picked, monkeypatch):
    build = PublishedBuild(*picked)
    pairs = build.deciding[0].counts["kept"]
    sizes = []
    pick = picked_texts.pick_texts

    def noted(uids, images, **options):
        sizes.append(len(uids))
        return pick(uids, images, **options)

    for module in (picked_texts, parts):
        monkeypatch.setattr(module, "pick_texts", noted)
    assert verify_build(*picked) == []
    for uid in build.ledger.decisions(build.deciding[0], ["uid"])["uid"].to_pylist()[:4]:
        assert explain(*picked, uid, replay=True).agrees
    assert max(sizes) < pairs / 2
    assert not picked[0].exchange.exists()


def test_all_pictures_are_hashed_partition_by_partition(cut, read_all):
    build, asked = PublishedBuild(*cut), []

    def noted(ids):
        asked.append(list(ids))
        return read_all(ids)

    assert verify_build(*cut, read_bytes=noted, every_image=True) == []
    ids = sorted(image_id for batch in asked for image_id in batch)
    kept = build.samples(["image_id", f"{build.deciding[-1].name}_verdict"]).to_pylist()
    assert ids == sorted({row["image_id"] for row in kept if row[f"{build.deciding[-1].name}_verdict"] == "kept"})
    assert len(asked) > 1
    assert all(len({partition_of(image_id, BITS) for image_id in batch}) == 1 for batch in asked)


def test_why_reads_files_of_the_partition_of_its_pair_alone(cut, opened):
    build = PublishedBuild(*cut)
    uids = build.ledger.decisions(build.deciding[-1], ["uid"])["uid"].to_pylist()
    del opened[:]
    for uid in uids[:3]:
        explain(*cut, uid)
        shared = ("edges", "decisions")  # whatever was merged into the pair may lie anywhere
        assert partitions_of(build, opened, leave_out=shared) == {partition_of(uid, BITS)}
        steps = {path.parent.name for path in opened if path.name.startswith("decisions-")}
        assert steps == {record.name for record in build.deciding}
        once = [record for record in build.deciding if not record.counts["merged"]]
        decisions = [path for path in opened if path.parent.name in {record.name for record in once}]
        assert partitions_of(build, decisions) == {partition_of(uid, BITS)}
        del opened[:]


def test_the_way_to_a_twin_over_several_edges_is_the_same_in_partitions(cut, published):
    build = PublishedBuild(*cut)
    merged = [
        uid
        for record in build.deciding
        for uid, verdict in zip(*build.ledger.decisions(record, ["uid", "verdict"]).to_pydict().values(), strict=True)
        if verdict == "merged"
    ]
    assert merged
    for uid in merged:
        ours, others = (plain(*one, uid)[0]["steps"][-1]["twin"] for one in (cut, published))
        assert ours == others
        assert ours["path"]


CHANGES = {
    "later": {"keep_top": 0.5},
    "earlier": {"min_words": 4},
    "step off": {"off": ("align",)},
    "captions off": {"off": ("recaption",)},
    "limit": {"limit": 15},
    "seed": {"seed": 8},
    "captions": {"encoder": "encoder-b"},
    "pool": {"pool": Little().pool[10:]},
    "code": {"versions": {"collect": 2}, "t": 2.0},
}


QUICK = ("step off", "pool")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, change in CHANGES.items()
    ],
)
def test_builds_in_partitions_differ_as_those_in_one_piece(cut, shared, shared_build, change):
    workspace, before = cut
    expected = diff_builds(shared, shared_build(), shared_build(**change), examples=2).to_dict()
    for bits in (BITS, 1):  # a build may be cut otherwise, or a step that it takes over from another
        after = publish(workspace, replace(Little(bits=bits), **change), STARTED)
        assert diff_builds(workspace, before, after, examples=2).to_dict() == expected
        back = diff_builds(workspace, after, before, examples=2)
        assert back.to_dict() == diff_builds(shared, shared_build(**change), shared_build(), examples=2).to_dict()


@pytest.mark.slow
def test_builds_of_two_cuts_are_compared_by_the_coarser(tmp_path, shared, shared_build):
    workspace, change = Workspace.at(tmp_path), {"pool": Little().pool[10:], "min_words": 3}
    fine = publish(workspace, Little(bits=3), STARTED)
    coarse = publish(workspace, replace(Little(bits=1), **change), STARTED)
    assert {record.bits for record in PublishedBuild(workspace, coarse).deciding} == {1}
    expected = diff_builds(shared, shared_build(), shared_build(**change), examples=2).to_dict()
    assert diff_builds(workspace, fine, coarse, examples=2).to_dict() == expected


def test_what_has_the_same_digest_in_both_builds_is_not_read(cut, opened):
    workspace, before = cut
    del opened[:]
    assert diff_builds(workspace, before, before).unchanged == before["samples"]["kept"]
    assert opened == []
    after = publish(workspace, Little(bits=BITS, keep_top=0.5), STARTED)
    del opened[:]
    diff_builds(workspace, before, after)
    read = {path.parent.name for path in opened if path.name.startswith("decisions-")}
    assert read == {"recaption", "align", "match_again", "balance", "collect"}  # URLs stand with `collect`


def test_no_command_holds_a_whole_table(cut, monkeypatch):
    workspace, before = cut
    after = publish(workspace, Little(bits=BITS, pool=Little().pool[10:]), STARTED)
    read = Ledger._rows

    def of_one_partition(self, record, name, numbers, *rest):
        assert len(numbers) == 1 or rest[-1] is not None, (record.name, name)  # the last is the condition
        return read(self, record, name, numbers, *rest)

    monkeypatch.setattr(Ledger, "_rows", of_one_partition)
    assert verify_build(workspace, before) == []
    assert diff_builds(workspace, before, after).left
    for url in ("http://p.test/fox0.png", "http://near.test/fox2.png"):
        assert explain(workspace, before, url, replay=True).agrees


def test_what_was_changed_in_one_partition_is_found_with_the_counts_of_all(tmp_path):
    workspace = Workspace.at(tmp_path)
    manifest = publish(workspace, Little(bits=BITS), STARTED)
    record = PublishedBuild(workspace, manifest).step("preselect")
    layout = record.layout["decisions"]
    path = workspace.ledger / "preselect" / f"decisions-{layout.digest(1)[:32]}.arrow"
    table = read_table(path)
    write_table(path, table.slice(1))
    findings = {(finding.check, finding.where): finding.what for finding in verify_build(workspace, manifest)}
    rows = record.rows_in
    assert "hash says" in findings["table", "preselect/decisions"]
    lost = f"judged {rows - 1} rows where the steps before kept {rows}: 1 lost, 0 invented"
    assert findings["conservation", "preselect"] == lost
    assert ("samples", "manifest samples.rows") not in findings
    assert any(check == "samples" and "preselect_verdict" in where for check, where in findings)


def test_twins_are_looked_for_where_they_lie_without_those_of_all_partitions(tmp_path, monkeypatch):
    workspace, sizes = Workspace.at(tmp_path), []
    build = PublishedBuild(workspace, publish(workspace, Little(bits=BITS), STARTED))
    record = build.step("check_images")
    uids = sorted(build.ledger.decisions(record, ["uid"])["uid"].to_pylist())
    into = {uid: uids[-1 - number] for number, uid in enumerate(uids[:20])}  # half of these are merged themselves
    for path in (workspace.ledger / "check_images").glob("decisions-*.arrow"):
        table = read_table(path)
        pairs = table.select(["uid", "verdict", "into"]).to_pylist()
        merged = [
            pair | {"verdict": "merged", "into": into[pair["uid"]]} if pair["uid"] in into else pair for pair in pairs
        ]
        changed = pa.Table.from_pylist(merged, table.select(["uid", "verdict", "into"]).schema)
        for name in ("verdict", "into"):
            table = table.set_column(table.column_names.index(name), table.schema.field(name), changed[name])
        write_table(path, table)

    def noted(*arguments):
        for table in each_received(*arguments):
            sizes.append(table.num_rows)
            yield table

    monkeypatch.setattr(rows, "each_received", noted)
    findings = {finding.what for finding in check_conservation(build) if finding.where == "check_images"}
    orphans = sum(twin in into for twin in into.values())
    assert 0 < orphans < len(into)
    assert f"{orphans} rows are merged into pairs that the step did not keep" in findings
    assert max(sizes) < len(into) / 2
    assert not workspace.exchange.exists()
