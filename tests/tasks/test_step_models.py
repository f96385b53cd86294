"""A step whose rule names an encoder runs with that one, wherever its parts run, and is another step for it."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from evenly.curation.align import Align
from evenly.curation.decisions import Decisions
from evenly.curation.encoder_name import EncoderName, StepModel
from evenly.flows.recipe.curation import Curate
from evenly.storage.ledger import StepOutput
from evenly.storage.records import stored_fields
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.align import ALIGN
from evenly.tasks.run import EncoderChoice, Run, uses_model
from evenly.tasks.stage import run_steps
from evenly.tasks.step import EachFor, Step, each_for, run_for
from tests.picture_pool import commit, picture, pool_record
from tests.tasks.captions.test_recaption import PAIRS, collected
from tests.tasks.whole_rebuild import RED

OTHER = EncoderName(model="ViT-B-32", pretrained="other")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A rule that may name an encoder."""

    model: StepModel | None = None


def _each(run):
    return str(run.encoder)


def _resolve(run, _upstream, _rule, each):
    return {str(run.encoder), *each.partitions("naming", _each), *each.items("naming", _item, [1, 2])}


def _item(run, _item):
    return str(run.encoder)


def _judge(run, upstream, _rule, names):
    uids = run.ledger.alive(upstream, [])["uid"].combine_chunks()
    seen = pa.array([", ".join(sorted({*names, str(run.encoder)}))] * len(uids), pa.string())
    return StepOutput(decisions=Decisions.keep_all(len(uids)).to_table(uids).append_column("names", seen))


def _finish(run, _upstream, _rule, names, _partials):
    return StepOutput(notes={"names": sorted({*names, str(run.encoder)})})


def _model(run, _rule):
    return f"identity of {run.encoder}"


NAMING = Step(name="naming", rule=Naming, resolve=_resolve, judge=_judge, finish=_finish, model=_model)


@pytest.mark.parametrize("bits", [0, 2])
def test_every_part_of_the_step_has_its_encoder_and_other_steps_the_runs(workspace, bits):
    run = Run(workspace=workspace, seed=1, bits=bits, encoder=EncoderChoice(model="embedded"))
    pool = pool_record(run, dict.fromkeys(("0a000000", "5b000000", "fc000000"), picture(RED)))
    for model, name in ((OTHER, "ViT-B-32 (other)"), (None, "embedded")):
        record = run_steps(run, [(NAMING, Naming(model=model))], InProcess(run=run), [pool])[-1]
        assert record.model == f"identity of {name}"
        assert record.notes == {"names": [name]}
        assert run.ledger.decisions(record)["names"].unique().to_pylist() == [name]


def test_threads_and_device_are_the_runs_and_all_else_is_the_models_own(workspace):
    encoder = EncoderChoice(model="embedded", precision="bf16", threads=3, device="cpu", refine="mine")
    run = Run(workspace=workspace, seed=1, encoder=encoder, encoder_identity="known")
    own = run_for(run, Naming(model=OTHER))
    assert own.encoder == EncoderChoice(model="ViT-B-32", pretrained="other", threads=3, device="cpu")
    assert own.encoder_identity is None
    assert run_for(run, Naming()) is run


def test_a_worker_of_such_a_step_is_one_that_loads_a_model(workspace):
    each = InProcess(run=Run(workspace=workspace, seed=1))
    own = each_for(each, Naming(model=OTHER))
    assert isinstance(own, EachFor)
    given = list[Any]()
    replace(own, engine=SimpleNamespace(partitions=lambda _, function: given.append(function))).partitions("x", _each)
    assert [uses_model(function) for function in given] == [True]
    assert each_for(each, Naming()) is each


def test_a_recipe_names_it_by_a_word_or_with_its_tag_and_leaves_old_rules_as_they_were():
    curate = Curate.model_validate(
        {
            "download": {},
            "align": {"keep_top": 0.5, "model": "embedded2"},
            "deduplicate": {"model": {"model": "ViT-B-32", "pretrained": "other"}},
        }
    )
    assert curate.align == Align(keep_top=0.5, model=EncoderName(model="embedded2"))
    assert curate.merging.semantic_rule is not None
    assert curate.merging.semantic_rule.model == OTHER
    assert stored_fields(Align(keep_top=0.5)) == {"keep_top": 0.5}


@pytest.mark.usefixtures("colour_words")
def test_alignment_by_another_encoder_scores_the_chosen_caption_anew(workspace):
    run = Run(workspace=workspace, seed=3, processes=1)
    records = collected(run, PAIRS)
    plain = commit(run, ALIGN, records, {"keep_top": 0.5})
    other = commit(run, ALIGN, records, {"keep_top": 0.5, "model": {"model": "embedded2"}})
    assert other.key != plain.key
    assert other.counts == plain.counts
