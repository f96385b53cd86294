"""Regions of a build as people see them: lines of `why`, a picture, the report's section, a column of exports."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from evenly.audit.published import PublishedBuild
from evenly.audit.regions import OF_POOL, region_line, regions_of, with_regions
from evenly.audit.report import regions as section
from evenly.audit.report.page import render_report
from evenly.audit.report.regions import count_regions, overlaid
from evenly.audit.why import explain
from evenly.curation.regions.judgement import FIND_REGIONS
from evenly.features.dense.regions import encoded_mask
from evenly.storage.exports.content import has_regions

EVIL = "<script>alert(1)</script>\x1b[31m\u202e"
SIDE = 96
MASK = np.zeros((SIDE, SIDE), np.bool_)
MASK[24:72, 24:48] = True
BOX = {"x0": 24.0, "y0": 24.0, "x1": 48.0, "y1": 72.0}
FOUND = (
    BOX | {"label": "robin", "score": 0.75, "mask": encoded_mask(MASK)},
    {"x0": 0.0, "y0": 0.0, "x1": 48.0, "y1": 48.0, "label": EVIL, "phrase": "a <b>thing</b>"},
    {"x0": 9.0, "y0": 9.0, "x1": 12.0, "y1": 12.0, "label": "robin", "score": 0.25, "reason": "low_score"},
)


DESCRIBED = tuple(
    region | {"attributes": names, "attribute_scores": [0.75] * len(names)}
    for region, names in zip(FOUND, (["red", EVIL], ["red"], ["blue"]), strict=True)
)


@pytest.fixture(params=[0, 3])
def build(shared, shared_build, request):
    return PublishedBuild(shared, shared_build(regions=FOUND, bits=request.param))


def kept_uids(build, condition="true"):
    return build.samples(["uid"], f"{build.is_kept} AND {condition}")["uid"].to_pylist()


def test_why_says_each_region_in_a_line_in_which_nothing_acts_and_all_of_it_as_json(build):
    explanation = explain(build.workspace, build.manifest, kept_uids(build, "region_count > 0")[0])
    lines = [line.strip() for line in explanation.to_text().splitlines() if line.strip().startswith("regions ")]
    assert lines[0] == "regions      0  robin  0.75  box 24 24 48 72  mask  score_maps"
    assert (
        lines[1]
        == r"""regions      1  <script>alert(1)</script>\x1b[31m\u202e  box 0 0 48 48  "a <b>thing</b>"  score_maps"""
    )
    assert lines[2] == "regions      2  robin  0.25  box 9 9 12 12  score_maps  does not count: low_score"
    (pair,) = json.loads(json.dumps(explanation.to_dict()))["pairs"]
    rows = next(step["rows"]["regions"] for step in pair["steps"] if step["step"] == "find_regions")
    assert [row["mask"] for row in rows] == [encoded_mask(MASK), "", ""]
    assert [row["score"] for row in rows] == [0.75, None, 0.25]


def test_exports_have_the_regions_that_count_of_each_pair_in_whatever_tables_they_come(build):
    rows = build.samples(where=build.is_kept)
    (whole,) = with_regions(build, iter([rows]))
    assert has_regions(whole.schema)
    bare = [row for row in whole.to_pylist() if not row["regions"]]
    assert [row["region_count"] for row in bare] == [0] * len(bare)
    robin, other = next(row for row in whole.to_pylist() if row["regions"])["regions"]
    assert robin == {"box": [24.0, 24.0, 48.0, 72.0], "area": float(MASK.sum()), "mask": encoded_mask(MASK),
                     "label": "robin", "phrase": "", "score": 0.75, "source": "score_maps"}  # fmt: skip
    assert (other["area"], other["score"]) == (48.0 * 48, None)
    parts = with_regions(build, iter([rows.slice(start, 2) for start in range(0, len(rows) + 2, 2)]))
    assert pa.concat_tables(parts).combine_chunks() == whole.combine_chunks()


def test_of_a_build_with_attributes_exports_and_the_report_have_them(shared, shared_build, read_all):
    build = PublishedBuild(shared, shared_build(regions=DESCRIBED))
    (whole,) = with_regions(build, iter([build.samples(where=build.is_kept)]))
    assert has_regions(whole.schema)
    robin, other = next(row for row in whole.to_pylist() if row["regions"])["regions"]
    assert (robin["attributes"], robin["attribute_scores"]) == (["red", EVIL], [0.75, 0.75])
    assert other["attributes"] == ["red"]
    having = len(kept_uids(build, "region_count > 0"))
    facts = count_regions(build, build.step(FIND_REGIONS.name), read_all)
    assert facts["attributes"] == [("red", 2 * having), (EVIL, having)]
    page = render_report(build.workspace, build.manifest, read_bytes=read_all)
    assert "<dt>attributes</dt><dd><bdi>red</bdi> " in page
    assert "<script" not in page


def test_a_column_of_that_name_of_the_pool_stays_under_another(build):
    rows = build.samples(["uid"], build.is_kept)
    rows = rows.append_column("regions", pa.array(["[]"] * len(rows)))
    (table,) = with_regions(build, iter([rows]))
    assert table[OF_POOL].to_pylist() == ["[]"] * len(rows)
    assert has_regions(table.schema)


def test_a_build_without_regions_is_exported_as_it_is(published):
    build = PublishedBuild(*published)
    rows = build.samples(where=build.is_kept)
    assert list(with_regions(build, iter([rows]))) == [rows]


def test_the_section_counts_by_label_what_counts_and_by_reason_what_does_not(build, read_all):
    facts = count_regions(build, build.step(FIND_REGIONS.name), read_all)
    pairs = facts["pairs"]
    having = len(kept_uids(build, "region_count > 0"))
    assert pairs == len(kept_uids(build))
    assert facts["labels"] == [
        {"label": label, "regions": having, "pairs": having, "share": pytest.approx(share)}
        for label, share in ((EVIL, 48 * 48 / SIDE**2), ("robin", 24 * 48 / SIDE**2))
    ]
    assert (facts["counting"], facts["reasons"], facts["more"]) == (2 * having, [("low_score", having)], 0)
    assert len(facts["cards"]) == min(section.SHOWN, having)
    assert all(card["image"].startswith("data:image/webp") for card in facts["cards"])


def test_the_report_of_a_build_with_regions_shows_them_and_no_label_acts(shared, shared_build, read_all):
    page = render_report(shared, shared_build(regions=FOUND), read_bytes=read_all)
    assert '<li><a href="#regions">Regions</a></li>' in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m\\u202e" in page
    assert "<script" not in page
    assert "low score" in page


def test_the_report_of_another_build_says_nothing_of_regions(published, read_all):
    assert "egions" not in render_report(*published, read_bytes=read_all)


def written(picture, orientation=None):
    stream, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    picture.save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def test_masks_and_boxes_lie_where_they_are_on_the_upright_picture():
    stored = Image.new("RGB", (200, 100), "white")
    mask = np.zeros((200, 100), np.bool_)
    mask[100:, :] = True
    region = regions_of([{"x0": 0, "y0": 100, "x1": 100, "y1": 200, "mask": encoded_mask(mask), "label": "half",
                          "phrase": "", "score": None, "source": "", "reason": ""}])  # fmt: skip
    picture = overlaid(written(stored, 6), region, side=400)
    assert picture.size == (200, 400)
    assert min(picture.getpixel((100, 100))) > 240
    assert min(picture.getpixel((100, 300))) < 200
    assert picture.getpixel((1, 390)) != picture.getpixel((100, 390))


def test_what_does_not_count_is_grey_and_has_no_mask():
    mask = encoded_mask(np.ones((50, 50), np.bool_))
    row = {"x0": 5, "y0": 5, "x1": 45, "y1": 45, "mask": mask, "label": "", "phrase": "", "score": None, "source": ""}
    picture = overlaid(written(Image.new("RGB", (50, 50), "white")), regions_of([row | {"reason": "small"}]), side=50)
    assert min(picture.getpixel((25, 25))) > 240
    assert len(set(picture.getpixel((5, 25)))) == 1


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (1, 1), (16, 16)])
def test_unusual_pictures_are_drawn_on(size):
    row = {"x0": 0, "y0": 0, "x1": size[0], "y1": size[1], "mask": "", "label": "x" * 500, "phrase": "", "score": 0.5,
           "source": "", "reason": ""}  # fmt: skip
    assert max(overlaid(written(Image.new("RGB", size, "white")), regions_of([row] * 60), side=320).size) == 320


def test_bytes_that_are_no_picture_give_none():
    assert overlaid(b"no picture", regions_of([]), side=320) is None


def test_a_region_without_label_and_score_says_so():
    row = BOX | {
        "region": 3,
        "mask": "",
        "label": "",
        "phrase": "",
        "score": None,
        "source": "column:boxes",
        "reason": "",
    }
    assert region_line(row) == "3  no label  box 24 24 48 72  column:boxes"
