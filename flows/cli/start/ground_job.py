"""`evenly demo --ground`: the proving ground, drawn, and an encoder that sees what is planted in it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from evenly.demo.ground.folder import make_ground, picture_count
from evenly.demo.ground.gate import ASKED_COLUMNS, asked_rows, gate_problems, gate_questions, right_answers
from evenly.flows.cli.encoders.refine import refine_build
from evenly.flows.cli.output import print_rows, print_text
from evenly.flows.recipe import read_recipe
from evenly.flows.runs import as_flow, run_in
from evenly.signatures import Place
from evenly.storage.records import replace_json
from evenly.tasks.encoders import text_rows
from evenly.tasks.pictures.encoded import rows_of_pictures
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run

REFINED = "ground"
"""The name of the refined encoder: `features: {refine: ground}`."""

WORKSPACE, GATE = "workspace", "gate.json"
_RANK, _EPOCHS = 256, 40  # chosen on val: backgrounds .926, with 64 and 20 .909


def build_ground(
    folder: Path, *, hands: str | None, codes: int | None, draw_only: bool, root: Place | None
) -> dict[str, Any]:
    """Draw the ground and refine the encoder on its part `refine`; what it holds, and what both encoders see.

    A dict: folder, ground, seconds of each step, bytes of the folder; unless it is drawn only also the builds, the
    measures of the gate and problems, one for each question that is answered too seldom.
    """
    seconds: dict[str, float] = {}
    chosen = _hands(hands)
    with _timed(seconds, "drawing"), Progress().bar("drawing the ground", picture_count(chosen, codes)) as advance:
        summary = make_ground(folder, hands=chosen, codes=codes, progress=advance)
    result = {"folder": str(folder), "ground": summary, "seconds": seconds}
    if not draw_only:
        result |= _refined(folder, folder / WORKSPACE if root is None else root, seconds, is_own=root is None)
    return result | {"bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())}


def _refined(folder: Path, root: Place, seconds: dict[str, float], *, is_own: bool) -> dict[str, Any]:
    """Rebuild the pairs of `refine`, refine on them, rebuild all other pairs, measure both encoders on val and test."""
    from evenly.flows.rebuild_dataset import rebuild_dataset

    recipes = {name: str(folder / f"{name}.yaml") for name in ("refine", "ground")}
    with _timed(seconds, "encoding"):
        builds = {name: as_flow(rebuild_dataset)(recipe, root=str(root)) for name, recipe in recipes.items()}
    with _timed(seconds, "refining"):
        refine_build(recipes["refine"], REFINED, root=root, rank=_RANK, epochs=_EPOCHS, hold=0, force=is_own)
    frozen = run_in(read_recipe(Path(recipes["ground"])), root=root)
    refined = replace(frozen, encoder=replace(frozen.encoder, refine=REFINED), encoder_identity=None)
    with _timed(seconds, "measuring"):
        measures = [
            row for part in ("val", "test") for row in _measured(folder / part, {"frozen": frozen, "refined": refined})
        ]
    gate = {"measures": measures, "problems": gate_problems(measures)}
    replace_json(folder / GATE, gate)
    return {"workspace": str(frozen.workspace.root), "builds": builds, **gate}


def _measured(part: Path, runs: dict[str, Run]) -> Iterator[dict[str, Any]]:
    """A row for each question: pictures, groups, the share that each encoder answers rightly, their difference."""
    from evenly.adapters.evaluation.measures.paired import paired_tests

    truth = pq.read_table(part / "truth.parquet", columns=list(ASKED_COLUMNS)).to_pylist()
    ids = [row["sha256"] for row in truth]
    images = {name: rows_of_pictures(run, ids).astype(np.float32) for name, run in runs.items()}
    for question in gate_questions():
        places, answers = asked_rows(question, truth)
        right = {
            name: right_answers(images[name][places], _text_rows(run, question.texts), answers)
            for name, run in runs.items()
        }
        tested = paired_tests(right, seed=runs["frozen"].seed, groups=[truth[place]["group"] for place in places])
        yield {
            "part": part.name,
            "question": question.name,
            "choices": len(question.texts),
            "pictures": len(places),
        } | {
            "groups": int(tested["groups"][0]),
            **{name: float(values.mean()) for name, values in right.items()},
            **{name: float(tested[name][0]) for name in ("difference", "low", "high")},
            "least": question.least if part.name == "val" else None,
        }


def _text_rows(run: Run, texts: Sequence[Sequence[str]]) -> npt.NDArray[np.float32]:
    """The unit rows of the texts of each choice (c, k, d)."""
    rows = text_rows(run, [text for of_choice in texts for text in of_choice]).astype(np.float32)
    return rows.reshape(len(texts), -1, rows.shape[1])


def print_ground(result: dict[str, Any]) -> None:
    """Print what a ground holds, and what the frozen and the refined encoder see."""
    parts = result["ground"]["parts"]
    print_rows("parts", [{"part": part, **counts} for part, counts in parts.items()])
    for hand, package in result["ground"]["hands"].items():
        print_text(f"{hand}: {package}, licences/{hand}.txt")
    if "measures" in result:
        print_rows(
            "told by texts alone; gain: its 95 % interval over groups", [_shown(row) for row in result["measures"]]
        )
        print_text("\n".join(f"{name}.yaml  {build}" for name, build in result["builds"].items()))
        print_text(f"workspace  {result['workspace']}; take `features: {{model: embedded, refine: {REFINED}}}`")
    seconds = ", ".join(f"{seconds:,.0f} s {step}" for step, seconds in result["seconds"].items())
    print_text(f"{result['folder']}: {result['bytes'] / 1e6:,.0f} MB; {seconds}")
    for problem in result.get("problems", ()):
        print_text(f"gate: {problem}")
    if result.get("problems"):
        print_text("The encoder does not see what is planted: ask no effects of it. Take more codes or hands.")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    shares = {name: f"{row[name]:.3f}" for name in ("frozen", "refined")}
    interval = f"{row['low']:+.3f}, {row['high']:+.3f}"
    gate = "" if row["least"] is None else f"{row['least']:.2f}"
    return {name: row[name] for name in ("part", "question", "groups")} | shares | {"gain": interval, "gate": gate}


def _hands(text: str | None) -> Sequence[str]:
    return tuple(dict.fromkeys(hand.strip() for hand in text.split(","))) if text else ()


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - start, 1)
