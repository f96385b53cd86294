import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.batch.endpoint import is_id, read_batch


def told(**more):
    return {"id": "batch_1", "status": "in_progress"} | more


def test_a_batch_is_read_with_files_counts_and_errors():
    batch = read_batch(
        told(
            output_file_id="file-1",
            error_file_id="file-2",
            request_counts={"completed": 1, "failed": 2, "total": 3},
            errors={"data": [{"code": "Bad Line", "line": 2, "message": "no\nno"}]},
        ),
        retry_after_s=3.0,
    )
    assert (batch.id, batch.status, batch.retry_after_s) == ("batch_1", "in_progress", 3.0)
    assert batch.file_ids == ("file-1", "file-2")
    assert batch.counts == {"completed": 1, "failed": 2, "total": 3}
    assert batch.errors == (("bad_line", 2, "no no"),)


@pytest.mark.parametrize("value", [{}, {"id": "a"}, {"status": "x"}, told(id=3), told(id="a/b"), told(status=None)])
def test_what_has_no_id_or_status_is_no_batch(value):
    with pytest.raises(ValueError, match="no batch"):
        read_batch(value)


@pytest.mark.parametrize("text", ["", "..", "../x", "a/b", "a b", "a\n", "a%2fb", "-a", "a?b", "x" * 1001, "ä"])
def test_an_id_that_could_change_the_address_is_no_id(text):
    assert not is_id(text)


def test_ids_of_gateways_are_ids():
    assert is_id("bGl0ZWxsbV9wcm94eTphcHBsaWNhdGlvbg==")
    assert is_id("batch_abc-1.2:x")


def test_counts_that_are_none_are_left_out():
    batch = read_batch(told(request_counts={"completed": -1, "failed": True, "total": 10**30}))
    assert batch.counts == {}


@given(
    st.dictionaries(
        st.sampled_from(["output_file_id", "error_file_id", "request_counts", "errors", "metadata"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("data"), inner),
            max_leaves=6,
        ),
    )
)
def test_no_shape_of_the_rest_breaks_it(more):
    assert read_batch(told(**more)).id == "batch_1"
