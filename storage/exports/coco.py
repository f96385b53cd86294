"""COCO: pictures, and one `annotations.json` of their regions, as pycocotools and trainers of detectors read it."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pyarrow.compute as pc

from evenly.storage.exports.content import Content, has_regions, json_line
from evenly.storage.web.decoding import upright_size

_ABOUT = ("uid", "group", "label", "source", "source_id", "url")
_STATED = ("phrase", "score", "source", "attributes", "attribute_scores")
_ROWS_AT_ONCE = 10_000


def write_coco(content: Content, folder: Path) -> dict[str, int]:
    """Write `images/` and `annotations.json`; counts of pairs, annotations, categories and pictures per extension.

    Names of pictures are relative to `images/`. Categories are the labels in order; sizes, boxes and masks are of
    upright pictures. Rows without regions give pictures without annotations.
    """
    categories = {label: number for number, label in enumerate(_labels(content), start=1)}
    extensions: Counter[str] = Counter()
    annotations, has_any = 0, has_regions(content.rows.schema)
    with (folder / "annotations.json").open("wb") as stream, TemporaryFile() as written:
        names = [{"id": number, "name": label} for label, number in categories.items()]
        info = {"description": f"{content.name} (seed {content.seed}), by evenly"}
        stream.write(json_line({"categories": names, "info": info}).rstrip()[:-1] + b', "images": [\n')
        for number, sample in enumerate(content.samples(), start=1):
            place = f"{sample.uid[:2]}/{sample.uid}.{sample.extension}"
            (folder / "images" / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / "images" / place).write_bytes(sample.picture)
            width, height = upright_size(sample.picture)
            image = {"id": number, "file_name": place, "width": width, "height": height, "caption": sample.caption}
            facts = {name: sample.row[name] for name in _ABOUT if sample.row.get(name) is not None}
            stream.write((b"," if number > 1 else b"") + json_line(facts | image))
            regions = sample.row["regions"] if has_any else ()
            for annotation in _annotations(regions, categories, [height, width]):
                annotations += 1
                line = json_line(annotation | {"id": annotations, "image_id": number})
                written.write((b"," if annotations > 1 else b"") + line)
            extensions[f"pictures_{sample.extension}"] += 1
        stream.write(b'], "annotations": [\n')
        written.seek(0)
        shutil.copyfileobj(written, stream)
        stream.write(b"]}\n")
    counts = {"pairs": content.rows.count, "annotations": annotations, "categories": len(categories)}
    return {**counts, **dict(sorted(extensions.items()))}


def _labels(content: Content) -> list[str]:
    """The labels of all regions, sorted."""
    labels = set[str]()
    for table in content.rows.tables(_ROWS_AT_ONCE) if has_regions(content.rows.schema) else ():
        entries = pc.list_flatten(table["regions"].combine_chunks())
        labels.update(pc.struct_field(entries, "label").unique().to_pylist())
    return sorted(labels)


def _annotations(
    regions: Sequence[Mapping[str, Any]], categories: Mapping[str, int], size: list[int]
) -> Iterator[dict[str, Any]]:
    for region in regions:
        x0, y0, x1, y1 = region["box"]
        stated = {name: region[name] for name in _STATED if region.get(name) not in ("", None, [])}
        yield stated | {
            "category_id": categories[region["label"]],
            "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
            "area": region["area"],
            "iscrowd": 0,
            "segmentation": {"size": size, "counts": region["mask"]} if region["mask"] else [],
        }
