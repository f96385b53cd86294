"""Class lists in a recipe."""

from typing import Annotated

from pydantic import AfterValidator, model_validator

from evenly.adapters import ADAPTERS
from evenly.adapters.methods.fudd import ConfusablePairs
from evenly.adapters.methods.vcd import Aggregate
from evenly.bounds import LocalPath
from evenly.curation.concepts.name_frequency import RenameRule
from evenly.descriptions.methods import METHODS
from evenly.flows.recipe.section import Section, known_names
from evenly.tasks.classes.texts import UnseenLabels


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
