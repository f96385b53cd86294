"""What captioners would ask and cost: before a run, after it, and where it is not known which pairs will be left."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import yaml

from evenly.descriptions.captions.asked import ChatCaptions
from evenly.flows.cli.datasets.builds import COMMANDS
from evenly.flows.cli.datasets.planning import plan_recipe
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import steps_of
from evenly.flows.runs import run_in
from evenly.storage.ledger import StepRecord
from evenly.tasks.captions.estimate import asking_captioners, estimate_captions, estimate_captions_at_most
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.engine import InProcess
from evenly.tasks.run import Run
from evenly.tasks.stage import run_steps
from tests.tasks.captions.test_chat_captioners import POOL, STEPS, seen
from tests.tasks.whole_rebuild import RULES, open_run, write_pool
from tests.vision_server import vision_server

pytestmark = pytest.mark.usefixtures("colour_words")
PRICES = {"prompt_usd_per_million": 10.0, "completion_usd_per_million": 100.0}


@pytest.fixture
def run(tmp_path) -> Run:
    return open_run(tmp_path / "w", POOL)


def estimated(run: Run, *captioners: dict) -> list[dict]:
    """The rows for the pairs that are left after STEPS."""
    rule = RECAPTION.read({"captioners": list(captioners), "choose": {"by": "score"}})
    priced = [
        replace(one, rule=replace(one.rule, **PRICES)) if isinstance(one.rule, ChatCaptions) else one
        for one in rule.captioners
    ]
    return estimate_captions(run, asking_captioners(priced), rebuilt(run), InProcess(run=run))


def rebuilt(run: Run, *captioners: dict) -> Sequence[StepRecord]:
    """The records of STEPS, and of a choice among what captioners offer, if there are any."""
    steps = [(step, step.read(RULES[step.name])) for step in STEPS]
    if captioners:
        steps.append((RECAPTION, RECAPTION.read({"captioners": list(captioners), "choose": {"by": "score"}})))
    return run_steps(run, steps, InProcess(run=run))


@pytest.mark.parametrize("bits", [0, 2])
def test_what_is_estimated_is_what_is_asked_and_nothing_is_sent(run, bits):
    run = replace(run, bits=bits)
    with vision_server() as server:
        captioners = [seen(server, samples=2), seen(server, name="mended", kind="realigned", rounds=2)]
        before = estimated(run, *captioners, {"name": "r", "kind": "retrieved"})
        assert server.counts()["requests"] == 0
        rebuilt(run, *captioners)
        asked = server.counts()["requests"]
        after = estimated(run, *captioners)
    assert [(row["captioner"], row["pairs"], row["pairs_are"]) for row in before] == [
        ("seen", 4, "counted"),
        ("mended", 4, "counted"),
    ]
    assert [(row["requests"], row["stored"], row["left_at_most"]) for row in before] == [(8, 0, 8), (8, 0, 8)]
    assert sum(row["left_at_most"] for row in before) == asked
    assert [(row["requests"], row["stored"], row["left_at_most"]) for row in after] == [(8, 8, 0), (8, 8, 0)]
    assert all(row["cost_usd_at_most"] == 0 for row in after)
    for row in before:
        assert 0 < row["prompt_tokens"] < row["prompt_tokens_at_most"]
        assert row["completion_tokens"] == row["completion_tokens_at_most"] == 8 * 200
        assert row["cost_usd"] == pytest.approx(row["prompt_tokens"] * 10e-6 + 1600 * 100e-6)


def test_stored_replies_say_how_long_the_others_will_be(run):
    with vision_server() as server:
        rebuilt(run, seen(server))
        (row,) = estimated(run, seen(server, samples=3))
    assert (row["requests"], row["stored"], row["left_at_most"]) == (12, 4, 8)
    assert (row["completion_tokens"], row["completion_tokens_at_most"]) == (8 * 20, 8 * 200)


def test_pairs_that_are_not_known_have_a_text_of_usual_length(run):
    tags = {"name": "tags", "kind": "tags", "columns": ["label"], "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    eyes = {"name": "eyes", "kind": "seen", "base_url": "http://127.0.0.1:9/v1", "model": "m", "samples": 2}
    rule = RECAPTION.read({"captioners": [tags, eyes], "choose": {"by": "score"}})
    of_tags, of_eyes = estimate_captions_at_most(run, asking_captioners(rule.captioners), 1_000, pairs_are="about")
    assert (of_tags["requests"], of_eyes["requests"]) == (1_000, 2_000)
    assert {of_tags["pairs_are"], of_eyes["pairs_are"]} == {"about"}
    assert of_eyes["completion_tokens"] == 2_000 * 200
    assert (of_eyes["stored"], of_eyes["left_at_most"]) == (0, 2_000)


def test_the_plan_says_at_most_until_the_steps_before_are_there_and_nothing_when_it_is_reused(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    write_pool(tmp_path / "pool", POOL)
    (tmp_path / "concepts.txt").write_text("fox\nowl\ncat\nwords\ncolour\n")
    with vision_server() as server:
        captioner = {"kind": "seen", "base_url": server.url, "model": "eyes"} | PRICES
        curate = {"download": {}, "match": {"metadata": "concepts.txt"}, "recaption": {"captioners": [captioner]}}
        content = {"name": "eyes", "seed": 3, "sources": [{"kind": "folder", "path": "pool"}], "curate": curate}
        path = tmp_path / "eyes.yaml"
        path.write_text(yaml.safe_dump(content))
        root = tmp_path / "w"
        (row,) = plan_recipe(path, root=root)["captions"]
        assert (row["captioner"], row["pairs"], row["pairs_are"], row["left_at_most"]) == (
            "seen",
            5,
            "about",
            5,
        )  # pictures of the folder
        COMMANDS["plan"](recipe=path, root=root, workers=1)
        assert "at most ~5" in capsys.readouterr().out

        recipe = read_recipe(path)
        steps = steps_of(recipe)
        place = [step.name for step, _ in steps].index("recaption")
        run = run_in(recipe, root=root, quiet=True)
        run_steps(run, steps[:1], InProcess(run=run))
        (row,) = plan_recipe(path, root=root)["captions"]
        assert (row["pairs"], row["pairs_are"], row["left_at_most"]) == (5, "at most", 5)
        run_steps(run, steps[:place], InProcess(run=run))
        (row,) = plan_recipe(path, root=root)["captions"]
        assert (row["pairs"], row["pairs_are"], row["stored"], row["left_at_most"]) == (
            5,
            "counted",
            0,
            4,
        )  # two of a picture
        COMMANDS["plan"](recipe=path, root=root, workers=1)
        shown = capsys.readouterr().out
        assert "captions: expected - at most, lost replies aside" in shown
        assert "at most ~" not in shown
        run_steps(run, steps[: place + 1], InProcess(run=run))
        assert server.counts()["requests"] == 4
        assert plan_recipe(path, root=root)["captions"] == []
