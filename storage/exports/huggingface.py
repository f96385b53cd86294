"""Hugging Face: a folder that `datasets.load_dataset` reads as an image folder, with a dataset card."""

from collections import Counter
from pathlib import Path

from evenly.storage.exports.content import COLUMNS, About, Content, has_regions, json_line

_FIELDS = {
    "file_name": "the picture, as downloaded",
    "text": COLUMNS["chosen_caption"],
} | {name: text for name, text in COLUMNS.items() if name != "chosen_caption"}
_CARD = """\
---
pretty_name: {name}
{header}size_categories:
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
{about}"""
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def write_huggingface(content: Content, folder: Path) -> dict[str, int]:
    """Write `train/` with pictures and metadata.jsonl, and the card README.md; counts of pairs and pictures per type.

    Pictures lie in 256 folders by the first two digits of the uid (the hub takes 10,000 files a folder). Only the
    fields listed in the card are written: others could clash with names that image folders give a meaning.
    """
    train = folder / "train"
    train.mkdir()
    schema = content.rows.schema
    fields = [name for name in _FIELDS if name in ("file_name", "text") or name in schema.names]
    fields = [name for name in fields if name != "regions" or has_regions(schema)]
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
        header="" if content.about is None else _header(content.about),
        about="" if content.about is None else f"\n{content.about.text}\n",
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return {"pairs": pairs, **dict(sorted(extensions.items()))}


def _header(about: About) -> str:
    """Lines of the card's YAML; no licence is claimed. A language that is no code of letters is left to the text."""
    codes = [code for code in about.languages if code.isascii() and code.isalpha()]
    lines = ["language:", *(f"- {code}" for code in codes)] if codes else []
    lines += [f"multilinguality: {'multilingual' if len(codes) > 1 else 'monolingual'}"] if codes else []
    creators = ["found", *(["machine-generated"] if about.made_by_models else [])]
    lines += ["annotations_creators:", *(f"- {creator}" for creator in creators)]
    lines += ["task_categories:", "- image-to-text", "- zero-shot-image-classification", "tags:", "- image-text pairs"]
    return "\n".join(lines) + "\n"
