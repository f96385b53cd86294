"""What is noted of a watched content stays."""

from evenly.storage.files.class_lists import Watched


def test_the_first_record_of_a_content_stays(workspace):
    watched = Watched(workspace)
    assert watched.get("ab12") is None
    assert watched.put("ab12", {"status": "described"})
    assert not watched.put("ab12", {"status": "broken"})
    assert Watched(workspace).get("ab12") == {"status": "described"}
