"""The encoder of a run, loaded once, and text features through the store."""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import evenly.features
from evenly.features import Encoder, SecondBackbone, load_encoder, to_unit_rows
from evenly.features.device import device_signs
from evenly.features.encoders.engines import TowerEngine
from evenly.features.open_clip_models import EMBEDDED, EMBEDDED_SECOND
from evenly.features.refining.encoder import RefinedEncoder, heads_identity, refined_encoder
from evenly.features.refining.objectives import training_versions
from evenly.features.refining.pairs import raw_rows
from evenly.features.second_backbone import load_second
from evenly.features.texts.text_tower import TextTower, embedded_text_tower
from evenly.storage.artifacts.kinds import refined_encoders_of
from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.storage.files.identities import IdentityRecord, refuse_other, versions
from evenly.storage.web.images import find_places, read_images
from evenly.tasks.run import EncoderChoice, Run, SecondChoice

CHUNK = 2048
_LIBRARIES = (
    "torch", "torchvision", "open_clip_torch", "timm", "transformers", "tokenizers", "safetensors", "pillow", "numpy",
    "opencv-python-headless", "opencv-python",
)  # fmt: skip
_Chosen = tuple[EncoderChoice | SecondChoice, str | None, Path]  # a model, the device of a second backbone, the cache
_opened: dict[_Chosen, str] = {}
_recorded: dict[_Chosen, str] = {}
_refined_encoders: dict[tuple[str, str], Encoder] = {}


def open_encoder(run: Run) -> Encoder:
    """The encoder that the recipe chose; loaded on first use, then kept for the process.

    Raises InputError where its features are not those of the run's encoder_identity, or of the identity that was read
    from its record.
    """
    if run.encoder.refine is not None:
        refined_encoders_of(run.workspace).read(run.encoder.refine)  # a wrong name is refused before weights are loaded
    encoder = _load(replace(run.encoder, refine=None), run.cache)
    if run.encoder.refine is not None:
        encoder = _refined(run, encoder, run.encoder.refine)
    if run.encoder_identity not in {None, encoder.identity}:
        raise InputError(
            f"the encoder must be the same on all machines of a run, {str(run.encoder_identity)[:12]} where it was "
            f"started; got {encoder.identity[:12]} on `{platform.node()}`. Let all of them have GPUs, or none, and the "
            "same weights and versions of torch and open_clip (docs/ray.md). Where the weights were changed meanwhile, "
            "run again: they are another encoder."
        )
    _check_recorded(_chosen(run), encoder.identity)
    return encoder


def query_encoder(run: Run) -> Encoder | TextTower:
    """The encoder of the words of a search: the text tower alone, where the run's encoder is a packaged one."""
    choice = run.encoder
    is_packaged = choice.model in {EMBEDDED, EMBEDDED_SECOND} and choice.refine is None
    if not is_packaged or (choice.long_texts, choice.precision) != ("cut", "fp32"):
        return open_encoder(run)
    return embedded_text_tower(choice.model, run.cache / "encoders")


def encoder_identity(run: Run) -> str:
    """Architecture, weights, preprocessing, precision and batch shape of the run's encoder, hashed.

    It is read from its record, where that holds, without the weights.
    """
    chosen = _chosen(run)
    is_new = chosen not in _opened and chosen not in _recorded and run.encoder_identity is None
    if is_new and (identity := _record(chosen).read()) is not None:
        refined = identity if run.encoder.refine is None else _refined_identity(run, identity, run.encoder.refine)
        if refined is not None:
            _recorded[chosen] = refined
    return run.encoder_identity or _recorded.get(chosen) or open_encoder(run).identity


def known_identity(run: Run) -> str | None:
    """The identity of the run's encoder, where this process has loaded it or read its record; None where not."""
    return run.encoder_identity or _opened.get(_chosen(run)) or _recorded.get(_chosen(run))


def step_encoder(run: Run, _rule: object) -> str:
    """The identity of the encoder as a step's model."""
    return encoder_identity(run)


def text_rows(run: Run, texts: Sequence[str]) -> np.ndarray:
    """Unit rows (n, d) float16 of texts, in the order given; those that are stored are not encoded again."""
    return store_texts(run, texts).read([text_id(text) for text in texts])[0]


def store_texts(run: Run, texts: Sequence[str]) -> FeatureStore:
    """The store of text features, after those of `texts` that it lacks were encoded.

    How many of these are longer than the model reads is told: it sees their beginnings alone.
    """
    new, longer = encode_texts(run, texts)
    say_longer(run, longer, new)
    return FeatureStore(run.workspace, encoder_identity(run), "texts")


def frozen_run(run: Run) -> Run:
    """The run with the encoder that its own was refined from."""
    return replace(run, encoder=replace(run.encoder, refine=None), encoder_identity=None, stores_cells=False)


def encode_texts(run: Run, texts: Sequence[str]) -> tuple[int, int]:
    """Encode and store those of `texts` that have no features yet.

    How many there were, and how many of these are longer than the model reads. Of a refined encoder they are made of
    the rows of the frozen one, which are stored too.
    """
    store = FeatureStore(run.workspace, encoder_identity(run), "texts")
    by_id = {text_id(text): text for text in texts}
    missing = sorted(store.missing(list(by_id)))
    if not missing:
        return 0, 0
    encoder, longer = open_encoder(run), 0
    with run.progress.bar("encoding texts", len(missing)) as advance:
        for start in range(0, len(missing), CHUNK):
            batch = missing[start : start + CHUNK]
            new = [by_id[name] for name in batch]
            if isinstance(encoder, RefinedEncoder):
                rows = encoder.heads.text(raw_rows(*store_texts(frozen_run(run), new).read(batch)))
            else:
                rows = encoder.encode_texts(new)
            store.append(batch, *to_unit_rows(rows), device=encoder.device_name)
            longer += sum(encoder.truncated(new))
            advance(len(batch))
    return len(missing), longer


def say_longer(run: Run, longer: int, new: int) -> None:
    """Report how many of the new texts are longer than the model reads, where any are."""
    if longer:
        run.progress.say(
            f"{'encoding texts':<24} {longer:,} of {new:,} are longer than the model reads and cut; of which sources "
            "captions are: `evenly encoders tokens RECIPE`"
        )


def open_second(run: Run) -> SecondBackbone:
    """The second backbone that the recipe chose; NotFoundError where it chose none."""
    if run.second is None:
        raise NotFoundError("`features.second` must name a second backbone; there is none. Add it.")
    backbone = _load_second(run.second, run.cache, run.encoder.device)
    _check_recorded((run.second, run.encoder.device, run.cache), backbone.identity)
    return backbone


def second_identity(run: Run) -> str:
    """The identity of the run's second backbone, from its record where that holds; "" where it has none."""
    if run.second is None:
        return ""
    chosen = (run.second, run.encoder.device, run.cache)
    if chosen not in _opened and (recorded := _record(chosen).read()) is not None:
        return _recorded.setdefault(chosen, recorded)
    return open_second(run).identity


def second_backbone_rows(run: Run, image_ids: Sequence[str]) -> np.ndarray:
    """Unit rows (n, e) float32 of pictures by the run's second backbone; those that are stored are not encoded again.

    Raises NotFoundError where the run has none.
    """
    backbone = open_second(run)
    store = FeatureStore(run.workspace, backbone.identity, "images")
    missing = store.missing(list(image_ids))
    places = find_places(run.workspace.downloads, missing) if missing else None
    with run.progress.bar("encoding pictures once more", len(missing)) as advance:
        for start in range(0, len(missing), CHUNK):
            batch = missing[start : start + CHUNK]
            images = list(read_images(run.workspace.downloads, batch, places))
            new = to_unit_rows(backbone.encode_images(images, progress=advance))
            store.append(batch, *new, device=backbone.device_name)
    vectors = store.read(image_ids)[0].astype(np.float32)
    rows: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return rows


def _refined(run: Run, base: Encoder, name: str) -> Encoder:
    """The encoder refined by what has that name, made once; InputError where that was made for another."""
    card, content = _refinement(run, base.identity, name)
    key = (base.identity, card["heads_sha256"])
    if key not in _refined_encoders:
        if is_superseded(card):
            run.progress.warn(
                f"`refine: {name}` was trained by an earlier `{card['rule']['objective']}`, whose loss was another. It "
                "stays as it is; `evenly refine` makes one by the present loss."
            )
        _refined_encoders.clear()  # the weights of one are enough
        _refined_encoders[key] = refined_encoder(base, content)
    return _refined_encoders[key]


def _refinement(run: Run, base: str, name: str) -> tuple[dict[str, Any], bytes]:
    """The card of a refined encoder and its content; InputError where it was made from another than `base`."""
    card, content = refined_encoders_of(run.workspace).read(name)
    if card["base"] != base:
        raise InputError(
            f"`refine: {name}` must stand with the encoder that it was made from, {card['base'][:12]}; got "
            f"{base[:12]}. Take that model, precision and batch size: {card['encoder']}."
        )
    return card, content


def _refined_identity(run: Run, base: str, name: str) -> str | None:
    """The identity of a refined encoder by that of the frozen one; None where only the model tells."""
    return heads_identity(base, _refinement(run, base, name)[1])


def refined_by_identity(run: Run, identity: str) -> Run:
    """The run, or where that is another, the run with the encoder refined from its own that has this identity."""
    base = encoder_identity(run)
    cards = refined_encoders_of(run.workspace).cards() if identity != base else []
    for card in cards:
        refined = replace(run, encoder=replace(run.encoder, refine=card["name"]))
        if card.get("base") == base and encoder_identity(refined) == identity:
            return refined
    return run


def is_superseded(card: Mapping[str, Any]) -> bool:
    """Whether the card of a refined encoder says that its loss was another than the same rule has today."""
    rule = card.get("rule", {})
    today = training_versions(rule.get("objective", ""), rule.get("sampler"), rule.get("experts", 1))
    return bool(today != card.get("versions", {}))


def _chosen(run: Run) -> _Chosen:
    """The choices of a run that an identity depends on."""
    return replace(run.encoder, threads=None), None, run.cache


def _check_recorded(chosen: _Chosen, identity: str) -> None:
    """Raise InputError where what was opened is another than its record said to this process."""
    _opened[chosen] = identity
    refuse_other(f"the model `{chosen[0].model}`", _recorded.pop(chosen, None), identity)


def _record(chosen: _Chosen) -> IdentityRecord:
    """The record of the identity of a model that is not refined."""
    choice, device, cache = chosen
    facts = {"device_of_second": device, **asdict(choice), "threads": None, "refine": None}
    engine = getattr(choice, "engine", "torch")  # a second backbone has no other
    libraries = (*_LIBRARIES, *(() if engine == "torch" else (engine, f"{engine}-gpu")))
    facts |= {"signs": device_signs(), "libraries": versions(*libraries)}
    kind = "second" if isinstance(choice, SecondChoice) else "encoder"
    return IdentityRecord(cache=cache, kind=kind, facts=facts, code=(evenly.features,))


@lru_cache(maxsize=1)
def _load_second(choice: SecondChoice, cache: Path, device: str | None) -> SecondBackbone:
    since_ns = time.time_ns()
    backbone = load_second(choice.model, choice.pretrained, cache=cache / "encoders", device=device)
    _record((choice, device, cache)).settle(backbone.identity, backbone.files, since_ns=since_ns)
    return backbone


@lru_cache(maxsize=2)
def _load(choice: EncoderChoice, cache: Path) -> Encoder:
    since_ns = time.time_ns()
    engine = TowerEngine(name=choice.engine, cache=cache / "encoders")  # first: its packages may not be here
    encoder = load_encoder(
        choice.model,
        choice.pretrained,
        cache=cache / "encoders",
        threads=choice.threads,
        batch_size=choice.batch_size,
        precision=choice.precision,
        device=choice.device,
        resize=choice.resize,
    ).with_long_texts(choice.long_texts)
    encoder = encoder.with_engine(engine)
    _record((choice, None, cache)).settle(encoder.identity, encoder.files, since_ns=since_ns)
    return encoder
