"""Captions drawn by a decoder are drawn once, kept, and the same in any cut of the pool."""

from dataclasses import replace

import pytest

from evenly.tasks.captions import decoded as decoded_module
from evenly.tasks.captions.decoded import open_caption_model
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.engine import InProcess
from evenly.tasks.stage import run_steps
from tests.tasks.captions.test_chat_captioners import POOL, STEPS, offered, recaption, seen
from tests.tasks.whole_rebuild import RULES, open_run, rows
from tests.tiny_coca import write_tiny_coca
from tests.vision_server import vision_server

pytestmark = pytest.mark.usefixtures("colour_words")


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    folder = write_tiny_coca(tmp_path_factory.mktemp("coca") / "model")
    return {"name": "drawn", "kind": "decoded", "model": f"local-dir:{folder}", "max_tokens": 8, "batch_size": 2}


@pytest.fixture
def decoded(monkeypatch):
    """How many captions were drawn of each picture."""
    counts = {}
    from evenly.features.captioning import CaptionModel

    draw = CaptionModel.captions

    def counted(self, images, names, *, samples, progress=None):
        for name in names:
            counts[name] = counts.get(name, 0) + len(samples)
        return draw(self, images, names, samples=samples, progress=progress)

    monkeypatch.setattr(CaptionModel, "captions", counted)
    return counts


def test_captions_are_drawn_once_and_another_sample_draws_no_other_again(tmp_path, captioner, decoded):
    run = open_run(tmp_path / "w", POOL)
    one = recaption(run, [captioner])
    assert sorted(decoded.values()) == [1] * 4
    two = recaption(run, [captioner | {"samples": 2}])
    assert sorted(decoded.values()) == [2] * 4
    texts = {(row["uid"], row["sample"]): row["caption"] for row in offered(run, two, "drawn")}
    assert all(texts[row["uid"], 0] == row["caption"] for row in offered(run, one, "drawn"))
    assert two.notes["offered"] == {"drawn": 8}


def test_all_samples_of_a_picture_are_drawn_in_one_pass(tmp_path, captioner, decoded, monkeypatch):
    passes = []
    read = decoded_module.read_images
    monkeypatch.setattr(decoded_module, "read_images", lambda *given: passes.append(given[1]) or read(*given))
    record = recaption(open_run(tmp_path / "w", POOL), [captioner | {"samples": 3}])
    assert sorted(decoded.values()) == [3] * 4
    assert len(passes) == 1
    assert record.notes["offered"] == {"drawn": 12}


@pytest.mark.slow
def test_partitions_change_nothing(tmp_path, captioner):
    """Captions by a decoder and by a server, judged by a second encoder."""
    results = []
    with vision_server() as server:
        rule = {
            "captioners": [captioner, seen(server), seen(server, name="mended", kind="realigned", rounds=2)],
            "choose": {"by": "score"},
            "judge": {"model": "embedded", "batch_size": 2},
        }
        for bits in (0, 3):
            run = replace(open_run(tmp_path / f"w{bits}", rows()), bits=bits)
            steps = [(step, step.read(RULES[step.name])) for step in STEPS]
            steps.append((RECAPTION, RECAPTION.read(rule)))
            record = run_steps(run, steps, InProcess(run=run))[-1]
            results.append((record.output_hash, record.counts, record.notes))
            assert run.ledger.table(record, "candidates")["judged"].null_count == 0
        assert server.counts()["requests"] == 2 * server.counts()["different"]
    assert results[0] == results[1]
    assert {"judged_before", "judged_after"} <= set(results[0][2])


def test_the_model_is_opened_once(captioner):
    rule = RECAPTION.read({"captioners": [captioner], "choose": {"by": "score"}})
    assert open_caption_model(rule.captioners[0].rule) is open_caption_model(rule.captioners[0].rule)
