"""The proving ground by a run's encoder, and the effects of all claims on it."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evenly.adapters.effects import CLAIMS, Claim, Ground, NotMeasurableError
from evenly.adapters.effects.effect import Effect, effect_of, with_verdicts
from evenly.adapters.effects.ground import Encode, GroundRegions
from evenly.adapters.features import Floats, Integers
from evenly.features import Encoder, SecondBackbone, to_unit_rows
from evenly.features.pictures.views import View
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.refining.pairs import raw_rows
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.storage.files.image_folders import Picture
from evenly.tasks.adapters.prompts import RunTower
from evenly.tasks.adapters.region_methods import region_answers
from evenly.tasks.adapters.region_parts import read_parts
from evenly.tasks.adapters.region_truth import read_region_truth
from evenly.tasks.adapters.tuned_rows import tuned_class_rows
from evenly.tasks.captions.captioner import Shown
from evenly.tasks.captions.tags import TAGS, TagsRule
from evenly.tasks.encoders import CHUNK, encoder_identity, frozen_run, open_encoder, open_second, store_texts, text_rows
from evenly.tasks.pictures.encoded import rows_of_pictures
from evenly.tasks.pictures.views import encode_views
from evenly.tasks.run import Run

PARTS = ("fit", "val", "test")
"""Parts that claims are judged by; `refine` has made the encoder."""
_COUNTS = {1: "one", 2: "two", 3: "three"}
TAGGED = 160
"""Pictures of which a language model writes captions: a second or two each."""
_COLUMNS = ("file_name", "sha256", "part", "kind", "hand", "label", "group", "background", "is_confounded", "caption")
_LISTS = ("things", "objects", "wrong_captions")


def read_ground(run: Run, folder: Path) -> Ground:
    """The pictures of a ground and their rows by the run's encoder and second backbone, stored as they are made.

    Raises InputError where the folder is no ground.
    """
    try:
        truth = pd.concat([_truth(folder, part) for part in PARTS], ignore_index=True)
        tables = {name: _table(folder / f"{name}.csv") for name in ("synonyms", "sentences", "planted", "links")}
        lists = {name: _lines(folder / f"{name}.txt") for name in ("classes", "known", "near", "unknown")}
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"`folder` must be a ground that `evenly demo --ground` made; got `{folder}` ({error}). Make it there."
        ) from error
    files = {key: folder / name for key, name in zip(truth["sha256"], truth["name"], strict=True)}
    frozen, second = open_encoder(frozen_run(run)), open_second(run)
    for model in (frozen, second):
        _store_files(run, model, files)
    ids = list(truth["sha256"])
    rows_of_pictures(run, ids)
    stored = {
        model: FeatureStore(run.workspace, model, "images").read(ids)
        for model in (encoder_identity(run), frozen.identity, second.identity)
    }
    vectors, norms = stored[encoder_identity(run)]
    synonyms: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for line in tables["synonyms"]:
        synonyms[line["class"]][line["read"]] = line["word"]
    sentences: defaultdict[str, list[str]] = defaultdict(list)
    for line in tables["sentences"]:
        sentences[line["class"]].append(line["sentence"])
    place = {name: number for number, name in enumerate(truth["name"])}
    links = [(place[line["first"]], place[line["second"]]) for line in tables["links"] if line["first"] in place]
    of_classes = {name: synonyms[name] for name in lists["classes"]}
    text = _remembered(lambda texts: _single(text_rows(run, texts)))

    def regions() -> GroundRegions:
        drawn = read_region_truth([folder / part for part in PARTS])
        answers = region_answers(read_parts(run, drawn, files, synonyms=of_classes, text=text))
        return GroundRegions(truth=drawn, answers=answers)

    def crops(rows: Integers, count: int) -> Floats:
        views = [View(crop=number) for number in range(count)]
        names = [truth["name"][row] for row in rows]
        encoded = encode_views(run, ((Picture(name, (folder / name).read_bytes()), views) for name in names))
        return encoded.image.reshape(len(rows), count, -1).swapaxes(0, 1)

    return Ground(
        image=_single(vectors),
        norms=norms,
        second=_single(stored[second.identity][0]),
        tagged=lambda: _tagged(run, truth),
        regions=cache(regions),
        tower=lambda names: RunTower(run, tuple(names), {}),
        tuned=lambda problem: tuned_class_rows(open_encoder(run), problem),
        crops=crops,
        frozen=None if run.encoder.refine is None else _single(stored[frozen.identity][0]),
        truth=truth,
        **lists,
        synonyms=of_classes,
        sentences=sentences,
        planted=tables["planted"],
        links=np.array(links, dtype=np.int64).reshape(-1, 2),
        text=text,
        long_text=_remembered(lambda texts: _in_chunks(run, texts)),
    )


def measure_effects(
    run: Run, ground: Ground, *, seeds: Sequence[int], claims: Sequence[Claim] = CLAIMS
) -> list[dict[str, Any]]:
    """A line for each claim, in order: what it says, its effect over the seeds, its verdict, and what was chosen.

    What a ground cannot show has the verdict "not measured" and a `reason`.
    """
    effects: dict[int, Effect] = {}
    notes: dict[int, dict[str, Any]] = {}
    with run.progress.bar("judging claims", len(claims) * len(seeds)) as advance:
        for number, claim in enumerate(claims):
            results = []
            try:
                for seed in seeds if claim.draws else seeds[:1]:
                    results.append(claim.compare(ground, seed))
                    advance(1 if claim.draws else len(seeds))
            except NotMeasurableError as error:
                notes[number] = {"verdict": "not measured", "reason": str(error)}
                advance(len(seeds))
                continue
            effects[number] = effect_of([result.comparison for result in results], seed=seeds[0])
            notes[number] = {"chosen": [dict(result.chosen) for result in results]}
    for number, effect in zip(effects, with_verdicts(list(effects.values())), strict=True):
        notes[number] = vars(effect) | notes[number]
    columns = ("number", "system", "method", "rival", "measure", "condition", "control", "ceiling")
    return [{name: getattr(claim, name) for name in columns} | notes[place] for place, claim in enumerate(claims)]


def _store_files(run: Run, model: Encoder | SecondBackbone, files: dict[str, Path]) -> None:
    """Store the rows of those pictures, by the sha256 of their files, that have none by the model."""
    store = FeatureStore(run.workspace, model.identity, "images")
    missing = store.missing(list(files))
    with run.progress.bar("encoding pictures", len(missing)) as advance:
        for start in range(0, len(missing), CHUNK):
            batch = missing[start : start + CHUNK]
            rows = model.encode_images([_content(files[key], key) for key in batch], progress=advance)
            store.append(batch, *to_unit_rows(rows), device=model.device_name)


def _content(path: Path, sha256_hex: str) -> bytes:
    content = path.read_bytes()
    if sha256(content).hexdigest() != sha256_hex:
        raise InputError(
            f"`{path}` must have the SHA-256 that truth.parquet says; it has changed. Draw the ground again."
        )
    return content


def _tagged(run: Run, truth: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Tags of the first TAGGED test pictures on textures by hash, and the captions that were written of them, by name.

    Replies are stored: none is asked for twice. A picture whose caption was refused is left out.
    """
    shown = truth[(truth["part"] == "test") & (truth["kind"] == "texture")].sort_values("sha256")[:TAGGED]
    columns = zip(*(shown[name] for name in ("count", "given_colour", "label", "background")), strict=True)
    tags = [[word for word in (_COUNTS[count], *words) if word] for count, *words in columns]
    uids = [key[:32] for key in shown["sha256"]]
    pairs = pa.table({"uid": uids, "image_id": list(shown["sha256"]), "tags": tags})
    offered = TAGS.offer(
        run, TagsRule(columns=("tags",)), Shown(name="effects", pairs=pairs, places=None, facts=None, workers=1)
    )
    captions = dict(zip(offered["uid"].to_pylist(), offered["caption"].to_pylist(), strict=True))
    return {
        name: (", ".join(words), captions[uid])
        for name, uid, words in zip(shown["name"], uids, tags, strict=True)
        if captions[uid]
    }


def _remembered(encode: Encode) -> Encode:
    """The same rows, each read from the store once: claims ask for the texts of a part again and again."""
    rows: dict[str, Floats] = {}

    def remembered(texts: Sequence[str]) -> Floats:
        new = [text for text in dict.fromkeys(texts) if text not in rows]
        if new:
            rows.update(zip(new, encode(new), strict=True))
        return np.stack([rows[text] for text in texts])

    return remembered


def _in_chunks(run: Run, texts: Sequence[str]) -> Floats:
    """Rows of texts that are read in chunks whole, and then as the encoder was refined."""
    chunked = replace(run, encoder=replace(run.encoder, long_texts="chunks", refine=None), encoder_identity=None)
    rows = store_texts(chunked, texts).read([text_id(text) for text in texts])
    encoder = open_encoder(run)
    return _single(
        to_unit_rows(encoder.heads.text(raw_rows(*rows)))[0] if isinstance(encoder, RefinedEncoder) else rows[0]
    )


def _single(rows: np.ndarray) -> Floats:
    wide = rows.astype(np.float32)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def _truth(folder: Path, part: str) -> pd.DataFrame:
    table = pq.read_table(folder / part / "truth.parquet", columns=[*_COLUMNS, *_LISTS, "long_caption"])
    frame: pd.DataFrame = table.select([*_COLUMNS, "long_caption"]).to_pandas()
    things = [listed[0] for listed in table["things"].to_pylist()]
    frame["name"] = [f"{part}/{name}" for name in frame["file_name"]]
    frame["code"] = [listed[0]["code"] for listed in table["objects"].to_pylist()]
    frame["count"] = [thing["count"] for thing in things]
    wrong = table["wrong_captions"].to_pylist()
    by_kind = [{caption["kind"]: caption["caption"] for caption in listed or ()} for listed in wrong]
    frame["turned_order"] = [captions.get("relation", "") for captions in by_kind]
    frame["order"] = frame["caption"].where(frame["turned_order"] != "", "")
    frame["given_colour"] = [thing["colour"] if thing["is_recoloured"] else "" for thing in things]
    return frame


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _lines(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").splitlines())
