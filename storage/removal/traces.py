"""Traces of pairs in decoded content: which values name them, and where in tables, texts and tars these stand.

A value counts where it stands whole: a uid, URL or hash of a picture anywhere in a text, a caption as a cell, a line, a
quoted part or what stands between two tags. So the caption of one pair is not found in a longer one of another.
"""

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import one_array
from evenly.storage.feature_store import text_id
from evenly.storage.removal.forget import ForgetList, Naming, domains_above
from evenly.storage.web.hosts import host_of
from evenly.storage.web.shards import url_key

Rows = npt.NDArray[np.bool_]
KINDS = ("uid", "url", "picture", "perceptual hash", "caption")
"""Kinds of values that name a pair."""
_NAME = r"(?<![0-9a-fA-F])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9a-fA-F])"
_URL = r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\\x00-\x1f]+"
_TOKEN = re.compile(f"{_NAME}|{_URL}|(?:sha256|features):[0-9a-f]{{64}}")
_PARTS = re.compile(r"""[\n\r\t"\u201c\u201d«»\u2018\u2019]|(?<!\w)'|'(?!\w)|: """)
_TAGS = re.compile(r"<[^>]*>")
_AFTER_URL = ".,;:!?)]}"


@dataclass(frozen=True, kw_only=True)
class Traces:
    """All values by which pairs can be found.

    uids, urls, captions; pictures: the sha256 of their bytes; looks: their perceptual hashes, in hex; domains: of any
    URL. Values that other pairs have as well are none of them.
    """

    uids: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    pictures: frozenset[str] = frozenset()
    looks: frozenset[str] = frozenset()
    captions: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def to_json(self) -> dict[str, list[str]]:
        """The values as JSON has them."""
        return {name: sorted(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Iterable[str]]) -> "Traces":
        """Read back what `to_json` gave."""
        return cls(**{name: frozenset(values) for name, values in value.items()})

    @cached_property
    def _kind_of(self) -> dict[str, str]:
        """The kind of each value that may stand in a longer text."""
        kinds = dict.fromkeys(self.uids, "uid") | dict.fromkeys(self.urls, "url")
        kinds |= dict.fromkeys(map(url_key, self.urls), "url")
        kinds |= dict.fromkeys(map(text_id, self.captions), "caption")
        return kinds | dict.fromkeys(self.pictures, "picture")

    def kind_of(self, token: str) -> str | None:
        """The kind of a value that stands by itself or in a longer text; None for one that is not looked for."""
        kind = self._kind_of.get(token)
        return "url" if kind is None and self.domains and self._is_below(token) else kind

    def _is_below(self, address: str) -> bool:
        host = host_of(address) if "://" in address else None
        return host is not None and not self.domains.isdisjoint(domains_above(host))

    @property
    def _knows_all(self) -> bool:
        """Whether all that is looked for are known values, with which whole cells are compared."""
        return not self.domains

    @cached_property
    def _texts(self) -> tuple[tuple[str, pa.Array], ...]:
        by_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for value, kind in self._kind_of.items():
            by_kind[kind].append(value)
        by_kind["perceptual hash"] += self.looks
        by_kind["caption"] += self.captions
        return tuple((kind, pa.array(values, pa.string())) for kind, values in by_kind.items() if values)

    def in_text(self, text: str) -> Counter[str]:
        """Counts of the values in a text, by kind."""
        counts: Counter[str] = Counter()
        for token in _TOKEN.findall(text):
            if (kind := self.kind_of(token) or self.kind_of(token.rstrip(_AFTER_URL))) is not None:
                counts[kind] += 1
        if self.captions:
            parts = {part.strip() for part in _PARTS.split(text)} | {text, text.strip()}
            counts["caption"] += len(parts & self.captions)
        return +counts

    def in_page(self, page: str) -> Counter[str]:
        """Counts of the values in HTML: in what stands between tags, and in tags."""
        pieces = [*_TAGS.split(page), *_TAGS.findall(page)]
        return sum((self.in_text(html.unescape(piece)) for piece in pieces), Counter[str]())

    def in_json(self, value: Any) -> Counter[str]:  # noqa: ANN401 - any JSON value
        """Counts of the values in all texts of a JSON value, keys included, and in JSON that is a text of it."""
        counts: Counter[str] = Counter()
        for text in _texts_in(value):
            counts += self.in_text(text)
            if text[:1] in "{[" and text[-1:] in "}]":
                try:
                    counts += self.in_json(json.loads(text))
                except (ValueError, RecursionError):
                    continue
        return counts

    def in_bytes(self, content: bytes) -> Counter[str]:
        """Counts of the values in bytes of an unknown form: as text, and as the bytes that hashes stand for."""
        counts = self.in_text(content.decode("utf-8", "replace"))
        for kind, values in (("uid", self.uids), ("picture", self.pictures)):
            counts[kind] += sum(bytes.fromhex(value) in content for value in values)
        return +counts

    def in_table(self, table: pa.Table) -> tuple[Counter[str], Rows]:
        """Counts of the values in the cells of a table, nested ones too, and whether each row (n,) has one."""
        counts, rows = Counter[str](), np.zeros(table.num_rows, np.bool_)
        for name, column in zip(table.column_names, map(one_array, table.columns), strict=True):
            if name == PHASH and pa.types.is_integer(column.type) and self.looks:
                column = _as_hex(column)  # noqa: PLW2901 - as texts have it
            for values, owners in _leaves(column, np.arange(table.num_rows)):
                for kind, is_one in self._in_array(values):
                    counts[kind] += int(is_one.sum())
                    rows[owners[is_one]] = True
        return +counts, rows

    def _in_array(self, values: pa.Array) -> Iterator[tuple[str, Rows]]:
        if pa.types.is_binary(values.type):
            is_short = pc.less_equal(pc.binary_length(values), _LONGEST_BYTES)
            yield from self._by_kind(
                values, _flags(is_short), lambda value: {self.kind_of(value.hex()), self._look(value)}
            )
            return
        for kind, wanted in self._texts:
            yield kind, _is_in(values, wanted)
        longer = pc.match_substring_regex(values, _LONGER)
        if self._knows_all:
            longer = pc.and_not(longer, pc.match_substring_regex(values, _WHOLE))
        for kind, is_one in self._by_kind(values, _flags(longer), self.in_text):
            yield kind, is_one & ~self._is_whole(values, kind)

    def _by_kind(
        self, values: pa.Array, chosen: Rows, kinds_in: Callable[[Any], Collection[str | None]]
    ) -> Iterator[tuple[str, Rows]]:
        """Of each kind that stands in one of the chosen values, where these are."""
        distinct = values.filter(pa.array(chosen)).unique()
        kinds = [kinds_in(value) for value in distinct.to_pylist()]
        for kind in {kind for names in kinds for kind in names if kind is not None}:
            yield kind, _is_in(values, distinct.filter(pa.array([kind in names for names in kinds])))

    def _look(self, value: bytes) -> str | None:
        return "perceptual hash" if value.hex() in self.looks else None

    def _is_whole(self, values: pa.Array, kind: str) -> Rows:
        return next(
            (_is_in(values, wanted) for name, wanted in self._texts if name == kind), np.zeros(len(values), bool)
        )


@dataclass(frozen=True, kw_only=True)
class ListedTraces(Traces):
    """All values that are on a forget list: they are looked for by its key, and known to nobody."""

    forget: ForgetList
    kinds: dict[str, str | None] = field(default_factory=dict, compare=False, repr=False)  # of what was asked for

    def __bool__(self) -> bool:
        return bool(self.forget.hashes)

    def kind_of(self, token: str) -> str | None:
        """The kind of a value that is on the list."""
        if token not in self.kinds:
            self.kinds[token] = self._listed_kind(token)
        return self.kinds[token]

    def _listed_kind(self, token: str) -> str | None:
        hashes, hash_of = self.forget.hashes, self.forget.hash_of
        if ":" not in token:
            naming, kind = _NAMINGS.get(len(token), ("uid", "uid"))
            return kind if hash_of(naming, token) in hashes else None
        host = host_of(token) if "://" in token else None
        domains = () if host is None else domains_above(host)
        is_listed = hash_of("url", token) in hashes or any(hash_of("domain", name) in hashes for name in domains)
        return "url" if is_listed else None

    @property
    def _knows_all(self) -> bool:
        return False


_NAMINGS: Mapping[int, tuple[Naming, str]] = {64: ("image_id", "picture")}
"""The naming and the kind of a hash by the number of its digits; others are of pairs."""
PHASH = "phash"
_LONGER = r"[0-9a-f]{32}|://|\n|\""
_WHOLE = r"^(?:[0-9a-f]{32}|[0-9a-f]{64}|(?:sha256|features):[0-9a-f]{64}|[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+)$"
_LONGEST_BYTES = 32


def _as_hex(numbers: pa.Array) -> pa.Array:
    """64-bit numbers as 16 hexadecimal digits."""
    return pa.array([None if number is None else f"{number % (1 << 64):016x}" for number in numbers.to_pylist()])


def _is_in(values: pa.Array, wanted: pa.Array) -> Rows:
    return _flags(pc.is_in(values, wanted.cast(values.type)))


def _flags(mask: pa.Array) -> Rows:
    return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), np.bool_)


def _leaves(values: pa.Array, owners: npt.NDArray[np.int64]) -> Iterator[tuple[pa.Array, npt.NDArray[np.int64]]]:
    """The texts and bytes within an array, at any depth, each with the rows (n,) that they stand in."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(values.dictionary_decode(), owners)
    elif pa.types.is_map(kind):
        yield from _leaves(
            values.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))), owners
        )
    elif pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            yield from _leaves(values.field(place), owners)
    elif pa.types.is_nested(kind):
        if not pa.types.is_primitive(kind.value_type):
            yield from _leaves(pc.list_flatten(values), owners[pc.list_parent_indices(values).to_numpy()])
    elif pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        yield values.cast(pa.binary()), owners
    elif pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        yield values.cast(pa.string()), owners
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        yield values, owners


def _texts_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
