"""Recipes as `evenly init` writes them: a commented template with what lies at a path, and their JSON schema."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import yaml

from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS
from evenly.flows.recipe.files import FOLDER_TEMPLATE, TEMPLATE, TEXT_TEMPLATE
from evenly.flows.recipe.pools.losses import PoolSample, loss_of
from evenly.tasks.run import Run

_YAML_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
SCHEMA = "evenly.schema.json"
_SOURCE = re.compile(r"^  - kind: .*?(?=^    # (?:source|name): )", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"^name: \S+ +", re.MULTILINE)
_COMMENTS = 36  # the column of a template in which they begin
_LABELS = re.compile(r"^# (labels: \{column: folder, group: )null(?=\})", re.MULTILINE)
_CLASSES = re.compile(r"^# (?=classes:|  - list:|    methods:|    adapters:)", re.MULTILINE)
_LINE = re.compile(r"^    (\w+): (\{.*\})$", re.MULTILINE)
_MOST_DROPPED = 0.1  # of a sample, by a filter that a new recipe has on
_BROKEN = {"caption_length": "{min_words: 1, max_words: null}", "image_size": "{min_side: 8}"}
"""Nothing is to be read in no word, nor seen in fewer pixels."""
_STRICTER = {
    "caption_length": ("min_words: 2", "min_words: 3", "max_words: 60, min_words: 1"),
    "image_size": ("min_side: 64", "min_side: 200"),
}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A recipe's text, and what was found at the path that it was made for; "" without one."""

    text: str
    summary: str = ""


def draft_recipe(recipe: Path, *, pool: Path | None = None, is_text: bool = False) -> Draft:
    """The recipe to write to a file: named after it, for what lies at `pool`, or for captions alone.

    Raises PoolError for a pool that cannot be told.
    """
    if pool is None:
        return Draft(text=_finished(TEXT_TEMPLATE if is_text else TEMPLATE, recipe))
    from evenly.flows.recipe.pools.detection import detect_source
    from evenly.flows.recipe.pools.losses import sample_pool
    from evenly.storage.workspace import Workspace
    from evenly.tasks.progress import Progress
    from evenly.tasks.run import Run

    source = detect_source(pool)
    template = TEMPLATE if source.is_web else FOLDER_TEMPLATE
    if is_text or not source.has_pictures:
        template = TEXT_TEMPLATE
    path = _beside(source.path, recipe)
    columns = {"url": source.url, "caption": source.caption, "id": source.id}
    lines = [f"kind: {source.kind}", f"path: {_quoted(path)}"]
    lines += ["url: null"] if source.url is None and not source.has_pictures else []
    lines += [f"{name}: {_quoted(column)}" for name, column in columns.items() if column is not None]
    text = _SOURCE.sub(lambda _: "  - " + "\n    ".join(lines) + "\n", _finished(template, recipe), count=1)
    if source.classes:
        text = _LABELS.sub(lambda line: line[1] + (_quoted(source.group) if source.group else "null"), text)
    if source.classes and source.class_list is not None:
        listed = _quoted(_beside(source.class_list, recipe))
        text = _CLASSES.sub("", text).replace("  - list: birds.txt", f"  - list: {listed}")
    sample = sample_pool(source.rows, progress=Progress())
    run = Run(workspace=Workspace.at(None), seed=0)
    return Draft(text=with_limits(text, sample, run), summary=source.summary)


def write_schema(folder: Path) -> Path:
    """Write the JSON schema of recipes beside them, for editors; its path."""
    from evenly.flows.recipe import Recipe

    path = folder / SCHEMA
    path.write_text(json.dumps(Recipe.model_json_schema(), indent=1) + "\n", encoding="utf-8")
    return path


def _finished(template: Path, recipe: Path) -> str:
    """The template's text with the line that names its schema to editors, and the name of the recipe's file."""
    text = template.read_text(encoding="utf-8")
    name = re.sub(r"[^a-z0-9_-]+", "-", recipe.stem.lower()).strip("-_")[:63]
    if name and name != "recipe":
        text = _NAME.sub(f"name: {name} ".ljust(_COMMENTS), text, count=1)
    return f"# yaml-language-server: $schema={SCHEMA}\n{text}"


def _beside(path: Path, recipe: Path) -> str:
    """A path as a recipe names it: relative to the recipe's file, unless it was given from the root."""
    return (path if path.is_absolute() else Path(os.path.relpath(path, recipe.parent))).as_posix()


def _quoted(text: str) -> str:
    """A text as YAML takes it for nothing else."""
    is_plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) and text.lower() not in _YAML_WORDS
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def with_limits(text: str, sample: PoolSample, run: Run) -> str:
    """A template with limits that fit a pool, and counts above them; what it cannot tell of pictures stays."""

    def fitted(line: re.Match[str]) -> str:
        name, values = line.groups()
        if name not in TEXT_FILTERS and not (name in IMAGE_FILTERS and sample.has_sizes):
            return line[0]
        if name in _BROKEN:
            return f"    # {_counts(name, sample, run)}\n    {name}: {_BROKEN[name]}"
        dropped = loss_of(run, sample, name, yaml.safe_load(values)).dropped
        count = f"{dropped or 'none'} of {sample.pairs.num_rows:,} pairs"
        if dropped > _MOST_DROPPED * sample.pairs.num_rows:
            return f"    # {name}: {values}".ljust(50) + f"# off: it would drop {count}"
        return f"    {name}: {values}".ljust(50) + f"# drops {count}"

    return _LINE.sub(fitted, text)


def _counts(name: str, sample: PoolSample, run: Run) -> str:
    """The range of what a limit looks at, what it drops, and what stricter limits would."""
    kind = {**TEXT_FILTERS, **IMAGE_FILTERS}[name]
    ends = pc.min_max(kind.measure(sample.pairs, kind.rule())).as_py()
    noun = "words" if name in TEXT_FILTERS else "pixels on the shorter side"
    span = f" of {ends['min']:,.0f} to {ends['max']:,.0f} {noun}" if ends["max"] is not None else ""
    first = "" if sample.is_whole else "the first "
    dropped = loss_of(run, sample, name, yaml.safe_load(_BROKEN[name])).dropped
    stricter = {shown: loss_of(run, sample, name, yaml.safe_load(f"{{{shown}}}")).dropped for shown in _STRICTER[name]}
    alternatives = [f"{shown} would drop {count:,}" for shown, count in stricter.items() if count > dropped]
    return "; ".join([f"{first}{sample.pairs.num_rows:,} pairs{span}: drops {dropped or 'none'}", *alternatives])
