"""A take-down before it is done: which pairs are named, with or without their twins, and all values that name them.

A thing is a uid, the sha256 of a picture, a URL, a domain, `caption:` and a pattern, or a file of these. Pairs are
looked for in all tables of the ledger, those of no build included, and in the records of downloads.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import LOCAL_ADDRESS, one_array
from evenly.storage.errors import InputError
from evenly.storage.files.blocklists import read_blocklist
from evenly.storage.removal.forget import Naming, domains_above
from evenly.storage.removal.references import FIRST_STEP
from evenly.storage.removal.traces import PHASH, Traces
from evenly.storage.tables.arrow_files import read_schema, read_table
from evenly.storage.web.hosts import ascii_host, hosts_of, is_public_suffix
from evenly.storage.web.shards import each_records
from evenly.storage.workspace import Workspace

PATTERN = "caption:"
_UID, _SHA256 = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{64}")
_ADDRESS = re.compile(f"[A-Za-z][A-Za-z0-9+.-]*://.+|{LOCAL_ADDRESS.removeprefix('^').removesuffix('$')}")
_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
_NAMING = ("uid", "url", "caption")
_OF_PAIRS = frozenset(("id", "image_id", "url", "file_name", "source_id"))
_KINDS = {"url": "urls", "caption": "captions", "chosen_caption": "captions", PHASH: "looks"}
"""Columns of tables by uid that hold a pair's own values, and the kind of these."""
_OF_OTHERS = "captions-"  # tables of what pairs took over from those that were merged into them


@dataclass(frozen=True, kw_only=True)
class Things:
    """Things that people want taken down, by kind; patterns: regular expressions of captions."""

    uids: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    pictures: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()

    def rows(self, pairs: pa.Table) -> pa.Array:
        """Whether each of `pairs` [uid, url, caption] is named; a pattern names pairs alone, no row without a uid."""
        has_uid, captions = pairs["uid"].is_valid(), pairs["caption"]
        by_pattern = [
            pc.and_(pc.fill_null(pc.match_substring_regex(captions, pattern), False), has_uid)
            for pattern in self.patterns
        ]
        masks = [pc.is_in(pairs["uid"], _texts(self.uids)), self.addresses(one_array(pairs["url"])), *by_pattern]
        return pc.fill_null(reduce(pc.or_, masks), False)

    def addresses(self, urls: pa.Array) -> pa.Array:
        """Whether each of `urls` (n,) is named: itself, by its domain or by the picture at hand that it stands for."""
        files = pc.struct_field(pc.extract_regex(urls, LOCAL_ADDRESS), "hash")
        named = pc.or_(pc.is_in(urls, _texts(self.urls)), pc.is_in(files, _texts(self.pictures)))
        if self.domains:
            hosts = hosts_of(urls)
            listed = [
                host
                for host in hosts.unique().drop_null().to_pylist()
                if not self.domains.isdisjoint(domains_above(host))
            ]
            named = pc.or_(named, pc.is_in(hosts, _texts(listed)))
        return pc.fill_null(named, False)


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A picture like one that is to go. likeness: in bytes, looks or cosine; place: where its bytes lie."""

    uid: str
    url: str
    likeness: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The pairs that a take-down is of.

    uids: of pairs that are there now. traces: the values of these that no other pair has. entries: what goes on the
    forget list. twins: of their pictures; they are among the pairs only where that was asked for.
    """

    uids: frozenset[str]
    traces: Traces
    entries: Sequence[tuple[Naming, str]]
    twins: Sequence[Twin]


def parse_things(words: Iterable[str]) -> Things:
    """The things that words name. Raises InputError for a word that is none; it shows no line of a file."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for word in words:
        kind = _kind_of(word)
        for kind_of_line, line in _lines(word) if kind is None else [(kind, word)]:
            kinds[kind_of_line].add(_value_of(kind_of_line, line))
    patterns = tuple(sorted(kinds.pop("patterns", ())))
    for domain in filter(is_public_suffix, sorted(kinds["domains"])):
        raise InputError(
            f"`thing` must be a domain that somebody registered, or a host below it; got `{domain}`, under which "
            "anybody may register one. Name those that are to go."
        )
    for pattern in patterns:
        try:
            pc.match_substring_regex(pa.array([""]), pattern)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"`{PATTERN}` must be followed by a pattern; got `{pattern}`: {error}. Correct it."
            ) from None
    return Things(patterns=patterns, **{kind: frozenset(values) for kind, values in kinds.items()})


_RULE = f"a uid, a URL, the sha256 of a picture, a domain, or `{PATTERN}` and a pattern"


def _lines(word: str) -> Iterator[tuple[str, str]]:
    """The kinds and the things of a file of these."""
    if not _is_file(word):
        raise InputError(f"`thing` must be {_RULE}, or a file of these; got {word!r}. Correct it.")
    for number, line in enumerate(read_blocklist(Path(word)).entries, 1):
        kind = _kind_of(line)
        if kind is None:
            raise InputError(f"entries of `{word}` must each be {_RULE}; number {number} is none. Correct it.")
        yield kind, line


def _kind_of(word: str) -> str | None:
    if word.startswith(PATTERN) and len(word) > len(PATTERN):
        return "patterns"
    forms = {"uids": _UID, "pictures": _SHA256, "urls": _ADDRESS}
    kind = next((kind for kind, form in forms.items() if form.fullmatch(word)), None)
    return kind or ("domains" if _DOMAIN.fullmatch(ascii_host(word)) and not _is_file(word) else None)


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except OSError:  # a name that is too long
        return False


def _value_of(kind: str, word: str) -> str:
    return word.removeprefix(PATTERN) if kind == "patterns" else ascii_host(word) if kind == "domains" else word


def resolve(workspace: Workspace, named: Things, *, with_twins: bool) -> Resolved:
    """The pairs that are named, in a workspace as it is now."""
    wanted = _with_addresses(workspace, named)
    uids, urls = _pairs(workspace, wanted)
    twins = _twins(workspace, uids, urls)
    if with_twins and twins:
        addresses = urls | {twin.url for twin in twins}
        pictures = wanted.pictures | _pictures_at(workspace, addresses)
        wanted = _with_addresses(workspace, replace(wanted, urls=wanted.urls | addresses, pictures=pictures))
        uids, urls = _pairs(workspace, wanted)
    entries: list[tuple[Naming, str]] = []
    listed = wanted.uids | (uids if wanted.patterns else frozenset())
    entries += [("uid", uid) for uid in sorted(listed)] + [("url", url) for url in sorted(wanted.urls)]
    entries += [("image_id", name) for name in sorted(wanted.pictures)]
    entries += [("domain", name) for name in sorted(wanted.domains)]
    return Resolved(uids=uids, traces=_traces(workspace, wanted, uids), entries=entries, twins=twins)


def _with_addresses(workspace: Workspace, named: Things) -> Things:
    """With the addresses at which pictures that are named were downloaded."""
    if not named.pictures:
        return named
    tables = each_records(workspace.downloads, ["url", "image_id"])
    urls = {
        url
        for table in tables
        for url in table.filter(pc.is_in(table["image_id"], _texts(named.pictures)))["url"].to_pylist()
    }
    return replace(named, urls=named.urls | urls)


def _pictures_at(workspace: Workspace, urls: frozenset[str]) -> frozenset[str]:
    """The hashes of the pictures at some addresses."""
    local = pc.struct_field(pc.extract_regex(_texts(urls), LOCAL_ADDRESS), "hash").drop_null().to_pylist()
    tables = each_records(workspace.downloads, ["url", "image_id"])
    return frozenset(local) | {
        name
        for table in tables
        for name in table.filter(pc.is_in(table["url"], _texts(urls)))["image_id"].drop_null().to_pylist()
    }


def _pairs(workspace: Workspace, named: Things) -> tuple[frozenset[str], frozenset[str]]:
    """The uids and the URLs of the rows that are named, of all pools that were collected and of downloads."""
    uids, urls = set[str](), set[str]()
    for rows in _collected(workspace):
        chosen = rows.filter(named.rows(rows))
        uids |= set(chosen["uid"].drop_null().to_pylist())
        urls |= set(chosen["url"].drop_null().to_pylist())
    for table in each_records(workspace.downloads, ["url"]):
        addresses = table["url"].combine_chunks()
        urls |= set(addresses.filter(named.addresses(addresses)).to_pylist())
    return frozenset(uids), frozenset(urls)


def _traces(workspace: Workspace, named: Things, uids: frozenset[str]) -> Traces:
    """The values of rows that are named, without those that other rows have."""
    values: dict[str, set[Any]] = {kind: set() for kind in set(_KINDS.values())}
    shared: dict[str, set[Any]] = {kind: set() for kind in values}
    for name, column, is_own in _columns(workspace, named, uids):
        values[_KINDS[name]] |= set(column.filter(is_own).drop_null().to_pylist())
    for name, column, is_own in _columns(workspace, named, uids):
        is_shared = pc.and_(pc.invert(is_own), pc.is_in(column, pa.array(list(values[_KINDS[name]]), column.type)))
        shared[_KINDS[name]] |= set(column.filter(is_shared).drop_null().to_pylist())
    shared["captions"] |= _words_of_others(workspace, values["captions"])
    urls = values["urls"] - shared["urls"]
    pictures, kept, shared_urls = set[str](), set[str](), shared["urls"]
    for table in each_records(workspace.downloads, ["url", "final_url", "image_id"]):
        is_own = pc.or_(pc.is_in(table["url"], _texts(urls)), named.addresses(table["url"].combine_chunks()))
        chosen, remaining = table.filter(is_own), table.filter(pc.invert(is_own))
        urls |= {*chosen["url"].to_pylist(), *chosen["final_url"].drop_null().to_pylist()}
        pictures |= set(chosen["image_id"].drop_null().to_pylist())
        shared_urls |= {*remaining["url"].to_pylist(), *remaining["final_url"].drop_null().to_pylist()}
        kept |= set(remaining["image_id"].drop_null().to_pylist())
    urls -= shared_urls
    local = pc.struct_field(pc.extract_regex(_texts(urls), LOCAL_ADDRESS), "hash").drop_null().to_pylist()
    looks = values["looks"] - shared["looks"]
    return Traces(
        uids=uids,
        urls=frozenset(urls),
        pictures=frozenset(pictures | set(local) | named.pictures) - (kept - named.pictures),
        looks=frozenset(name if isinstance(name, str) else f"{name % (1 << 64):016x}" for name in looks),
        captions=frozenset(text for text in values["captions"] - shared["captions"] if text.strip()),
    )


def _columns(workspace: Workspace, named: Things, uids: frozenset[str]) -> Iterator[tuple[str, pa.Array, pa.Array]]:
    """Each column of _KINDS of each table, and which of its rows are of pairs that are named."""
    for rows in _collected(workspace):
        is_named = named.rows(rows)
        yield from ((name, one_array(rows[name]), is_named) for name in ("url", "caption"))
    for table in _tables(workspace, lambda names: "uid" in names and not names.isdisjoint(_KINDS)):
        table = table.filter(table["uid"].is_valid())  # noqa: PLW2901 - rows without a uid are among the collected
        is_own = one_array(pc.is_in(table["uid"], _texts(uids)))
        yield from ((name, one_array(table[name]), is_own) for name in table.column_names if name in _KINDS)


def _words_of_others(workspace: Workspace, captions: set[str]) -> set[str]:
    """Those of captions that are also a concept, a class or another value of a table that is of no pairs."""
    wanted, words = _texts(captions), set[str]()
    for path in sorted(workspace.ledger.glob("*/*.arrow")):
        names = read_schema(path).names
        if not any(name.startswith("uid") or name in _OF_PAIRS for name in names):
            for column in read_table(path).columns:
                if pa.types.is_string(column.type):
                    words |= set(column.filter(pc.is_in(column, wanted)).to_pylist())
    return words


def _collected(workspace: Workspace) -> Iterator[pa.Table]:
    """Rows [uid, url, caption] of every pool that was collected: pairs, and what never became one."""
    for table in _tables(workspace, lambda names: names.issuperset(_NAMING), FIRST_STEP):
        rows = table.select(list(_NAMING))
        yield rows.filter(pc.or_(rows["url"].is_valid(), rows["caption"].is_valid()))


def _tables(workspace: Workspace, wanted: Callable[[set[str]], bool], folder: str = "*") -> Iterator[pa.Table]:
    """The tables of the ledger whose columns are wanted, but for captions that pairs took over from others."""
    for path in sorted(workspace.ledger.glob(f"{folder}/*.arrow")):
        if not path.name.startswith(_OF_OTHERS) and wanted(names := set(read_schema(path).names)):
            yield read_table(path, [name for name in ("uid", *_KINDS) if name in names])


def _twins(workspace: Workspace, uids: frozenset[str], urls: frozenset[str]) -> list[Twin]:
    """The pairs whose pictures are equal, or were found to look alike, in one step or several, without `uids`."""
    by_uid: dict[str, str] = {}
    waiting, visited = set(uids), set(uids)
    edges = [
        read_table(path, ["uid_a", "uid_b", "kind"], pc.field("kind").isin(list(_BY)))
        for path in sorted(workspace.ledger.glob("*/edges-*.arrow"))
        if {"uid_a", "uid_b", "kind"} <= set(read_schema(path).names)
    ]
    while waiting:
        names, reached = _texts(waiting), dict[str, str]()
        for table in edges:
            for side, opposite in (("uid_a", "uid_b"), ("uid_b", "uid_a")):
                rows = table.filter(pc.is_in(table[side], names))
                reached |= dict(zip(rows[opposite].to_pylist(), rows["kind"].to_pylist(), strict=True))
        waiting = set(reached) - visited
        by_uid |= {uid: _BY[reached[uid]] for uid in waiting}
        visited |= waiting
    same_bytes = _with_addresses(workspace, Things(pictures=_pictures_at(workspace, urls)))
    addresses, places = dict[str, str](), _places(workspace)
    for rows in _collected(workspace):
        is_twin = pc.or_(pc.is_in(rows["uid"], _texts(by_uid)), same_bytes.rows(rows))
        for row in rows.filter(pc.and_(is_twin, rows["uid"].is_valid())).to_pylist():
            addresses[row["uid"]] = row["url"]
    return [
        Twin(uid=uid, url=url or "", likeness=by_uid.get(uid, "bytes"), place=places.get(url, ""))
        for uid, url in sorted(addresses.items())
        if uid not in uids
    ]


_BY = {"exact": "bytes", "perceptual": "looks", "semantic": "cosine"}


def _places(workspace: Workspace) -> dict[str, str]:
    """Where the bytes of each address lie."""
    places: dict[str, str] = {}
    for table in each_records(workspace.downloads, ["url", "tar", "offset"]):
        for row in table.filter(table["tar"].is_valid()).to_pylist():
            places[row["url"]] = f"{row['tar']} at {row['offset']}"
    return places


def _texts(values: Iterable[str]) -> pa.Array:
    return pa.array(list(values), pa.string())
