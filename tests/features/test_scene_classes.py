import numpy as np
import pytest

from evenly.demo.pictures.openmoji import draw_picture
from evenly.demo.scenes.catalogue import read_things
from evenly.features.unit_rows import to_unit_rows


@pytest.mark.slow
def test_the_embedded_encoder_knows_the_fine_classes_of_scenes(embedded):
    """Zero-shot over their names, the mean over classes; chance is .05."""
    classes = [thing for thing in read_things().values() if thing.is_fine]
    pictures = [(place, code) for place, thing in enumerate(classes) for code in thing.codes[:6]]
    drawn = [draw_picture(code, size_px=224, background="white") for _, code in pictures]
    texts, _ = to_unit_rows(embedded.encode_texts([f"a drawing of a {thing.name}" for thing in classes]))
    rows, _ = to_unit_rows(embedded.encode_images(drawn))
    nearest = (rows @ texts.T).argmax(axis=1)
    labels = np.array([place for place, _ in pictures])
    accuracy = np.mean([(nearest[labels == place] == place).mean() for place in range(len(classes))])
    assert accuracy > 0.45
