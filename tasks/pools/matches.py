"""Matches of pools, taken together: one list, counts over all, and the rows in stretches or, without names, at once."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.concepts.matching import BUNDLED
from evenly.curation.errors import RuleError
from evenly.storage.errors import DamagedError, InputError
from evenly.storage.matches.matches import MatchFile, counts_path, entries_path, texts_hash
from evenly.tasks.rebuild.concepts import recipe_concepts


@dataclass(frozen=True, kw_only=True)
class MatchPlace:
    """Where files of matches of one list lie: what other processes are given of them.

    entries: the list, where its texts do not lie beside the matches. per_language: whether languages are told apart.
    versions: what changes with the content of what is read.
    """

    paths: tuple[Path, ...]
    entries: str | None
    per_language: bool
    versions: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, paths: Sequence[Path], entries: str | None, *, per_language: bool) -> "MatchPlace":
        """The files as they are now."""
        places = tuple(path.absolute() for path in paths)
        if entries not in {None, *BUNDLED}:  # workers may be in other folders
            entries = str(Path(str(entries)).expanduser().absolute())
        read = [file for path in places for file in (path, counts_path(path), entries_path(path))]
        read += [] if entries in {None, *BUNDLED} else [Path(str(entries))]
        stats = [file.stat() if file.is_file() else None for file in read]
        versions = tuple(() if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)
        return cls(paths=places, entries=entries, per_language=per_language, versions=versions)

    @property
    def pool(self) -> "MatchedPool":
        """The files, opened and counted once in each process. Raises InputError where they do not belong together."""
        return _opened(self)


@lru_cache(maxsize=1)
def _opened(place: MatchPlace) -> "MatchedPool":
    return MatchedPool.at(place.paths, place.entries, per_language=place.per_language)


@dataclass(frozen=True, kw_only=True)
class MatchGroup:
    """A row group of one of several files, both by number."""

    file: int
    group: int


@dataclass(frozen=True, eq=False, kw_only=True)
class MatchedPool:
    """Files of matches of one list, and what is counted over all of them: counts (L, E)."""

    files: Sequence[MatchFile]
    concepts: pa.Array
    languages: tuple[str, ...]
    counts: Floats

    @classmethod
    def at(cls, paths: Sequence[Path], entries: str | None, *, per_language: bool) -> "MatchedPool":
        """Open the files and count; entries: the list, where its texts do not lie beside the matches.

        Raises InputError for matches of different lists or modes, or of one pool twice.
        """
        files = [MatchFile.at(path) for path in paths]
        _check_alike(files)
        if per_language and any(file.facts["columns"]["language"] is None for file in files):
            raise RuleError("thresholds per language need matches with languages. Match with --language-column.")
        names = {name for file in files for name in file.facts["languages"]} or {""}
        languages = tuple(sorted(names)) if per_language else ("",)
        counts = np.zeros((len(languages), files[0].n_entries))
        for file in files:
            table = file.counts()
            codes = np.zeros(table.num_rows, dtype=np.int64)
            if per_language:
                codes = pc.index_in(table["language"].combine_chunks(), pa.array(languages)).to_numpy()
            np.add.at(counts, (codes, table["entry"].to_numpy()), table["captions"].to_numpy())
        return cls(files=files, concepts=_texts(files, entries), languages=languages, counts=counts)

    @property
    def identity(self) -> dict[str, Any]:
        """The inputs of the result besides rule and seed."""
        state = hashlib.sha256("\n".join(self.languages).encode())
        state.update(self.counts.astype("<f8").tobytes())
        of_each = [{name: file.facts[name] for name in ("pool", "counts", "rows")} for file in self.files]
        facts = self.files[0].facts
        return {"list": facts["list"], "mode": facts["mode"], "matches": of_each, "counts": state.hexdigest()}

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(int(file.facts["rows"]) for file in self.files)

    @property
    def n_cells(self) -> int:
        """The number of counts of all languages: each process holds them, and the chances by them."""
        return int(self.counts.size)

    @property
    def held_bytes(self) -> int:
        """The memory that `pairs` takes, at most."""
        return 25 * self.rows + 4 * int(self.counts.sum())

    @cached_property
    def places(self) -> list[MatchGroup]:
        """The row groups of all files in order."""
        return [
            MatchGroup(file=number, group=group)
            for number, file in enumerate(self.files)
            for group in range(file.n_groups)
        ]

    def group(self, place: MatchGroup, columns: list[str]) -> pa.Table:
        """One row group, some columns of it."""
        return next(self.files[place.file].groups(columns, place.group))

    def groups(self, columns: list[str]) -> Iterator[pa.Table]:
        """The row groups of all files in order."""
        for file in self.files:
            yield from file.groups(columns)

    def part(self, group: pa.Table) -> MatchedPairs:
        """Return the rows of a group as pairs."""
        lists = group["entries"].combine_chunks()
        pairs = MatchedPairs.of(group["uid"].combine_chunks(), lists, self.concepts)
        return replace(pairs, language=self._codes(group), languages=self.languages)

    def pairs(self) -> MatchedPairs:
        """Return all rows that match, without their names: about 25 bytes each, and 4 per match (`held_bytes`)."""
        lengths, numbers, codes = [], [], []
        for group in self.groups(["language", "entries"]):
            lists = group["entries"].combine_chunks()
            match_counts = pc.list_value_length(lists).to_numpy()
            lengths.append(match_counts[match_counts > 0])
            numbers.append(lists.flatten().to_numpy())
            codes.append(self._codes(group)[match_counts > 0])
        ends = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
        n = len(ends) - 1
        return MatchedPairs(
            uids=pa.nulls(n),
            ends=ends,
            numbers=np.concatenate(numbers),
            concepts=self.concepts,
            language=np.concatenate(codes),
            languages=self.languages,
            shares=np.ones(n),
            chosen=np.ones(n, dtype=bool),
        )

    def _codes(self, group: pa.Table) -> npt.NDArray[np.int32]:
        if self.languages == ("",):
            return np.zeros(group.num_rows, dtype=np.int32)
        texts = pc.fill_null(group["language"].combine_chunks(), "")
        codes = pc.index_in(texts, pa.array(self.languages))
        if codes.null_count:
            raise DamagedError("matches must hold the languages that they name; they hold others. Match again.")
        numbers: npt.NDArray[np.int32] = codes.to_numpy().astype(np.int32)
        return numbers


def _check_alike(files: Sequence[MatchFile]) -> None:
    """Raise InputError for matches of different lists or modes, or of one pool twice."""
    if not files:
        raise InputError("`matches` must be at least one file; got none. Name what `evenly match` wrote.")
    first = files[0]
    for number, file in enumerate(files):
        for name in ("list", "mode", "plurals"):
            if file.facts[name] != first.facts[name]:
                values = [match_file.facts[name] for match_file in (first, file)]
                shown = [value["identity"] if isinstance(value, dict) else value for value in values]
                raise InputError(
                    f"matches must be of one {name}; got {shown[0]} at `{first.path}` and {shown[1]} at `{file.path}`. "
                    "Match them alike."
                )
        if any(file.facts["pool"] == earlier.facts["pool"] for earlier in files[:number]):
            raise InputError(f"matches must be of different pools; got one twice, at `{file.path}`. Leave one out.")


def _texts(files: Sequence[MatchFile], entries: str | None) -> pa.Array:
    """The texts of the list's entries."""
    wanted = files[0].facts["list"]
    if entries is not None:
        concepts = recipe_concepts(entries)
        texts = concepts.table["entry"].combine_chunks()
        if texts_hash(texts) != wanted["texts"]:
            raise InputError(
                f"`entries` must be the list of the matches, {wanted['identity']}; got {concepts.identity} at "
                f"`{entries}`. Name the list that was matched."
            )
        return texts.cast(pa.large_string())
    for file in files:
        texts = file.texts()
        if texts is not None:
            return texts.cast(pa.large_string())
    raise InputError(
        f"the texts of the entries must lie beside `{files[0].path}`; they do not. Name the list with --entries."
    )
