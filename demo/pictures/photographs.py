"""Photographs that scikit-image and scikit-learn ship, in a folder per class: pictures of another kind than drawings.

One of each thing, 16 in all.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from evenly.demo.errors import PicturesError
from evenly.demo.files import write_class_folder
from evenly.installing import install_extra

PHOTOGRAPHS: Mapping[str, tuple[str, str]] = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "brick wall": ("skimage", "data/brick.png"),
    "photographer": ("skimage", "data/camera.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "cup of coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "galaxies": ("skimage", "data/hubble_deep_field.jpg"),
    "moon": ("skimage", "data/moon.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "page of a book": ("skimage", "data/page.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "handwriting": ("skimage", "data/text.png"),
    "temple": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}
"""What a photograph shows, the package that holds it, and where."""


def make_photographs(folder: Path) -> None:
    """Write the photographs as `<class>/<file>`, the packages' bytes. May be killed and called again.

    Raises PicturesError where a package or a photograph is not there, FolderError for a folder that holds other things.
    """
    contents = {
        f"{name}/{Path(place).name}": _content(package, place) for name, (package, place) in PHOTOGRAPHS.items()
    }
    write_class_folder(folder, contents, "photographs of packages")


def _content(package: str, place: str) -> bytes:
    spec = importlib.util.find_spec(package)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / place
    if path is None or not path.is_file():
        raise PicturesError(f"`{package}` must hold `{place}`; it is not there. Run: {install_extra('embedded')}")
    return path.read_bytes()
