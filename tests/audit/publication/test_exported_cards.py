import json
from dataclasses import replace

import pytest
import yaml

from evenly.audit.publication.cards import about_build
from evenly.storage.exports import EXPORTS
from evenly.storage.exports.content import ExistingExportError
from tests.curation.publication.test_summary import FACTS
from tests.storage.test_exports import BUILD, read_bytes, table


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_what_is_told_of_a_build_is_in_valid_cards(tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    about = about_build(FACTS)
    for name in ("croissant", "huggingface", "parquet"):
        export = EXPORTS[name].telling(lambda: about)
        export(table(), tmp_path / name, read_bytes=read_bytes, name=BUILD, seed=1)
    card = json.loads((tmp_path / "croissant" / "croissant.json").read_text())
    assert card["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    metadata = mlcroissant.Dataset(jsonld=tmp_path / "croissant" / "croissant.json").metadata
    assert not metadata.ctx.issues.errors
    assert metadata.data_preprocessing_protocol == about.responsible["data_preprocessing_protocol"]
    assert metadata.description == about.description
    readme = (tmp_path / "huggingface" / "README.md").read_text()
    header = yaml.safe_load(readme.split("---")[1])
    assert (header["language"], header["annotations_creators"]) == (["en"], ["found", "machine-generated"])
    assert about.text in readme


def test_what_is_told_is_part_of_an_export(tmp_path):
    first = EXPORTS["huggingface"].telling(lambda: about_build(FACTS))
    first(table(), tmp_path / "e", read_bytes=read_bytes, name=BUILD, seed=1)
    assert first(table(), tmp_path / "e", read_bytes=read_bytes, name=BUILD, seed=1).reused
    other = EXPORTS["huggingface"].telling(lambda: about_build(replace(FACTS, pairs=9)))
    with pytest.raises(ExistingExportError):
        other(table(), tmp_path / "e", read_bytes=read_bytes, name=BUILD, seed=1)
    assert EXPORTS["parquet"].telling(lambda: pytest.fail("a format without a card asks for none"))
