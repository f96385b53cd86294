import hashlib

import pytest

from storage.blocklists import read_blocklist
from storage.errors import InputError


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
