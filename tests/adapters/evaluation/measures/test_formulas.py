"""The oracle of measures: each against its definition or public code, on fixed random rows, in float64, to 1e-9."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit, log_softmax, logit, softmax
from scipy.stats import binom, rankdata

from evenly.adapters.evaluation.measures import diversity
from evenly.adapters.evaluation.measures.binding import ProbeSet, binding_table
from evenly.adapters.evaluation.measures.bootstrap import bootstrap_accuracy, paired_bootstrap
from evenly.adapters.evaluation.measures.calibration import fit_temperature, log_likelihood_loss, reliability
from evenly.adapters.evaluation.measures.classification import expected_calibration_error, mean_per_class_accuracy
from evenly.adapters.evaluation.measures.effective_robustness import effective_robustness
from evenly.adapters.evaluation.measures.head_tail import head_tail
from evenly.adapters.evaluation.measures.paired import holm, mcnemar
from evenly.adapters.evaluation.measures.rank_measures import rank_measures
from evenly.adapters.evaluation.measures.rejection import choose_threshold
from evenly.adapters.evaluation.measures.retrieval import judge_retrieval, modality_gap, paired
from evenly.adapters.evaluation.measures.robustness import corruption_robustness
from evenly.adapters.features import unit_rows

RNG = np.random.default_rng(17)
N, C = 200, 6
LOGITS = RNG.normal(size=(N, C)) * 2
LABELS = (LOGITS + RNG.gumbel(size=(N, C)) * 2).argmax(axis=1)  # drawn from softmax(LOGITS / 2)
P = softmax(LOGITS, axis=1)
PREDICTED = LOGITS.argmax(axis=1)
RIGHT, OTHER = PREDICTED == LABELS, RNG.random(N) < 0.4
GROUPS = RNG.integers(30, size=N)


def test_calibration_error():
    # gpleiss/temperature_scaling _ECELoss, ce1154e: bins (lower, upper], gaps weighted by their share of the rows
    confidence, edges, expected = P.max(axis=1), np.linspace(0, 1, 16), 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += abs(confidence[inside].mean() - RIGHT[inside].mean()) * inside.mean()
    assert expected_calibration_error(P, LABELS) == pytest.approx(expected, abs=1e-12)
    bins = reliability(P, LABELS)
    assert np.nansum(bins["gap"].abs() * bins["n"]) / N == pytest.approx(expected, abs=1e-12)


def test_the_temperature_makes_the_labels_likeliest():
    # Guo et al. 2017, arXiv:1706.04599: the derivative of the mean log loss is 0 there, and the loss larger beside it
    def loss(t):
        return -log_softmax(LOGITS / t, axis=1)[np.arange(N), LABELS].mean()

    t = fit_temperature(LOGITS, LABELS).value
    assert log_likelihood_loss(LOGITS / t, LABELS) == pytest.approx(loss(t), abs=1e-12)
    assert loss(t) < min(loss(0.99 * t), loss(1.01 * t))
    at_t = (softmax(LOGITS / t, axis=1) * LOGITS).sum(axis=1) - LOGITS[np.arange(N), LABELS]
    assert at_t.mean() == pytest.approx(0, abs=1e-5)


def test_mean_per_class_accuracy():
    expected = np.mean([RIGHT[c == LABELS].mean() for c in range(C)])
    assert mean_per_class_accuracy(PREDICTED, LABELS) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [30, 90])
def test_schur_complement_entropy(n):
    # aziksh-ospanov/CLIP-DISSECTION SCE/metric/algorithm_utils.py, 9db5849: cov_rff2, rff_schur_complement (x texts),
    # schur_vendi_from_eigs. Ours: a ridge of 1e-6 for 1e-12, hashed omegas, both ways of computing (n below 2k, above)
    images, texts = RNG.normal(size=(2, n, 5))
    omegas = diversity.seeded_normal((30, 5), seed=0, name="schur complement entropy").T / np.float32(1.5)
    x, y = (np.concatenate([np.cos(f @ omegas), np.sin(f @ omegas)], axis=1) / np.sqrt(30) for f in (texts, images))
    by_texts = (x.T @ y / n).T @ np.linalg.inv(x.T @ x / n + 1e-6 * np.eye(60)) @ (x.T @ y / n)
    spectra = [np.linalg.eigvalsh(part).clip(1e-10) for part in (y.T @ y / n - by_texts, by_texts)]
    expected = [np.exp(-(values * np.log(values / values.sum())).sum()) for values in spectra]
    found = diversity.schur_complement_entropy(images, texts, sigma=1.5, frequencies=30)
    assert [found.given_texts, found.by_texts] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("rule", "more"), [("lowest_fifth", 0), ("published", 1)])
def test_head_and_tail(rule, more):
    # shubhamprshr27/NeglectedTailsVLM analysis/tail_analysis.py, 1ca33df: tail where i <= int(0.2 * classes), ascending
    counts = RNG.permutation(C * 10)[:C]
    tail = np.argsort(counts)[: int(0.2 * C) + more]
    of_class = np.array([RIGHT[c == LABELS].mean() for c in range(C)])
    head = np.setdiff1d(np.arange(C), tail)
    table = head_tail(PREDICTED, LABELS, [f"class {c}" for c in range(C)], counts, seed=0, rule=rule, n=20)
    expected = [of_class[head].mean(), of_class[tail].mean(), of_class[head].mean() - of_class[tail].mean()]
    np.testing.assert_allclose(table.set_index("part").loc[["head", "tail", "gap"], "accuracy"], expected, atol=1e-12)


def test_effective_robustness():
    # Taori et al. 2020, arXiv:2007.00644: the residual of a line through logits of accuracies
    accuracy, shifted = RNG.uniform(0.3, 0.9, size=(2, 8))
    slope, intercept = np.polyfit(logit(accuracy), logit(shifted), 1)
    table, line = effective_robustness([str(i) for i in range(8)], accuracy, shifted)
    expected = shifted - expit(slope * logit(accuracy) + intercept)
    np.testing.assert_allclose([line.slope, line.intercept], [slope, intercept], rtol=1e-9)
    np.testing.assert_allclose(table["effective_robustness"], expected, atol=1e-9)


def test_corruption_robustness():
    # own definition (docs/methods.md): the mean over corruptions of the mean over strengths, relative to clean
    cells = {(name, s): RNG.random(N) < 0.6 for name in ("fog", "blur") for s in (1, 3)}
    found = corruption_robustness(RIGHT, cells, seed=0, n=10)
    mean = np.mean([np.mean([cells[name, s].mean() for s in (1, 3)]) for name in ("fog", "blur")])
    assert found.mean_accuracy.estimate == pytest.approx(mean, abs=1e-12)
    assert found.relative_drop.estimate == pytest.approx((RIGHT.mean() - mean) / RIGHT.mean(), abs=1e-12)


def test_retrieval():
    # recall@k, median rank, mean average precision and AUC by definition; cosines to 4 digits, of ties answers last
    queries, gallery = unit_rows(RNG.normal(size=(30, 8))), unit_rows(RNG.normal(size=(50, 8)))
    owners, answers = np.repeat(np.arange(30), 2), RNG.integers(50, size=60)
    found = judge_retrieval(queries, gallery, paired(owners, answers, 50), seed=0)
    scores, hits = np.round(queries @ gallery.T, 4), np.zeros((30, 50), bool)
    hits[owners, answers] = True
    ranked = np.take_along_axis(hits, np.lexsort((hits, -scores), axis=1), axis=1)
    first = ranked.argmax(axis=1) + 1
    assert [found.recall[k].estimate for k in (1, 5, 10)] == [np.mean(first <= k) for k in (1, 5, 10)]
    assert found.median_rank == np.median(first)
    precision = [np.mean(row[:p].sum() / p) for row in ranked for p in np.flatnonzero(row) + 1]
    averages = [part.mean() for part in np.split(np.array(precision), np.cumsum(ranked.sum(axis=1))[:-1])]
    assert found.mean_average_precision.estimate == pytest.approx(np.mean(averages), abs=1e-9)
    yes, no = scores[hits][:, None], scores[~hits][None]
    assert found.auc.estimate == pytest.approx(((yes > no) + (yes == no) / 2).mean(), abs=1e-9)


def test_modality_gap():
    # Liang et al. 2022, arXiv:2203.02053: the length of the difference of the means
    a, b = RNG.normal(size=(2, 20, 4))
    assert modality_gap(a, b) == pytest.approx(np.sqrt(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()), abs=1e-12)


def test_open_set_h():
    # has97/Osloprompt office.py, d562097: 2 closed open / (closed + open); our threshold is chosen where it is largest
    known, unknown = RNG.normal(1, 1, N), {"a": RNG.normal(0, 1, 50), "b": RNG.normal(-1, 1, 20)}
    tried = np.unique(np.r_[known, unknown["a"], unknown["b"]])
    closed = np.array([(RIGHT & (known >= t)).mean() for t in tried])
    opened = np.array([np.mean([(scores < t).mean() for scores in unknown.values()]) for t in tried])
    h = 2 * closed * opened / (closed + opened)
    assert choose_threshold(known, RIGHT, unknown) == (tried[h.argmax()], pytest.approx(h.max(), abs=1e-12))


def test_intervals():
    # percentile bootstrap over whole groups, the draws those of numpy's generator; a difference is of the same draws
    drawn = np.random.default_rng(3).integers(30, size=(100, 30))
    rows = [np.concatenate([np.flatnonzero(g == GROUPS) for g in groups]) for groups in drawn]
    found = bootstrap_accuracy(RIGHT, groups=GROUPS, seed=3, n=100)
    assert found[1:] == pytest.approx(np.quantile([RIGHT[r].mean() for r in rows], [0.025, 0.975]), abs=1e-12)
    differences = [OTHER[r].mean() - RIGHT[r].mean() for r in rows]
    found = paired_bootstrap(RIGHT, OTHER, groups=GROUPS, seed=3, n=100)
    assert found == pytest.approx((OTHER.mean() - RIGHT.mean(), *np.quantile(differences, [0.025, 0.975])), abs=1e-12)


def test_paired_tests():
    # McNemar 1947, exact, two-sided; Holm 1979
    b, c = (RIGHT & ~OTHER).sum(), (OTHER & ~RIGHT).sum()
    assert mcnemar(RIGHT, OTHER).p_value == pytest.approx(min(2 * binom.cdf(min(b, c), b + c, 0.5), 1), abs=1e-9)
    p = RNG.random(6) / 5
    order = np.argsort(p)
    stepped = [max(min(1, (6 - j) * p[order[j]]) for j in range(i + 1)) for i in range(6)]
    np.testing.assert_allclose(holm(p)[order], stepped, atol=1e-12)


def test_rank_measures():
    # Spearman 1904, of mean ranks; Kendall 1945, tau-b; pairs of different value in the right order, ties half
    a, b = RNG.integers(8, size=(2, 40)).astype(float)
    ranks = rankdata(a), rankdata(b)
    i, j = np.triu_indices(40, 1)
    agree, untied = np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]), [(v[i] != v[j]).sum() for v in (a, b)]
    differ = b[i] != b[j]
    found = rank_measures(a, b)
    assert found.spearman == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)
    assert found.kendall == pytest.approx(agree.sum() / np.sqrt(np.prod(untied)), abs=1e-9)
    assert found.pairwise_accuracy == pytest.approx(((agree[differ] + 1) / 2).mean(), abs=1e-9)


def test_attribute_binding():
    # Lemons (Tang et al. 2023, arXiv:2212.12043; no code): own attribute named, that of the other object named
    image, texts = unit_rows(RNG.normal(size=(40, 8))), unit_rows(RNG.normal(size=(20, 8))).reshape(5, 4, 8)
    objects, attributes = RNG.integers(5, size=(40, 2)), RNG.integers(4, size=(40, 2))
    table = binding_table(ProbeSet(image=image, texts=texts, objects=objects, attributes=attributes), seed=0, n=10)
    answers = np.einsum("nkad,nd->nka", texts[objects], image).argmax(axis=2)
    differ = np.repeat(attributes[:, :1] != attributes[:, 1:], 2, axis=1)
    row = table.set_index("part").loc["all"]
    assert row["own"] == pytest.approx((answers == attributes).mean(), abs=1e-12)
    assert row["swap"] == pytest.approx((answers == attributes[:, ::-1])[differ].mean(), abs=1e-12)
