"""The encoder of a run, loaded once, and text features through the store."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from features import Encoder, load_encoder, to_unit_rows
from storage.feature_store import FeatureStore
from tasks.run import EncoderChoice, Run

CHUNK = 2048


def open_encoder(run: Run) -> Encoder:
    """The encoder that the recipe chose; loaded on first use, then kept for the process."""
    return _load(run.encoder, run.cache)


def encoder_identity(run: Run) -> str:
    """Architecture, weights, preprocessing, precision and batch shape of the run's encoder, hashed."""
    return open_encoder(run).identity


def encoder_of(run: Run, _rule: Mapping[str, Any]) -> str:
    """The identity of the encoder as a step's model."""
    return encoder_identity(run)


def text_rows(run: Run, texts: Sequence[str]) -> np.ndarray:
    """Unit rows (n, d) float16 of texts, in the order given; those that are stored are not encoded again."""
    encoder = open_encoder(run)
    store = FeatureStore(run.workspace, encoder.identity, "texts")
    by_id = {text_id(text): text for text in texts}
    missing = sorted(store.missing(list(by_id)))
    with run.progress.bar("encoding texts", len(missing)) as advance:
        for start in range(0, len(missing), CHUNK):
            some = missing[start : start + CHUNK]
            store.append(some, *to_unit_rows(encoder.encode_texts([by_id[one] for one in some])))
            advance(len(some))
    return store.read([text_id(text) for text in texts])[0]


def text_id(text: str) -> str:
    """The name of a text in the feature store: SHA-256 of its UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=2)
def _load(choice: EncoderChoice, cache: Path) -> Encoder:
    return load_encoder(
        choice.model, choice.pretrained, cache=cache / "encoders", threads=choice.threads, batch_size=choice.batch_size
    )
