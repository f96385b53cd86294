"""Claims on texts of classes: contexts, descriptions, differential texts, synonyms, frequent names."""

from collections.abc import Callable
from itertools import permutations

import numpy as np

from evenly.adapters.effects.claim import Claim, JudgedClaim, arms_of
from evenly.adapters.effects.ground import TEMPLATES, Ground, nearest_class, unit
from evenly.adapters.features import Floats, Integers, LabelledFeatures, Strings
from evenly.adapters.methods.disclip import SelectedDescriptions
from evenly.adapters.methods.fudd import DifferentialTexts
from evenly.adapters.methods.perceptionclip import PerceptionCLIP
from evenly.adapters.methods.vcd import DescribedClasses
from evenly.adapters.search import tune
from evenly.adapters.training import seeded_normal

_MEMBER = ", such as "
_ELSEWHERE = ("on sand", "on water", "on snow", "on wood", "on paper", "on steel", "on silk", "on clay")


def _contexts(ground: Ground, backgrounds: Strings | tuple[str, ...]) -> Floats:
    """Prototypes (z, c, d) of the classes on each background."""
    return np.stack([ground.prototypes(ground.classes, [f"{t} {place}" for t in TEMPLATES]) for place in backgrounds])


def _perceived(against: str, *, worst: bool) -> Callable[[Ground, int], JudgedClaim]:
    def compare(ground: Ground, seed: int) -> JudgedClaim:  # noqa: ARG001 - nothing is drawn
        rows = ground.where("test")
        names, cells = np.unique(ground.column("background", rows), return_inverse=True)
        labels, plain = ground.labels(rows), ground.prototypes(ground.classes)
        contexts = _contexts(ground, names)
        rivals = {"zero-shot": plain, "mean of contexts": unit(contexts.mean(axis=0))}

        def right(of_contexts: Floats) -> Floats:
            features = ground.features(rows, plain, context_prototypes=of_contexts)
            return np.asarray(PerceptionCLIP().fit(features, labels).predict(features) == labels)

        return JudgedClaim(
            comparison=arms_of(
                ground,
                rows,
                {
                    "method": right(contexts),
                    "rival": nearest_class(ground.image[rows], rivals[against]) == labels,
                    "control": right(_contexts(ground, _ELSEWHERE)),
                },
                cells=np.asarray(cells) if worst else None,
            )
        )

    return compare


def _planted(ground: Ground) -> tuple[Integers, Integers]:
    """Test pictures in a given colour on a texture, and the planted class of each."""
    place = {(planted["colour"], planted["background"]): number for number, planted in enumerate(ground.planted)}
    rows = ground.where("test")
    pairs = zip(ground.column("given_colour", rows), ground.column("background", rows), strict=True)
    labels = np.array([place.get(pair, -1) for pair in pairs], dtype=np.int64)
    return rows[labels >= 0], labels[labels >= 0]


def _described(ground: Ground, rows: Integers, texts: Floats, prototypes: Floats) -> Integers:
    """The class that VCD predicts with one text for each class."""
    of_class = np.arange(len(texts))
    features = ground.features(rows, prototypes, class_texts=texts, class_text_labels=of_class)
    return DescribedClasses().fit(features, np.zeros(len(rows), dtype=np.int64)).predict(features)


def _planted_descriptions(ground: Ground, seed: int) -> JudgedClaim:
    rows, labels = _planted(ground)
    names = [planted["name"] for planted in ground.planted]
    phrases = [planted["sentence"].removeprefix(planted["name"]) for planted in ground.planted]
    order = np.random.default_rng(seed).permutation(len(names))
    prototypes = ground.prototypes(names)
    permuted = [name + phrases[place] for name, place in zip(names, order, strict=True)]
    texts = {"method": [planted["sentence"] for planted in ground.planted], "control": permuted}
    values = {arm: _described(ground, rows, ground.text(of_arm), prototypes) == labels for arm, of_arm in texts.items()}
    return JudgedClaim(
        comparison=arms_of(ground, rows, values | {"rival": nearest_class(ground.image[rows], prototypes) == labels})
    )


def _differential(ground: Ground, seed: int) -> JudgedClaim:
    rows, labels = _planted(ground)
    sentences = ground.text([planted["sentence"] for planted in ground.planted])
    pairs = [
        (first, second, f"something {planted[aspect]}")
        for (first, planted), (second, rival) in permutations(enumerate(ground.planted), 2)
        for aspect in ("colour", "background")
        if planted[aspect] != rival[aspect]
    ]
    owners = np.array([pair[:2] for pair in pairs], dtype=np.int64)
    words, places = np.unique([text for _, _, text in pairs], return_inverse=True)
    texts = ground.text(list(words))

    def right(of_pairs: Floats) -> Floats:
        features = ground.features(rows, sentences, pair_texts=of_pairs, pair_text_classes=owners)
        return np.asarray(DifferentialTexts().fit(features, labels).predict(features) == labels)

    values = {
        "method": right(texts[places]),
        "rival": _described(ground, rows, sentences, sentences) == labels,
        "control": right(texts[np.random.default_rng(seed).permutation(len(words))][places]),
    }
    return JudgedClaim(comparison=arms_of(ground, rows, values))


def _members(ground: Ground) -> tuple[list[str], Integers]:
    """Names of drawings of each class, and the class of each."""
    named = [
        (sentence.partition(_MEMBER)[2], number)
        for number, name in enumerate(ground.classes)
        for sentence in ground.sentences[name]
        if _MEMBER in sentence
    ]
    return [text for text, _ in named], np.array([number for _, number in named], dtype=np.int64)


def _member_descriptions(ground: Ground, seed: int) -> JudgedClaim:
    rows, plain = ground.where("test"), ground.prototypes(ground.classes)
    texts = [sentence for name in ground.classes for sentence in ground.sentences[name]]
    owners = np.repeat(np.arange(len(ground.classes)), [len(ground.sentences[name]) for name in ground.classes])
    labels, vectors = ground.labels(rows), ground.text(texts)

    def right(of_classes: Integers) -> Floats:
        features = ground.features(rows, plain, class_texts=vectors, class_text_labels=of_classes)
        return np.asarray(DescribedClasses().fit(features, labels).predict(features) == labels)

    values = {
        "method": right(owners),
        "rival": nearest_class(ground.image[rows], plain) == labels,
        "control": right(np.random.default_rng(seed).permutation(len(ground.classes))[owners]),
    }
    return JudgedClaim(comparison=arms_of(ground, rows, values))


def _selected(ground: Ground, seed: int) -> JudgedClaim:
    support, validation, rows = _by_hands(ground)
    members, owners = _members(ground)
    plain = ground.prototypes(ground.classes)
    noise = unit(seeded_normal((len(members), plain.shape[1]), seed=seed, name="texts of nothing"))
    labels, chosen = ground.labels(rows), {}

    def right(texts: Floats, arm: str) -> Floats:
        further = {"descriptor_texts": texts, "descriptor_text_labels": owners}
        train, val = (
            LabelledFeatures(features=ground.features(of_part, plain, **further), labels=ground.labels(of_part))
            for of_part in (support, validation)
        )
        tuned = tune(SelectedDescriptions, train=train, validation=val)
        chosen[arm] = {"kept zero-shot": tuned.kept_zero_shot, **tuned.chosen}
        return np.asarray(tuned.adapter.predict(ground.features(rows, plain, **further)) == labels)

    values = {
        "method": right(ground.text(members), "method"),
        "rival": nearest_class(ground.image[rows], plain) == labels,
        "control": right(noise, "control"),
    }
    return JudgedClaim(comparison=arms_of(ground, rows, values), chosen=chosen)


def _by_hands(ground: Ground) -> tuple[Integers, Integers, Integers]:
    """Pictures to fit on, to choose by and to judge: those to fit on of one hand, all others of the others."""
    first, *further = ground.hands()
    judging = further or [first]
    return ground.where("fit", hand=first), ground.where("val", hand=judging), ground.where("test", hand=judging)


def _synonym_bank(ground: Ground, seed: int) -> JudgedClaim:
    words = [list(ground.synonyms[name].values()) for name in ground.classes]
    dealt = [words[place][1:] for place in np.random.default_rng(seed).permutation(len(words))]
    permuted = [[names[0], *synonyms] for names, synonyms in zip(words, dealt, strict=True)]
    return _named(ground, {"method": words, "rival": list(ground.classes), "control": permuted})


def _unread_names(ground: Ground, _seed: int) -> JudgedClaim:
    words = [of_class["never"] for of_class in ground.synonyms.values()]
    banks = [[word for read, word in of_class.items() if read != "rarely"] for of_class in ground.synonyms.values()]
    return _named(ground, {"method": banks, "rival": words})


def _frequent_names(ground: Ground, _seed: int) -> JudgedClaim:
    of_class = ground.synonyms.values()
    return _named(
        ground, {"method": [words["name"] for words in of_class], "rival": [words["rarely"] for words in of_class]}
    )


def _named(ground: Ground, words: dict[str, list[str] | list[list[str]]]) -> JudgedClaim:
    """Accuracy of prototypes of the words of each arm."""
    rows = ground.where("test")
    labels, image = ground.labels(rows), ground.image[rows]
    values = {arm: nearest_class(image, ground.prototypes(of_arm)) == labels for arm, of_arm in words.items()}
    return JudgedClaim(comparison=arms_of(ground, rows, values))


TEXT_CLAIMS = (
    *(
        Claim(
            number=21,
            system="PerceptionCLIP",
            method="class given the inferred background",
            rival=rival,
            measure="accuracy on the worst background" if worst else "accuracy",
            condition="eight backgrounds, each named by the contexts",
            control="backgrounds that no picture has",
            compare=_perceived(rival, worst=worst),
            draws=False,
        )
        for rival in ("zero-shot", "mean of contexts")
        for worst in (False, True)
    ),
    Claim(
        number=7,
        system="VCD",
        method="mean cosine with descriptions",
        rival="names alone",
        measure="accuracy among 48 planted classes",
        condition="names say nothing, descriptions say colour and background",
        control="descriptions of other classes",
        compare=_planted_descriptions,
    ),
    Claim(
        number=7,
        system="VCD",
        method="mean cosine with sentences on kind and members",
        rival="names alone",
        measure="accuracy",
        condition="names say what is shown",
        control="sentences of other classes",
        compare=_member_descriptions,
    ),
    Claim(
        number=30,
        system="DisCLIP",
        method="members of classes, chosen by pictures of one hand",
        rival="zero-shot",
        measure="accuracy on the other hands",
        condition="names of drawings that are in no test picture",
        control="random directions in place of texts",
        compare=_selected,
    ),
    Claim(
        number=10,
        system="FuDD",
        method="texts of that in which two classes differ",
        rival="VCD with whole descriptions",
        measure="accuracy among 48 planted classes",
        condition="classes differ in colour, background or both",
        control="texts of other colours and backgrounds",
        compare=_differential,
    ),
    Claim(
        number=29,
        system="GKC",
        method="mean of four synonyms",
        rival="names alone",
        measure="accuracy",
        condition="one of the synonyms stands in no caption of the encoder's",
        control="synonyms of other classes",
        compare=_synonym_bank,
    ),
    Claim(
        number=29,
        system="GKC",
        method="mean of synonyms",
        rival="the synonym that was never read",
        measure="accuracy",
        condition="a class list in words that the encoder's captions do not have",
        compare=_unread_names,
        draws=False,
    ),
    Claim(
        number=36,
        system="REAL-Prompt",
        method="the most frequent name",
        rival="a rare name",
        measure="accuracy",
        condition="frequent in 60 %, rare in 15 % of the captions of the encoder",
        compare=_frequent_names,
        draws=False,
    ),
)
