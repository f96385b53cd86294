"""Texts and pictures are encoded once per encoder, in any order; what the model cuts is told."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.storage.files import identities
from evenly.storage.workspace import Workspace
from evenly.tasks import encoders as module
from evenly.tasks.encoders import (
    encoder_identity,
    known_identity,
    open_encoder,
    open_second,
    second_backbone_rows,
    second_identity,
    text_rows,
)
from evenly.tasks.progress import Progress
from evenly.tasks.run import EncoderChoice, Run, SecondChoice
from tests.labelled_build import WordEncoder
from tests.tiny_encoders import write_clip


class Counting(WordEncoder):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode_texts(self, texts, *, progress=None):
        self.asked += texts
        return super().encode_texts(texts, progress=progress)

    def truncated(self, texts):
        return [len(text) > 20 for text in texts]


@pytest.fixture
def encoder(monkeypatch):
    encoder = Counting()
    monkeypatch.setattr(module, "_load", lambda _choice, _cache: encoder)
    return encoder


@pytest.fixture
def run(workspace, encoder) -> Run:  # noqa: ARG001 - patches
    return Run(workspace=workspace, seed=3, cache=workspace.root / "cache", progress=Progress(quiet=True))


def test_a_text_is_encoded_once_and_rows_come_in_the_order_asked(run, encoder):
    rows = text_rows(run, ["a fox", "an owl", "a fox"])
    assert sorted(encoder.asked) == ["a fox", "an owl"]
    assert np.array_equal(rows[0], rows[2])
    assert np.array_equal(text_rows(run, ["an owl", "a fox"]), rows[[1, 0]])
    assert len(encoder.asked) == 2
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float32), axis=1), 1, atol=1e-3)


def test_texts_of_many_chunks_are_all_there(run, encoder, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 3)
    texts = [f"text {number}" for number in range(8)]
    rows = text_rows(run, texts)
    assert rows.shape == (8, encoder.dimension)
    assert len(encoder.asked) == 8
    assert np.array_equal(text_rows(run, texts[::-1]), rows[::-1])


def test_a_run_that_dies_keeps_the_chunks_that_are_done(run, encoder, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    encode = encoder.encode_texts

    def die(texts, **options):
        if len(encoder.asked) >= 4:
            raise KeyboardInterrupt
        return encode(texts, **options)

    monkeypatch.setattr(encoder, "encode_texts", die)
    texts = [f"text {number}" for number in range(6)]
    with pytest.raises(KeyboardInterrupt):
        text_rows(run, texts)
    monkeypatch.setattr(encoder, "encode_texts", encode)
    assert len(text_rows(run, texts)) == 6
    assert len(encoder.asked) == 6


def test_texts_that_the_model_cuts_are_told_once(run, encoder, capsys):  # noqa: ARG001 - patches
    loud = Run(workspace=run.workspace, seed=3)
    long = "a fox that is longer than the model reads"
    text_rows(loud, [long, "short", long])
    assert "1 of 2 are longer than the model reads and cut" in capsys.readouterr().err
    text_rows(loud, [long])
    assert capsys.readouterr().err == ""


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Zs", "Cc", "Zl", "Zp"]), min_size=1, max_size=6),
        min_size=1,
        max_size=6,
    )
)
def test_any_texts_are_told_apart_by_what_they_say(run, texts):
    rows = text_rows(run, texts)
    for one, row in zip(texts, rows, strict=True):
        assert np.array_equal(row, rows[texts.index(one)])
    assert len({text_id(text) for text in texts}) == len(set(texts))


def test_lone_surrogates_have_a_name_too():
    assert text_id("\ud800") != text_id("\ud801")
    assert len(text_id("")) == 64


def test_another_encoder_has_its_own_rows(run, encoder, monkeypatch):
    text_rows(run, ["a fox"])
    other = Counting()
    other.identity = "1" * 64
    monkeypatch.setattr(module, "_load", lambda _choice, _cache: other)
    assert encoder_identity(run) == "1" * 64
    text_rows(run, ["a fox"])
    assert (encoder.asked, other.asked) == (["a fox"], ["a fox"])


# The second backbone.


def test_without_a_second_backbone_its_identity_is_empty_and_its_rows_are_refused(run):
    assert second_identity(run) == ""
    for ask in (open_second, lambda run: second_backbone_rows(run, ["a"])):
        with pytest.raises(NotFoundError, match=r"`features\.second` must name a second backbone; there is none"):
            ask(run)


def test_rows_of_the_second_backbone_are_made_once_from_the_bytes(workspace, monkeypatch):
    asked: list[list[bytes]] = []

    def encode_images(images, *, progress):
        asked.append(list(images))
        progress(len(images))
        return np.stack([np.frombuffer(one.ljust(4), np.uint8).astype(np.float32) for one in images])

    backbone = SimpleNamespace(identity="2" * 64, device_name="a machine", encode_images=encode_images)
    monkeypatch.setattr(module, "_load_second", lambda _choice, _cache, _device: backbone)
    monkeypatch.setattr(module, "read_images", lambda _folder, ids, _places: (one.encode() for one in ids))
    run = Run(workspace=workspace, seed=3, second=SecondChoice(), progress=Progress(quiet=True))
    rows = second_backbone_rows(run, ["owl", "fox", "owl"])
    assert asked == [[b"owl", b"fox"]]
    assert np.array_equal(rows[0], rows[2])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert rows.dtype == np.float32
    assert np.array_equal(second_backbone_rows(run, ["fox"]), rows[[1]])
    assert len(asked) == 1
    assert FeatureStore(workspace, "2" * 64, "images").missing(["owl", "elk"]) == ["elk"]


def test_where_the_identity_is_given_the_encoder_is_not_loaded_to_name_it_and_must_have_it(run, encoder, monkeypatch):
    named = replace(run, encoder_identity="1" * 64)
    with pytest.raises(
        InputError, match=r"must be the same on all machines of a run, 111111111111 .* have GPUs, or no"
    ):
        open_encoder(named)
    assert known_identity(named) == "1" * 64
    assert open_encoder(replace(run, encoder_identity=encoder.identity)) is encoder
    monkeypatch.setattr(module, "_load", None)
    assert encoder_identity(named) == "1" * 64
    assert known_identity(run) == encoder.identity


# Records of identities.


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The folder of a model, and a function that opens it as a new process would; nothing is too young to be known."""
    monkeypatch.setattr(identities, "_SETTLED_NS", 0)
    folder = write_clip(tmp_path / "model")

    def new_run(**choices) -> Run:
        for memory in (module._opened, module._recorded, module._refined_encoders):
            memory.clear()
        module._load.cache_clear()
        module._load_second.cache_clear()
        encoder = EncoderChoice(model=f"local-dir:{folder}", device="cpu")
        workspace = Workspace.at(tmp_path / "workspace")
        return Run(workspace=workspace, seed=3, cache=tmp_path / "cache", encoder=encoder, **choices)

    yield folder, new_run
    new_run()


def test_an_identity_is_read_from_its_record_without_the_weights(model, monkeypatch):
    _, new_run = model
    second = SecondChoice(model="embedded2")
    opened = open_encoder(new_run()).identity
    monkeypatch.setattr(module, "_load", refused := pytest.fail)
    refused.cache_clear = lambda: None
    assert encoder_identity(run := new_run()) == known_identity(run) == opened
    assert known_identity(replace(run, encoder=replace(run.encoder, batch_size=3), second=second)) is None


def test_another_engine_has_a_record_of_its_own_and_torchs_stays(model, monkeypatch):
    _, new_run = model
    run = new_run()
    other = replace(run, encoder=replace(run.encoder, engine="onnxruntime"))
    plain, exported = open_encoder(run).identity, open_encoder(other).identity
    assert plain != exported
    new_run()
    monkeypatch.setattr(module, "_load", refused := pytest.fail)
    refused.cache_clear = lambda: None
    assert (encoder_identity(run), encoder_identity(other)) == (plain, exported)
    assert run.encoder.numbers | {"engine": "onnxruntime"} == other.encoder.numbers


def test_other_weights_of_the_same_size_are_another_encoder(model):
    folder, new_run = model
    before = open_encoder(new_run()).identity
    (weights,) = folder.glob("*.safetensors")
    size, other = weights.stat().st_size, write_clip(folder.with_name("other"), seed=1)
    weights.write_bytes((other / weights.name).read_bytes())
    assert weights.stat().st_size == size
    after = encoder_identity(new_run())
    assert after not in {before, None}
    assert after == open_encoder(new_run()).identity


def test_weights_that_changed_without_a_trace_are_told_of_before_anything_is_stored(model, monkeypatch):
    folder, new_run = model
    stamps, stamp = {}, identities._stamp
    monkeypatch.setattr(identities, "_stamp", lambda path: stamps.setdefault(path, stamp(path)))
    before = open_encoder(new_run()).identity
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes((write_clip(folder.with_name("other"), seed=1) / weights.name).read_bytes())
    run = new_run()
    assert encoder_identity(run) == before
    with pytest.raises(InputError, match=r"must be what its record says, .* Run again: it is another one"):
        text_rows(run, ["a fox"])
    assert not list(run.workspace.features.glob("*/*"))
    assert encoder_identity(run) == encoder_identity(new_run()) != before
    assert len(text_rows(run, ["a fox"])) == 1


def test_a_second_backbone_is_named_by_its_record(model, monkeypatch):
    folder, new_run = model
    second = SecondChoice(model=f"local-dir:{folder}")
    opened = second_identity(new_run(second=second))
    monkeypatch.setattr(module, "load_second", pytest.fail)
    assert second_identity(new_run(second=second)) == opened
