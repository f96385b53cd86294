import io

import pytest
from PIL import Image

from evenly.demo.errors import PicturesError
from evenly.demo.pictures.openmoji import SIZES_PX, draw_picture, list_codes, rasterise


def test_all_colour_pictures_are_listed():
    assert len(list_codes()) == 4495


def test_pictures_are_drawn_once_and_kept(tmp_path):
    assert rasterise(tmp_path, ["1F600", "1F34C"]) == ["1F600", "1F34C"]
    (tmp_path / "1F600.png").write_bytes(b"kept")
    assert rasterise(tmp_path, ["1F600", "1F34C", "2708"]) == ["2708"]
    assert (tmp_path / "1F600.png").read_bytes() == b"kept"


def test_sizes_and_backgrounds_vary_by_picture_and_not_by_run(tmp_path):
    codes = list_codes()[::300]
    for run in ("one", "two"):
        rasterise(tmp_path / run, codes)
    drawn = {code: (tmp_path / "one" / f"{code}.png").read_bytes() for code in codes}
    assert drawn == {code: (tmp_path / "two" / f"{code}.png").read_bytes() for code in codes}
    pictures = [Image.open(io.BytesIO(picture)).convert("RGBA") for picture in drawn.values()]
    assert {picture.width for picture in pictures} <= set(SIZES_PX)
    assert {picture.getpixel((0, 0))[3] for picture in pictures} == {0, 255}


def test_an_unknown_code_is_named():
    with pytest.raises(PicturesError, match="got 'FFFF'"):
        draw_picture("FFFF", size_px=72)
