from collections import Counter
from dataclasses import replace

import pytest

from evenly.demo.faults import FAULTS
from evenly.demo.names import name_picture, same_subject
from evenly.demo.nouns import head_noun
from evenly.demo.pictures.openmoji import list_codes
from evenly.demo.pool import plan_pool, pool_table, truth_table


@pytest.fixture(scope="module")
def plan():
    return plan_pool(list_codes())


@pytest.fixture(scope="module")
def counts(plan):
    return Counter(pair.fault for pair in plan.pairs)


def test_the_pool_has_about_six_thousand_pairs_and_all_pictures(plan):
    assert 5800 <= len(plan.pairs) <= 6200
    assert {pair.code for pair in plan.pairs} == set(list_codes())
    assert pool_table(plan).num_rows == sum(pair.copies for pair in plan.pairs) > len(plan.pairs)


@pytest.mark.parametrize(
    ("fault", "share"),
    [
        ("wrong_caption", 0.08),
        ("near_duplicate", 0.10),
        ("exact_duplicate", 0.03),
        ("dead_link", 0.04),
        ("broken_file", 0.02),
        ("opted_out", 0.01),
        ("same_url", 0.065),
        ("wrong_language", 0.025),
    ],
)
def test_share_of_a_fault(counts, fault, share):
    assert counts[fault] / counts.total() == pytest.approx(share, rel=0.05)


def test_every_kind_of_every_fault_occurs(plan):
    found = {(pair.fault, pair.detail) for pair in plan.pairs}
    for name, fault in FAULTS.items():
        if name not in {"wrong_caption", "natural_duplicate"}:
            assert {(name, detail) for detail in fault.details} <= found


def test_a_pair_stands_once_in_the_truth(plan):
    assert len({(pair.url, pair.alt) for pair in plan.pairs}) == len(plan.pairs)


def test_the_same_pictures_give_the_same_web_in_any_order():
    codes = list_codes()[::40]
    one, two = plan_pool(codes), plan_pool(codes[::-1])
    assert one.pairs == two.pairs
    assert one.answers == two.answers
    assert pool_table(one).equals(pool_table(two))
    assert plan_pool(codes, seed=1).pairs != one.pairs


def test_a_wrong_caption_is_that_of_another_subject(plan):
    for pair in plan.pairs:
        if pair.fault == "wrong_caption":
            assert same_subject(pair.detail) != same_subject(pair.code)
            assert name_picture(pair.detail).text in pair.alt
            assert head_noun(name_picture(pair.detail).text) != head_noun(name_picture(pair.code).text)


def test_captions_of_pairs_whose_picture_is_at_fault_pass_any_check_of_texts(plan):
    for pair in plan.pairs:
        kind = FAULTS.get(pair.fault)
        if kind is not None and kind.stage != "text" and pair.fault not in {"same_url", "natural_duplicate"}:
            assert len(pair.alt.split()) >= 3
            assert len(head_noun(name_picture(pair.code).text)) > 2


def test_twins_are_pairs_without_fault(plan):
    by_url = {pair.url: pair for pair in plan.pairs if pair.fault in {"", "natural_duplicate"}}
    for pair in plan.pairs:
        if pair.twin_url:
            assert by_url[pair.twin_url].code == pair.code


def test_a_url_stands_twice_only_for_second_captions(plan):
    urls = Counter(pair.url for pair in plan.pairs if pair.fault != "same_url")
    assert set(urls.values()) == {1}


@pytest.mark.slow
def test_urls_and_captions_stay_when_twins_become_known(plan):
    twins = dict.fromkeys(["1F468-200D-1F33E", "1F9D1-200D-1F33E", "1F9D1-1F3FC-200D-1F33E"], "1F468-200D-1F33E")
    marked = plan_pool(list_codes(), twins=twins)
    assert [replace(pair, fault="", twin_url="") for pair in marked.pairs] == [
        replace(pair, fault="", twin_url="") for pair in plan.pairs
    ]
    assert {pair.code for pair in marked.pairs if pair.fault == "natural_duplicate"} <= set(twins)
    pictures = truth_table(marked, twins).to_pandas().set_index("code")["picture"]
    assert set(pictures[list(twins)]) == {"1F468-200D-1F33E"}


def test_all_that_is_served_lies_where_the_pairs_point(plan):
    served = set(plan.answers)
    silent = {pair.url for pair in plan.pairs} - served
    assert {pair.detail for pair in plan.pairs if pair.url in silent} == {"dns", "connection"}
