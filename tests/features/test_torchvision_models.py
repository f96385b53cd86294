"""Models of torchvision as second backbones, with random weights: rows are what the model itself saw at its end."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from evenly.features.errors import UnknownModelError, WeightsUnavailableError
from evenly.features.pictures.rgb import open_rgb
from evenly.features.second_backbone import check_second_name, load_second

SMALL = "shufflenet_v2_x0_5"
KINDS = {SMALL: ("fc", 1024), "mobilenet_v3_small": ("classifier.3", 1024)}
"""Models, the layer that classifies, and the columns of what it is given."""


def write(name, path, n_classes=1000):
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, num_classes=n_classes)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    (save_file if path.suffix == ".safetensors" else torch.save)(state, path)
    return path


def load(name, path, **options):
    return load_second(f"torchvision:{name}", str(path), cache="unused", threads=2, batch_size=4, **options)


@pytest.mark.parametrize("name", KINDS)
def test_rows_are_what_the_classifier_is_given(name, tmp_path, drawings):
    second = load(name, write(name, tmp_path / "weights.pth", n_classes=7))
    classifier, width = KINDS[name]
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, num_classes=7).eval()
    given = []
    model.get_submodule(classifier).register_forward_pre_hook(lambda _module, rows: given.append(rows[0]))
    prepare = models.get_model_weights(name).DEFAULT.transforms()
    with torch.inference_mode():
        model(torch.stack([prepare(open_rgb(data)) for data in drawings[:5]]))
    rows = second.encode_images(drawings)
    assert rows.shape == (37, second.dimension) == (37, width)
    assert np.allclose(rows[:5], given[0].numpy(), atol=1e-5)
    parts = [second.encode_images(drawings[:9]), second.encode_images(drawings[9:])]
    assert np.concatenate(parts).tobytes() == rows.tobytes()


def test_the_classifier_of_a_file_does_not_matter_and_its_tensors_do(tmp_path, drawings):
    seven = load(SMALL, write(SMALL, tmp_path / "seven.safetensors", n_classes=7))
    state = torch.load(write(SMALL, tmp_path / "seven.pth", n_classes=7), weights_only=True)
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, tmp_path / "none.pth")
    none = load(SMALL, tmp_path / "none.pth")
    assert none.identity == seven.identity
    assert np.array_equal(none.encode_images(drawings[:4]), seven.encode_images(drawings[:4]))
    state["conv1.0.weight"] += 0.01
    torch.save(state, tmp_path / "other.pth")
    assert load(SMALL, tmp_path / "other.pth").identity != seven.identity
    assert str(tmp_path) not in str(seven.facts)
    assert set(seven.facts["libraries"]) == {"torch", "torchvision"}


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        (
            "resnet5O",
            None,
            "a model of torchvision that classifies pictures; got `torchvision:resnet5O`. Near it: `resn",
        ),
        ("raft_small", None, "must be a model of torchvision that classifies pictures"),
        ("resnet50", "IMAGENET1K_V3", "weights of `torchvision:resnet50` or a file; got `IMAGENET1K_V3`. Known: `IMAG"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(model, pretrained, message):
    with pytest.raises(UnknownModelError, match=message):
        check_second_name(f"torchvision:{model}", pretrained)


def test_known_names_pass():
    for name, tag in (("resnet50", None), ("resnet50", "IMAGENET1K_V1"), ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1")):
        check_second_name(f"torchvision:{name}", tag)


@pytest.mark.parametrize("content", ["text", "others", "evil", "empty", "nothing"])
def test_a_file_that_holds_no_such_weights_is_one_clear_line(tmp_path, content):
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('ran')",))

    path = tmp_path / "weights.pth"
    path.write_text("" if content == "nothing" else "no weights")
    states = {"others": {"a": torch.zeros(3)}, "evil": {"a": Evil()}, "empty": {}}
    if content in states:
        torch.save(states[content], path)
    with pytest.raises(WeightsUnavailableError, match=rf"weights `.*weights\.pth` of `torchvision:{SMALL}` must load"):
        load(SMALL, path)


def test_a_model_without_a_linear_classifier_is_refused(tmp_path):
    path = write("squeezenet1_1", tmp_path / "weights.pth")
    with pytest.raises(UnknownModelError, match="must end in a linear classifier; got `torchvision:squeezenet1_1`"):
        load("squeezenet1_1", path)
