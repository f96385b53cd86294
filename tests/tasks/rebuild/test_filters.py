"""Filters that look something up: what they read is part of the key, and named by its hash."""

import hashlib
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from evenly.curation.decisions import Decisions
from evenly.curation.filters.caption_entities import CaptionEntities
from evenly.storage.errors import InputError
from evenly.storage.ledger import StepOutput
from evenly.tasks.rebuild.filters import CHECK_TEXTS, first_senses
from evenly.tasks.run import Run
from evenly.tasks.step import Step
from tests.picture_pool import commit
from tests.step_outputs import output_of

CAPTIONS = ["a red fox", "a foul dog", "a dog"]


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=3)


@pytest.fixture
def records(run):
    decisions = Decisions.keep_all(3).to_table(pa.array(["a", "b", "c"])).append_column("caption", pa.array(CAPTIONS))
    given = Step(name="collect", rule=dict, stored=dict, load=dict, judge=lambda *_: StepOutput(decisions=decisions))
    spec = given.spec(run, [], {})
    return [run.ledger.commit(spec, output_of(given, run, [], {}), uids=None, started=datetime.now(UTC))]


@pytest.fixture
def words(run, records):  # noqa: ARG001 - makes the folder
    """A list in the workspace, named as recipes may name it."""
    path = run.workspace.root / "words.txt"
    path.write_text("foul\n")
    return path


def rule(**values):
    return {"caption_length": {"min_words": 2}, "caption_blocklist": {"file": "{root}/words.txt"} | values}


def test_a_list_is_read_where_the_recipe_says_and_named_by_its_hash(run, records, words):
    step = commit(run, CHECK_TEXTS, records, rule())
    sha256 = hashlib.sha256(words.read_bytes()).hexdigest()
    assert step.reasons == {f"blocked_words:{sha256[:12]}": 1}
    assert step.notes == {"caption_blocklist": sha256}
    assert step.inputs["caption_blocklist"] == sha256
    assert run.ledger.decisions(step, ["caption_blocklist_value"]).to_pydict() == {"caption_blocklist_value": [0, 1, 0]}


def test_another_content_is_another_key(run, records, words):
    before = CHECK_TEXTS.spec(run, records, CHECK_TEXTS.read(rule())).key
    words.write_text("foul\nred\n")
    assert CHECK_TEXTS.spec(run, records, CHECK_TEXTS.read(rule())).key != before
    assert commit(run, CHECK_TEXTS, records, rule()).counts["dropped"] == 2


def test_a_list_whose_hash_the_recipe_names_must_have_it(run, records, words):
    sha256 = hashlib.sha256(words.read_bytes()).hexdigest()
    assert commit(run, CHECK_TEXTS, records, rule(sha256=sha256)).counts["dropped"] == 1
    words.write_text("foul\nred\n")
    with pytest.raises(InputError, match="sha256 that the recipe names"):
        CHECK_TEXTS.spec(run, records, CHECK_TEXTS.read(rule(sha256=sha256)))


def test_the_installed_wordnet_is_not_looked_for_beside_the_recipe(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr("evenly.storage.files.wordnets.DEBIAN", "/nowhere")
    for name in ("WNSEARCHDIR", "WNHOME"):
        monkeypatch.delenv(name, raising=False)
    run = Run(workspace=workspace, seed=1, folder=tmp_path)
    with pytest.raises(InputError, match=r"of WordNet 3\.0; got `auto`"):
        first_senses(run, CaptionEntities())
    with pytest.raises(InputError, match=f"of WordNet 3.0; got `{tmp_path}/words`"):
        first_senses(run, CaptionEntities(wordnet="words"))
