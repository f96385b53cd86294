"""Pairs sent to the partition of their picture, where its features lie, and what is made of them returned by uid.

Features of pictures stay where they are stored. Those of captions are made, and read, where the captions are, and go
along with the pairs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.align import Align, threshold_of_counts
from evenly.curation.rank import Rank
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.tasks.encoders import encode_texts, encoder_identity, say_longer
from evenly.tasks.pictures.sent_rows import Give, SentRows, rows_of_uids, send_items, send_partitions
from evenly.tasks.run import Each, Run, with_model
from evenly.tasks.step import Exchanged

Work = Callable[[Run, pa.Table], pa.Table]
"""What is made of the pairs [uid, image_id, ...] of a partition of image_id: a table with their uids."""
VECTOR = "text_vector"


def send_by_picture(run: Run, engine: Each, title: str, pairs: Give, work: Work) -> SentRows:
    """The rows that `work` makes of all pairs, by uid; `pairs` gives those of a partition of uids."""
    with send_partitions(run, engine, "sorting pairs", "image_id", pairs) as sent:
        return send_partitions(run, engine, title, "uid", partial(_worked, sent, work))


def send_with_captions(run: Run, engine: Each, title: str, pairs: Give, work: Work) -> SentRows:
    """The same of pairs [uid, image_id, caption, ...], to which the features of each one's caption, VECTOR, are added.

    Captions that have none yet are encoded, each once, where all pairs with it meet.
    """
    with send_partitions(run, engine, "sorting captions", "text_id", partial(_with_text_ids, pairs)) as captions:
        counts = engine.partitions("encoding captions", partial(_encode, captions))
        say_longer(run, sum(longer for _, longer in counts), sum(new for new, _ in counts))
        shown = send_partitions(run, engine, "reading captions", "image_id", partial(_with_vectors, captions))
    with shown:
        return send_partitions(run, engine, title, "uid", partial(_worked, shown, work))


def send_merged(run: Run, engine: Each, merged: Give, columns: Give) -> SentRows:
    """The `columns` of pairs that were merged into others, by the uids of these, which are then their `uid`.

    merged: gives [uid, survivor] of all pairs that were merged. columns: gives uid and further columns of the pairs of
    a partition.
    """
    with send_items(run, engine, "following merged pairs", "uid", give=partial(_listed, merged), items=[0]) as sent:
        return send_partitions(run, engine, "reading merged pairs", "uid", partial(_of_survivors, sent, columns))


@dataclass(frozen=True, kw_only=True)
class ScoreFacts(Exchanged):
    """The score of each pair [uid, score], by uid, and the one that a pair must reach."""

    scores: SentRows
    threshold: float

    @classmethod
    def of(cls, scores: SentRows, rule: Align | Rank, engine: Each) -> Self:
        """The scores, with the threshold that they give; each score that occurs is counted."""
        try:
            counts = [] if rule.keep_top is None else engine.partitions("counting scores", partial(_counted, scores))
            return cls(scores=scores, threshold=threshold_of_counts(counts, rule))
        except BaseException:
            scores.release()
            raise

    def of_uids(self, run: Run, uids: pa.Array) -> pa.Array:
        """The scores of pairs of the run's partition, in their order."""
        return rows_of_uids(self.scores.of(run), uids)["score"].combine_chunks()

    @property
    def notes(self) -> dict[str, float | None]:
        """The threshold as it is noted; None where there were no scores."""
        return {"threshold": self.threshold if np.isfinite(self.threshold) else None}


def _counted(scores: SentRows, run: Run) -> pa.Table:
    """The count of each score in a partition [values, counts]; nulls left out."""
    values, counts = np.unique(scores.of(run)["score"].drop_null().to_numpy(), return_counts=True)
    return pa.table({"values": values, "counts": counts})


def vectors_of(rows: pa.Table, name: str = VECTOR) -> npt.NDArray[np.float16]:
    """The features (n, d) in a column, of captions if no other is named."""
    column = rows[name].combine_chunks()
    matrix: npt.NDArray[np.float16] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return matrix


def _worked(sent: SentRows, work: Work, run: Run) -> pa.Table:
    return work(run, sent.of(run))


def _with_text_ids(pairs: Give, run: Run) -> pa.Table:
    rows = pairs(run)
    captions = rows["caption"].combine_chunks()
    different = captions.unique()
    ids = pa.array([text_id(text) for text in different.to_pylist()], pa.string())
    return rows.append_column("text_id", ids.take(pc.index_in(captions, different)))


@with_model
def _encode(captions: SentRows, run: Run) -> tuple[int, int]:
    return encode_texts(run, captions.of(run)["caption"].combine_chunks().unique().to_pylist())


def _with_vectors(captions: SentRows, run: Run) -> pa.Table:
    """The pairs of a partition with their vectors; all are stored by now, so their length is known without pairs."""
    rows = captions.of(run)
    names = rows["text_id"].combine_chunks()
    different = names.unique()
    store = FeatureStore(run.workspace, encoder_identity(run), "texts")
    vectors, _ = store.read(different)
    kind = pa.list_(pa.float16(), vectors.shape[1])
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=kind)
    return rows.drop(["text_id"]).append_column(VECTOR, lists.take(pc.index_in(names, different)))


def _listed(merged: Give, run: Run, _item: int) -> Iterator[pa.Table]:
    yield merged(run)


def _of_survivors(sent: SentRows, columns: Give, run: Run) -> pa.Table:
    merged, rows = sent.of(run), columns(run)
    places = pc.index_in(merged["uid"].combine_chunks(), rows["uid"].combine_chunks())
    present = pc.is_valid(places)
    survivors = rows.take(places.filter(present))
    return survivors.set_column(survivors.column_names.index("uid"), "uid", merged["survivor"].filter(present))
