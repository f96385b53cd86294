"""`evenly init --from`: the kind and columns of what lies at a path, in a recipe that `check` accepts."""

import json
import re
import tarfile
from io import BytesIO
from pathlib import Path

import jsonschema
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.checks import check_recipe
from evenly.flows.recipe.files import DEMO, FOLDER_TEMPLATE, TEMPLATE, TEXT_TEMPLATE
from evenly.flows.recipe.pools.drafts import SCHEMA, draft_recipe, write_schema
from evenly.flows.recipe.pools.losses import recipe_labels, recipe_losses
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.runs import run_in
from evenly.storage.pools.rows import PoolError

PLACES = ("photos/", "/data/photos/", "file:///data/photos/")
CAPTIONS = [f"a dog on a beach {number}" for number in range(5)]
LINKS = [f"https://a.test/{number}.png" for number in range(5)]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def drafted(pool, **options):
    """The recipe that `init` writes for a pool, read back."""
    path = Path("My Birds.yaml")
    path.write_text(draft_recipe(path, pool=Path(pool), **options).text)
    return read_recipe(path)


def source_of(recipe):
    (source,) = recipe.sources
    return {name: getattr(source, name) for name in ("kind", "path", "url", "caption", "id")}


def folder(tmp_path, *, captions=".txt", names=("robin/a.png", "robin/b.png", "jay/c.JPG")):
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        if captions:
            path.with_suffix(captions).write_text('{"caption": "a bird"}')
    return "photos"


def test_a_folder_of_classes_with_texts_has_its_folders_as_labels(tmp_path):
    recipe = drafted(folder(tmp_path))
    assert recipe.name == "my-birds"
    assert source_of(recipe) == {"kind": "folder", "path": "photos", "url": "url", "caption": None, "id": None}
    assert (recipe.labels.column, recipe.labels.group) == ("folder", None)
    assert recipe.has_pictures
    assert drafted(folder(tmp_path, names=("top.png",))).labels is None


@pytest.mark.parametrize(
    ("names", "summary"),
    [
        (("robin/a.png", "jay/c.png"), ", 2 folders as labels: `jay` is one"),
        (
            ("animals/birds/a.png", "animals/cats/c.png", "trees/d.png"),
            ", 3 folders as labels: `animals/birds` is one, the whole path of a picture's folder",
        ),
    ],
)
def test_init_says_which_folders_are_labels(tmp_path, names, summary):
    draft = draft_recipe(Path("r.yaml"), pool=Path(folder(tmp_path, names=names)))
    assert draft.summary.endswith(summary)


def test_a_list_of_pictures_names_the_column_of_captions(tmp_path):
    place = tmp_path / folder(tmp_path, captions="")
    (place / "metadata.csv").write_text(
        "file_name,what it shows\nrobin/a.png,a red robin sings\njay/c.JPG,a blue jay\n"
    )
    assert source_of(drafted("photos"))["caption"] == "what it shows"
    (place / "metadata.csv").write_text("file,caption\nrobin/a.png,a red robin sings\n")
    with pytest.raises(PoolError, match="must have a column `file_name`"):
        drafted("photos")


def test_groups_and_a_class_list_in_a_folder_of_classes_are_taken(tmp_path):
    place = tmp_path / folder(tmp_path, captions="")
    (place / "metadata.csv").write_text(
        "file_name,caption,group\nrobin/a.png,a red robin,anna and bob\njay/c.JPG,a jay,bob\n"
    )
    assert drafted("photos").classes == ()
    (place / "classes.txt").write_text("robin\njay\n")
    recipe = drafted("photos")
    assert (recipe.labels.column, recipe.labels.group) == ("folder", "group")
    assert [Path(each.list).name for each in recipe.classes] == ["classes.txt"]
    (place / "top.png").write_bytes(b"")  # folders are no classes then
    assert drafted("photos").classes == ()


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_table_of_links_has_its_columns_named(tmp_path, kind):
    rows = [
        {"n": place, "TEXT": caption, "image link": link, "key": f"k{place}", "null": "yes"}
        for place, (caption, link) in enumerate(zip(CAPTIONS, LINKS, strict=True))
    ]
    path = tmp_path / f"pool.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "csv":
        path.write_text("\n".join(",".join(map(str, row)) for row in (rows[0], *(row.values() for row in rows))) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {"kind": kind, "path": f"pool.{kind}", "url": "image link", "caption": "TEXT", "id": "key"}
    assert source_of(drafted(path.name)) == found
    assert source_of(drafted(path.name, is_text=True)) == found
    assert not drafted(path.name, is_text=True).has_pictures


def test_captions_alone_and_words_of_yaml_make_a_recipe_of_captions(tmp_path):
    (tmp_path / "tables" / "b").mkdir(parents=True)
    pq.write_table(pa.table({"no": CAPTIONS, "id": [1, 1, 2, 3, 4]}), tmp_path / "tables" / "b" / "1.parquet")
    recipe = drafted("tables")
    found = {"kind": "parquet", "path": "tables/**/*.parquet", "url": None, "caption": "no", "id": None}
    assert source_of(recipe) == found
    assert not recipe.has_pictures


def test_shards_are_of_pictures(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "0.tar").touch()
    assert source_of(drafted("shards"))["path"] == "shards/*.tar"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "must hold pictures, shards"),
        (lambda _path: None, "must be a file or folder"),
        (lambda path: path.write_text("x"), "file of one of parquet"),
        (lambda path: folder(path.parent, captions="") and (path.parent / "photos").rename(path), "a.txt beside a.png"),
    ],
    ids=["empty", "not there", "unknown", "no captions"],
)
def test_what_cannot_be_told_is_named(tmp_path, make, words):
    make(tmp_path / "pool")
    with pytest.raises(PoolError, match=words):
        drafted("pool")


def test_a_table_without_captions_or_with_paths_says_what_to_do(tmp_path):
    (tmp_path / "a.csv").write_text("id,n\n1,2\n")
    with pytest.raises(PoolError, match="must have a column of captions; got id, n"):
        drafted("a.csv")
    for place in PLACES:
        (tmp_path / "b.csv").write_text(f"file,caption\n{place}a.png,a red robin\n")
        with pytest.raises(PoolError, match="folder that holds the pictures instead"):
            drafted("b.csv")


@pytest.mark.parametrize("place", PLACES)
def test_check_names_columns_that_are_not_there_and_folder_for_paths_on_disk(tmp_path, evenly, place):
    (tmp_path / "b.csv").write_text(f"file,caption\n{place}a.png,a red robin\n{place}b.png,a blue jay\n")
    recipe = {"name": "b", "seed": 1, "curate": {"balance": None}}
    sources = [{"kind": "csv", "path": "b.csv", "url": "file", "caption": "text"}, {"kind": "csv", "path": "later.csv"}]
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(recipe | {"sources": sources}))
    status, _, err = evenly("check", "b.yaml")
    lines = err.splitlines()
    assert (status, len(lines)) == (2, 3)
    assert "`sources.0.caption` must name a column of" in lines[0]
    assert "Columns there are: file, caption." in lines[0]
    assert f"holds `{place}a.png`. Pictures on this machine are of kind folder" in lines[1]
    assert "this table in it as metadata.csv and the paths, relative to it, in a column `file_name`" in lines[1]
    assert "`sources.1.path` must match at least one file; got `" in lines[2]
    sources[0] |= {"url": None, "caption": "caption"}
    (tmp_path / "b.yaml").write_text(
        yaml.safe_dump(recipe | {"sources": sources[:1], "curate": {"download": None, "balance": None}})
    )
    assert evenly("check", "b.yaml")[0] == 0


def test_editors_find_the_schema_and_it_takes_our_recipes(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(draft_recipe(path).text)
    assert path.read_text().splitlines()[0] == f"# yaml-language-server: $schema={SCHEMA}"
    schema = json.loads(write_schema(tmp_path).read_text())
    for recipe in (path, DEMO, TEMPLATE, TEXT_TEMPLATE, FOLDER_TEMPLATE):
        jsonschema.validate(yaml.safe_load(recipe.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(path.read_text()) | {"nmae": "x"}, schema)
    jsonschema.validate(yaml.safe_load(path.read_text()) | {"engine": "ray"}, schema)


def check(tmp_path, evenly, **fields):
    """The problems that `check` names in a recipe for the folder `photos`."""
    recipe = {"name": "b", "seed": 1, "sources": [{"kind": "folder", "path": "photos"}], "curate": {}}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(recipe | fields))
    return json.loads(evenly("check", "b.yaml", "--json")[1])["problems"]


def test_check_names_pools_and_class_lists_that_are_not_there(tmp_path, evenly, monkeypatch):
    monkeypatch.setenv("EVENLY_CACHE", str(tmp_path / "cache"))
    (line,) = check(tmp_path, evenly)
    photos = (
        f"`sources.0.path` must match at least one folder; got `{tmp_path}/photos`. Correct it, or make the folder."
    )
    assert line == photos
    (tmp_path / "b.txt").write_text("robin\nrobin\n")
    lines = check(tmp_path, evenly, classes=[{"list": "a.txt"}, {"list": "b.txt"}], curate={"download": {}})
    assert lines[0] == photos
    assert lines[1].startswith(f"`classes.0.list`: class list `{tmp_path}/a.txt` must be a readable text file; No such")
    assert lines[2].startswith("`classes.1.list`: class list 'b', line 2")
    shards = {"sources": [{"kind": "webdataset", "path": "s3://bucket/none/*.tar"}]}
    assert check(tmp_path, evenly, **shards) == []


def test_check_names_further_files_that_are_not_there(tmp_path, evenly):
    folder(tmp_path)
    (tmp_path / "birds.txt").write_text("robin\n")
    fields = {
        "labels": {"file": "labels.csv", "split": "split.csv"},
        "classes": [{"list": "birds.txt", "given": "texts.json"}],
        "curate": {
            "download": {},
            "match": {"metadata": "concepts.json"},
            "safety": {"detector": None, "files": ["bad.txt"]},
            "decontaminate": {"sets": {"birds": "birds-test"}},
        },
    }
    problems = check(tmp_path, evenly, **fields)
    names = ["classes.0.given", "labels.file", "labels.split", "curate.match.metadata", "curate.safety.files.0"]
    assert [line.split("`")[1] for line in problems] == [*names, "curate.decontaminate.sets.birds"]
    assert problems[1] == f"`labels.file` must be there; got `{tmp_path}/labels.csv`, which is not. Correct it."
    for name in ("labels.csv", "split.csv", "texts.json", "concepts.json", "bad.txt", "birds-test"):
        (tmp_path / name).touch()
    (tmp_path / "labels.csv").write_text("file_name,label,group\njay/c.JPG,jay,1\n")
    fields["labels"]["key"] = "file_name"
    (tmp_path / "concepts.json").write_text('["bird"]')
    assert check(tmp_path, evenly, **fields) == []


def test_check_lets_a_pool_be_that_the_recipe_makes_itself(tmp_path, evenly, monkeypatch):
    monkeypatch.setenv("EVENLY_CACHE", str(tmp_path / "cache"))
    demo = {"sources": [{"kind": "parquet", "path": "{cache}/demo/pool.parquet", "caption": "alt"}]}
    (line,) = check(tmp_path, evenly, **demo)
    assert f"`sources.0.path` must match at least one file; got `{tmp_path}/cache/demo/pool.parquet`" in line
    assert check(tmp_path, evenly, **demo, web="openmoji") == []


def test_check_names_columns_of_labels_that_no_source_has(tmp_path, evenly):
    place = tmp_path / folder(tmp_path)
    assert check(tmp_path, evenly, labels={"column": "folder", "group": None}) == []
    column, group = check(tmp_path, evenly, labels={"column": "species"})
    assert column.startswith(
        "`labels.column` must be a column of the pool; got `species`. It has caption, file_name, folder, "
    )
    assert group.startswith("`labels.group` must be a column of the pool; got `group`.")
    assert group.endswith("Name one of them, or write null.")
    (tmp_path / "a.csv").write_text("url,alt,species,caption\nhttps://a.test/1.png,a robin,robin,x\n")
    both = [{"kind": "folder", "path": "photos"}, {"kind": "csv", "path": "a.csv", "caption": "alt"}]
    assert check(tmp_path, evenly, sources=both, labels={"column": "species", "group": "pool_caption"}) == []
    (place / "metadata.csv").write_text("file_name,caption,bird\nrobin/a.png,a robin,robin\n")
    assert check(tmp_path, evenly, labels={"column": "bird", "group": None}) == []
    (place / "robin" / "b.json").write_text('{"caption": "a robin", "species": "robin"}')
    assert check(tmp_path, evenly, labels={"column": "species", "group": None}) == []


def test_check_names_columns_that_no_pool_and_no_step_gives(tmp_path, evenly):
    (tmp_path / "a.csv").write_text("url,caption,species\nhttps://a.test/1.png,a robin,robin\n")
    (tmp_path / "words.json").write_text('{"en": ["robin"]}')
    source = [{"kind": "csv", "path": "a.csv"}]
    for column in ("species", "source", "detected_language", "width", "label", "image_size_value"):
        assert check(tmp_path, evenly, sources=source, curate={"cap": {"column": column, "most": 2}}) == []
    match = {"metadata": "words.json", "language": "tongue"}
    lines = check(tmp_path, evenly, sources=source, curate={"cap": {"column": "genus", "most": 2}, "match": match})
    assert [line.partition("; ")[0] for line in sorted(lines)] == [
        "`curate.cap.column` must be a column of the pool", "`curate.match.language` must be a column of the pool"
    ]  # fmt: skip
    assert all("It has caption, source, source_id, species, uid, url. Name one of them." in line for line in lines)
    (tmp_path / "mine.py").write_text("")
    values = {
        "mine": {"python": "mine.py:score", "reads": ["caption", "species", "genus"], "min": 1},
        "yours": {"python": "mine.py:score", "reads": ["mine", "mine_error", "width"], "min": 1},
        "repeats": {"soft_cap": {"of": {"mine": 1, "nearness": 1, "clip": 2}}, "min": 1},
        "nearness": {"negclip_loss": {}, "min": -1},
        "rank": {"column": "rank", "min": 1},
    }
    lines = check(tmp_path, evenly, sources=source, curate={"download": {}, "values": values})
    assert [line.partition(". It has")[0] for line in sorted(lines)] == [
        "`curate.values.mine.reads` must be a column of the pool; got `genus`",
        "`curate.values.rank.column` must be a column of the pool; got `rank`",
        "`curate.values.repeats.soft_cap.of` must be a column of the pool; got `clip`",
    ]


def drawn(path, side, caption):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side + 10), "red").save(path)
    path.with_suffix(".txt").write_text(caption)


def test_limits_of_a_folder_drop_what_is_broken_alone_and_say_what_stricter_ones_would(tmp_path):
    for number in range(6):
        drawn(tmp_path / "photos" / f"{number}.png", 40, "robin" if number < 2 else "a red robin")
    drawn(tmp_path / "photos" / "dot.png", 1, "a dot")
    drawn(tmp_path / "photos" / "empty.png", 300, "")
    recipe = drafted("photos")
    assert recipe.curate.text == {"caption_length": {"min_words": 1, "max_words": None}}
    assert recipe.curate.image == {"image_size": {"min_side": 8}}
    text = Path("My Birds.yaml").read_text()
    assert "# 8 pairs of 0 to 3 words: drops 1; min_words: 2 would drop 3; min_words: 3 would drop 4\n" in text
    assert "# 8 pairs of 1 to 300 pixels on the shorter side: drops 1; min_side: 64 would drop 7" in text


def test_a_filter_that_would_drop_much_of_a_pool_is_off_in_its_recipe():
    german = [f"ein roter Vogel sitzt auf einem hohen Baum im Garten {number}" for number in range(20)]
    pq.write_table(pa.table({"url": [f"https://a.test/{n}.png" for n in range(20)], "text": german}), "pool.parquet")
    recipe = drafted("pool.parquet")
    assert "caption_language" not in recipe.curate.text
    text = Path("My Birds.yaml").read_text()
    assert re.search(r"# caption_language: \{languages: \[en\]\} +# off: it would drop \d+ of 20 pairs", text)
    assert recipe.curate.image["image_size"] == {"min_side": 200}  # pictures of the web are not here to be measured


def test_check_counts_what_each_limit_would_drop_of_pools_that_lie_here(tmp_path):
    drawn(tmp_path / "photos" / "a.png", 40, "robin")
    drawn(tmp_path / "photos" / "b.png", 90, "a red robin")
    (tmp_path / "photos" / "c.png").write_bytes(b"no picture")
    (tmp_path / "photos" / "c.txt").write_text("a lost robin")
    Image.new("RGB", (90, 90)).save(tmp_path / "photos" / "without.png")
    recipe = Path("r.yaml")
    curate = {"text": {"caption_length": {}}, "image": {"image_size": {"min_side": 64}}, "download": {}}
    source = {"kind": "folder", "path": "photos"}
    recipe.write_text(yaml.safe_dump({"name": "r", "seed": 1, "sources": [source], "curate": curate}))
    read = check_recipe(recipe)
    (pool,) = recipe_losses(read, run_in(read, quiet=True))
    assert (pool["path"], pool["rows"]) == ("photos", "4 rows")
    assert {loss["field"]: loss["reasons"] for loss in pool["losses"]} == {
        "sources": {"missing_caption": 1},
        "curate.text.caption_length": {"too_few_words": 1},
        "curate.download": {"not_an_image": 1},
        "curate.image.image_size": {"too_small": 1},
    }


@pytest.mark.parametrize(("texts", "lost"), [("captions", {"no_concept": 1}), ("regions", None)])
def test_check_counts_no_captions_where_concepts_are_labels_of_regions(tmp_path, texts, lost):
    drawn(tmp_path / "photos" / "a.png", 40, "a robin")
    Path("things.txt").write_text("owl\n")
    curate = {"match": {"metadata": "things.txt", "texts": texts}, "download": {}, "regions": {"texts": "things.txt"}}
    source = {"kind": "folder", "path": "photos"}
    Path("r.yaml").write_text(yaml.safe_dump({"name": "r", "seed": 1, "sources": [source], "curate": curate}))
    read = check_recipe(Path("r.yaml"))
    (pool,) = recipe_losses(read, run_in(read, quiet=True))
    assert {loss["field"]: loss["reasons"] for loss in pool["losses"]}.get("curate.match") == lost


ABSENT = {"folder": {"sources": {"missing_picture": 1}}, "parquet": {}, "csv": {}, "jsonl": {}}


@pytest.mark.parametrize("kind", ABSENT)
def test_check_counts_what_bounds_of_columns_would_drop(tmp_path, kind):
    scores = [0.1, 0.2, 0.3, 0.4, None]
    rows = pa.table({"url": LINKS[:5], "caption": ["a robin"] * 5, "score": scores, "place": ["a", "b", "a", "a", "a"]})
    source = {"kind": kind, "path": f"pool.{kind}"}
    if kind == "folder":
        for number in range(5):
            drawn(tmp_path / "photos" / f"{number}.png", 40, "")
        names = pa.array([f"{number}.png" for number in (0, 1, 9, 2, 3, 4)])
        listed = pa.concat_tables([rows[:2], rows[:1], rows[2:]]).set_column(0, "file_name", names)
        pa.csv.write_csv(listed, tmp_path / "photos" / "metadata.csv")
        source["path"] = "photos"
    elif kind == "jsonl":
        (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows.to_pylist()))
    else:
        {"parquet": pq.write_table, "csv": pa.csv.write_csv}[kind](rows, tmp_path / source["path"])
    values = {"best": {"column": "score", "keep_top": 0.25}, "near": {"column": "place", "in": ["a"]}}
    curate = {"values": values | {"high": {"column": "score", "max": 0.25}, "later": {"column": "width", "min": 3}}}
    Path("r.yaml").write_text(yaml.safe_dump({"name": "r", "seed": 1, "sources": [source], "curate": curate}))
    read = check_recipe(Path("r.yaml"))
    (pool,) = recipe_losses(read, run_in(read, quiet=True))
    assert {loss["field"]: loss["reasons"] for loss in pool["losses"] if loss["reasons"]} == ABSENT[kind] | {
        "curate.values.best": {"below_top_best": 2, "null_best": 1},
        "curate.values.near": {"other_near": 1},
        "curate.values.high": {"high_high": 2, "null_high": 1},
    }
    curate["values"] = {"best": {"column": "place", "min": 1}}
    Path("r.yaml").write_text(yaml.safe_dump({"name": "r", "seed": 1, "sources": [source], "curate": curate}))
    (pool,) = recipe_losses(check_recipe(Path("r.yaml")), run_in(read, quiet=True))
    assert [loss["reasons"] for loss in pool["losses"] if "values" in loss["field"]] == [{"text_best": 5}]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "webdataset"])
def test_captions_of_every_kind_of_pool_are_counted(tmp_path, kind):
    table = pa.table({"url": LINKS, "text": ["robin", *CAPTIONS[1:]]})
    path = tmp_path / f"pool.{'tar' if kind == 'webdataset' else kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "csv":
        pa.csv.write_csv(table, path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, caption in enumerate(table["text"].to_pylist()):
                picture = BytesIO()
                Image.new("RGB", (20, 20), (number, 0, 0)).save(picture, "PNG")
                for ending, content in (("png", picture.getvalue()), ("txt", caption.encode())):
                    header = tarfile.TarInfo(f"{number}.{ending}")
                    header.size = len(content)
                    tar.addfile(header, BytesIO(content))
    assert drafted(path.name).curate.text["caption_length"] == {"min_words": 1, "max_words": None}
    counts = "# 5 pairs of 1 to 6 words: drops none; min_words: 2 would drop 1; min_words: 3 would drop 1\n"
    assert counts in Path("My Birds.yaml").read_text()


LABELS = "file_name,kind,extra\nbirds/a.png,animals/birds,x\nbirds/b.png,animals/fish,y\n"


def labelled(tmp_path, labels, classes="animals/birds\n"):
    """A recipe of two pictures in a folder, with a file of labels."""
    for name in ("a", "b"):
        drawn(tmp_path / "photos" / "birds" / f"{name}.png", 40, "a red robin")
    Path("labels.csv").write_text(LABELS)
    Path("classes.txt").write_text(classes)
    recipe = {
        "name": "r", "seed": 1, "sources": [{"kind": "folder", "path": "photos"}], "curate": {"download": {}},
        "labels": labels, "classes": [{"list": "classes.txt", "unseen": {"near": ["bat"]}}],
    }  # fmt: skip
    Path("r.yaml").write_text(yaml.safe_dump(recipe))
    read = check_recipe(Path("r.yaml"))
    return recipe_labels(Path("r.yaml"), read, run_in(read, quiet=True))


FILE = {"file": "labels.csv", "key": "file_name", "column": "kind", "group": None}


def test_check_counts_rows_with_a_label_and_names_classes_that_are_none(tmp_path):
    found = labelled(tmp_path, FILE, "animals\nanimals/birds\nfsh\n")
    assert (found["rows"], found["labelled"]) == ("2 rows", 2)
    near = "nearest `animals/birds`, `animals/fish`"
    assert found["warnings"] == [
        f"`classes.0.list`: 2 of 3 names are no label: `animals`, {near}; `fsh`, {near}",
        f"`classes.0.unseen`: 1 of 1 names are no label: `bat`, {near}",
    ]
    found = labelled(tmp_path, {"column": "folder", "group": None}, "bird\n")
    assert found["warnings"][0] == "`classes.0.list`: 1 of 1 names are no label: `bird`, nearest `birds`"


def test_check_refuses_a_file_that_labels_no_row_and_columns_it_does_not_have(tmp_path):
    message = r"`labels.key` .*; got labels for none of 2 rows: keys begin with `x`, `y`; "
    with pytest.raises(RecipeError, match=message):
        labelled(tmp_path, FILE | {"key": "extra"})
    with pytest.raises(RecipeError) as caught:
        labelled(tmp_path, FILE | {"key": "filename", "column": "lable"})
    assert [line.split(" at ")[0] for line in str(caught.value).splitlines()] == [
        f"`labels.{field}` must name a column of the file; got `{name}`"
        for field, name in (("key", "filename"), ("column", "lable"))
    ]


def test_rows_of_tables_are_counted_by_url():
    links = [f"https://a.test/{n}.png" for n in range(4)]
    pq.write_table(pa.table({"url": links, "text": CAPTIONS[:4]}), "pool.parquet")
    pq.write_table(pa.table({"url": links[1:], "label": ["robin"] * 3}), "labels.parquet")
    source = {"kind": "parquet", "path": "pool.parquet", "caption": "text"}
    recipe = {"name": "r", "seed": 1, "sources": [source], "curate": {"download": {}}}
    recipe["labels"] = {"file": "labels.parquet", "group": None}
    Path("r.yaml").write_text(yaml.safe_dump(recipe))
    read = check_recipe(Path("r.yaml"))
    found = recipe_labels(Path("r.yaml"), read, run_in(read, quiet=True))
    assert found == {"rows": "4 rows", "labelled": 3, "warnings": []}


def test_check_names_problems_of_fields_sections_and_files_at_once(tmp_path, evenly):
    curate = {"text": {"caption_length": {"min_wordz": 1}}, "download": {}, "deduplicate": {"exact": "perhaps"}}
    problems = check(tmp_path, evenly, seed="abc", curate=curate, labels={"file": "labels.csv"})
    names = ["seed", "curate.deduplicate.exact", "curate", "sources.0.path", "labels.file"]
    assert [line.split("`")[1] for line in problems] == names
    assert "`text.caption_length.min_wordz` must be a known field" in problems[2]


def test_what_follows_from_a_problem_is_not_told(tmp_path, evenly):
    curate = {"mach": {"metadata": "wordnet"}, "balance": {"t": 5}, "download": {}}
    (tmp_path / "photos").mkdir()
    (line,) = check(tmp_path, evenly, curate=curate)
    assert line.startswith("`curate.mach` must be a known field; got")
