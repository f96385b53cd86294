"""Versions of the descriptions in a workspace: `evenly descriptions show`, `compare` and `export`; `import`."""

import csv
import difflib
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.descriptions.chat.client import ClientCounts
from evenly.descriptions.class_list import ClassList, parse_class_list
from evenly.descriptions.described import compare_texts
from evenly.descriptions.descriptions import ACCEPTED, Descriptions
from evenly.descriptions.edited import EDITED, export_csv, read_edited
from evenly.descriptions.errors import EditedTextsError
from evenly.descriptions.exports import TEXT_EXPORTS
from evenly.flows.cli.errors import UsageError
from evenly.flows.recipe.files import ListingText, read_class_file
from evenly.signatures import Place
from evenly.storage.errors import NotFoundError
from evenly.storage.ledger import Ledger, StepOutput, StepRecord, StepSpec
from evenly.storage.records import replace_text
from evenly.storage.workspace import Workspace

_KEY = re.compile(r"[0-9a-f]{8,64}")
_PAIRS = "_prompt_pairs"
CSV = "csv"
MOST_BYTES = 50_000_000
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Version:
    """One finished description of a class list: the texts of one content by some methods and one model."""

    record: StepRecord
    class_list: ClassList
    table: pa.Table

    def facts(self) -> dict[str, Any]:
        """The facts that tell it from other versions."""
        verdicts = self.table["verdict"].to_pylist()
        return {
            "step": self.record.key,
            "list": self.class_list.name,
            "classes": len(self.class_list.classes),
            "content": self.class_list.identity,
            "methods": list(self.record.rule["methods"]),
            "endpoint": self.record.rule["base_url"],
            "model": self.record.rule["model"],
            "identity": self.record.model,
            "accepted": verdicts.count(ACCEPTED),
            "texts": len(verdicts),
            "ended": self.record.ended,
        }


def list_versions(root: Place | None) -> list[dict[str, Any]]:
    """The facts of every version in the workspace, oldest first."""
    ledger = Ledger(Workspace.at(root))
    return [_opened(ledger, record).facts() for record in _records(ledger)]


def find_version(name: str, *, root: Place | None) -> Version:
    """The newest version of a class list file's content, of a list of this name, or the one of a step key.

    A file counts by its content: classes, synsets and glosses in order, whatever it is called. A key may be cut to 8
    digits; that of a choice among the texts of a version (`select_texts`) gives the version with its verdicts.
    NotFoundError says which versions there are.
    """
    ledger = Ledger(Workspace.at(root))
    records = _records(ledger)
    keyed = [*records, *ledger.records("select_texts")] if _KEY.fullmatch(name) else []
    if Path(name).is_file():
        identity = read_class_file(Path(name)).class_list.identity
        matches = [record for record in records if record.notes.get("class_list_identity") == identity]
        remedy = f"Describe it: evenly describe {name}"
    elif matches := [record for record in keyed if record.key.startswith(name)]:
        remedy = ""
        if len(matches) > 1:
            raise UsageError(f"`{name}` must begin one step key; it begins {len(matches)}. Give more digits.")
    else:
        matches = [record for record in records if record.rule["list"] == name]
        remedy = "Give a class list file, the name of a list or a step key."
    if not matches:
        names = ", ".join(f"{record.rule['list']} ({record.key[:12]})" for record in records) or "none"
        raise NotFoundError(f"descriptions of `{name}` must be in the workspace; there are: {names}. {remedy}")
    return _opened(ledger, matches[-1])


def show_texts(list_or_key: str, *, class_name: str | None, rejected: bool, root: Place | None) -> dict[str, Any]:
    """The facts of a version and its texts, one row each, with verdict, reason and request id.

    Rejected and failed ones only on request; `without_texts` lists class and method pairs that ended with none.
    """
    version = find_version(list_or_key, root=root)
    table = version.table if rejected else version.table.filter(pc.field("verdict") == ACCEPTED)
    if class_name is not None:
        names = version.class_list.classes
        if class_name not in names:
            close_names = difflib.get_close_matches(class_name, names, n=3, cutoff=0.0)
            raise UsageError(f"`--class` must be a class of the list; got {class_name!r}. Near to it: {close_names}.")
        table = table.filter(pc.field("class") == class_name)
    gaps = [
        {"class": name, "method": method, "reasons": reasons}
        for name, method, reasons in version.record.notes.get("undescribed", ())
        if class_name in (None, name)
    ]
    return {**version.facts(), "rows": table.to_pylist(), "without_texts": gaps}


def compare_versions(first: str, second: str, *, root: Place | None) -> dict[str, Any]:
    """Two versions side by side: their facts, counts per method, and every accepted text as kept, gone or new."""
    a, b = find_version(first, root=root), find_version(second, root=root)
    comparison = compare_texts(a.table, b.table, classes=(a.class_list.classes, b.class_list.classes))
    return {
        "a": a.facts(),
        "b": b.facts(),
        "counts": comparison.counts,
        "classes_gone": list(comparison.classes_gone),
        "classes_new": list(comparison.classes_new),
        "texts": list(comparison.texts),
    }


def export_texts(name: str, *, format_name: str, out: Path, root: Place | None) -> dict[str, Any]:
    """Write a version in the JSON shape that other code reads, and beside it the class names as a list, in order.

    Both files appear whole. "csv" is one file, for people who edit the texts and read it in again. `fallbacks` names
    what had no text and stands there by the class name alone.
    """
    if format_name not in (CSV, *TEXT_EXPORTS):
        formats = ", ".join((*TEXT_EXPORTS, CSV))
        raise UsageError(f"`--to` must be one of {formats}; got `{format_name}`. Choose one of these.")
    version = find_version(name, root=root)
    classes = version.class_list.classes
    facts = {"format": format_name, "step": version.record.key, "classes": len(classes), "out": str(out)}
    if format_name == CSV:
        return facts | _export_csv(version, out)
    exported = TEXT_EXPORTS[format_name](version.table, classes)
    names = out.with_name(f"{out.stem.removesuffix(_PAIRS)}_class_names.json")
    _write(names, list(classes))
    _write(out, exported.content)
    further = {"fallbacks": list(exported.fallbacks), "notes": list(exported.notes), "class_names": str(names)}
    return facts | {"texts": exported.texts, **further}


def _export_csv(version: Version, out: Path) -> dict[str, Any]:
    """Texts about single classes, to be edited and read back in; the class list stays as it is."""
    content = export_csv(version.table, version.class_list.classes)
    replace_text(out, content)
    texts = Counter(row["class"] for row in csv.DictReader(io.StringIO(content, newline="")))
    return {
        "texts": texts.total(),
        "fallbacks": [name for name in version.class_list.classes if name not in texts],
        "notes": ["edit it, and read it in again: evenly descriptions import FILE --classes LIST"],
        "class_names": None,
    }


def _write(path: Path, content: list[str] | Mapping[str, Any]) -> None:
    replace_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _records(ledger: Ledger) -> list[StepRecord]:
    return sorted(ledger.records("describe"), key=lambda record: (record.ended, record.key))


def _opened(ledger: Ledger, record: StepRecord) -> Version:
    described = ledger.get(record.rule["describe"]) if "describe" in record.rule else record
    return Version(
        record=described,
        class_list=parse_class_list(described.rule["text"], described.rule["list"]),
        table=ledger.table(record, "descriptions"),
    )


def import_texts(file: Path, classes: Path, *, method: str, root: Place | None) -> dict[str, Any]:
    """Import a file of edited texts as a version of the descriptions of a class list; its facts.

    `accepted`, `rejected` (reason -> count), `undescribed` and `step`, the key by which other commands find it; the
    same file again is the same step.
    """
    record = edited_description(Ledger(Workspace.at(root)), read_class_file(classes), file, method=method)
    names = ("class_list", "classes", "methods", "accepted", "rejected", "undescribed", "file", "sha256")
    return {"step": record.key, **{name: record.notes[name] for name in names}}


def edited_description(ledger: Ledger, listing: ListingText, file: Path, *, method: str) -> StepRecord:
    """The record of the step `describe` that holds the texts of a file, made where it is not there yet.

    Its endpoint is EDITED and its model the file's hash: what a person wrote is told from what a model did.
    """
    content, digest = _read(file)
    class_list = listing.class_list
    table = read_edited(content, class_list.classes, method=method)
    methods = list(dict.fromkeys(table["method"].to_pylist()))
    rule = {"list": listing.name, "text": listing.text, "methods": methods, "base_url": EDITED, "model": digest[:16]}
    spec = StepSpec(
        name="describe", version=VERSION, rule=rule, inputs={"file": digest, "method": method}, model=EDITED
    )
    record = ledger.find(spec.key)
    if record is not None:
        return record
    descriptions = Descriptions(
        class_list=class_list.name,
        class_list_identity=class_list.identity,
        classes=class_list.classes,
        methods=tuple(methods),
        table=table,
        ungrounded=(),
        counts=ClientCounts(),
    )
    notes = descriptions.summary() | {"account": None, "file": file.name, "sha256": digest}
    output = StepOutput(tables={"descriptions": table}, notes=notes)
    return ledger.commit(spec, output, uids=None, started=datetime.now(UTC))


def _read(file: Path) -> tuple[str, str]:
    """The text of a file and its SHA-256."""
    try:
        size = file.stat().st_size
        content = b"" if size > MOST_BYTES else file.read_bytes()
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise EditedTextsError(f"edited texts `{file}` must be a readable text file; {reason}. Correct it.") from None
    if size > MOST_BYTES:
        raise EditedTextsError(f"edited texts must have at most {MOST_BYTES:,} bytes; `{file}` has {size:,}. Split it.")
    return text, hashlib.sha256(content).hexdigest()
