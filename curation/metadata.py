"""The concept list: what captions are matched against and what balancing counts.

Source: MetaCLIP v1 (Demystifying CLIP Data) for the list, MetaCLIP 2 for the source tags. Differs: the order is
stated and the list has an identity (upstream dumps an unordered set, so its ids change at every build), all lemmas
of a synset are taken instead of the first, and what is left out is listed.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.columns import column
from curation.matching import Mode, unmatchable_because

MAX_CHARACTERS = 256  # MetaCLIP 2 drops longer entries


@dataclass(frozen=True, kw_only=True)
class Concepts:
    """An ordered concept list; an entry's id is its position.

    table: [entry, sources list<string>, synsets list<string>], entries unique and in order.
    left_out: [entry, why], what the sources named and the list does not hold.
    identity: hex sha256 of the ordered entries.
    """

    table: pa.Table
    left_out: pa.Table
    identity: str

    @property
    def entries(self) -> list[str]:
        """The entries in order."""
        return list(self.table["entry"].to_pylist())


def build_concepts(synsets: pa.Table, *, numbers: bool = False) -> Concepts:
    """Return the concepts of `synsets` [synset, lemmas list<string>, gloss], in order of first mention.

    Underscores become spaces and white space is trimmed. With `numbers`, "0" to "99" come first, as in MetaCLIP.
    """
    return _collected(_named(synsets, numbers=numbers))


def folded_concepts(table: pa.Table, *, left_out: pa.Table, identity: str) -> Concepts:
    """Return the concepts of a list that was read: `table` [entry, sources, synsets, maybe language and more].

    With a column `language`, an entry of several languages becomes one, where it stands first, with all `languages`.
    """
    if "language" not in table.column_names:
        return Concepts(table=table, left_out=left_out, identity=identity)
    languages: dict[str, list[str]] = {}
    for entry, language in zip(table["entry"].to_pylist(), table["language"].to_pylist(), strict=True):
        _add(languages, entry, language)
    first = pc.index_in(pa.array(list(languages), pa.string()), table["entry"])
    folded = table.take(first).drop_columns(["language"])
    lists = pa.array(list(languages.values()), pa.list_(pa.string()))
    return Concepts(table=folded.append_column("languages", lists), left_out=left_out, identity=identity)


def unmatchable(concepts: Concepts, mode: Mode = "faithful") -> pa.Table:
    """Return [entry, why] for each entry that no caption whatsoever can match in `mode`, in order."""
    why = {entry: unmatchable_because(entry, mode) for entry in concepts.entries}
    return _reasons({entry: reason for entry, reason in why.items() if reason})


def _named(synsets: pa.Table, *, numbers: bool) -> Iterable[tuple[str, str, str]]:
    """Yield (lemma, source, synset) in the order of the list."""
    if numbers:
        yield from ((str(number), "number", "") for number in range(100))
    names = column(synsets, "synset", pa.string()).to_pylist()
    lemmas = column(synsets, "lemmas", pa.list_(pa.string())).to_pylist()
    for synset, named in zip(names, lemmas, strict=True):
        yield from ((lemma, "wordnet", synset) for lemma in named or [])


def _collected(named: Iterable[tuple[str, str, str]]) -> Concepts:
    sources: dict[str, list[str]] = {}
    of_synsets: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    for lemma, source, synset in named:
        entry = lemma.replace("_", " ").strip() if source == "wordnet" else lemma.strip()
        if why := _unfit(entry):
            left_out[entry] = why
            continue
        _add(sources, entry, source)
        if synset:
            _add(of_synsets, entry, synset)
    lists = pa.list_(pa.string())
    columns = {
        "entry": pa.array(list(sources), pa.string()),
        "sources": pa.array(list(sources.values()), lists),
        "synsets": pa.array([of_synsets.get(entry, []) for entry in sources], lists),
    }
    return Concepts(table=pa.table(columns), left_out=_reasons(left_out), identity=_identity(sources))


def _unfit(entry: str) -> str:
    if not entry:
        return "empty"
    if len(entry) == 1 and not entry.isalnum():
        return "single_punctuation"
    return "too_long" if len(entry) > MAX_CHARACTERS else ""


def _add(lists: dict[str, list[str]], key: str, value: str) -> None:
    values = lists.setdefault(key, [])
    if value not in values:
        values.append(value)


def _reasons(why: dict[str, str]) -> pa.Table:
    columns = {"entry": list(why), "why": list(why.values())}
    return pa.table(columns, schema=pa.schema({"entry": pa.string(), "why": pa.string()}))


def _identity(entries: Iterable[str]) -> str:
    state = hashlib.sha256()
    for entry in entries:
        encoded = entry.encode("utf-8")
        state.update(len(encoded).to_bytes(8, "little"))
        state.update(encoded)
    return state.hexdigest()
