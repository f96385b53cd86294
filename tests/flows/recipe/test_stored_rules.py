"""Rules as the ledger stores them, and the keys that hang on them: `stored_rules.json` was written once and stays.

python tests/flows/recipe/test_stored_rules.py    # writes it anew: every workspace then computes everything again
"""

import json
from pathlib import Path
from typing import Any

import pytest

from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.files import DEMO, TEMPLATE
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.storage.ledger import StepSpec
from evenly.storage.records import content_hash

PINNED = Path(__file__).with_name("stored_rules.json")
SHIPPED = {"demo": DEMO, "template": TEMPLATE}
ON = {"match": {}, "download": {}, "deduplicate": {}}
CURATE: dict[str, dict[str, Any]] = {
    "smallest": {"balance": {"t": 5}},
    "unbalanced": {"match": None, "balance": None, "text": {"caption_length": {}}},
    "by_language": {
        "match": {"metadata": "lists.json", "language": "detected_language"},
        "preselect": {},
        "balance": {"target": 9, "law": "v2", "texts": "one_per_image", "language": "detected_language"},
    },
    "shares_of_tails": {"preselect": {"headroom": 3}, "balance": {"tail_share": 0.06}},
    "reference": {
        "match": {"metadata": "lists.json", "language": "lang"},
        "balance": {"t": 9.5, "language": "lang", "reference": "de"},
    },
    "filters": {
        "preset": "datacomp_image_based_and_clip_score",
        "text": {"caption_repeats": {}, "caption_blocklist": {"file": "words.txt"}, "caption_entities": {}},
        "image": {"image_size": {"min_side": 64}, "image_aspect": {}},
        "image_based": {"target": "/data/target", "clusters": 7, "iterations": 3},
        "balance": {"t": 5},
    },
    "excluded": {
        "safety": {
            "detector": {"threshold": 0.5, "classes": ["ANUS_EXPOSED"]},
            "files": ["f.txt"],
            "looks": ["l.txt"],
            "domains": ["d.txt", "e.txt"],
        },
        "decontaminate": {"sets": {"b": "/b", "a": "/a"}, "perceptual": None, "colour": None},
        "image_based": {"target": "/data/target"},
        "balance": {"t": 5},
    },
    "harmless": {"safety": {}, "decontaminate": {"sets": {"a": "/a"}}, "balance": {"t": 5}},
    "lists_only": {"safety": {"detector": None, "files": ["f.txt"]}, "balance": {"t": 5}},
    "merged": {
        "deduplicate": {
            "perceptual": 4,
            "shifted": None,
            "semantic": 0.9,
            "colour": None,
            "captions": {"scope": "pool"},
            "linked": {"min_cosine": 0.9},
            "tables": 32,
        },
        "balance": {"t": 5},
    },
    "bytes_only": {
        "deduplicate": {"perceptual": None, "semantic": None, "linked": {"min_cosine": 1, "weight": 0}},
        "balance": {"t": 5},
    },
    "scored": {
        "recaption": {"captioners": [{"kind": "retrieved"}]},
        "align": {"min_score": 0},
        "rank": {"adapter": "head", "keep_top": 1},
        "balance": {"t": 5},
    },
    "ranked": {"rank": {"adapter": "head", "min_score": -2}, "align": {"keep_top": 1}, "balance": {"t": 5}},
    "patient": {
        "download": {"timeout_s": 5, "max_wait_s": 0, "respect": [], "tolerate": ["http_404"], "user_agent_token": "x"},
        "balance": {"t": 5},
    },
}
SOURCES = [
    {"kind": "csv", "path": "p.csv", "name": "a", "weight": 0.5, "quota": 3},
    {"kind": "folder", "path": "p", "name": "b", "quota": 5},
    {"kind": "webdataset", "path": "p.tar", "name": "c", "weight": 1},
    {"kind": "jsonl", "path": "p.jsonl"},
]


def recipes() -> dict[str, Recipe]:
    """The recipes that ship, and some that use what those leave out."""
    head = {"name": "x", "seed": 1, "sources": SOURCES}
    made = {name: Recipe.model_validate(head | {"curate": ON | curate}) for name, curate in CURATE.items()}
    shares = [{"kind": "csv", "path": f"{name}.csv", "name": name, "share": 0.5} for name in "ab"]
    made["shares"] = Recipe.model_validate(head | {"sources": shares, "curate": ON | CURATE["smallest"]})
    return {name: read_recipe(path) for name, path in SHIPPED.items()} | made


def stored(recipe: Recipe, limit: int | None = None) -> dict[str, Any]:
    """The rule of each step as it is stored, its key without inputs, and the hash of the recipe's content."""
    steps = []
    for step, rule in steps_of(recipe, limit=limit):
        seed = recipe.seed if step.seeded else None
        spec = StepSpec(name=step.name, version=step.version, rule=step.stored(rule), inputs={}, seed=seed)
        steps.append({"step": step.name, "rule": step.stored(rule), "key": spec.key})
    return {"content": content_hash(content_of(recipe)), "steps": steps}


def all_stored() -> dict[str, Any]:
    """What is pinned, as JSON has it."""
    made = {name: stored(recipe) for name, recipe in recipes().items()} | {"trial": stored(read_recipe(DEMO), limit=99)}
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


@pytest.mark.parametrize("name", json.loads(PINNED.read_text()) if PINNED.exists() else [])
def test_rules_are_stored_as_they_always_were(name):
    assert all_stored()[name] == json.loads(PINNED.read_text())[name]


def test_every_recipe_is_pinned():
    assert all_stored().keys() == json.loads(PINNED.read_text()).keys()


if __name__ == "__main__":
    PINNED.write_text(json.dumps(all_stored(), indent=1, sort_keys=True) + "\n")
