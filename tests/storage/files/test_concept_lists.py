import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.storage.errors import DamagedError, InputError
from evenly.storage.files.concept_lists import (
    identity_of,
    left_out_path,
    read_concept_file,
    read_left_out,
    write_concepts,
)
from evenly.storage.tables.block_sums import MARK

TABLE = pa.table(
    {
        "entry": ["dog", "black dog"],
        "sources": pa.array([["wordnet", "unigram"], ["bigram"]], pa.list_(pa.string())),
        "synsets": pa.array([["n02084071"], []], pa.list_(pa.string())),
        "count": pa.array([7, None], pa.int64()),
    }
)
LEFT_OUT = pa.table({"entry": ["of the"], "source": ["bigram"], "why": ["below_min_pmi"]})


@pytest.fixture
def written(tmp_path):
    def write(name: str, text: str | bytes):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_text_file_is_one_entry_per_line_in_order_with_what_was_left_out(written):
    found = read_concept_file(written("a.txt", b"\xef\xbb\xbf black dog \r\ndog\n\n.\ndog\n Dog\n"))
    assert found.entries == ["black dog", "dog", ".", "Dog"]
    assert found.languages is None
    assert found.table["sources"].to_pylist() == [["list"]] * 4
    assert [tuple(row.values()) for row in found.left_out.to_pylist()] == [
        ("", "empty", "line 3"),
        ("dog", "repeated", "line 5"),
    ]


def test_lines_end_at_line_ends_only(written):
    assert read_concept_file(written("a.txt", "a\u2028b\x0bc\x85d\n")).entries == ["a\u2028b\x0bc\x85d"]


def test_a_json_list_is_read_in_its_order(written):
    found = read_concept_file(written("a.json", '["cat", " black dog", "cat", ""]'))
    assert found.entries == ["cat", "black dog"]
    assert found.left_out["place"].to_pylist() == ["[2]", "[3]"]
    assert found.identity == read_concept_file(written("a.txt", "cat\nblack dog\n")).identity


def test_an_object_of_languages_keeps_the_language_of_each_entry(written):
    found = read_concept_file(written("a.json", json.dumps({"en": ["taxi", "dog"], "fr": ["chien", "taxi", "taxi"]})))
    assert found.entries == ["taxi", "dog", "chien", "taxi"]
    assert found.languages == ["en", "en", "fr", "fr"]
    assert found.table["language"].to_pylist() == found.languages
    assert found.left_out.to_pylist() == [{"entry": "taxi", "why": "repeated", "place": "fr[2]"}]
    other = read_concept_file(written("b.json", json.dumps({"en": ["taxi", "dog", "chien"], "fr": ["taxi"]})))
    assert other.entries == found.entries
    assert other.identity != found.identity


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.txt", b"\n \n", "at least one entry; got none"),
        ("a.txt", b"x" * 10_001, "at most 10,000 characters; got 10,001 at .*line 1"),
        ("a.json", b"[", "must be JSON"),
        ("a.json", b"[" * 100_000, "must be JSON"),
        ("a.json", b'"dog"', "must be a list of strings.*got str"),
        ("a.json", b'{"en": "dog"}', "got `en`: str"),
        ("a.json", b'{"": ["dog"]}', "got ``: list"),
        ("a.json", b'["dog", 3]', r"strings of Unicode text; got 3 at .*\[1\]"),
        ("a.json", b'{"en": ["\\ud800"]}', r"strings of Unicode text; got .*en\[0\]"),
        ("a.json", b'{"en": ["a"], "en": ["b"]}', "must differ; got `en` in lines 1 and 1"),
        ("a.parquet", b"PAR1", "readable Parquet file"),
    ],
)
def test_a_file_that_is_no_list_is_refused_with_its_place(written, name, text, match):
    with pytest.raises(InputError, match=match):
        read_concept_file(written(name, text))


def test_a_missing_and_a_huge_file_are_refused(written, tmp_path):
    with pytest.raises(InputError, match="must be a file"):
        read_concept_file(tmp_path / "gone.txt")
    with pytest.raises(InputError, match="at most 4 bytes; got 5"):
        read_concept_file(written("a.txt", "a\nb\nc"), limit_bytes=4)


def test_a_built_list_reads_back_with_its_facts_and_what_was_left_out(tmp_path):
    path = tmp_path / "en.parquet"
    identity = write_concepts(path, TABLE, LEFT_OUT, {"language": "en"})
    found = read_concept_file(path)
    assert (found.entries, found.identity, found.languages) == (["dog", "black dog"], identity, None)
    assert found.table == TABLE
    assert found.facts == {"language": "en", "identity": identity, "schema": 1}
    assert read_left_out(path, identity) == LEFT_OUT
    assert read_left_out(path, "another") is None
    left_out_path(path).unlink()
    assert read_left_out(path, identity) is None
    assert read_concept_file(path).entries == found.entries


def test_equal_lists_are_equal_bytes_and_no_temporary_file_stays(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_concepts(tmp_path / name / "en.parquet", pa.concat_tables([TABLE[:1], TABLE[1:]]), LEFT_OUT, {"z": 1})
    files = [sorted((file.name, file.read_bytes()) for file in (tmp_path / name).iterdir()) for name in ("a", "b")]
    assert files[0] == files[1]
    assert [name for name, _ in files[0]] == ["en.left_out.parquet", "en.parquet"]


def test_a_list_whose_entries_were_changed_is_damaged(tmp_path):
    path = tmp_path / "en.parquet"
    write_concepts(path, TABLE, LEFT_OUT, {})
    table = pq.read_table(path)
    metadata = {key: value for key, value in table.schema.metadata.items() if key != MARK}
    pq.write_table(table.set_column(0, "entry", [["dog", "black cat"]]).replace_schema_metadata(metadata), path)
    with pytest.raises(DamagedError, match="entries that its identity names"):
        read_concept_file(path)


def test_a_foreign_parquet_file_and_another_schema_are_refused(tmp_path):
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"entry": ["dog"]}), path)
    with pytest.raises(InputError, match="another Parquet file"):
        read_concept_file(path)
    pq.write_table(TABLE.replace_schema_metadata({"evenly.concepts": '{"schema": 2}'}), path)
    with pytest.raises(InputError, match="must be of schema 1; got 2"):
        read_concept_file(path)


@settings(max_examples=25)  # each is flushed to disk
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), min_size=1))
def test_writing_then_reading_is_the_identity(tmp_path_factory, texts):
    entries = list(dict.fromkeys(texts))
    lists = pa.list_(pa.string())
    table = pa.table({"entry": pa.array(entries, pa.string()), "sources": pa.array([["list"]] * len(entries), lists)})
    path = tmp_path_factory.mktemp("lists") / "a.parquet"
    write_concepts(path, table, LEFT_OUT, {})
    found = read_concept_file(path)
    assert found.entries == entries
    assert found.identity == identity_of(entries)


@pytest.mark.parametrize(("text", "left_out"), [("a\nb", 0), ("a\nb\n", 0), ("a\n\nb\n", 1), ("a\nb\n\n", 1)])
def test_the_newline_that_ends_a_list_is_no_entry(tmp_path, text, left_out):
    (tmp_path / "list.txt").write_text(text)
    concepts = read_concept_file(tmp_path / "list.txt")
    assert concepts.entries == ["a", "b"]
    assert concepts.left_out.num_rows == left_out
