import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.storage.web.hosts import domains_of, host_of, hosts_of, registrable


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://WWW.Bad.Test./a", "www.bad.test"),
        (" https://user@b\u00fccher.test:8080/x", "xn--bcher-kva.test"),
        ("http://\uff22ad.test/", "bad.test"),
        ("http://a_b.test/", "a_b.test"),
        ("http://[::1]/", "::1"),
        ("http://[bad", None),
        ("no url", None),
        ("", None),
        (None, None),
    ],
)
def test_hosts_are_ascii_and_lower_case(url, host):
    assert host_of(url) == host
    assert hosts_of(pa.array([url], pa.string())).to_pylist() == [host]


MARKS = ("://", ":", "//", ".", "@", "/", "?", "#", "\\", "\n", "\t", " ", "[", "]", "_", "-")
PIECES = st.lists(
    st.sampled_from(("http", "HTTPS", "a", "B.c", "80", "%41", "\u00fc", "\uff0f", *MARKS)), max_size=9
).map("".join)


@settings(max_examples=300)
@given(st.lists(PIECES | PIECES.map("http://a.b".__add__) | st.none(), max_size=5))
def test_hosts_of_many_are_those_of_each(urls):
    assert hosts_of(pa.array(urls, pa.string())).to_pylist() == [host_of(url) for url in urls]


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.Example.co.uk", "example.co.uk"), ("me.github.io", "me.github.io"), ("co.uk", "co.uk"),
        ("localhost", "localhost"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("a.example.", "a.example"),
        ("x.y.test", "y.test"),
    ],
)  # fmt: skip
def test_a_domain_is_what_somebody_registered(host, domain):
    assert registrable(host) == domain


def test_domains_are_read_of_urls_of_the_web_alone():
    urls = [
        "https://u:p@a.b.org:8/x",
        "HTTP://B.org",
        "sha256:00",
        None,
        "http://[::1]/",
        "https://x.org?y=http://z.com/",
    ]
    assert domains_of(pa.array(urls, pa.string())).to_pylist() == ["b.org", "b.org", None, None, "::1", "x.org"]
