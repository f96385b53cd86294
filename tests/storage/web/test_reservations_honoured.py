"""Each mechanism in each of its forms on a web of its own: honoured where respected, stored where not, and mutated."""

import time
from datetime import UTC, datetime
from email.message import Message
from hashlib import sha256
from pathlib import Path

from evenly.curation.reservations.headers import license_link
from evenly.curation.reservations.mechanisms import MECHANISMS
from evenly.curation.reservations.rule import DownloadRule
from evenly.storage.web.download import DownloadWorkers, FailureRule
from evenly.storage.web.fetching import WebClient
from evenly.storage.web.guard import parse_connect
from evenly.storage.web.rule import NO_RIGHTS, RIGHTS
from evenly.storage.web.shards import read_downloads
from tests.curation.reservations.marked import edited, mining, with_store, with_xmp
from tests.storage.web.conftest import HOST, Answer, Web, picture
from tests.storage.web.fetched import download_images

PNG = picture()
RSL = '<https://a.test/l.xml>; rel="license"; type="application/rsl+xml"'


def header(name: str, value: str) -> dict[str, object]:
    return {"headers": ((name, value),)}


def robots(*lines: str) -> dict[str, object]:
    return {"robots": "\n".join(lines)}


# mechanism -> forms that reserve, and mutations of each that do not: of others, another value, or misspelt
CASES = {
    "robots": ([robots("User-agent: *", "Disallow: /")], [robots("User-agent: otherbot", "Disallow: /")]),
    "x-robots-tag": (
        [header("X-Robots-Tag", "noai"), header("X-Robots-Tag", "evenly: noimageai")],
        [header("X-Robots-Tag", "otherbot: noai"), header("X-Robots-Tag", "nofollow"), header("X-Robot-Tag", "noai")],
    ),
    "tdmrep": (
        [header("tdm-reservation", "1"), {"tdm": '[{"location": "/", "tdm-reservation": 1}]'}],
        [header("tdm-reservation", "0"), {"tdm": '[{"location": "/other", "tdm-reservation": 1}]'}],
    ),
    "content-usage": (
        [
            header("Content-Usage", "train-ai=n"),
            header("Content-Usage", "search=y, train-ai=n;x=1"),
            robots("User-agent: *", "Content-Usage: train-ai=n"),
            robots("User-Agent: Evenly", "allow: /", "content-usage : / train-ai=n # no"),
            robots("User-agent: *", "Content-Usage: train-ai=y", "Content-Usage: /a* train-ai=n"),
            robots("User-agent: *", "Content-Usage: /a train-ai=y", "Content-Usage: /a train-ai=n"),
        ],
        [
            header("Content-Usage", "train-ai=y"),
            header("Content-Usage", 'train-ai="n"'),
            header("Content-Usage", "train-AI=n"),
            header("Content-Usage", "train-ai=n, train-ai=y"),
            header("Content-Usage", "search=n"),
            header("Content-Use", "train-ai=n"),
            robots("User-agent: otherbot", "Content-Usage: train-ai=n"),
            robots("User-agent: *", "Content-Usage: train-ai=n", "User-agent: evenly", "Allow: /"),
            robots("User-agent: *", "Content-Usage: train-ai=n", "Content-Usage: /a.png train-ai=y"),
            robots("User-agent: *", "Content-Usage: /b train-ai=n"),
            robots("User-agent: *", "Content-Usages: train-ai=n"),
        ],
    ),
    "content-signal": (
        [
            robots("User-Agent: *", "Content-Signal: search=yes,ai-train=no", "Allow: /"),
            robots("User-agent: x", "User-agent: evenly", "content-signal: AI-Train = No"),
            robots("Content-Signal: ai-train=no"),
            header("Content-Signal", "ai-train=no, search=yes"),
        ],
        [
            robots("User-Agent: *", "Content-Signal: search=no,ai-train=yes,ai-input=no"),
            robots("User-Agent: otherbot", "Content-Signal: ai-train=no"),
            robots("User-Agent: *", "Content-Signals: ai-train=no"),
            robots("User-Agent: *", "Content-Signal: ai-trains=no"),
            robots("# Content-Signal: ai-train=no"),
            header("Content-Signal", "ai-train=yes"),
        ],
    ),
    "noml": (
        [
            header("X-Robots-Tag", "noml"),
            header("X-Robots-Tag", "nofollow, NoML"),
            header("X-Robots-Tag", "evenly: noml"),
        ],
        [header("X-Robots-Tag", "otherbot: noml"), header("X-Robots-Tag", "nomls"), header("X-Robots", "noml")],
    ),
    "rsl": (
        [
            header("Link", RSL),
            header("Link", f'</next>; rel="next", {RSL}'),
            header("link", "</l>;rel=license;TYPE=Application/RSL+XML"),
            robots("License: https://a.test/license.xml", "User-agent: *", "Allow: /"),
            robots("User-agent: otherbot", "Disallow: /", "license: http://a.test/l.xml"),
        ],
        [
            header("Link", RSL.replace("rsl+xml", "xml")),
            header("Link", RSL.replace('"license"', '"licence"')),
            header("Links", RSL),
            robots("License: MIT"),
            robots("Licence: https://a.test/license.xml"),
            robots("# License: https://a.test/license.xml"),
        ],
    ),
    "iptc": (
        [{"body": with_xmp(kind, mining("DMI-PROHIBITED"))} for kind in ("JPEG", "PNG", "WEBP", "AVIF", "GIF")],
        [{"body": with_xmp("JPEG", mining("DMI-ALLOWED"))}],
    ),
    "c2pa": (
        [{"body": with_store(kind)} for kind in ("JPEG", "PNG", "WEBP", "AVIF", "GIF")],
        [{"body": with_store("JPEG", edited(b"jnotAllowed", b"jnotallowed"))}],
    ),
}
RESERVING = [(name, form) for name, (forms, _) in CASES.items() for form in forms]
MUTATED = [(name, form) for name, (_, forms) in CASES.items() for form in forms]


def downloaded(web: Web, folder: Path, sites: list[dict[str, object]], **rule: object) -> list[dict[str, object]]:
    """The records of a download from a site for each form, in the order of the forms."""
    urls, connect = [f"http://site{number}.test/a.png" for number in range(len(sites))], {}
    for number, site in enumerate(sites):
        host = f"site{number}.test"
        connect[host] = web.connect[HOST]
        web.put(f"{host}/a.png", Answer(200, site.get("body", PNG), (*site.get("headers", ()),)))
        for path, key in (("/robots.txt", "robots"), ("/.well-known/tdmrep.json", "tdm")):
            if key in site:
                web.put(host + path, Answer(200, str(site[key]).encode(), (("Content-Type", "text/plain"),)))
    outcomes = {name.replace("-", "_") for name in CASES}
    download_images(
        urls,
        DownloadRule(retries=0, **rule),
        folder=folder,
        connect=connect,
        workers=DownloadWorkers(processes=1),
        failures=FailureRule(tolerate=outcomes),
    )
    rows = {row["url"]: row for row in read_downloads(folder).to_pylist()}
    return [rows[url] for url in urls]


def test_every_form_of_every_mechanism_is_honoured_and_no_mutation_is(web, tmp_path):
    rows = downloaded(web, tmp_path, [form for _, form in RESERVING + MUTATED], respect=MECHANISMS)
    for (mechanism, form), row in zip(RESERVING, rows, strict=False):
        assert (row["outcome"], row["verdict"]) == (mechanism.replace("-", "_"), "dropped"), (form, row)
        assert row["reservation"] == mechanism, (form, row)
        assert row["evidence"] in row["reservation_evidence"]
        assert row["tar"] is None
    for (mechanism, form), row in zip(MUTATED, rows[len(RESERVING) :], strict=True):
        assert (row["outcome"], row["reservation"], row["reservation_evidence"]) == ("success", "", ""), (
            mechanism,
            form,
        )
    in_robots = next(
        row for (name, form), row in zip(RESERVING, rows, strict=False) if name == "rsl" and "robots" in form
    )
    text = "License: https://a.test/license.xml\nUser-agent: *\nAllow: /"
    assert f"robots.txt (sha256 {sha256(text.encode()).hexdigest()}, read 20" in in_robots["reservation_evidence"]


def test_what_is_not_respected_is_stored(web, tmp_path):
    rows = downloaded(web, tmp_path, [form for _, form in RESERVING], respect=(), store_reservations=True)
    assert [(row["outcome"], row["reservation"]) for row in rows] == [("success", name) for name, _ in RESERVING]


def test_several_mechanisms_are_stored_together_and_the_first_is_the_reason(web, tmp_path):
    site = {
        "body": with_xmp("PNG", mining("DMI-PROHIBITED")),
        "headers": (("X-Robots-Tag", "noai, noml"), ("Content-Usage", "train-ai=n"), ("Link", RSL)),
        "robots": "User-agent: *\nContent-Signal: ai-train=no",
    }
    (row,) = downloaded(web, tmp_path / "kept", [site], respect=(), store_reservations=True)
    assert row["reservation"] == "x-robots-tag, content-usage, content-signal, noml, rsl, iptc"
    (row,) = downloaded(web, tmp_path / "gone", [site], respect=("iptc", "noml", "rsl"))
    assert (row["outcome"], row["reservation"]) == ("noml", "x-robots-tag, content-usage, content-signal, noml, rsl")


def test_a_redirect_reserves_what_it_leads_to(web):
    web.put("other.test/b.png", Answer(200, PNG))
    headers = (("Location", "http://other.test/b.png"), ("Content-Usage", "train-ai=n"))
    url = web.put("/a.png", Answer(302, b"", headers))
    rule = DownloadRule(respect=("content-usage",), retries=0)
    client = WebClient(rule, parse_connect(web.connect))
    assert client.fetch(url).outcome == "content_usage"


def test_a_robots_txt_that_cannot_be_had_forbids_only_where_it_is_respected(web):
    web.put("/robots.txt", Answer(500, b""))
    url = web.put("/a.png", Answer(200, PNG))
    for rule, outcome in (
        ({"respect": ("noml",), "store_reservations": True}, "success"),
        ({"respect": ("content-signal",)}, "http_500"),
        ({"respect": ("rsl",)}, "http_500"),
    ):
        assert WebClient(DownloadRule(retries=0, **rule), parse_connect(web.connect)).fetch(url).outcome == outcome


def test_a_file_of_thousands_of_preferences_is_no_consent(web):
    web.put("/robots.txt", Answer(200, b"User-agent: *\n" + b"Content-Usage: /x train-ai=y\n" * 2000))
    url = web.put("/a.png", Answer(200, PNG))
    fetched = WebClient(DownloadRule(retries=0, respect=MECHANISMS), parse_connect(web.connect)).fetch(url)
    assert fetched.outcome == "content_usage_unreadable"
    assert WebClient(DownloadRule(retries=0), parse_connect(web.connect)).fetch(url).outcome == "success"


def test_a_hostile_link_header_takes_no_time():
    headers = Message()
    headers["Link"] = "<" * 20_000 + "<a>" + ";a = " * 9000 + ' ; b="' * 2000
    started = time.process_time()
    assert license_link(headers) is None
    assert time.process_time() - started < 1


def test_of_what_was_not_had_nobody_knows_what_it_reserves(web, tmp_path):
    url = web.put("/gone.png", Answer(404, b""))
    download_images([url], DownloadRule(retries=0), folder=tmp_path, connect=web.connect)
    assert [row["reservation"] for row in read_downloads(tmp_path).to_pylist()] == [None]


def test_the_columns_of_a_record_are_those_that_are_stored():
    assert [*DownloadRule().stored_rights((), NO_RIGHTS, datetime.now(UTC))] == [*RIGHTS]
