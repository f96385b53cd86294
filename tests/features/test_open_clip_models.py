import pytest
import torch
from safetensors.torch import load_file, save_file

from evenly.features.errors import UnknownModelError, WeightsUnavailableError
from evenly.features.open_clip_models import check_model_name, open_model

TINY = "tiny-random"


@pytest.mark.parametrize(
    ("model", "pretrained"),
    [
        ("embedded", None),
        ("ViT-B-32", "laion2b_s34b_b79k"),
        ("ViT-B/32", "openai"),
        ("ViT-B-16-SigLIP", "webli"),
        ("hf-hub:somebody/something", None),
    ],
)
def test_known_names_pass(model, pretrained):
    check_model_name(model, pretrained)


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        (
            "ViT-B32",
            None,
            "`model` must be `embedded`, `embedded2` or a model of open_clip; got `ViT-B32`. Near it: .*`ViT-B-32`",
        ),
        ("embeded", None, "Near it: `embedded`"),
        ("vit-b-32", "openai", "Near it: `ViT-B-32`"),
        ("ViT-B-32", "laion2b_s34b_b97k", "got `laion2b_s34b_b97k`. Known: `laion2b_s34b_b79k`"),
        ("ViT-B-32", "/no/such/file.pt", "`pretrained` must be weights of `ViT-B-32` or a file"),
        ("ViT-B-32", None, "`pretrained` must name weights of `ViT-B-32`; got none. Known: `openai`"),
        ("embedded", "openai", "`pretrained` must be empty for `embedded`; got `openai`"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(model, pretrained, message):
    with pytest.raises(UnknownModelError, match=message):
        check_model_name(model, pretrained)


def test_weights_without_a_known_tag_are_asked_for_as_a_file(tiny_checkpoint):
    check_model_name(TINY, str(tiny_checkpoint))
    with pytest.raises(UnknownModelError, match="Known: none: give the path of a checkpoint"):
        check_model_name(TINY, None)


def test_weights_that_cannot_be_downloaded_are_one_clear_line(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailableError) as error:
        open_model("ViT-B-32", "laion2b_s34b_b79k", precision="fp32", device="cpu")
    assert str(error.value).startswith(
        "the weights `laion2b_s34b_b79k` of `ViT-B-32` must load; got: Failed to download"
    )
    assert str(error.value).endswith("Check name, file and network, or use `embedded`.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_a_folder_without_a_model_is_one_clear_line(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsUnavailableError, match=rf"the weights `local-dir:.*{folder}` must load; got: ") as error:
        open_model(f"local-dir:{tmp_path / folder}", None, precision="fp32", device="cpu")
    assert "\n" not in str(error.value)


def test_weights_of_another_model_are_one_clear_line(tiny_checkpoint, tmp_path):
    state = load_file(tiny_checkpoint)
    state.pop("visual.proj")
    save_file(state, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("other", "text"):
        with pytest.raises(WeightsUnavailableError, match="must load; got: ") as error:
            open_model(TINY, str(tmp_path / f"{name}.safetensors"), precision="fp32", device="cpu")
        assert "\n" not in str(error.value)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('ran')",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsUnavailableError, match="holds more than tensors"):
        open_model(TINY, str(tmp_path / "evil.pt"), precision="fp32", device="cpu")


def test_the_weights_hash_is_of_the_tensors_not_of_the_file(tiny_checkpoint, tmp_path):
    state = load_file(tiny_checkpoint)
    torch.save({"state_dict": dict(reversed(state.items()))}, tmp_path / "same.pt")
    state["logit_scale"] += 1
    save_file(state, tmp_path / "other.safetensors")

    def weights(path):
        return open_model(TINY, str(path), precision="fp32", device="cpu").facts["weights"]

    assert weights(tmp_path / "same.pt") == weights(tiny_checkpoint)
    assert weights(tmp_path / "other.safetensors") != weights(tiny_checkpoint)
