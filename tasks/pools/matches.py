"""Matches of pools, taken together: one list, counts over all, and the rows in stretches."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.concepts.matching import BUNDLED
from evenly.curation.errors import RuleError
from evenly.storage.errors import DamagedError, InputError
from evenly.storage.matches.matches import MatchFile, texts_hash
from evenly.tasks.rebuild.concepts import concept_version, recipe_concepts

Group = tuple[int, int]
"""A file of matches and one of its row groups, both by number."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MatchedPool:
    """Files of matches of one list, and what is counted over all of them: counts (L, E).

    place: what other processes are given of it; they open the files and count once each.
    """

    place: tuple[Any, ...]
    files: Sequence[MatchFile]
    concepts: pa.Array
    languages: tuple[str, ...]
    counts: Floats

    @classmethod
    def at(cls, paths: Sequence[Path], entries: str | None = None, *, per_language: bool) -> "MatchedPool":
        """The files as they are now, counted; entries: the list, where its texts do not lie beside the matches.

        Raises InputError for matches of different lists or modes, or of one pool twice.
        """
        paths = tuple(path.absolute() for path in paths)
        if entries not in {None, *BUNDLED}:  # workers may be in other folders
            entries = str(Path(str(entries)).expanduser().absolute())
        read = [file for path in paths for file in (path, *MatchFile(path=path, facts={}).beside)]
        read += [] if entries in {None, *BUNDLED} else [Path(str(entries))]
        return _opened(paths, entries, per_language, tuple(concept_version(str(file)) for file in read))

    def __reduce__(self) -> tuple[Callable[..., "MatchedPool"], tuple[Any, ...]]:
        return _opened, self.place

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
    def held_bytes(self) -> int:
        """The memory that all rows take as pairs without names, at most."""
        return 25 * self.rows + 4 * int(self.counts.sum())

    @property
    def groups(self) -> list[Group]:
        """The row groups of all files in order."""
        return [(number, group) for number, file in enumerate(self.files) for group in range(file.n_groups)]

    def tables(self, columns: list[str]) -> Iterator[pa.Table]:
        """The row groups of all files in order, some columns of them."""
        for file in self.files:
            yield from file.groups(columns)

    def table(self, group: Group, columns: list[str]) -> pa.Table:
        """One row group, some columns of it."""
        file, number = group
        return next(self.files[file].groups(columns, number))

    def pairs(self, table: pa.Table) -> MatchedPairs:
        """The rows of a group as pairs, which need no names to be counted."""
        language = None
        if self.languages != ("",):
            language = pc.fill_null(table["language"].combine_chunks(), "")
            if not pc.all(pc.is_in(language, pa.array(self.languages))).as_py():
                raise DamagedError("matches must hold the languages that they name; they hold others. Match again.")
        uids = table["uid"].combine_chunks() if "uid" in table.column_names else pa.nulls(table.num_rows)
        return MatchedPairs.of(
            uids, table["entries"].combine_chunks(), self.concepts, language=language, languages=self.languages
        )


@lru_cache(maxsize=1)
def _opened(paths: tuple[Path, ...], entries: str | None, per_language: bool, versions: object) -> MatchedPool:  # noqa: FBT001 - named in `at`
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
            codes = pc.index_in(table["language"].cast(pa.string()).combine_chunks(), pa.array(languages)).to_numpy()
        np.add.at(counts, (codes, table["entry"].to_numpy()), table["captions"].to_numpy())
    return MatchedPool(
        place=(paths, entries, per_language, versions),
        files=files,
        concepts=_texts(files, entries),
        languages=languages,
        counts=counts,
    )


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
