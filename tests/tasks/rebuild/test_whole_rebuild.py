"""All steps of a rebuild together: every row is accounted for, and nothing but content decides."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from evenly.audit.diff import diff_builds
from evenly.audit.published import PublishedBuild
from evenly.audit.report import render_report
from evenly.audit.verify import verify_build
from evenly.audit.why import explain
from evenly.curation.step import NoRule
from evenly.storage.builds import Builds
from evenly.storage.errors import ConservationError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.web.images import reader
from evenly.tasks.pictures.encoded import count_devices
from evenly.tasks.rebuild.features import EMBED_IMAGES, encode_pairs, extract_features
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from tests.audit.outcomes import outcomes
from tests.step_outputs import output_of
from tests.tasks.whole_rebuild import RULES, STEPS, ColourWords, open_run, publish, rows, run_steps

pytestmark = pytest.mark.usefixtures("colour_words")


def files_of(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file."""
    found = {str(path.relative_to(root)): path.stat() for path in root.rglob("*") if path.is_file()}
    return {name: (one.st_size, one.st_mtime_ns) for name, one in found.items() if not name.endswith(".lock")}


def decided(run: Run, records) -> dict[str, list]:
    """What each step said of each pair, whatever file the pair came from."""
    tables = {record.name: run.ledger.decisions(record) for record in records if record.counts}
    tables["collect"] = tables["collect"].drop(["file_name"])  # of a pair that stands twice, the first one's
    return {name: table.to_pylist() for name, table in tables.items()}


def test_every_step_judges_exactly_what_the_steps_before_it_kept(rebuilt):
    judging = [record for record in rebuilt.records if record.counts]
    for record in judging:
        assert record.rows_in == sum(record.counts.values())
        assert sum(record.reasons.values()) == record.rows_in - record.counts["kept"]
    kept = [record.counts["kept"] for record in judging]
    assert [record.rows_in for record in judging[1:]] == kept[:-1]
    assert judging[0].rows_in == len(rows())


def test_the_rows_that_were_made_to_go_went_for_their_reason(rebuilt):
    names = rebuilt.run.ledger.decisions(rebuilt.record("collect"), ["uid", "file_name"]).to_pylist()
    name_of = {row["uid"]: row["file_name"].removesuffix(".png") for row in names}
    fates = outcomes(PublishedBuild(rebuilt.run.workspace, rebuilt.manifest))
    found = {name_of[row["uid"]]: (row["step"], row["reason"]) for row in fates}
    wanted = {
        "empty": ("check_texts", "empty_caption"),
        "long": ("check_texts", "too_many_words"),
        "none": ("match_concepts", "no_concept"),
        "broken": ("download", "truncated_image"),
        "tiny": ("check_images", "too_small"),
        "known": ("decontaminate", "contaminated_perceptual"),
    }
    drawn = {"mix_sources", "preselect"}  # a draw may take any of them earlier
    for name, fate in wanted.items():
        assert found[name] == fate or found[name][0] in drawn, name
    assert sum(found[name] == fate for name, fate in wanted.items()) >= 4
    assert {"twice"}.isdisjoint(found)  # the same pair as another row


def test_the_build_has_no_findings_and_pairs_of_every_outcome_replay(rebuilt):
    workspace, manifest = rebuilt.run.workspace, rebuilt.manifest
    assert verify_build(workspace, manifest, read_bytes=reader(workspace.downloads), every_image=True) == []
    fates = outcomes(PublishedBuild(workspace, manifest))
    for uid in {(row["step"], row["reason"]): row["uid"] for row in fates}.values():
        explanation = explain(workspace, manifest, uid, replay=True)
        assert explanation.agrees, explanation.to_text()


def test_a_kept_pair_knows_where_its_bytes_lie(rebuilt):
    build = PublishedBuild(rebuilt.run.workspace, rebuilt.manifest)
    kept = build.samples(where="balance_verdict = 'kept'").to_pylist()
    contents = {row.caption: row.content for row in rows() if row.name != "twice"}
    for row in kept:
        path = rebuilt.run.workspace.downloads / row["tar"]
        with path.open("rb") as stream:
            stream.seek(row["offset"])
            assert stream.read(row["size"]) == contents[row["caption"]]
    unseen = build.samples(where="download_verdict IS NULL").to_pylist()
    assert unseen
    assert {(row["tar"], row["offset"], row["image_id"]) for row in unseen} == {(None, None, None)}


def test_other_workers_another_folder_and_another_order_of_rows_change_no_verdict(rebuilt, tmp_path):
    pool = rows()
    order = np.random.default_rng(0).permutation(len(pool))
    run = open_run(tmp_path / "elsewhere", [pool[at] for at in order], processes=1)
    records = run_steps(run)
    assert decided(run, records) == decided(rebuilt.run, rebuilt.records)
    assert [record.reasons for record in records] == [record.reasons for record in rebuilt.records]
    assert [record.notes for record in records] == [record.notes for record in rebuilt.records]


def test_a_second_run_reuses_every_step_and_writes_nothing(copied, capsys):
    copy = copied()
    loud = replace(copy.run, progress=replace(copy.run.progress, quiet=False))
    before = files_of(copy.run.workspace.root)
    records = run_steps(loud)
    said = capsys.readouterr().err.splitlines()
    assert [record.key for record in records] == [record.key for record in copy.records]
    of_steps = [line.split()[:2] for line in said if not line.startswith("labels ")]
    assert of_steps == [[record.name, "reused"] for record in records]
    assert publish(copy.run, records)["build"] == copy.manifest["build"]
    after = files_of(copy.run.workspace.root)
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {
        "builds/aliases/whole-latest.json"
    }


@pytest.mark.parametrize("at", [1, 6, 10, len(STEPS) - 1], ids=lambda at: STEPS[at].name)
def test_a_run_that_dies_in_a_step_goes_on_to_the_same_build(copied, at):
    copy = copied()
    for record in copy.records[at:]:
        (copy.run.workspace.steps / f"{record.key}.json").unlink()
    leftovers = copy.run.workspace.ledger / STEPS[at].name / ".decisions-0000.arrow.partial"
    leftovers.write_bytes(b"half a table")

    def die(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_steps(copy.run, (*STEPS[:at], replace(STEPS[at], judge=die), *STEPS[at + 1 :]))
    assert [copy.run.ledger.find(record.key) is not None for record in copy.records].count(False) == len(STEPS) - at
    records = run_steps(copy.run)
    assert [record.output_hash for record in records] == [record.output_hash for record in copy.records]
    assert publish(copy.run, records)["content_hash"] == copy.manifest["content_hash"]


def test_a_table_that_was_lost_is_computed_again_and_what_follows_is_reused(copied, capsys):
    copy = copied()
    lost = copy.record("align")
    (copy.run.workspace.ledger / "align" / f"decisions-{lost.hashes['decisions'][:32]}.arrow").unlink()
    run_steps(replace(copy.run, progress=replace(copy.run.progress, quiet=False)))
    said = dict(line.split()[:2] for line in capsys.readouterr().err.splitlines())
    assert {name for name, how in said.items() if how != "reused"} == {"align", "labels"}


def test_a_tenfold_pool_has_every_old_pair_and_the_same_reasons_before_the_first_draw(rebuilt, tmp_path):
    many = [
        replace(row, name=f"{row.name}-{n}", caption=row.caption and f"{row.caption}{'!' * n}")
        for row in rows()
        for n in range(10)
    ]
    run = open_run(tmp_path / "many", many)
    records = run_steps(run, STEPS[:2])
    first = rebuilt.record("check_texts")
    assert records[0].rows_in == 10 * len(rows())
    assert records[1].reasons["too_many_words"] == 10 * first.reasons["too_many_words"]
    old = {row["uid"]: row["reason"] for row in rebuilt.run.ledger.decisions(first).to_pylist()}
    new = {row["uid"]: row["reason"] for row in run.ledger.decisions(records[1]).to_pylist()}
    assert old.items() <= new.items()


def test_one_row_is_a_pool(tmp_path):
    run = open_run(tmp_path / "one", rows()[:1], processes=1)
    records = run_steps(run)
    assert {record.name: record.counts["kept"] for record in records if record.counts} == {
        record.name: 1 for record in records if record.counts
    }
    manifest = publish(run, records)
    assert verify_build(run.workspace, manifest, read_bytes=reader(run.workspace.downloads), every_image=True) == []
    assert encode_pairs(run, records) == extract_features(run, manifest)
    assert extract_features(run, manifest) | {"encoder": ""} == {
        "encoder": "",
        "images": 1,
        "images_new": 0,
        "texts": 1,
    }


def test_features_of_a_build_are_extracted_once_and_made_again_where_they_are_lost(copied):
    copy = copied()
    kept = copy.manifest["samples"]["kept"]
    first = extract_features(copy.run, copy.manifest)
    assert (first["encoder"], first["images"], first["images_new"]) == (ColourWords.identity, kept, 0)
    store = FeatureStore(copy.run.workspace, ColourWords.identity, "images")
    ids = PublishedBuild(copy.run.workspace, copy.manifest).samples(["image_id"], "balance_verdict = 'kept'")
    before = store.read(ids["image_id"].to_pylist())
    for path in sorted(store.path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    store.path.rmdir()
    assert extract_features(copy.run, copy.manifest)["images_new"] == kept
    after = store.read(ids["image_id"].to_pylist())
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_features_that_were_lost_are_encoded_again_by_the_step_that_needs_them(copied):
    copy = copied()
    store = FeatureStore(copy.run.workspace, ColourWords.identity, "images")
    store.path.rename(store.path.with_suffix(".gone"))
    after = [name for name in RULES if list(RULES).index(name) >= list(RULES).index("recaption")]
    for name in after:
        (copy.run.workspace.steps / f"{copy.record(name).key}.json").unlink()
    assert [record.output_hash for record in run_steps(copy.run)] == [record.output_hash for record in copy.records]


def test_each_picture_is_encoded_once_whatever_the_number_of_its_captions(rebuilt):
    record = rebuilt.record("embed_images")
    table = rebuilt.run.ledger.table(record, "features")
    alive = rebuilt.run.ledger.alive(rebuilt.records[: rebuilt.records.index(record)], ["image_id"])
    assert table["image_id"].to_pylist() == sorted(set(alive["image_id"].to_pylist()))
    assert table.num_rows < rebuilt.record("deduplicate_exact").rows_in
    assert EMBED_IMAGES.model(rebuilt.run, NoRule()) == ColourWords.identity


def test_a_changed_rule_moves_pairs_and_diff_says_which_step_and_why(copied):
    copy = copied()
    rules = RULES | {"check_texts": {"caption_length": {"min_words": 2, "max_words": 9}}}
    after = publish(copy.run, run_steps(copy.run, rules=rules))
    difference = diff_builds(copy.run.workspace, copy.manifest, after)
    steps = {row["step"]: row["differs"] for row in difference.steps}
    assert steps["check_texts"] == {"rule": "caption_length.max_words 8 -> 9"}
    assert [name for name, differs in steps.items() if differs] == ["check_texts"]
    assert {change.cause for change in (*difference.entered, *difference.left)} <= {"rule", "knock-on"}
    assert difference.kept_after == after["samples"]["kept"]
    assert difference.to_dict() == json.loads(json.dumps(difference.to_dict()))


def test_another_seed_draws_others_and_another_picture_at_a_name_is_data(copied, tmp_path):
    copy = copied()
    seeded = publish(copy.run, run_steps(replace(copy.run, seed=4)))
    difference = diff_builds(copy.run.workspace, copy.manifest, seeded)
    assert [row["step"] for row in difference.steps if "seed" in row["differs"]] == [
        step.name for step in STEPS if step.seeded
    ]
    pool = [replace(row, content=rows()[1].content) if row.name == "fox0" else row for row in rows()]
    other = open_run(tmp_path / "w", pool)
    run = replace(copy.run, sources=other.sources)
    difference = diff_builds(copy.run.workspace, copy.manifest, publish(copy.run, run_steps(run)))
    assert "data" in {cause for row in difference.steps for cause in row["differs"]}


def test_a_step_that_lets_a_row_fall_is_refused_and_leaves_no_record(copied):
    copy = copied()

    def lose_one(run, before, rule):
        output = output_of(STEPS[1], run, before, rule)
        return replace(output, decisions=output.decisions.slice(1))

    before, rule = copy.records[:1], STEPS[1].read(RULES["check_texts"])
    losing = replace(STEPS[1], judge=lose_one, version=99)
    with pytest.raises(ConservationError, match="must give one verdict for each of its 23 input rows"):
        run_step(copy.run, losing, before, rule)
    assert copy.run.ledger.find(losing.spec(copy.run, before, rule).key) is None


def test_the_latest_build_is_the_one_that_was_published(rebuilt):
    builds = Builds(rebuilt.run.workspace)
    assert builds.alias("whole-latest") == rebuilt.manifest["build"]
    kept = rebuilt.run.ledger.decisions(rebuilt.records[-1], ["verdict"])["verdict"]
    assert rebuilt.manifest["samples"]["kept"] == pc.sum(pc.equal(kept, "kept")).as_py()


def test_the_record_and_the_report_say_which_device_encoded_how_many_pictures(copied):
    copy = copied()
    (record,) = [one for one in PublishedBuild(copy.run.workspace, copy.manifest).records if one.name == "embed_images"]
    assert list(record.notes["devices"]) == [ColourWords.device_name]
    page = render_report(copy.run.workspace, copy.manifest, read_bytes=reader(copy.run.workspace.downloads))
    assert f"{record.notes['devices'][ColourWords.device_name]} on {ColourWords.device_name}" in page
    kept = copy.manifest["samples"]["kept"]
    assert count_devices(copy.run.workspace, copy.manifest, ColourWords.identity) == {ColourWords.device_name: kept}
