"""Describe a class list through a chat endpoint, embedded or any other, and count its names in captions (REAL)."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.class_texts import SYNONYMS
from evenly.curation.concepts.name_audit import count_each_name
from evenly.descriptions.chat.embedded import embedded_name
from evenly.descriptions.chat.endpoint import Endpoint
from evenly.descriptions.chat.rehearsal import Rehearsal
from evenly.descriptions.class_list import ClassList
from evenly.descriptions.describe import Pairs, describe
from evenly.descriptions.described import Accepted, DescribeRule, NamesRule, askings
from evenly.descriptions.descriptions import ACCEPTED, Descriptions
from evenly.descriptions.estimate import estimate, nothing_to_ask
from evenly.descriptions.methods import chosen_methods
from evenly.descriptions.methods.synonyms import TIED, consistent_synonyms
from evenly.storage.builds import Builds
from evenly.storage.chat.requests import Requests
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.pools.source import read_captions
from evenly.storage.records import content_hash
from evenly.storage.samples import BuildSamples
from evenly.tasks.chat.endpoints import (
    account,
    chat_client,
    embedded_model,
    endpoint_identity,
    open_endpoint,
    prices_of,
    spent,
)
from evenly.tasks.classes.confusable import named_pairs
from evenly.tasks.classes.phrases import phrases_by_class
from evenly.tasks.classes.senses import groups_hash, noun_grounding
from evenly.tasks.encoders import encoder_identity, text_rows
from evenly.tasks.rebuild.collect import hash_sources
from evenly.tasks.run import Records, Run
from evenly.tasks.server.events import ClassesDescribed, emit
from evenly.tasks.splits import build_inputs
from evenly.tasks.step import Step


def describe_class_list(run: Run, upstream: Records, rule: DescribeRule) -> StepOutput:
    """Table `descriptions`: every text with its verdict, reason and request id; notes: what it took.

    Methods about pairs ask about those of the record of `find_confusable` in `upstream`, and notes say how many;
    phrases of captions are those of the record of `find_phrases`.
    """
    class_list = rule.class_list
    methods = chosen_methods(list(rule.methods), small_model=rule.is_embedded)
    budget = account(run, class_list.name)
    pairs = [pair for record in upstream if "pairs" in record.hashes for pair in named_pairs(run, record)]
    phrases = [phrases_by_class(run, record) for record in upstream if "phrases" in record.hashes]
    with open_endpoint(rule) as endpoint:
        client = chat_client(run, endpoint, name=class_list.name, budget=budget)
        grounding = noun_grounding()
        with run.progress.bar("describing classes", askings(methods, len(class_list.classes), len(pairs))) as advance:
            descriptions = describe(
                class_list,
                methods=methods,
                client=client,
                grounding=grounding,
                pairs=pairs,
                phrases=phrases[0] if phrases else {},
                progress=lambda *_: advance(1),
            )
    descriptions = _with_consistent_synonyms(run, class_list, descriptions)
    notes = descriptions.summary() | {"account": spent(budget)}
    for record in upstream:
        notes |= record.notes
    return StepOutput(tables={"descriptions": descriptions.table}, notes=notes)


def announce_described(run: Run, described: StepRecord) -> str:
    """Say how many texts of a list were refused, and why (a warning where any were), and send the event; the line."""
    notes = described.notes
    refused = Counter(notes["rejected"]) + Counter(notes["failed"])
    reasons = ", ".join(f"{name} {count:,}" for name, count in refused.items())
    counts = {"classes": notes["classes"], "texts accepted": notes["accepted"], "refused": refused.total()}
    line = f"{notes['class_list']}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
    line += f" ({reasons})" if refused else ""
    run.progress.say(line, logging.WARNING if refused else logging.INFO)
    emit(
        ClassesDescribed(
            class_list=notes["class_list"],
            step=described.key,
            accepted=notes["accepted"],
            refused=dict(refused),
            root=str(run.workspace.root),
        )
    )
    return line


def _with_consistent_synonyms(run: Run, class_list: ClassList, descriptions: Descriptions) -> Descriptions:
    """Reject synonyms that lie nearer to another class than to their own, as REAL does."""
    table = descriptions.table
    other_names = pc.is_in(table["method"], pa.array(SYNONYMS))
    index = np.flatnonzero(pc.and_(other_names, pc.equal(table["verdict"], ACCEPTED)).to_numpy())
    if not len(index):
        return descriptions
    classes = list(class_list.classes)
    owners = [classes.index(name) for name in table["class"].take(index).to_pylist()]
    synonyms = table["text"].take(index).to_pylist()
    keep = consistent_synonyms(
        text_rows(run, [f"a photo of a {name}" for name in synonyms]).astype(np.float32),
        np.asarray(owners),
        text_rows(run, [f"a photo of a {name}" for name in classes]).astype(np.float32),
    )
    rows = np.zeros(table.num_rows, dtype=bool)
    rows[index[~keep]] = True
    return descriptions.reject(rows, "nearer_to_another_class")


def estimate_list(
    run: Run, rule: DescribeRule, pairs: Pairs = (), *, upstream: Records | None = ()
) -> list[dict[str, Any]]:
    """Requests and costs of describing the list now, a row for each method (estimate.Estimate); nothing is sent.

    upstream: the records before the step, of which a list that is described by them asks nothing more; None where one
    of them is not there.
    """
    stored = rule.stored()
    if upstream is not None and any(record.rule == stored for record in run.ledger.records("describe")):
        record = run.ledger.find(DESCRIBE.spec(run, upstream, rule).key)
        if record is not None:
            table = run.ledger.table(record, "descriptions", ["method", "request_id", "sample", "verdict"])
            return [done.row() for done in nothing_to_ask(rule.class_list.name, rule.methods, table)]
    embedded = rule.is_embedded
    rehearsal = Rehearsal(
        identity=embedded_model() if embedded else Endpoint(base_url=rule.base_url, model=rule.model).identity,
        model=embedded_name() if embedded else rule.model,
        store=Requests(run.workspace),
    )
    estimates = estimate(
        rule.class_list,
        methods=chosen_methods(list(rule.methods), small_model=embedded),
        rehearsal=rehearsal,
        prices=prices_of(run),
        grounding=noun_grounding(),
        pairs=pairs,
    )
    return [estimated.row() for estimated in estimates]


def accepted(run: Run, described: StepRecord) -> Accepted:
    """The accepted texts of a record of `describe`."""
    return Accepted(run.ledger.table(described, "descriptions", Accepted.COLUMNS))


def finished_description(run: Run, upstream: Records, rule: DescribeRule) -> StepRecord | None:
    """The newest record of `describe` by this rule, perhaps one that left questions unanswered; None without one."""
    spec = DESCRIBE.spec(run, upstream, rule)
    if (record := run.ledger.find(spec.key)) is not None:
        return record
    inputs = dict(spec.inputs)
    earlier = int(inputs.pop("tries", 0)) - 1
    return run.ledger.find(replace(spec, inputs=inputs | _tries(earlier)).key)


def _inputs(run: Run, _upstream: Records, rule: DescribeRule) -> dict[str, str]:
    """The inputs of the step: the wording of questions, the encoder, how often the endpoint left some unanswered.

    A further try is a new observation: it finds all replies that came stored, and asks the rest.
    """
    inputs = {"questions": content_hash(rule.wording())} | groups_hash(rule.class_list)
    if {*SYNONYMS} & {*rule.methods}:
        inputs |= {"encoder": encoder_identity(run), "tied": str(TIED)}
    records, stored = run.ledger.records("describe"), rule.stored()
    return inputs | _tries(sum(bool(record.notes.get("unanswered")) for record in records if record.rule == stored))


def _tries(number: int) -> dict[str, str]:
    return {"tries": str(number)} if number > 0 else {}


DESCRIBE = Step(
    name="describe",
    rule=DescribeRule,
    stored=DescribeRule.stored,
    load=DescribeRule.load,
    judge=describe_class_list,
    inputs=_inputs,
    model=endpoint_identity,
)


class PoolOfCaptions(Protocol):
    """A rule that names the build whose captions are read; None: those of the run's sources."""

    @property
    def build(self) -> str | None:
        """The build."""


def count_names(run: Run, upstream: Records, rule: NamesRule) -> StepOutput:
    """Count the captions that hold each class name and each of its accepted synonyms, by the description in `upstream`.

    Captions are all those of the build's pool, or without a build those of the run's sources. Tables: `names` (class,
    name, captions; the class's own name first), `most_frequent` (class, captions that hold any of its names, strict,
    relaxed: the name that each of REAL's rules chooses). Notes: `captions_searched`.
    """
    texts = accepted(run, upstream[0]).texts()
    names = {
        name: [name, *(text for method in SYNONYMS for text in texts.get(method, {}).get(name, ()))]
        for name in rule.class_list.classes
    }
    tables, searched = count_each_name(names, pool_captions(run, rule))
    return StepOutput(tables=tables, notes={"list": rule.class_list.name, "captions_searched": searched})


def pool_captions(run: Run, rule: PoolOfCaptions) -> Iterator[pa.Array]:
    """All captions of the pool of the rule's build in stretches, or without one those of the run's sources."""
    if rule.build is None:
        return (captions for source in run.sources for captions in read_captions(source))
    manifest = Builds(run.workspace).read(rule.build)
    return iter(BuildSamples(run.workspace, manifest).read(["caption"])["caption"].chunks)


def pool_hash(run: Run, upstream: Records, rule: PoolOfCaptions) -> dict[str, str]:
    """The pool that `pool_captions` reads, by its content."""
    if rule.build is None:
        return hash_sources(run, upstream, rule)
    return build_inputs(run, rule.build)


COUNT_NAMES = Step(name="count_names", rule=NamesRule, stored=NamesRule.stored, judge=count_names, inputs=pool_hash)
