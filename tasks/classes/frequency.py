"""Frequencies of classes in captions, by each name of a class, and how often captions mean the class (REAL)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from evenly.curation.concepts.caption_sample import CaptionSample
from evenly.curation.concepts.matching import unmatchable_because
from evenly.curation.concepts.name_frequency import NameCounter, most_frequent_name
from evenly.curation.concepts.relevance import JudgingRule, estimate_relevance
from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.endpoint import EndpointRule
from evenly.descriptions.chat.event_loop import run_to_end
from evenly.descriptions.chat.reply_log import RecordingChat
from evenly.descriptions.class_list import ClassList
from evenly.descriptions.relevance import YES, Judgements, NameInCaption, judge_relevance, relevance_question
from evenly.descriptions.texts.grounding import Grounding, Subject
from evenly.storage.files.wordnets import load_noun_synsets
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.tasks.chat.endpoints import account, chat_client, endpoint_identity, open_endpoint, spent
from evenly.tasks.classes.describe import pool_captions, pool_hash
from evenly.tasks.run import Records, Run
from evenly.tasks.step import Step

NAMES = pa.schema(
    [("class", pa.string()), ("name", pa.string()), ("captions", pa.int64()), ("never_matches", pa.string())]
)
CLASSES = pa.schema(
    [
        ("class", pa.string()),
        ("actual_freq", pa.int64()),
        ("strict", pa.string()),
        ("relaxed", pa.string()),
        ("too_long", pa.int64()),
        ("all_sampled", pa.bool_()),
    ]
)
SAMPLED = pa.schema([("class", pa.string()), ("name", pa.string()), ("caption", pa.string()), ("rows", pa.int64())])
JUDGED = pa.schema([*SAMPLED, ("answer", pa.string()), ("reason", pa.string()), ("request_id", pa.string())])
RELEVANCE = pa.schema(
    [
        ("class", pa.string()),
        *((name, pa.int64()) for name in ("judged", "yes", "unjudged")),
        *((name, pa.float64()) for name in ("relevance", "relevance_low", "relevance_high", "effective")),
    ]
)


@dataclass(frozen=True, kw_only=True)
class FrequencyRule:
    """The `names` of each class of a `list` to count in the captions of a `build`; None: of the run's sources.

    Names count in their plain plurals with `plurals`, and only beside `prefix` where there is one; at most `judge`
    captions of each class are drawn.
    """

    list: str
    names: Mapping[str, Sequence[str]]
    build: str | None = None
    prefix: str | None = None
    plurals: bool = False
    judge: int = 0


@dataclass(frozen=True, kw_only=True)
class RelevanceRule(EndpointRule):
    """Who judges whether captions mean a class of the list, of which `domain`, and at most how many of each class."""

    class_list: ClassList
    text: str
    domain: str | None
    judge: int

    def stored(self) -> dict[str, Any]:
        """The rule as the ledger stores it: the list by its name and text."""
        fields = {name: getattr(self, name) for name in ("text", "domain", "judge", "base_url", "model")}
        return {"list": self.class_list.name, **fields}


def audit_names(run: Run, _upstream: Records, rule: FrequencyRule) -> StepOutput:
    """Count captions of the rule's build, or of the run's sources, by each name of each class, and draw some to judge.

    Tables: `names`; `classes`, where `too_long` counts captions that are not judged, and `all_sampled` tells whether
    every other one is drawn; `sample`, at most `judge` different captions of each class. Notes: `captions_searched`.
    """
    classes = list(rule.names)
    names = [list(dict.fromkeys([name, *rule.names[name]])) for name in classes]
    counter = NameCounter(names, plurals=rule.plurals, prefix=rule.prefix)
    sample = CaptionSample(classes, size=rule.judge, seed=run.seed)
    frequencies = counter.count(pa.array([], pa.string()))
    for captions in pool_captions(run, rule):
        matches = counter.hold(captions)
        frequencies += counter.frequencies(matches, len(captions))
        sample.add(captions, matches)
    flat = [name for names_of_class in names for name in names_of_class]
    by_name = [
        {"class": name_of_class, "name": name, "captions": n, "never_matches": unmatchable_because(name, "normalized")}
        for name_of_class, counts in zip(classes, frequencies.of_names, strict=True)
        for name, n in counts.items()
    ]
    by_class = [
        {
            "class": name_of_class,
            "actual_freq": int(total),
            "strict": most_frequent_name(name_of_class, counts, rule="strict"),
            "relaxed": most_frequent_name(name_of_class, counts, rule="relaxed"),
            "too_long": too_long,
            "all_sampled": is_complete,
        }
        for name_of_class, counts, total, too_long, is_complete in zip(
            classes, frequencies.of_names, frequencies.of_concepts, sample.too_long, sample.complete, strict=True
        )
    ]
    drawn = [
        {"class": classes[row["concept"]], "name": flat[row["name"]], "caption": row["caption"], "rows": row["rows"]}
        for row in sample.table().to_pylist()
    ]
    tables = {
        "names": pa.Table.from_pylist(by_name, NAMES),
        "classes": pa.Table.from_pylist(by_class, CLASSES),
        "sample": pa.Table.from_pylist(drawn, SAMPLED),
    }
    return StepOutput(tables=tables, notes={"list": rule.list, "captions_searched": frequencies.captions})


def judge_names(run: Run, upstream: Records, rule: RelevanceRule) -> StepOutput:
    """Have a language model judge the captions that the record of `audit_concepts` in `upstream` drew.

    Tables: `judgements`, one row per caption asked about; `relevance`, one row per class. Notes say what it took.
    """
    drawn: list[dict[str, Any]] = run.ledger.table(upstream[0], "sample").to_pylist()
    subjects = {subject.name: subject for subject in _subjects(rule)}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in subjects}
    for row in drawn:
        rows[row["class"]].append(row)
    uses = [[_use(row, subjects[name], rule) for row in class_rows] for name, class_rows in rows.items()]
    budget = account(run, rule.class_list.name)
    with open_endpoint(rule) as endpoint:
        client = RecordingChat(chat_client(run, endpoint, name=rule.class_list.name, budget=budget))
        with run.progress.bar("judging captions", None) as advance:
            judgements_of_classes = run_to_end(_judged(client, uses, rule, advance))
    judgements = [
        row | {"answer": answer.answer, "reason": answer.reason, "request_id": answer.request_id}
        for class_rows, judged in zip(rows.values(), judgements_of_classes, strict=True)
        for row, answer in zip(class_rows, judged.answers, strict=False)
    ]
    relevance = [
        _relevance(name, class_rows, class_judgements)
        for (name, class_rows), class_judgements in zip(rows.items(), judgements_of_classes, strict=True)
    ]
    reasons = Counter(row["reason"] for row in judgements if row["reason"])
    notes = {"list": rule.class_list.name, "account": spent(budget), "without_answer": dict(sorted(reasons.items()))}
    tables = {
        "judgements": pa.Table.from_pylist(judgements, JUDGED),
        "relevance": pa.Table.from_pylist(relevance, RELEVANCE),
    }
    return StepOutput(tables=tables, notes=notes | vars(client.counts) | client.facts())


async def _judged(
    client: Chat, uses: Sequence[Sequence[NameInCaption]], rule: RelevanceRule, advance: Callable[[int], None]
) -> list[Judgements]:
    stop = JudgingRule(most=rule.judge)
    async with client:
        return await judge_relevance(
            uses, client=client, is_enough=stop.is_enough, small_model=rule.is_embedded, progress=advance
        )


def _subjects(rule: RelevanceRule) -> Sequence[Subject]:
    """The classes with their definitions: those of the list, else of WordNet."""
    return Grounding(load_noun_synsets()).subjects(rule.class_list)


def _use(row: dict[str, Any], subject: Subject, rule: RelevanceRule) -> NameInCaption:
    return NameInCaption(
        class_name=subject.name,
        name=row["name"],
        caption=row["caption"],
        definition=subject.gloss,
        domain=rule.domain,
    )


def _relevance(name: str, rows: Sequence[dict[str, Any]], judged: Judgements) -> dict[str, Any]:
    """The estimate by the judgements of one class; null without any."""
    pairs = [
        (answer.answer == YES, row["rows"]) for row, answer in zip(rows, judged.answers, strict=False) if answer.answer
    ]
    estimate = estimate_relevance([yes for yes, _ in pairs], [count for _, count in pairs])
    counts = {
        "class": name,
        "judged": judged.judged,
        "yes": judged.yes,
        "unjudged": len(judged.answers) - judged.judged,
    }
    if estimate is None:
        return counts
    return counts | {
        "relevance": estimate.share,
        "relevance_low": estimate.low,
        "relevance_high": estimate.high,
        "effective": estimate.effective,
    }


def _judging_inputs(run: Run, upstream: Records, rule: RelevanceRule) -> dict[str, str]:
    """The wording of the questions, and how often the endpoint left some of them unanswered: that is asked anew."""
    use = NameInCaption(class_name="one", name="one", caption="one")
    question = relevance_question(use, small_model=rule.is_embedded).content(identity="", model="")
    inputs = {"questions": content_hash(question)}
    stored = rule.stored()
    tries = sum(
        bool(record.notes.get("unanswered"))
        for record in run.ledger.records("judge_relevance")
        if record.rule == stored and record.inputs.get("audit_concepts") == upstream[0].output_hash
    )
    return inputs | ({"tries": str(tries)} if tries else {})


AUDIT_CONCEPTS = Step(
    name="audit_concepts", rule=FrequencyRule, judge=audit_names, version=2, inputs=pool_hash, seeded=True
)
JUDGE_RELEVANCE = Step(
    name="judge_relevance",
    rule=RelevanceRule,
    stored=RelevanceRule.stored,
    judge=judge_names,
    inputs=_judging_inputs,
    model=endpoint_identity,
)
