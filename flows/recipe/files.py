"""Files that recipes name: class lists beside the recipe, and the templates of `evenly init`."""

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from evenly.descriptions.class_list import ClassList, parse_class_list
from evenly.flows.recipe.classes import ClassListing
from evenly.signatures import Place
from evenly.storage.errors import TooLargeError
from evenly.storage.files.class_lists import MAX_BYTES
from evenly.storage.reading.budget import read_text

RECIPES = Path(str(files("evenly"))) / "recipes"
TEMPLATE = RECIPES / "template.yaml"
TEXT_TEMPLATE = RECIPES / "text_template.yaml"
FOLDER_TEMPLATE = RECIPES / "folder_template.yaml"
DEMO = RECIPES / "demo.yaml"


class ListingFileError(ValueError):
    """A class list file cannot be read."""


@dataclass(frozen=True)
class ListingText:
    """A class list as it stands in its file."""

    name: str
    text: str

    @cached_property
    def class_list(self) -> ClassList:
        """The classes, parsed once. Raises ClassListError."""
        return parse_class_list(self.text, self.name)


def read_listing(recipe: Place, listing: ClassListing) -> ListingText:
    """The class list that a recipe names: a path beside the recipe, or an absolute one."""
    return read_class_file(Path(recipe).resolve().parent / listing.list)


def read_class_file(path: Path) -> ListingText:
    """The text of a class list file; its name is the file's without the ending.

    Raises ListingFileError where it cannot be read.
    """
    try:
        text = read_text(path, field="class list", limit_bytes=MAX_BYTES, encoding="utf-8")
        return ListingText(name=path.stem, text=text)
    except TooLargeError as error:
        raise ListingFileError(str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ListingFileError(
            f"class list `{path}` must be a readable text file; {reason}. Write one class per line."
        ) from None
