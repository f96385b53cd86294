"""`evenly search` and `Build.search` on a build of pictures as numbers."""

import json

import pytest

import evenly
from evenly.flows.cli.datasets.search import _known_by
from tests.labelled_build import WordEncoder
from tests.searched_build import Pair, publish, uid_of

CAPTION = "[red]\x1b[31m\u202e<b>"
PAIRS = [
    Pair("a bird", "red bird"),
    Pair(CAPTION, "red ship", reason="balance_draw", step="balance"),
    Pair("none", "", reason="empty_caption", step="collect"),
]


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    for name in ("_load", "embedded_text_tower"):
        monkeypatch.setattr(f"evenly.tasks.encoders.{name}", lambda *_: WordEncoder())


@pytest.fixture
def search(evenly, workspace):
    publish(workspace, PAIRS)

    def run(*arguments):
        return evenly("search", "--root", workspace.root, "--build", "some-1", *arguments)

    return run


def test_the_command_says_what_is_near_and_why_it_went(search):
    status, out, err = search("red ship", "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert [(row["uid"], row["reason"], row["step"]) for row in facts["rows"]] == [
        (uid_of(1), "balance_draw", "balance"),
        (uid_of(0), "", ""),
    ]
    assert facts["rows"][0]["caption"] == CAPTION
    assert (facts["pairs"], facts["searched"], facts["without_picture"]) == (3, 2, 1)
    assert not {"\x1b", "\u202e"} & set(out)


def test_captions_are_shown_as_text(search):
    status, out, _ = search("red ship", "--top", 1)
    assert status == 0
    assert not {"\x1b", "\u202e"} & set(out)
    assert "balance_draw at balance" in out
    assert "2 of 3 pairs searched" in out
    assert "1 have no picture: they went before it was fetched or read" in out
    assert "no search finds these: `evenly why`" in out


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"uid": "ab", "file_name": "robin/a.png", "url": "sha256:00"}, {"picture": "robin/a.png"}),
        ({"uid": "ab", "url": "https://a.test/birds/a.png?w=9"}, {"uid": "ab", "picture": "a.png"}),
        ({"uid": "ab", "url": None}, {"uid": "ab"}),
    ],
)
def test_a_pair_is_shown_by_what_why_takes(facts, shown):
    assert _known_by(facts) == shown


@pytest.mark.parametrize("name", ["sheet.html", "sheet.PNG"])
def test_a_contact_sheet_is_written_where_pictures_are_not_held(search, tmp_path, name):
    status, out, err = search("red ship", "--sheet", tmp_path / "new" / name)
    assert (status, err) == (0, "")
    assert "sheet" in out
    content = (tmp_path / "new" / name).read_bytes()
    assert content.startswith(b"\x89PNG" if name.endswith("PNG") else b"<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "`search` must get a text, a picture or a uid"),
        (["red", "--sheet", "x.gif"], 2, "`--sheet` must end with .html or .png"),
        (["red", "--rows", "gone"], 2, "`--rows` must be kept, dropped or all"),
        (["red", "--where", "nothing"], 2, "`--where` must be a column"),
        (["red", "--in", "texts"], 2, "`in` must be pictures, captions or regions; got `texts`"),
        (["red", "--in", "captions", "--index", "binary"], 2, "`--index` must be left out where captions are searched"),
        (["red", "--index", "flat"], 2, "`--index` must be one of ivf_pq"),
        (["red", "--top", "0"], 2, "Invalid value for '--top'"),
        (["--image", "/nowhere.png"], 2, "`--image` must be readable; No such file"),
    ],
)
def test_wrong_options_are_usage_errors(search, arguments, status, message):
    got, out, err = search(*arguments)
    assert (got, out) == (status, "")
    assert message in err


def test_an_index_is_made_measured_and_used(evenly, workspace):
    publish(workspace, [Pair(f"thing {number}", f"red thing {number}") for number in range(300)])
    status, out, err = evenly("index", "some-1", "--root", workspace.root, "--kind", "binary", "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert (facts["kind"], facts["rows"], facts["queries"]) == ("binary", 300, 64)
    assert 0 <= facts["recall"]["pictures"] <= 1
    assert facts["looks_at"] == {"scanned": 1.0, "shortlist": min(1.0, round(facts["candidates"] / 300, 4))}
    of_build = ("--root", workspace.root, "--build", "some-1", "--top", 1, "--index")
    status, out, _ = evenly("search", "red thing 7", *of_build, "binary")
    assert status == 0
    assert uid_of(7) in out
    assert "by the index binary, which finds" in out
    status, _, err = evenly("search", "red", *of_build, "ivf_pq")
    assert (status, "Make it: `evenly index --kind ivf_pq`" in err) == (1, True)


def test_a_build_in_python_gives_a_table(workspace):
    publish(workspace, PAIRS)
    build = evenly.open(workspace.root).builds["some-1"]
    table = build.search("red ship", minus="bird", rows="dropped", where=["source=web"])
    assert table["uid"].tolist() == [uid_of(1)]
    assert table["reason"].tolist() == ["balance_draw"]
    assert table.attrs["without_picture"] == 1
    assert build.search(uids=uid_of(0), top=1)["score"].tolist() == [1.0]
    assert build.search("red ship", within="captions").attrs["without_features"] == 3
    with pytest.raises(ValueError, match="`where` must be a list of conditions"):
        build.search("red", where="source=web")
