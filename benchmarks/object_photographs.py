"""Photographs of objects and their names, which no pool here holds, found by refined encoders beside the frozen one.

Debian's package tuxpaint-stamps-default has photographs of animals, food, plants and instruments, cut out, with a line
of English each ("A guinea fowl."). All of them are asked for by their lines: recall for the frozen encoder and for each
that is named, with the 95 % interval of the paired difference over resampled captions.

Run: python -m benchmarks.object_photographs --root WORKSPACE [--stamps FOLDER] NAME...
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evenly.features.refining.heads import Heads
from evenly.features.refining.pairs import PairRows, stored_rows
from evenly.flows.runs import workspace_run
from evenly.storage.artifacts.kinds import refined_encoders_of
from evenly.tasks.encoders import open_encoder
from evenly.tasks.refining.measures import ALL_PAIRS, compared
from evenly.tasks.refining.pairs import RefiningParts
from evenly.tasks.run import Run

STAMPS = Path("/usr/share/tuxpaint/stamps")
FOLDERS = ("animals", "food", "hobbies", "plants")
SHOWN = ("text to picture R@1", "text to picture R@10", "picture to text R@10")


def photographs(stamps: Path) -> Iterator[tuple[Path, str]]:
    """Each photograph and its line, in the order of their names; drawings, which lie in `cartoon` folders, left out."""
    for folder in FOLDERS:
        for path in sorted((stamps / folder).rglob("*.png")):
            said = path.with_suffix(".txt")
            if "cartoon" not in path.parts and said.is_file():
                yield path, said.read_text(encoding="utf-8").splitlines()[0].strip()


def rows_of(run: Run, stamps: Path) -> PairRows:
    """The photographs by the frozen encoder; each caption is a group."""
    shown = list(photographs(stamps))
    if not shown:
        raise SystemExit(f"`--stamps` must hold {', '.join(FOLDERS)}; got `{stamps}`. Unpack tuxpaint-stamps-default.")
    encoder = open_encoder(run)
    captions = np.array([text for _, text in shown], np.str_)
    return PairRows(
        image=stored_rows(encoder.encode_images([path.read_bytes() for path, _ in shown])),
        text=stored_rows(encoder.encode_texts(captions.tolist())),
        uids=np.array([str(path) for path, _ in shown], np.str_),
        captions=captions,
        groups=captions,
        labels=np.full(len(shown), "", np.str_),
    )


def main() -> None:
    """Print a row for each encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="a refined encoder of the workspace")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--stamps", type=Path, default=STAMPS)
    arguments = parser.parse_args()
    run = workspace_run(arguments.root, quiet=True)
    parts = RefiningParts(pairs={"test": rows_of(run, arguments.stamps)})
    print(f"{len(parts.pairs['test'])} photographs, {len(set(parts.pairs['test'].captions.tolist()))} captions")
    for name in arguments.names:
        heads = Heads.from_bytes(refined_encoders_of(run.workspace).read(name)[1])
        measured = {row["measure"]: row for row in compared(parts, heads, seed=run.seed) if row["of"] == ALL_PAIRS}
        cells = [
            f"{row['before']:.3f} -> {row['after']:.3f} ({row['difference_low']:+.3f} to {row['difference_high']:+.3f})"
            for row in map(measured.__getitem__, SHOWN)
        ]
        print(f"{name:<24} {'   '.join(f'{title}: {cell}' for title, cell in zip(SHOWN, cells, strict=True))}")


if __name__ == "__main__":
    main()
