"""Settings of a recipe, each judged by what heads learn of the pairs that it would keep; nothing is built."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from evenly.audit.errors import CannotTellError
from evenly.audit.supposed import WhatIf
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import changed_fields, content_of
from evenly.flows.recipe.untrusted_yaml import UnreadableYamlError, read_yaml
from evenly.flows.recipe.what_if import build_of_recipe, what_if
from evenly.flows.runs import in_shared_use, run_in
from evenly.options import TuneOptions
from evenly.signatures import options_of, taking_values
from evenly.storage.errors import InputError
from evenly.tasks.encoders import frozen_run
from evenly.tasks.refining.tune import Setting, judge_settings
from evenly.tasks.server.jobs import job


@job("tune-recipe", flow_run_name="tune {recipe}")
@in_shared_use
@taking_values(TuneOptions)
def tune_recipe(recipe: str, tries: Sequence[str], **values: object) -> dict[str, Any]:
    """The build that was judged by, and what `judge_settings` says of each setting in `tries`.

    Raises InputError where the recipe is not the build's, or no setting can be judged by what was recorded.
    """
    options, chosen = options_of(TuneOptions, values), read_recipe(recipe)
    build = build_of_recipe(chosen, None, root=options.root)
    if differing := changed_fields(build.manifest["recipe"], content_of(chosen)):
        raise InputError(
            f"`recipe` must be that of its newest build, `{build.name}`; {', '.join(differing)} differ. Rebuild first."
        )
    supposed, skipped = dict[str, Setting](), dict[str, str]()
    for name, changes in settings_of(tries, is_product=options.product).items():
        try:
            supposed[name] = _setting(what_if(recipe, changes, build=build.name, root=options.root))
        except CannotTellError as error:
            skipped[name] = str(error)
    if not supposed:
        raise InputError(f"`try` must have a setting that can be judged; got none. {next(iter(skipped.values()))}")
    run = frozen_run(run_in(chosen, root=options.root, quiet=options.quiet))
    result = judge_settings(run, build.manifest, supposed, seeds=options.seeds)
    return {"build": build.name, **result, "skipped": skipped | result["skipped"]}


def _setting(supposed: WhatIf) -> Setting:
    """The pairs that are known to be kept, with the captions that are chosen for them."""
    is_chosen = any("chosen_caption" in record.columns for record in supposed.records)
    columns = ["image_id", "chosen_caption" if is_chosen else "caption"]
    pairs = supposed.ledger.alive(supposed.records, columns).rename_columns(["uid", "image_id", "caption"])
    return Setting(pairs=pairs, unknown=supposed.unknown)


def settings_of(tries: Sequence[str], *, is_product: bool = False) -> Mapping[str, Sequence[str]]:
    """Changes as `what-if` takes them, by their words: one field each, or one value of every field together.

    tries: texts like `align.keep_top=.3,.5,.7`. Raises InputError.
    """
    fields = [_values_of(text) for text in tries]
    if not fields:
        raise InputError("`try` must name a field and its values, as align.keep_top=.3,.5; got none. Add it.")
    settings = list(product(*fields)) if is_product else [(change,) for changes in fields for change in changes]
    return {", ".join(changes): changes for changes in settings}


def _values_of(text: str) -> list[str]:
    name, equals, listed = text.partition("=")
    try:
        values = read_yaml(f"[{listed}]")
    except UnreadableYamlError as error:
        raise InputError(f"`try` must give values of YAML; got {listed!r}: {error}. Correct it.") from None
    if not equals or not name.strip() or not values:
        raise InputError(f"`try` must be FIELD=VALUE,VALUE, as align.keep_top=.3,.5; got {text!r}. Correct it.")
    return [f"{name.strip()}={json.dumps(value)}" for value in values]
