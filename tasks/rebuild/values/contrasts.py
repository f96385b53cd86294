"""negCLIPLoss of all pairs: batches meet in the partition of their number, which draws by hash give."""

from functools import partial

import numpy as np
import pyarrow as pa

from evenly.curation.values.negclip_loss import NegCLIPLoss, draw_batches, with_contrasts
from evenly.tasks.pictures.pairs import VECTOR, send_with_captions
from evenly.tasks.pictures.sent_rows import SentRows, rows_of_uids, send_partitions
from evenly.tasks.rebuild.values.measuring import PICTURE, Measuring, captioned, column_of, spread_keys, with_vectors
from evenly.tasks.run import Run


def measure_negclip_loss(inputs: Measuring) -> SentRows:
    """The contrast of each pair in its batch, the mean of all rounds."""
    rule: NegCLIPLoss = inputs.rule
    pairs = next(record.counts["kept"] for record in reversed(inputs.upstream) if record.counts)
    batches, rounds = rule.batches(pairs), rule.rounds_of(pairs)
    run, engine = inputs.run, inputs.engine
    give = partial(captioned, inputs.upstream)
    sums: SentRows | None = None
    with send_with_captions(run, engine, "reading features", give, _with_pictures) as vectors:
        for number in range(rounds):
            title = f"contrasting pairs, round {number + 1} of {rounds}"
            previous, batched = sums, partial(_batched, vectors, sums, batches, number)
            try:
                with send_partitions(run, engine, "drawing batches", "batch", batched) as drawn:
                    is_last = number + 1 == rounds
                    work = partial(_contrasted, drawn, rule.temperature, inputs.name, rounds if is_last else None)
                    sums = send_partitions(run, engine, title, "uid", work)
            finally:
                if previous is not None:
                    previous.release()
    if sums is None:
        raise RuntimeError("there must be at least one round")
    return sums


def _with_pictures(run: Run, rows: pa.Table) -> pa.Table:
    """The pairs of a partition with the features of their pictures beside those of their captions."""
    return with_vectors(rows.schema.field(VECTOR).type.list_size, run, rows.select(["uid", "image_id", VECTOR]))


def _batched(vectors: SentRows, sums: SentRows | None, batches: int, number: int, run: Run) -> pa.Table:
    """The pairs of a partition with their batch, as the hex digits of its place among all, and their sum so far."""
    rows = vectors.of(run)
    uids = rows["uid"].combine_chunks()
    drawn = draw_batches(uids, batches, seed=run.seed, round_number=number)
    sum_so_far = pa.array(np.zeros(len(uids))) if sums is None else rows_of_uids(sums.of(run), uids)["sum"]
    return rows.append_column("batch", spread_keys(drawn, batches)).append_column("sum", sum_so_far)


def _contrasted(drawn: SentRows, temperature: float, name: str, rounds: int | None, run: Run) -> pa.Table:
    """The sums with the contrasts of this round; with the number of `rounds`, of which this is the last, their mean."""
    table = with_contrasts(drawn.of(run), PICTURE, VECTOR, temperature)
    if rounds is None:
        return table
    return pa.table({"uid": table["uid"], name: column_of(table["sum"].to_numpy() / rounds)})
