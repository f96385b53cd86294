"""The query of a search: texts, pictures and pairs, and conditions on columns of the pairs it may give."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.features.search.nearest import query_row
from evenly.features.unit_rows import Single
from evenly.keys import is_text_type
from evenly.storage.builds import encoder_of, funnel_of
from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.storage.samples import BuildSamples, outcomes_of, sql_in
from evenly.storage.workspace import Workspace
from evenly.tasks.decoding import PictureReader
from evenly.tasks.encoders import open_encoder, query_encoder
from evenly.tasks.labelled_rows import check_encoder
from evenly.tasks.run import Run

_FORM = re.compile(r"\s*(?P<column>[^=<>!]*[^=<>!\s])\s*(?P<relation>!=|>=|<=|=|>|<)(?P<value>.*)", re.DOTALL)
_ORDERED = {">": pc.greater, ">=": pc.greater_equal, "<": pc.less, "<=": pc.less_equal}


@dataclass(frozen=True)
class Condition:
    """A condition on the value of a column: `relation` is one of =, !=, >, >=, < and <=. `=` nothing is null or ""."""

    column: str
    relation: str
    value: str

    @classmethod
    def read(cls, text: str) -> "Condition":
        """The condition that a text states. Raises InputError."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise InputError(
                f"`where` must be a column, one of =, !=, >, >=, <, <= and a value; got `{text}`. Write source=flickr."
            )
        return cls(form["column"], form["relation"], form["value"].strip())

    def __str__(self) -> str:
        return f"{self.column}{self.relation}{self.value}"


def meet(table: pa.Table, conditions: Sequence[Condition]) -> pa.Array:
    """Whether each row meets all conditions; of several `=` on one column it need meet one.

    Raises InputError for a value or relation that does not suit the column.
    """
    alternatives = defaultdict[str, list[pa.Array]](list)
    meets = pa.repeat(pa.scalar(True), table.num_rows)
    for condition in conditions:
        is_met = _meets(table[condition.column].combine_chunks(), condition)
        if condition.relation == "=":
            alternatives[condition.column].append(is_met)
        else:
            meets = pc.and_(meets, is_met)
    for masks in alternatives.values():
        meets_any = masks[0]
        for mask in masks[1:]:
            meets_any = pc.or_(meets_any, mask)
        meets = pc.and_(meets, meets_any)
    return meets


def _meets(column: pa.Array, condition: Condition) -> pa.Array:
    kind = column.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if condition.relation in _ORDERED:
        if not is_number:
            raise _wrong(condition, "be of a column of numbers where it asks for more or less", "Use = or !=")
        return pc.fill_null(_ORDERED[condition.relation](column, _number(condition)), False)
    if condition.value == "":
        equal = pc.is_null(column) if not is_text_type(kind) else pc.fill_null(pc.equal(column, ""), True)
    elif is_number:
        equal = pc.fill_null(pc.equal(column, _number(condition)), False)
    elif pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise _wrong(condition, f"be of a column of texts, numbers, dates or truths, not {kind}", "Choose another")
    else:
        equal = pc.fill_null(pc.equal(column.cast(pa.string()), condition.value), False)
    return equal if condition.relation == "=" else pc.invert(equal)


def _number(condition: Condition) -> pa.Scalar:
    try:
        return pa.scalar(float(condition.value))
    except ValueError:
        raise _wrong(condition, "have a number, as its column has", "Correct it") from None


def _wrong(condition: Condition, rule: str, remedy: str) -> InputError:
    return InputError(f"`where` must {rule}; got `{condition}`. {remedy}.")


ROWS = ("kept", "dropped", "all")
PICTURES, CAPTIONS, REGIONS = WITHIN = ("pictures", "captions", "regions")
"""What of pairs is compared with a query."""
COMPARED = pa.schema([("uid", pa.string()), ("feature_id", pa.string())])
"""Pairs, and under which id the features of their picture or caption are stored."""
OUTCOME = ("verdict", "step", "reason")
"""Where a pair ended, under these names whatever the pool calls its columns."""
_KNOWN_BY = ("caption", "chosen_caption", "source", "label", "file_name", "url", "source_id", "image_id")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Pairs that are looked through: `rows` of a build (dropped: all that are not in it) that meet all conditions."""

    rows: str = "all"
    where: Sequence[Condition] = ()

    def __post_init__(self) -> None:
        if self.rows not in ROWS:
            raise InputError(f"`rows` must be kept, dropped or all; got `{self.rows}`. Choose one.")


@dataclass(eq=False)
class SearchedPairs:
    """The pairs of a build that a selection takes; `matched` counts those of the last time that they were read."""

    workspace: Workspace
    manifest: Mapping[str, Any]
    selection: Selection
    matched: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._samples = BuildSamples(self.workspace, self.manifest)
        for condition in self.selection.where:
            if condition.column not in self._columns and condition.column not in OUTCOME:
                alike = get_close_matches(condition.column, [*self._columns, *OUTCOME], n=5, cutoff=0.4)
                raise InputError(
                    f"`where` must name a column of the build, or verdict, step or reason; got `{condition.column}`. "
                    f"Near it: {', '.join(alike) or 'none'}."
                )

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """These columns of the pairs, sorted by uid, some 65,536 rows at a time."""
        self.matched = 0
        compared = {condition.column for condition in self.selection.where}
        judged = self._judged if self.selection.rows != "all" or compared & set(OUTCOME) else []
        wanted = list(dict.fromkeys([*columns, *judged, *sorted(compared - set(OUTCOME))]))
        for table in self._samples.batches(wanted):
            outcomes = outcomes_of(table, self._steps) if judged else None
            chosen = table.filter(self._chosen(table, outcomes)).select(list(columns))
            self.matched += chosen.num_rows
            yield chosen

    def compared(self, within: str) -> Iterator[pa.Table]:
        """COMPARED of the pairs, as `batches` gives them; null where a pair has no picture or caption.

        A pair's caption is the one that was chosen for it, else its own.
        """
        if within == PICTURES:
            for table in self.batches(["uid", "image_id"]):
                yield table.rename_columns(COMPARED.names)
            return
        captions = [name for name in ("chosen_caption", "caption") if name in self._columns]
        for table in self.batches(["uid", *captions]):
            texts = pc.coalesce(*(table[name] for name in captions)).to_pylist()
            ids = pa.array([None if text is None else text_id(text) for text in texts], pa.string())
            yield pa.table([table["uid"], ids], COMPARED)

    def with_image_ids(self, image_ids: pa.Array) -> pa.Table:
        """Uid and image_id of the pairs that show one of these pictures, sorted by uid."""
        batches = self.batches(["uid", "image_id"])
        return pa.concat_tables([table.filter(pc.is_in(table["image_id"], image_ids)) for table in batches])

    def facts(self, uids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By uid: where each pair ended, with the value and the twin of the step that decided, and what it is."""
        plain = [name for name in _KNOWN_BY if name in self._columns]
        named = [condition.column for condition in self.selection.where if condition.column not in OUTCOME]
        judged = [*self._judged, *self._deciding("value"), *self._deciding("into")]
        wanted = list(dict.fromkeys(["uid", *plain, *named, *judged]))
        table = self._samples.read(wanted, sql_in("uid", uids))
        outcomes = outcomes_of(table, self._steps).to_pylist()
        rows = table.to_pylist()
        return {row["uid"]: self._fact(row, outcome, plain, named) for row, outcome in zip(rows, outcomes, strict=True)}

    @cached_property
    def _columns(self) -> list[str]:
        return self._samples.columns

    @cached_property
    def _steps(self) -> list[str]:
        """The steps that judged pairs, in order."""
        return [step["step"] for step in funnel_of(self.manifest) if f"{step['step']}_verdict" in self._columns]

    @property
    def _judged(self) -> list[str]:
        return [*self._deciding("verdict"), *self._deciding("reason")]

    def _deciding(self, column: str) -> list[str]:
        return [f"{step}_{column}" for step in self._steps]

    def _chosen(self, table: pa.Table, outcomes: pa.Table | None) -> pa.Array:
        if outcomes is None:
            return meet(table, self.selection.where)
        for name in OUTCOME:
            place = table.column_names.index(name) if name in table.column_names else -1
            table = (
                table.append_column(name, outcomes[name])
                if place < 0
                else table.set_column(place, name, outcomes[name])
            )
        chosen = meet(table, self.selection.where)
        if self.selection.rows == "all":
            return chosen
        is_kept = pc.equal(outcomes["verdict"].combine_chunks(), "kept")
        return pc.and_(chosen, is_kept if self.selection.rows == "kept" else pc.invert(is_kept))

    def _fact(
        self, row: Mapping[str, Any], outcome: Mapping[str, str], plain: Sequence[str], named: Sequence[str]
    ) -> dict[str, Any]:
        step = outcome["step"]
        decided = {name: row.get(f"{step}_{name}") if step else None for name in ("value", "into")}
        return {**{name: row[name] for name in dict.fromkeys([*plain, *named])}, **outcome, **decided}


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query: pairs whose pictures are like these texts, pictures (as bytes) and pairs (uids) together.

    minus: texts that they are not to be like.
    """

    texts: Sequence[str] = ()
    images: Sequence[bytes] = ()
    uids: Sequence[str] = ()
    minus: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not (self.texts or self.images or self.uids):
            raise InputError("`search` must get a text, a picture or a uid; got none. Say what is searched for.")
        for name in ("texts", "minus"):
            if any(not text.strip() for text in getattr(self, name)):
                raise InputError(f"`{name}` must hold words; got an empty text. Leave it out.")


def encode_query(run: Run, manifest: Mapping[str, Any], query: Query) -> Single:
    """The unit row (d,) of a query: the mean of its directions, less that of `minus`.

    No model is loaded for uids alone. Raises InputError for a uid that the build never saw, or whose picture has no
    features.
    """
    identity = encoder_of(manifest)
    rows = list[npt.NDArray[np.floating]]()
    if query.uids:
        rows.append(_rows_of_pairs(run, manifest, identity, query.uids))
    minus = np.zeros((0, 0), np.float32)
    if query.texts or query.images or query.minus:
        check_encoder(run, manifest)
        encoder = query_encoder(run)
        if query.texts:
            rows.append(encoder.encode_texts(query.texts))
        if query.images:
            with PictureReader(run, run.encoder.resize) as reader:
                rows.append(open_encoder(run).encode_images(reader.pixels(query.images, "image")))
        if query.minus:
            minus = encoder.encode_texts(query.minus)
        texts = [*query.texts, *query.minus]
        for text, is_cut in zip(texts, encoder.truncated(texts), strict=True):
            if is_cut:
                run.progress.say(f"longer than the model reads, and cut: {text}")
    return query_row(np.concatenate(rows), minus)


def _rows_of_pairs(run: Run, manifest: Mapping[str, Any], encoder: str, uids: Sequence[str]) -> npt.NDArray[np.float16]:
    table = BuildSamples(run.workspace, manifest).read(["uid", "image_id"], sql_in("uid", uids))
    image_ids = dict(zip(table["uid"].to_pylist(), table["image_id"].to_pylist(), strict=True))
    for uid in uids:
        if uid not in image_ids:
            raise InputError(f"`uid` must be of a pair that build `{manifest['build']}` saw; got `{uid}`. Correct it.")
        if image_ids[uid] is None:
            raise InputError(f"`uid` must be of a pair with a picture; `{uid}` has none. `evenly why {uid}` says why.")
    try:
        return FeatureStore(run.workspace, encoder, "images").read([image_ids[uid] for uid in uids])[0]
    except NotFoundError:
        raise InputError(
            f"`uid` must be of pairs whose pictures have features; of `{', '.join(uids)}` some were dropped earlier. "
            "Hand in the picture itself: --image FILE."
        ) from None
