"""Matching, balancing and encoding what is at hand, held against the commands that do it on files."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import evenly
from evenly.curation.errors import RuleError
from evenly.features.errors import UnknownModelError, UnreadableImageError
from evenly.storage.errors import InputError
from evenly.storage.pools.captions import CaptionColumns
from evenly.tasks.pools.balance import BalanceJob
from evenly.tasks.pools.match import MatchJob
from evenly.tasks.pools.work import PoolWork
from tests.api.conftest import picture

CAPTIONS = ["a black dog", "a dog", "a cat", None, "nothing of these", "a black dog and a cat"] * 40
CONCEPTS = ["dog", "black dog", "cat", "never"]


def test_matches_name_the_concepts_of_each_text():
    matches = evenly.match(CAPTIONS[:6], CONCEPTS)
    assert matches.names == [["dog", "black dog"], ["dog"], ["cat"], [], [], ["dog", "black dog", "cat"]]
    assert matches.counts.to_dict() == {"dog": 3, "black dog": 2, "cat": 2, "never": 0}
    assert list(matches.to_pandas().columns) == ["text", "concepts"]
    assert repr(matches) == "<4 of 6 texts name some of 4 concepts>"


def test_a_series_keeps_its_index_and_its_missing_values():
    texts = pd.Series(["a dog", np.nan, "a cat"], index=["x", "y", "z"])
    matches = evenly.match(texts, CONCEPTS)
    assert list(matches.to_pandas().index) == ["x", "y", "z"]
    assert matches.names == [["dog"], [], ["cat"]]
    assert evenly.balance(matches, t=9).loc["z", "deciding"] == "cat"


def test_concepts_are_strings_or_a_file_and_are_read_alike(tmp_path):
    (tmp_path / "list.txt").write_text(" dog \n\ncat\ndog\n")
    read = evenly.match(["a dog", "a cat"], tmp_path / "list.txt")
    assert list(read.concepts) == ["dog", "cat"] == list(evenly.match([], [" dog ", "", "cat", "dog"]).concepts)
    assert list(evenly.match(["a dog"], str(tmp_path / "list.txt")).concepts) == ["dog", "cat"]


def test_normalized_mode_lets_case_marks_and_plurals_pass():
    assert evenly.match(["Dogs!"], ["dog"]).names == [[]]
    assert evenly.match(["Dogs!"], ["dog"], mode="normalized", plurals=True).names == [["dog"]]


@pytest.mark.parametrize(
    ("texts", "concepts", "options", "error"),
    [
        ("a dog", ["dog"], {}, "`texts` must be a list of texts; got one text, 'a dog'"),
        (["a dog", 3], ["dog"], {}, "`texts` must be texts; got 3 at 1"),
        (["a dog"], ["dog", 3], {}, "`concepts` must be strings of Unicode text; got 3 at 1"),
        (["a dog"], [], {}, "`metadata` must hold at least one entry"),
        (["a dog"], Path("gone.txt"), {}, "`metadata` must be a file; got `gone.txt`"),
        (["a dog"], ["dog"], {"mode": "loose"}, "`mode` must be one of faithful, normalized; got 'loose'"),
    ],
)
def test_what_cannot_be_matched_is_said_in_one_line(texts, concepts, options, error):
    with pytest.raises(ValueError, match=error) as caught:
        evenly.match(texts, concepts, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rule", [{"t": 20}, {"t": 20, "law": "v2"}, {"tail_share": 0.3}, {"target": 90}])
def test_texts_are_decided_as_the_command_decides_them(tmp_path, rule):
    uids = [f"u{number}" for number in range(len(CAPTIONS))]
    pq.write_table(pa.table({"id": uids, "text": pa.array(CAPTIONS, pa.string())}), tmp_path / "pool.parquet")
    (tmp_path / "list.txt").write_text("\n".join(CONCEPTS) + "\n")
    MatchJob(
        pool=str(tmp_path / "pool.parquet"),
        metadata=str(tmp_path / "list.txt"),
        out=tmp_path / "matches.parquet",
        columns=CaptionColumns(caption="text", uid="id"),
        work=PoolWork(threads=1, quiet=True),
    ).run()
    ours = evenly.balance(evenly.match(CAPTIONS, CONCEPTS), seed=5, uids=uids, **rule)
    facts = _balanced_by_command(tmp_path, rule)
    theirs = pq.read_table(tmp_path / "balanced.parquet").to_pandas()
    assert list(ours["uid"]) == list(theirs["uid"])
    assert list(ours["kept"]) == list(theirs["kept"])
    np.testing.assert_allclose(ours["p_keep"], theirs["p_keep"], atol=1e-12)
    named = [None if pd.isna(number) else CONCEPTS[int(number)] for number in theirs["deciding"]]
    assert [None if pd.isna(one) else one for one in ours["deciding"]] == named
    np.testing.assert_array_equal(ours["draw"].astype(float), theirs["draw"])
    assert ours.attrs["t"] == pytest.approx(facts["languages"][0]["t"])
    assert ours.attrs["expected"] == pytest.approx(facts["expected"])
    assert set(ours["reason"]) == {"", "balance_draw", "no_concept"}


def _balanced_by_command(folder, rule):
    from evenly.curation.balance.thresholds import BalanceRule

    out, work = folder / "balanced.parquet", PoolWork(threads=1, quiet=True)
    return BalanceJob(matches=[folder / "matches.parquet"], rule=BalanceRule(**rule), out=out, seed=5, work=work).run()


def test_a_text_is_decided_alike_in_any_order_by_its_uid():
    uids = [f"u{number}" for number in range(len(CAPTIONS))]
    forward = evenly.balance(evenly.match(CAPTIONS, CONCEPTS), t=20, uids=uids).set_index("uid")["kept"]
    backward = evenly.balance(evenly.match(CAPTIONS[::-1], CONCEPTS), t=20, uids=uids[::-1]).set_index("uid")["kept"]
    assert forward.sort_index().equals(backward.sort_index())


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({}, "balance needs exactly one of t, tail_share, target; got none"),
        ({"t": 1, "target": 3}, "exactly one of t, tail_share, target; got t, target"),
        ({"t": 0}, "`t` must be above 0 and finite; got 0"),
        ({"t": 1, "law": "v3"}, "`law` must be one of v1, v2; got 'v3'"),
    ],
)
def test_a_rule_that_cannot_be_is_said_in_one_line(rule, error):
    with pytest.raises(RuleError, match=error):
        evenly.balance(evenly.match(["a dog"], ["dog"]), **rule)


@pytest.mark.usefixtures("colours")
def test_texts_and_pictures_become_comparable_unit_rows(tmp_path):
    (tmp_path / "one.png").write_bytes(picture("wren", 1))
    opened = Image.open(io.BytesIO(picture("robin", 0)))
    texts = evenly.encode(["a wren", "a robin", "a kingfisher"])
    pictures = evenly.encode([picture("kingfisher", 0), tmp_path / "one.png", opened])
    assert texts.shape == pictures.shape == (3, 3)
    assert texts.dtype == pictures.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(pictures, axis=1), 1, atol=1e-6)
    assert (pictures @ texts.T).argmax(axis=1).tolist() == [2, 0, 1]
    assert evenly.encode("a wren").shape == evenly.encode(tmp_path / "one.png").shape == (1, 3)
    np.testing.assert_array_equal(evenly.encode(opened), evenly.encode(picture("robin", 0)))


@pytest.mark.usefixtures("colours")
def test_what_cannot_be_encoded_is_said_in_one_line(tmp_path):
    with pytest.raises(InputError, match="`items` must be all texts or all pictures; got both"):
        evenly.encode(["a wren", picture("wren", 0)])
    with pytest.raises(InputError, match=r"No such file or directory: `.*gone.png`"):
        evenly.encode([tmp_path / "gone.png"])
    with pytest.raises(InputError, match="as bytes, paths or PIL images; got int"):
        evenly.encode([3])
    with pytest.raises(UnreadableImageError, match="must be pictures that decode"):
        evenly.encode([b"no picture"])


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"long_texts": "whole"}, "`long_texts` must be one of cut, chunks, stretched; got `'whole'`"),
        ({"precision": "int8"}, "`precision` must be one of fp32, bf16, fp16; got `'int8'`"),
        ({"engine": "onnx"}, "`engine` must be one of torch, onnxruntime; got `'onnx'`"),
        ({"batch_size": 0}, "`batch_size` must be 1 to 4096; got `0`"),
    ],
)
def test_a_way_to_encode_that_is_not_known_is_said_in_one_line(how, error):
    with pytest.raises(InputError, match=re.escape(error)):
        evenly.encode(["a wren"], **how)


def test_an_unknown_model_lists_near_ones():
    with pytest.raises(UnknownModelError, match=r"Near it: .*`ViT-B-32`"):
        evenly.encode(["a wren"], model="ViT-B-3")


@pytest.mark.parametrize(
    ("classes", "options", "error"),
    [
        ("wren", {}, r"`classes` must be a list of names or a Path; got the text 'wren'"),
        (["wren", "robin\nblue tit"], {}, r"`classes` must be names of one line each; got 'robin"),
        (["wren", 3], {}, r"`classes` must be names of one line each; got 3"),
        ([], {}, r"class list 'classes' must name at least one class"),
        (["wren", "wren"], {}, r"wren"),
        (Path("gone.txt"), {}, r"class list `gone\.txt` must be a readable text file"),
        (["wren"], {"methods": ["poem"]}, r"`methods?` must be .*; got `poem`"),
        (["wren"], {"budget_usd": 1.0}, r"budget_usd"),
        (["wren"], {"build": "birds"}, r"`build` must name one build; no build matches `birds`"),
    ],
)
def test_what_cannot_be_described_is_said_before_anything_is_asked(tmp_path, classes, options, error):
    with pytest.raises((ValueError, RuntimeError), match=error) as caught:
        evenly.describe(classes, root=tmp_path / "w", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "w" / "requests").exists()


def test_a_table_in_place_of_matches_is_refused_in_words():
    matches = evenly.match(["a dog"], ["dog"])
    with pytest.raises(InputError, match=r"`matches` must be what `evenly\.match` gives; got DataFrame"):
        evenly.balance(matches.to_pandas(), t=1)
