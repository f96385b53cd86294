"""The provider's own words: what no record of a build can know, and what the law asks all the same."""

from datetime import date
from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
Section = Literal["public", "licensed", "third_party", "crawled", "users", "synthetic", "other"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProvidedModel(_Part):
    """The model that was trained on the build."""

    names: list[Text] = []
    dependencies: Text | None = None
    placed_on_market: date | None = None


class ProvidedSource(_Part):
    """A source of the recipe: the section of the template that it belongs to, and what it is."""

    section: Section
    title: Text | None = None
    link: Text | None = None
    description: Text | None = None


class ProvidedCrawler(_Part):
    """What the crawler was for, and what it was sent to."""

    purposes: Text | None = None
    behaviour: Text | None = None
    content: Text | None = None


class ProvidedUserData(_Part):
    """Whether data of users was used, of the model and of other services."""

    interactions: bool | None = None
    services: bool | None = None
    description: Text | None = None


class ProvidedSynthetic(_Part):
    """Synthetic data beside the captions that evenly recorded."""

    used: bool | None = None
    market_models: Text | None = None
    other_models: Text | None = None


class Provider(_Part):
    """Answers of a provider of a model; each that is left out is one that must still be said."""

    name: Text | None = None
    contact: Text | None = None
    representative: Text | None = None
    small: bool = False
    summary_version: Text | None = None
    model: ProvidedModel = ProvidedModel()
    text_content: Text | None = None
    image_content: Text | None = None
    latest_data: Text | None = None
    languages: Text | None = None
    characteristics: Text | None = None
    sources: dict[str, ProvidedSource] = {}
    other_public: Text | None = None
    licensed_agreements: bool | None = None
    other_third_party: Text | None = None
    crawler: ProvidedCrawler = ProvidedCrawler()
    user_data: ProvidedUserData = ProvidedUserData()
    synthetic: ProvidedSynthetic = ProvidedSynthetic()
    other_sources: bool | None = None
    other_description: Text | None = None
    code_of_practice: bool | None = None
    reservations: Text | None = None
    illegal_content: Text | None = None
    other: Text | None = None
    comments: dict[Annotated[str, Field(pattern=r"^[123]\.\d(\.\d)?$")], Text] = {}

    def answer(self, path: str) -> Any:  # noqa: ANN401 - the value of any field
        """The answer at a dotted path, or None."""
        return reduce(getattr, path.split("."), self)
