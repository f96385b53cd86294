"""Formats that the kept pairs of a build are exported to: one file each, and one way to write them all (export.py)."""

from collections.abc import Mapping

from evenly.storage.exports.coco import write_coco
from evenly.storage.exports.croissant import write_croissant
from evenly.storage.exports.datacomp import write_datacomp
from evenly.storage.exports.export import Export, ExportSummary
from evenly.storage.exports.huggingface import write_huggingface
from evenly.storage.exports.parquet import write_parquet
from evenly.storage.exports.webdataset import write_webdataset

EXPORTS: Mapping[str, Export] = {
    "webdataset": Export(format="webdataset", version=1, fill=write_webdataset),
    "parquet": Export(format="parquet", version=1, fill=write_parquet),
    "coco": Export(format="coco", version=1, fill=write_coco),
    "datacomp": Export(format="datacomp", version=1, fill=write_datacomp),
    "huggingface": Export(format="huggingface", version=1, fill=write_huggingface, has_card=True),
    "croissant": Export(format="croissant", version=2, fill=write_croissant, has_card=True),
}

__all__ = ["EXPORTS", "Export", "ExportSummary"]
