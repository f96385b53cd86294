"""Options of commands about pools and builds, which the module that does the work reads too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from annotated_types import Ge, Le

from evenly.options import LanguageModelOptions
from evenly.signatures import InWorkspace, Named, Quiet

Synonyms = Annotated[
    str | None, "Other names: a .json, .tsv or .txt file, `wordnet`, or a described list (its name, a step key)."
]


@dataclass(frozen=True, kw_only=True)
class ConceptsOptions(LanguageModelOptions):
    """Options of `evenly concepts`."""

    build: Annotated[str | None, "The build whose whole pool is looked at, or a recipe."] = None
    pool: Annotated[Path | None, "A pool instead: .parquet, .csv or .jsonl."] = None
    caption: Annotated[str, "With --pool: its column of captions."] = "caption"
    synonyms: Synonyms = None
    prefix: Annotated[str | None, "A word that a caption must hold as well: satellite."] = None
    judge: Annotated[int, Ge(0), "Most captions per class that a model judges; REAL: 10000."] = 0
    domain: Annotated[str | None, "What kind of things the classes are, for the judge."] = None
    tail: Annotated[str, "lowest_fifth, or published: one class more."] = "lowest_fifth"
    out: Annotated[Path | None, "Write classes to this .csv or .parquet, names beside it."] = None
    plot: Annotated[Path | None, "Draw the long tail into this .svg."] = None
    plurals: Annotated[bool, Named("--plurals"), "Count plain plurals of names as well."] = False


@dataclass(frozen=True, kw_only=True)
class ClustersOptions(InWorkspace):
    """Options of `evenly clusters`."""

    build: Annotated[str, "The build whose pictures are clustered."] = "latest"
    k: Annotated[int, Ge(1), "Clusters."] = 1000
    labels: Annotated[int, Ge(1), "Nearest clusters that each picture gets."] = 8
    iterations: Annotated[int, Ge(1), "Of k-means."] = 20
    near_cosine: Annotated[float, Ge(-1), Le(1), "From which cosine on two are duplicates."] = 0.95
    out: Annotated[Path | None, "The folder to write tables to, as Parquet."] = None


@dataclass(frozen=True, kw_only=True)
class LinkOptions(InWorkspace):
    """Options of `evenly link`."""

    build: Annotated[str, "The build whose pairs are linked."] = "latest"
    weight: Annotated[list[float] | None, "Of the picture, 0 to 1; repeat it to choose one."] = None
    floor: Annotated[float, Ge(0.01), Le(1.0), "The lowest cosine that is tried."] = 0.5
    out: Annotated[Path | None, "The folder to write the curve and the records to, as CSV."] = None


@dataclass(frozen=True, kw_only=True)
class SearchOptions(InWorkspace):
    """Options of `evenly search`."""

    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="What the pictures show.")] = None
    build: Annotated[str, "A build id, the beginning of one, or a recipe."] = "latest"
    image: Annotated[list[Path] | None, "A picture that they are like; may be repeated."] = None
    uid: Annotated[list[str] | None, "A pair that they are like; may be repeated."] = None
    minus: Annotated[list[str] | None, "What they are not to show; may be repeated."] = None
    rows: Annotated[str, "kept, dropped (all that are not in the build) or all."] = "all"
    where: Annotated[
        list[str] | None, "source=flickr, reason=near_duplicate, width>=512: any column; may be repeated."
    ] = None
    top: Annotated[int, Ge(1), "How many pairs."] = 20
    index: Annotated[str | None, "By an index that `evenly index` made: ivf_pq, ivf_hnsw_sq or binary."] = None
    within: Annotated[str, Named("--in"), "What is compared: pictures, captions or regions."] = "pictures"
    relations: Annotated[
        Path | None, Named(metavar="LIST"), "Things of which the text says how two lie: results by that, too."
    ] = None
    sheet: Annotated[Path | None, "A contact sheet to write: FILE.html or FILE.png."] = None


@dataclass(frozen=True, kw_only=True)
class RegionsOptions(InWorkspace):
    """Options of `evenly regions`."""

    method: Annotated[str | None, "What finds regions; --methods lists them."] = None
    texts: Annotated[Path | None, Named(metavar="LIST"), "Things, one a line; or .json of texts by thing."] = None
    template: Annotated[list[str] | None, "A text with {} for the thing; may be repeated."] = None
    option: Annotated[list[str] | None, Named(metavar="NAME=VALUE"), "A hyper-parameter; may be repeated."] = None
    boxes: Annotated[str | None, "The column of regions that the method names."] = None
    detector: Annotated[
        Path | None, Named(metavar="FILE"), "An ONNX file, or JSON of its form, whose boxes the method names."
    ] = None
    dense: Annotated[str | None, "stored or made: keep rows of cells, or make them again."] = None
    out: Annotated[Path | None, Named(metavar="FILE"), "Write the table: .parquet or .json."] = None
    methods: Annotated[bool, Named("--methods"), "List the methods, their needs and options; end."] = False
    quiet: Quiet = True


@dataclass(frozen=True, kw_only=True)
class RetrieveOptions(InWorkspace):
    """Options of `evenly retrieve`."""

    build: Annotated[str | None, "The build whose pictures are chosen from, or a recipe; default: latest."] = None
    pool: Annotated[str | None, "Your own instead: a folder of pictures, .tar shards, .parquet with features."] = None
    caption: Annotated[str | None, "With --pool: their column or key; default: caption."] = None
    vector: Annotated[str | None, "With --pool: the features in or beside the .parquet."] = None
    model: Annotated[str, "With --pool: `embedded`, or an open_clip model."] = "embedded"
    pretrained: Annotated[str | None, "With --pool: the weights of the model."] = None
    method: Annotated[str, "t2t, t2i, swat or reco; docs/concepts.md."] = "t2t"
    per_class: Annotated[int, Ge(1), "Pictures wanted for each class."] = 100
    synonyms: Synonyms = None
    template: Annotated[list[str] | None, "A prompt, {} the name; may be repeated."] = None
    min_image_cosine: Annotated[
        float | None, "Least cosine of picture and prompts; default: 0.25 with swat, else none."
    ] = None
    max_duplicate_cosine: Annotated[
        float | None, "Pictures nearer to one another are merged; default: 0.9 with swat, else none."
    ] = None
    seed_share: Annotated[float, Ge(0.01), Le(1), "Share that makes a prototype."] = 0.5
    against: Annotated[list[Path] | None, "A folder or file of evaluation pictures to stay clear of; repeatable."] = (
        None
    )
    max_evaluation_cosine: Annotated[float, "With --against: from which cosine on."] = 0.95
    out: Annotated[Path | None, "The folder to write tables, prototypes and support.npz to."] = None
