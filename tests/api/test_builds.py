"""Workspaces and builds in Python: names, tables, pictures, reasons, and what a wrong question is told."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

import evenly
from evenly.audit.errors import UnknownSampleError
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.workspace import Workspace
from tests.api.conftest import HOSTILE, picture, rebuild_apart, write_pool, write_recipe


def uid_of(build, **fields) -> str:
    rows = build.to_pandas(rows="all")
    for name, value in fields.items():
        rows = rows[rows[name] == value]
    return rows["uid"].iloc[0]


def test_a_build_goes_by_latest_its_recipe_its_id_and_a_beginning_of_it(birds):
    older, newer = birds.builds
    assert birds.builds["latest"] == birds.builds["birds"] == birds.builds["birds-latest"] == newer
    assert birds.builds[older.id] == birds.builds[older.id[:-3]] == older != newer
    assert [one.id for one in birds.builds] == list(birds.builds.to_pandas()["build"])
    assert len(birds.builds) == 2
    assert len({older, newer, birds.builds["latest"]}) == 2


@pytest.mark.parametrize("name", ["tits", "birds-", "", "../birds", "birds-0/../x"])
def test_a_wrong_name_lists_the_builds_that_are_there(birds, name):
    assert name not in birds.builds
    with pytest.raises(NotFoundError, match=r"`build` must name one build; .*Builds here: birds-"):
        birds.builds[name]


def test_a_name_is_text(birds):
    with pytest.raises(InputError, match=r"`name` must be the name of a build; got 0\. Example: builds\['latest'\]"):
        birds.builds[0]
    assert 0 not in birds.builds


@pytest.mark.usefixtures("colours")
def test_a_recipe_of_which_nothing_was_promoted_goes_by_the_beginning_of_its_id(birds, tmp_path):
    write_pool(tmp_path)
    trial = rebuild_apart(write_recipe(tmp_path), tmp_path / "w", limit=9, max_change=None)
    builds = evenly.open(tmp_path / "w").builds
    assert builds["birds"].id == trial
    assert "latest" not in builds
    assert list(builds.to_pandas()[["limit", "latest"]].iloc[0]) == [9, False]
    builds["birds"].promote()
    assert builds["latest"].id == trial
    assert Builds(Workspace.at(tmp_path / "w")).alias("birds-latest") == trial
    with pytest.raises(InputError, match=r"`other` must be a build of `.*`; got one of `"):
        builds["birds"].diff(birds.builds["latest"])


@pytest.mark.parametrize("uid", [5, None, b"a"])
def test_a_uid_that_is_no_text_is_refused_in_words(build, uid):
    with pytest.raises(InputError, match="`uid` must be a text"):
        build.why(uid)


def test_no_workspace_is_said_at_once(tmp_path, bucket):
    with pytest.raises(NotFoundError, match=r"`root` must be a workspace; got `.*/nowhere`, where nothing lies"):
        evenly.open(tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match=f"`root` must be a workspace; got `{bucket}/w`, where nothing lies"):
        evenly.open(f"{bucket}/w")
    with pytest.raises(InputError, match="`url` must begin with one of s3://"):
        evenly.open("ftp://host/w")


def test_the_table_holds_the_kept_pairs_or_all_with_their_verdicts(build):
    kept, every = build.to_pandas(), build.to_pandas(rows="all")
    assert len(kept) == len(build) == build.kept < len(every) == build.manifest["samples"]["rows"]
    assert list(kept.columns) == build.columns
    assert set(kept["balance_verdict"]) == {"kept"}
    assert set(every["download_reason"].dropna()) == {"", "not_an_image"}
    assert kept["uid"].is_monotonic_increasing
    assert list(build.to_pandas(["label", "uid"]).columns) == ["label", "uid"]
    assert list(every.columns) == [*build.columns, "verdict", "step", "reason"]
    ended = {pair.uid: (pair.reason, pair.step, pair.verdict) for pair in build.pairs(rows="all")}
    some = build.to_pandas(["reason", "uid", "step", "verdict"], rows="all")
    assert {row.uid: (row.reason, row.step, row.verdict) for row in some.itertuples()} == ended
    assert build.to_arrow(["uid"]).to_pydict() == {"uid": list(kept["uid"])}


def test_a_column_or_a_kind_of_rows_that_is_not_there_is_named(build):
    with pytest.raises(InputError, match=r"`columns` must be columns of the build; got 'captoin'\. Near it: caption"):
        build.to_pandas(["uid", "captoin"])
    with pytest.raises(InputError, match="`columns` must be a list of names; got the text 'uid'"):
        build.to_pandas("uid")
    with pytest.raises(InputError, match='`rows` must be "kept" or "all"; got \'dropped\''):
        build.to_pandas(rows="dropped")


def test_the_funnel_adds_up_and_is_that_of_the_command(build):
    funnel = build.funnel
    assert list(funnel["step"][:3]) == ["collect", "check_texts", "match_concepts"]
    assert (funnel["rows_in"] == funnel[["kept", "dropped", "failed", "merged"]].sum(axis=1)).all()
    assert (funnel["rows_in"].iloc[1:].to_numpy() == funnel["kept"].iloc[:-1].to_numpy()).all()
    by_step = funnel.set_index("step")
    assert by_step.loc["download", "reasons"] == {"not_an_image": 1}
    assert by_step.loc["deduplicate_exact", "merged"] == 1


def test_pictures_come_decoded_or_as_the_bytes_that_were_there(build):
    rows = build.to_pandas(["uid", "label", "file_name"])
    first, second = rows["uid"][:2]
    assert isinstance(build.images(first), Image.Image)
    assert build.images(first).size == (80, 80)
    both = build.images(rows["uid"][:2])
    assert [np.asarray(one).tolist() for one in both] == [
        np.asarray(build.images(uid)).tolist() for uid in (first, second)
    ]
    bird, name = rows["file_name"][0].split("/")
    assert build.image_bytes(first) == picture(bird, int(name.removesuffix(".png")))
    assert build.image_bytes([second, first]) == [build.image_bytes(second), build.image_bytes(first)]
    assert build.images([]) == []


def test_a_pair_without_a_picture_and_an_unknown_uid_are_told_apart(build):
    with pytest.raises(InputError, match=r"`uids` must be of pairs with a picture; `[0-9a-f]{32}` has none"):
        build.images(uid_of(build, file_name="wren/broken.png"))
    unknown = "0" * 32
    for ask in (build.images, build.image_bytes, build.why):
        with pytest.raises(UnknownSampleError, match=f"it never saw `{unknown}`. Ask with a uid"):
            ask(unknown)
    with pytest.raises(UnknownSampleError, match=r"it never saw `\\x1b\[31m'; DROP`"):
        build.images("\x1b[31m'; DROP")


def test_features_are_unit_rows_in_the_order_of_the_table(build):
    rows, labels = build.features(), build.to_pandas(["label"])["label"]
    assert rows.shape == (len(labels), 3)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert rows[labels == "kingfisher"].argmax(axis=1).tolist() == [2] * int((labels == "kingfisher").sum())
    assert evenly.GDA().fit(rows, labels).score(rows, labels) == 1


def test_why_shows_a_way_through_the_steps_as_text_with_colours_and_in_a_notebook(build):
    uid = uid_of(build, balance_verdict="dropped")
    answer = build.why(uid)
    assert (answer.pairs[0].outcome, answer.pairs[0].step) == ("dropped", "balance")
    assert str(answer) == repr(answer) == answer.to_text()
    assert "dropped at balance (balance_draw)" in str(answer)
    stream = io.StringIO()
    Console(file=stream, width=300).print(answer)
    assert "balance_draw" in stream.getvalue()
    assert "balance_draw" in answer._repr_html_()
    assert build.why(uid, replay=True).agrees


def test_a_hostile_caption_stays_text_in_a_notebook(build):
    html = build.why(uid_of(build, caption=HOSTILE))._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $\\frac{1}{2}$" in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert html.startswith("<pre ")  # formulas are not typeset in it
    assert html.count("<pre") == html.count("</pre>") == 1
    assert "mathjax_ignore" in html


def test_why_takes_a_file_name_for_all_pairs_of_a_picture(build):
    (pair,) = build.why("wren/copy.png").pairs
    assert pair.outcome == "merged"


def test_a_difference_goes_from_this_build_to_the_other_by_object_or_name(birds):
    older, newer = birds.builds
    difference = older.diff(newer)
    assert (difference.before, difference.after) == (older.id, newer.id)
    assert (difference.kept_before, difference.kept_after) == (older.kept, newer.kept)
    assert older.kept < newer.kept
    assert difference == older.diff("birds") == older.diff("latest")
    assert newer.diff(older).kept_before == newer.kept
    assert str(difference).startswith(f"{older.id} -> {newer.id}")
    assert f"{older.id} -&gt; {newer.id}" in difference._repr_html_()
    with pytest.raises(NotFoundError, match="no build matches `tits`"):
        older.diff("tits")


@pytest.mark.usefixtures("colours")
def test_verify_finds_nothing_and_then_what_was_changed(tmp_path):
    write_pool(tmp_path)
    rebuild_apart(write_recipe(tmp_path), tmp_path / "w")
    build = evenly.open(tmp_path / "w").builds["latest"]
    verified = build.verify(every_image=True, seed=3)
    assert verified.ok
    assert str(verified) == f"{build.id}: ok; pictures drawn with seed 3"
    place = build.to_pandas(["tar", "offset"]).iloc[0]
    tar = tmp_path / "w" / "downloads" / place["tar"]
    content = bytearray(tar.read_bytes())
    content[int(place["offset"]) + 9] ^= 1
    tar.write_bytes(content)
    damaged = build.verify(every_image=True)
    assert not damaged.ok
    assert damaged.findings[0]["check"] == "image"
    assert "1 findings" in str(damaged)
    assert "1 findings" in damaged._repr_html_()


def test_export_and_report_are_those_of_the_commands(build, tmp_path):
    summary = build.export("parquet", out=tmp_path / "out")
    assert summary["build"] == build.id
    assert list(pd.read_parquet(tmp_path / "out" / "samples.parquet")["uid"]) == list(build.to_pandas()["uid"])
    with pytest.raises(ValueError, match=r"must be one of .*; got `tar`"):
        build.export("tar")
    assert build.id in build.report().read_text(encoding="utf-8")


def test_builds_show_what_they_are(birds, build):
    assert repr(build) == f"<build {build.id}: {build.kept} of 26 pairs kept>"
    assert build.id in build._repr_html_()
    assert build.id in birds.builds._repr_html_()
    assert "2 builds" in repr(birds)
