import numpy as np
import pytest
import torch

from evenly.features.device import chosen_device, device_errors
from evenly.features.encoder import load_encoder
from evenly.features.errors import DeviceError


def test_without_a_name_it_is_a_gpu_where_there_is_one(monkeypatch):
    for there, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert chosen_device(None) == device


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:1", "cuda:x", "cuda:", ""])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(name):
    with pytest.raises(DeviceError, match=r"^`device` must be one that is here: `cpu`.*; got `.*`\. Leave it out"):
        chosen_device(name)


def test_a_batch_that_does_not_fit_says_what_to_change():
    with (
        pytest.raises(DeviceError, match=r"`batch_size` must fit the memory of `cuda`; 512 do not\. Give a smaller"),
        device_errors("cuda", 512),
    ):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_device_that_vanishes_is_named_and_other_faults_keep_their_own_words():
    failed = pytest.raises(DeviceError, match="`cuda:1` must answer; it failed: CUDA error: unspecified launch failure")
    with failed, device_errors("cuda:1", 32):
        raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")
    with pytest.raises(RuntimeError, match="shapes"), device_errors("cuda:1", 32):
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "MPS backend out of memory (MPS allocated: 5 GB)",
    ],
)
def test_too_little_memory_has_many_words(words):
    with pytest.raises(DeviceError, match="must fit the memory of `cuda`; 32 do not"), device_errors("cuda", 32):
        raise RuntimeError(words)


@pytest.mark.parametrize("words", ["cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "HIP error: invalid device function"])
def test_a_device_fails_in_many_words(words):
    with pytest.raises(DeviceError, match="`cuda` must answer; it failed: "), device_errors("cuda", 32):
        raise RuntimeError(words)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_machine_without_the_memory_for_a_batch_says_what_to_change(tiny, tiny_checkpoint, drawings, device):
    encoder = load_encoder("tiny-random", str(tiny_checkpoint), cache="unused", threads=2, batch_size=4, device=device)
    calls = []

    def take_all(_module, _inputs):
        calls.append(1)
        if len(calls) == 4:
            torch.empty(1 << 55)

    hook = encoder.opened.model.visual.register_forward_pre_hook(take_all)
    with pytest.raises(DeviceError, match=f"`batch_size` must fit the memory of `{device}`; 4 do not. Give a smaller"):
        encoder.encode_images(drawings)
    hook.remove()
    assert np.array_equal(encoder.encode_images(drawings), tiny.encode_images(drawings))  # and goes on
