import datetime as dt
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.chat.retries import LONGEST_PAUSE_S, pause_s, retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("0", 0.0), (None, None), ("-1", None), ("inf", None), ("soon", None)],
)
def test_retry_after_reads_seconds(value, seconds):
    assert retry_after(value) == seconds


def test_retry_after_reads_a_date():
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    assert 25 < retry_after(email.utils.format_datetime(later, usegmt=True)) <= 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@given(st.integers(1, 60), st.text(max_size=64))
def test_pauses_double_within_bounds_and_are_the_same_each_time(attempt, request_id):
    pause = pause_s(attempt=attempt, request_id=request_id, retry_after_s=None)
    longest = min(LONGEST_PAUSE_S, 0.5 * 2.0 ** (attempt - 1))
    assert longest / 2 <= pause <= longest
    assert pause == pause_s(attempt=attempt, request_id=request_id, retry_after_s=None)


def test_what_the_server_asks_for_comes_first():
    assert pause_s(attempt=1, request_id="a", retry_after_s=17.0) == 17.0
