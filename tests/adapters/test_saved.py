import json

import numpy as np
import pytest

from evenly.adapters import ADAPTERS
from evenly.adapters.errors import InvalidFeaturesError, NotFittedError, ParameterError, UnknownAdapterError
from evenly.adapters.methods.gda import GDA
from evenly.adapters.saved import from_arrays, to_arrays, to_card


@pytest.mark.parametrize("name", ADAPTERS)
def test_saved_and_loaded_adapter_gives_equal_logits(digits, name, tmp_path):
    from safetensors.numpy import load_file, save_file

    query = digits.complete(100, 200)[0]
    adapter = ADAPTERS[name](logit_scale=30.0).fit(*digits.complete(0, 100))
    save_file(to_arrays(adapter), tmp_path / "adapter.safetensors")
    card = json.loads(json.dumps(to_card(adapter), allow_nan=False))
    loaded = from_arrays(
        card["adapter"], load_file(tmp_path / "adapter.safetensors"), card["parameters"], learned=card["learned"]
    )
    assert np.array_equal(loaded.decision_function(query), adapter.decision_function(query))
    assert to_card(loaded) == to_card(adapter)


def test_the_card_says_what_the_arrays_are(digits):
    card = to_card(GDA(alpha=1.0).fit(*digits.complete(0, 100)))
    assert card == {
        "adapter": "gda",
        "parameters": {"logit_scale": 100.0, "alpha": 1.0, "precision_scale": "rows", "prior": "uniform"},
        "learned": {"encoder_": "pixels", "fallback_": ""},
        "arrays": {
            "prototypes_": {"shape": [10, 64], "dtype": "float32"},
            "support_": {"shape": [10], "dtype": "int64"},
            "weight_": {"shape": [10, 64], "dtype": "float64"},
            "bias_": {"shape": [10], "dtype": "float64"},
        },
    }


def test_the_loaded_adapter_still_refuses_another_encoder(digits):
    adapter = GDA().fit(*digits.complete(0, 100))
    loaded = from_arrays("gda", to_arrays(adapter), {}, learned=to_card(adapter)["learned"])
    other = type(digits.features)(image=digits.features.image, encoder="other")
    with pytest.raises(InvalidFeaturesError, match="`encoder` must be `pixels`"):
        loaded.predict(other)
    assert len(from_arrays("gda", to_arrays(adapter), {}).predict(other)) == len(other)


def test_arrays_that_do_not_belong_are_refused(digits):
    arrays = to_arrays(GDA().fit(*digits.complete(0, 100)))
    fewer = {name: array for name, array in arrays.items() if name != "bias_"}
    for wrong in (fewer, {**arrays, "keys_": arrays["bias_"]}):
        with pytest.raises(InvalidFeaturesError, match="`arrays` of adapter `gda` must be bias_, proto"):
            from_arrays("gda", wrong, {})
    with pytest.raises(UnknownAdapterError):
        from_arrays("gad", arrays, {})
    with pytest.raises(ParameterError):
        from_arrays("gda", arrays, {"beta": 1})


def test_what_is_not_fitted_or_not_listed_cannot_be_saved(digits):
    class Other(GDA):
        pass

    with pytest.raises(NotFittedError):
        to_arrays(GDA())
    with pytest.raises(UnknownAdapterError, match="got `Other`"):
        to_card(Other().fit(*digits.complete(0, 100)))
