"""Text in pictures is read once for each and flags captions that say it, however the pool is cut."""

import importlib.util
from dataclasses import replace

import pytest

from evenly.features.errors import WeightsUnavailableError
from evenly.features.pictures.text_reader import TextReader
from evenly.tasks.captions import scoring
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.stage import run_steps
from evenly.tasks.step import check_ready
from tests.drawn_text import drawn_text
from tests.picture_pool import picture
from tests.tasks.whole_rebuild import RED, RULES, Row, open_run

pytestmark = [
    pytest.mark.usefixtures("colour_words"),
    pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="the extra `ocr` is not installed"),
]

POOL = [
    Row("sale", "Summer sale: fresh bread", drawn_text("SUMMER SALE\nfresh bread")),
    Row("sign", "a red sign", drawn_text("NO ENTRY", colour=RED)),
    Row("red", "a red picture", picture(RED, pattern=1)),
]
RULE = {"captioners": [{"name": "tags", "kind": "tags", "columns": ["label"]}], "read_text": True}


@pytest.fixture
def pictures_read(monkeypatch):
    """How many pictures were read."""
    counts = []
    read = TextReader.read

    def counted(self, images, *, progress=None):
        images = list(images)
        counts.append(len(images))
        return read(self, images, progress=progress)

    monkeypatch.setattr(TextReader, "read", counted)
    return counts


def recaptioned(run, **changes):
    rule = RECAPTION.read(RULE | {"choose": {"by": "original"}} | changes)
    steps = [(step, step.read(RULES[step.name])) for step in (COLLECT, DOWNLOAD, EMBED_IMAGES)]
    record = run_steps(run, [*steps, (RECAPTION, rule)], InProcess(run=run))[-1]
    originals = [row for row in run.ledger.table(record, "candidates").to_pylist() if row["origin"] == "original"]
    return record, {row["caption"]: row["flags"] for row in originals}


@pytest.mark.slow
def test_captions_that_say_what_is_written_have_a_flag_and_each_picture_is_read_once(tmp_path, pictures_read):
    run = open_run(tmp_path / "w", POOL)
    record, flags = recaptioned(run)
    assert flags == {"Summer sale: fresh bread": ["echoes_text"], "a red sign": [], "a red picture": []}
    assert sum(pictures_read) == 3
    cut, _ = recaptioned(replace(run, bits=2), choose={"by": "original", "forbid": ["unseen"]})
    assert sum(pictures_read) == 3
    assert cut.key != record.key
    again, of_partitions = recaptioned(replace(open_run(tmp_path / "cut", POOL), bits=2))
    assert (again.output_hash, of_partitions) == (record.output_hash, flags)


def test_where_text_is_not_read_no_caption_has_the_flag_and_no_package_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "TextReader", None)
    _, flags = recaptioned(open_run(tmp_path / "w", POOL), read_text=False)
    assert not any(flags.values())


def test_a_missing_package_is_known_before_the_first_step(tmp_path, monkeypatch):
    def missing():
        raise WeightsUnavailableError("the line that installs it")

    scoring.text_reader.cache_clear()
    monkeypatch.setattr(scoring, "TextReader", missing)
    rule = RECAPTION.read(RULE | {"choose": {"by": "original"}})
    with pytest.raises(WeightsUnavailableError):
        check_ready(open_run(tmp_path / "w", POOL), [(RECAPTION, rule)])
