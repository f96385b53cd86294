"""Keep the pairs whose picture and caption agree."""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from evenly.curation import align
from evenly.curation.align import Align, judge_alignment
from evenly.features import cosine_scores
from evenly.storage.ledger import StepOutput
from evenly.tasks.encoders import open_encoder, step_encoder
from evenly.tasks.pictures.encoded import pictures_of
from evenly.tasks.pictures.pairs import ScoreFacts, send_with_captions, vectors_of
from evenly.tasks.pictures.sent_rows import send_partitions
from evenly.tasks.rebuild.values.measuring import captioned
from evenly.tasks.run import Each, Records, Run, with_model
from evenly.tasks.step import Step


def score_pairs(run: Run, upstream: Records, rule: Align, engine: Each) -> ScoreFacts:
    """Score every pair's chosen caption, and choose the threshold."""
    if _is_recaptioned(upstream) and rule.model is None:
        scores = send_partitions(run, engine, "reading scores", "uid", partial(_stored_scores, upstream))
    else:
        scores = send_with_captions(run, engine, "scoring pairs", partial(captioned, upstream), _scored)
    return ScoreFacts.of(scores, rule, engine)


@with_model
def align_pairs(run: Run, upstream: Records, _rule: Align, facts: ScoreFacts) -> StepOutput:
    """Keep pairs by the image-text score of their chosen caption."""
    caption = "chosen_caption" if _is_recaptioned(upstream) else "caption"
    pairs = run.ledger.alive(upstream, [caption])
    uids = pairs["uid"].combine_chunks()
    decisions = judge_alignment(facts.of_uids(run, uids), facts.threshold).to_table(uids)
    texts = pc.unique(pairs[caption]).to_pylist()
    longer = [text for text, is_longer in zip(texts, open_encoder(run).truncated(texts), strict=True) if is_longer]
    hashes = pa.array([xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in longer], pa.uint64())
    return StepOutput(decisions=decisions, partial=pa.table({"longer": hashes}))


def count_longer(
    _run: Run, _upstream: Records, _rule: Align, facts: ScoreFacts, partials: Sequence[pa.Table]
) -> StepOutput:
    """Notes: the threshold, and how many different captions are longer than the encoder reads."""
    longer = len(pa.concat_tables(partials)["longer"].unique())
    return StepOutput(notes={**facts.notes, "captions_cut": longer})


def _is_recaptioned(upstream: Records) -> bool:
    return any("caption_score" in record.columns for record in upstream)


def _stored_scores(upstream: Records, run: Run) -> pa.Table:
    return run.ledger.alive(upstream, ["caption_score"]).rename_columns(["uid", "score"])


def _scored(run: Run, rows: pa.Table) -> pa.Table:
    if not rows.num_rows:
        return pa.table({"uid": rows["uid"], "score": pa.array([], pa.float64())})
    images, places = pictures_of(run, rows["image_id"].combine_chunks())
    return pa.table({"uid": rows["uid"], "score": cosine_scores(images[places.to_numpy()], vectors_of(rows))})


ALIGN = Step(
    name=align.ALIGN.name,
    rule=Align,
    resolve=score_pairs,
    judge=align_pairs,
    finish=count_longer,
    model=step_encoder,
)
