"""What a previous search found, taken over by a search over partitions where it still holds.

A previous edge stands where neither of its pairs has changed or is now one of several equal ones but the first. What
stands of a cluster falls into pieces. A duplicate within a piece is weaker than the edges that join its two pairs
there, as before. So only those between pieces, and those of changed pairs, are looked for: all pieces of a cluster but
the largest are fresh, as are changed pairs, and duplicates are looked for of fresh rows alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Ints, Words
from evenly.curation.duplicates.incremental import uid_places
from evenly.curation.duplicates.merging import NumberedForest, components
from evenly.storage.ledger import Ledger
from evenly.storage.tables.row_files import row_numbers, row_places
from evenly.tasks.rebuild.duplicates.kinds import PairSearch, compare_pairs, in_parts
from evenly.tasks.row_reuse import EarlierRun, same_rows
from evenly.tasks.run import Each, Records, Run


@dataclass(frozen=True, kw_only=True)
class PreviousEdges:
    """The edges of a previous run by the same rule; a pair is unchanged where its columns `reads` are."""

    run: EarlierRun
    reads: Sequence[str]

    def send(self, search: PairSearch, upstream: Records, run: Run) -> int:
        """Write which pairs of a partition are unchanged, and send edges to where they end; how many pairs changed."""
        partition, ledger = run.part.number, run.ledger
        pairs = ledger.alive(upstream, self.reads)
        is_same = same_rows(pairs, ledger.alive(self.run.upstream, self.reads), self.reads)
        unchanged = is_same.to_numpy(zero_copy_only=False)
        stays, uids = unchanged & search.is_first(partition, len(unchanged)), pairs["uid"].combine_chunks()
        columns = {"unchanged": unchanged, "stays": stays, "cluster": self._clusters(ledger, uids)}
        search.files.write(partition, columns)
        edges = ledger.table(self.run.record, "edges", ["uid_a", "uid_b"])
        places = uid_places(edges["uid_a"], uids)
        left = row_numbers(search.bits, partition, np.maximum(places, 0))
        ends = {"uid": edges["uid_b"], "left": left, "stays": _at(places, stays)}
        search.exchange.send("ends", partition, "uid", pa.table(ends))
        return int((~unchanged).sum())

    def compared(self, ledger: Ledger) -> pa.Table | None:
        """The rows that were drawn for recall and their duplicates; None of a search that misses nothing."""
        return ledger.table(self.run.record, "compared") if "compared" in self.run.record.hashes else None

    def _clusters(self, ledger: Ledger, uids: pa.Array) -> pa.Array:
        """What names the previous cluster of each pair: the uid of that which it was merged into, or its own."""
        merged = ledger.decisions(self.run.record, ["uid", "into"], pc.field("verdict") == "merged")
        places = uid_places(pa.chunked_array([uids]), merged["uid"].combine_chunks())
        return pc.coalesce(merged["into"].combine_chunks().take(pa.array(places, mask=places < 0)), uids)


def take_over(
    search: PairSearch, previous: PreviousEdges, upstream: Records, counts: Sequence[int], each: Each
) -> list[int]:
    """Leave the edges that stand, and write which rows are fresh; how many pairs of each partition changed."""
    name = search.kind.step
    changes = each.partitions(f"{name}: changes", partial(previous.send, search, upstream))
    each.partitions(f"{name}: previous edges", partial(_part_edges, search, counts))
    left, right = search.received("standing", 0, ["left", "right"])
    touched = np.unique(search.received("touched", 0, ["row"])[0])
    search.send("lost", "all", row=touched)
    search.send("fresh", "all", row=_fresh_pieces(search, left, right, touched))
    search.send("stood", "all", left=left, right=right)
    each.partitions(f"{name}: standing edges", partial(_leave_edges, search, counts))
    return changes


def _part_edges(search: PairSearch, counts: Sequence[int], run: Run) -> None:
    """Part the edges that end in a partition: those that stand, and the rows of others, which are touched."""
    partition = run.part.number
    tables = search.exchange.received("ends", partition)
    if not tables:
        return
    ends, own = pa.concat_tables(tables), row_numbers(search.bits, partition, np.arange(counts[partition]))
    places = uid_places(ends["uid"], search.files.column("uid", own))
    left, right = ends["left"].to_numpy(), row_numbers(search.bits, partition, np.maximum(places, 0))
    left_stays, right_stays = ends["stays"].to_numpy(), _at(places, search.files.numbers("stays", own))
    stands = left_stays & right_stays
    touched = np.concatenate([left[left_stays & ~stands], right[right_stays & ~stands]])
    search.send("standing", partition, bits=0, left=left[stands], right=right[stands])
    search.send("touched", partition, bits=0, row=touched)


def _fresh_pieces(search: PairSearch, left: Words, right: Words, touched: Words) -> Words:
    """The rows of all pieces of clusters that are no longer whole, but for the largest piece of each."""
    rows = np.unique(np.concatenate([left, right, touched]))
    piece = components(len(rows), np.searchsorted(rows, left), np.searchsorted(rows, right))
    size = np.bincount(piece, minlength=1)
    pieces = piece[np.searchsorted(rows, touched)]
    cluster = search.files.column("cluster", touched).dictionary_encode().indices.to_numpy()
    order = np.lexsort((pieces, -size[pieces], cluster))
    is_fresh = np.zeros(len(size), np.bool_)
    is_fresh[pieces] = True
    is_fresh[pieces[order[np.diff(cluster[order], prepend=-1) > 0]]] = False
    return rows[is_fresh[piece]]


def _leave_edges(search: PairSearch, counts: Sequence[int], run: Run) -> None:
    """Leave the edges that stand, measured again, and write which rows of a partition are fresh.

    And which are `anew`: these may not have been compared before with those that were drawn for recall.
    """
    partition, forest = run.part.number, NumberedForest()
    own = row_numbers(search.bits, partition, np.arange(counts[partition]))
    columns = {"fresh": ~search.files.numbers("unchanged", own), "anew": ~search.files.numbers("unchanged", own)}
    for name, sent in (("fresh", "fresh"), ("anew", "lost")):
        columns[name][row_places(search.bits, search.received(sent, partition, ["row"])[0])] = True
    search.files.write(partition, columns)
    left, right = search.received("stood", partition, ["left", "right"])
    for part in in_parts(len(left)):
        compared, rows, sides = compare_pairs(search, left[part], right[part])
        near_left, near_right, weight = compared.accepted(*sides)
        forest.add(rows[near_left], rows[near_right], weight)
    search.send_edges(f"standing-{partition:05d}", forest)


def _at(places: Ints, flags: Flags) -> Flags:
    """Whether there is a row at each of `places`, and its flag is set."""
    is_set: Flags = places >= 0
    is_set[is_set] = flags[places[is_set]]
    return is_set
