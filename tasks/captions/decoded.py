"""Captions by an open_clip model with a text decoder, such as CoCa: drawn once per picture and sample, and kept."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le

from evenly.curation.encoder_name import EncoderName
from evenly.descriptions.captions.asked import made
from evenly.features.captioning import CaptionModel, CaptionSampling, check_caption_model_name, load_caption_model
from evenly.storage.feature_store import TextStore
from evenly.storage.web.images import read_images
from evenly.tasks.captions.captioner import Captioner, Shown
from evenly.tasks.run import Run, with_model

_AT_ONCE = 256  # pictures whose bytes are held


@dataclass(frozen=True, kw_only=True)
class DecodedRule(EncoderName):
    """An open_clip model with a text decoder, by name and `pretrained` tag or file; `samples` captions of each picture.

    Tokens are drawn from the likeliest that hold `top_p`, at `temperature`; a caption has up to `max_tokens`.
    """

    samples: Annotated[int, Ge(1), Le(16)] = 1
    top_p: Annotated[float, Gt(0), Le(1)] = 0.9
    temperature: Annotated[float, Gt(0), Le(5)] = 1.0
    max_tokens: Annotated[int, Ge(4), Le(70)] = 24
    batch_size: Annotated[int, Ge(1), Le(1024)] = 16
    precision: Literal["fp32", "bf16", "fp16"] | None = None


@lru_cache(maxsize=1)
def open_caption_model(rule: DecodedRule) -> CaptionModel:
    """The model, loaded on first use and kept for the process."""
    sampling = CaptionSampling(top_p=rule.top_p, temperature=rule.temperature, most=rule.max_tokens)
    return load_caption_model(
        rule.model, rule.pretrained, sampling=sampling, batch_size=rule.batch_size, precision=rule.precision
    )


@with_model
def _offer(run: Run, rule: DecodedRule, shown: Shown) -> pa.Table:
    model = open_caption_model(rule)
    store = TextStore(run.workspace, model.identity, "captions")
    ids = shown.pairs["image_id"].to_pylist()
    distinct = sorted(set(ids))
    stored = [store.read(distinct, sample) for sample in range(rule.samples)]
    texts_of = {
        name: [text for text in texts if text is not None]
        for name, texts in zip(distinct, zip(*stored, strict=True), strict=True)
    }
    for first in range(rule.samples):  # samples were drawn in order, so that those that are missing are the last ones
        missing = [name for name, texts in texts_of.items() if len(texts) == first]
        numbers = range(first, rule.samples)
        with run.progress.bar(f"captioning {shown.name}", len(missing)) as advance:
            for start in range(0, len(missing), _AT_ONCE):
                names = missing[start : start + _AT_ONCE]
                images = list(read_images(run.workspace.downloads, names, shown.places))
                drawn = model.captions(images, names, samples=numbers, progress=advance)
                for place, number in enumerate(numbers):
                    store.append(names, [texts[place] for texts in drawn], number)
                texts_of |= {name: [*texts_of[name], *texts] for name, texts in zip(names, drawn, strict=True)}
    texts = [text for image_id in ids for text in texts_of[image_id][: rule.samples]]
    return made(
        shown.pairs,
        places=np.repeat(np.arange(len(ids)), rule.samples).tolist(),
        captions=[text or None for text in texts],
        samples=list(range(rule.samples)) * len(ids),
        refused=["" if text else "empty" for text in texts],
    )


def _identity(_run: Run, rule: DecodedRule) -> str:
    return open_caption_model(rule).identity


def _ready(_run: Run, rule: DecodedRule) -> None:
    check_caption_model_name(rule.model, rule.pretrained)


DECODED = Captioner(rule=DecodedRule, offer=_offer, identity=_identity, ready=_ready)
