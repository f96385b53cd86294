"""`evenly demo`: the whole job, then how well the faults were found that the demo's web has on purpose."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evenly.adapters.evaluation.tables import lost_on_test
from evenly.curation.captions.judgement import RECAPTION
from evenly.curation.duplicates.judgement import DEDUPLICATE_PERCEPTUAL
from evenly.curation.filters import CHECK_TEXTS
from evenly.demo.truth import compare_with_truth
from evenly.flows.cli.datasets.outcome import adapter_rows
from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.flows.recipe.files import DEMO
from evenly.flows.runs import as_flow
from evenly.signatures import Place
from evenly.storage.builds import funnel_of, open_build
from evenly.storage.files.identities import default_cache
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.workspace import Workspace
from evenly.tasks.verify_and_report import report_of


def run_demo(*, root: Place | None = None, workers: int | None = None) -> dict[str, Any]:
    """Run `recipes/demo.yaml`, compare with the truth file, write the report; what there is to tell."""
    build = as_flow(rebuild_dataset)(str(DEMO), root=None if root is None else str(root), workers=workers)
    workspace, manifest = open_build(build, root=root)
    truth = faults_found(workspace, manifest, pq.read_table(default_cache() / "demo" / "truth.parquet"))
    report, _ = report_of(workspace, manifest, truth)
    adapters = adapter_rows(workspace, manifest)
    return {
        "build": build,
        "content_hash": manifest["content_hash"],
        "report": str(report),
        "funnel": funnel_of(manifest),
        "adapters": adapters,
        "lost_on_test": lost_on_test(adapters),
        "truth": truth,
        "examples": examples_of(workspace, manifest),
    }


def faults_found(workspace: Workspace, manifest: Mapping[str, Any], truth: pa.Table) -> list[dict[str, Any]]:
    """How well a build found the faults of its pool, one row per fault, against a truth that no step has read."""
    records = _records(workspace, manifest)
    return compare_with_truth(_verdicts(workspace, records), _original_scores(workspace, records), truth)


def _records(workspace: Workspace, manifest: Mapping[str, Any]) -> list[StepRecord]:
    records = (Ledger(workspace).find(step["key"]) for step in manifest["steps"])
    return [record for record in records if record is not None]


def _verdicts(workspace: Workspace, records: list[StepRecord]) -> pa.Table:
    """Every decision of every step, with the pair's URL and caption."""
    ledger = Ledger(workspace)
    pairs = ledger.decisions(records[0], ["uid", "url", "caption"])
    tables = []
    for record in records:
        if "decisions" in record.hashes:
            table = ledger.decisions(record, ["uid", "verdict", "reason", "value", "into"])
            table = table.append_column("step", pa.repeat(pa.scalar(record.name), table.num_rows))
            index = pc.index_in(table["uid"], pairs["uid"].combine_chunks())
            for name in ("url", "caption"):
                table = table.append_column(name, pairs[name].take(index))
            tables.append(table)
    return pa.concat_tables(tables)


def _original_scores(workspace: Workspace, records: list[StepRecord]) -> pa.Table:
    """The image-text score of each pair's original caption."""
    ledger = Ledger(workspace)
    recaption = next(record for record in records if record.name == RECAPTION.name)
    return ledger.table(recaption, "candidates", ["uid", "score"], pc.field("origin") == "original")


def examples_of(workspace: Workspace, manifest: Mapping[str, Any]) -> dict[str, str]:
    """One uid of each kind, to try `evenly why` on: the first by uid."""
    ledger = Ledger(workspace)
    records = _records(workspace, manifest)
    by_name = {record.name: record for record in records if "decisions" in record.hashes}
    wanted = {
        "kept": (list(by_name)[-1], pc.field("verdict") == "kept"),
        "dropped": (CHECK_TEXTS.name, pc.field("verdict") == "dropped"),
        "merged": (DEDUPLICATE_PERCEPTUAL.name, pc.field("verdict") == "merged"),
        "recaptioned": (RECAPTION.name, pc.field("caption_origin") == "retrieved"),
    }
    examples = {}
    for kind, (step, condition) in wanted.items():
        uids = ledger.decisions(by_name[step], ["uid"], condition)["uid"] if step in by_name else []
        if len(uids):
            examples[kind] = uids[0].as_py()
    return examples
