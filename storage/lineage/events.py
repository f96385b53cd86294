"""OpenLineage run events (spec 2-0-2) of a rebuild and of its steps, as JSON values, by their records.

A step is a job; what it gave is a dataset of its name in the workspace, whose version is the hash of its result. Facets
of OpenLineage's own say how many rows there are and of whose run it is a part. The rest is in two facets of ours, whose
schemas are in facets.json: rule, model or prompt identity, seed, code and counts per reason of a step; and a build.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from evenly.redaction import without_secrets_in
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.workspace import Workspace

EventType = Literal["START", "COMPLETE", "FAIL", "ABORT"]
SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets/{}#/$defs/{}"
_VERSIONS = {
    "ErrorMessageRunFacet": "1-0-1",
    "ParentRunFacet": "1-2-0",
    "ProcessingEngineRunFacet": "1-1-1",
    "JobTypeJobFacet": "2-0-4",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "DatasetVersionDatasetFacet": "1-0-1",
}
_OWN = "urn:evenly:openlineage:1#/$defs/{}"
Facet = dict[str, Any]
Dataset = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LineageRun:
    """A rebuild as events name it: its run, its recipe, and the workspace, whose address is the namespace."""

    run: UUID
    recipe: str
    namespace: str
    version: str = "unknown"

    @classmethod
    def of(cls, workspace: Workspace, recipe: str, run: UUID, version: str | None) -> "LineageRun":
        """The run of a recipe's rebuild in a workspace by a version of evenly."""
        root = workspace.root
        namespace = str(root) if isinstance(root, ObjectPath) else root.absolute().as_uri()
        return cls(run=run, recipe=recipe, namespace=namespace, version=version or "unknown")

    @property
    def producer(self) -> str:
        """The URI of what makes the events."""
        return f"urn:evenly:{self.version}"

    def step_run(self, step: str) -> UUID:
        """The run of a step in this rebuild."""
        return uuid5(self.run, step)

    def facet(self, kind: str, /, **fields: Any) -> Facet:  # noqa: ANN401 - JSON values
        """A facet of OpenLineage, or one of evenly's own."""
        version = _VERSIONS.get(kind)
        url = _OWN.format(kind) if version is None else _FACETS.format(f"{version}/{kind}.json", kind)
        stated = {field: value for field, value in fields.items() if value is not None}
        return {"_producer": self.producer, "_schemaURL": url, **stated}

    def dataset(self, name: str, version: str, **facets: Facet) -> Dataset:
        """A dataset of the recipe, by its name and the version that is meant."""
        facet = self.facet("DatasetVersionDatasetFacet", datasetVersion=version)
        return {"namespace": self.namespace, "name": f"{self.recipe}/{name}", "facets": {"version": facet, **facets}}

    def event(
        self,
        kind: EventType,
        time: str,
        step: str | None = None,
        *,
        facets: Mapping[str, Facet] | None = None,
        inputs: Sequence[Dataset] = (),
        outputs: Sequence[Dataset] = (),
    ) -> dict[str, Any]:
        """An event of the rebuild, or of one of its steps; without known secrets."""
        engine = self.facet("ProcessingEngineRunFacet", name="evenly", version=self.version)
        run_facets = {"processing_engine": engine, **(facets or {})}
        if step is not None:
            parent = {"run": {"runId": str(self.run)}, "job": {"namespace": self.namespace, "name": self.recipe}}
            run_facets["parent"] = self.facet("ParentRunFacet", **parent)
        kind_of_job = self.facet(
            "JobTypeJobFacet", processingType="BATCH", integration="EVENLY", jobType="STEP" if step else "REBUILD"
        )
        job = f"{self.recipe}.{step}" if step else self.recipe
        event = {
            "eventType": kind,
            "eventTime": time,
            "run": {"runId": str(self.step_run(step) if step else self.run), "facets": run_facets},
            "job": {"namespace": self.namespace, "name": job, "facets": {"jobType": kind_of_job}},
            "inputs": list(inputs),
            "outputs": list(outputs),
            "producer": self.producer,
            "schemaURL": SPEC,
        }
        cleaned: dict[str, Any] = without_secrets_in(event)
        return cleaned

    def step_done(self, record: Mapping[str, Any], results: Mapping[str, str], *, reused: bool) -> dict[str, Any]:
        """The end of a step, by its record. results: that of each step before it, by name."""
        inputs = dict(record["inputs"])
        elsewhere = {name: value for name, value in inputs.items() if results.get(name) != value}
        read = [
            self.dataset(name, value) for name, value in inputs.items() if name not in elsewhere or _is_dataset(name)
        ]
        statistics = self.facet("OutputStatisticsOutputDatasetFacet", rowCount=_kept(record))
        output = self.dataset(record["name"], record["output_hash"]) | {
            "outputFacets": {} if _kept(record) is None else {"outputStatistics": statistics}
        }
        fields = ("key", "version", "rule", "model", "seed", "counts", "reasons")
        step = self.facet(
            "StepRunFacet",
            **{name: record.get(name) for name in fields},
            rowsIn=record.get("rows_in"),
            inputs={name: value for name, value in elsewhere.items() if not _is_dataset(name)},
            code={name: value for name, value in (record.get("code") or {}).items() if value is not None},
            seconds=record.get("seconds"),
            reused=reused,
        )
        time = str(record.get("ended") or record.get("created"))
        return self.event("COMPLETE", time, record["name"], facets={"evenly_step": step}, inputs=read, outputs=[output])

    def build_done(self, manifest: Mapping[str, Any], time: str) -> dict[str, Any]:
        """The end of a rebuild, with its pools as inputs and its build as the output."""
        pools = [
            self.dataset(name, value)
            for step in manifest["steps"]
            for name, value in step["inputs"].items()
            if _is_dataset(name)
        ]
        samples = manifest["samples"]
        facts = {"build": manifest["build"], "contentHash": manifest["content_hash"], "seed": manifest["seed"]}
        facts |= {
            "rows": samples["rows"],
            "kept": samples["kept"],
            "encoder": (manifest["encoder"] or {}).get("identity"),
        }
        statistics = self.facet("OutputStatisticsOutputDatasetFacet", rowCount=samples["kept"])
        build = self.dataset(
            "build", str(manifest["content_hash"]), evenly_build=self.facet("BuildDatasetFacet", **facts)
        )
        build["outputFacets"] = {"outputStatistics": statistics}
        last = manifest["steps"][-1]
        read = [*pools, self.dataset(last["name"], last["output_hash"])]
        return self.event("COMPLETE", time, inputs=read, outputs=[build])


def events_of_build(
    workspace: Workspace, manifest: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The events of a stored build, by the records of its steps: as of one run that made all of them."""
    run = uuid5(NAMESPACE_URL, f"{manifest['build']} {manifest['content_hash']}")
    version = (manifest.get("code") or {}).get("version")
    lineage = LineageRun.of(workspace, str(manifest["recipe_name"]), run, version)
    started = min(str(record["started"]) for record in records)
    yield lineage.event("START", started)
    results = dict[str, str]()
    for record in records:
        yield lineage.event("START", str(record["started"]), record["name"])
        yield lineage.step_done(record, results, reused=False)
        results[record["name"]] = record["output_hash"]
    yield lineage.build_done(manifest, str(manifest["created"]))


def _is_dataset(name: str) -> bool:
    """Whether an input of a step is a source of the pool, or a build."""
    return name.startswith("source ") or name == "build"


def _kept(record: Mapping[str, Any]) -> int | None:
    return record["counts"].get("kept") if record.get("counts") else None
