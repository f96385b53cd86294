"""Rebuilds of pictures at hand, mixed by source: from folders and shards to exports, without a network."""

import json
import socket
from functools import cache

import numpy as np
import pytest
import yaml

from evenly.audit.errors import UnknownSampleError
from evenly.audit.funnel import read_source_funnel
from evenly.audit.published import PublishedBuild, name_of
from evenly.audit.verify import verify_build
from evenly.audit.why import explain
from evenly.demo.pictures.openmoji import draw_picture, list_codes
from evenly.flows.cli.audit.sample import explain_sample
from evenly.flows.cli.datasets.outcome import export_build
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.flows.runs import open_run
from evenly.storage.samples import Samples
from evenly.storage.web.images import read_images
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.stage import run_step
from tests.storage.held_pool import write_files, write_tar

NOUNS = ("dog", "cat", "tree", "house", "car", "flower", "bird", "fish", "boat", "apple")


@cache
def drawn(number):
    codes = list_codes()
    return draw_picture(codes[number * 61 % len(codes)], size_px=96, background="white")


def caption(number):
    return f"a picture of a {NOUNS[number % 10]} number {number}"


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """30 pictures in a folder and 24 in two shards; one of each in the other too, and one of each that is broken."""
    root = tmp_path_factory.mktemp("pools")
    rows = "".join(f"p{number}.png,{caption(number)},{number}\n" for number in range(20))
    files = {f"p{number}.png": drawn(number) for number in range(20)}
    for number in range(20, 30):
        files |= {f"more/{number}.png": drawn(number), f"more/{number}.txt": caption(number)}
    write_files(root / "folder", {**files, "broken.png": drawn(0)[:500], "broken.txt": "a dog that is cut",
                                  "metadata.csv": "file_name,text,shown\n" + rows})  # fmt: skip
    parts = []
    for number in (*range(40, 63), 25):
        record = {"uid": f"{number:032x}", "shown": number}
        parts += [(f"{number}.png", drawn(number)), (f"{number}.txt", caption(number).encode())]
        parts += [(f"{number}.json", json.dumps(record).encode())]
    write_tar(root / "0.tar", parts[:30])
    write_tar(root / "1.tar", [*parts[30:], ("x.png", b"no picture"), ("x.txt", b"a cat that is none")])
    return root


def recipe_of(folder, pools, **mix):
    folders = {"kind": "folder", "path": str(pools / "folder"), "caption": "text", "name": "drawings"}
    shards = {"kind": "webdataset", "path": str(pools / "*.tar"), "name": "shards", "id": "uid"}
    recipe = {
        "name": "local",
        "seed": 3,
        "sources": [folders | mix.get("drawings", {}), shards | mix.get("shards", {})],
        "curate": {
            "text": {"caption_length": {"min_words": 2, "max_words": 40}},
            "match": {"mode": "normalized", "plurals": True},
            "download": {},
            "image": {"image_size": {"min_side": 64}},
            "deduplicate": {},
            "align": {"keep_top": 1.0},
            "balance": {"t": 1000},
        },
    }
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


def rebuild(path, root, limit=None, *, quiet=True):
    recipe = read_recipe(path)
    with open_run(recipe, root=root, workers=2, quiet=quiet) as run:
        records = ()
        for step, rule in steps_of(recipe, limit=limit):
            records = (*records, run_step(run, step, records, rule))
        manifest = publish_build(run, records, name=recipe.name, recipe=content_of(recipe), limit=limit, max_change=1.0)
        return run, manifest


@pytest.fixture(scope="module")
def built(tmp_path_factory, pools):
    root = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asked the network"))
        yield rebuild(recipe_of(root, pools), root / "w")


def kept_rows(run, manifest):
    where = f"{manifest['samples']['last']}_verdict = 'kept'"
    return Samples(run.workspace, "local").read(manifest["samples"]["version"], where=where).to_pylist()


def test_pictures_at_hand_become_a_build_with_their_bytes_columns_and_reasons(built):
    run, manifest = built
    rows = kept_rows(run, manifest)
    assert len(rows) > 35
    assert {row["source"] for row in rows} == {"drawings", "shards"}
    by_number = {int(row["shown"]): row for row in rows if row["shown"]}
    number, row = next((number, row) for number, row in by_number.items() if number >= 40)
    assert (row["source_id"], row["file_name"]) == (f"{number:032x}", f"{number}.png")
    assert next(iter(read_images(run.workspace.downloads, [row["image_id"]]))) == drawn(number)
    download = next(step for step in manifest["steps"] if step["name"] == "download")
    assert download["reasons"] == {"not_an_image": 1, "truncated_image": 1}
    collect = next(step for step in manifest["steps"] if step["name"] == "collect")
    assert collect["reasons"] == {"same_pair": 1}


def test_a_build_of_pictures_at_hand_verifies_and_says_why(built):
    run, manifest = built
    findings = verify_build(run.workspace, manifest, read_bytes=lambda ids: read_images(run.workspace.downloads, ids))
    assert findings == []
    broken = explain(run.workspace, manifest, "broken.png").pairs[0]
    assert (broken.step, broken.reason, broken.arrivals[0]["file_name"]) == (
        "download",
        "truncated_image",
        "broken.png",
    )
    for uid in (broken.uid, kept_rows(run, manifest)[0]["uid"]):
        (pair,) = explain(run.workspace, manifest, uid, replay=True).pairs
        assert not [sight.step for sight in pair.steps if sight.replay.agrees is False]


def test_a_pair_is_asked_for_by_file_name_id_and_picture_and_shown_by_them(built, pools, tmp_path):
    run, manifest = built
    row = next(row for row in kept_rows(run, manifest) if row["shown"] and int(row["shown"]) >= 40)
    renamed = tmp_path / ("long name " * 20 + ".png")
    renamed.write_bytes(drawn(int(row["shown"])))
    build = {"build": manifest["build"], "root": run.workspace.root, "replay": False}
    for name in (row["file_name"], row["source_id"], row["image_id"], str(renamed)):
        explanation = explain_sample(name, **build)
        assert row["uid"] in [pair.uid for pair in explanation.pairs]
        assert explanation.asked == name
    renamed.write_bytes((pools / "folder" / "broken.png").read_bytes())
    (pair,) = explain_sample(str(renamed), **build).pairs
    assert pair.sentence == "It is out: `download` failed on it (truncated_image)."
    for unknown in ("folder/none.png", "http://a.test/" + "x" * 5_000, str(tmp_path)):
        with pytest.raises(UnknownSampleError, match="or with the path of a picture"):
            explain_sample(unknown, **build)
    (pair,) = explain_sample("29.png", **build).pairs
    assert pair.identity["source"] == "drawings"
    with pytest.raises(UnknownSampleError, match=r"Near it are `more/2\d\.png`, "):
        explain_sample("mor/29.png", **build)
    shown = PublishedBuild(run.workspace, manifest).shown([row["uid"]])[row["uid"]]
    assert name_of(shown) == f"{row['source_id']}  {row['file_name']}"


def test_the_funnel_of_sources_adds_up_to_the_funnel(built):
    run, manifest = built
    rows = read_source_funnel(PublishedBuild(run.workspace, manifest))
    for step in manifest["steps"]:
        if step["counts"]:
            of_step = [row for row in rows if row["step"] == step["name"]]
            assert sum(row["rows_in"] for row in of_step) == step["rows_in"]
            assert {name: sum(row[name] for row in of_step) for name in step["counts"]} == step["counts"]
    assert {row["source"]: row["rows_in"] for row in rows if row["step"] == "collect"} == {"drawings": 31, "shards": 25}


def test_ids_of_the_pool_are_exported_as_datacomp_reads_them(built, tmp_path):
    run, manifest = built
    export_build(manifest["build"], format_name="datacomp", out=tmp_path / "out", root=run.workspace.root)
    ids = np.load(tmp_path / "out" / "uids.npy", allow_pickle=False)
    given = {int(row["source_id"], 16) for row in kept_rows(run, manifest) if row["source_id"]}
    assert given
    assert given <= {(int(high) << 64) + int(low) for high, low in ids}


@pytest.mark.slow
def test_another_place_and_other_shards_give_the_same_build(built, tmp_path, pools):
    _, manifest = built
    other = tmp_path / "elsewhere"
    other.mkdir()
    (pools / "folder").rename(other / "folder")
    try:
        for number in (0, 1):
            (other / f"{number}.tar").symlink_to(pools / f"{number}.tar")
        assert rebuild(recipe_of(tmp_path, other), tmp_path / "w")[1]["content_hash"] == manifest["content_hash"]
    finally:
        (other / "folder").rename(pools / "folder")


@pytest.mark.slow
def test_sources_are_mixed_by_their_shares_and_each_pair_says_its_draw(tmp_path, pools):
    mix = {"drawings": {"share": 0.25}, "shards": {"share": 0.75}}
    run, manifest = rebuild(recipe_of(tmp_path, pools, **mix), tmp_path / "w")
    step = next(step for step in manifest["steps"] if step["name"] == "mix_sources")
    assert step["rule"] == {"sources": mix}
    rows = read_source_funnel(PublishedBuild(run.workspace, manifest))
    kept = {row["source"]: row["kept"] for row in rows if row["step"] == "mix_sources"}
    assert kept["drawings"] == kept["shards"] // 3
    assert verify_build(run.workspace, manifest) == []
    gone = PublishedBuild(run.workspace, manifest).samples(["uid"], "mix_sources_reason = 'share'")["uid"][0].as_py()
    (pair,) = explain(run.workspace, manifest, gone, replay=True).pairs
    sight = pair.steps[-1]
    assert (sight.step, sight.replay.agrees) == ("mix_sources", True)
    assert sight.value >= sight.columns["mix_threshold"]
