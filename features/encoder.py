"""Encoders: file bytes and texts in, feature rows out, the same bits whenever the same encoder is asked again."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from evenly.features.batched_rows import (
    BATCH_SIZE,
    FileOrPixels,
    ImageTower,
    Positions,
    Progress,
    batched_rows,
    cut,
    default_batch_size,
    filled,
)
from evenly.features.device import chosen_device, device_errors, device_name
from evenly.features.encoders.engines import TowerEngine, check_onnx_fits
from evenly.features.encoders.folding import noise
from evenly.features.encoders.same_padding import less_work
from evenly.features.errors import UnknownModelError
from evenly.features.open_clip_models import EMBEDDED, EMBEDDED_SECOND, OpenedModel, check_model_name, open_model
from evenly.features.pictures.decoded import Resizer
from evenly.features.texts.chunks import chunk_average, chunks_of
from evenly.features.texts.positions import stretched
from evenly.features.texts.tokens import LongTexts, count_tokens
from evenly.features.torch_session import default_threads, major_minor, torch_session
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "bf16", "fp16")
_TEXT_BATCHES_PER_WINDOW = 64
_MARKS = 8  # more than a tokenizer adds to a text; beside them no letter of ASCII takes more than one token


class SecondBackbone(Protocol):
    """An encoder of pictures alone: it turns them into feature rows (n, e), float32, not normalised; it has no texts.

    An `Encoder` is one. Rows come in the order of the input, `progress` counts those just finished.
    """

    @property
    def identity(self) -> str:
        """SHA-256 over all that the numbers depend on; rows of different identities are never mixed."""
        ...

    @property
    def dimension(self) -> int:
        """The number of columns e."""
        ...

    @property
    def device_name(self) -> str:
        """The device that makes the rows, as `evenly.features.device.device_name` has it; no part of the identity."""
        ...

    def encode_images(self, images: Iterable[FileOrPixels], *, progress: Progress | None = None) -> Single:
        """Rows of pictures: bytes of their original files, or pixels (height, width, 3) in RGB, taken as needed."""
        ...


class Encoder(SecondBackbone, Protocol):
    """An encoder: it turns pictures and texts into comparable feature rows (n, d), float32, not normalised.

    Rows come in the order of the input. `progress` is called with the number of rows just finished.
    """

    def encode_texts(self, texts: Sequence[str], *, progress: Progress | None = None) -> Single:
        """Rows of texts; longer ones than the model reads are cut (see `truncated`), unless it was told otherwise."""
        ...

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is longer than the model reads."""
        ...

    @property
    def context_length(self) -> int:
        """The number of tokens of a text that the model reads."""
        ...

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, with the marks of its ends."""
        ...


def load_encoder(
    model: str,
    pretrained: str | None = None,
    *,
    cache: str | Path,
    threads: int | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
    device: str | None = None,
    resize: Resizer = "pillow",
) -> "OpenClipEncoder":
    """The encoder of an open_clip model with its weights, on `device`, else on the GPU where there is one.

    `model` is `embedded`, or `embedded2` with a finer picture tower (assembled under `cache` on first use, which takes
    half a minute; needs no network), a name of open_clip with `pretrained` a tag or a file, or `local-dir:FOLDER` or
    `hf-hub:NAME`. `threads` batches are under way at once, each decoded and run by one thread; by default one per
    processor, up to 8 (each holds a batch in memory). They change nothing in the numbers, nor the identity;
    `batch_size` does, by default `default_batch_size`. Batch normalisations are folded and paddings made
    symmetric: features/encoders.
    """
    check_counts(batch_size=batch_size, threads=threads)
    if precision not in PRECISIONS:
        choices = ", ".join(f"`{choice}`" for choice in PRECISIONS)
        raise UnknownModelError(f"`precision` must be one of {choices}; got `{precision}`. Use `fp32` if unsure.")
    check_model_name(model, pretrained)
    with ThreadPoolExecutor(1) as pool:
        embedded = pool.submit(_embedded, model, cache)  # its files are hashed while torch is imported
        place = chosen_device(device)
        source, made_of = embedded.result()
    with device_errors(place, batch_size or BATCH_SIZE):
        opened = folded(open_model(source, pretrained, precision=precision, device=place), place)
    opened = replace(opened, files=(*opened.files, *made_of))
    return OpenClipEncoder(
        opened,
        batch_size=batch_size or default_batch_size(opened.model.visual, place),
        threads=threads or default_threads(),
        precision=precision,
        device=place,
        resize=resize,
    )


def folded(opened: OpenedModel, device: str) -> OpenedModel:
    """The model with less work for the same function; its facts say how many batch normalisations were folded."""
    tower = opened.model.visual
    probe = noise(opened.preprocess).to(device, next(tower.parameters()).dtype)
    with torch_session():
        facts = less_work(tower, partial(opened.model.encode_image, normalize=False), probe)
    return replace(opened, facts={**opened.facts, **facts})


def _embedded(model: str, cache: str | Path) -> tuple[str, tuple[Path, ...]]:
    """A model as open_clip opens it, and the files that an embedded one was assembled from."""
    if model not in {EMBEDDED, EMBEDDED_SECOND}:
        return model, ()
    from evenly.features.embedded_weights import embedded_folder, embedded_tower, text_weights

    tower = embedded_tower(model)
    return f"local-dir:{embedded_folder(cache, tower)}", (tower.weights, text_weights())


def check_counts(**counts: int | None) -> None:
    """Raise UnknownModelError for a number below 1; None stands for a default."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UnknownModelError(f"`{name}` must be at least 1; got {value}. Leave it out for the default.")


class OpenClipEncoder:
    """An open_clip model as an `Encoder`.

    Every batch has the same shape (cut by position, the last one filled up) and is run by one thread. On one machine a
    row then has the same bits whatever it is encoded together with: tests/features/test_embedded_weights.py.
    """

    def __init__(
        self,
        opened: OpenedModel,
        *,
        batch_size: int,
        threads: int,
        precision: str,
        device: str,
        resize: Resizer = "pillow",
    ) -> None:
        import open_clip
        import torch

        self.dimension = opened.dimension
        self.device_name = device_name(device)
        self.opened = opened
        self._batch_size = batch_size
        self._threads = threads
        self._device = device
        layout = torch.channels_last if device == "cpu" else torch.contiguous_format
        opened.model.to(memory_format=layout)
        tower = ImageTower(
            run=partial(opened.model.encode_image, normalize=False),
            preprocess=opened.preprocess,
            dimension=opened.dimension,
            batch_size=batch_size,
            threads=threads,
            device=device,
            dtype={"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision],
            layout=layout,
            resize=resize,
        )
        self.images = tower if opened.engine is None else opened.engine(tower, opened.model.visual)
        pixels = {} if resize == "pillow" else {"resize": resize, "pixels": self.images.pixels.probe()}
        self.facts: Mapping[str, Any] = {
            **opened.facts,
            **pixels,
            "precision": precision,
            "batch_size": batch_size,
            "threads_per_batch": 1,
            "device": device.partition(":")[0],
            "libraries": {
                "torch": major_minor(torch.__version__),
                "open_clip": major_minor(open_clip.__version__),
            },
        }
        self.identity = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it was opened from; none where that is not known."""
        return self.opened.files

    def with_engine(self, engine: TowerEngine) -> "OpenClipEncoder":
        """The same weights, whose picture tower that engine runs: another encoder, but for torch."""
        if engine.name == "torch":
            return self
        check_onnx_fits(precision=str(self.facts["precision"]), device=self._device)
        return self.with_opened(
            replace(self.opened, engine=engine.of, facts={**self.opened.facts, "engine": engine.facts})
        )

    def with_long_texts(self, long_texts: LongTexts) -> "OpenClipEncoder":
        """The same weights, which do otherwise with texts longer than the model reads: another encoder, but for `cut`.

        `chunks` encodes such a text in parts of whole sentences, whose rows are averaged by their tokens; other texts
        have the same bits as before. `stretched` stretches the positions of the text tower; texts of up to 20 tokens
        stay as they are but for rounding. Raises UnknownModelError where it has none.
        """
        if long_texts == self.opened.long_texts:
            return self
        if self.opened.long_texts != "cut":
            raise ValueError(f"`long_texts` must be chosen once; got `{long_texts}` after `{self.opened.long_texts}`")
        opened = stretched(self.opened) if long_texts == "stretched" else self.opened
        facts = {**opened.facts, "text_lengths": list(opened.text_lengths), "long_texts": long_texts}
        return self.with_opened(replace(opened, long_texts=long_texts, facts=facts))

    def with_opened(self, opened: OpenedModel, batch_size: int | None = None) -> "OpenClipEncoder":
        """Another model, or the same in batches of another size, run as this one is."""
        return OpenClipEncoder(
            opened,
            batch_size=batch_size or self._batch_size,
            threads=self._threads,
            precision=str(self.facts["precision"]),
            device=self._device,
            resize=self.images.resize,
        )

    def encode_images(self, images: Iterable[FileOrPixels], *, progress: Progress | None = None) -> Single:
        """Rows (n, d) of pictures."""
        return self.images.rows(images, progress)

    def encode_texts(self, texts: Sequence[str], *, progress: Progress | None = None) -> Single:
        """Rows (n, d) of texts, batched with texts of the same padded length where the model's padding is masked."""
        longer = np.array(self._longer(texts) if self.opened.long_texts == "chunks" else [False] * len(texts), np.bool_)
        rows = np.empty((len(texts), self.dimension), np.float32)
        rows[~longer] = self._encode(
            [text for text, is_longer in zip(texts, longer, strict=True) if not is_longer], progress
        )
        if longer.any():
            rows[longer] = self._encode_chunks(
                [text for text, is_longer in zip(texts, longer, strict=True) if is_longer]
            )
            if progress is not None:
                progress(int(longer.sum()))
        return rows

    def _encode(self, texts: Sequence[str], progress: Progress | None = None) -> Single:
        batches = self._text_batches(texts)
        with device_errors(self._device, self._batch_size):
            return batched_rows(
                batches, self._run_texts, dimension=self.dimension, threads=self._threads, progress=progress
            )

    def _encode_chunks(self, texts: Sequence[str]) -> Single:
        parts = [chunks_of(text, self.token_counts, self.context_length) for text in texts]
        chunks = [chunk for part in parts for chunk in part]
        (marks,) = self.token_counts([""])
        tokens = [count - marks for count in self.token_counts(chunks)]
        owners = [place for place, part in enumerate(parts) for _ in part]
        return chunk_average(self._encode(chunks), tokens, owners, len(texts))

    @property
    def context_length(self) -> int:
        """The number of tokens of a text that the model reads."""
        return self.opened.context_length

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, of which the model reads the first `context_length`."""
        return count_tokens(self.opened.tokenizer, texts)

    def tokens(self, texts: Sequence[str]) -> "torch.Tensor":
        """Tokens (n, length) of texts, cut to the shortest padded length that is enough for all."""
        tokens = self.opened.tokenizer(list(texts), context_length=self.opened.context_length)
        *_, (length, _) = (part for part in self._by_length(tokens) if len(part[1]))
        return tokens[:, :length]

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is longer than the model reads, and so cut."""
        return [False] * len(texts) if self.opened.long_texts == "chunks" else self._longer(texts)

    def _longer(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is longer than the context; only those that may be are cut into tokens."""
        longest = self.opened.context_length
        doubtful = [index for index, text in enumerate(texts) if len(text) > longest - _MARKS or not text.isascii()]
        longer = [False] * len(texts)
        for index, count in zip(doubtful, self.token_counts([texts[index] for index in doubtful]), strict=True):
            longer[index] = count > longest
        return longer

    def _run_texts(self, batch: tuple[Positions, "torch.Tensor"]) -> "torch.Tensor":
        import torch

        positions, tokens = batch
        tokens = filled(tokens, self._batch_size, self.opened.pad_id)
        tokens[len(positions) :, 0] = tokens[0, 0]  # a row of padding alone has no mean
        with torch.inference_mode():
            output: torch.Tensor = self.opened.model.encode_text(tokens.to(self._device), normalize=False)
        return output

    def _text_batches(self, texts: Sequence[str]) -> "Iterator[tuple[Positions, torch.Tensor]]":
        for window in cut(len(texts), self._batch_size * _TEXT_BATCHES_PER_WINDOW):
            window_texts = list(texts[window.start : window.stop])
            tokens = self.opened.tokenizer(window_texts, context_length=self.opened.context_length)
            for length, members in self._by_length(tokens):
                for part in cut(len(members), self._batch_size):
                    batch = members[part.start : part.stop]
                    yield window.start + batch, tokens[batch, :length]

    def _by_length(self, tokens: "torch.Tensor") -> Iterator[tuple[int, Positions]]:
        """(padded length, positions of the texts that need it), shortest first."""
        import torch

        position = torch.arange(1, tokens.shape[1] + 1)
        used = ((tokens != self.opened.pad_id) * position).amax(dim=1).numpy()
        lengths = np.array(self.opened.text_lengths)
        needed = lengths[np.searchsorted(lengths, used)] if len(lengths) > 1 else np.full(len(used), lengths[0])
        for length in lengths:
            yield int(length), np.flatnonzero(needed == length)
