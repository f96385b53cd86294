"""What objectives need of pairs is made of what the build has, and refused with a reason where it has none."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.features import to_unit_rows
from evenly.features.pictures.views import view_files
from evenly.features.refining.objectives import OBJECTIVES
from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.web.images import read_images
from evenly.tasks import encoders
from evenly.tasks.labelled_rows import kept_with_groups
from evenly.tasks.refining import needs as module
from evenly.tasks.refining.needs import QUARTERS, needed_inputs, with_needs
from evenly.tasks.refining.pairs import pair_rows
from evenly.tasks.run import SecondChoice
from tests.tasks.whole_rebuild import ColourWords

PHRASES = {"fox": ["a photo of a fox", "a red reynard", "a red vixen"], "cat": ["a photo of a cat", "a blue moggy"]}
SYNONYMS = {name: phrases[1:] for name, phrases in PHRASES.items()}


class Second(ColourWords):
    identity = "5" * 64

    def encode_images(self, images, *, progress=None):
        return super().encode_images(images, progress=progress)[:, [2, 0]]

    dimension = 2


@pytest.fixture
def build(copied, monkeypatch):
    monkeypatch.setattr(encoders, "_load_second", lambda _choice, _cache, _device: Second())
    rebuilt = copied()
    return replace(rebuilt, run=replace(rebuilt.run, second=SecondChoice(model="embedded")))


def made(build, *needs, manifest=None):
    """The kept pairs of the build with what is needed."""
    kept, groups = kept_with_groups(build.run, build.manifest)
    pairs = pair_rows(build.run, kept, groups.astype(np.str_))
    return with_needs(build.run, manifest or build.manifest, kept, pairs, phrases=PHRASES, needs=needs), kept


def test_every_need_of_an_objective_can_be_made(build):
    assert {need for one in OBJECTIVES.values() for need in one.needs} <= set(module._MAKERS)
    pairs, kept = made(build, *module._MAKERS)
    for need in module._MAKERS:
        assert len(getattr(pairs, need)) == len(kept), need


def test_views_are_the_quarters_of_the_picture_by_either_backbone(build):
    pairs, kept = made(build, "views", "second")
    image_id = kept["image_id"][0].as_py()
    (picture,) = read_images(build.run.workspace.downloads, [image_id])
    files = view_files(picture, QUARTERS, image_id)
    for rows, encoder in ((pairs.views, ColourWords()), (pairs.second, Second())):
        vectors, _ = to_unit_rows(encoder.encode_images(files))
        assert rows.padded()[0][0] == pytest.approx(vectors.astype(np.float32), abs=2e-3)
        assert rows.padded()[1].all()


def test_words_and_other_texts_are_rows_of_the_texts(build):
    pairs, _ = made(build, "words", "texts", "synonyms", "long_texts")
    for place, caption in enumerate(pairs.captions.tolist()):
        words = list(dict.fromkeys(caption.casefold().split()))
        rows, is_there = pairs.words[np.array([place])].padded()
        if "'" not in caption and "<" not in caption and not any(word.isdigit() for word in words):
            assert is_there.sum() == len(words)
            expected = ColourWords().encode_texts(words)
            assert rows[0, : len(words)] == pytest.approx(expected, rel=2e-3)
        said = pairs.synonyms[np.array([place])].padded()[1].sum()
        assert said == len(SYNONYMS.get(pairs.labels[place], ()))
        assert len(pairs.long_texts[place]) >= len(caption)
    assert (pairs.texts.places >= 0).any()


def test_duplicates_are_the_records_that_were_merged_into_a_pair(build):
    pairs, kept = made(build, "duplicates")
    captions = dict(zip(kept["caption"].to_pylist(), range(len(kept)), strict=True))
    rows, is_there = pairs.duplicates.padded()
    cat = captions["a blue cat"]
    assert is_there[cat].sum() == 1
    assert rows[cat, 0, 1] == pytest.approx(ColourWords().encode_texts(["the same cat another day"])[0], rel=2e-3)
    assert rows[cat, 0, 0] == pytest.approx(pairs.image[cat], rel=2e-3)


def test_labels_are_named_as_a_class_list_says_them_and_else_by_themselves(build):
    pairs, _ = made(build, "named")
    texts = {label: PHRASES.get(label, [label])[0] for label in pairs.labels if label}
    assert set(pairs.named.texts) == set(texts.values())
    for label, (place,) in zip(pairs.labels, pairs.named.places, strict=True):
        assert (place < 0) == (label == "")
        assert not label or pairs.named.texts[place] == texts[label]
    assert pairs.named.rows == pytest.approx(ColourWords().encode_texts(pairs.named.texts.tolist()), rel=2e-3)
    kept = kept_with_groups(build.run, build.manifest)[0]
    alike = replace(pairs, labels=np.full(len(kept), "fox"))
    with pytest.raises(InputError, match="pairs of two labels to train on for `named`"):
        with_needs(build.run, build.manifest, kept, alike, phrases={}, needs=["named"])


def test_pairs_without_other_captions_have_their_own(build, monkeypatch):
    monkeypatch.setattr(module, "_offered", lambda source: [[] for _ in source.kept["uid"]])
    pairs, kept = made(build, "texts")
    rows, is_there = pairs.texts.padded()
    assert is_there.tolist() == [[True]] * len(kept)
    assert rows[:, 0] == pytest.approx(pairs.text)


def test_what_a_build_lacks_is_refused_with_a_reason(build):
    steps = [step | {"counts": {**step["counts"], "merged": 0}} for step in build.manifest["steps"]]
    with pytest.raises(InputError, match="`build` must have merged duplicates for `duplicates`;"):
        made(build, "duplicates", manifest={**build.manifest, "steps": steps})
    kept, groups = kept_with_groups(build.run, build.manifest)
    pairs = pair_rows(build.run, kept, groups.astype(np.str_))
    with pytest.raises(InputError, match="labels with other names for `synonyms`"):
        with_needs(build.run, build.manifest, kept, pairs, phrases={}, needs=["synonyms"])
    plain = replace(build, run=replace(build.run, second=None))
    with pytest.raises(NotFoundError, match=r"`features\.second` must name"):
        made(plain, "second")
    assert needed_inputs(build.run, ["second"]) == {"second": Second.identity}
    assert needed_inputs(build.run, ["views"]) == {}
