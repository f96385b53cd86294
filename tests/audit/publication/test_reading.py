from collections import Counter
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from evenly.audit.publication.reading import domains_of, read_facts, registrable
from evenly.audit.published import PublishedBuild


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


def test_facts_are_those_that_can_be_counted_in_the_sample_table(published):
    build = PublishedBuild(*published)
    facts = read_facts(build)
    kept = build.samples(where="balance_verdict = 'kept'").to_pylist()
    pictures = {row["image_id"]: row for row in kept}
    assert (facts.pairs, facts.pictures) == (len(kept), len(pictures))
    assert facts.words == sum(len((row["chosen_caption"] or row["caption"] or "").split()) for row in kept)
    hosts = Counter(urlsplit(row["url"]).hostname for row in kept)
    assert {row["domain"]: row["pairs"] for row in facts.domains} == dict(hosts)
    assert sum(row["pictures"] for row in facts.domains) == facts.pictures
    assert facts.captions == dict(Counter(row["caption_origin"] for row in kept))
    assert [step["step"] for step in facts.steps] == [record.name for record in build.deciding]
    for step, record in zip(facts.steps, build.deciding, strict=True):
        assert step["rows_in"] == record.rows_in
        assert step["kept"] == record.counts["kept"]
    assert facts.reserved is None


def test_facts_of_a_build_in_partitions_are_the_same(shared_build, shared):
    facts = [read_facts(PublishedBuild(shared, shared_build(bits=bits))).to_dict() for bits in (0, 3)]
    names = ("pairs", "pictures", "words", "domains", "captions", "sources", "picture_bytes")
    assert {name: facts[0][name] for name in names} == {name: facts[1][name] for name in names}
