"""`evenly what-if`, over a table of captions: what it says, draws and writes, and what it refuses."""

import json
from types import SimpleNamespace

import pytest

import evenly
from evenly.audit.errors import CannotTellError
from evenly.flows.cli.audit.audit import COMMANDS
from evenly.flows.recipe.curation import Curate
from evenly.flows.recipe.problems import RecipeError, with_values
from evenly.flows.recipe.what_if import curate_of
from evenly.storage.errors import InputError

RECIPE = """
name: words
seed: 3
sources: [{kind: jsonl, path: pool.jsonl, url: null, caption: caption}]
curate:
  text: {caption_length: {min_words: 2, max_words: 12}}
  cap: {column: kind, most: 15}
  deduplicate: {captions: {min_jaccard: 0.9, scope: pool}}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    rows = [
        {"caption": f"number {n} " + "of many words " * (n % 5), "kind": f"k{n % 3}", "id": str(n)} for n in range(60)
    ]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "words.yaml").write_text(RECIPE)
    build = evenly.rebuild(folder / "words.yaml", root=folder / "w", quiet=True)
    return folder, build


def files(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_is_said_comes_true_and_nothing_is_written(built, tmp_path):
    folder, build = built
    before = files(folder / "w")
    changes = ["cap.most=5", "curate.text.caption_length.max_words=6"]
    said = evenly.what_if(folder / "words.yaml", changes, root=folder / "w", build=build.id)
    assert files(folder / "w") == before
    assert said["rules"] == {"check_texts": ["caption_length.max_words"], "cap": ["most"]}
    recipe = tmp_path / "words.yaml"
    recipe.write_text(RECIPE.replace("most: 15", "most: 5").replace("max_words: 12", "max_words: 6"))
    (tmp_path / "pool.jsonl").write_text((folder / "pool.jsonl").read_text())
    after = evenly.rebuild(recipe, root=tmp_path / "w", quiet=True)
    assert (said["kept"]["before"], said["kept"]["after"]) == (len(build), len(after))
    assert said["kept"]["bounds"] == {"least": len(after), "most": len(after)}
    table = after.to_pandas(["uid", "step", "reason"], rows="all").set_index("uid")
    for fate in build.what_if(changes).fates.to_pylist():
        assert [*table.loc[fate["uid"]]] == [fate["after_step"] or "", fate["after_reason"] or ""]


def test_a_curve_and_a_page(built, tmp_path):
    folder, build = built
    page = tmp_path / "page.html"
    said = evenly.what_if(folder / "words.yaml", curve="cap.most=2,4", sheet=page, root=folder / "w", build=build.id)
    assert [(row["value"], row["kept"]) for row in said["curve"]["rows"]] == [(2, 6), (4, 12)]
    assert "cap.most" in page.read_text()
    around = evenly.what_if(folder / "words.yaml", curve="cap.most", root=folder / "w", build=build.id)["curve"]["rows"]
    assert [row["value"] for row in around] == [4, 8, 11, 15, 22, 30, 60]


def test_the_fate_of_one_pair(built, capsys):
    folder, build = built
    leaves = build.what_if(["cap.most=1"]).examples("leave")[0]["uid"]
    COMMANDS["why"](sample=leaves, root=str(folder / "w"), what_if=["cap.most=1"])
    assert f"what if: {leaves} would be dropped by `cap` (over_cap)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"changes": ["cap.most"]}, InputError, "`set` must be FIELD=VALUE"),
        ({"changes": ["cap.most=0"]}, RecipeError, "most"),
        ({"changes": ["cap.mots=4"]}, RecipeError, "mots"),
        ({"changes": ["match={}"]}, CannotTellError, "match"),
        ({"changes": ["cap.most=["]}, InputError, "value of YAML"),
        ({"curve": "cap.column"}, InputError, "holds no number"),
        ({"sheet": "page.txt"}, evenly.flows.cli.errors.UsageError, "must end with .html"),
    ],
)
def test_what_cannot_be_is_refused(built, options, error, words):
    folder, build = built
    with pytest.raises(error, match=words):
        evenly.what_if(folder / "words.yaml", root=folder / "w", build=build.id, **options)


@pytest.mark.parametrize(
    ("old", "new", "words"), [("seed: 3", "seed: 4", "seed differ"), ("name: words", "name: x", "must have a")]
)
def test_another_seed_or_a_recipe_without_a_build_is_refused(built, tmp_path, old, new, words):
    folder, build = built
    recipe = tmp_path / "other.yaml"
    recipe.write_text(RECIPE.replace(old, new))
    with pytest.raises(InputError, match=words):
        evenly.what_if(recipe, root=folder / "w", build=build.id if new.startswith("seed") else None)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A build of pairs with a score, of which the best quarter stays, and a newer one of few pairs, not promoted."""
    folder = tmp_path_factory.mktemp("scored")
    rows = [{"caption": f"number {n}", "score": None if n == 7 else n / 100, "id": str(n)} for n in range(101)]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = folder / "scored.yaml"
    recipe.write_text(
        "name: scored\nseed: 3\nsources: [{kind: jsonl, path: pool.jsonl, url: null, caption: caption}]\n"
        "curate: {values: {score: {column: score, keep_top: 0.25}}}\n"
    )
    build = evenly.rebuild(recipe, root=folder / "w", quiet=True)
    few = evenly.rebuild(recipe, root=folder / "w", limit=20, quiet=True)
    return recipe, folder / "w", build, few


def test_the_promoted_build_is_judged_and_another_by_its_name(scored):
    recipe, root, build, few = scored
    assert few.id != build.id
    assert evenly.what_if(recipe, root=root)["build"] == build.id
    assert evenly.what_if(recipe, root=root, build=few.id)["build"] == few.id


def test_a_curve_of_a_bound_goes_over_the_deciles_of_what_was_recorded(scored):
    recipe, root, _, _ = scored
    change = "values.score={column: score, min: 0.33}"
    said = evenly.what_if(recipe, [change], curve="values.score.min", root=root)
    rows = said["curve"]["rows"]
    assert [row["value"] for row in rows] == [0.109, 0.208, 0.307, 0.33, 0.406, 0.505, 0.604, 0.703, 0.802, 0.901]
    assert [row["kept"] for row in rows][:3] == [90, 80, 70]


def test_why_says_which_number_the_best_share_came_to(scored, capsys):
    _, root, build, _ = scored
    table = build.to_pandas(["uid", "reason", "score"], rows="all").set_index("uid")
    uid = table.index[table["reason"] == "below_top_score"][0]
    COMMANDS["why"](sample=uid, root=str(root))
    shown = capsys.readouterr().out
    assert f"(below_top_score, value {table.loc[uid, 'score']}, threshold 0.75)" in shown
    assert "score.keep_top 0.25, score.threshold 0.75" in shown


@pytest.mark.parametrize(
    ("match", "mode", "plurals"),
    [
        ({"mode": "faithful", "plurals": False}, "normalized", True),
        ({"mode": "normalized", "plurals": True}, "faithful", False),
        ({"mode": "normalized", "plurals": False}, "normalized", False),
    ],
)
def test_a_field_that_follows_from_another_follows_from_its_new_value(match, mode, plurals):
    stored = {"match": {"metadata": "wordnet", "language": None, "unmatched": "drop", **match}}
    curate = curate_of(SimpleNamespace(manifest={"recipe": {"curate": stored}}))
    changed = Curate.model_validate(with_values(curate, {"match.mode": mode}))
    assert changed.match.plurals is plurals
