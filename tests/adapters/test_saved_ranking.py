import numpy as np
import pytest
from safetensors.numpy import load, save

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.ranking import RankingHead
from evenly.adapters.saved_ranking import ranking_arrays, ranking_card, ranking_head


@pytest.fixture
def head(digits):
    features, labels = digits.part(0, 100)
    return RankingHead(strength=0.1).fit(features.with_prototypes(features.prototypes[[0, 9]]), labels)


def test_a_loaded_head_scores_as_the_saved_one(head, digits):
    loaded = ranking_head(load(save(ranking_arrays(head))), ranking_card(head))
    query = digits.part(100, 150)[0]
    assert np.array_equal(loaded.score(query), head.score(query))
    assert ranking_card(loaded) == ranking_card(head)


def test_the_card_says_what_the_arrays_are(head):
    card = ranking_card(head)
    assert card["adapter"] == "ranking"
    assert card["parameters"] == {"strength": 0.1, "pair_weight": 1.0, "neighbours": 64}
    assert card["learned"] == {"encoder_": "pixels", "fallback_": ""}
    assert card["arrays"]["weight_"] == {"shape": [64], "dtype": "float64"}


@pytest.mark.parametrize("change", [{"weight_": None}, {"other_": np.zeros(1)}])
def test_other_arrays_are_refused(head, change):
    arrays = {name: array for name, array in (ranking_arrays(head) | change).items() if array is not None}
    with pytest.raises(InvalidFeaturesError, match="`arrays` of a ranking must be direction_, weight_, bias_"):
        ranking_head(arrays, ranking_card(head))
