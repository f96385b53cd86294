"""The oracle of prompt learners: logits from what they learned, and the loss of their first steps, by the papers.

The small tower is written once more here, in float64; its kinds and the places of class names are held to CoOp's
public forward in tests/features/texts/test_prompt_tower.py. A new prompt learner is an entry of FORMULAS and of LOSSES.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from evenly.adapters import ADAPTERS
from evenly.adapters.prompts import learner
from tests.adapters.methods.test_formulas import FORMULAS as OTHERS
from tests.adapters.methods.test_formulas import LABELS, QUERY, SUPPORT, C, D, N, Q, T, X, cross_entropy, drawn, unit
from tests.adapters.small_tower import SmallTower

NAMES = tuple("abcde")
SHARES = {"end": 1.0, "middle": 0.5, "front": 0.25}
NEAR = ("f", "g")
VIEWS = drawn(20, 2, N, D)
LEARNED = replace(
    SUPPORT,
    tower=SmallTower(NAMES, dict(zip(NAMES, SUPPORT.prototypes, strict=True))),
    views=VIEWS,
    rejection_names=NEAR,
)
QUICK = {"steps": 10, "learning_rate": 0.02, "batch_size": 11}


def tower_rows(context, *, place="end", names=NAMES):
    """The small tower's rows of "context, name", for one context or one per name."""
    hidden, output = (weights.astype(float) for weights in LEARNED.tower.weights)
    of_names = np.stack([LEARNED.tower.row(name) for name in names]).astype(float)
    mean = np.broadcast_to(context.mean(axis=-2), (len(names), context.shape[-1])) * SHARES[place]
    return of_names + np.tanh(np.concatenate([mean, of_names], axis=1) @ hidden) @ output


def coop(adapter):
    # KaiyangZhou/CoOp trainers/coop.py CustomCLIP.forward, ff61507: exp(logit_scale) times the cosine; ours: no "."
    return adapter.logit_scale * Q @ unit(tower_rows(adapter.contexts_[-1].astype(float), place=adapter.place)).T


def coop_loss(adapter, batch, context):
    rows = unit(tower_rows(context, place=adapter.place))
    return cross_entropy(adapter.logit_scale * X[batch] @ rows.T, LABELS[batch])


def of_pictures(adapter, contexts, classes):
    """Unit rows (n, k, d) of the classes (n, k) of each picture by a context of its own for each."""
    names = [NAMES[c] for c in classes.ravel()]
    rows = tower_rows(contexts.reshape(-1, *contexts.shape[-2:]), place=adapter.place, names=names)
    return unit(rows).reshape(*classes.shape, -1)


def rivals_of(adapter, batch):
    """The label of each picture, then the classes nearest by zero-shot."""
    order = [[c for c in np.argsort(-X[i] @ T.T) if c != LABELS[i]] for i in batch]
    return np.column_stack([LABELS[batch], order])[:, : adapter.rivals + 1]


def gopro_loss(adapter, batch, context, layer):
    # mainaksingha01/GOPro trainers/gopro.py, e284586: PromptLearner.forward adds one token to every context vector;
    # CustomCLIP.forward and GOProLoss without the contrast. Ours: the token is a layer of the row, cross-entropy by the
    # mean token of the batch, and of all classes the label and rivals
    few = batch[: adapter.compared]
    classes = rivals_of(adapter, few)

    def textfeat(rows):
        own = context[classes] if adapter.per_class else context
        shifted = own + (rows @ layer)[:, None, None]
        return of_pictures(adapter, np.broadcast_to(shifted, (*classes.shape, *shifted.shape[-2:])), classes)

    original, mocov3, augmix = textfeat(X[few]), *(textfeat(view[few]) for view in VIEWS)
    sem_loss = ((original - mocov3) ** 2).mean() + ((original - augmix) ** 2).mean()
    text = unit(tower_rows(context + X[batch].mean(axis=0) @ layer, place=adapter.place))
    return cross_entropy(adapter.logit_scale * X[batch] @ text.T, LABELS[batch]) + adapter.consistency * sem_loss


def beside_near(adapter, context):
    """Unit rows of classes and near misses; contexts of single classes have their mean beside near misses."""
    shared = context if context.ndim == 2 else np.concatenate([context, [context.mean(axis=0)] * len(NEAR)])
    return unit(tower_rows(shared, place=adapter.place, names=(*NAMES, *NEAR)))


def osloprompt(adapter):
    # energy of a class beside near misses: log p(class) - log p(near) of one softmax over both
    logits = adapter.logit_scale * Q @ beside_near(adapter, adapter.contexts_[-1].astype(float)).T
    return logits[:, :C] - np.log(np.exp(logits[:, C:]).sum(axis=1, keepdims=True))


def osloprompt_loss(adapter, batch, context, layer):
    # has97/Osloprompt pacs.py train_epoch and trainer/ours.py _compute_style_loss, d562097: CE + .33 style + (1 - cos);
    # ours: near misses in the place of "unknown", attention by the logits of the texts, label and rivals of all classes
    texts, owners = np.concatenate([T, SUPPORT.class_texts]), np.append(np.arange(C), SUPPORT.class_text_labels)
    rows = beside_near(adapter, context)
    classes = rivals_of(adapter, batch)
    words = LEARNED.tower.vectors("a photo of a")
    contexts = np.empty((*classes.shape, *words.shape))
    for i, (x, of_picture) in enumerate(zip(X[batch], classes, strict=True)):
        for j, c in enumerate(of_picture):
            of_class = texts[owners == c].astype(float)
            attended = softmax(adapter.logit_scale * of_class @ x) @ of_class
            contexts[i, j] = words + (x + attended) / 2 @ layer
    style = of_pictures(adapter, contexts, classes)
    loss_sty = cross_entropy(adapter.logit_scale * np.einsum("nd,nkd->nk", X[batch], style), 0 * batch)
    cosine = np.einsum("nkd,nkd->nk", rows[classes], style)
    output = adapter.logit_scale * X[batch] @ rows.T
    return cross_entropy(output, LABELS[batch]) + adapter.style_weight * loss_sty + (1 - cosine).mean()


def zero_shot(adapter):
    # xmed-lab/CLIPN src/classification.py ViT_Classifier.forward, a45efd0: logits of the class texts, which stay
    return adapter.logit_scale * Q @ T.T


def clipn_loss(adapter, batch, context):
    # xmed-lab/CLIPN src/open_clip/loss.py ClipLoss and training/train.py, a45efd0; ours: c class texts, not n captions
    no_rows, eyes = unit(tower_rows(context, place=adapter.place)), np.eye(C)[LABELS[batch]]
    yes_no = softmax(adapter.logit_scale * np.stack([X[batch] @ T.T, X[batch] @ no_rows.T], axis=-1), axis=-1)
    loss_bin = -np.log(eyes * yes_no[:, :, 0] + (1 - eyes) * yes_no[:, :, 1])
    loss_bin_yes, loss_bin_no = (eyes * loss_bin).sum() / eyes.sum(), ((1 - eyes) * loss_bin).sum() / (1 - eyes).sum()
    loss_tso = (2 - np.sqrt(2 - 2 * (T * no_rows).sum(axis=-1) + 1e-4)).mean()
    return (loss_bin_yes + loss_bin_no + loss_tso) * 0.5


KINDS = [{}, {"place": "middle", "logit_scale": 50.0}, {"place": "front", "per_class": True}, {"initial": ""}]
NEAR_KINDS = [{}, {"place": "middle", "style_weight": 1.0}, {"per_class": True}]
FORMULAS = {
    "coop": [(given, coop) for given in KINDS],
    "cpe": [({}, coop)],
    "gopro": [(given, coop) for given in KINDS],
    "osloprompt": [(given, osloprompt) for given in NEAR_KINDS],
    "clipn": [({}, zero_shot)],
}
"""By name: hyper-parameters, and the logits (m, c) of QUERY from the fitted adapter."""
LOSSES = {
    "coop": [(given, coop_loss) for given in KINDS],
    "cpe": [({}, coop_loss)],
    "gopro": [({"consistency": 100.0} | given, gopro_loss) for given in (*KINDS, {"rivals": 9}, {"batch_size": 1})],
    "osloprompt": [({"rivals": 2} | given, osloprompt_loss) for given in (*NEAR_KINDS, {"rivals": 9})],
    "clipn": [(given, clipn_loss) for given in KINDS],
}
"""By name: hyper-parameters, and the loss of rows `batch` from the parameters, in the order of `_start`."""


# of cpe the first session; the later ones, which are masked, are in test_cpe.py


def cases(formulas):
    listed = [(name, given, formula) for name, entries in formulas.items() for given, formula in entries]
    return pytest.mark.parametrize(("name", "given", "formula"), listed, ids=[f"{one[0]} {one[1]}" for one in listed])


def fitted(name, given):
    LEARNED.tower.states.clear()
    return ADAPTERS[name](**QUICK | given).fit(LEARNED, LABELS)


def test_every_adapter_has_a_formula():
    assert not {*OTHERS} & {*FORMULAS}
    assert {*OTHERS, *FORMULAS} == {*ADAPTERS}
    assert {*LOSSES} == {*FORMULAS}


@cases(FORMULAS)
def test_logits_are_those_of_the_formula(name, given, formula):
    adapter = fitted(name, given)
    assert adapter.fallback_ == ""
    is_zero_shot = np.allclose(adapter.decision_function(QUERY), adapter.logit_scale * Q @ T.T, atol=0.1)
    assert is_zero_shot == bool(ADAPTERS[name].chosen_by)
    np.testing.assert_allclose(adapter.decision_function(QUERY), formula(adapter), rtol=1e-5, atol=1e-4)


@cases(LOSSES)
def test_the_loss_is_that_of_the_formula_at_the_start_and_after_some_steps(name, given, formula, monkeypatch):
    seen, trained = [], learner.trained_stages

    def watched(start, loss, steps, **options):
        def recorded(parameters, batch):
            value = loss(parameters, batch)
            now = [tensor.detach().numpy().astype(float).copy() for tensor in parameters.values()]
            seen.append((batch, now, float(value.detach())))
            return value

        return trained(start, recorded, steps, **options)

    monkeypatch.setattr(learner, "trained_stages", watched)
    adapter = fitted(name, given)
    assert len(seen) == QUICK["steps"]
    assert len({round(loss, 6) for *_, loss in seen}) > 1
    for batch, parameters, loss in seen:
        assert loss == pytest.approx(formula(adapter, batch, *parameters), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_training_that_was_broken_off_goes_on_to_equal_bits(name, monkeypatch):
    whole = fitted(name, {})
    kind, steps = type(whole), iter(range(7))
    loss, tower = kind._loss, LEARNED.tower
    tower.states.clear()
    monkeypatch.setattr(kind, "_loss", lambda self, *rest: (next(steps), loss(self, *rest))[1])
    with pytest.raises(StopIteration):
        kind(**QUICK).fit(LEARNED, LABELS)
    steps = iter(range(4))  # of 10 steps 6 were kept, at three stages
    again = kind(**QUICK).fit(LEARNED, LABELS)
    assert next(steps, None) is None
    for learned in ("contexts_", "rows_", "words_"):
        assert np.array_equal(getattr(again, learned), getattr(whole, learned))


@pytest.mark.parametrize("given", [{"initial": " "}, {"initial": "", "per_class": True}])
def test_drawn_contexts_are_those_of_the_public_code(given):
    # KaiyangZhou/CoOp trainers/coop.py PromptLearner.__init__, ff61507: normal of deviation .02
    start = fitted("coop", {"n_context": 200, "steps": 5} | given).contexts_[0]
    assert start.shape == ((C, 200, 6) if "per_class" in given else (200, 6))
    assert start.std() == pytest.approx(0.02, rel=0.1)


def test_rates_are_those_of_the_public_schedule():
    # configs/trainers/CoOp and Dassl's ConstantWarmupScheduler: an epoch at 1e-5, then epoch e at the cosine of e
    epochs, per_epoch = 50, 3
    of_epochs = learner.rates(epochs * per_epoch, highest=2e-3, warmup_steps=per_epoch)[::per_epoch]
    expected = [1e-5, *(1e-3 * (1 + np.cos(np.pi * epoch / epochs)) for epoch in range(1, epochs))]
    np.testing.assert_allclose(of_epochs, expected, rtol=1e-12)
