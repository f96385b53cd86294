"""The names by which classes are searched in captions: their own, and those of a file, WordNet or a description."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenly.adapters.class_texts import SYNONYMS
from evenly.curation.concepts.matching import normalised
from evenly.descriptions.class_list import ClassList
from evenly.flows.cli.classes.description_versions import find_version
from evenly.flows.cli.errors import UsageError
from evenly.signatures import Place
from evenly.storage.files.class_lists import MAX_BYTES
from evenly.storage.reading.budget import read_text
from evenly.tasks.classes.describe import accepted
from evenly.unique_keys import read_json

WORDNET = "wordnet"
FILES = (".json", ".tsv", ".txt")


@dataclass(frozen=True, kw_only=True)
class ClassNames:
    """The names of each class, its own first; where the others come from, and which were refused: [class, name].

    Refused are names that are, but for case and marks, another class's own name.
    """

    names: Mapping[str, list[str]]
    origin: str
    refused: list[list[str]]


def check_templates(templates: Sequence[str]) -> None:
    """Refuse a text of a class that has no place for its name."""
    for template in templates:
        if "{}" not in template:
            raise UsageError(f"`--template` must hold {{}} for the name of the class; got `{template}`. Add it.")


def names_of(class_list: ClassList, synonyms: str | None, *, root: Place | None) -> ClassNames:
    """The names of the classes by `synonyms`: a file of FILES, `wordnet`, or a version of descriptions; None: none.

    A .json file holds {class: [names]}, another one class, tab, name a line. A version is the name of a described list
    or a step key; its accepted synonyms count, which an encoder has found to mean their class.
    """
    classes = class_list.classes
    if synonyms is None:
        names, origin = dict[str, list[str]](), "none"
    elif synonyms == WORDNET:
        from evenly.tasks.classes.senses import noun_grounding

        subjects = noun_grounding().subjects(class_list)
        names, origin = {subject.name: list(subject.lemmas) for subject in subjects}, "WordNet"
    elif synonyms.endswith(FILES) and Path(synonyms).is_file():
        names, origin = _of_file(Path(synonyms), classes), Path(synonyms).name
    else:
        names, origin = _of_version(synonyms, root)
    class_of = {normalised(name): name for name in classes}
    kept: dict[str, list[str]] = {}
    refused: list[list[str]] = []
    for name in classes:
        kept[name] = [name]
        for synonym in dict.fromkeys(names.get(name, ())):
            if class_of.get(normalised(synonym), name) != name:
                refused.append([name, synonym])
            elif synonym != name:
                kept[name].append(synonym)
    return ClassNames(names=kept, origin=origin, refused=refused)


def _of_version(list_or_key: str, root: Place | None) -> tuple[dict[str, list[str]], str]:
    from evenly.flows.runs import workspace_run

    version = find_version(list_or_key, root=root)
    if not {*SYNONYMS} & {*version.record.rule["methods"]}:
        raise UsageError(
            f"`--synonyms` must name a description by {' or '.join(SYNONYMS)}; `{list_or_key}` has none. Describe the "
            "list "
            f"by one of these, or give `{WORDNET}` or a file."
        )
    texts = accepted(workspace_run(root, quiet=True), version.record).texts()
    names_by_class: dict[str, list[str]] = {}
    for method in SYNONYMS:
        for name, names in texts.get(method, {}).items():
            names_by_class.setdefault(name, []).extend(names)
    return names_by_class, f"description {version.record.key[:12]}"


def _of_file(path: Path, classes: tuple[str, ...]) -> dict[str, list[str]]:
    try:
        text = read_text(path, field="--synonyms", limit_bytes=MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"`--synonyms` must be a readable text file; {reason}: `{path}`. Correct the path.") from None
    pairs = list(_json_pairs(text, path) if path.suffix == ".json" else _line_pairs(text, path))
    names: dict[str, list[str]] = {}
    for name, synonym in pairs:
        if name not in classes:
            raise UsageError(f"`--synonyms` must be of classes of the list; got {name[:60]!r} in `{path}`. Remove it.")
        names.setdefault(name, []).append(synonym)
    return names


def _json_pairs(text: str, path: Path) -> Iterator[tuple[str, str]]:
    try:
        value: Any = read_json(text)
    except ValueError as error:
        raise UsageError(f"`--synonyms` must be JSON, as its name says; {error}: `{path}`. Correct it.") from None
    if not isinstance(value, dict):
        raise UsageError(f"`--synonyms` must hold {{class: [names]}}; got a {type(value).__name__} in `{path}`.")
    for name, synonyms in value.items():
        if not isinstance(synonyms, list) or not all(
            isinstance(synonym, str) and synonym.strip() for synonym in synonyms
        ):
            raise UsageError(f"`--synonyms` must give {name[:60]!r} a list of names; it does not in `{path}`.")
        yield from ((name, synonym.strip()) for synonym in synonyms)


def _line_pairs(text: str, path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        name, _, synonym = (part.strip() for part in line.partition("\t"))
        if line.strip():
            if not name or not synonym or "\t" in synonym:
                raise UsageError(
                    f"`--synonyms` must hold class, tab, name in each line; got {line[:60]!r} in line {number} of "
                    f"`{path}`. Correct it."
                )
            yield name, synonym
