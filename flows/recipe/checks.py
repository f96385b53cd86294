"""Check a recipe against this machine: that models, packages, pools, columns, class lists and files are there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path

from evenly.audit.safe_text import visible
from evenly.bounds import columns_named
from evenly.curation.concepts.matching import BUNDLED
from evenly.curation.errors import RuleError
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS
from evenly.descriptions.errors import ClassListError
from evenly.features.captioning import check_caption_model_name
from evenly.features.errors import UnknownModelError
from evenly.features.open_clip_models import check_model_name
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.files import ClassListing, ListingFileError, read_listing
from evenly.flows.recipe.needs import missing_needs
from evenly.flows.recipe.pools.detection import FILE_NAME, MOSTLY, first_values, is_web, share
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.runs import run_in
from evenly.signatures import Place
from evenly.storage.errors import InputError
from evenly.storage.pools.columns import COLUMNS_OF_STEPS, PoolSource, pool_names
from evenly.storage.pools.folders import folder_columns
from evenly.storage.pools.rows import PoolError
from evenly.storage.pools.source import READERS, TABLE_READERS, LabelFile, read_labels, source_files
from evenly.storage.stores.connection import is_url
from evenly.tasks.captions.decoded import DecodedRule
from evenly.tasks.run import LabelColumns, Run

_HEADED = ("parquet", "csv", "wat")  # whose headers tell all columns
_ARRIVAL = {"file_hash", "row", "reject"}  # that pairs do not keep


def check_recipe(path: Place, *, root: Place | None = None) -> Recipe:
    """Read a recipe and check that what it names is there: models, pools, columns, class lists, other files.

    Of each table the first rows of the first file are read. Pools in object stores are not looked at, nor those of the
    demo's web before the recipe has made it; columns of labels only where headers tell them all. Raises RecipeError.
    """
    recipe, problems = _read(path)
    run = run_in(recipe, root=root, quiet=True)
    demo_folder = run.cache / "demo" if recipe.web == "openmoji" else None
    pools: list[tuple[PoolSource, list[Path]]] = []
    for place, source in enumerate(run.sources):
        if is_url(source.path):
            continue
        try:
            files = source_files(source)
        except PoolError as error:
            if demo_folder is None or not Path(source.path).is_relative_to(demo_folder):
                problems.append(f"`sources.{place}.{str(error).removeprefix('`')}")
            continue
        pools.append((source, files))
        if source.kind in TABLE_READERS:
            problems += [f"`sources.{place}.{problem}" for problem in _of_columns(source, files[0])]
    problems += _of_labels(run.labels)
    if len(pools) == len(run.sources):
        problems += _of_named_columns(recipe, run.labels, pools)
    problems += [problem for place, listing in enumerate(recipe.classes) for problem in _of_list(path, place, listing)]
    for field, name in _named_files(recipe):
        file = Path(run.locate(name))
        if not file.exists() and (demo_folder is None or not file.is_relative_to(demo_folder)):
            problems.append(f"`{field}` must be there; got `{file}`, which is not. Correct it.")
    problems += _of_regions(recipe, run)
    if problems:
        raise RecipeError("\n".join(problems))
    return recipe


def _read(path: Place) -> tuple[Recipe, list[str]]:
    """A recipe and what it lacks; of one with problems what is left without these, and the problems."""
    try:
        recipe = read_recipe(path)
    except RecipeError as error:
        if error.rest is None:
            raise
        return error.rest, str(error).splitlines()
    return recipe, [*_of_models(recipe), *missing_needs(recipe)]


def _named_files(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Files and folders beside pools and class lists that a recipe names, by field."""
    labels, curate = recipe.labels, recipe.curate
    named: dict[str, str | None] = {
        f"classes.{place}.given": listing.given for place, listing in enumerate(recipe.classes)
    }
    if labels is not None:
        named |= {"labels.file": labels.file, "labels.split": labels.split}
    if curate.match is not None and curate.match.metadata not in BUNDLED:
        named["curate.match.metadata"] = curate.match.metadata
    if curate.safety is not None:
        lists = {name: getattr(curate.safety, name) for name in ("files", "looks", "domains")}
        named |= {f"curate.safety.{name}.{n}": path for name, paths in lists.items() for n, path in enumerate(paths)}
    if curate.decontaminate is not None:
        named |= {f"curate.decontaminate.sets.{name}": path for name, path in curate.decontaminate.sets.items()}
    if curate.image_based is not None:
        named["curate.image_based.target"] = curate.image_based.target
    if curate.regions is not None:
        named["curate.regions.texts"] = curate.regions.texts
        named["curate.regions.detector"] = curate.regions.detector
    for name, value in (curate.values or {}).items():
        if value.python is not None:
            named[f"curate.values.{name}.python"] = value.python.rpartition(":")[0]
        named |= {f"curate.values.{name}.{field}": path for field, path in value.files}
    yield from ((field, path) for field, path in named.items() if path is not None)


def _of_models(recipe: Recipe) -> Iterator[str]:
    """Problems of the models that are not known by name; where all are packaged ones, no library is loaded for it."""
    checks: dict[str, Callable[[], None]] = {
        "features": partial(check_model_name, recipe.features.model, recipe.features.pretrained)
    }
    for field, model in recipe.curate.models.items():
        checks[field] = partial(check_model_name, model.model, model.pretrained)
    recaption = recipe.curate.recaption
    if recaption is not None and recaption.judge is not None:
        checks["curate.recaption.judge"] = partial(check_model_name, recaption.judge.model, recaption.judge.pretrained)
    for place, captioner in enumerate(() if recaption is None else recaption.captioners):
        rule = captioner.rule
        if isinstance(rule, DecodedRule):
            name = f"curate.recaption.captioners.{place}"
            checks[name] = partial(check_caption_model_name, rule.model, rule.pretrained)
    for section, check in checks.items():
        try:
            check()
        except UnknownModelError as error:
            yield f"`{section}`: {error}"


def _of_labels(labels: LabelFile | LabelColumns | None) -> list[str]:
    """Problems of the file of labels, where it is there."""
    if isinstance(labels, LabelFile) and Path(labels.file).is_file():
        try:
            read_labels(labels)
        except PoolError as error:
            return str(error).splitlines()
    return []


def _of_named_columns(
    recipe: Recipe, labels: LabelFile | LabelColumns | None, pools: Sequence[tuple[PoolSource, Sequence[Path]]]
) -> list[str]:
    """Problems of fields that name columns which none of all pools has; none where only rows tell the columns."""
    rules = {section: getattr(recipe.curate, section) for section in type(recipe.curate).model_fields}
    columns_of = {place: [*columns_named(rule).items()] for place, rule in rules.items() if is_dataclass(rule)}
    values = recipe.curate.values or {}
    columns_of |= {f"values.{name}": value.columns for name, value in values.items()}
    measured = [name for name, value in values.items() if value.column is None]
    step_columns = {*COLUMNS_OF_STEPS, *(f"{name}{end}" for name in measured for end in ("", "_error", "_weight"))}
    wanted = [
        (f"curate.{place}.{field}", column)
        for place, named in columns_of.items()
        for field, column in named
        if column not in step_columns and column.removesuffix("_value") not in {*TEXT_FILTERS, *IMAGE_FILTERS}
    ]
    if isinstance(labels, LabelColumns):
        of_labels = {"labels.column": labels.label, "labels.group": labels.group}
        wanted += [(field, column) for field, column in of_labels.items() if column is not None]
    columns = {"uid"}
    for source, files in pools:
        if source.kind not in {*_HEADED, "folder"}:
            return []
        text = {source.url or "", source.caption_column} if source.kind in _HEADED else ()
        for file in files:
            names = READERS[source.kind].columns(file) if source.kind in _HEADED else folder_columns(file)
            if names is None:
                return []
            columns.update({*pool_names(source, names, text=text)} - _ARRIVAL)
            if {column for _, column in wanted} <= columns:
                return []
    listing = ", ".join(map(visible, sorted(columns)))
    return [
        f"`{field}` must be a column of the pool; got `{name}`. It has {listing}. Name one of them"
        + (", or write null." if field == "labels.group" else ".")
        for field, name in wanted
        if name not in columns
    ]


def _of_list(recipe: Place, place: int, listing: ClassListing) -> list[str]:
    """Problems of a class list: its file, and each of its lines."""
    try:
        _ = read_listing(recipe, listing).class_list
    except ListingFileError as error:
        return [f"`classes.{place}.list`: {error}"]
    except ClassListError as error:
        return [f"`classes.{place}.list`: {problem}" for problem in error.problems]
    return []


def _of_regions(recipe: Recipe, run: Run) -> list[str]:
    """Problems of the method that finds regions: its name, options and needs, and the file of things."""
    if recipe.curate.regions is None:
        return []
    from evenly.tasks.regions.search import RegionSearch

    try:
        RegionSearch.of(run, recipe.curate.regions)
    except (RuleError, InputError) as error:
        return [f"`curate.regions`: {error}"]
    return []


def _of_columns(source: PoolSource, file: Path) -> Iterator[str]:
    columns = first_values(file, source.kind)
    named = {"url": source.url, "caption": source.caption_column, "id": source.id, "source": source.source}
    for field, name in named.items():
        if name is not None and name not in columns:
            shown = ", ".join(map(visible, columns)) or "none"
            yield f"{field}` must name a column of `{file}`; got `{name}`. Columns there are: {shown}."
    values = columns.get(source.url or "", [])
    if share(values, lambda value: not is_web(value)) >= MOSTLY:
        yield (
            f"url` must name a column of web addresses; `{source.url}` of `{file}` holds `{visible(values[0])[:80]}`. "
            f"Pictures on this machine are of kind folder: name the folder that holds them, with this table in it as "
            f"metadata.{source.kind} and the paths, relative to it, in a column `{FILE_NAME}`. For captions alone "
            "write url: null."
        )
