"""Keep the pairs whose picture and caption agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from evenly.curation.align import Align, judge_alignment, threshold_of_counts
from evenly.features import cosine_scores
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.tasks.each import Each, Records, with_model
from evenly.tasks.encoders import encoder_identity, open_encoder, step_encoder
from evenly.tasks.pictures.encoded import image_rows
from evenly.tasks.pictures.pairs import count_scores, send_with_captions, vectors_of
from evenly.tasks.pictures.sent_rows import SentRows, send_partitions
from evenly.tasks.run import Run
from evenly.tasks.step import Step


@dataclass(frozen=True, kw_only=True)
class AlignFacts:
    """The score of each pair [uid, score], by uid, and the one that a pair must reach."""

    scores: SentRows
    threshold: float


def score_pairs(run: Run, upstream: Records, rule: Align, each: Each) -> AlignFacts:
    """Score every pair's chosen caption, and choose the threshold."""
    if _is_recaptioned(upstream):
        scores = send_partitions(run, each, "reading scores", "uid", partial(_stored_scores, upstream))
    else:
        scores = send_with_captions(run, each, "scoring pairs", partial(_captioned, upstream), _scored)
    try:
        if rule.min_score is not None:
            threshold = rule.min_score
        else:
            threshold = threshold_of_counts(each.partitions("counting scores", partial(count_scores, scores)), rule)
    except BaseException:
        scores.release()
        raise
    return AlignFacts(scores=scores, threshold=threshold)


@with_model
def align_pairs(run: Run, upstream: Records, _rule: Align, facts: AlignFacts) -> StepOutput:
    """Keep pairs by the image-text score of their chosen caption."""
    caption = "chosen_caption" if _is_recaptioned(upstream) else "caption"
    pairs = run.ledger.alive(upstream, [caption])
    rows = facts.scores.of(run)
    places = pc.index_in(pairs["uid"].combine_chunks(), rows["uid"].combine_chunks())
    scores = rows["score"].combine_chunks().take(places)
    decisions = judge_alignment(scores, facts.threshold).to_table(pairs["uid"])
    texts = pc.unique(pairs[caption]).to_pylist()
    longer = [text for text, is_longer in zip(texts, open_encoder(run).truncated(texts), strict=True) if is_longer]
    hashes = pa.array([xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in longer], pa.uint64())
    return StepOutput(decisions=decisions, partial=pa.table({"longer": hashes}))


def count_longer(
    _run: Run, _upstream: Records, _rule: Align, facts: AlignFacts, partials: Sequence[pa.Table]
) -> StepOutput:
    """Notes: the threshold, and how many different captions are longer than the encoder reads."""
    longer = len(pa.concat_tables(partials)["longer"].unique())
    return StepOutput(
        notes={"threshold": facts.threshold if np.isfinite(facts.threshold) else None, "captions_cut": longer}
    )


def release_scores(facts: AlignFacts) -> None:
    """Remove the scores that were sent."""
    facts.scores.release()


def _is_recaptioned(upstream: Records) -> bool:
    return any("caption_score" in record.columns for record in upstream)


def _stored_scores(upstream: Records, run: Run) -> pa.Table:
    return run.ledger.alive(upstream, ["caption_score"]).rename_columns(["uid", "score"])


def _captioned(upstream: Records, run: Run) -> pa.Table:
    return run.ledger.alive(upstream, ["image_id", "caption"])


def _scored(run: Run, rows: pa.Table) -> pa.Table:
    if not rows.num_rows:
        return pa.table({"uid": rows["uid"], "score": pa.array([], pa.float64())})
    images, places = _pictures(run, rows)
    return pa.table({"uid": rows["uid"], "score": cosine_scores(images[places], vectors_of(rows))})


def _pictures(run: Run, rows: pa.Table) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    """The features of the pictures of some pairs, each once, and the place of each pair's."""
    ids = rows["image_id"].combine_chunks()
    different = ids.unique()
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    return image_rows(run, store, different), pc.index_in(ids, different).to_numpy()


ALIGN = Step(
    name="align",
    rule=Align,
    resolve=score_pairs,
    judge=align_pairs,
    finish=count_longer,
    release=release_scores,
    model=step_encoder,
)
