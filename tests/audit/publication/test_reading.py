from collections import Counter
from urllib.parse import urlsplit

from evenly.audit.publication.reading import read_facts
from evenly.audit.published import PublishedBuild


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
