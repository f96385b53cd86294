import base64
import hashlib
import io
import json
import shutil
import tarfile
from dataclasses import replace

import pytest

from evenly.demo.errors import PicturesError
from evenly.demo.ground import hands
from evenly.demo.ground.folder import make_ground
from evenly.demo.ground.hands import HANDS, checked_svg, drawing_by, fetch_hands, licences

OWL = "1F989"
CIRCLE = '<circle cx="8" cy="8" r="7" fill="#f00"/>'
INFO = {"name": "Fake", "author": {"name": "Ann"}, "license": {"title": "MIT", "spdx": "MIT", "url": "https://x.test"}}


def archive_of(icons, names, path):
    with tarfile.open(path, "w:gz") as archive:
        sets = {"icons.json": {"icons": icons, "width": 16, "height": 16}, "chars.json": names, "info.json": INFO}
        for name, value in sets.items():
            content = json.dumps(value).encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


@pytest.fixture
def noto(tmp_path, monkeypatch):
    """An archive that stands for Noto's, pinned by its own hash."""
    archives = tmp_path / "archives"
    archives.mkdir()
    path = archives / HANDS["noto"].archive
    digest = archive_of(
        {"owl": {"body": CIRCLE}, "flag": {"body": CIRCLE, "width": 32}}, {"1f989": "owl", "2764": "flag"}, path
    )
    monkeypatch.setattr(hands, "HANDS", {"noto": replace(HANDS["noto"], sha512=digest)})
    hands._set.cache_clear()
    hands.drawing_by.cache_clear()
    return archives


def test_a_hand_draws_a_code_from_its_archive_cut_to_the_drawing(noto):
    drawing = drawing_by("noto", OWL, noto)
    assert drawing.size == (224, 224)  # 14 of 16 units at 256 pixels
    assert drawing.getpixel((112, 112)) == (255, 0, 0, 255)
    assert drawing_by("noto", "2764-FE0F", noto).size == (112, 112)  # twice as wide as high
    with pytest.raises(PicturesError, match="`noto` must draw 1F600; it does not"):
        drawing_by("noto", "1F600", noto)


def test_licences_say_author_licence_and_version(noto):
    text = licences(["noto"], noto)["noto"]
    assert all(part in text for part in ("Ann", "MIT", "https://x.test", "@iconify-json/noto 1.2.9"))


def test_an_archive_that_is_there_is_not_fetched_and_a_changed_one_is_refused(noto, monkeypatch):
    monkeypatch.setattr(hands, "_packed", lambda _package: b"something else")
    fetch_hands(["noto"], noto)
    path = noto / HANDS["noto"].archive
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PicturesError, match=r"`iconify-json-noto-1.2.9.tgz` must have the SHA-512"):
        fetch_hands(["noto"], noto)


def test_without_npm_it_is_said_where_to_put_the_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(
        PicturesError, match=r"`npm` must be installed .* put iconify-json-twemoji-1.2.5.tgz into archives/"
    ):
        fetch_hands(["twemoji"], tmp_path)


def test_an_npm_that_fails_and_an_unknown_hand_are_said(tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho secret-token >&2\nexit 3\n")
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _name: str(npm))
    with pytest.raises(PicturesError, match="it ended with 3") as error:
        fetch_hands(["fluent"], tmp_path)
    assert "secret" not in str(error.value)
    with pytest.raises(PicturesError, match="it ended with 3"):
        make_ground(tmp_path / "ground", hands=["fluent"], codes=300)
    assert not (tmp_path / "ground" / ".settings.json").exists()  # so that the same folder may be drawn by others
    with pytest.raises(PicturesError, match="`hands` must be of noto, twemoji, fluent; got 'apple'"):
        make_ground(tmp_path / "ground", hands=["apple"])


@pytest.mark.parametrize(
    "body",
    [
        '<image href="file:///etc/passwd"/>',
        '<image href="https://evil.test/x.png"/>',
        "<script>alert(1)</script>",
        "<style>@import url(https://evil.test)</style>",
        '<path d="M0 0" onload="x"/>',
        '<path d="M0 0" style="fill:url(https://evil.test)"/>',
        '<path d="M0 0" fill="url(https://evil.test#a)"/>',
        '<use href="other.svg#a"/>',
        '<g xmlns:xlink="http://www.w3.org/1999/xlink"><use xlink:href="file:///etc/passwd#a"/></g>',
        "<foreignObject/>",
        '<!DOCTYPE x [<!ENTITY a "b">]><path d="M0 0"/>',
        "<text>a font</text>",
        "<path",
        "<g>" * 5000 + "</g>" * 5000,
        "<g>" * 60 + "</g>" * 60,
        '<path d="' + "M0 0" * 100_000 + '"/>',
        '<g id="a"><use href="#a"/><use href="#a"/></g>',
        "".join(f'<g id="l{n}">' + f'<use href="#l{n + 1}"/>' * 10 + "</g>" for n in range(8)) + '<g id="l8"/>',
    ],
)
def test_hostile_svg_is_refused(body):
    with pytest.raises(PicturesError, match="`noto 1F989` must have"):
        checked_svg(body, "noto 1F989")


def test_shapes_that_use_shapes_are_drawn():
    body = '<defs><path id="a" d="M0 0h9v9z"/><g id="b"><use href="#a"/></g></defs><use href="#b" fill="url(#a)"/>'
    assert checked_svg(body, "x") == body
