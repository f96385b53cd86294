"""What is new in a recipe and left out changes no key and no content hash, for every section, rule and field.

python tests/flows/recipe/test_stored_fields.py    # pins the defaults of fields that are new
"""

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from pydantic import BaseModel, create_model

from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS
from evenly.curation.steps import STEPS
from evenly.flows.recipe import Recipe
from evenly.flows.recipe.steps import OUTSIDE_CONTENT, content_of
from evenly.storage.records import ALWAYS, ALWAYS_IN_RECIPES, _defaults, stored_fields
from evenly.tasks.captions import CAPTIONERS
from evenly.tasks.step import Step

ROOT = Path(__file__).parents[3]
PINNED = Path(__file__).with_name("stored_defaults.json")
ON = {"match": {}, "download": {}, "deduplicate": {}, "balance": {"t": 5}}
RECIPE = Recipe.model_validate(
    {"name": "x", "seed": 1, "sources": [{"kind": "csv", "path": "p"}], "features": {"precision": "bf16"}, "curate": ON}
)


def classes_in(hint: object) -> Iterator[type]:
    """The classes with fields that a type names, and those that their fields do."""
    if isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, BaseModel)):
        yield hint
        outside = OUTSIDE_CONTENT.get(hint.__name__, "").split()
        for name in [one.name for one in fields(hint)] if is_dataclass(hint) else hint.model_fields:
            if name not in outside:
                yield from classes_in(get_type_hints(hint)[name])
    for part in get_args(hint):
        yield from classes_in(part)


def all_classes() -> dict[str, type]:
    """Every section of a recipe that is content, and every rule of a step, a filter and a captioner, by its name."""
    is_step = re.compile(r"\bStep\(|\bname=")
    files = [path for path in sorted((ROOT / "tasks").rglob("*.py")) if is_step.search(path.read_text())]
    names = [".".join(("evenly", *path.relative_to(ROOT).with_suffix("").parts)) for path in files]
    steps = [value for name in names for value in vars(import_module(name)).values() if isinstance(value, Step)]
    plugins = [*TEXT_FILTERS.values(), *IMAGE_FILTERS.values(), *CAPTIONERS.values()]
    roots = [Recipe, *(one.rule for one in [*steps, *STEPS.values(), *plugins])]
    return {kind.__name__: kind for root in roots for kind in classes_in(root)}


CLASSES = all_classes()


def later_defaults() -> dict[str, dict[str, str]]:
    """The defaults that are not stored, by class and field: whoever changes one changes what stored rules mean."""
    made = {}
    for name, kind in sorted(CLASSES.items()):
        tables = [ALWAYS, OUTSIDE_CONTENT, *([ALWAYS_IN_RECIPES] if issubclass(kind, BaseModel) else [])]
        known = " ".join(table.get(name, "") for table in tables).split()
        later = {one: repr(value) for one, value in _defaults(kind) if value is not MISSING and one not in known}
        made |= {name: later} if later else {}
    return made


def with_new_field(kind: type) -> type:
    """A class of the same name that has one field more, which can be left out."""
    if issubclass(kind, BaseModel):
        return create_model(kind.__name__, __base__=kind, new=(dict[str, int] | None, None))
    new = [("new", tuple[int, ...], field(default=(7,)))]
    return make_dataclass(kind.__name__, new, bases=(kind,), frozen=True, kw_only=True)


def left_out(kind: type) -> object:
    """An instance with as little said as may be; nothing is checked."""
    made = object.__new__(kind)
    values = {name: "said" if value is MISSING else value for name, value in _defaults(kind)}
    for name, value in {"__pydantic_fields_set__": set(), "__pydantic_private__": None, **values}.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize("in_recipe", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_a_new_field_is_stored_where_it_is_said_and_not_where_it_is_left_out(name, in_recipe):
    before, now = left_out(CLASSES[name]), left_out(with_new_field(CLASSES[name]))
    assert stored_fields(now, in_recipe=in_recipe) == stored_fields(before, in_recipe=in_recipe)
    object.__setattr__(now, "new", {"a": 1})
    assert stored_fields(now, in_recipe=in_recipe) == stored_fields(before, in_recipe=in_recipe) | {"new": {"a": 1}}


@pytest.mark.parametrize("section", ["Recipe", "Curate", *(name for name in vars(RECIPE.curate) if name in ON)])
def test_the_content_of_a_recipe_stays_where_a_section_gets_another(section):
    curate, now = RECIPE.curate, RECIPE
    if section == "Recipe":
        now = with_new_field(Recipe).model_construct(**vars(RECIPE))
    elif section == "Curate":
        now = RECIPE.model_copy(update={"curate": with_new_field(type(curate))(**dict(curate))})
    else:
        old = getattr(curate, section)
        kind = with_new_field(type(old))
        new = left_out(kind)
        for name, value in vars(old).items():
            object.__setattr__(new, name, value)
        now = RECIPE.model_copy(update={"curate": curate.model_copy(update={section: new})})
    assert content_of(now) == content_of(RECIPE)


def test_a_default_that_is_not_stored_stays_as_it_is():
    """Else raise the version of the steps that read it: a stored rule without the field would mean something new.

    The default of a field that is new is pinned by running this file; those of a class that is new, with its release.
    """
    pinned = json.loads(PINNED.read_text())
    assert {name: fields for name, fields in later_defaults().items() if name in pinned} == pinned


def test_what_is_always_stored_is_a_closed_list_of_fields_that_can_be_left_out():
    tables = (ALWAYS, ALWAYS_IN_RECIPES)
    assert [sum(len(names.split()) for names in table.values()) for table in tables] == [154, 61]
    for table in tables:
        for name, listed in table.items():
            can_be = {one for one, value in _defaults(CLASSES[name]) if value is not MISSING}
            assert {*listed.split()} <= can_be, name


if __name__ == "__main__":
    PINNED.write_text(json.dumps(later_defaults(), indent=1, sort_keys=True) + "\n")
