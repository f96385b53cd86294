"""Sections of `curate`: each that is left out, or null, switches its step off, and what reads it is refused."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.step import ByLedger
from evenly.curation.steps import STEPS as JUDGEMENTS
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.curation import Curate
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.recipe.steps import content_of, steps_of

CONCEPTS = {"captioners": [{"kind": "retrieved"}]}
SECTIONS = {
    "text": {"caption_length": {}},
    "match": {},
    "preselect": {},
    "download": {},
    "image": {"image_size": {}},
    "deduplicate": {"captions": {}, "linked": {"min_cosine": 0.9}},
    "safety": {"domains": ["d.txt"]},
    "decontaminate": {"sets": {"val": "/v"}},
    "recaption": CONCEPTS,
    "rank": {"adapter": "head", "keep_top": 0.5},
    "align": {"keep_top": 0.3},
    "image_based": {"target": "/t"},
    "balance": {"t": 5},
}
STEPS = {
    "text": ["check_texts"],
    "match": ["match_concepts", "count_concepts", "match_again"],
    "download": ["download", "check_images"],
    "image": [],  # check_images also refuses pictures that an earlier version recorded and that are too costly
    "deduplicate": [f"deduplicate_{kind}" for kind in ("exact", "perceptual", "semantic", "linked", "captions")],
    "safety": ["block_domains", "safety"],
}
READ_MATCHES = ("preselect", "recaption", "balance")
READ_PICTURES = ("image", "deduplicate", "safety", "decontaminate", "recaption", "rank", "align", "image_based")
MERGED_PICTURES = ("exact", "perceptual", "semantic", "linked")
SOURCES = [{"kind": "csv", "path": "p.csv"}]
NO_URL = {"kind": "csv", "path": "p.csv", "url": None}


def recipe_of(curate: dict, **fields) -> Recipe:
    return Recipe.model_validate({"name": "x", "seed": 1, "sources": SOURCES, "curate": curate, **fields})


def names_of(recipe: Recipe) -> list[str]:
    return [step.name for step, _ in steps_of(recipe)]


def problem(tmp_path: Path, curate: dict, **fields) -> str:
    """The one line that says what is wrong with a recipe."""
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "seed": 1, "sources": SOURCES, "curate": curate, **fields}))
    with pytest.raises(RecipeError) as error:
        read_recipe(path)
    (line,) = str(error.value).splitlines()
    return line


def test_every_section_is_tried_but_those_that_are_the_rule_of_a_step_by_the_ledger_alone():
    judgements = {judgement.section: judgement for judgement in JUDGEMENTS.values()}
    untried = [name for name in Curate.model_fields if name != "preset" and name not in SECTIONS]
    assert [name for name in untried if not isinstance(judgements[name].rejudge, ByLedger)] == []


@given(st.sets(st.sampled_from([*SECTIONS])))
def test_a_section_that_is_left_out_is_as_one_that_is_null_and_its_step_is_not_planned(off):
    if "match" in off:
        off |= {*READ_MATCHES}
    if "balance" in off:
        off |= {"preselect"}
    if "download" in off:
        off |= {*READ_PICTURES}
    left_out = recipe_of({name: rule for name, rule in SECTIONS.items() if name not in off})
    null = recipe_of({name: None if name in off else rule for name, rule in SECTIONS.items()})
    assert left_out == null
    assert content_of(left_out) == content_of(null)
    assert names_of(left_out) == names_of(null)
    steps = {name: STEPS.get(name, [name]) for name in SECTIONS}
    uses_features = not {"deduplicate", "decontaminate", "recaption", "rank", "align", "image_based"} <= off
    on = {step for name in SECTIONS if name not in off for step in steps[name]} | {"collect"}
    on |= {"embed_images"} if uses_features else set()
    assert {*names_of(left_out)} == on - ({"match_again"} if "download" in off else set())


def test_without_any_section_pairs_are_collected_and_all_kept():
    assert names_of(recipe_of({})) == ["collect"]


def test_captions_can_be_matched_without_balancing():
    assert names_of(recipe_of({"match": {}})) == ["collect", "match_concepts", "count_concepts"]


def test_without_a_download_captions_of_the_pool_can_be_merged():
    recipe = recipe_of(
        {
            "match": {},
            "preselect": {},
            "deduplicate": {"captions": {"scope": "pool"}},
            "safety": {"detector": None, "domains": ["d.txt"]},
            "balance": {"t": 5},
        }
    )
    assert names_of(recipe) == [
        *("collect", "block_domains", "match_concepts", "count_concepts", "preselect"),
        *("deduplicate_captions", "balance"),
    ]
    assert content_of(recipe)["curate"]["deduplicate"]["exact"] is False


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"balance": {"t": 5}}, "match must be on for balance; got none. Write `match: {}`, or leave that out."),
        ({"match": None, "balance": {"t": 5}, "preselect": {}}, "match must be on for preselect, balance; got none"),
        ({"recaption": CONCEPTS, "download": {}}, "match must be on for recaption by retrieved concepts; got none"),
        ({"match": {}, "preselect": {}}, "balance must be on for preselect; got none. Write `balance: {t: 20000}`"),
    ],
)
def test_a_section_that_reads_matches_is_refused_without_them(tmp_path, sections, words):
    assert problem(tmp_path, sections).startswith(f"`curate`: {words}")


@pytest.mark.parametrize("sections", [{}, {"recaption": CONCEPTS, "balance": {"t": 5}, "preselect": {}}])
def test_pairs_without_a_concept_are_kept_for_recaption_alone_and_not_where_concepts_are_drawn_before(
    tmp_path, sections
):
    kept = {"match": {"unmatched": "keep"}, "download": {}}
    line = problem(tmp_path, kept | sections)
    assert line.startswith("`curate`: match.unmatched must be drop without recaption")
    rules = {step.name: rule for step, rule in steps_of(recipe_of(kept | {"recaption": CONCEPTS}))}
    assert (rules["match_concepts"].unmatched, rules["match_again"].unmatched) == ("keep", "drop")


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"image": {"image_size": {}}}, "image"),
        ({"preset": "datacomp_clip_score"}, "align"),
        ({"align": {"keep_top": 0.3}, "recaption": CONCEPTS}, "recaption, align"),
        ({"rank": {"adapter": "head", "keep_top": 0.5}}, "rank"),
        ({"image_based": {"target": "/t"}}, "image_based"),
        ({"decontaminate": {"sets": {"val": "/v"}}}, "decontaminate"),
        ({"deduplicate": {"exact": True}}, "deduplicate.exact"),
        ({"deduplicate": {"perceptual": 16, "semantic": 0.9}}, "deduplicate.perceptual, deduplicate.semantic"),
        ({"deduplicate": {"linked": {"min_cosine": 0.9}}}, "deduplicate.linked"),
        ({"deduplicate": {"captions": {}}}, "deduplicate.captions.scope image"),
        ({"safety": {"domains": ["d.txt"]}}, "safety.detector"),
        ({"safety": {"detector": None, "files": ["f.txt"]}}, "safety.files"),
    ],
)
@pytest.mark.parametrize("off", [{}, {"download": None}])
def test_a_section_that_reads_pictures_is_refused_without_a_download(tmp_path, off, section, named):
    line = problem(tmp_path, {"match": {}, **off, **section})
    assert line.startswith(
        f"`curate`: {named} must have the pictures that `download` reads; curate has no `download`. "
    )
    assert "Write a line `download: {}` in curate: of a folder or shards it reads the pictures that are there" in line


def test_all_that_is_missing_is_said_at_once(tmp_path):
    line = problem(tmp_path, {"preselect": {}, "align": {"keep_top": 0.3}})
    assert [word in line for word in ("match must", "balance must", "`download` reads")] == [True] * 3


@pytest.mark.parametrize(
    ("fields", "curate", "words"),
    [
        (
            {"classes": [{"list": "a.txt"}]},
            {},
            "classes must have the pictures that `download` reads; curate has no `download`. Write a line",
        ),
        ({"features": {"model": "embedded"}}, {}, "features must have the pictures that `download` reads"),
        ({"sources": [NO_URL]}, {"download": {}}, "takes no download (leave it out of curate)"),
        ({"sources": [NO_URL], "labels": {"file": "l.csv"}}, {}, "takes no labels of a file or a split"),
        (
            {"sources": [NO_URL]},
            {"match": {}, "balance": {"t": 5, "texts": "one_per_image"}},
            "takes no balance.texts: one_per_image",
        ),
        ({"sources": [NO_URL]}, {"safety": {"detector": None, "domains": ["d.txt"]}}, "takes no safety.domains"),
        ({"sources": [{"kind": "wat", "path": "w", "url": None}]}, {}, "url: null is for kinds parquet, csv, jsonl"),
    ],
)
def test_what_needs_pictures_or_urls_is_refused_where_there_are_none(tmp_path, fields, curate, words):
    assert words in problem(tmp_path, curate, **fields)
