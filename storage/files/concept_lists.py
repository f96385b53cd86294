"""Concept lists as files: what `evenly metadata build` writes, plain lines, and JSON as MetaCLIP and MetaCLIP 2 use it.

A list is taken as it stands: white space around entries goes, and blank and repeated ones are left out and told. The
entries' order is their number, and their hash the list's identity.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.storage.errors import DamagedError, InputError
from evenly.storage.pools.texts import is_utf8_text
from evenly.storage.records import canonical_json, replacing
from evenly.storage.tables.arrow_files import first_line, read_trouble, table_of_rows
from evenly.storage.tables.block_sums import PARQUET_MARK, append_sums, open_checked
from evenly.unique_keys import read_json

SCHEMA = 1
LIMIT_BYTES = 1024**3
MAX_CHARACTERS = 10_000
"""Of one entry. The papers' longest is 256; a longer line than this comes from a file that is no concept list."""

_KEY = b"evenly.concepts"
_LISTS = pa.list_(pa.string())
_PLACES = pa.schema({"entry": pa.string(), "why": pa.string(), "place": pa.string()})
Entry = tuple[str, str | None, str]  # entry, language, place in the file


@dataclass(frozen=True, kw_only=True)
class ConceptFile:
    """An ordered concept list; an entry's id is its position.

    languages: one per entry, from a JSON object of them; else None, and each entry is there once. table: entry, sources
    list<string>, synsets list<string>, then `language` or what else a built list holds, in the entries' order.
    left_out: [entry, why, place], what reading left out: `empty` or `repeated`. facts: what a built list says of
    itself. identity: hex sha256 of the entries in order, with their languages where there are any.
    """

    entries: list[str]
    languages: list[str] | None
    table: pa.Table
    identity: str
    left_out: pa.Table
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_language(self) -> dict[str, list[str]]:
        """The entries of each language, in order; all of a list that was built for one, none where none is named."""
        of_all = self.facts.get("language")
        lists: dict[str, list[str]] = {}
        if self.languages is None:
            return lists if of_all is None else {str(of_all): self.entries}
        for entry, language in zip(self.entries, self.languages, strict=True):
            lists.setdefault(language, []).append(entry)
        return lists


def read_concept_file(path: Path, *, limit_bytes: int = LIMIT_BYTES) -> ConceptFile:
    """Read a concept list, its kind by its ending: .parquet as built, .json, else text with one entry per line.

    JSON is a list of strings, or an object of language -> list of strings. Raises InputError that names the file and
    the place, DamagedError where a built list does not match its identity.
    """
    if not path.is_file():
        raise InputError(f"`metadata` must be a file; got `{path}`. Correct the path, or build a list.")
    if (size := path.stat().st_size) > limit_bytes:
        raise InputError(f"`metadata` must be at most {limit_bytes:,} bytes; got {size:,} at `{path}`. Split the list.")
    if path.suffix.lower() == ".parquet":
        return _read_built(path)
    return _listed(_read_json(path) if path.suffix.lower() == ".json" else _read_lines(path), path)


def concepts_of(entries: Iterable[str]) -> ConceptFile:
    """The concept list of texts at hand, read as a file of them is: trimmed, each once, empty ones left out."""
    return _listed(_checked(entries), Path("concepts"))


def write_concepts(path: Path, table: pa.Table, left_out: pa.Table, facts: Mapping[str, Any]) -> str:
    """Write a built list and, beside it, what was left out of it; the list's identity.

    Both appear whole, the list last; equal input gives equal bytes.
    """
    identity = identity_of(table["entry"].to_pylist())
    stamped = {**facts, "identity": identity, "schema": SCHEMA}
    _write(left_out_path(path), left_out, {"identity": identity, "schema": SCHEMA})
    _write(path, table, stamped)
    return identity


def read_left_out(path: Path, identity: str) -> pa.Table | None:
    """The entries left out of the built list at `path`; None where the file beside it is gone or another list's."""
    left_out = left_out_path(path)
    if not left_out.is_file():
        return None
    table, facts = _read_parquet(left_out)
    return table if facts.get("identity") == identity else None


def left_out_path(path: Path) -> Path:
    """Where what was left out of the list at `path` lies."""
    return path.with_name(f"{path.stem}.left_out.parquet")


def identity_of(entries: Sequence[str], languages: Sequence[str] | None = None) -> str:
    """Hex sha256 of the ordered entries, each with its length; of languages and entries in turn where there are any."""
    state = hashlib.sha256(b"" if languages is None else b"languages")
    texts: Iterable[str] = entries
    if languages is not None:
        texts = (text for pair in zip(languages, entries, strict=True) for text in pair)
    for text in texts:
        encoded = text.encode("utf-8")
        state.update(len(encoded).to_bytes(8, "little"))
        state.update(encoded)
    return state.hexdigest()


def _checked(entries: Iterable[str]) -> Iterator[Entry]:
    for number, entry in enumerate(entries):
        if not isinstance(entry, str) or not is_utf8_text(entry):
            raise InputError(f"`concepts` must be strings of Unicode text; got {entry!r:.80} at {number}. Correct it.")
        yield entry, None, f"[{number}]"


def _read_lines(path: Path) -> Iterator[Entry]:
    for number, line in enumerate(_text(path).removesuffix("\n").split("\n"), start=1):
        yield line, None, f"line {number}"


def _read_json(path: Path) -> Iterator[Entry]:
    text = _text(path)
    try:
        content = read_json(text)
    except ValueError as error:
        raise InputError(f"`metadata` must be JSON; got `{path}`: {first_line(error)}. Correct it.") from None
    lists = content if isinstance(content, dict) else {None: content}
    for language, entries in lists.items():
        name = "" if language is None else language
        if not isinstance(entries, list) or language == "":
            actual = f"`{name}`: {type(entries).__name__}" if language is not None else type(entries).__name__
            raise InputError(
                f"`metadata` must be a list of strings, or an object of language -> list; got {actual} at `{path}`. "
                "Write it in this form."
            )
        for number, entry in enumerate(entries):
            if not isinstance(entry, str) or not is_utf8_text(entry + name):
                raise InputError(
                    f"entries must be strings of Unicode text; got {entry!r:.80} at `{path}`, {name}[{number}]. "
                    "Correct it."
                )
            yield entry, language, f"{name}[{number}]"


def _listed(read: Iterator[Entry], path: Path) -> ConceptFile:
    kept: dict[tuple[str, str | None], None] = {}
    left_out: list[tuple[str, str, str]] = []
    for raw, language, place in read:
        entry = raw.strip()
        if len(entry) > MAX_CHARACTERS:
            raise InputError(
                f"an entry must have at most {MAX_CHARACTERS:,} characters; got {len(entry):,} at `{path}`, {place}. "
                "Shorten it, or check that this is a concept list."
            )
        if not entry:
            left_out.append((entry, "empty", place))
        elif (entry, language) in kept:
            left_out.append((entry, "repeated", place))
        else:
            kept[entry, language] = None
    if not kept:
        raise InputError(f"`metadata` must hold at least one entry; got none at `{path}`. Fill it.")
    entries = [entry for entry, _ in kept]
    languages = [language for _, language in kept if language is not None] or None
    columns = {
        "entry": pa.array(entries, pa.string()),
        "sources": pa.array([["list"]] * len(entries), _LISTS),
        "synsets": pa.array([[]] * len(entries), _LISTS),
        **({} if languages is None else {"language": pa.array(languages, pa.string())}),
    }
    return ConceptFile(
        entries=entries,
        languages=languages,
        table=pa.table(columns),
        identity=identity_of(entries, languages),
        left_out=table_of_rows(left_out, _PLACES),
    )


def _read_built(path: Path) -> ConceptFile:
    table, facts = _read_parquet(path)
    if facts.get("schema") != SCHEMA:
        raise InputError(
            f"`metadata` must be of schema {SCHEMA}; got {facts.get('schema')!r} at `{path}`. Build it again with "
            "`evenly metadata build`."
        )
    entries: list[str] = table["entry"].to_pylist()
    if None in entries or identity_of(entries) != facts.get("identity") or len(set(entries)) != len(entries):
        raise DamagedError(f"`{path}` must hold the entries that its identity names; it does not. Build it again.")
    return ConceptFile(
        entries=entries,
        languages=None,
        table=table,
        identity=facts["identity"],
        left_out=_PLACES.empty_table(),
        facts=facts,
    )


def _read_parquet(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    try:
        with open_checked(path, "Build it again with `evenly metadata build`.") as source:
            table = pq.ParquetFile(source).read()
        facts = json.loads((table.schema.metadata or {}).get(_KEY, b"null"))
    except (OSError, ValueError, RecursionError) as error:  # pyarrow's errors are among them
        raise InputError(
            f"`metadata` must be a readable Parquet file; got `{first_line(error)}` at `{path}`. Check that it is "
            "whole."
        ) from None
    columns = {name: table.schema.field(name).type for name in table.column_names}
    if not isinstance(facts, dict) or columns.get("entry") != pa.string():
        raise InputError(
            f"`metadata` must be a list that `evenly metadata build` wrote; got another Parquet file at `{path}`. "
            "Write its entries one per line to a text file instead."
        )
    return table.replace_schema_metadata(None), facts


def _write(path: Path, table: pa.Table, facts: Mapping[str, Any]) -> None:
    schema = table.schema.with_metadata({**PARQUET_MARK, _KEY: canonical_json(facts)})
    with replacing(path) as stream:
        pq.write_table(table.cast(schema).combine_chunks(), stream, compression="zstd", store_schema=True)
        append_sums(stream)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = read_trouble(error)
        raise InputError(f"`metadata` must be a readable text file; {reason}: `{path}`. Correct the path.") from None
