"""The oracle of adapters: each one's logits against a transcription of its paper's equation or public code.

On the same fixed random rows, in float64, to 1e-9; of trained adapters, from what they learned, and the loss of their
first step, which is made in float32 and so to 1e-5. Names and commits of the public code stand by each transcription.
Those of prompt learners, and the test that no adapter lacks one, are in tests/adapters/prompts/test_formulas.py.
"""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from evenly.adapters import ADAPTERS
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods.nola import confident_rows

N, M, C, D, E = 30, 12, 5, 12, 16
RNG = np.random.default_rng(8)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def drawn(seed, *shape):
    return unit_rows(np.random.default_rng(seed).normal(size=shape).reshape(-1, shape[-1])).reshape(shape)


PAIRS = np.array([(a, b) for a in range(C) for b in range(C) if a != b] * 2, dtype=np.int64)
SUPPORT = Features(
    image=drawn(0, N, D),
    prototypes=drawn(1, C, D),
    norms=np.linspace(8, 12, N, dtype=np.float32),
    second=drawn(2, N, E),
    captions=drawn(3, N, D),
    unlabelled=drawn(4, 60, D),
    unlabelled_second=drawn(5, 60, E),
    class_texts=drawn(6, 4 * C, D),
    class_text_labels=np.tile(np.arange(C), 4),
    descriptor_texts=drawn(7, 40, D),
    descriptor_text_labels=np.arange(40) % C,
    pair_texts=drawn(8, len(PAIRS), D),
    pair_text_classes=PAIRS,
    context_prototypes=drawn(9, 3, C, D),
)
LABELS = np.arange(N) % C
QUERY = Features(image=drawn(10, M, D), norms=np.linspace(9, 11, M, dtype=np.float32), second=drawn(11, M, E))
Y = np.eye(C)[LABELS]
X, T, Q, POOL = (rows.astype(float) for rows in (SUPPORT.image, SUPPORT.prototypes, QUERY.image, SUPPORT.unlabelled))
ZERO_SHOT = 100 * Q @ T.T


def gaussian(rows, labels, *, rows_scale=True):
    # mrflogs/ICLR24 main_few_shots.py, 560fe21: KS precision, W and b. `rows_scale` is our n / d (docs/methods.md).
    mu = np.stack([rows[labels == c].mean(axis=0) for c in range(C)])
    centred = rows - mu[labels]
    n, d = centred.shape
    s = np.cov(centred.T)
    p = d * np.linalg.pinv((n - 1) * s + np.trace(s) * np.eye(d)) * (n / d if rows_scale else 1)
    return mu @ p, np.log(1 / C) - np.einsum("nd,dc,nc->n", mu, p, mu) / 2


def gda(adapter):
    w, b = gaussian(X, LABELS, rows_scale=getattr(adapter, "precision_scale", "rows") == "rows")
    return ZERO_SHOT + adapter.alpha * (Q @ w.T + b)


def gda_base_to_new(adapter):
    # mrflogs/ICLR24 main_base2new.py, 560fe21; classes 0 to 2 are base, 3 and 4 new; k neighbours, texts a fifth
    base = LABELS < 3
    x, y, k, texts = X[base], LABELS[base], adapter.neighbours, T[3:]
    mu = np.stack([x[y == c].mean(axis=0) for c in range(3)])
    p = np.linalg.pinv(np.mean([np.cov(x[y == c].T) for c in range(3)], axis=0))
    near = [x[np.argsort(-(x @ w))[:k]] for w in texts]
    mu_new = np.stack(
        [np.concatenate([rows, [w] * (k // 4)]).mean(axis=0) for rows, w in zip(near, texts, strict=True)]
    )
    r = [(rows - w).T @ (rows - w) for rows, w in zip(near, texts, strict=True)]
    p_new = np.mean([D * np.linalg.pinv(one + np.trace(one) / (k - 1) * np.eye(D)) for one in r], axis=0)
    w, mus = np.concatenate([mu @ p, mu_new @ p_new]), np.concatenate([mu, mu_new])
    return ZERO_SHOT + adapter.alpha * (Q @ w.T + np.log(1 / C) - np.einsum("cd,cd->c", w, mus) / 2)


def gda_em(adapter):
    # Wang et al., arXiv:2402.04087, unsupervised setting: EM of a mixture with one covariance (no public code)
    g, m = softmax(100 * POOL @ T.T, axis=1), len(POOL)
    for _ in range(adapter.max_iterations):
        mu, pi = g.T @ POOL / g.sum(axis=0)[:, None], g.sum(axis=0) / m
        s = sum(np.einsum("n,nd,ne->de", g[:, c], POOL - mu[c], POOL - mu[c]) for c in range(C)) / m
        p = np.linalg.inv(s + np.trace(s) / (m - 1) * np.eye(D))
        w, b = mu @ p, -np.einsum("cd,de,ce->c", mu, p, mu) / 2
        g = softmax(np.log(pi) + POOL @ w.T + b, axis=1)
    return ZERO_SHOT + adapter.alpha * (Q @ w.T + b + np.log(1 / C))


def tip(adapter):
    # gaopengcuhk/Tip-Adapter main.py, utils.py, d0e2d6f
    return ZERO_SHOT + adapter.alpha * np.exp(-(adapter.beta - adapter.beta * (Q @ X.T))) @ Y


def tip_f(adapter):
    # as Tip-Adapter, with the trained keys
    answers = np.exp(-adapter.beta * (1 - Q @ adapter.keys_.astype(float).T))
    return ZERO_SHOT + adapter.alpha * answers @ np.eye(C)[adapter.key_labels_]


def tipx(adapter, affinity_keys=X, profile=lambda rows: softmax(rows @ T.T / 0.5, axis=1)):
    # vishaal27/SuS-X tipx.py, d7d4d37: KL(row || support), scaled to the range of the affinities of validation rows
    p, q, v = profile(Q), profile(X), profile(POOL)
    m, kl = ((rows[:, None] * (np.log(rows[:, None]) - np.log(q[None]))).sum(axis=2) for rows in (v, p))
    a = POOL @ affinity_keys.T
    scaled = (kl - m.min()) / (m.max() - m.min()) * (a.max() - a.min()) + a.min()
    cache = np.exp(-adapter.beta * (1 - Q @ affinity_keys.T)) @ Y
    return ZERO_SHOT + adapter.gamma * -scaled @ Y + adapter.alpha * cache


def caps(adapter):
    # WLuLi/CapS-Adapter madapter.py, bb2182a: affinities of images and captions; its softmax is over the dimensions
    keys = (1 - adapter.delta) * X + adapter.delta * SUPPORT.captions.astype(float)
    if adapter.kl_over == "dimensions":
        return tipx(adapter, keys, lambda rows: softmax(rows / 0.5, axis=1))
    return tipx(adapter, keys)


def standard(outputs):
    return (outputs - outputs.mean(axis=1, keepdims=True)) / outputs.std(axis=1, ddof=1, keepdims=True)


def amu_parts(adapter, second, zero_shot):
    # TJU-sjyj/AMU-Tuning clip/amu.py, f96f335: logit_normalize, and uncertainty of the kind
    p, z = softmax(zero_shot, axis=1), standard(second.astype(float) @ adapter.weight_.T)
    kappa = {
        "moment": ((standard(p) ** 4).mean(axis=1) / 250) ** -adapter.rho,
        "entropy": np.exp(adapter.rho * -(p * np.log2(p)).sum(axis=1) / np.log2(C)),
        "maximum": 1 / p.max(axis=1) ** adapter.rho,
        "none": np.ones(len(p)),
    }
    return kappa[adapter.uncertainty][:, None], z


def amu(adapter):
    kappa, z = amu_parts(adapter, QUERY.second, ZERO_SHOT)
    return ZERO_SHOT + kappa * z * adapter.alpha


def linear(adapter):
    # KaiyangZhou/CoOp lpclip/linear_probe.py, ff61507: scikit-learn's logistic regression, here of unit rows
    model = LogisticRegression(solver="lbfgs", max_iter=1000, C=adapter.C).fit(X, LABELS)
    return Q @ model.coef_.T + model.intercept_


def real_linear(adapter):
    # shubhamprshr27/NeglectedTailsVLM real-linear.py, 1ca33df: weights averaged, exp(4.60517) = 100
    head = T + adapter.shift_
    return 100 * Q @ (0.5 * head + 0.5 * T).T


def singular_scaling(adapter):
    # HealthX-Lab/CLIP-SVD, 022b1ed: W = U diag(S) V^T with trained S; here W are the texts (ours: S times exp(g))
    u, s, v = np.linalg.svd(T, full_matrices=False)
    return 100 * Q @ (u @ np.diag(s * np.exp(adapter.log_scales_)) @ v).T


def cooked(adapter):
    # glhr/COOkeD eval.py, 2172232: the mean of three softmaxes, and of the probe on rows of their own length
    own_length = Q * QUERY.norms.astype(float)[:, None]
    w, b = gaussian(X, LABELS)
    probe = own_length @ adapter.probe_weight_.T + adapter.probe_bias_
    return np.log(np.mean([softmax(ZERO_SHOT, axis=1), softmax(probe, axis=1), softmax(Q @ w.T + b, axis=1)], axis=0))


def pseudo_labelled(adapter, sizes):
    # Menghini et al., arXiv:2306.01669: k per class of the last teacher, the best pairs first; both sets equal
    w, b = adapter.logit_scale * T, np.zeros(C)
    for k in sizes:
        score = log_softmax(POOL @ w.T + b, axis=1)
        chosen = {}
        for place in np.argsort(-score, axis=None):
            row, c = divmod(int(place), C)
            if row not in chosen and sum(label == c for label in chosen.values()) < k:
                chosen[row] = c
        r = max(round(len(chosen) / N), 1), max(round(N / len(chosen)), 1)
        rows = np.concatenate([*[X] * r[0], *[POOL[list(chosen)]] * r[1]])
        w, b = gaussian(rows, np.concatenate([*[LABELS] * r[0], *[list(chosen.values())] * r[1]]).astype(int))
        w, b = adapter.logit_scale * T + adapter.alpha * w, adapter.alpha * b
    return Q @ w.T + b


def nola(adapter):
    # fazliimam/NoLA trainers/NoLA.py AdapterMLP, ffd99ac: two layers; ours: unit rows times sqrt(e)
    first = adapter.hidden_weight_.astype(float), adapter.hidden_bias_.astype(float)
    hidden = np.maximum(np.sqrt(E) * QUERY.second.astype(float) @ first[0].T + first[1], 0)
    return hidden @ adapter.weight_.astype(float).T + adapter.bias_


def vcd(adapter):
    # sachit-menon/classify_by_description_release main.py, d1a3d89: mean (or max) of the similarities
    texts = [SUPPORT.class_texts[SUPPORT.class_text_labels == c].astype(float) for c in range(C)]
    if adapter.aggregate == "mean_embedding":
        return 100 * Q @ unit(np.stack([rows.mean(axis=0) for rows in texts])).T
    return np.stack([getattr(100 * Q @ rows.T, adapter.aggregate[:4])(axis=1) for rows in texts], axis=1)


def top(k):
    return np.sort(np.argsort(-ZERO_SHOT, axis=1)[:, :k], axis=1)


def disclip(adapter):
    # CompVis/DisCLIP method.py, cdba1ba; of the top 3 alone; the mean of name (weight w) and texts, over w + 1
    texts = SUPPORT.descriptor_texts.astype(float)
    a = np.stack([(texts @ X[c == LABELS].T).mean(axis=1) for c in range(C)], axis=1)
    logits = np.full((M, C), np.nan)
    for i, classes in enumerate(top(adapter.neighbours)):
        for c in classes:
            gaps = a[:, [c]] - a[:, classes]
            kept = np.flatnonzero((gaps >= 0).all(axis=1))
            chosen = kept[np.argsort(-gaps[kept].mean(axis=1), kind="stable")[: adapter.most]]
            name, w = unit(Q)[i] @ unit(T)[c], adapter.name_weight
            logits[i, c] = 100 * (w * name + (unit(texts)[chosen] @ unit(Q)[i]).mean()) / (w + 1)
    return logits


def fudd(adapter):
    # BatsResearch/fudd fudd_model.py, 3226423: of the top k alone, the normalised mean of the pairwise texts
    logits = np.full((M, C), np.nan)
    for i, classes in enumerate(top(adapter.k)):
        for c in classes:
            used = (PAIRS[:, 0] == c) & np.isin(PAIRS[:, 1], classes)
            logits[i, c] = 100 * Q[i] @ unit(SUPPORT.pair_texts[used].astype(float).mean(axis=0))
    return logits


def perceptionclip(adapter):
    # umd-huang-lab/perceptionCLIP perceptionclip_two_step.py, 2ff3ad3, infer_mode 0
    f = 100 * np.einsum("nd,zcd->nzc", Q, SUPPORT.context_prototypes.astype(float))
    p_z = np.exp(f / adapter.temperature).sum(axis=2)
    p_z /= p_z.sum(axis=1, keepdims=True)
    p_y = np.exp(f) / np.exp(f).sum(axis=2, keepdims=True)
    return np.log((p_z[..., None] * p_y).sum(axis=1))


CALM = {"logit_scale": 10.0, "alpha": 0.1}  # probabilities that float64 tells from 1
FORMULAS = {
    "zero_shot": [({}, lambda _: ZERO_SHOT)],  # openai/CLIP, d05afc4, at scale 100
    "linear": [({}, linear)],
    "gda": [({}, gda), ({"precision_scale": "published", "alpha": 10.0}, gda)],
    "gda_base_to_new": [({"neighbours": 8}, gda_base_to_new)],
    "gda_em": [({"max_iterations": 3, "tolerance": 0}, gda_em)],
    "gda_incremental": [({}, gda)],
    "tip": [({"alpha": 2.0, "beta": 5.5}, tip)],
    "tip_f": [({"beta": 2.0, "epochs": 1}, tip_f)],
    "tipx": [({"alpha": 2.0, "beta": 5.5, "gamma": 3.0}, tipx)],
    "caps": [({"delta": 0.3, "gamma": 3.0, "kl_over": over}, caps) for over in ("classes", "dimensions")],
    "amu": [
        ({"uncertainty": kind, "moment_scale": "published", "epochs": 1}, amu)
        for kind in ("moment", "entropy", "maximum", "none")
    ],
    "real_linear": [({}, real_linear)],
    "singular_scaling": [({}, singular_scaling)],
    "cooked": [({}, cooked)],
    "fpl": [({"k": 4} | CALM, lambda adapter: pseudo_labelled(adapter, [4]))],
    "ifpl": [({"k": 4, "rounds": 3} | CALM, lambda adapter: pseudo_labelled(adapter, [4] * 3))],
    "grip": [(CALM, lambda adapter: pseudo_labelled(adapter, [int((r + 1) * (60 / 10) / C) for r in range(10)]))],
    "nola": [({"epochs": 1}, nola)],
    "vcd": [({"aggregate": how}, vcd) for how in ("mean_similarity", "mean_embedding", "max")],
    "disclip": [({"name_weight": weight}, disclip) for weight in (0.0, 2.5)],
    "fudd": [({"k": 3}, fudd)],
    "perceptionclip": [({}, perceptionclip)],
}
WITHOUT_SECOND = {"cooked"}  # its third classifier is then GDA's evidence
CASES = [(name, given, formula) for name, cases in FORMULAS.items() for given, formula in cases]


def fitted(name, given):
    features, labels = SUPPORT, LABELS
    if name in WITHOUT_SECOND:
        features = replace(features, second=None)
    if name == "gda_base_to_new":
        features, labels = features.rows(np.flatnonzero(LABELS < 3)), LABELS[LABELS < 3]
    return ADAPTERS[name](**given).fit(features, labels).calibrate(Features(image=SUPPORT.unlabelled))


@pytest.mark.parametrize(("name", "given", "formula"), CASES, ids=[f"{name} {given}" for name, given, _ in CASES])
def test_logits_are_those_of_the_formula(name, given, formula):
    adapter = fitted(name, given)
    assert adapter.fallback_ == ""
    expected = formula(adapter)
    asked = ~np.isnan(expected)
    np.testing.assert_allclose(adapter._logits(QUERY)[asked], expected[asked], rtol=1e-9, atol=1e-9)


def cross_entropy(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()


def tip_f_loss(adapter, batch, keys):
    # gaopengcuhk/Tip-Adapter main.py, run_tip_adapter_F, d0e2d6f; rows of the support stand in the order of the keys
    order = np.argsort(-(keys @ X.T), axis=1)[:, 0]
    x = X[order][batch]
    answers = np.exp(-(adapter.initial_beta - adapter.initial_beta * (x @ keys.T)))
    return cross_entropy(100 * x @ T.T + adapter.initial_alpha * answers @ Y[order], LABELS[order][batch])


def amu_loss(adapter, batch, head):
    # TJU-sjyj/AMU-Tuning clip/amu.py forward, f96f335
    adapter.weight_ = head
    zero_shot = 100 * X[batch] @ T.T
    kappa, z = amu_parts(adapter, SUPPORT.second[batch], zero_shot)
    fused = cross_entropy(zero_shot + kappa * z * adapter.training_alpha, LABELS[batch])
    return adapter.fused_share * fused + (1 - adapter.fused_share) * cross_entropy(z, LABELS[batch])


def real_linear_loss(_, batch, head):
    # shubhamprshr27/NeglectedTailsVLM real-linear.py, 1ca33df: images and texts in one batch
    rows = np.concatenate([X, SUPPORT.class_texts])[batch]
    return cross_entropy(100 * rows @ head.T, np.concatenate([LABELS, SUPPORT.class_text_labels])[batch])


def singular_scaling_loss(_, batch, log_scales):
    # HealthX-Lab/CLIP-SVD, 022b1ed: cross-entropy of 100 times the cosine, with U, V fixed
    u, s, v = np.linalg.svd(T, full_matrices=False)
    return cross_entropy(100 * X[batch] @ (u @ np.diag(s * np.exp(log_scales)) @ v).T, LABELS[batch])


def nola_loss(adapter, batch, *layers):
    # fazliimam/NoLA trainers/NoLA.py train_taal, ffd99ac
    rows = np.sqrt(E) * SUPPORT.unlabelled_second.astype(float)[adapter.pseudo_rows_[batch]]
    hidden = np.maximum(rows @ layers[0].T + layers[1], 0)
    logits = hidden @ layers[2].T + layers[3]
    return cross_entropy(logits, adapter.pseudo_labels_[batch])


LOSSES = {
    "tip_f": ({"batch_size": 11}, tip_f_loss),
    "amu": ({"moment_scale": "published"}, amu_loss),
    "real_linear": ({"learning_rate": 0.01}, real_linear_loss),
    "singular_scaling": ({}, singular_scaling_loss),
    "nola": ({}, nola_loss),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_that_of_the_formula_at_the_start_and_after_some_steps(name, monkeypatch):
    given, formula = LOSSES[name]
    module, seen = import_module(ADAPTERS[name].__module__), []

    def watched(parameters, loss, batches, *, rule):
        for batch in batches[:4]:
            now = [tensor.detach().numpy().astype(float).copy() for tensor in parameters]
            seen.append((batch, now, float(loss(batch).detach())))
            minimise(parameters, loss, [batch] * 2, rule=rule)

    minimise = module.minimise
    monkeypatch.setattr(module, "minimise", watched)
    adapter = fitted(name, given)
    assert len(seen) >= 3
    assert len({round(loss, 6) for *_, loss in seen}) > 1
    for batch, parameters, loss in seen:
        assert loss == pytest.approx(formula(adapter, batch, *parameters), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("scale", "of_prior"), [("rows", 1.0), ("published", D / N)])
def test_the_log_prior_is_that_of_the_rows(scale, of_prior):
    # arXiv:2402.04087: b = log pi - mu P mu / 2; ours: beside the published scale of P it shrinks by d / n as well
    labels = np.repeat(np.arange(C), [12, 8, 5, 3, 2])
    adapter = ADAPTERS["gda"](prior="train", precision_scale=scale).fit(replace(SUPPORT, second=None), labels)
    w, b = gaussian(X, labels, rows_scale=scale == "rows")
    expected = Q @ w.T + b - np.log(1 / C) + of_prior * np.log(np.bincount(labels) / N)
    np.testing.assert_allclose(adapter._logits(QUERY), ZERO_SHOT + adapter.alpha * expected, rtol=1e-9, atol=1e-9)


def test_nola_takes_the_rows_that_the_public_code_takes():
    # fazliimam/NoLA utils/model_utils.py top_k_indices_per_class2, ffd99ac, where every class is some row's first
    p = softmax(RNG.normal(size=(60, C)), axis=1)
    k = max(3, int(0.2 * 60 / C))
    first = p.argmax(axis=1)
    expected = [np.sort(-p[first == c, c])[:k] for c in range(C)]
    rows, labels = confident_rows(p, k, keys=[bytes([i]) for i in range(60)])
    assert all(np.array_equal(-p[rows[labels == c], c], expected[c]) for c in range(C))
