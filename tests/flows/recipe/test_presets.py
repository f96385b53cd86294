from pathlib import Path

import pytest
import yaml

from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.curation import NEED_TARGET, PRESETS
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.recipe.steps import steps_of

ENGLISH = {"languages": ["en"], "min_confidence": 0.5}


CONCEPTS = {"captioners": [{"kind": "retrieved"}]}


def rules(tmp_path: Path, **curate) -> dict:
    """The rule of each step of a recipe with these sections."""
    path = tmp_path / "r.yaml"
    sources = [{"kind": "csv", "path": "p.csv"}]
    on = {"match": {}, "download": {}, "deduplicate": {}, "balance": {"t": 5}}
    recipe = {"name": "x", "seed": 1, "sources": sources, "curate": on | curate}
    path.write_text(yaml.safe_dump(recipe))
    return {step.name: step.stored(rule) for step, rule in steps_of(read_recipe(path))}


def test_the_basic_filter_is_datacomps(tmp_path):
    found = rules(tmp_path, preset="datacomp_basic")
    texts, images = found["check_texts"], found["check_images"]
    assert texts["caption_length"] == {"min_words": 3, "max_words": None}
    assert texts["caption_characters"] == {"min_characters": 6, "max_characters": None}
    assert texts["caption_language"].items() >= ENGLISH.items()
    assert images == {"image_size": {"min_side": 200}, "image_aspect": {"max_aspect": 3.0}}
    assert set(texts) == {"caption_length", "caption_characters", "caption_language"}
    assert "align" not in found


def test_image_based_and_clip_score_intersect(tmp_path):
    found = rules(tmp_path, preset="datacomp_image_based_and_clip_score", image_based={"target": "imagenet"})
    assert found["check_texts"]["caption_length"] == {"min_words": 2, "max_words": None}
    assert found["align"] == {"keep_top": 0.3}
    assert found["image_based"] == {"target": "imagenet", "clusters": None, "iterations": 20}
    assert list(found).index("embed_images") < list(found).index("align") < list(found).index("image_based")


def test_text_based_looks_up_entities(tmp_path):
    texts = rules(tmp_path, preset="datacomp_text_based")["check_texts"]
    assert texts["caption_entities"] == {"wordnet": "auto", "sha256": ""}
    assert set(texts) == {"caption_language", "caption_entities"}


def test_what_the_recipe_gives_itself_goes_before_the_preset(tmp_path):
    own = {"caption_length": {"min_words": 5}, "caption_repeats": {}}
    found = rules(tmp_path, preset="datacomp_basic", text=own, align={"min_score": 0.28})
    assert found["check_texts"]["caption_length"]["min_words"] == 5
    assert {"caption_repeats", "caption_characters"} < set(found["check_texts"])
    assert rules(tmp_path, preset="datacomp_clip_score", align={"min_score": 0.28})["align"] == {"min_score": 0.28}


def test_what_the_recipe_sets_to_null_is_off(tmp_path):
    checked = rules(tmp_path, preset="datacomp_basic", text=None, image={"image_aspect": None})
    assert "check_texts" not in checked
    assert [*checked["check_images"]] == ["image_size"]


@pytest.mark.parametrize("name", sorted(NEED_TARGET))
def test_a_preset_that_needs_a_target_says_so(tmp_path, name):
    with pytest.raises(RecipeError, match="needs image_based with a target"):
        rules(tmp_path, preset=name)


def test_an_unknown_preset_names_the_known_ones(tmp_path):
    with pytest.raises(RecipeError, match=rf"preset `basic` is unknown. Known: {', '.join(sorted(PRESETS))}"):
        rules(tmp_path, preset="basic")


def test_evaluation_sets_are_looked_for_after_duplicates_and_before_captions_are_made(tmp_path):
    found = rules(
        tmp_path,
        decontaminate={"sets": {"val": "val"}},
        recaption={"captioners": [{"kind": "retrieved"}]},
        deduplicate={"semantic": None},
    )
    names = list(found)
    assert names.index("deduplicate_perceptual") < names.index("decontaminate") < names.index("recaption")
    assert "embed_images" in names
    assert found["decontaminate"] == {"sets": {"val": "val"}, "perceptual": 16, "semantic": 0.95, "colour": 22.0}


def test_domains_are_blocked_first_and_pictures_after_duplicates(tmp_path):
    found = rules(tmp_path, safety={"domains": ["d.txt"], "detector": None}, decontaminate={"sets": {"val": "val"}})
    names = list(found)
    assert names[:2] == ["collect", "block_domains"]
    assert names.index("deduplicate_semantic") < names.index("safety") < names.index("decontaminate")
    assert found["safety"] == {"detector": None, "files": [], "looks": [], "max_distance": 4, "domains": ["d.txt"]}
    assert "block_domains" not in rules(tmp_path, safety={})


def test_safety_that_looks_for_nothing_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="needs a detector, files, looks or domains"):
        rules(tmp_path, safety={"detector": None})
