"""Features of pictures when something goes wrong with the device, the weights or the store: what is stored is right."""

import random
import shutil
from dataclasses import replace

import lance
import numpy as np
import pytest
import timm
import torch
from torchvision import models

from evenly.features.errors import DeviceError
from evenly.storage.errors import DamagedError, InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.tables.lance_rows import MADE_AGAIN, check_rows
from evenly.tasks import encoders
from evenly.tasks.encoders import encoder_identity, open_encoder, second_backbone_rows, second_identity
from evenly.tasks.pictures import encoded
from evenly.tasks.rebuild.align import ALIGN
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.run import EncoderChoice, SecondChoice
from evenly.tasks.stage import run_step
from tests.picture_pool import picture
from tests.storage.damage_driver import damaged
from tests.tasks.whole_rebuild import RED, Row, open_run, run_steps
from tests.tiny_encoders import ENCODERS, write_clip

STEPS = (COLLECT, DOWNLOAD, EMBED_IMAGES)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run over 20 pictures, of which 4 are stored at a time, with an encoder of random weights."""
    monkeypatch.setattr(encoded, "CHUNK", 4)
    pool = [Row(f"fox{number}", f"fox number {number}", picture(RED, pattern=number)) for number in range(20)]
    choice = EncoderChoice(model=f"local-dir:{write_clip(tmp_path / 'model')}", batch_size=2, threads=2)
    yield replace(open_run(tmp_path / "w", pool), encoder=choice)
    encoders._load.cache_clear()


def stored(run) -> dict[str, bytes]:
    """The rows by image_id; each is there once."""
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    table = lance.dataset(str(store.path)).to_table()
    ids = table["id"].to_pylist()
    assert len(set(ids)) == len(ids)
    return {image_id: row.tobytes() for image_id, row in zip(ids, store.read(ids)[0], strict=True)}


@pytest.mark.parametrize(
    ("device", "words", "message"),
    [
        (
            "cpu",
            "CUDA error: no device\nmore",
            r"`cpu` must answer; it failed: CUDA error: no device\. W",
        ),
        ("cpu:0", "CUDA error: no device", "What was stored stays; run again, or name another `device`"),
        (
            "cpu:0",
            "CUDA out of memory. Tried",
            "`batch_size` must fit the memory of `cpu:0`; 2 do not",
        ),
    ],
)
def test_a_device_that_fails_in_mid_run_keeps_what_was_stored(run, device, words, message):
    run = replace(run, encoder=replace(run.encoder, device=device))
    batches = []

    def fail(_module, _inputs):
        batches.append(1)
        if len(batches) > 7:
            raise RuntimeError(words)

    hook = open_encoder(run).opened.model.visual.register_forward_pre_hook(fail)
    with pytest.raises(DeviceError, match=message):
        run_steps(run, STEPS)
    hook.remove()
    half = stored(run)
    assert 4 <= len(half) < 20
    run_steps(run, STEPS)
    whole = stored(run)
    assert len(whole) == 20
    assert half.items() <= whole.items()


def test_weights_that_are_swapped_under_their_name_are_another_encoder_and_rows_are_never_mixed(run, tmp_path):
    (*_, before), rows = run_steps(run, STEPS), stored(run)
    given_out = replace(run, encoder_identity=encoder_identity(run))  # what workers are given
    shutil.rmtree(tmp_path / "model")
    write_clip(tmp_path / "model", seed=1)
    (*_, same), same_rows = run_steps(run, STEPS), stored(run)  # this process has loaded the first
    assert (same.key, same_rows) == (before.key, rows)
    encoders._load.cache_clear()
    with pytest.raises(InputError, match=r"the encoder must be the same on all machines of a run.*the same weights"):
        open_encoder(given_out)
    assert len(list(run.workspace.features.iterdir())) == 1
    *_, after = run_steps(run, STEPS)
    assert after.key != before.key
    assert sorted(stored(run)) == sorted(rows)
    assert not set(stored(run).values()) & set(rows.values())
    shutil.rmtree(tmp_path / "model")
    write_clip(tmp_path / "model")
    encoders._load.cache_clear()
    assert stored(run) == rows


def test_a_damaged_file_of_features_is_named_with_its_remedy_and_made_again(run):
    run_steps(run, STEPS)
    rows, store = stored(run), FeatureStore(run.workspace, encoder_identity(run), "images")
    luck, seen = random.Random(5), 0  # noqa: S311 - the same flips each time
    copy = shutil.copytree(store.path, run.workspace.root / "copy")
    for number in range(12):
        path = luck.choice(sorted((store.path / "data").iterdir()))
        path.write_bytes(damaged(path.read_bytes(), luck.random(), None if number % 4 == 3 else luck.randrange(8)))
        with pytest.raises(DamagedError, match=rf"{store.path}.*{MADE_AGAIN}"):
            check_rows(store.path, MADE_AGAIN)
        try:
            again = encoded.image_rows(run, store, sorted(rows))
        except DamagedError as error:
            line, seen = str(error), seen + 1
        else:
            line = f"{store.path} {MADE_AGAIN}"
            assert (again == read(rows)).all()
        assert str(store.path) in line
        assert line.endswith(MADE_AGAIN)
        shutil.rmtree(store.path)
        shutil.copytree(copy, store.path)
    assert seen > 6
    shutil.rmtree(store.path)
    assert (encoded.image_rows(run, store, sorted(rows)) == read(rows)).all()
    assert stored(run) == rows


@pytest.mark.parametrize("kind", ENCODERS)
def test_each_kind_of_encoder_carries_a_rebuild(run, tmp_path, kind):
    model = ENCODERS[kind](tmp_path / kind)
    run = replace(run, encoder=EncoderChoice(model=f"local-dir:{model}", batch_size=4))
    records = [*run_steps(run, STEPS), run_step(run, ALIGN, run_steps(run, STEPS), ALIGN.read({"keep_top": 0.5}))]
    assert 10 <= records[-1].counts["kept"] <= 11
    assert records[-2].notes["devices"] == {open_encoder(run).device_name: 20}
    assert open_encoder(run).device_name.startswith("cpu ")


def test_models_of_timm_and_torchvision_are_second_backbones_of_a_run(run, tmp_path):
    run_steps(run, STEPS)
    torch.manual_seed(0)
    torch.save(models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), tmp_path / "torchvision.pth")
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "timm.pth")
    names = {"torchvision:shufflenet_v2_x0_5": "torchvision.pth", "timm:test_vit": "timm.pth"}
    ids = sorted(stored(run))
    for name, file in names.items():
        chosen = replace(run, second=SecondChoice(model=name, pretrained=str(tmp_path / file)))
        rows = second_backbone_rows(chosen, ids)
        assert len(rows) == 20
        assert np.array_equal(second_backbone_rows(chosen, ids), rows)
        assert len(FeatureStore(run.workspace, second_identity(chosen), "images").devices(ids)) == 1
        encoders._load_second.cache_clear()


def read(rows: dict[str, bytes]) -> np.ndarray:
    return np.stack([np.frombuffer(rows[image_id], np.float16) for image_id in sorted(rows)])
