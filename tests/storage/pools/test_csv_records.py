import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.storage.pools.csv_records import LIMIT, CsvRecords

TEXTS = st.text(alphabet='ab,"\n é', max_size=8)
URLS = st.integers(0, 99).map(lambda number: f"http://a.test/{number}")
ROWS = st.lists(st.tuples(URLS, TEXTS, TEXTS), min_size=1, max_size=8)


def written(rows, **options):
    stream = io.StringIO()
    csv.writer(stream, **options).writerows(rows)
    return stream.getvalue()


def read(text):
    """The records below the header; lines end at a line feed only, as in a file of bytes."""
    records = CsvRecords(iter(text.removesuffix("\n").replace("\n", "\n\0").split("\0")))
    return [(record.line, record.fields) for record in records]


@given(ROWS, st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_MINIMAL]), st.sampled_from(["\n", "\r\n"]))
def test_what_a_writer_writes_is_read_back_with_its_line(rows, quoting, end):
    header = written([("u", "v", "w")], lineterminator=end)
    lines, expected = 2, []
    for row in rows:
        expected.append((lines, list(row)))
        lines += written([row], quoting=quoting, lineterminator=end).count("\n")
    assert read(header + written(rows, quoting=quoting, lineterminator=end)) == expected


@given(st.lists(st.text(alphabet="ab, é", max_size=8), min_size=2, max_size=9), st.data())
def test_a_quote_that_does_not_end_costs_one_line(captions, data):
    rows = [(f"http://a.test/{number}", caption) for number, caption in enumerate(captions)]
    at = data.draw(st.integers(0, len(rows) - 1))
    lines = written(rows, lineterminator="\n").splitlines()
    lines[at] = f'http://a.test/{at},"{captions[at]}'
    ends = data.draw(st.sampled_from(["", "\n"]))
    assert read("\n".join(["url,caption", *lines]) + ends) == [
        (number + 2, None if number == at else list(row)) for number, row in enumerate(rows)
    ]


def test_a_quote_that_ends_at_the_end_of_another_row_swallows_none():
    text = (
        'url,caption\nhttp://a.test/1,"a fox\nhttp://a.test/2,a dog\nhttp://a.test/3,the "big cat"\nhttp://a.test/4,x\n'
    )
    assert [line for line, fields in read(text) if fields is None] == [2]
    assert [fields for _, fields in read(text)][1:] == [
        ["http://a.test/2", "a dog"], ["http://a.test/3", 'the "big cat"'], ["http://a.test/4", "x"],
    ]  # fmt: skip
    without_web = 'key,part\na,"train\nb,val\nc,test\nd,train"\ne,val\n'
    assert [line for line, fields in read(without_web) if fields is None] == [2]


def test_a_poem_is_one_value():
    poem = "Roses are red, violets\nare blue, and\nsee https://a.test/x, so are you"
    assert read(written([("url", "caption"), ("http://a.test/1", poem), ("http://a.test/2", "x")])) == [
        (2, ["http://a.test/1", poem]),
        (5, ["http://a.test/2", "x"]),
    ]


def test_text_after_a_quote_on_one_line_is_read_as_ever():
    assert read('a,b\n"Mickey" the mouse,1\n') == [(2, ["Mickey the mouse", "1"])]


def test_a_record_of_several_lines_is_broken_beyond_the_limit():
    row = '1,"' + "x" * 1000 + "\n"
    assert read("a,b\n" + row + "2,y\n" * (LIMIT // 4) + '3,z"\n')[:2] == [(2, None), (3, ["2", "y"])]


def test_many_open_quotes_take_time_in_proportion():
    """Each would be looked for until the limit, were the next not where it ends."""
    rows = read("a,b\n" + '1,"x\n' * 20_000)
    assert [fields for _, fields in rows] == [None] * 20_000


def test_a_broken_header_is_refused():
    with pytest.raises(ValueError, match="line 1"):
        read('a,"b\n1,2\n')
