"""A rebuild in any number of partitions, by any number of workers, gives the same build."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from evenly.audit.verify import verify_build
from evenly.storage.tables import hashing as content_of_tables
from evenly.tasks.engine import InProcess
from evenly.tasks.stage import run_steps
from tests.few_examples import few
from tests.tasks.whole_rebuild import RULES, STEPS, open_run, publish, rows


def rebuild(run, bits, *, steps=STEPS, rules=RULES, each=InProcess):
    """The records of the steps in 2**bits partitions, and the manifest of the build."""
    cut = replace(run, bits=bits)
    chosen = [(step, step.read(rules[step.name])) for step in steps]
    workers = each(run=cut)
    records = run_steps(cut, chosen, workers)
    return records, publish(cut, records, engine=workers)


def content(records) -> list[tuple]:
    return [(record.name, record.output_hash, record.counts, record.reasons) for record in records]


@pytest.mark.parametrize("bits", [2, *(pytest.param(bits, marks=pytest.mark.slow) for bits in (1, 3, 6))])
@pytest.mark.usefixtures("colour_words")
def test_every_step_gives_the_same_in_any_number_of_partitions(rebuilt_once, tmp_path, bits):
    records, manifest = rebuild(open_run(tmp_path / "w", rows()), bits)
    assert content(records) == content(rebuilt_once.records)
    assert manifest["content_hash"] == rebuilt_once.manifest["content_hash"]
    assert [record.bits for record in records if "decisions" in record.hashes] == [bits] * (len(records) - 1)


@pytest.mark.slow
@pytest.mark.usefixtures("colour_words")
def test_a_build_in_partitions_has_no_findings(tmp_path, monkeypatch):
    monkeypatch.setattr(content_of_tables, "LEAF", 5)
    run = open_run(tmp_path / "w", rows())
    _, manifest = rebuild(run, 3)
    assert verify_build(run.workspace, manifest) == []


@pytest.mark.usefixtures("colour_words")
def test_a_run_that_died_between_partitions_takes_over_those_that_were_done(tmp_path, rebuilt_once):
    run = replace(open_run(tmp_path / "w", rows()), bits=2)
    judged = []

    class Dying(InProcess):
        def partitions(self, title, function):
            def counted(part_run):
                if title.startswith("collect") and part_run.part.number == 3 and not judged:
                    judged.append(title)
                    raise KeyboardInterrupt
                return function(part_run)

            return super().partitions(title, counted)

    with pytest.raises(KeyboardInterrupt):
        rebuild(run, 2, each=Dying)
    stored = {path.name: path.stat().st_mtime_ns for path in (run.workspace.steps / "parts").rglob("*.json")}
    assert stored
    records, manifest = rebuild(run, 2)
    assert content(records) == content(rebuilt_once.records)
    assert manifest["content_hash"] == rebuilt_once.manifest["content_hash"]
    parts = {path.name: path.stat().st_mtime_ns for path in (run.workspace.steps / "parts").rglob("*.json")}
    assert {name: parts[name] for name in stored} == stored
    assert not list(run.workspace.exchange.iterdir())


@pytest.mark.usefixtures("colour_words")
def test_rows_that_did_not_change_are_taken_over_in_every_partition(tmp_path, rebuilt_once):
    run = open_run(tmp_path / "w", rows()[1:])
    rebuild(run, 2)
    (tmp_path / "more").mkdir()
    more = open_run(tmp_path / "more" / "w", rows())
    wider = replace(more, workspace=run.workspace)
    for name in ("concepts.txt", "domains.txt"):
        assert (run.workspace.root / name).exists()
    records, manifest = rebuild(wider, 2)
    work = {record.name: record.work for record in records if record.work}
    assert work["check_texts"] == {"computed": 1, "reused": 22}
    assert work["match_concepts"]["computed"] == 1
    assert content(records) == content(rebuilt_once.records)
    assert manifest["content_hash"] == rebuilt_once.manifest["content_hash"]


ONE_TEXT = {"target": 6, "texts": "one_per_image"}
RULES_OF_SHARES = {"pool": {"quota": 11}}


@pytest.mark.parametrize("rule", [{"t": 2.0}, {"tail_share": 0.3}, {"target": 9}, {"t": 2.0, "law": "v2"}, ONE_TEXT])
@pytest.mark.parametrize("bits", [2, *(pytest.param(bits, marks=pytest.mark.slow) for bits in (1, 4))])
def test_every_way_to_choose_a_threshold_is_the_same_in_partitions(tmp_path, rule, bits):
    rules = RULES | {"preselect": rule | {"headroom": 1.5}, "mix_sources": {"sources": RULES_OF_SHARES}}
    steps, kept = STEPS[:6], []
    pool = [*rows(), *(replace(rows()[place], caption=f"a red and blue owl {place}") for place in (0, 9, 11))]
    for chosen_bits in (0, bits):
        folder = tmp_path / str(chosen_bits)
        folder.mkdir()
        run = open_run(folder / "w", pool)
        chosen = [(step, step.read(rules[step.name])) for step in steps]
        cut = replace(run, bits=chosen_bits)
        records = run_steps(cut, chosen, InProcess(run=cut))
        kept.append(content(records))
        assert "texts" not in rule or run.ledger.table(records[-1], "texts").num_rows > 1
        assert not chosen_bits or not list(run.exchange.iterdir())
    assert kept[0] == kept[1]


@few(3, most=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(24)), bits=st.integers(1, 4), limit=st.sampled_from([None, 5, 17]))
@pytest.mark.parametrize("more_bits", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_order_of_rows_cut_and_limit_change_nothing_but_what_they_say(tmp_path_factory, order, bits, limit, more_bits):
    pool, results = rows(), []
    for chosen_bits, chosen in ((0, pool), (bits + more_bits, [pool[place] for place in order])):
        run = replace(open_run(tmp_path_factory.mktemp("order") / "w", chosen), bits=chosen_bits)
        steps = [
            (step, step.read(RULES[step.name] | ({"limit": limit} if step.name == "collect" else {})))
            for step in STEPS[:6]
        ]
        records = run_steps(run, steps, InProcess(run=run))
        results.append(content(records[1:]))
    assert results[0] == results[1]


@pytest.mark.parametrize("bits", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("colour_words")
def test_rows_without_a_uid_enter_the_hash_of_a_table_that_is_larger_than_a_leaf(tmp_path, monkeypatch, bits):
    """They are sent by what they say, and must be looked for by the same."""
    monkeypatch.setattr(content_of_tables, "LEAF", 3)
    arrivals = []
    for cut in (0, bits):
        folder = tmp_path / str(cut)
        folder.mkdir()
        run = replace(
            open_run(folder / "w", [*rows(), *(replace(rows()[0], name=f"n{n}", caption=None) for n in range(9))]),
            bits=cut,
        )
        (record,) = run_steps(run, [(STEPS[0], STEPS[0].read(RULES["collect"]))], InProcess(run=run))
        assert run.ledger.table(record, "arrivals")["uid"].null_count >= 9
        arrivals.append((record.hashes["arrivals"], run.ledger.content_of(record, "arrivals")))
    assert arrivals[0] == arrivals[1]
