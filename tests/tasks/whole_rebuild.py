"""Every step of a rebuild over a folder of real pictures, to the published build: real components, some twenty rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenly.curation.balance.judgement import MIX_SOURCES
from evenly.curation.captions.choice import ChoiceRule
from evenly.curation.reservations.rule import DownloadRule
from evenly.storage.ledger import StepRecord
from evenly.storage.pools.source import PoolSource
from evenly.storage.workspace import Workspace
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.align import ALIGN
from evenly.tasks.rebuild.balance import BALANCE, PRESELECT
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_AGAIN, MATCH_CONCEPTS
from evenly.tasks.rebuild.decontaminate import DECONTAMINATE
from evenly.tasks.rebuild.deduplicate import DEDUPLICATE_CAPTIONS, DEDUPLICATE_EXACT, DEDUPLICATE_PERCEPTUAL
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.rebuild.filters import CHECK_IMAGES, CHECK_TEXTS
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.rebuild.safety import SAFETY
from evenly.tasks.run import LabelColumns, Run
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step, ledger_step
from tests.picture_pool import ColourEncoder, picture

RED, GREEN, BLUE = (240, 90, 80), (90, 240, 100), (80, 90, 240)
COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}
HOSTILE = "a red <script>alert(1)</script> fox \x1b[31m\u202e"


class ColourWords(ColourEncoder):
    """Pictures and texts as colours: a picture by its mean, a text by the colours that it names, paler by each word."""

    def encode_images(self, images, *, progress=None):
        rows = super().encode_images(images)
        if progress is not None:
            progress(len(rows))
        return rows.astype(np.float32)

    def encode_texts(self, texts):
        named = [[COLOURS[word] for word in text.split() if word in COLOURS] or [(90, 90, 90)] for text in texts]
        pale = np.array([[5 * len(text.split())] for text in texts])
        return (np.array([np.mean(colours, axis=0) for colours in named]) + pale).astype(np.float32)

    def truncated(self, texts):
        return [len(text.split()) > 6 for text in texts]


@dataclass(frozen=True)
class Row:
    """A picture of the folder with its caption, its class and what it is a part of."""

    name: str
    caption: str | None
    content: bytes
    label: str | None = None
    group: str | None = None


def rows() -> list[Row]:
    """Rows for most reasons to stay or to go: doubled, without a caption, tiny, broken, nearly alike, evaluated."""
    heads = [Row(f"fox{n}", f"one red fox number {n}", picture(RED, pattern=n), "fox", f"f{n}") for n in range(9)]
    others = [
        Row("owl1", "a green owl", picture(GREEN, pattern=21), "owl", "o1"),
        Row("owl2", "a green owl in a tree", picture(GREEN, pattern=22), "owl", "o2"),
        Row("cat1", "a blue cat", picture(BLUE, pattern=31), "cat", "c1"),
        Row("cat2", "two blue cat friends", picture(BLUE, pattern=32), "cat", "c1"),
        Row("again", "the same cat another day", picture(BLUE, pattern=31), None, "c1"),
        Row("near", "a cat nearly alike", picture(BLUE, pattern=32, size=(128, 96), kind="JPEG", quality=90)),
        Row("wrong", "a blue cat in words alone", picture(GREEN, pattern=41), "cat"),
        Row("hostile", HOSTILE, picture(RED, pattern=51)),
        Row("long", "a fox and one more word than there may be", picture(RED, pattern=61)),
        Row("none", "nothing of that kind", picture(RED, pattern=62)),
        Row("empty", "", picture(RED, pattern=63)),
        Row("tiny", "a tiny red fox", picture(RED, pattern=64, size=(8, 8))),
        Row("broken", "a broken fox", b"\x89PNG\r\n\x1a\n no more"),
        Row("known", "an owl of the evaluation set", picture(GREEN, pattern=71)),
        Row("twice", "a green owl", picture(GREEN, pattern=21), "owl", "o1"),
    ]
    return [*heads, *others]


BALANCING = {"t": 4.0}
RULES: dict[str, dict[str, Any]] = {
    "collect": {"limit": None},
    "check_texts": {"caption_length": {"min_words": 2, "max_words": 8}},
    "mix_sources": {"sources": {"pool": {"weight": 1.0, "quota": 19}}},
    "match_concepts": {"metadata": "{root}/concepts.txt", "mode": "normalized", "plurals": False},
    "count_concepts": {},
    "preselect": BALANCING | {"headroom": 1.5},
    "download": asdict(DownloadRule()) | {"respect": ["robots"], "tolerate": []},
    "check_images": {"image_size": {"min_side": 16}},
    "deduplicate_exact": {},
    "deduplicate_perceptual": {"max_distance": 8, "max_colour": 22.0},
    "embed_images": {},
    "deduplicate_captions": {"min_jaccard": 0.9, "scope": "pool"},
    "safety": {"detector": None, "files": [], "looks": [], "domains": ["{root}/domains.txt"], "max_distance": 4},
    "decontaminate": {"sets": {"val": "{root}/val"}, "perceptual": 4, "semantic": None, "colour": 22.0},
    "recaption": {
        "captioners": [{"name": "retrieved", "kind": "retrieved", "candidates": 2, "sentence": "names"}],
        "choose": asdict(ChoiceRule(margin=0.02)),
    },
    "align": {"keep_top": 0.9},
    "match_again": {"metadata": "{root}/concepts.txt", "mode": "normalized", "plurals": False},
    "balance": BALANCING,
}
STEPS: tuple[Step, ...] = (
    *(COLLECT, CHECK_TEXTS, ledger_step(MIX_SOURCES), MATCH_CONCEPTS, COUNT_CONCEPTS, PRESELECT, DOWNLOAD),
    *(CHECK_IMAGES, DEDUPLICATE_EXACT, DEDUPLICATE_PERCEPTUAL, EMBED_IMAGES, DEDUPLICATE_CAPTIONS, SAFETY),
    *(DECONTAMINATE, RECAPTION, ALIGN, MATCH_AGAIN, BALANCE),
)
CONCEPTS = ("fox", "owl", "cat", "red", "green", "blue")


def write_pool(folder: Path, pool: Sequence[Row]) -> PoolSource:
    """Write the pictures and the list of their captions, in the order of `pool`; the source that names the folder."""
    folder.mkdir(parents=True)
    lines = []
    for row in pool:
        (folder / f"{row.name}.png").write_bytes(row.content)
        line = {"file_name": f"{row.name}.png", "caption": row.caption, "label": row.label, "group": row.group}
        lines.append(json.dumps(line))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return PoolSource(kind="folder", path=str(folder), name="pool")


def open_run(root: Path, pool: Sequence[Row], *, seed: int = 3, processes: int = 2, quiet: bool = True) -> Run:
    """A run in a new workspace with the pool, the concepts and the evaluation set."""
    source = write_pool(root / "pool", pool)
    (root / "val").mkdir()
    (root / "val" / "known.png").write_bytes(picture(GREEN, pattern=71))
    (root / "concepts.txt").write_text("\n".join(CONCEPTS))
    (root / "domains.txt").write_text("bad.test\n")
    return Run(
        workspace=Workspace.at(root),
        seed=seed,
        processes=processes,
        sources=(source,),
        labels=LabelColumns(label="label", group="group"),
        progress=Progress(quiet=quiet),
    )


def run_steps(
    run: Run, steps: Sequence[Step] = STEPS, rules: Mapping[str, Mapping[str, Any]] = RULES
) -> tuple[StepRecord, ...]:
    """The records of the steps, each found or made."""
    records: tuple[StepRecord, ...] = ()
    for step in steps:
        records = (*records, run_step(run, step, records, step.read(rules[step.name])))
    return records


def publish(run: Run, records: Sequence[StepRecord], *, name: str = "whole", **options: object) -> dict[str, Any]:
    """The manifest of the published build."""
    chosen = {"limit": None, "max_change": 0.5, "recipe": {"name": name}} | options
    return publish_build(run, records, name=name, **chosen)
