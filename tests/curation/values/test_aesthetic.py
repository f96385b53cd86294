"""A linear head's score against its equation."""

import numpy as np
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.values.aesthetic import Aesthetic, linear_scores
from evenly.storage.errors import InputError
from evenly.storage.files.features import read_linear_head
from tests.curation.values.test_negclip_loss import unit


def test_a_score_is_the_weights_times_the_unit_row_and_the_bias(tmp_path):
    from safetensors.numpy import save_file

    rows, weight = unit(20, seed=1), np.random.default_rng(2).normal(size=16).astype(np.float32)
    save_file({"weight": weight[None], "bias": np.array([5.0], np.float32)}, tmp_path / "head.safetensors")
    read, bias = read_linear_head(tmp_path / "head.safetensors")
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    expected = rows.astype(np.float64) @ weight.astype(np.float64) / lengths + 5.0
    assert np.allclose(linear_scores(rows, read, bias), expected, atol=1e-6)


def test_a_head_that_is_none_is_refused(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "head.safetensors"
    for tensors, message in (
        ({"weight": np.ones((1, 4), np.float32)}, "it has weight"),
        ({"weight": np.ones((1, 4), np.float32), "bias": np.ones(2, np.float32)}, "one bias"),
        ({"weight": np.full((1, 4), np.nan, np.float32), "bias": np.ones(1, np.float32)}, "finite numbers"),
    ):
        save_file(tensors, path)
        with pytest.raises(InputError, match=message):
            read_linear_head(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="must hold the tensors"):
        read_linear_head(path)
    with pytest.raises(RuleError, match=r"`head` must be a .safetensors file; got `head.pth`"):
        Aesthetic(head="head.pth")
