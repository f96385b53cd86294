"""Class lists in a recipe, and the language model that describes them."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from evenly.adapters import ADAPTERS
from evenly.adapters.methods.vcd import Aggregate
from evenly.curation.concepts.name_frequency import RenameRule
from evenly.descriptions.methods import METHODS
from evenly.flows.recipe.section import LocalPath, Section, Share, known_names


def _with_place(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("needs {} once, where the class name goes")
    return template


Template = Annotated[str, AfterValidator(_with_place)]


class Unseen(Section):
    """Labels that are not classes of the list: pictures of what a classifier should refuse, near to it and far."""

    near: tuple[str, ...] = ()
    far: tuple[str, ...] = ()


class Pairs(Section):
    """Which classes are taken for each other: pairs with both in the `top` likeliest of a train or val picture.

    Of these the most frequent, as few as make up the share `cover` of all occurrences. FuDD has 10 and 1.
    """

    top: Annotated[int, Field(ge=2)] = 5
    cover: Share = 0.9


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
    pairs: Pairs = Pairs()
    templates: tuple[Template, ...] = ()
    contexts: tuple[Template, ...] = ()
    negations: tuple[Template, ...] = ()
    rejections: tuple[str, ...] = ()
    unseen: Unseen = Unseen()

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


class LanguageModel(Section):
    """An OpenAI-compatible endpoint; `embedded` starts the packaged one. The key comes from OPENAI_API_KEY.

    Prices are US dollars for a million tokens. What a class list costs in all its runs stays within `budget_usd`.
    `batch` sends the requests through the endpoint's Batch API, and the prices are then those of batches.
    """

    base_url: str = "embedded"
    model: str = "smollm2"
    budget_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    prompt_usd_per_million: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    completion_usd_per_million: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    batch: bool = False

    @model_validator(mode="after")
    def _options_go_together(self) -> "LanguageModel":
        if self.budget_usd is not None and not self.prompt_usd_per_million and not self.completion_usd_per_million:
            raise ValueError("budget_usd needs prompt_usd_per_million or completion_usd_per_million; got neither")
        if self.batch and self.base_url == "embedded":
            raise ValueError("batch needs the base_url of an endpoint that has a Batch API; got embedded")
        return self
