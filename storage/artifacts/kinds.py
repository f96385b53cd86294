"""The kinds of artifacts, where a workspace has them, and fitted adapters as arrays."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.storage.artifacts.store import ArtifactKind, Artifacts
from evenly.storage.errors import DamagedError
from evenly.storage.records import content_hash, create_record, read_record
from evenly.storage.tables.arrow_files import first_line
from evenly.storage.workspace import Workspace


def _adapter_made_of(card: Mapping[str, Any]) -> dict[str, Any]:
    origin = {"build": card["build"]} if "build" in card else {"file": card.get("lineage", {}).get("sha256")}
    encoder = (card.get("encoder") or {}).get("identity")
    rule = {name: card[name] for name in ("class_list", "describe", "split_hash", "given", "seed") if name in card}
    return {**origin, "encoder": encoder, "rule": {"adapter": card["adapter"], **rule}}


def _refined_made_of(card: Mapping[str, Any]) -> dict[str, Any]:
    return {"build": card["build"], "encoder": card["base"], "rule": card["rule"], "step": card.get("step")}


ADAPTER = ArtifactKind(
    noun="adapter",
    content="arrays",
    needed={"adapter": str, "arrays": dict, "learned": dict, "parameters": dict},
    cure="Fit it again.",
    maker="`evenly fit`",
    made_of=_adapter_made_of,
)
"""See `evenly.adapters.saved.to_card` for what its card holds beside where it comes from."""
REFINED = ArtifactKind(
    noun="refined encoder",
    content="heads",
    needed={"base": str, "build": str, "encoder": dict, "rule": dict, "notes": dict},
    cure="Refine again.",
    maker="`evenly refine`",
    made_of=_refined_made_of,
)
HEADS = ArtifactKind(noun="heads of a seed", content="heads", needed={}, cure="Run it again.", maker="`evenly worth`")
REGIONS = ArtifactKind(
    noun="region method",
    content="arrays",
    needed={"pictures": list, "regions": int},
    cure="Rebuild.",
    maker="`evenly rebuild`",
)
INDEX = ArtifactKind(
    noun="index",
    content="",
    needed={"kind": str, "rows": int, "uuid": str, "version": int},
    cure="Make the index again: `evenly index`.",
    maker="`evenly index`",
)


SAVED = "adapter"
"""The name of the adapter in a folder of a user's own."""


def fitted_adapters_of(workspace: Workspace, build: str, class_list: str) -> Artifacts:
    """The adapters that were fitted on a build for a class list."""
    return Artifacts(ADAPTER, workspace.adapters / build / class_list, workspace.objects)


def refined_encoders_of(workspace: Workspace) -> Artifacts:
    """The refined encoders of a workspace, by the names that recipes take."""
    return Artifacts(REFINED, workspace.refined, workspace.objects)


def heads_of_seeds(workspace: Workspace) -> Artifacts:
    """Heads that `evenly worth` trained, under the hashes of all that they depend on."""
    return Artifacts(HEADS, workspace.refined / "worth", workspace.objects)


def learned_regions_of(workspace: Workspace) -> Artifacts:
    """Arrays that region methods learned, under the hashes of all that they depend on; cards name their pictures."""
    return Artifacts(REGIONS, workspace.refined / "regions", workspace.objects)


def artifacts_in(workspace: Workspace) -> Iterator[Artifacts]:
    """The artifacts of a workspace, those of each folder together."""
    for folder in sorted({path.parent for path in workspace.adapters.glob("*/*/*.*")}):
        yield Artifacts(ADAPTER, folder, workspace.objects)
    yield refined_encoders_of(workspace)
    yield heads_of_seeds(workspace)
    yield learned_regions_of(workspace)
    for folder in sorted({path.parent for path in workspace.features.glob("*/*.json")}):
        yield Artifacts(INDEX, folder, workspace.objects)


def put_adapter(
    artifacts: Artifacts,
    name: str,
    card: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    made_of: Mapping[str, Any],
    force: bool,
) -> Path:
    """Store a fitted adapter as `Artifacts.put` does; equal arrays are equal bytes."""
    from safetensors.numpy import save

    return artifacts.put(name, card, save(dict(arrays)), made_of=made_of, force=force)


def read_adapter(artifacts: Artifacts, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The card and the arrays of a fitted adapter; raises as `Artifacts.read` does."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    card, content = artifacts.read(name)
    place = f"the arrays of adapter `{artifacts.folder / name}`"
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise DamagedError(f"{place} must be safetensors; got `{first_line(error)}`. {ADAPTER.cure}") from None
    shapes = {key: {"shape": list(array.shape), "dtype": str(array.dtype)} for key, array in arrays.items()}
    if shapes != card["arrays"]:
        raise DamagedError(f"{place} must be those that its card names; they are not. {ADAPTER.cure}")
    return card, arrays


def adapter_at(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The adapter of a card, or of a folder that `evenly fit --arrays` wrote; raises as `Artifacts.read` does."""
    folder, name = (path, SAVED) if path.is_dir() else (path.parent, path.stem)
    return read_adapter(Artifacts.beside(ADAPTER, folder.absolute()), name)


Booleans = npt.NDArray[np.bool_]


class LeaderboardRuns:
    """The runs of one leaderboard: `key` names all that its numbers depend on."""

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.folder = folder / content_hash(key)[:32]

    def all(self) -> Iterator[tuple[dict[str, Any], Booleans]]:
        """Each stored run: its row, and whether each test row (n,) was predicted right."""
        for path in sorted(self.folder.glob("*.json")):
            record = read_record(path)
            bits = np.frombuffer(base64.b64decode(record["correct"]), dtype=np.uint8)
            yield record["row"], np.unpackbits(bits, count=record["n"]).astype(bool)

    def add(self, row: Mapping[str, Any], correct: Booleans) -> None:
        """Store a run, durably; one of the same name, texts, shots and seed that is there already stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        bits = base64.b64encode(np.packbits(correct).tobytes()).decode()
        name = content_hash([row[field] for field in ("name", "texts", "shots", "seed")])[:32]
        create_record(self.folder / f"{name}.json", {"row": dict(row), "n": len(correct), "correct": bits})
