"""The pool of the demo's web: which pairs there are, with which fault, and what the server answers for each.

All of it follows from the list of pictures and a seed; no picture is drawn or read here. A pair's fault is chosen by
hash, and a pair has one fault at most.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from evenly.demo.answers import Answer
from evenly.demo.captions import EMPTY, boilerplate_caption, foreign_caption, good_caption, web_caption
from evenly.demo.draws import DEMO_SEED, demo_draw, lowest, pick, shares
from evenly.demo.faults import FAULTS, ODD_SHARE, ODDITIES, PAIRS_PER_PICTURE
from evenly.demo.names import Name, name_picture, same_subject
from evenly.demo.nouns import head_noun, names_object
from evenly.demo.pictures.variants import Variant
from evenly.demo.places import added_place, host_source, own_place

REPEATED_SHARE = 0.002
"""Pairs that stand in the pool twice, word for word."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row of the truth. `code`: the picture shown at `url`, or the one the dead link claims to show."""

    code: str
    url: str
    alt: str
    fault: str = ""
    detail: str = ""
    twin_url: str = ""
    is_object: bool = False
    copies: int = 1


@dataclass(kw_only=True)
class Plan:
    """A whole web on paper: its pairs, what each URL answers, and the files that must be made for it."""

    seed: int
    names: dict[str, Name]
    pairs: list[Pair] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    variants: list[Variant] = field(default_factory=list)


def plan_pool(codes: Sequence[str], *, seed: int = DEMO_SEED, twins: Mapping[str, str] | None = None) -> Plan:
    """The web that shows the pictures `codes`; `twins` names for a picture the one it cannot be told from."""
    plan = Plan(seed=seed, names={code: name_picture(code) for code in sorted(codes)})
    size = round(len(codes) * PAIRS_PER_PICTURE)
    for code, (fault, detail) in _own_faults(plan, size).items():
        _add_own(plan, code, fault, detail)
    sound = {pair.code: pair for pair in plan.pairs if not pair.fault and describable(plan.names[pair.code])}
    own_urls = {pair.code: pair.url for pair in plan.pairs}
    for fault, kind in FAULTS.items():
        if not kind.first_pair:
            chosen = lowest(sound, max(round(kind.share * size), len(kind.details)), seed, fault)
            for code, detail in zip(chosen, shares(len(chosen), kind.details), strict=True):
                _add_extra(plan, sound[code], fault, detail)
    plan.pairs = [_natural_twin(pair, own_urls, twins or {}) for pair in plan.pairs]
    _repeat_some(plan, size)
    plan.pairs.sort(key=lambda pair: demo_draw(seed, "order", pair.url, pair.alt))
    plan.variants = sorted(set(plan.variants))
    return plan


def describable(name: Name) -> bool:
    """Whether the name's head noun is a word, so that a step which looks at captions can make something of it."""
    noun = head_noun(name.text)
    return len(noun) > 2 and noun.replace("-", "").replace("'", "").isalpha()


def pool_table(plan: Plan) -> pa.Table:
    """The table that the pipeline gets: url, alt, source; a pair with two copies stands again at the end."""
    rows = plan.pairs + [pair for pair in plan.pairs if pair.copies == 2]
    columns = {
        "url": [pair.url for pair in rows],
        "alt": [pair.alt for pair in rows],
        "source": [host_source(pair.url) for pair in rows],
    }
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))


def truth_table(plan: Plan, twins: Mapping[str, str]) -> pa.Table:
    """The truth, which the pipeline never reads: a row per pair, `picture` equal for all that show the same drawing."""
    return pa.table(
        {
            "url": pa.array([pair.url for pair in plan.pairs], pa.string()),
            "alt": pa.array([pair.alt for pair in plan.pairs], pa.string()),
            "fault": pa.array([pair.fault for pair in plan.pairs], pa.string()),
            "detail": pa.array([pair.detail for pair in plan.pairs], pa.string()),
            "twin_url": pa.array([pair.twin_url for pair in plan.pairs], pa.string()),
            "is_object": pa.array([pair.is_object for pair in plan.pairs], pa.bool_()),
            "code": pa.array([pair.code for pair in plan.pairs], pa.string()),
            "picture": pa.array([twins.get(pair.code, pair.code) for pair in plan.pairs], pa.string()),
            "copies": pa.array([pair.copies for pair in plan.pairs], pa.int64()),
        }
    )


def _own_faults(plan: Plan, size: int) -> dict[str, tuple[str, str]]:
    """For each picture the fault and detail of its own pair."""
    seed, names = plan.seed, plan.names
    faults = dict.fromkeys(names, ("", ""))
    unnamed = [code for code in names if not names[code].text]
    unnamed = lowest(unnamed, len(unnamed), seed, "unnamed")
    for code, fault in zip(unnamed, shares(len(unnamed), {"boilerplate": 2, "empty_caption": 1}), strict=True):
        faults[code] = (fault, "unnamed")
    free = lowest([code for code in names if describable(names[code])], len(names), seed, "own faults")
    wanted = [(fault, kind.share, kind.details) for fault, kind in FAULTS.items() if kind.first_pair and kind.share]
    for fault, share, details in [*wanted, ("", ODD_SHARE, ODDITIES)]:
        fit = [code for code in free if fault != "wrong_language" or names[code].foreign]
        chosen = fit[: max(round(share * size), len(details))]
        for code, detail in zip(chosen, shares(len(chosen), details), strict=True):
            faults[code] = (fault, detail)
        free = [code for code in free if code not in set(chosen)]
    return faults


def _add_own(plan: Plan, code: str, fault: str, detail: str) -> None:
    """The pair under which a picture first stands."""
    seed, name = plan.seed, plan.names[code]
    is_object = names_object(name.text)
    if fault == "wrong_caption":
        wrong_code = _other_subject(plan, code)
        alt, is_object = good_caption(plan.names[wrong_code], seed, code), names_object(plan.names[wrong_code].text)
        detail = wrong_code
    elif fault == "wrong_language":
        alt, is_object = foreign_caption(name, seed, code), False
    elif fault == "boilerplate":
        alt, is_object = boilerplate_caption(seed, code), False
    elif fault == "empty_caption":
        alt, is_object = pick(EMPTY, seed, "empty", code), False
    else:
        alt = good_caption(name, seed, code) if fault else web_caption(name, seed, code)
    place = own_place(code, detail if fault in {"", "opted_out"} else "", seed)
    plan.answers |= place.answers
    plan.pairs.append(Pair(code=code, url=place.url, alt=alt, fault=fault, detail=detail, is_object=is_object))


def _other_subject(plan: Plan, code: str) -> str:
    """Another picture whose name would be wrong here: another subject under another head noun."""
    subject, noun = same_subject(code), head_noun(plan.names[code].text)
    candidates = [candidate for candidate, name in plan.names.items() if describable(name)]
    drawn = (pick(candidates, plan.seed, "instead", code, str(attempt)) for attempt in itertools.count())
    return next(
        candidate
        for candidate in drawn
        if same_subject(candidate) != subject and head_noun(plan.names[candidate].text) != noun
    )


def _add_extra(plan: Plan, twin: Pair, fault: str, detail: str) -> None:
    """A further pair for the picture of `twin`, which has no fault."""
    name, seed, code = plan.names[twin.code], plan.seed, twin.code
    place = added_place(code, fault, detail, twin_url=twin.url, seed=seed)
    plan.answers |= place.answers
    plan.variants += place.variants
    is_copy = fault in {"near_duplicate", "exact_duplicate", "same_url"}
    write = web_caption if fault == "same_url" else good_caption
    plan.pairs.append(
        Pair(
            code=code,
            url=place.url,
            alt=write(name, seed, fault, code, avoid=twin.alt),
            fault=fault,
            detail=detail,
            twin_url=twin.url if is_copy else "",
            is_object=twin.is_object,
        )
    )


def _natural_twin(pair: Pair, own_urls: Mapping[str, str], twins: Mapping[str, str]) -> Pair:
    """`pair` marked as a duplicate if its picture is drawn like another one and nothing else is wrong with it."""
    first = twins.get(pair.code, pair.code)
    if pair.fault or first == pair.code:
        return pair
    return replace(pair, fault="natural_duplicate", twin_url=own_urls[first])


def _repeat_some(plan: Plan, size: int) -> None:
    sound = {pair.url: place for place, pair in enumerate(plan.pairs) if not pair.fault and not pair.detail}
    for url in lowest(sound, max(round(REPEATED_SHARE * size), 1), plan.seed, "repeated"):
        plan.pairs[sound[url]] = replace(plan.pairs[sound[url]], copies=2)
