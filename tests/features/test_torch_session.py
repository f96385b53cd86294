import os

import pytest
import torch

from evenly.features.torch_session import default_threads, torch_session


def test_each_worker_runs_on_one_thread_and_the_settings_are_put_back():
    before = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    with torch_session(2) as pool:
        assert torch.get_num_threads() == 1
        assert set(pool.map(lambda _: torch.get_num_threads(), range(4))) == {1}
        assert not torch.backends.cudnn.allow_tf32
    assert (torch.get_num_threads(), torch.backends.cudnn.allow_tf32) == before


def test_the_settings_are_put_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="inside"), torch_session():
        raise ValueError("inside")
    assert torch.get_num_threads() == before
    with torch_session():
        pass


def test_there_are_at_most_eight_threads_and_one_per_processor():
    assert 1 <= default_threads() <= min(8, os.cpu_count() or 1)
