"""The graph of all that a workspace's records name: steps, builds, models, class lists, artifacts, reports and exports.

Pairs, pictures, pool files and requests are as many as the pool is large: audit/lineage/pairs.py adds those asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from evenly.audit.lineage.graph import Graph
from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.errors import ClassListError
from evenly.storage.artifacts.kinds import artifacts_in
from evenly.storage.artifacts.store import made_of_card
from evenly.storage.builds import Builds
from evenly.storage.exports.export import MANIFEST
from evenly.storage.journals import departures
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.records import content_hash, read_record
from evenly.storage.workspace import Workspace

_BUILD, _STEP, _ENCODER, _CLASSES = "build", "step", "model", "classes"
_SHORT = 12
_SHOWN = ("evaluate_adapters", "measure_diversity", "measure_retrieval", "corrupt_pictures", "measure_worth")
"""Steps about a build that its report shows."""


class StoredGraph:
    """The graph of a workspace, with the records and manifests that it is made of."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.graph = workspace, Graph()
        self.manifests = {str(manifest["build"]): manifest for manifest in Builds(workspace).manifests()}
        self.records = {
            record.key: record for record in sorted(Ledger(workspace).records(), key=lambda record: record.ended)
        }
        self._outputs = self._by_output()
        self._artifacts()
        for record in self.records.values():
            self._step(record)
        for manifest in self.manifests.values():
            self._build(manifest)
        self._departures()

    def _by_output(self) -> dict[tuple[str, str], list[StepRecord]]:
        """The runs of each step by each of their outputs, the oldest first."""
        runs: dict[tuple[str, str], list[StepRecord]] = {}
        for record in self.records.values():
            runs.setdefault((record.name, record.output_hash), []).append(record)
        return runs

    def _upstream(self, record: StepRecord, name: str, output: str) -> StepRecord | None:
        """The run whose result a step read: of several with the same result, the last that had ended when it did."""
        runs = self._outputs.get((name, output), [])
        return next((run for run in reversed(runs) if run.ended <= record.ended), runs[0] if runs else None)

    def _step(self, record: StepRecord) -> None:
        graph, key = self.graph, step_node(self.graph, record)
        for name, value in record.inputs.items():
            if (upstream := self._upstream(record, name, value)) is not None:
                graph.link(step_node(graph, upstream), key, "reads its result")
            elif name == "build" and (build := self._build_of_hash(value)):
                graph.link(build, key, "reads its pairs")
            elif name.startswith("source "):
                graph.link(_source_node(graph, name, value, record.notes.get("pools", ())), key, "reads it")
            elif name == "labels" or name.startswith("split"):
                graph.link(graph.add("file", value, f"{name} {value[:_SHORT]}", sha256=value), key, f"reads its {name}")
        if record.model is not None:
            self._use(record.model, key, "uses it")
        if (second := record.inputs.get("second")) is not None:
            self._use(second, key, "uses it as second backbone")
        self._rule(record, key)

    def _rule(self, record: StepRecord, key: str) -> None:
        """Edges that a step's rule names: its build, its class list, and the step that described that."""
        graph, rule = self.graph, record.rule
        if isinstance(rule.get("build"), str) and rule["build"] in self.manifests:
            graph.link(self._named_build(rule["build"]), key, "reads its pairs")
        for described in (rule.get("describe"), (rule.get("given") or {}).get("step")):
            if isinstance(described, str) and described in self.records:
                graph.link(step_node(graph, self.records[described]), key, "reads its texts")
        names = _class_names(rule)
        if isinstance(rule.get("list"), str) and names is not None:
            graph.link(class_node(graph, rule["list"], names), key, "is about its classes")

    def _build(self, manifest: Mapping[str, Any]) -> None:
        graph, key = self.graph, self._named_build(str(manifest["build"]))
        for step in manifest["steps"]:
            record = self.records.get(str(step["key"]))
            if record is not None:
                graph.link(step_node(graph, record), key, "is one of its steps")
        if (encoder := manifest.get("encoder")) is not None:
            named = f"{encoder['model']} {encoder.get('pretrained') or ''}".strip()
            self._use(encoder["identity"], key, "made its features", named)

    def _named_build(self, name: str) -> str:
        manifest = self.manifests[name]
        samples = manifest["samples"]
        label = f"{name}: {samples['kept']:,} of {samples['rows']:,} pairs kept"
        facts = {"recipe": manifest["recipe_name"], "created": manifest["created"], "seed": manifest["seed"]}
        return self.graph.add(_BUILD, name, label, kept=samples["kept"], content_hash=manifest["content_hash"], **facts)

    def _build_of_hash(self, value: str) -> str | None:
        name = next((name for name, manifest in self.manifests.items() if manifest["content_hash"] == value), None)
        return None if name is None else self._named_build(name)

    def _model(self, identity: str, named: str = "") -> str:
        """A model; rows that it made are its feature set, which lies under the first digits of its identity."""
        graph = self.graph
        earlier = graph.nodes.get(f"{_ENCODER}:{identity}")
        label = f"{named} {identity[:_SHORT]}" if named else "" if earlier else identity[: 2 * _SHORT]
        key = graph.add(_ENCODER, identity, label, identity=identity)
        folder = identity[:32]
        if f"features:{folder}" in graph.nodes:
            graph.link(key, f"features:{folder}", "made its rows")
        return key

    def _use(self, identity: str, key: str, reason: str, named: str = "") -> None:
        """A thing that uses a model, and the rows that are stored of it."""
        self.graph.link(self._model(identity, named), key, reason)
        if (features := f"features:{identity[:32]}") in self.graph.nodes:
            self.graph.link(features, key, "reads its rows")

    def _artifacts(self) -> None:
        """Feature sets, adapters, refined encoders and indices, by their cards."""
        graph = self.graph
        for folder in sorted({path.parent.name for path in self.workspace.features.glob("*/*.lance")}):
            graph.add("features", folder, folder[:_SHORT])
        for artifacts in artifacts_in(self.workspace):
            below = artifacts.folder.relative_to(self.workspace.root).parts
            for card in artifacts.cards():
                name, noun = "/".join((*below[1:], card["name"])), artifacts.kind.noun
                if noun == "adapter":
                    self._adapter(name, card)
                elif noun == "refined encoder":
                    self._refined(name, card, made_of_card(artifacts.kind, card))
                elif noun == "index":
                    graph.link(f"features:{below[1]}", graph.add("index", name), "is an index of its rows")

    def _adapter(self, name: str, card: Mapping[str, Any]) -> None:
        graph, key = self.graph, self.graph.add("adapter", name, made=card.get("metrics"), texts=card.get("texts"))
        if card.get("build") in self.manifests:
            graph.link(self._named_build(card["build"]), key, "is fitted on its pairs")
        for field, reason in (("encoder", "uses it"), ("second", "uses it as second backbone")):
            if card.get(field):
                self._use(card[field]["identity"], key, reason, card[field].get("model", ""))
        if card.get("classes"):
            graph.link(class_node(graph, card["class_list"], card["classes"]), key, "tells its classes")
        if card.get("describe") in self.records:
            graph.link(step_node(graph, self.records[card["describe"]]), key, "reads its texts")
        for record in self.records.values():
            if record.name == "evaluate_adapters" and _is_fitted_by(card, record.rule):
                graph.link(step_node(graph, record), key, "fitted and judged it")

    def _refined(self, name: str, card: Mapping[str, Any], made_of: Mapping[str, Any]) -> None:
        graph, key = self.graph, self.graph.add("refined", name, objective=card["rule"].get("objective"))
        if made_of["build"] in self.manifests:
            graph.link(self._named_build(made_of["build"]), key, "is trained on its pairs")
        self._use(card["base"], key, "is its base", card["encoder"].get("model", ""))
        if made_of.get("step") in self.records:
            graph.link(step_node(graph, self.records[made_of["step"]]), key, "trained and judged it")
        for build, manifest in self.manifests.items():
            if manifest["recipe"].get("features", {}).get("refine") == name:
                graph.link(key, self._named_build(build), "made its features")

    def _departures(self) -> None:
        """Reports and exports: by their receipts, and those of earlier versions by the files that are there."""
        graph, root, places = self.graph, self.workspace.root, set[str]()
        for departure in departures(self.workspace):
            places.add(departure.place)
            kind = departure.kind if departure.kind in ("report", "diff") else "export"
            label = f"{departure.kind} at {departure.place}" if kind == "export" else departure.place
            key = graph.add(
                kind,
                departure.id,
                label,
                place=departure.place,
                content=departure.content,
                left=departure.left,
                files=departure.files,
            )
            self._of_build(departure.build, key)
        for path in sorted(self.workspace.reports.glob("*.html")):
            place = path.relative_to(root).as_posix()
            if place not in places:
                self._of_build(path.stem, graph.add("report", path.stem, place, place=place))
        for path in sorted(self.workspace.exports.glob(f"*/*/{MANIFEST}")):
            place = path.parent.relative_to(root).as_posix()
            if place not in places:
                facts = read_record(path)
                key = graph.add("export", facts["content_hash"][:32], f"{facts['format']} at {place}", place=place)
                self._of_build(str(facts["build"]), key)

    def _of_build(self, build: str, key: str) -> None:
        if build in self.manifests:
            self.graph.link(self._named_build(build), key, "is written of it")
        if key.startswith("report:"):
            of_build = [self.graph.nodes[name] for name in self.graph.targets(f"{_BUILD}:{build}")]
            for node in of_build:
                if node.facts.get("step") in _SHOWN:
                    self.graph.link(node.id, key, "is shown in it")


def _is_fitted_by(card: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    """Whether an evaluation by a rule fitted the adapter of a card."""
    alike = ("build", "build"), ("class_list", "list"), ("describe", "describe")
    adapters = ("zero_shot", *rule["adapters"])
    return card["adapter"] in adapters and all(card.get(name) == rule.get(field) for name, field in alike)


def _source_node(graph: Graph, name: str, value: str, pools: Sequence[Mapping[str, Any]]) -> str:
    """The node of a source of pools, with the names of its files where the step noted them."""
    place = int(name.removeprefix("source "))
    noted = pools[place] if place < len(pools) else {}
    names = ", ".join(noted.get("names", ()))
    hidden = noted.get("files", 0) - len(noted.get("names", ()))
    label = f"{name} {value[:_SHORT]}{f': {names}' if names else ''}{f' and {hidden:,} more' if hidden else ''}"
    return graph.add("source", value, label, sha256=value, pool=noted.get("source"), files=noted.get("files"))


def step_node(graph: Graph, record: StepRecord) -> str:
    """The node of a step run."""
    counts = f": kept {record.counts['kept']:,} of {record.rows_in:,}" if record.counts else ""
    facts: dict[str, Any] = {"version": record.version, "seed": record.seed, "ended": record.ended}
    facts |= {"counts": dict(record.counts), "reasons": dict(record.reasons), "code": dict(record.code)}
    return graph.add(_STEP, record.key, f"{record.name} {record.key[:_SHORT]}{counts}", step=record.name, **facts)


def class_node(graph: Graph, name: str, classes: Sequence[str]) -> str:
    """The node of a class list, by the names of its classes."""
    digest = content_hash(list(classes))[:32]
    return graph.add(_CLASSES, f"{name}-{digest}", f"{name}: {len(classes):,} classes", list=name, classes=len(classes))


def _class_names(rule: Mapping[str, Any]) -> list[str] | None:
    """The classes that a rule is about; None where it names none."""
    if isinstance(rule.get("classes"), list):
        return [str(name) for name in rule["classes"]]
    if isinstance(rule.get("text"), str) and isinstance(rule.get("list"), str):
        try:
            return list(parse_class_list(rule["text"], rule["list"]).classes)
        except ClassListError:
            return None
    return None
