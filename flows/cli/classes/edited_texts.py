"""Texts edited by hand: imported as a version of a class list's descriptions, and used where a recipe gives them."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evenly.descriptions.chat.client import ClientCounts
from evenly.descriptions.descriptions import Descriptions
from evenly.descriptions.edited import EDITED, read_edited
from evenly.descriptions.errors import EditedTextsError
from evenly.flows.recipe.files import ListingText, read_class_file
from evenly.signatures import Place
from evenly.storage.ledger import Ledger, StepOutput, StepRecord, StepSpec
from evenly.storage.workspace import Workspace

MOST_BYTES = 50_000_000
VERSION = 1


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
