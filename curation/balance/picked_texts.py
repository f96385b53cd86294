"""One text per picture, where it has several: picked uniformly, by a hash (MetaCLIP 2, arXiv:2507.22062).

Differs: they pick anew at each epoch, from the global generator; here a pick is a draw that can be made again. A
picture is known by its URL, as theirs is: before the download nothing else is known of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Floats, Ints
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.draws import draws_at
from evenly.curation.duplicates.lsh import text_keys
from evenly.curation.errors import ColumnsError
from evenly.curation.step import EachPart, Exchange, PartTables

STEP = "pick_text"
PICKS = pa.schema([("uid", pa.string()), ("texts", pa.int32()), ("draw", pa.float64()), ("chosen", pa.bool_())])


@dataclass(frozen=True, eq=False, kw_only=True)
class PickedTexts:
    """For each of n texts: how many its picture has, its draw (NaN where it is the only one), and whether it is picked.

    The text with the smallest draw is picked; of equal draws, the one with the smallest uid.
    """

    uids: pa.Array
    texts: Ints
    draws: Floats
    chosen: Flags

    def to_table(self) -> pa.Table:
        """The pictures with several texts: uid, texts, draw, chosen."""
        has_choice = self.texts > 1
        columns = [
            self.uids.filter(pa.array(has_choice)),
            *(part[has_choice] for part in (self.texts, self.draws, self.chosen)),
        ]
        return pa.table(
            [pa.array(part).cast(kind) for part, kind in zip(columns, PICKS.types, strict=True)], schema=PICKS
        )

    @classmethod
    def of_table(cls, uids: pa.Array, picks: pa.Table) -> "PickedTexts":
        """The rows of `to_table` of the texts `uids`, which may be a part of those that were picked from."""
        places = pc.index_in(uids, picks["uid"].combine_chunks())
        texts, drawn, chosen = (picks[name].combine_chunks().take(places) for name in ("texts", "draw", "chosen"))
        return cls(
            uids=uids,
            texts=texts.fill_null(1).to_numpy().astype(np.int64),
            draws=drawn.fill_null(np.nan).to_numpy(),
            chosen=chosen.fill_null(True).to_numpy(zero_copy_only=False),
        )

    def applied_to(self, pairs: MatchedPairs) -> MatchedPairs:
        """The same pairs, of which only the chosen may stay, each with a share of 1 / texts."""
        return replace(pairs, shares=1.0 / self.texts, chosen=self.chosen)


def picks_of_urls(pairs: pa.Table, *, seed: int) -> pa.Table:
    """The table PICKS of pairs [uid, url], where all pairs of each of their URLs are."""
    return pick_texts(pairs["uid"].combine_chunks(), pairs["url"].combine_chunks(), seed=seed).to_table()


def pick_texts(uids: pa.Array, images: pa.Array, *, seed: int) -> PickedTexts:
    """Pick one of the texts that share an image; a text with a null image is picked."""
    if len(images) != len(uids):
        raise ColumnsError(f"`images` must name the picture of each pair; got {len(images)} for {len(uids)} pairs.")
    coded = images.dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    texts = np.append(np.bincount(codes[codes >= 0], minlength=len(coded.dictionary)), 1)[codes]
    to_draw = np.flatnonzero(texts > 1)
    drawn = np.full(len(uids), np.nan)
    nothing = np.zeros(len(to_draw), dtype=np.int64)
    drawn[to_draw] = draws_at(seed=seed, step=STEP, uids=uids, rows=to_draw, entries=pa.array([""]), numbers=nothing)
    chosen = texts == 1
    groups = pa.table({"image": codes[to_draw], "draw": drawn[to_draw], "uid": uids.take(pa.array(to_draw))})
    order = to_draw[pc.sort_indices(groups, sort_keys=[(name, "ascending") for name in groups.column_names]).to_numpy()]
    chosen[order[np.diff(codes[order], prepend=-1) != 0]] = True
    return PickedTexts(uids=uids, texts=texts, draws=drawn, chosen=chosen)


@dataclass(frozen=True, kw_only=True)
class PicksByUrl:
    """One text per picture, picked where all pairs of its URL meet, by a hash of it; the picks return by uid."""

    exchange: Exchange
    upstream: Sequence[Any]
    seed: int

    @classmethod
    def of(cls, exchange: Exchange, over_parts: EachPart, upstream: Sequence[Any], *, seed: int) -> "PicksByUrl":
        """Pick one of the texts of each URL that several pairs have, as `pick_texts` does of all pairs at once."""
        picks = cls(exchange=exchange, upstream=upstream, seed=seed)
        over_parts("sending URLs", picks._send_urls)
        over_parts("picking texts", picks._send_picks)
        return picks

    def in_part(self, part: int) -> pa.Table:
        """The picks, a table PICKS, among the pairs of a part."""
        return pa.concat_tables([PICKS.empty_table(), *self.exchange.received("picks", part)])

    def _send_urls(self, tables: PartTables) -> None:
        pairs = tables.alive(self.upstream, ["url"])
        pairs = pairs.filter(pc.is_valid(pairs["url"]))
        keyed = pairs.append_column("key", pa.array(text_keys(pairs["url"].to_pylist())))
        self.exchange.send("urls", tables.part.number, "key", keyed)

    def _send_picks(self, tables: PartTables) -> None:
        if urls := self.exchange.received("urls", tables.part.number):
            picks = picks_of_urls(pa.concat_tables(urls), seed=self.seed)
            self.exchange.send("picks", tables.part.number, "uid", picks)
