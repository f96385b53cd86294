"""The recipe: a YAML file that says what a dataset is made of and how. Data, not code.

Unknown keys are refused; every problem of a file is reported at once, each with field, value, rule and remedy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from evenly.bounds import LocalPath, MemorySize, PoolPath, Share
from evenly.curation.balance.source_mixing import SourceRule
from evenly.curation.encoder_name import EncoderName
from evenly.descriptions.chat.endpoint import LanguageModel
from evenly.features.pictures.views import ViewRule
from evenly.flows.recipe.curation import Curate, without_download
from evenly.flows.recipe.files import ClassListing
from evenly.flows.recipe.problems import RecipeError, describe_problems, with_values, without_places
from evenly.flows.recipe.section import Notify, RebuildSchedule, Section
from evenly.flows.recipe.untrusted_yaml import MAX_BYTES, UnreadableYamlError, read_yaml
from evenly.signatures import Place
from evenly.storage.errors import TooLargeError
from evenly.storage.pools.source import LOCAL_READERS, TABLE_READERS, PoolSource
from evenly.storage.reading.budget import read_text
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.guard import parse_connect
from evenly.storage.web.rule import Retry
from evenly.tasks.captions import CAPTIONERS
from evenly.tasks.run import EncoderChoice, EngineChoice, SecondChoice, read_engine

SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
_SHARES_WITHIN = 1e-6
_STAND_INS = {"name": "recipe", "seed": 0, "curate": {}}  # of fields that must be there


@dataclass(frozen=True, kw_only=True)
class Source(PoolSource, SourceRule):
    """A pool of image-text pairs. `url`, `caption`, `id` and `source` name its columns; docs/sources.md.

    `url: null` reads captions alone from a table.

    webdataset and folder hold pictures: the caption of one is the `.txt` beside it, else the key `caption`; `caption`
    names another key, and in shards no `.txt` is looked at then. `name` fills the column `source`; `weight` keeps a
    pair with that probability, `quota` that many pairs, `share` the source's share of the largest mix.
    features hold `vector` in place of a picture, made by `encoder`, which must be that of the recipe. `regions` is a
    JSON file of COCO's annotations in a folder.
    """

    kind: Literal["parquet", "csv", "jsonl", "wat", "webdataset", "folder", "features"]
    path: PoolPath
    name: SourceName | None = None
    encoder: EncoderName | None = None

    @property
    def mix(self) -> SourceRule:
        """The share or number of pairs of the source that is kept."""
        return SourceRule(weight=self.weight, quota=self.quota, share=self.share)

    @property
    def pool(self) -> PoolSource:
        """Where the source is read from."""
        return PoolSource(**{field.name: getattr(self, field.name) for field in fields(PoolSource)})

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.kind == "features") != (self.encoder is not None) or (self.vector and self.kind != "features"):
            raise ValueError(
                f"vector and encoder belong to kind features, which needs the latter; got kind {self.kind}"
            )
        if self.url is None and self.kind not in TABLE_READERS:
            raise ValueError(f"url: null is for kinds {', '.join(TABLE_READERS)}; got kind {self.kind}")
        if self.regions is not None and self.kind != "folder":
            raise ValueError(f"regions, a file in a folder, is for kind folder; got kind {self.kind}")
        limits = [name for name in ("weight", "quota", "share") if getattr(self, name) is not None]
        if limits and self.name is None:
            raise ValueError(f"{', '.join(limits)} needs a name for the source; got none")


def _without_url(values: object) -> object:
    """The values of a source, if they name no column of URLs where nothing is downloaded."""
    if isinstance(values, Mapping) and "url" in values and values.get("kind") in [*LOCAL_READERS]:
        raise ValueError(f"kind {values['kind']} downloads nothing and takes no url; got {values['url']}")
    return values


RecipeSource = Annotated[Source, BeforeValidator(_without_url)]


class Labels(Section):
    """Class and group per picture, from a file keyed by `key`, or without one from two columns of the pool.

    Members of a group never part in a split. `split`, a file, says which part a picture belongs to. Keys are URLs or,
    of pictures at hand, file names in their pool.
    """

    file: LocalPath | None = None
    key: str = "url"
    column: str = "label"
    group: str | None = "group"
    split: LocalPath | None = None


@dataclass(frozen=True, kw_only=True)
class RecipeFeatures(EncoderChoice):
    """The encoder: `embedded`, or any open_clip model with its pretrained tag; `second` is for adapters that ask.

    `views` are crops and mirror images of train pictures, for adapters that learn from several of each. `encode: false`
    leaves out to encode the pairs of a build, which its steps do not need.
    """

    second: SecondChoice | None = None
    views: ViewRule | None = None
    encode: bool = True

    @property
    def encoder(self) -> EncoderChoice:
        """The main encoder alone."""
        return EncoderChoice(**{field.name: getattr(self, field.name) for field in fields(EncoderChoice)})


def _reachable(connect: dict[str, str]) -> dict[str, str]:
    """Where hosts are reached, if all are addresses, none of them of a machine's own services."""
    try:
        targets = parse_connect(connect)
    except DownloadError as error:
        raise ValueError(str(error)) from None
    for host, (address, _) in targets.items():
        ip = ip_address(address)
        if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
            raise ValueError(f"connect must not lead to link-local or multicast addresses; got {address} for {host}")
    return connect


class Web(Section):
    """Hosts of the pool that are reached at another address, or at one that is not public: loopback, an intranet.

    `connect` maps a host to `address` or `address:port`, like curl's --connect-to; EVENLY_CONNECT counts before it.
    """

    connect: Annotated[dict[str, str], AfterValidator(_reachable)]


class Guard(Section):
    """A build whose share of kept pairs differs from `latest` by more than `max_change` is not promoted."""

    max_change: Share = 0.2


class ReportMeasures(Section):
    """Retrieval and diversity of so many kept `pairs` of each build, those of the smallest uids, for its report."""

    pairs: Annotated[int, Field(ge=2, le=20_000)] = 1000


class Recipe(Section):
    """Everything that a build is made from, and where and when.

    `memory` is what a rebuild may take, all its processes together: docs/scale.md. `measure` is for reports, null
    leaves retrieval and diversity out. Both change no build.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    seed: Annotated[int, Field(ge=0)]
    web: Literal["openmoji"] | Web | None = None
    sources: Annotated[tuple[RecipeSource, ...], Field(min_length=1)]
    labels: Labels | None = None
    curate: Curate
    features: RecipeFeatures = RecipeFeatures()
    classes: tuple[ClassListing, ...] = ()
    llm: LanguageModel = LanguageModel()
    engine: Annotated[EngineChoice, BeforeValidator(read_engine, json_schema_input_type=str | EngineChoice)] = (
        EngineChoice()
    )
    schedule: RebuildSchedule | None = None
    notify: Notify | None = None
    guard: Guard = Guard()
    measure: ReportMeasures | None = ReportMeasures()
    memory: MemorySize | None = None
    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The folder of the recipe file, which its paths are relative to; the working folder without a file."""
        return self._folder

    def model_post_init(self, context: Mapping[str, Path] | None, /) -> None:
        """Take over the folder that `read_recipe` read it in."""
        self._folder = Path() if context is None else context["folder"]

    @property
    def measured_pairs(self) -> int:
        """The most kept pairs whose retrieval and diversity a rebuild measures, which it has encoded; 0 for none."""
        has_features = self.has_pictures and self.features.encode
        return self.measure.pairs if has_features and self.measure is not None else 0

    @property
    def has_pictures(self) -> bool:
        """Whether its pairs have pictures, or features of these."""
        return self.curate.download is not None

    def retry_at(self, started: datetime) -> Retry | None:
        """The failed downloads that a run asks again, by when it started; None where it asks none."""
        retry = None if self.schedule is None else self.schedule.retry
        return None if retry is None else retry.of_run(started)

    @model_validator(mode="after")
    def _features_fit(self) -> "Recipe":
        encoders = [source.encoder for source in self.sources if source.encoder is not None]
        chosen = EncoderName(model=self.features.model, pretrained=self.features.pretrained)
        wrong = next((name for name in encoders if name != chosen), None)
        if wrong is not None:
            raise ValueError(f"features of sources must be of the recipe's encoder {chosen}; got {wrong}")
        views = [] if self.features.views is None else ["features.views"]
        if encoders and (fields_of_bytes := [*_asks_for_bytes(self.curate), *views]):
            raise ValueError(
                f"sources of features hold no pictures: {', '.join(fields_of_bytes)} must be null or left out"
            )
        return self

    @model_validator(mode="after")
    def _pictures_are_there(self) -> "Recipe":
        curate, labels = self.curate, self.labels
        features = self.features.second is not None or "features" in self.model_fields_set
        named = [name for name, is_on in (("classes", self.classes), ("features", features)) if is_on]
        if curate.download is None and named:
            raise ValueError(without_download(named))
        if all(source.url is not None for source in self.sources):
            return self
        domains = curate.safety is not None and curate.safety.domains
        picks = curate.balance is not None and curate.balance.texts == "one_per_image"
        of_file = labels is not None and (labels.file is not None or labels.split is not None)
        choices = {
            "download (leave it out of curate)": curate.download is not None,
            "safety.domains": domains,
            "balance.texts: one_per_image": picks,
            "labels of a file or a split": of_file,
        }
        if names := [name for name, is_on in choices.items() if is_on]:
            raise ValueError(f"a source with url: null gives pairs without URLs and takes no {' and no '.join(names)}")
        return self

    @model_validator(mode="after")
    def _features_are_there(self) -> "Recipe":
        if self.classes and not self.features.encode:
            raise ValueError(
                "features.encode: false leaves builds without features and takes no classes; leave one out"
            )
        return self

    @model_validator(mode="after")
    def _sources_mix(self) -> "Recipe":
        names = [source.name for source in self.sources if source.name is not None]
        shares = [source.share for source in self.sources if source.share is not None]
        if len({*names}) < len(names):
            raise ValueError(f"the names of sources must differ; got {', '.join(names)}")
        if shares and (len(shares) < len(self.sources) or abs(sum(shares) - 1) > _SHARES_WITHIN):
            raise ValueError(f"share must be given for every source and sum to 1; got {', '.join(map(str, shares))}")
        return self


def read_recipe(path: Place, changes: Mapping[str, object] = MappingProxyType({})) -> Recipe:
    """Read and check a recipe file; changes: values that take the place of the file's, by dotted names.

    Raises RecipeError, whose text has one line per problem.
    """
    try:
        value = read_yaml(_text(path))
    except TooLargeError as error:
        raise RecipeError(str(error)) from None
    except OSError as error:
        raise RecipeError(
            f"recipe `{path}` must be a readable file; {error.strerror}. `evenly init` writes one."
        ) from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe `{path}` must be YAML in UTF-8; {error}. Save it as UTF-8.") from None
    except UnreadableYamlError as error:
        raise RecipeError(f"recipe `{path}` must be YAML: {error}. Correct it there.") from None
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise RecipeError(f"recipe `{path}` must be a mapping of fields; got {kind}. See `evenly init`.")
    recipe, problems = _validated(with_values(value, changes), Path(path).resolve().parent)
    if recipe is None or problems:
        refused = RecipeError("\n".join(problems))
        refused.rest = recipe
        raise refused
    return recipe


def _validated(value: dict[str, Any], folder: Path) -> tuple[Recipe | None, list[str]]:
    """The recipe, and its problems: what has one is taken out, since whole sections are checked without problems only.

    None where what is left is no recipe.
    """
    problems, removed = list[str](), set[tuple[int | str, ...]]()
    while True:
        try:
            return Recipe.model_validate(value, context={"folder": folder}), problems
        except ValidationError as error:
            problems += describe_problems(error, Recipe, removed=removed)
            places = {problem["loc"] for problem in error.errors(include_url=False)}
        left = _STAND_INS | without_places(value, places) if places - removed else value
        if left == value:
            return None, problems
        value, removed = left, removed | places


def _text(path: Place) -> str:
    return read_text(Path(path), field="recipe", limit_bytes=4 * MAX_BYTES, encoding="utf-8")


def read_notify(path: str | Path) -> tuple[str, Notify | None]:
    """The name and `notify` of a recipe file, of which nothing else need be valid; None where there is none to be had.

    The name is the file's where the recipe has none.
    """
    try:
        value = read_yaml(_text(path))
        content = value if isinstance(value, dict) else {}
        notify = None if content.get("notify") is None else Notify.model_validate(content["notify"])
    except (OSError, ValueError):
        return Path(path).stem, None
    return str(content.get("name", Path(path).stem)), notify


def _asks_for_bytes(curate: Curate) -> list[str]:
    """The fields that would judge pictures by their bytes or colours, and so pass those that are not there."""
    names = curate.needing("bytes")
    if curate.recaption is not None:
        reading = [entry.name for entry in curate.recaption.captioners if CAPTIONERS[entry.kind].reads_pictures]
        names += [f"recaption by {name}" for name in reading]
    return names
