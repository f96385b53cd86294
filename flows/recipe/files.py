"""Class lists in a recipe and their files, and the templates of `evenly init`."""

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, model_validator

from evenly.adapters import ADAPTERS
from evenly.adapters.class_texts import UnseenLabels
from evenly.adapters.methods.fudd import ConfusablePairs
from evenly.adapters.methods.vcd import Aggregate
from evenly.bounds import LocalPath, RenameRule
from evenly.descriptions.class_list import ClassList, parse_class_list
from evenly.descriptions.methods import METHODS
from evenly.flows.recipe.problems import known_names
from evenly.flows.recipe.section import Section
from evenly.signatures import Place
from evenly.storage.errors import TooLargeError
from evenly.storage.files.class_lists import MAX_BYTES
from evenly.storage.reading.budget import read_text


def _with_place(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("needs {} once, where the class name goes")
    return template


Template = Annotated[str, AfterValidator(_with_place)]


class ClassListing(Section):
    """A class list, the ways to describe it and the adapters to fit on it.

    `contexts` and `negations` are templates with {} for the class ("a drawing of a {}", "a photo without a {}") and
    `rejections` names of what is none of the classes: texts for the adapters and scores that use them, beside those of
    the methods contexts, negations and near_misses. `pairs` are what differential is about. `templates` make
    a set of texts of that name, each class the mean of its filled templates. `frequent_names`, relaxed or strict, makes
    a set in which each class goes by the name that the pool's captions say most often (REAL-Prompt). `given` is a file
    of texts written or edited by hand, which stand in the place of what its methods would bring. `aggregate` says how
    the texts of a class count together for the adapter `vcd` and the audit of descriptions; None: the mean of
    similarities, as published.
    """

    list: LocalPath
    methods: Annotated[tuple[str, ...], AfterValidator(lambda names: known_names("methods", names, METHODS))] = (
        "description",
        "synonyms",
    )
    adapters: Annotated[tuple[str, ...], AfterValidator(lambda names: known_names("adapters", names, ADAPTERS))] = (
        "linear",
        "gda",
    )
    given: str | None = None
    aggregate: Aggregate | None = None
    frequent_names: RenameRule | None = None
    pairs: ConfusablePairs = ConfusablePairs()
    templates: tuple[Template, ...] = ()
    contexts: tuple[Template, ...] = ()
    negations: tuple[Template, ...] = ()
    rejections: tuple[str, ...] = ()
    unseen: UnseenLabels = UnseenLabels()

    @model_validator(mode="after")
    def _texts_for_adapters(self) -> "ClassListing":
        if "fudd" in self.adapters and "differential" not in self.methods:
            raise ValueError(
                "adapter fudd needs texts about pairs of classes: the method differential; it is not there"
            )
        if self.frequent_names is not None and not {"synonyms", "llm_synonyms"} & {*self.methods}:
            raise ValueError("frequent_names chooses among synonyms: the method synonyms or llm_synonyms; got neither")
        if "disclip" in self.adapters and "description" not in self.methods and self.given is None:
            raise ValueError("adapter disclip selects from descriptions: the method description; it is not there")
        if "perceptionclip" in self.adapters and not self.contexts and "contexts" not in self.methods:
            raise ValueError("adapter perceptionclip needs contexts or the method contexts; got neither")
        return self


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
