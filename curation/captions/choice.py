"""The choice of a caption among candidates: by score, by score and grammar, by draw, or always the original.

The original is always among the candidates, and a caption that was refused, or that has flags the rule does not allow,
is never chosen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le

from evenly.bounds import check_bounds
from evenly.curation.arrays import Floats
from evenly.curation.captions.quality import ECHOES_TEXT, FLAGS, OVER_CONTEXT, UNSEEN
from evenly.curation.captions.scores import clip_scores
from evenly.curation.decisions import Decisions
from evenly.curation.draws import draws
from evenly.curation.errors import ColumnsError, RuleError

GIVEN = ("original", "twin")
"""Origins of captions that came with the picture: its own, and those of pairs that were merged into it."""
CANDIDATES = pa.schema(
    [
        ("uid", pa.string()),
        ("caption", pa.string()),
        ("origin", pa.string()),
        ("sample", pa.int32()),
        ("request_id", pa.string()),
        ("refused", pa.string()),
        ("score", pa.float64()),
        ("judged", pa.float64()),
        ("ref_clip_score", pa.float64()),
        ("grammar", pa.float64()),
        ("flags", pa.list_(pa.string())),
        ("unseen", pa.list_(pa.string())),
    ]
)
"""A candidate: who made it, which of several samples, by which request, and why it cannot be chosen ("": it can).

score: cosine with the picture; judged: by the second encoder, null without one; ref_clip_score: RefCLIPScore against
the other texts that the picture had, null where it had none; grammar: probability that it is a sentence and not a
disturbed one, null where that is not measured; flags: KNOWN_FLAGS; unseen: concepts that it names and its picture does
not show, null where captions are not matched. The original may be null text.
"""
CHOSEN = pa.schema(
    [
        ("uid", pa.string()),
        ("chosen_caption", pa.string()),
        ("caption_origin", pa.string()),
        ("caption_score", pa.float64()),
        ("caption_reason", pa.string()),
    ]
)
CHOICE_REASONS: Mapping[str, str] = {
    "fits_best": "of all that may be chosen it fits the picture best",
    "drawn": "its captioner was drawn for this pair",
    "original_drawn": "the draw fell on the original",
    "nothing_better": "no other caption fits the picture better by the margin",
    "nothing_offered": "nothing else was offered that may be chosen",
    "kept_by_rule": "the rule keeps the original, and records what is offered",
}
"""What each `caption_reason` means."""
FORBIDDEN = (*FLAGS, OVER_CONTEXT, ECHOES_TEXT)
"""Flags with which a captioner's caption is not chosen, unless the rule says otherwise."""
KNOWN_FLAGS = (*FORBIDDEN, UNSEEN)
Share = Annotated[float, Ge(0), Le(1)]
_REWARD = 2.0  # weight of CLIPScore in the reward of Cho et al. 2022, arXiv:2205.13115


@dataclass(frozen=True, kw_only=True)
class ChoiceRule:
    """The rule that chooses a caption among its candidates.

    by `score`: the one that fits the picture best; what a captioner made must beat the given captions by `margin` in
    cosine. by `reward`: the largest 2 CLIPScore + `grammar` times the probability of being a sentence (CLIP-Reward),
    with the same margin. by `draw`: one of the captioner that is drawn at its rate in `rates`, else the original
    (Altogether: 0.15). by `original`: candidates are recorded, and nothing changes. Of what captioners made, nothing
    with a flag of `forbid` is chosen.
    """

    by: Literal["score", "reward", "draw", "original"] = "score"
    margin: Annotated[float, Ge(0)] = 0.0
    grammar: Annotated[float, Ge(0)] = 1.0
    rates: Mapping[str, Share] = field(default_factory=dict)
    forbid: tuple[str, ...] = FORBIDDEN

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)
        if (self.by == "draw") != bool(self.rates):
            raise RuleError(
                f"`rates` goes with by draw, which needs it; got by {self.by}. Write rates: {{NAME: 0.15}}."
            )
        if sum(self.rates.values()) > 1:
            raise RuleError(f"`rates` must sum to at most 1; got {sum(self.rates.values()):g}. Lower one.")
        if unknown := sorted(set(self.forbid) - set(KNOWN_FLAGS)):
            raise RuleError(
                f"`forbid` must name flags among {', '.join(KNOWN_FLAGS)}; got {', '.join(unknown)}. Correct it."
            )


@dataclass(frozen=True, kw_only=True)
class Recaptioned:
    """The chosen captions.

    decisions: every pair is kept; value is the score won over its original caption, 4 digits, 0 where that stays.
    chosen: CHOSEN in the order of the pairs; original_score; caption_judged and original_judged of the second encoder;
    RefCLIPScores caption_ref and original_ref.
    """

    decisions: Decisions
    chosen: pa.Table


def choose_captions(uids: pa.Array, candidates: pa.Table, rule: ChoiceRule, *, seed: int = 0) -> Recaptioned:
    """Choose a candidate (CANDIDATES) for each pair.

    Equal values go to the original, then to a twin, then to the first by name, sample and text. Every pair must have
    its original among the candidates, with a score. `caption_reason` says why, by CHOICE_REASONS.
    """
    places = pc.index_in(candidates["uid"], uids)
    offered = candidates.append_column("pair", places).filter(pc.is_valid(places)).combine_chunks()
    offered = offered.take(_order(offered))
    pairs = offered["pair"].to_numpy()
    is_original = pc.equal(offered["origin"], "original").to_numpy()
    _check_originals(uids, offered, pairs, is_original)
    is_open = _is_open(offered, rule) | is_original
    values = _values(offered, rule)
    drawn = _drawn_origins(uids, rule, seed)
    if rule.by == "original":
        is_open &= is_original
    elif drawn is not None:
        of_drawn = offered["origin"].to_numpy(zero_copy_only=False) == drawn[pairs]
        has_drawn = np.zeros(len(uids), np.bool_)
        has_drawn[pairs[is_open & of_drawn]] = True
        is_open &= np.where(has_drawn[pairs], of_drawn, is_original)
    best = offered.take(pa.array(_best(values, pairs, is_open)))
    originals = offered.filter(pa.array(is_original))
    rival = np.zeros(len(uids), np.bool_)
    rival[pairs[_is_open(offered, rule) & ~is_original]] = True
    reason = _reasons(best, rule, rival=rival, drawn=drawn)
    columns = [uids, best["caption"], best["origin"], best["score"], reason]
    chosen = pa.table(columns, schema=CHOSEN)
    for name, source in (("score", "score"), ("judged", "judged"), ("ref", "ref_clip_score")):
        chosen = chosen.append_column(f"original_{name}", originals[source])
        if name != "score":
            chosen = chosen.append_column(f"caption_{name}", best[source])
    gain = _rounded(best["score"].to_numpy() - originals["score"].to_numpy(), 4)
    decisions = Decisions.of(reason=pa.repeat(pa.scalar(""), len(uids)), value=gain)
    return Recaptioned(decisions=decisions, chosen=chosen.combine_chunks())


def _order(offered: pa.Table) -> pa.Array:
    """By pair: the original, twins, then captioners by name."""
    ranks = pc.fill_null(pc.index_in(offered["origin"], pa.array(GIVEN)), len(GIVEN))
    keys = pa.table(
        {"pair": offered["pair"], "rank": ranks} | {name: offered[name] for name in ("origin", "sample", "caption")}
    )
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])


def _check_originals(
    uids: pa.Array, offered: pa.Table, pairs: npt.NDArray[np.int32], is_original: npt.NDArray[np.bool_]
) -> None:
    has_original = np.zeros(len(uids), np.bool_)
    has_original[pairs[is_original]] = True
    if not has_original.all():
        missing = uids.filter(pa.array(~has_original))
        first = missing[0].as_py()
        text = f"`candidates` must hold the original caption of each pair; {len(missing)} lack it, as {first!r}."
        raise ColumnsError(f"{text} Add it with its score.")
    is_offered = pc.or_(pa.array(is_original), pc.equal(offered["refused"], "").combine_chunks())
    unscored = offered.filter(is_offered)["score"].null_count
    if unscored:
        raise ColumnsError(f"`score` of what is offered must not be null; got {unscored} nulls. Score all captions.")


def _is_open(offered: pa.Table, rule: ChoiceRule) -> npt.NDArray[np.bool_]:
    """Whether each candidate may be chosen: it was not refused, and what a captioner made has no forbidden flag."""
    flags = offered["flags"].combine_chunks()
    forbidden = pc.fill_null(pc.is_in(pc.list_flatten(flags), pa.array(rule.forbid, pa.string())), False)
    flagged = np.zeros(len(flags), np.bool_)
    flagged[pc.list_parent_indices(flags).filter(forbidden).to_numpy()] = True
    is_made = pc.invert(pc.is_in(offered["origin"], pa.array(GIVEN))).to_numpy()
    is_open: npt.NDArray[np.bool_] = pc.equal(offered["refused"], "").to_numpy() & ~(flagged & is_made)
    return is_open


def _values(offered: pa.Table, rule: ChoiceRule) -> Floats:
    """The values that the rule compares, rounded so that 0.8 - 0.1 does not beat 0.7; scores have 4 digits."""
    scores = offered["score"].to_numpy()
    is_made = pc.invert(pc.is_in(offered["origin"], pa.array(GIVEN))).to_numpy()
    scores = np.where(is_made, scores - rule.margin, scores)
    if rule.by == "reward":
        grammar = pc.fill_null(offered["grammar"], 0.0).to_numpy()
        scores = _REWARD * clip_scores(scores) + rule.grammar * grammar
    return _rounded(scores, 9)


def _drawn_origins(uids: pa.Array, rule: ChoiceRule, seed: int) -> npt.NDArray[np.object_] | None:
    """The origin that each pair's draw falls on; None for rules that do not draw."""
    if rule.by != "draw":
        return None
    names = sorted(rule.rates)
    limits = np.cumsum([rule.rates[name] for name in names])
    drawn = draws(seed=seed, step="recaption", uids=uids.to_pylist(), entries=["captioner"] * len(uids))
    return np.asarray([*names, "original"], dtype=object)[np.searchsorted(limits, drawn, side="right")]


def _best(values: Floats, pairs: npt.NDArray[np.int32], is_open: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The place of the first of the largest values of each pair, among those that are open."""
    places = np.flatnonzero(is_open)
    order = places[np.lexsort((places, -values[places], pairs[places]))]
    first: npt.NDArray[np.int64] = order[np.diff(pairs[order], prepend=-1) != 0]
    return first


def _reasons(
    best: pa.Table, rule: ChoiceRule, *, rival: npt.NDArray[np.bool_], drawn: npt.NDArray[np.object_] | None
) -> pa.Array:
    is_original = pc.equal(best["origin"], "original").to_numpy()
    if rule.by == "original":
        reasons = np.full(len(best), "kept_by_rule", dtype=object)
    elif drawn is not None:
        kept = np.where(drawn == "original", "original_drawn", "nothing_offered")
        reasons = np.where(is_original, kept, "drawn").astype(object)
    else:
        kept = np.where(rival, "nothing_better", "nothing_offered")
        reasons = np.where(is_original, kept, "fits_best").astype(object)
    return pa.array(reasons, pa.string())


def _rounded(values: Floats, digits: int) -> Floats:
    """Values rounded as Python rounds, which numpy does not do to the last bit; each different one once."""
    different, places = np.unique(values, return_inverse=True)
    return np.array([round(value, digits) for value in different.tolist()], dtype=np.float64)[places]
