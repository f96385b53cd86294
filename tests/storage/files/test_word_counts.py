"""Counts from the packages themselves, and from files as people write them."""

import gzip

import pyarrow as pa
import pytest

from evenly.storage.errors import InputError
from evenly.storage.files.word_counts import read_pairs, read_titles, read_words


def as_dict(table: pa.Table) -> dict[str, int]:
    return dict(zip(table["entry"].to_pylist(), table["count"].to_pylist(), strict=True))


def test_wordfreq_gives_occurrences_in_ten_billion_words_without_shapes_of_numbers():
    found = read_words("wordfreq", "en")
    counts = as_dict(found.table)
    assert counts["the"] == 537_031_796  # 10^10 * 10^-1.27
    assert min(counts.values()) == 102
    assert found.total == 10**10
    assert {"1", "ps4"} <= counts.keys()
    assert "0000" not in counts
    assert {row["entry"]: row["why"] for row in found.refused.to_pylist()}["0000"] == "digits_replaced"
    assert found.origin.startswith("wordfreq 3.")


def test_wordsegment_gives_words_and_pairs_of_googles_corpus_without_sentence_marks():
    words, pairs = read_words("wordsegment", "en"), read_pairs("wordsegment", "en")
    assert as_dict(words.table)["the"] == 23_135_851_162
    assert words.total == pairs.total == 1_024_908_267_229
    assert "<s> a" in pairs.refused["entry"].to_pylist()
    assert not [entry for entry in pairs.table["entry"].to_pylist() if len(entry.split(" ")) != 2]


def test_symspellpy_gives_words_and_pairs():
    assert as_dict(read_words("symspellpy", "en").table)["the"] == 23_135_851_162
    assert as_dict(read_pairs("symspellpy", "en").table)["abcs of"] == 10_956_800


@pytest.mark.parametrize(
    ("read", "package", "language", "match"),
    [
        (read_words, "wordfreq", "bo", "must be in a language that it has; got `bo`"),
        (read_words, "wordsegment", "fr", "must be for English"),
        (read_pairs, "symspellpy", "fr", "must be for English"),
        (read_pairs, "wordfreq", "en", "must be one of wordsegment, symspellpy, or a file; got `wordfreq`"),
    ],
)
def test_what_a_package_does_not_have_is_said(read, package, language, match):
    with pytest.raises(InputError, match=match):
        read(package, language)


@pytest.mark.parametrize(("read", "package"), [(read_words, "wordfreq"), (read_pairs, "symspellpy")])
def test_a_package_that_is_not_installed_is_named_with_the_extra(monkeypatch, read, package):
    monkeypatch.setattr("evenly.storage.files.word_counts.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InputError, match=rf"needs the package {package}; it is not installed.*pip install .*{package}"):
        read(package, "en")


@pytest.fixture
def written(tmp_path):
    def write(name: str, text: str | bytes):
        path = tmp_path / name
        content = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


@pytest.mark.parametrize("name", ["words.txt", "words.tsv.gz"])
def test_a_file_of_words_has_a_tab_before_each_count_and_its_sum_as_total(written, name):
    found = read_words(str(written(name, "dog\t5\r\n\nice cream\t2\ndog\t1\n")), "xx")
    assert found.table.to_pylist() == [
        {"entry": "dog", "count": 5},
        {"entry": "ice cream", "count": 2},
        {"entry": "dog", "count": 1},
    ]
    assert found.total == 8
    assert found.origin.startswith(f"{name} sha256 ")


@pytest.mark.parametrize(
    ("read", "text", "match"),
    [
        (read_words, b"dog 5\n", r"a word, a tab and a count.*'dog 5'.*line 1"),
        (read_words, b"a\t1\nword\tcount\n", r"whole numbers.*got 'count'.*line 2"),
        (read_words, b"a\t-1\n", r"whole numbers.*got '-1'"),
        (read_words, b"a\t1.5\n", r"whole numbers.*got '1.5'"),
        (read_words, b"a\t" + b"9" * 19, r"below 10\^18"),
        (read_words, b"\t5\n", "a word, a tab and a count"),
        (read_words, b"\xff\t5\n", "it is not UTF-8"),
        (read_words, b"x" * 100_001, "at most 100,000 bytes"),
        (read_pairs, b"dog\t5\n", "two words with a space between"),
        (read_pairs, b"a  dog\t5\n", "two words with a space between"),
    ],
)
def test_a_line_that_breaks_the_form_is_refused_with_its_place(written, read, text, match):
    with pytest.raises(InputError, match=match):
        read(str(written("counts.tsv", text)), "en")


def test_a_broken_gzip_is_refused(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"dog\t5\n" * 1000)[:-9])
    with pytest.raises(InputError, match="must be readable text"):
        read_words(str(tmp_path / "a.gz"), "en")


def test_titles_have_views_on_all_lines_or_on_none(written):
    table, origin = read_titles(written("a.txt", "New_York\nDog\n"))
    assert table.to_pylist() == [{"entry": "New_York", "views": None}, {"entry": "Dog", "views": None}]
    assert origin.startswith("a.txt sha256 ")
    assert read_titles(written("b.tsv", "New_York\t70\n"))[0].to_pylist() == [{"entry": "New_York", "views": 70}]
    with pytest.raises(InputError, match=r"views on all lines or on none.*line 2"):
        read_titles(written("c.tsv", "New_York\t70\nDog\n"))
    with pytest.raises(InputError, match="at least one line"):
        read_titles(written("d.tsv", "\n"))
