"""Drawings in ten folders called as people call them, `animals`, `plants`, with captions as the web has them.

`python -m evenly.demo.pictures.kinds FOLDER` draws them.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from evenly.demo.captions import web_caption
from evenly.demo.draws import DEMO_SEED, lowest
from evenly.demo.ground.classes import members_of
from evenly.demo.names import name_picture, same_subject
from evenly.demo.pictures.digits import run_command_line
from evenly.demo.pictures.folder import draw_folder
from evenly.demo.pictures.openmoji import list_codes

MOST = 95
"""Pictures of a folder; the fewest are 70."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "animals": ("mammal", "bird", "reptile", "sea animal", "insect"),
    "plants": ("flower", "plant", "fruit", "vegetable"),
    "vehicles": ("land vehicle", "boat", "aircraft"),
    "faces": ("smiling face", "sad face"),
    "foods": ("meal", "dessert", "drink"),
    "tools": ("tool", "device"),
    "workers": ("worker",),
    "signs": ("sign",),
    "shapes": ("geometric shape", "heart"),
    "flags": (),
}
"""Folder -> classes of the ground (demo/ground/classes.py) whose codes lie in it."""
_MORE = {"plants": ("1FABE", "1FAB5", "1F384", "1F38B")}


def kinds_of_codes(seed: int = DEMO_SEED) -> dict[str, tuple[str, str]]:
    """Folder and group by code, of at most MOST codes a folder; a group is a subject in all its variants."""
    flags = [code for code in list_codes() if code.startswith("1F1") and name_picture(code).text.startswith("flag of ")]
    codes = {
        kind: {member.code for member in members_of(None, seed) if member.label in classes} | {*_MORE.get(kind, ())}
        for kind, classes in KINDS.items()
    }
    codes["flags"] = {*flags}
    return {
        code: (kind, same_subject(code))
        for kind, of_kind in codes.items()
        for code in lowest(sorted(of_kind), min(len(of_kind), MOST), seed, f"plural {kind}")
    }


def make_kinds(folder: Path, *, seed: int = DEMO_SEED) -> dict[str, int]:
    """Draw them into `folder`, with metadata.csv and classes.txt, and return the number of pictures per class.

    May be killed and called again. FolderError where another list is there.
    """
    return draw_folder(folder, kinds_of_codes(seed), "\n".join(KINDS) + "\n", caption=web_caption, seed=seed)


if __name__ == "__main__":
    sys.exit(run_command_line(sys.argv[1:], make=make_kinds, module="kinds"))
