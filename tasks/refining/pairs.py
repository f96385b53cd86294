"""The pairs of a build that an encoder is refined on, chosen by and judged by; pictures of another kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.adapters.class_texts import ListSplit
from evenly.adapters.splits import PARTS, split_by_group
from evenly.features.refining.hold import HeldTexts
from evenly.features.refining.pairs import Names, PairRows, raw_rows
from evenly.features.unit_rows import Single
from evenly.storage.feature_store import FeatureStore
from evenly.tasks.encoders import encoder_identity
from evenly.tasks.labelled_rows import check_encoder, kept_with_groups, labelled_pairs
from evenly.tasks.pictures.encoded import store_images
from evenly.tasks.refining.needs import CaptionProbes, caption_probes, raw_text_rows, with_needs
from evenly.tasks.refining.teacher import pseudo_labels
from evenly.tasks.run import Run
from evenly.tasks.splits import grouped_inputs

_SHARES = (0.7, 0.15, 0.15)


@dataclass(frozen=True, kw_only=True)
class GuardedList(ListSplit):
    """A class list that refining must not harm; its classes are said by the template.

    synonyms: other names of classes, where the objective needs them.
    """

    list: str
    template: str = "{}"
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def said(self, name: str) -> str:
        """The template with a name."""
        return self.template.replace("{}", name)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassRows:
    """Pictures (n, d) of a class list's part as the frozen encoder gives them, their classes (n,), groups and uids.

    texts: rows (c, d) of the `classes` (c,), said as `said` (c,).
    """

    image: Single
    uids: Names
    labels: np.ndarray
    groups: Names
    texts: Single
    said: Names
    classes: Names


@dataclass(frozen=True, kw_only=True, eq=False)
class RefiningParts:
    """Pairs of train, val and test, pictures of class lists by part and list, and what else is judged by.

    further: more pairs, by name. outside: pairs that the pool does not hold, by name. probes: of the captions of test.
    nouns: texts that are held.
    """

    pairs: Mapping[str, PairRows]
    lists: Mapping[str, Mapping[str, ClassRows]] = field(default_factory=dict)
    further: Mapping[str, PairRows] = field(default_factory=dict)
    outside: Mapping[str, PairRows] = field(default_factory=dict)
    probes: CaptionProbes = field(default_factory=CaptionProbes)
    nouns: HeldTexts | None = None


def list_inputs(run: Run, build: str, lists: Sequence[GuardedList]) -> dict[str, str]:
    """The inputs of a step that asks for `refining_parts` with class lists of a build."""
    inputs = ((guarded.list, grouped_inputs(run, build, guarded.split)) for guarded in lists)
    return {f"{name} {list_name}": value for list_name, by_name in inputs for name, value in by_name.items()}


def refining_parts(
    run: Run,
    manifest: Mapping[str, Any],
    lists: Sequence[GuardedList],
    *,
    needs: Sequence[str] = (),
    teacher: str | None = None,
) -> RefiningParts:
    """The kept pairs of a build by part, rows of the encoder of the build.

    Those of train have what an objective `needs`, and labels by the `teacher` where there is one. A group with a test
    picture of a class list is in test, else with one of val in val; all others are dealt by hash.
    Raises InvalidFeaturesError for a run with another encoder than the build's.
    """
    check_encoder(run, manifest)
    kept, groups = kept_with_groups(run, manifest)
    names = groups.astype(np.str_)
    labelled = {guarded.list: labelled_pairs(run, manifest, guarded) for guarded in lists}
    pairs = pair_rows(run, kept, names)
    place_of = {uid: place for place, uid in enumerate(pairs.uids.tolist())}
    split = dealt_parts(names, seed=run.seed)
    for part in ("val", "test"):  # test last: it has the last word
        claimed = [rows.pairs["uid"].filter(pa.array(rows.split == part)).to_pylist() for rows in labelled.values()]
        places = np.array([place_of[uid] for uids in claimed for uid in uids], np.int64)
        split[np.isin(names, names[places])] = part
    of_lists: dict[str, dict[str, ClassRows]] = {"val": {}, "test": {}}
    for guarded in lists:
        of_list = labelled[guarded.list]
        places = np.array([place_of[uid] for uid in of_list.pairs["uid"].to_pylist()], np.int64)
        spoken = [guarded.said(name) for name in guarded.classes]
        texts = raw_text_rows(run, spoken)
        for part, rows in of_lists.items():
            mine = (of_list.split == part) & (split[places] == part) if len(places) else np.zeros(0, np.bool_)
            if mine.any():
                rows[guarded.list] = ClassRows(
                    image=pairs.image[places[mine]],
                    uids=pairs.uids[places[mine]],
                    labels=of_list.labels[mine],
                    groups=names[places[mine]],
                    texts=texts,
                    said=np.array(spoken, np.str_),
                    classes=np.array(guarded.classes, np.str_),
                )
    of_parts = {part: pairs.rows(split == part) for part in PARTS}
    phrases: dict[str, list[str]] = {}
    for guarded in lists:
        for name in guarded.classes:
            of_label = phrases.setdefault(name, [guarded.said(name)])
            of_label.extend(map(guarded.said, guarded.synonyms.get(name, ())))
    trained = kept.filter(pa.array(split == "train"))
    if teacher is not None:
        of_parts["train"] = replace(of_parts["train"], labels=pseudo_labels(run, manifest, trained, teacher))
    of_parts["train"] = with_needs(run, manifest, trained, of_parts["train"], phrases=phrases, needs=needs)
    return RefiningParts(pairs=of_parts, lists=of_lists, probes=caption_probes(run, of_parts["test"], kept))


def dealt_parts(groups: Names, *, seed: int) -> Names:
    """The part of each row (n,) by the hash of its group alone."""
    return split_by_group(groups, seed=seed, fractions=_SHARES)


def pair_rows(run: Run, kept: pa.Table, groups: Names) -> PairRows:
    """Pairs as `kept_pairs` has them, with their groups (n,); rows that are stored no more are encoded again."""
    ids = kept["image_id"].combine_chunks()
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    if missing := store.missing(ids):
        store_images(run, sorted(missing))
    captions = [text or "" for text in kept["caption"].to_pylist()]
    return PairRows(
        image=raw_rows(*store.read(ids)),
        text=raw_text_rows(run, captions),
        uids=np.array(kept["uid"].to_pylist(), np.str_),
        captions=np.array(captions, np.str_),
        groups=groups,
        labels=np.array([label or "" for label in kept["label"].to_pylist()], np.str_),
    )
