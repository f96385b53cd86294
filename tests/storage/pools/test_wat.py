import gzip
import hashlib
import json
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.storage.pools.rows import PoolError
from evenly.storage.pools.source import PoolSource, read_captions, read_pool


def record(content, kind="metadata", length=None):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    size = len(body) if length is None else length
    return f"WARC/1.0\r\nWARC-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + body + b"\r\n\r\n"


def page(address, *links, base=None):
    head = {} if base is None else {"Base": base}
    html = {"HTML-Metadata": {"Head": head, "Links": list(links)}}
    envelope = {"Payload-Metadata": {"HTTP-Response-Metadata": html}}
    return {"Envelope": envelope | {"WARC-Header-Metadata": {"WARC-Target-URI": address}}}


def image(url, **texts):
    return {"path": "IMG@/src", "url": url, **texts}


def write(path, *records):
    with path.open("wb") as stream:  # a member for each record, as Common Crawl packs them
        for one in records:
            stream.write(gzip.compress(one))
    return PoolSource(kind="wat", path=str(path), id="uuid")


def rows(source):
    table = pa.concat_tables(read_pool(source))
    return list(zip(*(table[name].to_pylist() for name in ("url", "caption", "text_of", "reject")), strict=True))


def test_each_picture_of_a_page_comes_with_each_of_its_texts_and_its_whole_address(tmp_path):
    first = page(
        "https://a.test/birds/list.html",
        image("robin.jpg", alt="a robin", title="Robin in May"), image("/top.png", alt=""),
        {"path": "A@/href", "url": "x.html", "text": "no picture"},
        image("//cdn.test/w.gif", **{"data-image-title": "wren"}),
        {"path": "IMG@/srcset", "url": "b.png", "alt": "set"}, image("data:image/gif;base64,R0", alt="inside"),
    )  # fmt: skip
    second = page("https://b.test/x/", image("y.png", alt="joined to the base"), base="/pictures/")
    source = write(tmp_path / "a.warc.wat.gz", record(b"software: x", "warcinfo"), record(first), record(second))
    assert rows(source) == [
        ("https://a.test/birds/robin.jpg", "a robin", "alt", None),
        ("https://a.test/birds/robin.jpg", "Robin in May", "title", None),
        ("https://a.test/top.png", None, None, "missing_caption"),
        ("https://cdn.test/w.gif", "wren", "data-image-title", None),
        ("https://a.test/birds/b.png", "set", "alt", None),
        ("data:image/gif;base64,R0", "inside", "alt", "bad_url"),
        ("https://b.test/pictures/y.png", "joined to the base", "alt", None),
    ]
    table = next(read_pool(source))
    assert table["source_id"][0].as_py() == hashlib.sha224(b"https://a.test/birds/robin.jpg").hexdigest()[:24]
    assert table["page"][0].as_py() == "https://a.test/birds/list.html"
    assert [one for captions in read_captions(source) for one in captions.to_pylist()][:2] == [
        "a robin",
        "Robin in May",
    ]


def test_records_that_cannot_be_read_are_rows_with_a_reason_and_the_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("evenly.storage.pools.wat.ROW_BYTES", 2_000)
    good = page("https://a.test/", image("a.png", alt="a fox"))
    hostile = page(
        "https://a.test/", image(5, alt="no address"), image("b.png", alt=["no text"]), image("c.png", alt="\ud800"),
        image("http://[", alt="x"), "no link", image(None, alt="y"),
    )  # fmt: skip
    records = [
        record(b"{broken"),
        record([1]),
        record(b"[" * 1_500),
        record(b"x" * 100_000),
        record(hostile),
        record({}),
    ]
    found = rows(write(tmp_path / "a.wat.gz", *records, record(good)))
    assert [reject for *_, reject in found] == [
        "bad_row", "bad_row", "bad_row", "row_too_large", "bad_url", "bad_caption", "bad_caption", None, "missing_url",
        None,
    ]  # fmt: skip
    assert [found[at][:2] for at in (7, 9)] == [("http://[", "x"), ("https://a.test/a.png", "a fox")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (record({}, length=10_000), "an end within a record"),
        (record({}, length="-5"), "a record of length '-5'"),
        (b"<html>", "b'<html>' where a record begins"),
        (b"WARC/1.0\r\nWARC-Type: metadata", "a header that does not end"),
        (b"WARC/1.0\r\n" + b"x: y\r\n" * 2_000, "a header that does not end"),
        (b"WARC/1.0\r\n" + b"x" * 100_000, "a header that does not end"),
    ],
)
def test_a_file_that_is_none_says_what_is_wrong(tmp_path, content, message):
    with pytest.raises(PoolError, match=f"must be a whole WAT file; got {message}"):
        rows(write(tmp_path / "a.wat.gz", content))


def test_a_file_that_is_cut_or_no_gzip_says_so(tmp_path):
    source = write(tmp_path / "a.wat.gz", record(page("https://a.test/", image("a.png", alt="a fox"))))
    whole = (tmp_path / "a.wat.gz").read_bytes()
    for content in (whole[:-20], b"no gzip", whole[:30] + b"\xff" * 20 + whole[50:]):
        (tmp_path / "a.wat.gz").write_bytes(content)
        with pytest.raises(PoolError, match=r"a\.wat\.gz"):
            rows(source)


def test_a_small_file_that_unpacks_to_much_takes_little_memory(tmp_path):
    source = write(
        tmp_path / "a.wat.gz", record(b"0" * 200_000_000), record(page("http://a.test/", image("a", alt="b")))
    )
    tracemalloc.start()
    assert [reject for *_, reject in rows(source)] == ["row_too_large", None]
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["Links", "Base", "path", "url", "alt", "title"]), inner, max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(links=st.lists(JSON, max_size=4), head=JSON, address=JSON)
def test_whatever_a_page_holds_the_next_one_is_read(tmp_path, links, head, address):
    odd = page(address, *links)
    odd["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]["Head"] = head
    found = rows(write(tmp_path / "a.wat.gz", record(odd), record(page("http://a.test/", image("a.png", alt="last")))))
    assert found[-1] == ("http://a.test/a.png", "last", "alt", None)
