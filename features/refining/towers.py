"""Refined towers of an open_clip model: what was trained of them, as it is kept, and in training through pixels."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evenly.features.batched_rows import ahead, cut
from evenly.features.device import device_errors
from evenly.features.encoder import Encoder, OpenClipEncoder
from evenly.features.errors import RowsError
from evenly.features.refining.deep_prompts import DeepPrompts, PromptsAndNorms
from evenly.features.refining.heads import check_array, read_refinement, refinement_bytes
from evenly.features.refining.objective import Sides
from evenly.features.refining.pairs import Names, PairRows, stored_rows
from evenly.features.refining.refinement import Arrays, Places, Trainable
from evenly.features.refining.tuned import Blocks, SingularValues, TunedTowers, shared_copy
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from torch import Tensor

TUNED: dict[str, type[TunedTowers]] = {
    "blocks": Blocks,
    "singular": SingularValues,
    "deep_prompts": DeepPrompts,
    "prompts_and_norms": PromptsAndNorms,
}
"""What of towers trains, by the word of `evenly refine --tune`."""
KINDS = {tuned.kind: tuned for tuned in TUNED.values()}
ReadPictures = Callable[[Sequence[str]], Sequence[bytes]]
"""The files of pictures, by uids of pairs."""
_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class TowerDeltas:
    """Values trained of towers, by the names of parameters, at a strength; of a kind of KINDS."""

    deltas: Arrays
    strength: float = 1.0
    kind: str = Blocks.kind

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        return refinement_bytes(self.deltas, self.strength, kind=self.kind)

    def on(self, base: Encoder) -> OpenClipEncoder:
        """The encoder with these weights, another one by its identity; all other weights are shared with `base`.

        Raises RowsError where they are not of its model.
        """
        if not isinstance(base, OpenClipEncoder):
            raise RowsError(f"`refine` must be of an open_clip model; got {type(base).__name__}. Name its model.")
        return self.encoder_of(KINDS[self.kind](base, list(self.deltas)))

    def encoder_of(self, tuned: TunedTowers) -> OpenClipEncoder:
        """The encoder of the tuned one's base, as `on` gives it."""
        import torch

        for name, start in tuned.start().items():
            check_array(name, self.deltas[name], tuple(start.shape))
        encoder = tuned.encoder if self.strength else tuned.base
        changed = shared_copy(encoder.opened.model)
        device = encoder.images.device
        values = {name: torch.from_numpy(np.array(array)).to(device) for name, array in self.deltas.items()}
        for name, weights in (tuned.changed(values, self.strength) if self.strength else {}).items():
            place, _, last = name.rpartition(".")
            setattr(changed.get_submodule(place), last, torch.nn.Parameter(weights, requires_grad=False))
        facts = {**encoder.opened.facts, "refined": hashlib.sha256(self.to_bytes()).hexdigest()}
        return encoder.with_opened(replace(encoder.opened, model=changed, facts=facts))

    @classmethod
    def from_bytes(cls, data: bytes) -> "TowerDeltas":
        """Read the bytes of `to_bytes`. Raises RowsError for any others."""
        arrays, strength, kind = read_refinement(data)
        return cls(deltas=arrays, strength=strength, kind=kind)


@dataclass(frozen=True, kw_only=True, eq=False)
class RefinedTowers(TowerDeltas):
    """Trained values, and the towers that they are of: rows are made anew, as they will be stored.

    Those of a tower that is not tuned are the frozen ones.
    """

    tuned: TunedTowers
    read: ReadPictures
    _rows: dict[tuple[str, str], Single] = field(default_factory=dict)

    def at(self, strength: float) -> "RefinedTowers":
        """The same at another strength."""
        return replace(self, strength=strength, _rows={})

    def image(self, rows: Single, uids: Names, /) -> Single:
        """Rows of the pictures of pairs; at strength 0 those that are given."""
        return self._encoded("image", rows, uids)

    def text(self, rows: Single, texts: Names, /) -> Single:
        """Rows of texts; at strength 0 those that are given."""
        return self._encoded("text", rows, texts)

    def _encoded(self, side: str, rows: Single, names: Names) -> Single:
        if not self.strength or side not in self.tuned.sides:
            return rows
        missing = sorted({name for name in names.tolist() if (side, name) not in self._rows})
        encoder = self.encoder_of(self.tuned) if missing else self.tuned.base
        for part in cut(len(missing), _AT_ONCE):
            chunk = missing[part.start : part.stop]
            encoded = encoder.encode_images(self.read(chunk)) if side == "image" else encoder.encode_texts(chunk)
            self._rows.update(zip(((side, name) for name in chunk), stored_rows(encoded), strict=True))
        return np.stack([self._rows[side, name] for name in names.tolist()]) if len(names) else rows


class TowerTraining(Trainable):
    """Towers in training: gradients reach what is tuned of them, nothing else.

    Pictures are read and prepared as the encoder does it, a batch ahead; of a text that is too long its beginning
    counts. Dropout and the like stay off. captions: whether rows of captions are made; else they are the frozen ones.
    """

    def __init__(self, tuned: TunedTowers, pairs: PairRows, read: ReadPictures, *, captions: bool = True) -> None:
        self.tuned, self.encoder, self.pairs, self.read = tuned, tuned.encoder, pairs, read
        self.threads, self.strengths, self.sides = tuned.encoder.images.threads, tuned.strengths, tuned.sides
        self._inputs = tuple(side for side in tuned.sides if side == "image" or captions)

    def start(self) -> "dict[str, Tensor]":
        """The values of what is tuned."""
        return self.tuned.start()

    def inputs(
        self, batches: Sequence[Places], pool: "ThreadPoolExecutor"
    ) -> "Iterator[tuple[Tensor | None, Tensor | None]]":
        """Pixels and tokens of each batch; None for a side whose rows stay the frozen ones."""
        import torch

        size = self.encoder.images.batch_size
        pieces = [places[part.start : part.stop] for places in batches for part in cut(len(places), size)]
        ready = ahead(pool, self._pixels, pieces if "image" in self._inputs else [], 2 * self.threads)
        for places in batches:
            pixels = tokens = None
            if "image" in self._inputs:
                pixels = torch.cat([next(ready) for _ in cut(len(places), size)])
            if "text" in self._inputs:
                tokens = self.encoder.tokens(self.pairs.captions[places].tolist())
            yield pixels, tokens

    def rows(self, parameters: "Mapping[str, Tensor]", original: Sides, inputs: Any) -> Sides:  # noqa: ANN401
        """Of pixels and tokens, by the weights as they are tuned."""
        if inputs is None:
            raise RowsError(
                "`objective` must refine rows of pairs alone with `towers`; this one refines others too. Train heads."
            )
        image, text = self._encoded(parameters, *inputs)
        return Sides(image=original.image if image is None else image, text=original.text if text is None else text)

    def texts(self, parameters: "Mapping[str, Tensor]", rows: "Tensor", names: Names) -> "Tensor":
        """Of tokens, as in `rows`; the frozen ones where the text tower is not tuned."""
        tokens = self.encoder.tokens(names.tolist()) if "text" in self.sides else None
        text = self._encoded(parameters, None, tokens)[1]
        return rows if text is None else text

    def refinement(self, arrays: Arrays) -> RefinedTowers:
        """Refined towers of them."""
        deltas = {name: arrays[name] for name in self.tuned.start()}
        return RefinedTowers(deltas=deltas, kind=self.tuned.kind, tuned=self.tuned, read=self.read)

    def _encoded(
        self, parameters: "Mapping[str, Tensor]", pixels: "Tensor | None", tokens: "Tensor | None"
    ) -> "tuple[Tensor | None, Tensor | None]":
        """Rows of pixels and of tokens, None for None."""
        from torch.func import functional_call

        batch, tower = pixels if tokens is None else tokens, self.encoder.images
        if batch is None:
            return None, None
        with device_errors(tower.device, len(batch)):
            ready = None
            if pixels is not None:
                ready = tower.pixels.normalised(pixels.to(tower.device))
                ready = ready.to(tower.dtype, memory_format=tower.layout)
            inputs = (ready, None if tokens is None else tokens.to(tower.device))
            changed = {f"model.{name}": weights for name, weights in self.tuned.changed(parameters).items()}
            image, text = functional_call(both_towers(self.encoder.opened.model), changed, inputs)
        return None if image is None else image.float().cpu(), None if text is None else text.float().cpu()

    def _pixels(self, places: Places) -> "Tensor":
        return self.encoder.images.prepare(self.read(self.pairs.uids[places].tolist()))


def both_towers(model: Any) -> "torch.nn.Module":  # noqa: ANN401 - of open_clip, which has no types
    """A module whose call gives rows of pixels and of tokens, None for None."""
    import torch

    class Towers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor | None, tokens: torch.Tensor | None) -> tuple[Any, Any]:
            image = None if pixels is None else self.model.encode_image(pixels, normalize=False)
            return image, None if tokens is None else self.model.encode_text(tokens, normalize=False)

    return Towers()
