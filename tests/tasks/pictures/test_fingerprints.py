"""Fingerprints of the pictures of a build: those that were stored, and those that are made anew from the bytes."""

from dataclasses import replace

import pyarrow as pa
import pytest

from evenly.tasks import decoding
from evenly.tasks.decoding import TROUBLE, pictures_with_bytes, read_fingerprints, send_fingerprints
from evenly.tasks.engine import InProcess
from evenly.tasks.pictures import sent_rows

UNTIL = 7  # steps before check_images
NOTHING = pa.table({"image_id": pa.array([], pa.string()), "value": pa.array([], pa.binary())})


def in_partitions(rebuilt, bits):
    run = replace(rebuilt.run, bits=bits)
    each = InProcess(run=run)
    with send_fingerprints(run, each, rebuilt.records[:UNTIL]) as sent:
        tables = each.partitions("", sent.of)
    return pa.concat_tables(tables).sort_by("uid").combine_chunks()


def whole(rebuilt):
    return read_fingerprints(rebuilt.run, pictures_with_bytes(rebuilt.records[:UNTIL], rebuilt.run))


@pytest.mark.parametrize("is_measured", [True, False])
def test_fingerprints_are_taken_over_or_made_alike_in_any_number_of_partitions(rebuilt, monkeypatch, is_measured):
    stored = rebuilt.run.ledger.decisions(rebuilt.record("check_images"), ["phash"])["phash"].to_pylist()
    if not is_measured:
        monkeypatch.setattr(decoding, "each_measured", lambda *_: [NOTHING])
        monkeypatch.setattr(sent_rows, "read_measured", lambda *_: NOTHING)
    table = whole(rebuilt)
    assert table["phash"].to_pylist() == stored
    assert table[TROUBLE].null_count == len(stored)
    for bits in (0, 2):
        assert in_partitions(rebuilt, bits).equals(table.sort_by("uid").combine_chunks())


def test_there_are_none_without_pairs(rebuilt):
    pairs = pa.table({"uid": pa.array([], pa.string()), "image_id": pa.array([], pa.string())})
    assert read_fingerprints(rebuilt.run, pairs).schema == whole(rebuilt).schema
