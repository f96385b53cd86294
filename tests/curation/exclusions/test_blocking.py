import pyarrow as pa
import pytest

from evenly.curation.exclusions import safety as blocking
from evenly.curation.exclusions.safety import judge_files, judge_hashes, judge_hosts

LIST = "0123456789abcdef"


def test_a_listed_file_goes_by_the_hash_of_the_list():
    decisions = judge_files(pa.array(["a", None, "b"]), {"b", "c"}, LIST)
    assert decisions.reason.to_pylist() == ["", "", "blocked_file:0123456789ab"]


@pytest.mark.parametrize("block", [1, 1 << 22])
def test_looks_within_the_limit_of_the_nearest_listed_one_go_with_their_distance(monkeypatch, block):
    monkeypatch.setattr(blocking, "_ROWS", block)
    hashes = pa.array([0b1, 0b1111111, 2**64 - 1, None], pa.uint64())
    decisions = judge_hashes(hashes, {0, 2**64 - 1}, 1, LIST)
    assert decisions.reason.to_pylist() == ["blocked_look:0123456789ab", "", "blocked_look:0123456789ab", ""]
    assert decisions.value.to_pylist() == [1, 7, 0, None]


@pytest.mark.parametrize(
    ("host", "goes"),
    [
        ("bad.test", True),
        ("www.bad.test", True),
        ("notbad.test", False),
        ("bad.test.org", False),
        ("test", False),
        ("xn--bcher-kva.test", True),
        ("10.0.0.1", True),
        (None, False),
    ],
)
def test_a_domain_is_blocked_with_all_below_it(host, goes):
    blocked = {"bad.test", "xn--bcher-kva.test", "10.0.0.1"}
    decisions = judge_hosts(pa.array([host, "good.test"], pa.string()), blocked, LIST)
    assert decisions.reason.to_pylist() == ["blocked_domain:0123456789ab" if goes else "", ""]


def test_no_rows_give_no_decisions():
    assert len(judge_hosts(pa.array([], pa.string()), {"a"}, LIST)) == 0
    assert len(judge_hashes(pa.array([], pa.uint64()), {1}, 4, LIST)) == 0
