"""Texts of a class list that people wrote or edited by hand: read from a file, checked, kept apart from a model's."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from evenly.descriptions.class_list import is_control
from evenly.descriptions.descriptions import ACCEPTED, REJECTED, table_of
from evenly.descriptions.errors import EditedTextsError
from evenly.descriptions.methods import METHODS, chosen_methods
from evenly.descriptions.texts.grounding import Subject
from evenly.unique_keys import read_json

EDITED = "edited"
"""Stands where a described list names its endpoint: no model was asked."""
COLUMNS = ("class", "method", "phrase")
MOST_CHARACTERS = 500
OF_CLASSES = tuple(name for name in METHODS if chosen_methods([name])[0].scope == "class")
"""Methods whose texts are about single classes: only such can be edited."""


def export_csv(table: pa.Table, classes: Sequence[str]) -> str:
    """The accepted texts about single classes as CSV with COLUMNS, by class in the order of the list, to be edited."""
    order = {name: place for place, name in enumerate(classes)}
    rows = [
        row
        for row in table.select([*COLUMNS, "verdict"]).to_pylist()
        if row["verdict"] == ACCEPTED and row["method"] in OF_CLASSES
    ]
    rows.sort(key=lambda row: order[row["class"]])  # stable: a class's texts stay in their order
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[name] for name in COLUMNS] for row in rows)
    return text.getvalue()


def read_edited(content: str, classes: Sequence[str], *, method: str = "description") -> pa.Table:
    """The table of descriptions (`descriptions.SCHEMA`) of a file's content, by class in the order of the list.

    The file is what `export_csv` writes, or a JSON object of class -> list of phrases, all of `method`, as VCD and CuPL
    have it. The text of a phrase is what the method makes of it. A phrase that is empty, holds control characters, has
    over MOST_CHARACTERS or stands twice is rejected with this reason; else a person's word is not judged. Raises
    EditedTextsError for another shape, and for a class or method that is not there, with its line or key.
    """
    _check_method(method, "`--method`")
    rows = _of_json(content, method) if content.lstrip("\ufeff \t\r\n").startswith("{") else _of_csv(content)
    order = {name: place for place, name in enumerate(classes)}
    kinds: dict[str, Any] = {}
    keys: set[tuple[str, str, str]] = set()
    table = []
    for place, name, kind, phrase in rows:
        if name not in order:
            raise EditedTextsError(
                f"`class` must be of the list; got {name!r} at {place}. Correct it, or leave it out."
            )
        maker = kinds.setdefault(kind, chosen_methods([kind])[0])
        text = maker.text(Subject(name=name), phrase)
        reason = _reason(phrase, (name, kind, phrase) in keys)
        keys.add((name, kind, phrase))
        verdict = REJECTED if reason else ACCEPTED
        table.append(
            {"class": name, "method": kind, "phrase": phrase, "text": text, "verdict": verdict, "reason": reason}
        )
    if not any(row["verdict"] == ACCEPTED for row in table):
        raise EditedTextsError("the file must hold at least one usable text; got none. Add one.")
    return table_of(sorted(table, key=lambda row: (order[row["class"]], OF_CLASSES.index(row["method"]))))


def _reason(phrase: str, repeated: bool) -> str:  # noqa: FBT001 - of a private function
    if not phrase.strip():
        return "empty"
    if any(map(is_control, phrase)):
        return "control_characters"
    if len(phrase) > MOST_CHARACTERS:
        return "too_long"
    return "repeats" if repeated else ""


def _of_json(content: str, method: str) -> Iterator[tuple[str, str, str, str]]:
    try:
        parsed = read_json(content.lstrip("\ufeff"))
    except ValueError as error:
        raise EditedTextsError(f"the file must be JSON or CSV; {error}. Correct it.") from None
    for name, phrases in parsed.items():
        if not isinstance(phrases, list) or not all(isinstance(text, str) for text in phrases):
            raise EditedTextsError(f"each class must have a list of texts; {name!r} has not. Correct it.")
        yield from ((f"key {name!r}", name, method, phrase) for phrase in phrases if phrase != f"a type of {name}")


def _of_csv(content: str) -> Iterator[tuple[str, str, str, str]]:
    reader = csv.reader(io.StringIO(content.lstrip("\ufeff"), newline=""), strict=True)
    try:
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise EditedTextsError(
                f"the first line must be `{','.join(COLUMNS)}`; got `{','.join(header)[:100]}`. "
                "Begin with what `evenly descriptions export --to csv` writes."
            )
        for fields in reader:
            place = f"line {reader.line_num}"
            if fields and len(fields) != len(COLUMNS):
                raise EditedTextsError(
                    f"each line must hold {len(COLUMNS)} fields; {place} has {len(fields)}. Correct it."
                )
            if fields:
                _check_method(fields[1], f"`method` at {place}")
                yield place, fields[0], fields[1], fields[2]
    except csv.Error as error:
        raise EditedTextsError(f"the file must be CSV; line {reader.line_num}: {error}. Correct it.") from None


def _check_method(method: str, option: str) -> None:
    if method not in OF_CLASSES:
        raise EditedTextsError(f"{option} must be one of {', '.join(OF_CLASSES)}; got `{method}`. Correct it.")
