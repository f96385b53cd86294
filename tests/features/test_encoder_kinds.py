"""Each kind of encoder that open_clip has: rows are its own, in any grouping; what is wrong with one is one line."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from evenly.features.encoder import load_encoder
from evenly.features.errors import UnknownModelError, WeightsUnavailableError
from evenly.features.second_backbone import load_second
from tests.tiny_encoders import ENCODERS, write_bert, write_clip

TEXTS = ["a cat", "", "two cat on a red sofa", "a " * 40, "cat", "fox " * 10, "fox " * 11]
REMEDY = "Check name, file and network, or use `embedded`."


@pytest.fixture(params=ENCODERS)
def folder(request, tmp_path) -> Path:
    return ENCODERS[request.param](tmp_path / request.param)


def load(folder, **options):
    return load_encoder(f"local-dir:{folder}", cache="unused", **({"threads": 2, "batch_size": 4} | options))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_rows_are_what_open_clip_itself_computes_in_any_grouping(folder, drawings):
    encoder = load(folder)
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    opaque = drawings[::3]  # open_clip drops alpha, we paste it on white
    pixels = torch.stack([preprocess(Image.open(io.BytesIO(data))) for data in opaque])
    model.eval()
    with torch.inference_mode():
        images = model.encode_image(pixels).numpy()
        texts = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)).numpy()
    rows, text_rows = encoder.encode_images(opaque), encoder.encode_texts(TEXTS)
    assert rows.shape == (len(opaque), encoder.dimension)
    assert np.allclose(unit(rows), unit(images), atol=1e-5)  # CoCa's are of unit length unless told otherwise
    assert np.allclose(unit(text_rows), unit(texts), atol=1e-5)
    parts = [encoder.encode_images(opaque[:5]), encoder.encode_images(opaque[5:])]
    assert np.concatenate(parts).tobytes() == rows.tobytes()
    parts = [encoder.encode_texts(TEXTS[:3]), encoder.encode_texts(TEXTS[3:])]
    assert np.concatenate(parts).tobytes() == text_rows.tobytes()


def test_what_is_longer_than_it_reads_is_told(folder):
    encoder = load(folder)
    tokenize, longest = encoder.opened.tokenizer, encoder.opened.context_length
    long = [len(set(map(tuple, tokenize([text, f"{text} cat"]).tolist()))) == 1 for text in TEXTS]
    assert long[3]
    assert encoder.truncated(["a " * longest, "a cat"]) == [True, False]
    assert not any(told and not is_long for told, is_long in zip(encoder.truncated(TEXTS), long, strict=True))


def test_it_can_be_a_second_backbone_and_on_a_device_of_its_own(folder, drawings):
    encoder = load(folder)
    second = load_second(f"local-dir:{folder}", cache="unused", threads=2, batch_size=4, device="cpu:0")
    assert second.identity == encoder.identity
    assert np.array_equal(second.encode_images(drawings[:7]), encoder.encode_images(drawings[:7]))


def test_the_place_of_its_folder_is_no_part_of_the_identity(tmp_path):
    folder = write_bert(tmp_path / "here")
    other = Path(shutil.copytree(folder, tmp_path / "there"))
    config = json.loads((other / "open_clip_config.json").read_text().replace(str(folder), str(other)))
    (other / "open_clip_config.json").write_text(json.dumps(config))
    assert load(folder).identity == load(other).identity


# What is wrong with a checkpoint.


def change(folder, **tensors):
    """Write the weights with others in place of some; None removes one."""
    path = folder / "open_clip_model.safetensors"
    state = {name: tensor for name, tensor in (load_file(path) | tensors).items() if tensor is not None}
    path.unlink()  # as a download does: a new file, under the same name
    save_file(state, path)


def refused(folder, *words):
    with pytest.raises(WeightsUnavailableError) as error:
        load(folder)
    line = str(error.value)
    assert line.startswith(f"the weights `local-dir:{folder}` must load; got: ")
    assert line.endswith(REMEDY)
    assert "\n" not in line
    assert all(word in line for word in words), line


def test_weights_of_another_architecture_are_refused_and_say_what_is_missing(tmp_path):
    folder, other = write_clip(tmp_path / "a"), write_bert(tmp_path / "b")
    shutil.copy(other / "open_clip_model.safetensors", folder)
    refused(folder, "tensors of another architecture", "Missing key(s)", "text_projection")
    folder = write_clip(tmp_path / "c")
    change(folder, text_projection=torch.zeros(32, 8))
    refused(folder, "tensors of another architecture", "size mismatch for text_projection")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_refused(tmp_path, share):
    folder = write_clip(tmp_path / "a")
    path = folder / "open_clip_model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(folder)


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "model.pth"])
@pytest.mark.parametrize("content", ["evil", "list", "nothing", "text", "empty"])
def test_a_checkpoint_is_tensors_and_nothing_else(tmp_path, name, content):
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('ran')",))

    folder = write_clip(tmp_path / "a")
    (folder / "open_clip_model.safetensors").unlink()
    (folder / name).write_text("" if content == "nothing" else "no weights")
    states = {"evil": {"state_dict": Evil()}, "list": [1, 2], "empty": {}}
    if content in states:
        torch.save(states[content], folder / name)
    refused(folder)


def test_another_checkpoint_under_the_same_name_is_another_encoder(tmp_path, drawings):
    folder = write_clip(tmp_path / "a")
    first = load(folder)
    rows = first.encode_images(drawings[:4])
    change(folder, logit_scale=torch.tensor(2.0))
    second = load(folder)
    assert second.identity != first.identity
    assert np.array_equal(first.encode_images(drawings[:4]), rows)  # what is loaded does not change below it


@pytest.mark.parametrize(("tower", "word"), [("text_cfg", "text"), ("vision_cfg", "image")])
def test_a_model_without_one_of_its_towers_is_named(tmp_path, tower, word):
    folder = write_clip(tmp_path / "a")
    config = json.loads((folder / "open_clip_config.json").read_text())
    del config["model_cfg"][tower]
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    refused(folder, f"a model without a {word} tower", f"no `{tower}`")


@pytest.mark.parametrize("model", ["timm:resnet50", "torchvision:resnet50"])
def test_a_model_of_pictures_alone_is_no_encoder(model):
    with pytest.raises(UnknownModelError, match=f"must have a text tower; got `{model}`, which has none"):
        load_encoder(model, cache="unused")


def test_a_tokenizer_that_is_not_there_is_named(tmp_path):
    folder = write_bert(tmp_path / "a")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    refused(folder, "a tokenizer to which all texts are the same")
