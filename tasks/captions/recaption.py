"""The step recaption: candidates are offered and scored, and one becomes the caption of each pair.

Its notes say what came of each captioner, for the log of a run and for people at a server.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from evenly.curation.captions import judgement
from evenly.curation.captions.choice import CANDIDATES, GIVEN, ChoiceRule, choose_captions
from evenly.curation.captions.grammar import GrammarScore, fit_grammar
from evenly.curation.captions.quality import ECHOES_TEXT, OVER_CONTEXT, UNSEEN, echoes_text, flag_captions
from evenly.curation.captions.scores import REWRITTEN, compare_captions, count_rewritten, share_by_origin
from evenly.curation.errors import ColumnsError
from evenly.descriptions.captions.asked import UNSTORED, ChatCaptions
from evenly.features.open_clip_models import check_model_name
from evenly.storage.ledger import StepOutput
from evenly.storage.records import stored_fields
from evenly.tasks.captions import CAPTIONERS
from evenly.tasks.captions.captioner import account_of, tries
from evenly.tasks.captions.offers import (
    ORIGINAL,
    ConceptLimits,
    NamedCaptioner,
    concept_limits,
    matches_concepts,
    offer_captions,
)
from evenly.tasks.captions.scoring import PICTURE_TEXT, score_offers, send_picture_texts, text_reader, with_encoder
from evenly.tasks.encoders import encoder_identity, step_encoder
from evenly.tasks.pictures.sent_rows import SentRows
from evenly.tasks.progress import Progress
from evenly.tasks.run import Each, EncoderChoice, Records, Run
from evenly.tasks.step import WORRYING_SHARE, Exchanged, Step

_SAMPLE = 20_000
"""Captions that the grammar score is fitted on, the first by hash."""
_AT_ONCE = 4096  # candidates whose texts are read as Python's objects
_BEST = ChoiceRule()


@dataclass(frozen=True, kw_only=True)
class RecaptionRule:
    """Who offers captions beside the given ones, which is chosen, and the encoder that judges the choice, if any.

    read_text: whether text in pictures is read, so that captions that say no more than that have a flag.
    """

    captioners: tuple[NamedCaptioner, ...]
    choose: ChoiceRule = _BEST
    judge: EncoderChoice | None = None
    read_text: bool = False

    def stored(self) -> dict[str, Any]:
        """The rule as the ledger stores it: nothing of what requests cost, or how many are under way."""
        captioners = [
            {"name": captioner.name, "kind": captioner.kind}
            | {name: value for name, value in stored_fields(captioner.rule).items() if name not in UNSTORED}
            for captioner in self.captioners
        ]
        judge = None if self.judge is None else replace(self.judge, threads=None, device=None)  # which change no bit
        fields: dict[str, Any] = stored_fields(replace(self, captioners=(), judge=judge))
        return fields | {"captioners": captioners}

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> "RecaptionRule":
        """The rule out of what `stored` gave; of payments it says nothing."""
        from pydantic import TypeAdapter

        captioners = []
        for values in stored["captioners"]:
            kind: Any = CAPTIONERS[values["kind"]].rule
            settings = {name: value for name, value in values.items() if name not in {"name", "kind"}}
            rule = TypeAdapter(kind).validate_python(settings)
            captioners.append(NamedCaptioner(name=values["name"], kind=values["kind"], rule=rule))
        judge = TypeAdapter(EncoderChoice).validate_python(stored["judge"]) if "judge" in stored else None
        choose = TypeAdapter(ChoiceRule).validate_python(stored["choose"])
        read_text = bool(stored.get("read_text"))
        return cls(captioners=tuple(captioners), choose=choose, judge=judge, read_text=read_text)


@dataclass(frozen=True, kw_only=True)
class Offers(Exchanged):
    """All candidates by uid, the scores of those that were not refused, and the score of grammar.

    limits: of the concepts that they name; None where captions are not matched. texts: in pictures, if read.
    """

    offered: SentRows
    scored: SentRows
    limits: ConceptLimits | None
    texts: SentRows | None
    grammar: GrammarScore | None


def resolve_offers(run: Run, upstream: Records, rule: RecaptionRule, engine: Each) -> Offers:
    """Ask all captioners and score what they offer. What they answered is stored, whatever happens after it."""
    offered = offer_captions(run, upstream, rule.captioners, engine)
    try:
        limits = concept_limits(run, upstream, offered, engine) if matches_concepts(upstream) else None
        scored = score_offers(run, offered, engine, rule.judge, limits)
    except BaseException:
        offered.release()
        raise
    offers = Offers(offered=offered, scored=scored, limits=limits, texts=None, grammar=None)
    try:
        if rule.read_text:
            offers = replace(offers, texts=send_picture_texts(run, upstream, engine))
        return replace(offers, grammar=_grammar(rule, engine, offered))
    except BaseException:
        offers.release()
        raise


def choose_of_pairs(run: Run, upstream: Records, rule: RecaptionRule, offers: Offers) -> StepOutput:
    """Choose a caption for each pair. Table `candidates`: every caption that was offered, with its scores."""
    uids = run.ledger.alive(upstream, [])["uid"].combine_chunks()
    candidates = _candidates(run, offers)
    choice = choose_captions(uids, candidates, rule.choose, seed=run.seed)
    decisions = choice.decisions.to_table(uids)
    for name in ("chosen_caption", "caption_origin", "caption_score", "caption_reason"):
        decisions = decisions.append_column(name, choice.chosen[name])
    counts = pa.concat_tables(
        [_counted(offers.offered.of(run)), count_rewritten(choice.chosen)], promote_options="default"
    )
    return StepOutput(decisions=decisions, tables={"candidates": candidates}, partial=counts)


def compare_all(
    run: Run, _upstream: Records, rule: RecaptionRule, offers: Offers, partials: Sequence[pa.Table]
) -> StepOutput:
    """Notes: mean CLIPScores before and after of pairs whose caption changed, shares by origin, refusals, cost.

    unseen: how many concepts given captions name, and how many of these the encoder recognises.
    """
    counts = [part.filter(pc.is_null(part["refused"])).select(REWRITTEN.names) for part in partials]
    refused = pa.concat_tables([part.filter(pc.is_valid(part["refused"])) for part in partials])
    by_captioner: dict[str, Counter[str]] = {}
    for row in refused.to_pylist():
        by_captioner.setdefault(row["origin"], Counter())[row["refused"]] += row["pairs"]
    notes: dict[str, Any] = compare_captions(counts) | {"chosen": share_by_origin(counts)}
    notes["offered"] = {name: tally.pop("", 0) for name, tally in sorted(by_captioner.items())}
    notes["refused"] = {name: dict(sorted(tally.items())) for name, tally in sorted(by_captioner.items()) if tally}
    if unanswered := pc.sum(refused.filter(refused["passing"])["pairs"]).as_py():
        notes["unanswered"] = unanswered
    accounts = {
        captioner.name: account
        for captioner in rule.captioners
        if isinstance(captioner.rule, ChatCaptions)
        and (account := account_of(run, captioner.rule, captioner.name)) is not None
    }
    if offers.limits is not None:
        notes["unseen"] = {"named": offers.limits.named, "recognised": len(offers.limits.entries)}
    grammar = {} if offers.grammar is None else {"grammar": dict(offers.grammar.caught)}
    notes |= grammar | ({"accounts": accounts} if accounts else {})
    say_captioners(run.progress, notes)
    return StepOutput(notes=notes)


def _candidates(run: Run, offers: Offers) -> pa.Table:
    """CANDIDATES of the pairs of a partition, sorted."""
    scored, offered = offers.scored.of(run), offers.offered.of(run)
    is_out = pc.or_(pc.not_equal(offered["refused"], ""), pc.is_null(offered["caption"]))
    rows = pa.concat_tables([scored, offered.filter(is_out)], promote_options="default")
    written = pa.nulls(len(rows), pa.string())
    if offers.texts is not None:
        texts = offers.texts.of(run)
        places = pc.index_in(rows["uid"].combine_chunks(), texts["uid"].combine_chunks())
        written = texts[PICTURE_TEXT].combine_chunks().take(places)
    rows = rows.append_column(PICTURE_TEXT, written)
    starts = range(0, max(1, rows.num_rows), _AT_ONCE)
    table = pa.concat_tables([_with_flags(rows.slice(start, _AT_ONCE), offers.grammar) for start in starts])
    keys = ("uid", "origin", "sample", "caption")
    return table.sort_by([(name, "ascending") for name in keys]).combine_chunks()


def _with_flags(rows: pa.Table, score: GrammarScore | None) -> pa.Table:
    """CANDIDATES of some rows, in their order: what their texts say against them is read off."""
    texts, written = rows["caption"].to_pylist(), rows[PICTURE_TEXT].to_pylist()
    further = {
        OVER_CONTEXT: pc.fill_null(rows["cut"], False).to_pylist(),
        ECHOES_TEXT: [echoes_text(text, of_picture) for text, of_picture in zip(texts, written, strict=True)],
        UNSEEN: pc.fill_null(pc.greater(pc.list_value_length(rows["unseen"]), 0), False).to_pylist(),
    }
    flags = [
        [*names, *(name for name, is_set in zip(further, row, strict=True) if is_set)]
        for names, *row in zip(flag_captions(texts), *further.values(), strict=True)
    ]
    grammar = pa.nulls(len(texts), pa.float64())
    if score is not None and texts:
        grammar = pa.array(score.probabilities([text or "" for text in texts]))
    columns = {name: rows[name] for name in CANDIDATES.names if name in rows.column_names}
    columns |= {"flags": pa.array(flags, pa.list_(pa.string())), "grammar": grammar}
    if "judged" not in columns:
        columns["judged"] = pa.nulls(len(texts), pa.float64())
    return pa.table(columns).select(CANDIDATES.names).cast(CANDIDATES)


def _counted(offered: pa.Table) -> pa.Table:
    """Counts of candidates of each captioner, offered (refused: "") and refused, and whether that may pass."""
    rows = offered.filter(pc.invert(pc.is_in(offered["origin"], pa.array(GIVEN))))
    keys = ["origin", "refused", "passing"]
    counts = rows.group_by(keys, use_threads=False).aggregate([([], "count_all")])
    return counts.rename_columns([*keys, "pairs"])


def _grammar(rule: RecaptionRule, engine: Each, offered: SentRows) -> GrammarScore | None:
    """The score of grammar fitted on captions of the pool; None where the rule does not read it and there are few."""
    parts = engine.partitions("sampling captions", partial(_sample, offered))
    texts = sorted({text for part in parts for text in part}, key=_hash)[:_SAMPLE]
    try:
        return fit_grammar(texts)
    except ColumnsError:
        if rule.choose.by == "reward":
            raise
        return None


def _sample(offered: SentRows, run: Run) -> list[str]:
    rows = offered.of(run)
    originals = rows.filter(pc.and_(pc.equal(rows["origin"], ORIGINAL), pc.is_valid(rows["caption"])))
    texts: list[str] = originals["caption"].combine_chunks().unique().to_pylist()
    return sorted(texts, key=_hash)[:_SAMPLE]


def _hash(text: str) -> int:
    return int(xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")))


def _inputs(run: Run, _upstream: Records, rule: RecaptionRule) -> dict[str, str]:
    """The inputs of captioners and the judge, and how often an endpoint left requests unanswered."""
    inputs = {captioner.name: CAPTIONERS[captioner.kind].identity(run, captioner.rule) for captioner in rule.captioners}
    inputs = {f"captioner {name}": identity for name, identity in inputs.items() if identity}
    if rule.read_text:
        inputs["text reader"] = text_reader().identity
    if rule.judge is not None:
        inputs["judge"] = encoder_identity(with_encoder(run, rule.judge))
    return inputs | tries(run, judgement.RECAPTION.name, rule.stored())


def _ready(run: Run, rule: RecaptionRule) -> None:
    for captioner in rule.captioners:
        CAPTIONERS[captioner.kind].ready(run, captioner.rule)
    if rule.read_text:
        text_reader()
    if rule.judge is not None:
        check_model_name(rule.judge.model, rule.judge.pretrained)


RECAPTION = Step(
    name=judgement.RECAPTION.name,
    rule=RecaptionRule,
    stored=RecaptionRule.stored,
    load=RecaptionRule.load,
    version=3,
    resolve=resolve_offers,
    judge=choose_of_pairs,
    finish=compare_all,
    inputs=_inputs,
    model=step_encoder,
    ready=_ready,
    seeded=True,
)


def captioner_rows(notes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each captioner: captioner, offered, refused, reasons ("not_json 3, ..."), chosen, cost_usd (or None).

    Empty for notes of another step, or of a version that counted none of this.
    """
    offered, refused = notes.get("offered") or {}, notes.get("refused") or {}
    chosen, accounts = notes.get("chosen") or {}, notes.get("accounts") or {}
    return [
        {
            "captioner": name,
            "offered": count,
            "refused": sum(refused.get(name, {}).values()),
            "reasons": ", ".join(f"{reason} {number:,}" for reason, number in refused.get(name, {}).items()),
            "chosen": chosen.get(name, 0),
            "cost_usd": accounts[name]["spent_usd"] if name in accounts else None,
        }
        for name, count in offered.items()
    ]


def say_captioners(progress: Progress, notes: Mapping[str, Any]) -> None:
    """A line for each captioner in the log; a warning where more than WORRYING_SHARE was refused."""
    for row in captioner_rows(notes):
        reasons = f" ({row['reasons']})" if row["reasons"] else ""
        is_worrying = row["refused"] > WORRYING_SHARE * (row["offered"] + row["refused"])
        progress.say(
            f"captions {row['captioner']}: {row['offered']:,} offered, {row['refused']:,} refused{reasons}, "
            f"{row['chosen']:,} chosen",
            logging.WARNING if is_worrying else logging.INFO,
        )
