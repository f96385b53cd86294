"""Hugging Face: a folder that `datasets.load_dataset` reads as an image folder, with a dataset card."""

from collections import Counter
from pathlib import Path

from evenly.storage.exports.content import COLUMNS, Content, json_line

_FIELDS = {
    "file_name": "the picture, as downloaded",
    "text": COLUMNS["chosen_caption"],
} | {name: text for name, text in COLUMNS.items() if name != "chosen_caption"}
_CARD = """\
---
pretty_name: {name}
size_categories:
- {size}
configs:
- config_name: default
  data_files:
  - split: train
    path: train/**
---

# {name}

{pairs} image-text pairs: the kept pairs of build `{name}` (seed {seed}), written by evenly.

Pictures are the original bytes, never re-encoded. Pictures and captions belong to their authors; nothing here grants
a licence to them.

| field | meaning |
|---|---|
{fields}

Load it with `datasets.load_dataset("path/to/this/folder")`. The Parquet export of the build holds every column.
"""
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def write_huggingface(content: Content, folder: Path) -> dict[str, int]:
    """Write `train/` with pictures and metadata.jsonl, and the card README.md; counts of pairs and pictures per type.

    Pictures lie in 256 folders by the first two digits of the uid (the hub takes 10,000 files a folder). Only the
    fields listed in the card are written: others could clash with names that image folders give a meaning.
    """
    train = folder / "train"
    train.mkdir()
    fields = [name for name in _FIELDS if name in ("file_name", "text") or name in content.rows.schema.names]
    extensions: Counter[str] = Counter()
    with (train / "metadata.jsonl").open("wb") as metadata:
        for sample in content.samples():
            place = f"{sample.uid[:2]}/{sample.uid}.{sample.extension}"
            (train / place).parent.mkdir(exist_ok=True)
            (train / place).write_bytes(sample.picture)
            values = {**sample.row, "file_name": place, "text": sample.caption}
            metadata.write(json_line({name: values[name] for name in fields}))
            extensions[f"pictures_{sample.extension}"] += 1
    pairs = content.rows.count
    card = _CARD.format(
        name=content.name,
        seed=content.seed,
        pairs=f"{pairs:,}",
        size=next((size for limit, size in _SIZES if pairs < limit), "n>10M"),
        fields="\n".join(f"| `{name}` | {_FIELDS[name]} |" for name in fields),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return {"pairs": pairs, **dict(sorted(extensions.items()))}
