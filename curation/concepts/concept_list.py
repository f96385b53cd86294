"""The concept list, against which captions are matched and by which balancing counts.

Source: MetaCLIP v1 (Demystifying CLIP Data) for the list, MetaCLIP 2 for the source tags. Differs: the order is
stated and the list has an identity (upstream dumps an unordered set, so its ids change at every build), all lemmas
of a synset are taken unless the rule says the first, and what is left out is listed.
"""

import hashlib
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.concepts.equal_entries import unmatchable_normalized
from evenly.curation.concepts.matching import Mode, unmatchable_because
from evenly.curation.concepts.sources import SOURCES, MetadataRule, Offer, Source, synset_names

_WORDS = """
a an the
i me my myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it
its itself they them their theirs themselves one oneself this that these those who whom whose which what whoever
whatever whichever
all any another both each either every few fewer many more most much neither no none other others several some such
anybody anyone anything everybody everyone everything nobody nothing somebody someone something
about above across after against along amid among around as at before behind below beneath beside besides between
beyond by despite down during except for from in inside into like near of off on onto out outside over per since than
through throughout till to toward towards under underneath unlike until up upon via versus vs with within without
and but if nor or so yet because although though unless whereas whether while
am are be been being is was were do does did doing done have has had having can could may might must ought shall should
will would
here how not there then too very when where why just only also even ever never now
"""
FUNCTION_WORDS = frozenset(_WORDS.split())
"""English words of grammar, which as concepts would take draws and say nothing of a picture, as do single letters."""
_ARTICLE = re.compile(r"(?:an?|the)[\W_]+(?=\w)")
MAX_CHARACTERS = 256  # MetaCLIP 2 drops longer entries
_VALUES: dict[str, tuple[Source, str, pa.DataType]] = {  # source and column that each column of a built list comes from
    "unigram_count": ("unigram", "count", pa.int64()),
    "bigram_count": ("bigram", "count", pa.int64()),
    "bigram_pmi": ("bigram", "pmi", pa.float64()),
    "title_views": ("title", "views", pa.int64()),
}
_MARK_OR_BLANK = r"[\t\n\r,.;:?!`]"  # only an entry that holds one can match nothing in faithful mode
_ASKED_FOR = {"number", "list"}  # sources whose entries are taken though they are letters or words of grammar
_JUDGED_BY = {"unigram": "count", "bigram": "pmi", "title": "views"}
_LEFT_OUT = pa.schema({"entry": pa.string(), "source": pa.string(), "why": pa.string(), "value": pa.float64()})


def without_content(entry: str) -> str:
    """Why `entry` names nothing that a picture shows: single_letter, function_word (all of its words are), or ""."""
    first, _, further_words = entry.casefold().partition(" ")
    first = first.strip(".'")
    if not further_words and len(first) == 1 and first != first.upper():  # a single Chinese character is a word
        return "single_letter"
    is_one = first in FUNCTION_WORDS and FUNCTION_WORDS.issuperset(word.strip(".'") for word in further_words.split())
    return "function_word" if is_one else ""


def without_article(entry: str) -> str:
    """`entry` case-folded and without the English article at its beginning ("A'man" -> "man"), "" where it has none."""
    folded = entry.casefold()
    article = _ARTICLE.match(folded)
    return folded[article.end() :] if article else ""


@dataclass(frozen=True, kw_only=True)
class Concepts:
    """An ordered concept list; an entry's id is its position.

    table: [entry, sources list<string>, synsets list<string>], entries unique and in order; a built list has their
    unigram_count, bigram_count, bigram_pmi and title_views as well, null where a source did not name them.
    left_out: [entry, why], what the sources named and the list does not hold; of a built list [entry, source, why,
    value], the value being the count, PMI or views that its source is judged by.
    identity: hex sha256 of the ordered entries. counts: of a built list, what each source gave.
    """

    table: pa.Table
    left_out: pa.Table
    identity: str
    counts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entries(self) -> list[str]:
        """The entries in order."""
        return list(self.table["entry"].to_pylist())


def build_concepts(synsets: pa.Table, *, numbers: bool = False, nouns: bool = False) -> Concepts:
    """Return the concepts of `synsets` [synset, lemmas list<string>], in order of first mention.

    Underscores become spaces and white space is trimmed. With `numbers`, "0" to "99" come first, as in MetaCLIP.
    With `nouns` English words of grammar, single letters and other entries with an article are left out, and what is
    all in lower case comes first: in normalized mode "cat" then stands for "CAT", not the other way round.
    """
    gathered = _Gathered(function_words=not nouns)
    if numbers:
        gathered.add("number", _numbers())
    names = synset_names(synsets)
    gathered.add("wordnet", sorted(names, key=_has_capitals) if nouns else names)
    gathered.leave_out_articles()
    left_out = {entry: reason for (entry, _), reason in gathered.left_out.items()}
    return Concepts(table=gathered.table(), left_out=_reasons(left_out), identity=_identity(gathered.sources))


def build_list(
    rule: MetadataRule, *, own_words: Sequence[str] = (), synsets: pa.Table | None = None, offers: Sequence[Offer] = ()
) -> Concepts:
    """Return the list of all sources: numbers, `own_words`, names of `synsets`, then `offers`, in the order of SOURCES.

    An entry stands where it is first named and keeps the tags of all who name it. Left out are empty, punctuation,
    too long, what a source's own limits leave out, and what is new once there are `max_entries`. `counts`, per source:
    offered (distinct), kept (in the list with its tag), new (first named by it), left_out (by reason).
    """
    gathered = _Gathered(
        max_entries=rule.max_entries, max_characters=rule.max_characters, function_words=rule.function_words
    )
    offered = {offer.source: offer for offer in offers}
    if rule.numbers:
        gathered.add("number", _numbers())
    gathered.add("list", ((word, "") for word in own_words))
    if synsets is not None:
        gathered.add("wordnet", synset_names(synsets, rule.lemmas))
    for source in SOURCES:
        if source in offered:
            gathered.add(source, ((entry, "") for entry in offered[source].entries["entry"].to_pylist()))
    gathered.leave_out_articles()
    table = gathered.table()
    for name, (source_name, value, kind) in _VALUES.items():
        table = table.append_column(name, _values(table["entry"], offered.get(source_name), value, kind))
    left_out = pa.concat_tables([_left_out(source, gathered.left_out, offered.get(source)) for source in SOURCES])
    return Concepts(
        table=table,
        left_out=left_out,
        identity=_identity(gathered.sources),
        counts=_counts(gathered.sources, left_out),
    )


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


def unmatchable(concepts: Concepts, mode: Mode = "faithful", *, plurals: bool = False) -> pa.Table:
    """Return [entry, why] for each entry that no caption whatsoever can match in `mode`, in order.

    In normalized mode `same_as` is the entry that stands for it, null where nothing is left of it.
    """
    if mode == "normalized":
        rows = unmatchable_normalized(concepts.entries, plurals=plurals)
        schema = pa.schema(dict.fromkeys(("entry", "why", "same_as"), pa.string()))
        return pa.table([[row[column] for row in rows] for column in range(3)], schema=schema)
    entries = concepts.table["entry"]
    doubtful = entries.filter(pc.match_substring_regex(entries, _MARK_OR_BLANK)).to_pylist()
    reasons = {entry: unmatchable_because(entry, mode) for entry in doubtful}
    return _reasons({entry: reason for entry, reason in reasons.items() if reason})


class _Gathered:
    """Entries in the order of first mention with their sources, and refusals: (entry, source) -> why."""

    def __init__(
        self, *, max_entries: int | None = None, max_characters: int = MAX_CHARACTERS, function_words: bool = True
    ) -> None:
        self.sources: dict[str, list[str]] = {}
        self.left_out: dict[tuple[str, str], str] = {}
        self._synsets: dict[str, list[str]] = {}
        self._max_entries, self._max_characters = max_entries, max_characters
        self._function_words = function_words

    def add(self, source: Source, named: Iterable[tuple[str, str]]) -> None:
        """Take (text, synset or "") from a source."""
        for text, synset in named:
            entry = text.strip()
            if reason := self._unfit(entry, source):
                self.left_out[entry, source] = reason
                continue
            _add(self.sources, entry, source)
            if synset:
                _add(self._synsets, entry, synset)

    def leave_out_articles(self) -> None:
        """Leave out, with words of grammar, what another entry is without its English article ("A'man", "the City").

        A caption that holds it in normalized mode hardly ever means more than the other entry.
        """
        if self._function_words:
            return
        folded = {entry.casefold() for entry in self.sources}
        for entry, sources in list(self.sources.items()):
            if without_article(entry) in folded and _ASKED_FOR.isdisjoint(sources):
                del self.sources[entry]
                self.left_out |= {(entry, source): "article_and_entry" for source in sources}

    def table(self) -> pa.Table:
        """Return [entry, sources, synsets]."""
        lists = pa.list_(pa.string())
        columns = {
            "entry": pa.array(list(self.sources), pa.string()),
            "sources": pa.array(list(self.sources.values()), lists),
            "synsets": pa.array([self._synsets.get(entry, []) for entry in self.sources], lists),
        }
        return pa.table(columns)

    def _unfit(self, entry: str, source: Source) -> str:
        if not entry:
            return "empty"
        if len(entry) == 1 and not entry.isalnum():
            return "single_punctuation"
        if all(unicodedata.category(character)[0] == "P" or character in string.punctuation for character in entry):
            return "only_punctuation"
        if len(entry) > self._max_characters:
            return "too_long"
        if not self._function_words and source not in _ASKED_FOR and (reason := without_content(entry)):
            return reason
        full = self._max_entries is not None and len(self.sources) >= self._max_entries
        return "beyond_max_entries" if full and entry not in self.sources else ""


def _has_capitals(named: tuple[str, str]) -> bool:
    return named[0] != named[0].lower()


def _numbers() -> Iterator[tuple[str, str]]:
    return ((str(number), "") for number in range(100))


def _values(entries: pa.ChunkedArray, offer: Offer | None, value: str, kind: pa.DataType) -> pa.Array:
    """A source's value of each of `entries`, null where it does not name one."""
    if offer is None:
        return pa.nulls(len(entries), kind)
    return offer.entries[value].combine_chunks().take(pc.index_in(entries, offer.entries["entry"]))


def _left_out(source: Source, gathered: Mapping[tuple[str, str], str], offer: Offer | None) -> pa.Table:
    """[entry, source, why, value] of one source: refused entries, then those that its own limits leave out."""
    table = _reasons({entry: reason for (entry, offered_by), reason in gathered.items() if offered_by == source})
    value = _JUDGED_BY.get(source, "")
    table = table.append_column("value", _values(table["entry"], offer, value, pa.float64()).cast(pa.float64()))
    if offer is not None:
        limited = offer.left_out.select(["entry", "why", value]).rename_columns(table.column_names)
        table = pa.concat_tables([table, limited.cast(table.schema)])
    return table.add_column(1, "source", pa.array([source] * table.num_rows, pa.string())).cast(_LEFT_OUT)


def _counts(sources: Mapping[str, Sequence[str]], left_out: pa.Table) -> dict[str, Any]:
    kept = Counter(source for named in sources.values() for source in named)
    new = Counter(named[0] for named in sources.values())
    dropped = Counter(zip(left_out["source"].to_pylist(), left_out["why"].to_pylist(), strict=True))
    counts: dict[str, Any] = {}
    for source in SOURCES:
        reasons = {reason: count for (offered_by, reason), count in sorted(dropped.items()) if offered_by == source}
        if kept[source] or reasons:
            offered = kept[source] + sum(reasons.values())
            counts[source] = {"offered": offered, "kept": kept[source], "new": new[source], "left_out": reasons}
    return counts


def _add(lists: dict[str, list[str]], key: str, value: str) -> None:
    values = lists.setdefault(key, [])
    if value not in values:
        values.append(value)


def _reasons(reasons: Mapping[str, str]) -> pa.Table:
    columns = {"entry": list(reasons), "why": list(reasons.values())}
    return pa.table(columns, schema=pa.schema({"entry": pa.string(), "why": pa.string()}))


def _identity(entries: Iterable[str]) -> str:
    """As `storage.files.concept_lists.identity_of`, which this package may not import; a test holds them equal."""
    state = hashlib.sha256()
    for entry in entries:
        encoded = entry.encode("utf-8")
        state.update(len(encoded).to_bytes(8, "little"))
        state.update(encoded)
    return state.hexdigest()
