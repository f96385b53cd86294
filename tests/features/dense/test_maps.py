import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evenly.features.dense.maps import _winners

LAYERS = arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.sampled_from([0, 0.25, 0.5]))


@given(LAYERS)
def test_the_first_of_the_largest_layers_wins_each_pixel(layers):
    assert np.array_equal(_winners(layers), layers.argmax(axis=0))
