"""Labels of the demo's pictures: hand-made data, joined to the pool's URLs."""

import csv
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pyarrow as pa

from evenly.demo.errors import DemoError
from evenly.demo.names import toneless

LABELS_FILE = Path(str(files("evenly"))) / "recipes" / "demo_labels.csv"
"""code, class, group: one row per labelled picture without skin tone; its tone variants follow it."""


def class_labels(path: Path = LABELS_FILE) -> dict[str, tuple[str, str]]:
    """The classes and groups by picture code, as written down."""
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    labels = {row["code"]: (row["class"], row["group"]) for row in rows}
    if len(labels) != len(rows):
        raise DemoError(f"`code` must be unique in {path}; got {len(rows) - len(labels)} twice. Remove the repetition.")
    return labels


def label_table(urls: Mapping[str, str], labels: Mapping[str, tuple[str, str]] | None = None) -> pa.Table:
    """url, label, group, sorted by url, for the URLs (url -> code) whose picture has a class.

    A skin-tone variant has the label and group of its picture without tone, a duplicate those of its picture.
    """
    classes = class_labels() if labels is None else labels
    rows = []
    for url, code in sorted(urls.items()):
        if (row := classes.get(code) or classes.get(toneless(code))) is not None:
            rows.append((url, *row))
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table(
        {name: pa.array(column, pa.string()) for name, column in zip(("url", "label", "group"), columns, strict=True)}
    )
