import pytest
import torch

from evenly.features.device import chosen_device, device_errors
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
