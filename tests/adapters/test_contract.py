"""One contract for every adapter in ADAPTERS; what an adapter does beyond it is in its own file."""

import inspect
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters import ADAPTERS, adapter_class
from evenly.adapters.contract import CHUNK_ROWS, Adapter
from evenly.adapters.errors import (
    InvalidFeaturesError,
    MissingFeaturesError,
    NotFittedError,
    ParameterError,
    UnknownAdapterError,
)
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods.zero_shot import ZeroShot

OF_CLASSES = (
    "class_text_labels",
    "descriptor_text_labels",
    "pair_text_classes",
    "context_prototypes",
    "negation_prototypes",
)
every_adapter = pytest.mark.parametrize("kind", ADAPTERS.values(), ids=ADAPTERS.keys())


@pytest.fixture(scope="module")
def support(digits):
    return digits.complete(0, 200)


@pytest.fixture(scope="module")
def query(digits):
    return digits.complete(200, 500)[0]


@pytest.fixture(scope="module")
def fitted(support):
    """Gives the adapter of a kind, fitted once on the support: for tests that change nothing of it."""
    return cache(lambda kind: kind().fit(*support))


def reordered(features, order):
    """The record with its classes in another order, in every field that knows classes."""
    positions = np.argsort(order)
    return replace(
        features,
        prototypes=features.prototypes[order],
        class_text_labels=positions[features.class_text_labels],
        descriptor_text_labels=positions[features.descriptor_text_labels],
        pair_text_classes=positions[features.pair_text_classes],
        context_prototypes=features.context_prototypes[:, order],
        negation_prototypes=features.negation_prototypes[order],
        tower=features.tower.of_classes(order),
    )


def with_constant(array):
    """Rows with one more feature, the same in all of them."""
    wide = np.concatenate([array, np.full((*array.shape[:-1], 1), 0.5, np.float32)], axis=-1)
    return wide / np.linalg.norm(wide, axis=-1, keepdims=True)


def emptied(kind, features, labels):
    """What `kind` learns from, taken away."""
    fields = {name: getattr(features, name) for name in kind.learns_from if name != "support"}
    for name in list(fields):
        partner = {"unlabelled": "unlabelled_second", "class_texts": "class_text_labels"}
        partner |= {"pair_texts": "pair_text_classes", "descriptor_texts": "descriptor_text_labels"}
        if name in partner:
            fields[partner[name]] = getattr(features, partner[name])
    without = replace(features, **{name: array[:0] for name, array in fields.items()})
    if "support" in kind.learns_from:
        return without.rows(slice(0)), labels[:0]
    return without, labels


@every_adapter
def test_parameters_are_keyword_only_and_learned_names_end_in_underscore(kind):
    signature = inspect.signature(kind)
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in signature.parameters.values())
    assert set(signature.parameters) == set(kind().get_params())
    assert all(item.init != item.name.endswith("_") for item in fields(kind))


@every_adapter
def test_scikit_learn_can_clone_it(kind):
    from sklearn.base import clone

    copy = clone(kind(logit_scale=50.0))
    assert type(copy) is kind
    assert copy.get_params() == kind(logit_scale=50.0).get_params()


@every_adapter
def test_fit_returns_self_sets_all_learned_names_and_leaves_parameters(kind, support):
    adapter = kind()
    before = adapter.get_params()
    assert adapter.fit(*support) is adapter
    assert set(kind.learned_names()) <= set(vars(adapter))
    assert adapter.get_params() == before


@every_adapter
def test_logits_are_finite_float32_of_every_class(kind, fitted, query):
    logits = fitted(kind).decision_function(query)
    assert logits.shape == (300, 10)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


@every_adapter
def test_refit_forgets(kind, digits, support, fitted, query):
    first = fitted(kind).decision_function(query)
    again = kind().fit(*digits.complete(700, 760)).fit(*support).decision_function(query)
    assert np.array_equal(first, again)


@every_adapter
def test_fitting_twice_equals_fitting_once(kind, support, fitted, query):
    twice = kind().fit(*support).fit(*support)
    assert np.array_equal(fitted(kind).decision_function(query), twice.decision_function(query))


@every_adapter
@settings(max_examples=2, deadline=None)
@given(order=st.permutations(range(10)))
def test_class_order_permutes_predictions(kind, support, fitted, query, order):
    features, labels = support
    order = np.array(order)
    positions = np.argsort(order)
    permuted = kind().fit(reordered(features, order), positions[labels])
    logits = fitted(kind).decision_function(query)
    moved = permuted.decision_function(reordered(query, order))
    np.testing.assert_allclose(moved, logits[:, order], atol=2e-2, rtol=1e-3)
    top = np.sort(logits, axis=1)
    clear = top[:, -1] - top[:, -2] > 0.1
    assert np.array_equal(moved.argmax(axis=1)[clear], positions[logits.argmax(axis=1)][clear])


@every_adapter
def test_row_order_of_the_support_does_not_matter(kind, support, fitted, query):
    features, labels = support
    mixed = np.random.default_rng(0).permutation(len(labels))
    straight = fitted(kind).decision_function(query)
    shuffled = kind().fit(features.rows(mixed), labels[mixed]).decision_function(query)
    np.testing.assert_allclose(shuffled, straight, atol=2e-2, rtol=1e-3)


@every_adapter
def test_chunked_equals_unchunked(kind, fitted, query):
    adapter = fitted(kind)
    whole = adapter.decision_function(query)
    for chunk_rows in (1, 7, 299, 300, CHUNK_ROWS):
        logits = adapter.decision_function(query, chunk_rows=chunk_rows)
        np.testing.assert_allclose(logits, whole, rtol=1e-6, atol=1e-6, err_msg=f"{chunk_rows=}")


@every_adapter
def test_float32_logits_equal_those_in_float64(kind, fitted, query):
    adapter = fitted(kind)
    wide = adapter._logits(query)
    assert wide.dtype == np.float64
    assert np.array_equal(adapter.decision_function(query), wide.astype(np.float32))


@every_adapter
def test_sweep_equals_one_decision_per_point_and_leaves_the_parameters(kind, support, fitted, query):
    values = (0.0, 0.4, 1.0) if "stop" in kind.decided_late else (0.0, 0.3, 10.0)
    points = [dict.fromkeys(kind.decided_late, value) for value in values]
    adapter = fitted(kind)
    before = adapter.get_params()
    swept = list(adapter.sweep(query, points))
    assert adapter.get_params() == before
    for point, logits in zip(points, swept, strict=True):
        alone = kind().set_params(**point).fit(*support).decision_function(query)
        np.testing.assert_allclose(logits, alone, rtol=1e-6, atol=1e-6)


@every_adapter
def test_with_nothing_to_learn_from_it_is_zero_shot_exactly(kind, support, query):
    features, labels = support
    adapter = kind().fit(*emptied(kind, features, labels))
    zero_shot = ZeroShot().fit(features, labels)
    assert np.array_equal(adapter.decision_function(query), zero_shot.decision_function(query))
    if kind is not ZeroShot:
        assert adapter.fallback_.startswith("zero-shot")


@pytest.mark.parametrize("kind", [kind for kind in ADAPTERS.values() if "alpha" in kind().get_params()])
def test_residual_adapter_with_alpha_zero_is_zero_shot_exactly(kind, support, query):
    zero_shot = ZeroShot().fit(*support)
    adapter = kind(alpha=0.0).fit(*support)
    assert np.array_equal(adapter.decision_function(query), zero_shot.decision_function(query))


@every_adapter
def test_a_class_without_support_keeps_its_column(kind, support, query):
    features, labels = support
    some = np.flatnonzero((labels != 3) & (labels != 9))
    logits = kind().fit(features.rows(some), labels[some]).decision_function(query)
    assert logits.shape == (300, 10)
    assert np.isfinite(logits).all()


@every_adapter
@pytest.mark.parametrize("present", [[4], [4, 7]])
def test_support_of_one_or_two_classes_works(kind, support, query, present):
    features, labels = support
    some = np.flatnonzero(np.isin(labels, present))
    adapter = kind().fit(features.rows(some), labels[some])
    assert np.isfinite(adapter.decision_function(query)).all()
    assert np.array_equal(np.flatnonzero(adapter.support_), present)


@every_adapter
def test_no_query_rows_give_no_logits(kind, fitted, query):
    assert fitted(kind).decision_function(query.rows(slice(0))).shape == (0, 10)


@every_adapter
def test_a_constant_feature_does_no_harm(kind, support):
    features, labels = support
    rows = ("image", "prototypes", "captions", "unlabelled", "class_texts", "pair_texts", "negation_prototypes")
    rows += ("descriptor_texts", "views", "context_prototypes", "rejection_prototypes")
    if "tower" in kind.needs:
        pytest.skip("a tower gives rows of its own dimension")
    constant = replace(features, **{name: with_constant(getattr(features, name)) for name in rows})
    assert np.isfinite(kind().fit(constant, labels).decision_function(constant)).all()


@every_adapter
def test_prediction_before_fit_is_refused(kind, query):
    with pytest.raises(NotFittedError, match="must be fitted before it predicts"):
        kind().predict(query)


@every_adapter
def test_missing_prototypes_are_named(kind, digits):
    with pytest.raises(MissingFeaturesError, match="got none for `prototypes`"):
        kind().fit(replace(digits.complete(0, 200)[0], prototypes=None), digits.labels[:200])


@every_adapter
def test_rows_of_another_encoder_or_class_list_are_refused(kind, fitted, query):
    narrow = Features(image=unit_rows(query.image[:, :60]), second=query.second, norms=query.norms)
    fewer = replace(query, **dict.fromkeys(OF_CLASSES), tower=None, prototypes=query.prototypes[:9])
    for changed, message in (
        (narrow, "dimension 64, as at `fit`; got 60"),
        (replace(query, encoder="other"), "`encoder` must be `pixels`, as at `fit`; got `other`"),
        (fewer, "`prototypes` must be those of the fit"),
        (query.with_prototypes(query.prototypes[::-1]), "`prototypes` must be those of the fit"),
    ):
        with pytest.raises(InvalidFeaturesError, match=message):
            fitted(kind).decision_function(changed)


@every_adapter
def test_bad_parameters_are_refused(kind, support, fitted, query):
    with pytest.raises(ParameterError, match="`logit_scale` must be a finite number above 0; got -1"):
        kind(logit_scale=-1).fit(*support)
    with pytest.raises(ParameterError, match=r"must be one of .*logit_scale.*; got `betta`"):
        kind().set_params(betta=1)
    with pytest.raises(ParameterError, match="`chunk_rows` must be a whole number above 0; got 0"):
        fitted(kind).decision_function(query, chunk_rows=0)


@every_adapter
def test_what_fit_needs_and_does_not_get_is_named(kind, support):
    features, labels = support
    for name in kind.needs:
        with pytest.raises(MissingFeaturesError, match=f"got none for .*`{name}`"):
            kind().fit(replace(features, **{name: None}), labels)


@every_adapter
def test_what_a_row_needs_and_does_not_get_is_named(kind, fitted, query):
    for name in kind.row_needs:
        with pytest.raises(MissingFeaturesError, match=f"got none for .*`{name}`"):
            fitted(kind).decision_function(replace(query, **{name: None}))


@every_adapter
def test_the_affine_form_gives_the_logits(kind, fitted, query):
    adapter = fitted(kind)
    form = adapter.affine_form()
    if form is not None:
        weight, bias = form
        logits = query.image.astype(np.float64) @ weight.T + bias
        np.testing.assert_allclose(logits, adapter.decision_function(query), rtol=1e-5, atol=1e-4)


@every_adapter
def test_calibrated_on_validation_rows_it_keeps_the_contract(kind, support, fitted, query):
    adapter = kind().fit(*support)
    assert adapter.calibrate(query) is adapter
    logits = adapter.decision_function(query)
    assert np.isfinite(logits).all()
    assert set(vars(adapter)) == set(vars(fitted(kind)))


def test_an_unknown_adapter_name_lists_the_known_ones():
    with pytest.raises(UnknownAdapterError, match=r"must be one of zero_shot, linear, gda.*; got `gad`"):
        adapter_class("gad")
    assert issubclass(adapter_class("gda"), Adapter)
    assert adapter_class("Zero-Shot") is ZeroShot
