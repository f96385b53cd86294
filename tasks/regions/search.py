"""Regions of pictures by a rule: looked for once per picture, and stored by all that they depend on."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from evenly.curation.errors import RuleError
from evenly.curation.regions.judgement import FURTHER, REGIONS, RegionRule
from evenly.descriptions.captions.asked import each_row
from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.errors import ClassListError
from evenly.features.dense.crops import CropRule, crop_rows
from evenly.features.dense.detector import DetectorRule, OnnxDetector
from evenly.features.dense.given import Size, stated_regions
from evenly.features.dense.method import Arrays, GivenRegions, RegionMethod, Vocabulary
from evenly.features.dense.methods import REGION_METHODS
from evenly.features.dense.regions import Regions, covered_share
from evenly.features.dense.rows import Dense
from evenly.features.dense.towers import DenseEncoder, dense_encoder, size_of
from evenly.features.errors import UnreadableImageError
from evenly.features.unit_rows import Single, to_unit_rows
from evenly.storage.errors import InputError
from evenly.storage.feature_store import TextStore, text_id
from evenly.storage.files.class_lists import MAX_BYTES
from evenly.storage.reading.budget import read_text
from evenly.storage.records import content_hash
from evenly.storage.web.images import read_images
from evenly.tasks.captions.captioner import Shown
from evenly.tasks.classes.texts import single
from evenly.tasks.encoders import encoder_identity, open_encoder, open_second, second_identity, text_rows
from evenly.tasks.pictures.pointing import ASKING, pointing, replied_regions
from evenly.tasks.pictures.sent_rows import PicturePlaces
from evenly.tasks.regions.cells import dense_rows, pictures_at_once
from evenly.tasks.run import Run
from evenly.tasks.step import rule_reader
from evenly.unique_keys import read_json

VERSION = 2
_REMEDIES = {
    "second": "features: {second: {model: embedded}}",
    **dict.fromkeys(("regions", "crops"), "boxes: COLUMN, detector: FILE or endpoint: {base_url: URL, model: NAME}"),
    "training": "learn: 1000",
}


@dataclass(frozen=True, kw_only=True)
class RegionSearch:
    """The search for regions by a rule: its method, and its things, the label and text of each; what that learned.

    workers: how many partitions are searched at a time.
    """

    rule: RegionRule
    method: RegionMethod | None
    things: Sequence[tuple[str, str]]
    learned: Arrays = field(default_factory=dict)
    workers: int = 1

    @classmethod
    def of(cls, run: Run, rule: RegionRule) -> "RegionSearch":
        """The search. Raises RuleError for a method that is unknown or lacks what it needs, InputError for files."""
        detector_of(run, rule)
        return cls(rule=rule, method=_method(run, rule), things=listed_things(run, rule))

    @property
    def names(self) -> list[str]:
        """The names of the things."""
        return [*dict.fromkeys(label for label, _ in self.things)]

    def source(self, run: Run) -> dict[str, str]:
        """The identity of the detector or endpoint that gives boxes, by what it is; empty without one."""
        if self.rule.endpoint is not None:
            return {"endpoint": pointing(self.names).identity(run, self.rule.endpoint)}
        detector = detector_of(run, self.rule)
        return {} if detector is None else {"detector": detector.identity}

    def identity(self, run: Run) -> str:
        """SHA-256 of all that regions depend on beside pictures and given boxes."""
        source = next(map(list, self.source(run).items()), self.rule.boxes)
        if self.method is None:
            return content_hash(["regions", VERSION, source])
        method: Any = self.method
        options = {entry.name: getattr(method, entry.name) for entry in fields(method) if entry.init}
        learned = {name: sha256(rows.tobytes()).hexdigest() for name, rows in self.learned.items()}
        second = second_identity(run) if "second" in self.method.needs else ""
        made_of = [encoder_identity(run), second, self.rule.method, options, source, list(self.things)]
        return content_hash(["regions", VERSION, *made_of, *([learned] if learned else [])])

    def texts(
        self, run: Run, pictures: pa.Table, places: PicturePlaces, progress: Callable[[int], object] = lambda _: None
    ) -> list[str]:
        """The regions of each of `pictures` [image_id, is_bare, statements] as JSON; looked for where none are stored.

        statements: JSON of a picture's boxes, or its caption; null for none. progress: is called with the number of
        pictures just looked at.
        """
        store = TextStore(run.workspace, self.identity(run), "regions")
        rows = {_key(row): row for row in pictures.to_pylist()}
        keys = list(rows)
        stored = dict(zip(keys, store.read(keys), strict=True))
        missing = [key for key in keys if stored[key] is None and not rows[key]["is_bare"]]
        located = places.of(run, list({rows[key]["image_id"] for key in missing})) if missing else None
        replies = self._replies(run, [rows[key]["image_id"] for key in missing], located)
        size = 256 if self.method is None or not missing else pictures_at_once(self._encoder(run))
        with run.progress.bar("finding regions", len(missing)) as advance:
            for start in range(0, len(missing), size):
                batch = missing[start : start + size]
                ids = [rows[key]["image_id"] for key in batch]
                images = list(read_images(run.workspace.downloads, ids, located))
                statements = [replies[name] for name in ids] if replies else [rows[key]["statements"] for key in batch]
                texts = dict(zip(batch, self._looked_for(run, ids, images, statements), strict=True))
                lasting = [key for key in batch if not (replies and replies[rows[key]["image_id"]]["passing"])]
                store.append(lasting, [texts[key] for key in lasting])
                stored |= texts
                advance(len(batch))
                progress(len(batch))
        return [stored[_key(row)] or _without("no_picture") for row in pictures.to_pylist()]

    def _replies(self, run: Run, image_ids: Sequence[str], places: pa.Table | None) -> dict[str, dict[str, Any]]:
        """The endpoint's reply about each picture (a row of MADE), empty without one."""
        if self.rule.endpoint is None or not image_ids:
            return {}
        pairs = pa.table({"uid": image_ids, "image_id": image_ids})
        shown = Shown(name=ASKING, pairs=pairs, places=places, facts=None, workers=self.workers)
        replies = pointing(self.names).offer(run, self.rule.endpoint, shown)
        return {row["image_id"]: row for row in each_row(replies)}

    def _looked_for(
        self, run: Run, ids: Sequence[str], images: Sequence[bytes], statements: Sequence[Any]
    ) -> list[str]:
        """The regions of pictures as JSON; those that do not decode are told by halves."""
        try:
            sizes = [size_of(image) for image in images]
            regions = self._regions(run, ids, images, sizes, statements)
        except UnreadableImageError:
            half = len(ids) // 2
            if not half:
                return [_without("not_decoded")]
            parts = (slice(0, half), slice(half, None))
            return [text for part in parts for text in self._looked_for(run, ids[part], images[part], statements[part])]
        return [_text(regions.of_picture(place), size) for place, size in enumerate(sizes)]

    def _stated(self, run: Run, images: Sequence[bytes], sizes: Sequence[Size], statements: Sequence[Any]) -> Regions:
        """The regions that the column, the endpoint or the detector gives of pictures."""
        if self.rule.endpoint is not None:
            return replied_regions(statements, sizes, model=self.rule.endpoint.model, names=self.names)
        detector = detector_of(run, self.rule)
        if detector is None:
            return stated_regions(statements, sizes, source=f"column:{self.rule.boxes}")
        return detector.regions(images)

    def _regions(
        self,
        run: Run,
        ids: Sequence[str],
        images: Sequence[bytes],
        sizes: Sequence[Size],
        statements: Sequence[Any],
    ) -> Regions:
        if self.method is not None and not self.method.needs & {"regions", "crops"}:
            captions = [text or "" for text in statements] if "captions" in self.method.needs else None
            return self.method.score(
                self.dense(run, ids, images), self.vocabulary(run), GivenRegions(captions=captions)
            )
        stated = self._stated(run, images, sizes, statements)
        if self.method is None:
            return stated
        counting = np.array([not reason for reason in stated.reasons], np.bool_)
        regions = stated[counting]
        named = GivenRegions(regions=regions, crops=self.crops(run, images, regions))
        scored = self.method.score(self.dense(run, ids, images), self.vocabulary(run), named)
        return Regions.concatenated([scored, stated[~counting]])

    def crops(self, run: Run, images: Sequence[bytes], regions: Regions) -> Single | None:
        """The rows of the crops of regions, where the method reads them."""
        if not isinstance(self.method, CropRule):
            return None
        return crop_rows(open_encoder(run), images, regions, self.method)

    def dense(self, run: Run, ids: Sequence[str], images: Sequence[bytes]) -> Dense:
        """The rows of pictures and of their cells, by a second backbone too where the method reads them."""
        encoder, stores_cells = self._encoder(run), self.rule.dense == "stored"
        different = list(dict.fromkeys(ids))
        files = [images[ids.index(name)] for name in different]
        dense = dense_rows(run, encoder, different, files, stores_cells=stores_cells)
        if self.method is not None and "second" in self.method.needs:
            backbone = dense_encoder(open_second(run), "second")
            further = dense_rows(run, backbone, different, files, stores_cells=stores_cells)
            dense = dense.with_second(further.cells, further.frames)
        return dense[np.array([different.index(name) for name in ids])]

    def _encoder(self, run: Run) -> DenseEncoder:
        return dense_encoder(open_encoder(run), str(run.encoder.model))

    def bytes_of_cells(self, run: Run) -> int:
        """The bytes of the rows of a picture's cells where they are stored; 0 where no method looks at them."""
        return 0 if self.method is None else 2 * int(np.prod(self._encoder(run).grid))

    def vocabulary(self, run: Run) -> Vocabulary:
        """The things with the rows of their texts; of what is read in captions no rows are stored."""
        encode: Callable[[Sequence[str]], Single] = lambda texts: single(text_rows(run, texts))  # noqa: E731
        of_own = encode
        if self.method is not None and "captions" in self.method.needs:
            of_own = lambda texts: single(to_unit_rows(open_encoder(run).encode_texts(texts))[0])  # noqa: E731
        texts = [text for _, text in self.things]
        labels = [label for label, _ in self.things]
        return Vocabulary(texts=texts, labels=labels, rows=encode(texts), encode=of_own)

    @property
    def columns(self) -> Collection[str]:
        """What its table of regions has beside the columns of all."""
        return {*(self.method.columns if self.method else ()), *(["attributes"] if self.rule.attributes else [])}

    @property
    def schema(self) -> pa.Schema:
        """The columns of its table of regions."""
        return pa.schema([*REGIONS, *(entry for name in FURTHER if name in self.columns for entry in FURTHER[name])])

    @property
    def statements(self) -> str | None:
        """The column of pairs that it reads beside pictures: of boxes, or of captions; None where it reads none."""
        return "caption" if self.method and "captions" in self.method.needs else self.rule.boxes


def listed_things(run: Run, rule: RegionRule) -> list[tuple[str, str]]:
    """The label and text of each thing of a rule, in every template."""
    if rule.texts is None:
        return []
    path = Path(run.locate(rule.texts))
    try:
        text = read_text(path, field="texts", limit_bytes=MAX_BYTES)
        if path.suffix == ".json":
            listed = rule_reader(dict[str, list[str]])(read_json(text))
        else:
            listed = {name: [name] for name in parse_class_list(text, path.stem).classes}
    except (OSError, ValueError, ClassListError) as error:
        raise InputError(
            f"`texts` must be a class list, or JSON of a list of texts by thing; got `{path}`: {error}. Correct it."
        ) from None
    filled = [
        (label, template.replace("{}", text))
        for label in listed
        for text in listed[label]
        for template in rule.templates
    ]
    if not filled or {*listed} != {label for label, _ in filled}:
        raise InputError(f"`texts` must hold a text for each thing; got none for some in `{path}`. Add it.")
    return filled


def detector_of(run: Run, rule: RegionRule) -> OnnxDetector | None:
    """The detector of a rule, None for one without. Raises OnnxModelError, and InputError for JSON of another form."""
    if rule.detector is None:
        return None
    path = Path(run.locate(rule.detector))
    if path.suffix != ".json":
        return _opened(DetectorRule(file=str(path), name=path.stem), _stamp(path))
    try:
        form = rule_reader(DetectorRule)(read_json(read_text(path, field="detector", limit_bytes=MAX_BYTES)))
    except (OSError, ValueError) as error:
        raise InputError(
            f"`detector` must be an ONNX file, or JSON of a detector's form; got `{path}`: {error}. Correct it."
        ) from None
    file = path.parent / form.file
    return _opened(replace(form, file=str(file)), _stamp(file))


@lru_cache(maxsize=1)
def _opened(form: DetectorRule, _version: tuple[int, ...]) -> OnnxDetector:
    """The detector, whose file is read and hashed once until it changes."""
    return OnnxDetector(form)


def _stamp(file: Path) -> tuple[int, ...]:
    """What changes with a file; nothing of one that is not there."""
    if not file.is_file():
        return ()
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _method(run: Run, rule: RegionRule) -> RegionMethod | None:
    if rule.method is None:
        return None
    if rule.method not in REGION_METHODS:
        names = ", ".join(REGION_METHODS)
        raise RuleError(f"`method` must be one of {names}; got `{rule.method}`. Choose one.")
    kind: Any = REGION_METHODS[rule.method]
    try:
        method: RegionMethod = rule_reader(kind)(dict(rule.options))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, entry['loc'][1:]))}: {entry['msg']}" for entry in error.errors())
        names = ", ".join(entry.name for entry in fields(kind))
        raise RuleError(
            f"`options` must be hyper-parameters of `{rule.method}`, {names}; got {problems}. Correct them."
        ) from None
    source = rule.boxes or rule.detector or rule.endpoint
    inputs = {"second": run.second, "regions": source, "crops": source, "training": rule.learn}
    for need in sorted(method.needs & inputs.keys()):
        if inputs[need] is None:
            raise RuleError(f"`{rule.method}` needs {need}: write `{_REMEDIES[need]}`, or choose another method.")
    if rule.endpoint is not None and not method.needs & {"regions", "crops"}:
        raise RuleError(f"`endpoint` must go with a method that names regions; got `{rule.method}`. Leave it out.")
    if rule.learn is not None and rule.boxes is None and not method.learns_unlabelled:
        raise RuleError(f"`learn` of `{rule.method}` must go with `boxes`, labelled; got none. Name a column of them.")
    return method


def _text(regions: Regions, size: tuple[int, int]) -> str:
    stored = {"area": covered_share(regions, size), "regions": regions.rows()}
    return json.dumps(stored, separators=(",", ":"), ensure_ascii=False)


def _without(reason: str) -> str:
    """The text of a picture that cannot be looked at."""
    return json.dumps({"area": None, "regions": Regions.from_rows([{"reason": reason}]).rows()})


def _key(picture: dict[str, Any]) -> str:
    """The name of a picture's regions where they are stored: that of the picture, and of the caption or boxes read."""
    stated = picture["statements"]
    return f"{picture['image_id']}:{'' if stated is None else text_id(stated)}"
