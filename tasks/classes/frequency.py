"""Frequencies of classes in captions, by each name of a class, and how often captions mean the class (REAL)."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from evenly.curation.concepts.name_audit import RELEVANCE, SAMPLED, FrequencyRule, count_and_draw, relevance_row
from evenly.curation.concepts.relevance import JudgingRule
from evenly.descriptions.chat.chat import Chat
from evenly.descriptions.chat.event_loop import run_to_end
from evenly.descriptions.chat.reply_log import RecordingChat
from evenly.descriptions.relevance import (
    YES,
    Judgements,
    NameInCaption,
    RelevanceRule,
    judge_relevance,
    relevance_question,
)
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.tasks.chat.endpoints import account, chat_client, endpoint_identity, open_endpoint, spent
from evenly.tasks.classes.describe import pool_captions, pool_hash
from evenly.tasks.classes.senses import groups_hash, noun_grounding
from evenly.tasks.run import Records, Run
from evenly.tasks.step import Step

JUDGED = pa.schema([*SAMPLED, ("answer", pa.string()), ("reason", pa.string()), ("request_id", pa.string())])


def audit_names(run: Run, _upstream: Records, rule: FrequencyRule) -> StepOutput:
    """Count captions of the rule's build, or of the run's sources, by each name of each class, and draw some to judge.

    Tables: those of `count_and_draw`. Notes: `captions_searched`.
    """
    tables, searched = count_and_draw(rule, pool_captions(run, rule), seed=run.seed)
    return StepOutput(tables=tables, notes={"list": rule.list, "captions_searched": searched})


def judge_names(run: Run, upstream: Records, rule: RelevanceRule) -> StepOutput:
    """Have a language model judge the captions that the record of `audit_concepts` in `upstream` drew.

    Tables: `judgements`, one row per caption asked about; `relevance`, one row per class. Notes say what it took.
    """
    drawn: list[dict[str, Any]] = run.ledger.table(upstream[0], "sample").to_pylist()
    subjects = {subject.name: subject for subject in noun_grounding().subjects(rule.class_list)}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in subjects}
    for row in drawn:
        rows[row["class"]].append(row)
    uses = [
        [rule.use(row["name"], row["caption"], subjects[name]) for row in class_rows]
        for name, class_rows in rows.items()
    ]
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
        relevance_row(
            name,
            [
                (answer.answer == YES if answer.answer else None, row["rows"])
                for row, answer in zip(class_rows, judged.answers, strict=False)
            ],
        )
        for (name, class_rows), judged in zip(rows.items(), judgements_of_classes, strict=True)
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


def _judging_inputs(run: Run, upstream: Records, rule: RelevanceRule) -> dict[str, str]:
    """The wording of the questions, and how often the endpoint left some of them unanswered: that is asked anew."""
    use = NameInCaption(class_name="one", name="one", caption="one")
    question = relevance_question(use, small_model=rule.is_embedded).content(identity="", model="")
    inputs = {"questions": content_hash(question)} | groups_hash(rule.class_list)
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
