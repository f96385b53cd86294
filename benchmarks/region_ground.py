"""Pictures of two or more objects of a ground with their true regions and rows, for benchmarks of region methods."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from evenly.adapters.effects.effect import effect_of
from evenly.adapters.effects.regions import measured_arms
from evenly.adapters.evaluation.regions.truth import RegionTruth
from evenly.adapters.evaluation.regions.weighted import Measure
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense
from evenly.flows.runs import workspace_run
from evenly.tasks.adapters.region_truth import read_region_truth
from evenly.tasks.run import EncoderChoice, Run, SecondChoice


@dataclass(frozen=True)
class Part:
    """Files, rows, groups and backgrounds of n pictures, with their true regions (m) and the code of each.

    truth: that of all pictures of the part, among which these are at `places`; `labels` are the kinds of things.
    """

    files: Sequence[bytes]
    dense: Dense
    groups: np.ndarray
    backgrounds: np.ndarray
    regions: Regions
    codes: np.ndarray
    truth: RegionTruth
    places: np.ndarray


def read_part(folder: Path, limit: int | None, encode: Callable[[list[bytes]], Dense]) -> Part:
    """Of more pictures than `limit` the first by the hash of their names."""
    truth = read_region_truth([folder])
    table = pq.read_table(folder / "truth.parquet", columns=["file_name", "background"]).to_pydict()
    names = table["file_name"]
    places = np.flatnonzero(np.bincount(truth.picture, minlength=len(truth.sizes)) > 1)
    by_hash = sorted(places, key=lambda place: blake2b(names[place].encode()).digest())
    places = np.sort(np.array(by_hash[:limit], np.int64))
    rows = np.flatnonzero(np.isin(truth.picture, places))
    listed = [
        {"picture": np.searchsorted(places, truth.picture[r]), "box": truth.boxes[r], "mask": truth.masks[r]}
        | {"label": truth.kinds[r], "phrase": truth.labels[r]}
        for r in rows
    ]
    files = [(folder / names[place]).read_bytes() for place in places]
    return Part(
        files=files,
        dense=encode(files),
        groups=truth.groups[places].astype(str),
        backgrounds=np.array(table["background"])[places],
        regions=Regions.from_rows(listed),
        codes=truth.codes[rows].astype(str),
        truth=replace(truth, labels=truth.kinds),
        places=places,
    )


def open_ground(about: str, *, second: SecondChoice | None = None) -> tuple[Path, Run, list[str], int | None]:
    """The folder that the command line names, a run with its encoder, the names of classes, and the limit."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ground", type=Path)
    parser.add_argument("--refine", default=None)
    parser.add_argument("--limit", type=int, default=None)
    arguments = parser.parse_args()
    ground: Path = arguments.ground
    run = workspace_run(ground / "workspace", encoder=EncoderChoice(refine=arguments.refine), second=second)
    names = (ground / "classes.txt").read_text().split("\n")
    return ground, run, [name for name in names if name], arguments.limit


def compared(name: str, method: Measure, rival: Measure, groups: np.ndarray) -> None:
    """Print both and their paired difference with its 95 % interval over groups (n,), a name each."""
    if len(np.unique(groups)) < 2:
        print(f"{name}: not judged, for want of two groups", flush=True)
        return
    effect = effect_of([measured_arms({"method": method, "rival": rival}, groups)], seed=1)
    gain = effect.gain
    print(
        f"{name}: {effect.value:.4f} against {effect.rival_value:.4f}, {gain.estimate:+.4f} "
        f"[{gain.low:+.4f}, {gain.high:+.4f}], {effect.n_groups} groups, {effect.deciding} would decide",
        flush=True,
    )
