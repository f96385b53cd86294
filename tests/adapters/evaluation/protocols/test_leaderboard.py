import json
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import pytest

import evenly.adapters
from evenly.adapters.errors import InvalidFeaturesError, ParameterError, SplitError, UnknownAdapterError
from evenly.adapters.evaluation.protocols.evaluation_data import EvaluationData
from evenly.adapters.evaluation.protocols.leaderboard import LeaderboardPlan, compare_adapters
from evenly.adapters.evaluation.protocols.leaderboard_runs import Arena, LeaderboardRun, RunKey
from evenly.adapters.features import Features
from evenly.adapters.few_shot import few_shot
from evenly.adapters.methods.gda_em import GDAUnsupervised
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.splits import split_by_group
from tests.adapters.conftest import labelled

ADAPTERS = ("gda", "linear")


@pytest.fixture(scope="module")
def rows(digits):
    """The input of a leaderboard: every field of 600 digits, split by group."""
    features, labels = digits.complete(0, 600)
    groups = digits.groups[:600]
    return {
        "features": replace(features, prototypes=None),
        "labels": labels,
        "split": split_by_group(groups, labels, seed=0),
        "groups": groups,
        "keys": [f"digit {i}" for i in range(600)],
        "classes": digits.classes,
        "prototypes": {name: digits.prototypes[name] for name in ("names", "descriptions")},
    }


def hold(rows, **changes):
    options = {"adapters": ADAPTERS, "shots": (1, 2), "seeds": (1, 2)} | rows | changes
    data, plan = (
        kind(**{field.name: options.pop(field.name) for field in fields(kind) if field.name in options})
        for kind in (EvaluationData, LeaderboardPlan)
    )
    return compare_adapters(data, plan, **options)


@pytest.fixture(scope="module")
def board(rows):
    return hold(rows)


def test_a_row_per_adapter_texts_shots_and_seed(board):
    cells = board.runs[["name", "texts"]].drop_duplicates().itertuples(index=False, name=None)
    assert list(cells) == [
        ("zero_shot", "names"), ("zero_shot", "descriptions"), ("gda", "names"), ("gda", "descriptions"),
        ("linear", "none"),
    ]  # fmt: skip
    assert len(board.runs) == 5 * 2 * 2
    assert list(board.runs.columns) == [
        "name", "texts", "shots", "seed", "accuracy", "top5", "mean_per_class", "calibration_error",
        "validation_accuracy", "zero_shot_validation_accuracy", "kept_zero_shot", "chosen", "why", "fallback",
        "train_rows", "validation_rows", "test_rows", "seconds", "run_shots", "run_seed",
    ]  # fmt: skip


def test_no_adapter_is_below_zero_shot_on_validation(board):
    assert (board.summary["validation_margin"] >= 0).all()
    assert (board.runs["validation_accuracy"] >= board.runs["zero_shot_validation_accuracy"]).all()


def test_an_adapter_without_labelled_rows_is_fitted_once_for_all_draws(rows, monkeypatch):
    fits, learn = [], GDAUnsupervised._learn
    monkeypatch.setattr(GDAUnsupervised, "_learn", lambda self, *given: (fits.append(self), learn(self, *given))[1])
    together = hold(rows, adapters=("gda_em",))
    assert len(fits) == 2, "one per set of texts"
    for shots, seed in ((1, 2), (2, 1)):
        board = hold(rows, adapters=("gda_em",), shots=(shots,), seeds=(seed,))
        (alone,) = board.runs.query("name == 'gda_em' and texts == 'names'").to_dict("records")
        key = f"name == 'gda_em' and texts == 'names' and shots == {shots} and seed == {seed}"
        (same,) = together.runs.query(key).to_dict("records")
        assert same | {"seconds": 0} == alone | {"seconds": 0}


def test_every_run_is_judged_on_the_same_test_rows_and_fitted_on_its_draw(board, rows):
    test = rows["split"] == "test"
    assert (board.runs["test_rows"] == test.sum()).all()
    assert {run.shape for run in board.correct.values()} == {(test.sum(),)}
    learned = board.runs[board.runs["name"] != "zero_shot"]
    assert (learned["train_rows"] == 10 * learned["shots"]).all()
    # 1 or 2 shots, fewer than CoOp's 4, of val; the drawn train rows judge as well
    assert (board.runs["validation_rows"] == 20 * board.runs["shots"]).all()
    for row in board.runs.itertuples():
        right = board.correct[RunKey(row.name, row.texts, row.run_shots, row.run_seed)]
        assert row.accuracy == right.mean()


def test_a_run_is_the_tuned_adapter_on_the_rows_drawn_by_hash(board, rows, digits):
    """The whole of one run, made by hand."""
    from evenly.adapters.methods.gda import GDA
    from evenly.adapters.search import tune

    parts = {}
    for part in ("train", "val"):
        here = np.flatnonzero(rows["split"] == part)
        drawn = few_shot(
            rows["labels"][here], [f"digit {i}" for i in here], shots=2, seed=1, groups=rows["groups"][here]
        )
        parts[part] = here[drawn.indices]
    features = rows["features"].with_prototypes(digits.prototypes["names"])
    tuned = tune(
        GDA,
        train=labelled(features.rows(parts["train"]), rows["labels"][parts["train"]]),
        validation=labelled(features.rows(parts["val"]), rows["labels"][parts["val"]]),
    )
    test = rows["split"] == "test"
    right = tuned.adapter.predict(features.rows(np.flatnonzero(test))) == rows["labels"][test]
    assert np.array_equal(board.correct[RunKey("gda", "names", 2, 1)], right)


def test_an_adapter_that_learns_from_no_labelled_row_shares_runs_over_shots(rows):
    one = hold(rows, adapters=["zero_shot"], shots=(2, 4, 8), validation="coop").runs
    assert sorted(set(one["run_shots"])) == [2, 4]  # 4 and 8 shots have the same validation rows
    assert (one["train_rows"] == 0).all()
    full = hold(rows, adapters=["zero_shot"], shots=(2, 4, 8), validation="full")
    assert set(full.correct) == {("zero_shot", texts, 0, 0) for texts in ("names", "descriptions")}
    assert (full.runs["validation_rows"] == (rows["split"] == "val").sum()).all()
    assert full.protocol["validation_in_words"] == "all val rows"


def test_the_order_of_the_rows_does_not_matter(board, rows):
    order = np.random.default_rng(0).permutation(600)
    mixed = {name: rows[name][order] for name in ("labels", "split", "groups")}
    mixed |= {"features": rows["features"].rows(order), "keys": np.array(rows["keys"])[order]}
    again = hold(rows | mixed)
    test = np.flatnonzero(rows["split"] == "test")
    place = np.argsort(order)[test]
    where = np.searchsorted(np.flatnonzero(mixed["split"] == "test"), place)
    for key, right in board.correct.items():
        assert np.array_equal(again.correct[key][where], right)


def test_the_summary_averages_over_seeds(board):
    for row in board.summary.itertuples():
        cell = board.runs[
            (board.runs["name"] == row.name) & (board.runs["texts"] == row.texts) & (board.runs["shots"] == row.shots)
        ]
        assert row.accuracy == pytest.approx(cell["accuracy"].mean())
        assert row.low <= row.accuracy <= row.high
        assert row.difference_low <= row.difference <= row.difference_high
    zero_shot = board.summary[(board.summary["name"] == "zero_shot") & (board.summary["texts"] == "names")]
    assert (zero_shot[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)


def test_runs_can_be_stored_one_by_one_and_gone_on_from(board, rows):
    stored, counts = [], []

    def keep(run, finished, of):
        stored.append((json.dumps(run.row, allow_nan=False), run.correct.tolist()))
        counts.append((finished, of))
        if len(stored) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hold(rows, progress=keep)
    assert counts == [(i, len(board.correct)) for i in range(1, 8)]
    done = {}
    for text, correct in stored:
        run = LeaderboardRun(row=json.loads(text), correct=np.array(correct))
        done[run.key] = run
    fresh = []
    again = hold(rows, done=done, progress=lambda run, *_: fresh.append(run.key))
    assert set(fresh) == set(board.correct) - set(done)
    without = [column for column in board.summary.columns if column != "seconds"]
    assert again.summary[without].equals(board.summary[without])


def test_stored_runs_of_other_test_rows_are_refused(rows):
    key = RunKey("zero_shot", "names", 1, 1)
    row = {"name": "zero_shot", "texts": "names", "shots": 1, "seed": 1}
    with pytest.raises(SplitError, match=r"`done` must hold runs on these \d+ test rows; got 3"):
        hold(rows, done={key: LeaderboardRun(row=row, correct=np.ones(3, dtype=bool))})


@dataclass(kw_only=True, eq=False)
class NeedsMore(ZeroShot):
    needs: ClassVar[tuple[str, ...]] = ("prototypes", "negation_prototypes")
    row_needs: ClassVar[tuple[str, ...]] = ("second",)


@dataclass(kw_only=True, eq=False)
class FindsOutLate(ZeroShot):
    def _learn(self, features, _labels):
        features.require("captions", adapter="finds_out_late")


def test_an_adapter_whose_fields_are_missing_is_named_with_them(rows, monkeypatch):
    monkeypatch.setitem(evenly.adapters.ADAPTERS, "needs_more", NeedsMore)
    monkeypatch.setitem(evenly.adapters.ADAPTERS, "finds_out_late", FindsOutLate)
    bare = Features(image=rows["features"].image, encoder="pixels")
    found = hold(rows, features=bare, adapters=["needs_more", "finds_out_late"], shots=(1,))
    assert set(found.runs["name"]) == {"zero_shot"}
    assert found.skipped[["name", "texts"]].to_numpy().tolist() == [
        ["needs_more", "names"], ["needs_more", "descriptions"],
        ["finds_out_late", "names"], ["finds_out_late", "descriptions"],
    ]  # fmt: skip
    assert "got none for `negation_prototypes`, `second`" in found.skipped["reason"][0]
    assert "got none for `captions`" in found.skipped["reason"][2]
    assert set(hold(rows, adapters=["needs_more"], shots=(1,)).runs["name"]) == {"zero_shot", "needs_more"}


@dataclass(kw_only=True, eq=False)
class Seeded(ZeroShot):
    learns_from: ClassVar[tuple[str, ...]] = ("unlabelled",)
    seed: int = 0


def test_a_seed_also_seeds_the_training(rows, monkeypatch):
    monkeypatch.setitem(evenly.adapters.ADAPTERS, "seeded", Seeded)
    fitted = []
    monkeypatch.setattr(Seeded, "_learn", lambda self, *_: fitted.append(self.seed))
    found = hold(rows, adapters=["seeded"], seeds=(5, 7), validation="full", guard=False)
    assert sorted({key.seed for key in found.correct if key.name == "seeded"}) == [5, 7]
    assert set(fitted) == {5, 7}


def test_without_validation_rows_zero_shot_is_kept(rows):
    split = np.where(rows["split"] == "val", "train", rows["split"])
    found = hold(rows, split=split, adapters=["gda"], seeds=(1,))
    assert found.runs["kept_zero_shot"][found.runs["name"] == "gda"].all()
    assert found.runs["validation_accuracy"].isna().all()
    assert found.notes[0].startswith("validation, 1 per class: 10 of 10 classes have no rows: 0 (0)")


def test_draws_that_fall_short_and_classes_without_test_rows_are_said(rows):
    scarce = np.where((rows["labels"] == 3) & (rows["split"] == "test"), "train", rows["split"])
    found = hold(rows, split=scarce, groups=np.array(rows["keys"]), adapters=["zero_shot"], shots=(2, 64), seeds=(1,))
    assert any(note.startswith("train, 64 shots: 10 of 10 classes have fewer than 64 rows") for note in found.notes)
    assert found.notes[-1] == "1 of 10 classes have no test rows: nothing is shown of them"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"validation": "all"}, ParameterError, "`validation` must be coop or full; got `all`"),
        ({"shots": ()}, ParameterError, "`shots` must hold at least one number; got none"),
        ({"shots": (0,)}, ParameterError, "`shots` must be a whole number above 0; got 0"),
        ({"seeds": (-1,)}, ParameterError, "`seeds` must be a whole number of at least 0; got -1"),
        ({"keys": ["a"]}, SplitError, "`keys` must hold one name per image, 600; got 1"),
        ({"classes": ("a",)}, InvalidFeaturesError, "`labels` must lie in 0 to 0"),
        ({"split": np.repeat("train", 600)}, SplitError, "`split` must hold test rows; got none"),
        ({"adapters": ["gad"]}, UnknownAdapterError, "got `gad`"),
    ],
)
def test_bad_input_is_refused(rows, change, error, message):
    with pytest.raises(error, match=message):
        hold(rows, **change)


def test_rows_are_drawn_from_their_own_part_and_groups_stay_apart(rows):
    arena = Arena(data=EvaluationData(**rows))
    drawn = {part: arena.draw(part, 16, 1).indices for part in ("train", "val")}
    assert all((rows["split"][found] == part).all() for part, found in drawn.items())
    assert not set(rows["groups"][drawn["train"]]) & set(rows["groups"][drawn["val"]])


def test_without_a_pool_the_train_rows_that_were_not_drawn_are_the_unlabelled_ones(digits):
    split = np.array(["train"] * 200 + ["val"] * 100 + ["test"] * 100)
    features, labels = digits.part(0, 400)
    data = EvaluationData(
        features=features,
        labels=labels,
        split=split,
        groups=digits.groups[:400],
        keys=[str(row) for row in range(400)],
        classes=digits.classes,
        prototypes={"names": digits.prototypes["names"]},
    )
    arena = Arena(data=data)
    assert arena.missing("gda_em", "names") == ""
    drawn = arena.draw("train", 2, 1).indices
    pool = arena._with_pool(features, evenly.adapters.adapter_class("grip"), drawn).unlabelled
    assert len(pool) == 200 - len(drawn)
    rest = np.setdiff1d(np.arange(200), drawn)
    assert np.array_equal(pool, features.image[rest])
    assert arena._with_pool(features, evenly.adapters.adapter_class("gda"), drawn).unlabelled is None


def test_a_pool_that_takes_undrawn_train_rows_holds_them_and_what_was_given(digits):
    features, labels = digits.complete(0, 400)
    data = EvaluationData(
        features=features,
        labels=labels,
        split=np.array(["train"] * 200 + ["val"] * 100 + ["test"] * 100),
        groups=digits.groups[:400],
        keys=[str(row) for row in range(400)],
        classes=digits.classes,
        prototypes={"names": digits.prototypes["names"]},
    )
    nola = evenly.adapters.adapter_class("nola")
    rest = np.arange(3, 200)
    pooled = Arena(data=data, undrawn=True)._with_pool(features, nola, np.arange(3))
    assert np.array_equal(pooled.unlabelled, np.concatenate([features.image[rest], features.unlabelled]))
    assert np.array_equal(pooled.unlabelled_second, np.concatenate([features.second[rest], features.unlabelled_second]))
    assert Arena(data=data)._with_pool(features, nola, np.arange(3)).unlabelled is features.unlabelled
    empty = replace(features, unlabelled=features.unlabelled[:0], unlabelled_second=features.unlabelled_second[:0])
    assert len(Arena(data=replace(data, features=empty))._with_pool(empty, nola, np.arange(3)).unlabelled) == 197
