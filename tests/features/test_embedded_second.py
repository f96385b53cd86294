"""The second packaged encoder: another picture tower beside the same text tower, which tells objects apart as well."""

import numpy as np
import pytest

from evenly.features import cosine_scores, load_encoder, to_unit_rows


@pytest.mark.slow
def test_it_scores_drawings_with_their_own_names_above_others(embedded_cache):
    from evenly.demo.pictures.openmoji import draw_picture

    drawn = {"1F415": "dog", "1F34E": "apple", "1F697": "car", "1F431": "cat", "1F426": "bird", "1F33B": "flower"}
    pictures = [draw_picture(code, size_px=260, background="white") for code in drawn]
    scores = {}
    for model in ("embedded", "embedded2"):
        encoder = load_encoder(model, cache=embedded_cache)
        images = to_unit_rows(encoder.encode_images(pictures))[0]
        texts = to_unit_rows(encoder.encode_texts([f"a drawing of a {name}" for name in drawn.values()]))[0]
        scores[model] = np.array(
            [cosine_scores(np.repeat(images[at : at + 1], len(drawn), 0), texts) for at in range(6)]
        )
    assert all(one.diagonal().mean() > one.mean() for one in scores.values())
    assert not np.allclose(scores["embedded"], scores["embedded2"])
