"""The contract of a step: what it says of itself, and what it must keep, tried on a small pool of captions.

A step that judges by the ledger alone has a subclass of `StepContract` in its own test file.
"""

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.audit.replay import deciding_rule, replay_step
from evenly.audit.verify import check_verdicts
from evenly.audit.what_if import SupposedStep, suppose
from evenly.curation.errors import RuleError
from evenly.curation.step import Judgement
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.pools.source import PoolSource
from evenly.storage.tables.arrow_files import write_table
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import InProcess
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.collect import COLLECT, CollectRule
from evenly.tasks.run import Run
from evenly.tasks.stage import run_steps
from evenly.tasks.step import ledger_step
from tests.tasks.whole_rebuild import publish

PAIRS = 60


def steps_with_contract() -> set[str]:
    """The names of the steps that have a subclass of `StepContract`: their judgements are called as they are."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    return {name.lower() for name in re.findall(r"^    judgement = (\w+)$", tests, re.MULTILINE)}


def findings(workspace: Workspace, manifest: Mapping[str, Any]) -> set[str]:
    """Where verdicts of a build come out otherwise."""
    return {finding.where for finding in check_verdicts(PublishedBuild(workspace, manifest), seed=1)}


def rewrite(ledger: Ledger, record: StepRecord, name: str, change: Any) -> None:  # noqa: ANN401 - a function of a table
    """Store `change` of a table under the name of the one it replaces, as somebody would who covers their tracks."""
    table = ledger.table(record, name)
    (digest,) = record.layout[name].parts.values()
    write_table(ledger.workspace.ledger / record.name / f"{name}-{digest[:32]}.arrow", change(table))


def with_row(table: pa.Table, row: int, **values: object) -> pa.Table:
    """The table with other values in a row."""
    for name, value in values.items():
        cells = table[name].to_pylist()
        cells[row] = value
        place, kind = table.column_names.index(name), table.schema.field(name).type
        table = table.set_column(place, name, pa.array(cells, kind))
    return table


def flipped(table: pa.Table, row: int) -> pa.Table:
    """The table with the other verdict in a row."""
    if table["verdict"][row].as_py() == "kept":
        return with_row(table, row, verdict="dropped", reason="taken_out")
    return with_row(table, row, verdict="kept", reason="", into=None)


class StepContract:
    """Tests of `judgement` by `rule`, which must keep some pairs of the pool and refuse others.

    others: rules that together differ from it in each field, which `what-if` is asked for (`others: ClassVar = [...]`).
    columns: further columns of the pool, by name; their values come in turn, row by row (`columns: ClassVar = {...}`).
    """

    judgement: ClassVar[Judgement]
    rule: ClassVar[Any]
    others: ClassVar[Sequence[Any]]
    columns: ClassVar[Mapping[str, Sequence[Any]]] = {}

    def judged(
        self,
        root: Path,
        *,
        pairs: int = PAIRS,
        seed: int = 3,
        bits: int = 0,
        rule: Any = None,  # noqa: ANN401 - of the step's own class
    ) -> tuple[Run, list[StepRecord]]:
        """A run over the pool's first pairs, and its records: of what collects, and of the step."""
        pool = root.parent / f"pool-{pairs}.jsonl"
        rows = [
            {"caption": f"a caption of number {n}", "url": f"https://a.test/{n}.png"}
            | {name: values[n % len(values)] for name, values in self.columns.items()}
            for n in range(pairs)
        ]
        pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = PoolSource(kind="jsonl", path=str(pool), name="pool")
        run = Run(workspace=Workspace.at(root), seed=seed, sources=(source,), progress=Progress(quiet=True), bits=bits)
        steps = [(COLLECT, CollectRule(limit=None)), (ledger_step(self.judgement), rule or self.rule)]
        return run, list(run_steps(run, steps, InProcess(run=run)))

    def decisions(self, root: Path, **pool: int) -> pa.Table:
        """The decisions of the step."""
        run, records = self.judged(root, **pool)
        return run.ledger.decisions(records[-1])

    def test_it_keeps_pairs_and_refuses_others_and_counts_each_once(self, tmp_path):
        run, (collected, record) = self.judged(tmp_path / "w")
        table = run.ledger.decisions(record)
        assert table["uid"].equals(run.ledger.alive([collected], [])["uid"])
        reasons = pc.equal(table["reason"], "").to_pylist()
        assert reasons == pc.equal(table["verdict"], "kept").to_pylist()
        assert {*reasons} == {True, False}

    def test_eight_partitions_give_what_one_does(self, tmp_path):
        whole, parts = (self.judged(tmp_path / str(bits), bits=bits) for bits in (0, 3))
        for name in whole[1][-1].hashes:
            tables = [run.ledger.table(records[-1], name) for run, records in (whole, parts)]
            key = [(column, "ascending") for column in ("uid",) if column in tables[0].column_names]
            assert tables[0].sort_by(key).equals(tables[1].sort_by(key)) if key else tables[0].equals(tables[1]), name

    def test_after_a_small_change_it_gives_what_it_gives_from_nothing(self, tmp_path):
        self.judged(tmp_path / "changed", pairs=PAIRS - 1)
        assert self.decisions(tmp_path / "changed").equals(self.decisions(tmp_path / "new"))

    def test_another_seed_gives_the_same_unless_it_draws(self, tmp_path):
        tables = [self.decisions(tmp_path / str(seed), seed=seed) for seed in (3, 4)]
        assert tables[0].equals(tables[1]) != self.judgement.seeded

    def test_a_column_of_the_pool_is_never_replaced(self, tmp_path):
        run, (collected, record) = self.judged(tmp_path / "w")
        own = {*run.ledger.decisions(record).column_names} - {"uid", "verdict", "reason", "value", "into"}
        for name in own:
            self.columns = {**type(self).columns, name: [0.5]}
            with suppress(RuleError):
                run, (collected, record) = self.judged(tmp_path / name)
                assert name not in collected.columns  # it is called otherwise there

    def test_workers_can_be_given_it(self, tmp_path):
        run, records = self.judged(tmp_path / "w")
        step = ledger_step(self.judgement)
        facts = step.resolve(run, records[:1], self.rule, InProcess(run=run))
        judge, again = pickle.loads(pickle.dumps((step.judge, facts)))  # noqa: S301 - our own
        assert judge(run, records[:1], self.rule, again).decisions.equals(run.ledger.decisions(records[-1]))

    def test_every_pair_is_judged_again_and_a_changed_verdict_is_seen(self, tmp_path):
        run, records = self.judged(tmp_path / "w")
        manifest, record = publish(run, records), records[-1]
        assert findings(run.workspace, manifest) == set()
        build, table = PublishedBuild(run.workspace, manifest), run.ledger.decisions(record)
        replays = [replay_step(build, uid, record) for uid in table["uid"].to_pylist()]
        assert [replay for replay in replays if not replay.agrees or not replay.detail] == []
        for kept in (True, False):
            row = int(np.flatnonzero(pc.equal(pc.equal(table["verdict"], "kept"), kept).to_numpy())[0])
            rewrite(run.ledger, record, "decisions", lambda _, row=row: flipped(table, row))
            assert findings(run.workspace, manifest) == {record.name}
            build = PublishedBuild(run.workspace, manifest)
            assert replay_step(build, table["uid"][row].as_py(), record).agrees is False

    def test_the_part_of_its_rule_that_refused_a_pair_is_named(self, tmp_path):
        run, records = self.judged(tmp_path / "w")
        pairs = run.ledger.decisions(records[-1]).to_pylist()
        assert [pair for pair in pairs if pair["verdict"] != "kept" and not deciding_rule(records[-1], pair)] == []

    def test_what_if_says_what_another_rule_then_does_for_each_field(self, tmp_path):
        run, records = self.judged(tmp_path / "w")
        build, step = PublishedBuild(run.workspace, publish(run, records)), ledger_step(self.judgement)
        differing = set()
        for rule in self.others:
            differing |= {one.name for one in fields(rule) if getattr(rule, one.name) != getattr(self.rule, one.name)}
            collected = SupposedStep(name="collect", rule=records[0].rule, seed=run.seed)
            said = suppose(build, [collected, SupposedStep(name=step.name, rule=step.stored(rule), seed=run.seed)])
            _, (_, record) = self.judged(tmp_path / "w", rule=rule)
            assert (said.unknown, list(said.open_steps)) == (0, [])
            assert said.ledger.decisions(said.records[-1]).equals(run.ledger.decisions(record))
        assert differing == {one.name for one in fields(self.rule)}

    def test_a_value_that_is_off_by_a_billionth_is_seen(self, tmp_path):
        run, records = self.judged(tmp_path / "w")
        manifest, table = publish(run, records), run.ledger.decisions(records[-1])
        rows = np.flatnonzero(table["value"].is_valid().to_numpy())
        if len(rows):
            other = table["value"][int(rows[0])].as_py() + 1e-9
            rewrite(run.ledger, records[-1], "decisions", lambda table: with_row(table, int(rows[0]), value=other))
            assert findings(run.workspace, manifest) >= {records[-1].name}
