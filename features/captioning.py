"""Captions by an open_clip model with a text decoder (CoCa: Yu et al. 2022, arXiv:2205.01917), drawn by hash.

Tokens are drawn by top-p sampling (Holtzman et al. 2020, arXiv:1904.09751) from uniform numbers that follow from the
picture's name, the number of the sample and the place in the text. Batches have one shape and are run by one thread, so
a picture has the same captions whatever it is captioned together with. A caption ends at the model's end token, not at
the first full stop, which would cut "a no. 10 shirt".
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evenly.features.batched_rows import Progress, ahead, cut, filled
from evenly.features.encoder import PRECISIONS, check_counts
from evenly.features.errors import UnknownModelError
from evenly.features.open_clip_models import EMBEDDED, EMBEDDED_SECOND, OpenedModel, check_model_name, open_model
from evenly.features.pictures.decoded import middle, most_ratio, of_pillow
from evenly.features.pictures.rgb import open_rgb
from evenly.features.torch_session import default_threads, major_minor, torch_session

if TYPE_CHECKING:
    import torch

_START, _END = "<start_of_text>", "<end_of_text>"
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True)
class CaptionSampling:
    """Sampling of tokens: of the fewest that hold `top_p` of the probability, at `temperature`.

    A caption has `fewest` to `most` tokens, start and end not counted.
    """

    top_p: float = 0.9
    temperature: float = 1.0
    fewest: int = 3
    most: int = 24


def load_caption_model(
    model: str,
    pretrained: str | None = None,
    *,
    sampling: CaptionSampling,
    batch_size: int = 16,
    threads: int | None = None,
    precision: str | None = None,
) -> "CaptionModel":
    """The captioner of an open_clip model with a text decoder; on a GPU, and in bf16 there, where there is one.

    Raises UnknownModelError for a model without a decoder, WeightsUnavailableError where weights do not load.
    """
    import torch

    check_counts(batch_size=batch_size, threads=threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = precision or ("bf16" if device == "cuda" else "fp32")
    if chosen not in PRECISIONS:
        raise UnknownModelError(f"`precision` must be one of {', '.join(PRECISIONS)}; got `{chosen}`.")
    opened = open_model(model, pretrained, precision=chosen, device=device)
    if not hasattr(opened.model, "text_decoder"):
        raise _no_decoder(model)
    return CaptionModel(
        opened,
        sampling=sampling,
        batch_size=batch_size,
        threads=threads or default_threads(),
        precision=chosen,
        device=device,
    )


def check_caption_model_name(model: str, pretrained: str | None) -> None:
    """Raise UnknownModelError unless open_clip knows the model, the weights, and a text decoder; loads nothing.

    Of a model in a folder or on a hub it is seen when it is loaded whether it has one.
    """
    check_model_name(model, pretrained)
    if model in {EMBEDDED, EMBEDDED_SECOND}:
        raise _no_decoder(model)
    import open_clip

    config = open_clip.get_model_config(model.replace("/", "-"))
    if config is not None and "multimodal_cfg" not in config:
        raise _no_decoder(model)


def _no_decoder(model: str) -> UnknownModelError:
    return UnknownModelError(
        f"`model` must be one with a text decoder, as the models of open_clip with coca in their names; got "
        f"`{model}`. Choose one of these."
    )


class CaptionModel:
    """Draws captions of pictures. `identity` is a SHA-256 over all that they depend on beside picture and name."""

    def __init__(
        self,
        opened: OpenedModel,
        *,
        sampling: CaptionSampling,
        batch_size: int,
        threads: int,
        precision: str,
        device: str,
    ) -> None:
        import open_clip
        import torch

        self.facts: Mapping[str, Any] = {
            **opened.facts,
            "sampling": vars(sampling),
            "precision": precision,
            "batch_size": batch_size,
            "device": device,
            "libraries": {"torch": major_minor(torch.__version__), "open_clip": major_minor(open_clip.__version__)},
        }
        self.identity = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        self._opened, self._sampling = opened, sampling
        self._batch_size, self._threads, self._device = batch_size, threads, device
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        encoder = opened.tokenizer.encoder  # type: ignore[attr-defined] # open_clip has no types
        self._start, self._end = int(encoder[_START]), int(encoder[_END])
        if sampling.most + 2 > opened.context_length:
            raise UnknownModelError(
                f"`most` must be at most {opened.context_length - 2} tokens for this model; got {sampling.most}."
            )

    def captions(
        self, images: Sequence[bytes], names: Sequence[str], *, samples: range, progress: Progress | None = None
    ) -> list[list[str]]:
        """The captions of each picture, one for each number in `samples`, in order.

        `images` are bytes of original files, `names` what their draws follow from. `progress` is called with the number
        of pictures just finished. Raises UnreadableImageError for one that does not decode.
        """
        captions: list[list[str]] = []
        parts = list(cut(len(images), self._batch_size))

        def of_part(part: range) -> list[list[str]]:
            return self._of_batch(images[part.start : part.stop], names[part.start : part.stop], samples)

        with torch_session(self._threads) as pool:
            for batch in ahead(pool, of_part, parts, 2 * self._threads):
                captions += batch
                if progress is not None:
                    progress(len(batch))
        return captions

    def _of_batch(self, images: Sequence[bytes], names: Sequence[str], samples: range) -> list[list[str]]:
        import torch

        preprocess = self._opened.preprocess
        ratio = most_ratio(preprocess)
        middles = [middle(open_rgb(image), ratio) for image in images]
        pixels = torch.stack([preprocess(of_pillow(picture)) for picture in middles])
        pixels = filled(pixels, self._batch_size, 0).to(self._device, self._dtype)
        with torch.inference_mode():
            latent, tokens = self._opened.model._encode_image(pixels)  # noqa: SLF001 - the only way to the tokens
            drawn = [self._draw(latent, tokens, [f"{name} {sample}" for name in names]) for sample in samples]
        return [[self._text(rows[place]) for rows in drawn] for place in range(len(images))]

    def _draw(self, latent: "torch.Tensor", image_tokens: "torch.Tensor", names: Sequence[str]) -> list[list[int]]:
        """Token numbers of a caption for each of `names`; a batch is always run whole."""
        import torch

        rule, n = self._sampling, len(latent)
        chances = np.ones((n, rule.most))
        chances[: len(names)] = [list(_chances(name, rule.most)) for name in names]
        texts = torch.full((n, 1), self._start, dtype=torch.long, device=self._device)
        ended = torch.zeros(n, dtype=torch.bool, device=self._device)
        ended[len(names) :] = True
        for place in range(rule.most):
            output = self._opened.model(None, texts, image_latent=latent, image_embs=image_tokens, output_labels=False)[
                "logits"
            ][:, -1]
            logits = output.float() / rule.temperature
            logits[:, self._start] = logits[:, self._opened.pad_id] = -torch.inf
            if place < rule.fewest:
                logits[:, self._end] = -torch.inf
            tokens = _top_p(logits, rule.top_p, torch.from_numpy(chances[:, place].copy()).to(self._device))
            tokens = torch.where(ended, torch.full_like(tokens, self._end), tokens)
            texts = torch.cat([texts, tokens[:, None]], dim=1)
            ended |= tokens == self._end
            if bool(ended.all()):
                break
        return [row[1:] for row in texts.tolist()]

    def _text(self, tokens: Sequence[int]) -> str:
        kept = list(tokens[: tokens.index(self._end)]) if self._end in tokens else list(tokens)
        decoded = self._opened.tokenizer.decode(kept)  # type: ignore[attr-defined] # open_clip has no types
        return _SPACES.sub(" ", decoded).strip()


def _top_p(logits: "torch.Tensor", top_p: float, chances: "torch.Tensor") -> "torch.Tensor":
    """The token (n,) of each row of logits (n, v) on which its chance in [0, 1) falls, among the likeliest."""
    import torch

    probabilities, order = torch.softmax(logits.double(), dim=-1).sort(dim=-1, descending=True, stable=True)
    sums = probabilities.cumsum(dim=-1)
    kept = torch.where(sums - probabilities < top_p, probabilities, torch.zeros_like(probabilities)).cumsum(dim=-1)
    places = torch.searchsorted(kept, (chances[:, None] * kept[:, -1:]), right=True).clamp(max=kept.shape[1] - 1)
    return order.gather(1, places).squeeze(1)


def _chances(name: str, n: int) -> Iterator[float]:
    """`n` uniform numbers in [0, 1) that follow from a name."""
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")
    raw: npt.NDArray[np.uint64] = np.random.Philox(key=key).random_raw(n)
    yield from ((raw >> np.uint64(11)) * 2.0**-53).tolist()
