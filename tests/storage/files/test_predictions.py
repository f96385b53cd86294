import csv
import json

import pyarrow.parquet as pq
import pytest

from evenly.storage.errors import InputError
from evenly.storage.files.predictions import TYPES, write_predictions

COLUMNS = ("name", "class", "confidence", "top", "error")
HOSTILE = [
    "a.png",
    "=1+2.png",
    "+cmd|' /C calc'!A0.png",
    'say "hi", you.png',
    "two\nlines.png",
    "ünïcode 🦉.png",
    "-1",
    "@x",
]
ROWS = [
    {"name": name, "class": "a b", "confidence": 0.75, "top": [{"class": "a b", "probability": 0.75}], "error": ""}
    for name in HOSTILE
] + [{"name": "broken.png", "class": None, "confidence": None, "top": [], "error": "empty"}]


def test_csv_keeps_every_name_as_it_is_in_quotes(tmp_path):
    path = tmp_path / "p.csv"
    write_predictions(path, ROWS, columns=COLUMNS)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == [row["name"] for row in ROWS]
    assert rows[0] == {"name": "a.png", "class": "a b", "confidence": "0.75", "top": "a b=0.7500", "error": ""}
    assert rows[-1] == {"name": "broken.png", "class": "", "confidence": "", "top": "", "error": "empty"}
    assert '\n"=1+2.png","a b",0.75,' in path.read_text()


def test_json_lines_hold_the_rows_as_they_are(tmp_path):
    write_predictions(tmp_path / "p.jsonl", ROWS, columns=COLUMNS)
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS


@pytest.mark.parametrize("rows", [ROWS, ROWS[-1:], []])
def test_parquet_has_the_same_types_whatever_the_rows_hold(tmp_path, rows):
    write_predictions(tmp_path / "p.parquet", rows, columns=COLUMNS)
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.to_pylist() == rows
    assert {field.name: field.type for field in table.schema} == {name: TYPES[name] for name in COLUMNS}


def test_scores_have_columns_of_their_own(tmp_path):
    rows = [{"name": "a", "score": -1.5, "error": ""}, {"name": "b", "score": None, "error": "empty"}]
    write_predictions(tmp_path / "p.csv", rows, columns=("name", "score", "error"))
    assert (tmp_path / "p.csv").read_text() == '"name","score","error"\n"a",-1.5,""\n"b","","empty"\n'


def test_another_ending_and_a_folder_are_refused(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "p.xlsx", tmp_path / "p", tmp_path / "folder.csv"):
        with pytest.raises(InputError, match=r"`--out` must be a file that ends in \.csv, \.jsonl, \.parquet"):
            write_predictions(path, ROWS, columns=COLUMNS)
