import hashlib

import pytest

from evenly.storage.errors import InputError
from evenly.storage.files.blocklists import read_blocklist, read_domains, read_file_hashes, read_look_hashes


def test_entries_come_once_without_comments_and_the_file_is_known_by_its_hash(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf# why\nbad word\n\n  other \r\nbad word\n")
    found = read_blocklist(path)
    assert found.entries == ("bad word", "other")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "bad" not in repr(found)


def test_a_list_that_is_not_the_one_which_the_recipe_means_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("word\n")
    found = read_blocklist(path).sha256
    assert read_blocklist(path, sha256=found[:12].upper()).sha256 == found
    with pytest.raises(InputError, match="that the recipe names, 00ff"):
        read_blocklist(path, sha256="00ff")


@pytest.mark.parametrize(
    ("content", "text"), [(None, "No such file"), (b"\xff\xfe", "not UTF-8"), (b"# nothing\n\n", "it has none")]
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path, content, text):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=text):
        read_blocklist(path)


def written(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_domains_are_read_in_the_form_that_urls_are_compared_in(tmp_path):
    path = written(tmp_path, "Bad.Test\n*.worse.test.\n.worst.test\nB\u00fccher.test\nxn--bcher-kva.test\n10.0.0.1\n")
    assert read_domains(path).entries == ("bad.test", "worse.test", "worst.test", "xn--bcher-kva.test", "10.0.0.1")


def test_hashes_are_read_in_lower_case_with_what_stands_behind_them_left_out(tmp_path):
    assert read_file_hashes(written(tmp_path, "A" * 64 + "  name.jpg\n")).entries == ("a" * 64,)
    assert read_look_hashes(written(tmp_path, "00FF" * 4 + "\n")).entries == ("00ff" * 4,)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_file_hashes, "a" * 64 + "\nsecret\n"),
        (read_look_hashes, "a" * 16 + "\n" + "a" * 17),
        (read_domains, "good.test\nhttp://secret.test/"),
    ],
)
def test_an_entry_of_another_kind_is_refused_by_its_place(tmp_path, read, text):
    with pytest.raises(InputError, match="number 2 is none") as error:
        read(written(tmp_path, text))
    assert "secret" not in str(error.value)
