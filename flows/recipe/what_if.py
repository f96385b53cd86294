"""The rules of a build with fields of `curate` changed: what `what-if` judges by."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from evenly.audit.published import PublishedBuild
from evenly.audit.supposed import WhatIf
from evenly.audit.what_if import SupposedStep, recorded_deciles, suppose
from evenly.curation.balance.judgement import BALANCE, MIX_SOURCES
from evenly.curation.captions.judgement import RECAPTION
from evenly.curation.concepts.judgement import MATCH_CONCEPTS
from evenly.curation.values.rule import named_bounds
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.curation import Curate
from evenly.flows.recipe.problems import describe_problems, with_values
from evenly.flows.recipe.steps import changed_fields, content_of, curating_steps
from evenly.flows.recipe.untrusted_yaml import UnreadableYamlError, read_yaml
from evenly.signatures import Place
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.workspace import Workspace

_SECTION = "curate"


def build_of_recipe(recipe: Recipe, build: str | None, *, root: Place | None) -> PublishedBuild:
    """The build of a recipe that was promoted last, the newest where none was, or the one that is named.

    Raises InputError where the recipe has none, or differs from it outside of `curate`.
    """
    workspace = Workspace.at(root)
    builds = Builds(workspace)
    name = build or builds.latest_of(recipe.name)
    if name is None:
        names = [manifest["build"] for manifest in builds.manifests() if manifest["recipe_name"] == recipe.name]
        if not names:
            raise InputError(
                f"`recipe` must have a build in this workspace; `{recipe.name}` has none. Rebuild it first."
            )
        name = names[-1]
    manifest = builds.read(name)
    differing = [
        name for name in changed_fields(manifest["recipe"], content_of(recipe)) if not name.startswith("curate.")
    ]
    if differing:
        raise InputError(
            f"`recipe` must be that of build `{manifest['build']}` but for `curate`; {', '.join(differing)} differ. "
            "Rebuild and promote, or ask of another build with --build."
        )
    return PublishedBuild(workspace, manifest)


def curate_of(build: PublishedBuild) -> dict[str, Any]:
    """The section `curate` of a build's recipe, as a recipe file has it, without what follows from its other fields."""
    curate: dict[str, Any] = dict(build.manifest["recipe"][_SECTION])
    if section := curate.get(RECAPTION.section):
        captioners = [
            {**entry["rule"], "kind": entry["kind"], "name": entry["name"]} for entry in section["captioners"]
        ]
        curate[RECAPTION.section] = {**section, "captioners": captioners}
    balance = curate.get(BALANCE.section) or {}
    if "reference" in balance and (balance.get("language") is None or balance.get("tail_share") is not None):
        curate[BALANCE.section] = {name: value for name, value in balance.items() if name != "reference"}
    if match := curate.get(MATCH_CONCEPTS.section):
        unless_said = match.get("mode") == "normalized" and match.get("language") is None
        curate[MATCH_CONCEPTS.section] = {
            name: value for name, value in match.items() if (name, value) != ("plurals", unless_said)
        }
    return curate


def read_changes(changes: Sequence[str], field: str = "set") -> dict[str, Any]:
    """Fields of `curate` and their values, out of texts like `align.keep_top=0.5`; null: off."""
    read = dict[str, Any]()
    for text in changes:
        name, equals, value = text.partition("=")
        name = name.strip().removeprefix(f"{_SECTION}.")
        if not equals or not name:
            raise InputError(f"`{field}` must be FIELD=VALUE, as align.keep_top=0.5; got {text!r}. Correct it.")
        try:
            read[name] = read_yaml(value)
        except UnreadableYamlError as error:
            raise InputError(f"`{field}` must give a value of YAML; got {value!r}: {error}. Correct it.") from None
    return read


def what_if(recipe: Place, changes: Sequence[str], *, build: str | None = None, root: Place | None = None) -> WhatIf:
    """The promoted build of a recipe, or another, as it would be by the recipe's `curate` with some fields changed."""
    read = _changed_recipe(recipe, read_changes(changes))
    return _suppose(build_of_recipe(read, build, root=root), read.curate)


def curve(
    recipe: Place, changes: Sequence[str], field: str, *, build: str | None = None, root: Place | None = None
) -> tuple[str, list[dict[str, Any]]]:
    """The field, and for each of several values of it the pairs kept and the share of the tail in their matches.

    field: FIELD=VALUE,VALUE,…, or a field alone: of a bound of recorded numbers their deciles, of a share .1 to 1, of
    another number a quarter to four times.
    """
    chosen = read_changes(changes)
    changed = _changed_recipe(recipe, chosen)
    published, rows = build_of_recipe(changed, build, root=root), list[dict[str, Any]]()
    name, equals, texts = field.partition("=")
    name = name.strip().removeprefix(f"{_SECTION}.")
    if equals:
        values = [value for text in texts.split(",") for value in read_changes([f"{name}={text}"]).values()]
    else:
        value = _value_of(changed.curate, name)
        deciles = recorded_deciles(published, name, named_bounds(changed.curate.values or {}))
        is_set = isinstance(value, int | float)
        values = sorted({*deciles, *([value] if is_set else [])}) if deciles else _around(name, value)
    for value in values:
        supposed = _suppose(published, _changed_recipe(recipe, {**chosen, name: value}).curate)
        least, most = supposed.bounds or (None, None)
        balanced = supposed.balancing["after"] or {"tail_share": None}
        rows.append(
            {
                "value": value,
                "kept": supposed.kept["after"],
                "least": least,
                "most": most,
                "unknown": supposed.unknown,
                "tail_share": balanced["tail_share"],
            }
        )
    return name, rows


def _changed_recipe(recipe: Place, changes: Mapping[str, Any]) -> Recipe:
    return read_recipe(recipe, {f"{_SECTION}.{name}": value for name, value in changes.items()})


def _value_of(curate: Curate, name: str) -> object:
    value: object = curate
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
    return value


def _around(name: str, value: object) -> list[int | float]:
    """Values of a field to be tried, of which it has this one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"`curve` must give values of `{name}`, which holds no number; write {name}=1,2,3.")
    if isinstance(value, float) and 0 < value <= 1:
        return [tenth / 10 for tenth in range(1, 11)]
    tried = [value * factor for factor in (0.25, 0.5, 0.75, 1, 1.5, 2, 4)]
    return sorted({round(number) for number in tried} if isinstance(value, int) else {*tried})


def what_if_of(build: PublishedBuild, changes: Sequence[str]) -> WhatIf:
    """A build as it would be by its own `curate` with some fields changed."""
    try:
        curate = Curate.model_validate(with_values(curate_of(build), read_changes(changes)))
    except ValidationError as error:
        raise InputError(f"`set` must give a recipe that holds: {' '.join(describe_problems(error, Curate))}") from None
    return _suppose(build, curate)


def _suppose(build: PublishedBuild, curate: Curate) -> WhatIf:
    mixing = build.step(MIX_SOURCES.name)
    mix = None if mixing is None else MIX_SOURCES.stored_rule(mixing.rule)
    steps = curating_steps(curate, limit=build.manifest["limit"], mix=mix)
    seed = int(build.manifest["recipe"]["seed"])
    return suppose(build, [SupposedStep(name=step.name, rule=step.stored(rule), seed=seed) for step, rule in steps])
