"""A folder of labelled pictures with captions: what people have who have no pool, to try recipes on."""

import csv
import functools
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from evenly.demo.captions import good_caption
from evenly.demo.draws import DEMO_SEED
from evenly.demo.errors import FolderError
from evenly.demo.files import write_bytes
from evenly.demo.labels import class_labels
from evenly.demo.names import Name, name_picture
from evenly.demo.pictures.openmoji import draw_into
from evenly.demo.processes import Progress, no_progress, run_all

CAPTIONS = "metadata.csv"
CLASSES = "classes.txt"
_LIST = Path(str(files("evenly"))) / "recipes" / "demo_objects.txt"


def make_picture_folder(
    folder: Path, *, codes: Iterable[str] | None = None, seed: int = DEMO_SEED, progress: Progress = no_progress
) -> dict[str, int]:
    """Draw pictures into `<folder>/<class>/`; the number of pictures per class.

    Beside them lie metadata.csv (file_name, caption, group) and classes.txt. The pictures are those of the classes of
    recipes/demo_objects.txt unless `codes` names some of them. May be killed and called again. FolderError if another
    metadata.csv or classes.txt is there.
    """
    classes = _LIST.read_text(encoding="utf-8")
    names = {line.split("\t")[0] for line in classes.splitlines()}
    labels = {
        code: row for code, row in class_labels().items() if row[0] in names and (codes is None or code in set(codes))
    }
    return draw_folder(folder, labels, classes, caption=good_caption, seed=seed, progress=progress)


def draw_folder(
    folder: Path,
    labels: Mapping[str, tuple[str, str]],
    classes: str,
    *,
    caption: Callable[[Name, int, str], str],
    seed: int = DEMO_SEED,
    progress: Progress = no_progress,
) -> dict[str, int]:
    """Draw the codes of `labels` (code -> class, group) as `make_picture_folder` does, with captions by `caption`."""
    chosen = sorted(labels, key=lambda code: (labels[code][0], code))
    captions = {code: caption(name_picture(code), seed, code) for code in chosen}
    lists = {CAPTIONS: _captions(chosen, labels, captions).encode(), CLASSES: classes.encode()}
    for name, content in lists.items():
        if (folder / name).exists() and (folder / name).read_bytes() != content:
            raise FolderError(f"`folder` must hold no other {name}; got one in {folder}. Name another folder.")
    for label in {labels[code][0] for code in chosen}:
        (folder / label).mkdir(parents=True, exist_ok=True)
    paths = [folder / labels[code][0] / f"{code}.png" for code in chosen]
    missing = [path for path in paths if not path.exists()]
    progress(len(paths) - len(missing))
    for _ in run_all(functools.partial(_draw, seed=seed), missing, progress=progress):
        pass
    for name, content in lists.items():
        write_bytes(folder / name, content)
    return dict(Counter(path.parent.name for path in paths))


def _draw(path: Path, *, seed: int) -> None:
    draw_into(path.stem, folder=path.parent, seed=seed)


def _captions(codes: Iterable[str], labels: Mapping[str, tuple[str, str]], captions: Mapping[str, str]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("file_name", "caption", "group"))
    for code in codes:
        label, group = labels[code]
        table.writerow((f"{label}/{code}.png", captions[code], group))
    return text.getvalue()
