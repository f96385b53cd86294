import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.balance.source_mixing import SourceRule
from evenly.curation.draws import draw
from evenly.curation.errors import RuleError
from tests.curation.balance.whole_inputs import mix_sources

N = 400
UIDS = pa.array(sorted(f"{number * 7919 % 104729:032x}" for number in range(N)))
SOURCES = pa.array([("web", "books", "photos", "web")[number % 4] for number in range(N)])


def mixed(seed=1, uids=UIDS, sources=SOURCES, **rules):
    return mix_sources(uids, sources, {name: SourceRule(**rule) for name, rule in rules.items()}, seed=seed)


def kept(found, source=None):
    rows = zip(UIDS.to_pylist(), SOURCES.to_pylist(), found.decisions.kept.to_pylist(), strict=True)
    return {uid for uid, name, stays in rows if stays and source in (None, name)}


def test_a_weight_keeps_a_pair_by_its_own_draw_and_leaves_other_sources_alone():
    found = mixed(web={"weight": 0.3})
    for uid, source, value, threshold, reason in zip(
        UIDS.to_pylist(), SOURCES.to_pylist(), found.decisions.value.to_pylist(), found.thresholds.to_pylist(),
        found.decisions.reason.to_pylist(), strict=True,
    ):  # fmt: skip
        if source != "web":
            assert (value, threshold, reason) == (None, None, "")
            continue
        assert value == draw(seed=1, step="mix_sources", uid=uid, entry="")
        assert (threshold, reason) == (0.3, "" if value < 0.3 else "weight")


def test_a_quota_takes_the_smallest_draws_and_its_threshold_parts_them():
    found = mixed(web={"quota": 50}, books={"quota": 1000})
    assert len(kept(found, "web")) == 50
    assert len(kept(found, "books")) == 100
    for value, threshold, reason in zip(
        found.decisions.value.to_pylist(), found.thresholds.to_pylist(), found.decisions.reason.to_pylist(), strict=True
    ):
        assert value is None or (value < threshold) == (reason == "")
    assert found.sources.select(["source", "pairs", "limit", "kept"]).to_pylist() == [
        {"source": "books", "pairs": 100, "limit": 1000, "kept": 100},
        {"source": "web", "pairs": 200, "limit": 50, "kept": 50},
    ]


def test_weight_comes_before_quota_and_each_pair_says_which_it_was():
    found = mixed(web={"weight": 0.5, "quota": 20})
    counts = {reason: found.decisions.reason.to_pylist().count(reason) for reason in ("weight", "quota")}
    assert len(kept(found, "web")) == 20
    assert counts["weight"] == len(kept(mixed(), "web")) - len(kept(mixed(web={"weight": 0.5}), "web"))
    assert counts["weight"] + counts["quota"] == 180


def test_shares_make_the_largest_mix_that_the_scarcest_source_allows():
    found = mixed(web={"share": 0.5}, books={"share": 0.4}, photos={"share": 0.1})
    assert [len(kept(found, name)) for name in ("web", "books", "photos")] == [125, 100, 25]
    assert found.limiting == "books"
    bounded = mixed(web={"share": 0.5, "quota": 50}, books={"share": 0.4}, photos={"share": 0.1})
    assert [len(kept(bounded, name)) for name in ("web", "books", "photos")] == [50, 40, 10]
    assert bounded.limiting == "web"
    assert {*bounded.decisions.reason.to_pylist()} == {"", "quota", "share"}


@given(st.lists(st.integers(1, 250), min_size=2, max_size=2), st.integers(0, 5))
def test_a_larger_quota_keeps_all_that_a_smaller_one_kept(quotas, seed):
    small, large = (kept(mixed(seed=seed, web={"quota": quota}), "web") for quota in sorted(quotas))
    assert small <= large


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=2))
def test_a_larger_weight_keeps_all_that_a_smaller_one_kept(weights):
    small, large = (kept(mixed(web={"weight": weight}), "web") for weight in sorted(weights))
    assert small <= large


@given(st.sets(st.integers(0, N - 1), min_size=1))
def test_a_weight_decides_the_same_of_a_pair_whatever_other_pairs_there_are(rows):
    some = pa.array(sorted(rows))
    found = mixed(uids=UIDS.take(some), sources=SOURCES.take(some), web={"weight": 0.4})
    assert found.decisions.reason.equals(mixed(web={"weight": 0.4}).decisions.reason.take(some))


@pytest.mark.parametrize(
    ("rule", "message"),
    [({"weight": 0}, "`weight` must be above 0"), ({"share": 1.5}, "`share` must be above 0 and at most 1; got 1.5"),
     ({"quota": 0}, "`quota` must be at least 1; got 0")],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(rule, message):
    with pytest.raises(RuleError, match=message):
        SourceRule(**rule)


def test_a_share_of_a_source_that_has_no_pair_is_refused():
    with pytest.raises(RuleError, match="`none` has none left"):
        mixed(web={"share": 0.5}, none={"share": 0.5})
