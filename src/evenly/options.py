"""Options of jobs that are a command, a flow and a function in Python, each written once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from evenly.signatures import NOT_TYPED, InWorkspace, Named, Place, Quiet

Limit = Annotated[int | None, Ge(1), "Take this many pairs, drawn by hash; such a build is not promoted."]
Workers = Annotated[int | None, Ge(1), "Worker processes, at most; default: one per core."]
Engine = Annotated[
    str | None, "What works on partitions: local, ray, or a cluster's address (auto, HOST:PORT, ray://…)."
]
Memory = Annotated[str | None, "What all processes may take, as 6GB or 50%; default: the recipe's, else 50%."]
AllowCode = Annotated[
    Place | None, "Run the Python files in this folder that the recipe names; default: EVENLY_ALLOW_CODE."
]

Also = Annotated[
    Sequence[str], "Judge pictures outside the pool too: photographs, digits, or a folder with captions or classes."
]
Hold = Annotated[
    float, Ge(0), Le(1), "How far nouns outside the pool are to move, as mean 1 - cosine; 0: as far as training moves."
]
HOLD = 0.009  # as of weight 20 on the demo, where held-out pairs gain and pictures outside the pool lose nothing


@dataclass(frozen=True, kw_only=True)
class RebuildOptions(InWorkspace):
    """Options of a rebuild."""

    limit: Limit = None
    workers: Workers = None
    engine: Engine = None
    replay_from: Annotated[Place | None, "Take downloads and replies recorded in this other workspace."] = None
    memory: Memory = None
    retry_failed: Annotated[bool, "Try downloads again that failed for a passing reason."] = False
    wait_s: Annotated[
        int, Ge(0), Named("--wait", "SECONDS"), "Wait so long for another process that rebuilds this recipe."
    ] = 0
    quiet: Quiet = False


@dataclass(frozen=True, kw_only=True)
class LanguageModelOptions(InWorkspace):
    """The language model that is asked, and what it may cost."""

    base_url: Annotated[str, "`embedded`, or an OpenAI-compatible endpoint, whose key comes from OPENAI_API_KEY."] = (
        "embedded"
    )
    model: Annotated[str, "The model's name at that endpoint."] = "smollm2"
    budget_usd: Annotated[float | None, Gt(0), "What the list may cost in all its runs."] = None
    prompt_usd_per_million: Annotated[float, Ge(0), "Price of a million prompt tokens."] = 0.0
    completion_usd_per_million: Annotated[float, Ge(0), "Price of a million tokens of replies."] = 0.0
    batch: Annotated[bool, Named("--batch"), "Ask through the endpoint's Batch API."] = False


@dataclass(frozen=True, kw_only=True)
class DescribeOptions(LanguageModelOptions):
    """Options of describing a class list."""

    methods: Annotated[
        Sequence[str] | None, Named("--method"), "A description method, or several with commas; may be repeated."
    ] = None
    build: Annotated[str | None, "A build, or a recipe for its latest: which pairs are confused, how names occur."] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class RefineOptions(InWorkspace):
    """Options of refining an encoder.

    None: 20 epochs of 256 pairs at a rate of .001 with rank 64; for blocks of towers 4 epochs of 64 pairs at .00001,
    for singular values 10 of 32 at .005, for deep prompts 5 of 32 at .002, with LayerNorms at .001.
    """

    objective: Annotated[str, "What is trained for, and after a comma how negatives are chosen: contrastive,unime."] = (
        "contrastive"
    )
    epochs: Annotated[int | None, Ge(1), "How often all pairs are gone through."] = None
    rank: Annotated[int | None, Ge(1), "Columns of the heads' inner layer."] = None
    batch_size: Annotated[int | None, Ge(2), "Pairs that are set against each other."] = None
    learning_rate: Annotated[float | None, "At the start; it falls to 0."] = None
    hold: Hold = HOLD
    margin: Annotated[float, "How far zero-shot accuracy on val may fall, 0 to 1."] = 0.01
    experts: Annotated[int, Ge(1), Le(64), "Heads with a router, which share the rank."] = 1
    towers: Annotated[int, Ge(0), Le(256), "Train so many blocks of both towers instead of heads; wants a GPU."] = 0
    tune: Annotated[
        Literal["blocks", "singular", "deep_prompts", "prompts_and_norms"],
        "What trains: all weights of the last ones, the singular values of these, tokens in the first, or tokens and "
        "all LayerNorms.",
    ] = "blocks"
    side: Annotated[Literal["both", "text", "image"], "Which towers."] = "both"
    teacher: Annotated[str | None, "LIST/NAME: the fitted adapter that labels pictures for `pseudo_labelled`."] = None
    force: Annotated[bool, Named("--force"), "Replace a refined encoder of this name."] = False
    build: Annotated[str, NOT_TYPED] = "latest"
    quiet: Quiet = False


@dataclass(frozen=True, kw_only=True)
class WorthOptions(InWorkspace):
    """Options of measuring what the steps of a recipe are worth."""

    seeds: Annotated[int, Ge(1), "How often heads are trained on each."] = 5
    hold: Hold = HOLD
    also: Also = ()
    quiet: Quiet = False


@dataclass(frozen=True, kw_only=True)
class TuneOptions(InWorkspace):
    """Options of judging other settings of a recipe."""

    product: Annotated[bool, Named("--product"), "All values of the fields together, not each field alone."] = False
    seeds: Annotated[int, Ge(1), "How often pairs are held out anew, and heads trained on those of each setting."] = 5
    quiet: Quiet = False


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(InWorkspace):
    """The encoder, and how it encodes."""

    model: Annotated[str, "`embedded`, `embedded2`, or a model of open_clip."] = "embedded"
    pretrained: Annotated[str | None, "Its weights: a tag of open_clip, or a file."] = None
    precision: Annotated[str, "fp32, bf16 or fp16: each has features of its own."] = "fp32"
    resize: Annotated[str, "pillow, or torch, which is faster: each has features of its own."] = "pillow"
    long_texts: Annotated[str, "cut, chunks or stretched: what becomes of texts that the model cannot read whole."] = (
        "cut"
    )
    device: Annotated[str | None, "cpu, cuda, cuda:1, ...; else a GPU where there is one."] = None
    threads: Annotated[int | None, Ge(1), "Batches prepared at once; else one per processor, up to 8."] = None


@dataclass(frozen=True, kw_only=True)
class EncodingOptions(EncoderOptions):
    """The encoder of a workspace, and its batches."""

    batch_size: Annotated[int | None, Ge(1), Le(4096), "Each size has features of its own; else 16 or 32."] = None
    engine: Annotated[str, "torch, or onnxruntime on a processor: each has features of its own."] = "torch"
    refine: Annotated[str | None, "A refined encoder of the workspace, made of this model."] = None
