"""The oracle of curation: each law, weight, score and measure against its equation or public code, to 1e-9."""

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import entropy, mannwhitneyu
from sklearn.metrics import adjusted_rand_score

from evenly.curation.align import Align, resolve_threshold
from evenly.curation.balance.balancing import balance, earlier_limits
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.source_mixing import SourceRule
from evenly.curation.balance.thresholds import (
    BalanceRule,
    PreselectionLimits,
    choose_thresholds,
    entry_probabilities,
    expected_units,
    stay_chances,
    tail_share,
    threshold_for_tail,
)
from evenly.curation.captions.choice import CANDIDATES, ChoiceRule, choose_captions
from evenly.curation.captions.scores import clip_scores, ref_clip_scores
from evenly.curation.captions.unseen import recognised_limits
from evenly.curation.concepts.collocations import pair_pmi
from evenly.curation.concepts.name_frequency import most_frequent_name
from evenly.curation.concepts.relevance import JudgingRule, estimate_relevance
from evenly.curation.draws import draw, wilson_interval
from evenly.curation.duplicates.linkage_threshold import judge_records
from evenly.curation.duplicates.record_linkage import mix
from evenly.curation.exclusions.multi_label_clusters import measure_balance, nearest_clusters
from tests.curation.balance.whole_inputs import mix_sources

RNG = np.random.default_rng(23)
ENTRIES = 12
MATCHES = [sorted(set((RNG.zipf(1.6, RNG.integers(1, 4)) - 1).clip(0, ENTRIES - 1).tolist())) for _ in range(500)]
UIDS = [f"{place:032x}" for place in range(500)]


def pairs_of(matches, uids=UIDS):
    return MatchedPairs.of(uids, pa.array(matches, pa.list_(pa.int32())), [f"entry {e}" for e in range(ENTRIES)])


PAIRS = pairs_of(MATCHES)
COUNTS = np.bincount(np.concatenate(MATCHES), minlength=ENTRIES).astype(float)


def count_to_prob(counts, t):
    # facebookresearch/MetaCLIP metaclip/curation/curate.py count_to_prob, f47f784 (v1: balance_sampling.py, the same)
    return t / np.where(counts < t, t, counts)


def chance(p, matches):
    # arXiv:2309.16671 and curate.py, f47f784: 1 - prod(1 - p_e)
    return 1.0 - np.prod(1.0 - p[matches])


@pytest.mark.parametrize("t", [3.0, 20.0, 1000.0])
def test_probabilities_of_entries_and_pairs(t):
    p = entry_probabilities(COUNTS, t)
    np.testing.assert_allclose(p, count_to_prob(COUNTS, t), rtol=1e-12)
    chances = stay_chances(PAIRS, p[None])
    np.testing.assert_allclose(chances, [chance(p, matches) for matches in MATCHES], rtol=1e-12)
    assert expected_units(PAIRS, p[None])[0] * 2.0**-30 == pytest.approx(chances.sum(), abs=1e-6)


@pytest.mark.parametrize("law", ["v1", "v2"])
def test_draws_of_both_laws(law):
    # v1: metaclip1/balancing.py balance_sampling, f47f784: any u < p_e; v2: curate.py: dropped where P < u
    p = count_to_prob(COUNTS, 20.0)
    found = balance(PAIRS, counts=count_matches(PAIRS), thresholds=np.array([20.0]), law=law, seed=4)
    for uid, matches, kept in zip(UIDS, MATCHES, found.decisions.kept.to_pylist(), strict=True):
        if law == "v1":
            drawn = [draw(seed=4, step="balance", uid=uid, entry=f"entry {e}") < p[e] for e in matches]
            assert kept == any(drawn)
        else:
            assert kept == (draw(seed=4, step="balance", uid=uid, entry="") < chance(p, matches))


def test_tail_share_and_threshold():
    # facebookresearch/MetaCLIP metaclip/curation/curate.py t_to_p, p_to_t, f47f784; ours leaves counts of 0 out
    counts = RNG.zipf(1.5, 200).astype(float)
    for t in (2, 5, 50, 1e9):
        assert tail_share(counts, t) == pytest.approx(counts[counts < t].sum() / counts.sum(), abs=1e-12)
    ordered = np.sort(counts)
    for p in (0.0, 0.06, 0.3, 0.8, 1.0):
        assert threshold_for_tail(counts, p) == ordered[np.abs(ordered.cumsum() / ordered.sum() - p).argmin()]


def test_thresholds_by_language_and_by_target():
    # curate.py, f47f784: the tail share of the reference's t is that of every language; a target is met by the sum of P
    language = pa.array([("en", "de")[place % 3 == 0] for place in range(500)])
    pairs = MatchedPairs.of(UIDS, pa.array(MATCHES, pa.list_(pa.int32())), PAIRS.concepts, language=language)
    counts = count_matches(pairs)
    of_en = counts[list(pairs.languages).index("en")]
    found = choose_thresholds(BalanceRule(t=30.0, language="language"), pairs, counts)
    share = of_en[of_en < 30].sum() / of_en.sum()
    ordered = np.sort(counts[list(pairs.languages).index("de")])
    ordered = ordered[ordered > 0]
    nearest = ordered[np.abs(ordered.cumsum() / ordered.sum() - share).argmin()]
    assert dict(zip(pairs.languages, found, strict=True)) == {"en": 30.0, "de": nearest}
    t = choose_thresholds(BalanceRule(target=150), PAIRS, count_matches(PAIRS))[0]
    assert sum(chance(count_to_prob(COUNTS, t), matches) for matches in MATCHES) == pytest.approx(150, abs=1e-6)


def test_preselection_weights_and_chances():
    # docs/rebuild.md: counts weigh each survivor by 1 / P_pre; P of both phases as thresholds.py says it
    p_pre = count_to_prob(COUNTS, 30.0)
    pre = np.array([chance(p_pre, matches) for matches in MATCHES])
    kept = np.flatnonzero(RNG.random(500) < pre)
    again = [sorted({*MATCHES[i], int(RNG.integers(ENTRIES))}) for i in kept]  # new captions match an entry more
    uids = [UIDS[i] for i in kept]
    pairs, preselected = pairs_of(again, uids), pairs_of([MATCHES[i] for i in kept], uids)
    counts = count_matches(pairs, 1 / pre[kept])[0]
    expected = [sum(1 / pre[i] for i, matches in zip(kept, again, strict=True) if e in matches) for e in range(ENTRIES)]
    np.testing.assert_allclose(counts, expected, atol=1e-3)  # weights are whole units of 2**-20
    p = count_to_prob(counts, 8.0)
    limits = PreselectionLimits(chances=pre[kept], limits=earlier_limits(pairs, preselected, p_pre[None]))
    found = stay_chances(pairs, p[None], limits)
    for i, matches, value in zip(kept, again, found, strict=True):
        known = 1 - np.prod([1 - min(p[e], p_pre[e]) for e in matches if e in MATCHES[i]])
        new = np.prod([1 - p[e] for e in matches if e not in MATCHES[i]])
        assert value == pytest.approx(pre[i] - (pre[i] - known) * new, abs=1e-12)


def test_source_mixing():
    # own rule (docs/rebuild.md): draws below the weight; with shares, the largest mix that every source can give
    sources = pa.array([("web", "books", "photos", "web")[place % 4] for place in range(500)])
    rules = {"web": SourceRule(weight=0.5, share=0.5), "books": SourceRule(share=0.3), "photos": SourceRule(share=0.2)}
    found = mix_sources(pa.array(UIDS), sources, rules, seed=2)
    drawn = np.array([draw(seed=2, step="mix_sources", uid=uid, entry="") for uid in UIDS])
    names = np.array(sources.to_pylist())
    usable = {name: np.sort(drawn[(names == name) & (drawn < rule.probability)]) for name, rule in rules.items()}
    size = min(len(usable[name]) / rule.share for name, rule in rules.items())
    for name, rule in rules.items():
        first = usable[name][: math.floor(size * rule.share + 1e-9)]
        kept = np.array(found.decisions.kept.to_pylist())[names == name]
        assert np.array_equal(np.sort(drawn[names == name][kept]), first)


def test_clip_score_threshold():
    # mlfoundations/datacomp baselines/apply_filter.py get_threshold, 4a8df19: -np.sort(-x)[int(n * fraction)]
    scores = RNG.integers(0, 40, 101) / 100
    for fraction in (0.01, 0.3, 0.999):
        expected = -np.sort(-scores)[int(len(scores) * fraction)]
        assert resolve_threshold(pa.array(scores), Align(keep_top=fraction)) == expected


def test_caption_scores():
    # jmhessel/clipscore clipscore.py, 1036465: 2.5 max(cos, 0); harmonic mean with the nearest reference's (w = 1)
    cosines, references = RNG.uniform(-0.2, 0.9, (2, 50))
    clip, ref = 2.5 * np.clip(cosines, 0, None), np.clip(references, 0, None)
    np.testing.assert_allclose(clip_scores(cosines), clip, atol=1e-12)
    both = (clip > 0) & (ref > 0)
    expected = np.where(both, 2 * clip * ref / np.where(both, clip + ref, 1), 0)
    np.testing.assert_allclose(ref_clip_scores(cosines, references), expected, atol=1e-12)


@pytest.mark.parametrize(("by", "weight"), [("score", 0.0), ("reward", 1.5)])
def test_choice_of_captions(by, weight):
    # j-min/CLIP-Caption-Reward captioning/utils/rewards.py, ca5fe53, *_clips_grammar.yml: 2 CLIP-S + p(grammar)
    score, grammar = np.round(RNG.uniform(0, 0.5, (2, 40, 3)), 4)
    origins = ["original", "a", "b"]
    rows = [
        {"uid": UIDS[i], "caption": f"caption {i} {o}", "origin": o, "sample": 0, "request_id": "", "refused": ""}
        | {
            "score": score[i, j],
            "judged": None,
            "ref_clip_score": None,
            "grammar": grammar[i, j],
            "flags": [],
            "unseen": None,
        }
        for i in range(40)
        for j, o in enumerate(origins)
    ]
    offered = pa.Table.from_pylist(rows, CANDIDATES)
    chosen = choose_captions(pa.array(UIDS[:40]), offered, ChoiceRule(by=by, grammar=weight))
    value = score if by == "score" else 2.0 * 2.5 * np.maximum(score, 0) + weight * grammar
    assert chosen.chosen["caption_origin"].to_pylist() == [origins[j] for j in value.argmax(axis=1)]


def test_pointwise_mutual_information():
    # nltk BigramAssocMeasures.pmi, as MetaCLIP v1 takes it: log2(n_ii * N) - log2(n_ix * n_xi)
    words = {"red": 40, "bird": 25, "old": 9}
    pairs = {"red bird": 12, "old bird": 2}
    tables = [pa.table({"entry": [*t], "count": pa.array([*t.values()], pa.int64())}) for t in (pairs, words)]
    found = pair_pmi(*tables, 1000).to_pylist()
    both = [(words[a], words[b]) for a, b in map(str.split, pairs)]
    expected = [math.log2(n * 1000) - math.log2(a * b) for (a, b), n in zip(both, pairs.values(), strict=True)]
    assert found == pytest.approx(expected, abs=1e-9)


def test_relevance_and_its_interval():
    # Wilson 1927; shubhamprshr27/NeglectedTailsVLM llama_miner.py, 1ca33df: 1000 seen and 200 yes, or the limit
    z, p, n = 1.959963984540054, 0.3, 47
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = ((centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n))
    assert wilson_interval(p, n) == pytest.approx(expected, abs=1e-12)
    answers, rows = RNG.random(30) < 0.4, RNG.integers(1, 5, 30)
    found = estimate_relevance(answers.tolist(), rows.tolist())
    assert found.share == pytest.approx(np.repeat(answers, rows).mean(), abs=1e-12)
    assert found.effective == pytest.approx(rows.sum() ** 2 / (rows**2).sum(), abs=1e-12)
    judged = [(999, 500), (1000, 199), (1000, 200), (10_000, 0)]
    assert [JudgingRule().is_enough(*seen) for seen in judged] == [False, False, True, True]


def test_most_frequent_name():
    # REAL (arXiv:2401.12425): the name with the most captions; relaxed: but for names of fewer of the same words
    counts = {"tiger cat": 9, "cat": 90, "Felis tigrina": 12}
    assert most_frequent_name("tiger cat", counts, rule="strict") == max(counts, key=counts.get)
    allowed = {name: n for name, n in counts.items() if not set(name.lower().split()) < {"tiger", "cat"}}
    assert most_frequent_name("tiger cat", counts) == max(allowed, key=allowed.get)


def test_unseen_limits():
    # own rule: half of the sample is nearer; said of concepts whose own pictures win by Mann-Whitney
    cosines = RNG.normal(size=(4, 60)) / 10
    named = [np.arange(10), np.arange(5, 25), np.arange(12), np.arange(3)]
    cosines[0, :10] += 0.2
    cosines[1, 5:25] += 0.1
    found = recognised_limits(cosines, named)
    for row, own, limit in zip(cosines, named, found, strict=True):
        others = np.delete(row, own)
        n, m = len(own), len(others)
        lower = mannwhitneyu(row[own], others).statistic / (n * m) - 1.6449 * math.sqrt((n + m + 1) / (12 * n * m))
        expected = np.sort(row)[::-1][30] if lower > 0.6 else np.nan
        assert limit == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert not np.isnan(found[:2]).any()


def test_linked_records():
    # dell-research-harvard/clippings infer_clippings.py, 16e3cd0: im_wt * image + (1 - im_wt) * text, unit rows
    images, texts = RNG.normal(size=(2, 20, 6))
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts))
    mixed = 0.636 * a + 0.364 * b
    expected = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    assert np.array_equal(mix(images, texts, weight=0.636), expected.astype(np.float16))
    records, truth = RNG.integers(6, size=(2, 40))
    same, true = (np.triu(codes[:, None] == codes[None], 1) for codes in (records, truth))
    found = judge_records(records, truth.astype(str), np.arange(40).astype(str))
    assert found.ari == pytest.approx(adjusted_rand_score(truth, records), abs=1e-12)
    assert found.precision == pytest.approx((same & true).sum() / same.sum(), abs=1e-12)
    assert found.recall == pytest.approx((same & true).sum() / true.sum(), abs=1e-12)


def test_clusters():
    # MLCD (arXiv:2407.17331): the nearest centres; entropy over ln k, exp of it, and Gini's half mean difference
    drawn = RNG.normal(size=(38, 5))
    rows, centres = np.split(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), [30])
    found, cosines = nearest_clusters(rows.astype(np.float32), centres.astype(np.float32), 3)
    scores = np.round(rows @ centres.T, 4)
    assert np.array_equal(found, np.argsort(-scores, axis=1, kind="stable")[:, :3])
    np.testing.assert_allclose(cosines, np.take_along_axis(scores, found, axis=1), atol=1e-12)
    balance_of = measure_balance(found[:, 0], 8)
    sizes = np.bincount(found[:, 0], minlength=8)
    assert balance_of.entropy == pytest.approx(entropy(sizes) / math.log(8), abs=1e-12)
    assert balance_of.effective == pytest.approx(math.exp(entropy(sizes)), abs=1e-12)
    gini = np.abs(sizes[:, None] - sizes[None]).mean() / (2 * sizes.mean())
    assert balance_of.gini == pytest.approx(gini, abs=1e-12)
