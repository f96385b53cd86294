"""Substitutes for arrays that a file does not hold, said in words, and keys that an adapter cannot do without."""

from dataclasses import replace

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.features import Features, GroupedFeatures
from evenly.adapters.methods.cooked import Cooked
from evenly.adapters.own_features.arrays import ENCODER, PER_IMAGE, SHARED, Parts

Stands = tuple[Parts, tuple[str, ...]]


def with_defaults(parts: Parts, kind: type[Adapter]) -> Stands:
    """The parts with what `kind` needs, and a sentence per thing that stands in for one that is not there.

    Lengths of rows: 1 everywhere where train rows have none, else the mean of theirs where other rows have none. A pool
    without labels: the train rows, with the second backbone's where the method asks for it. Anything else that is
    missing is a MissingFeaturesError that names the keys.
    """
    notes: tuple[str, ...] = ()
    if "norms" in {*kind.needs, *kind.row_needs}:
        parts, notes = _with_norms(parts)
    if kind is Cooked:
        parts, added = _without_half_a_backbone(parts)
        notes += added
    if "unlabelled" in kind.needs:
        parts, added = _with_pool(parts, second="unlabelled_second" in kind.needs)
        notes += added
    _require(parts, kind)
    return parts, notes


def _with_norms(parts: Parts) -> Stands:
    train = parts.train.features
    records = {"val": parts.val.features, "test": parts.test.features, **parts.unseen}
    if train.norms is None:
        lengths, note = 1.0, "each row taken to be of length 1, as there is no `train_norms`"
        lacking = {"train", *records}
    else:
        lacking = {name for name, rows in records.items() if rows.norms is None}
        lengths = float(train.norms.mean()) if len(train) else 1.0
        named = ", ".join(f"`{name}_norms`" for name in records if name in lacking and len(records[name]))
        note = f"the mean of `train_norms` as there is no {named}" if named else ""

    def filled(name: str, rows: Features) -> Features:
        return replace(rows, norms=np.full(len(rows), lengths, np.float32)) if name in lacking else rows

    changed = replace(
        parts,
        train=replace(parts.train, features=filled("train", train)),
        val=replace(parts.val, features=filled("val", parts.val.features)),
        test=replace(parts.test, features=filled("test", parts.test.features)),
        unseen={name: filled(name, rows) for name, rows in parts.unseen.items()},
    )
    return changed, (note,) if note else ()


def _with_pool(parts: Parts, *, second: bool) -> Stands:
    train = parts.train.features
    has_pool = bool(train.unlabelled is not None and len(train.unlabelled))
    has_pool &= not (second and train.unlabelled_second is None)
    if has_pool or (second and train.second is None):
        return parts, ()
    lacking = SHARED["unlabelled_second" if train.unlabelled is not None and len(train.unlabelled) else "unlabelled"]
    note = f"the {len(train)} train rows, without their labels, as the pool, as there is no `{lacking}`"
    pooled = replace(train, unlabelled=train.image, unlabelled_second=train.second if second else None)
    return replace(parts, train=replace(parts.train, features=pooled)), (note,)


def _without_half_a_backbone(parts: Parts) -> Stands:
    judged = {"val": parts.val, "test": parts.test}
    lacking = [
        f"`{_key('second', name)}`" for name, part in judged.items() if len(part.labels) and _lacks(part, "second")
    ]
    if not lacking or parts.train.features.second is None:
        return parts, ()
    train = replace(parts.train, features=replace(parts.train.features, second=None))
    note = f"GDA in place of a probe on the second backbone, as there is no {', '.join(lacking)}"
    return replace(parts, train=train), (note,)


def _require(parts: Parts, kind: type[Adapter]) -> None:
    judged = {name: part for name, part in (("val", parts.val), ("test", parts.test)) if len(part.labels)}
    needed = [(parts.train, field, _key(field, "train")) for field in kind.needs]
    needed += [(part, field, _key(field, name)) for name, part in judged.items() for field in kind.row_needs]
    missing = [key for part, field, key in needed if _lacks(part, field)]
    if missing:
        hint = " `aux_train_features` would do: then the train rows are the pool." if _taught_by_second(kind) else ""
        raise MissingFeaturesError(
            f"`arrays` for adapter `{kind.__name__}` must hold {', '.join(f'`{key}`' for _, _, key in needed)}; "
            f"got none for {', '.join(f'`{key}`' for key in missing)}. Add them, or choose another adapter.{hint}"
        )


def _lacks(part: GroupedFeatures, field: str) -> bool:
    return getattr(part.features, field) is None


def _key(field: str, part: str) -> str:
    return PER_IMAGE[field].format(part) if field in PER_IMAGE else SHARED.get(field, f"{ENCODER}` and `classes")


def _taught_by_second(kind: type[Adapter]) -> bool:
    return "unlabelled_second" in kind.needs
