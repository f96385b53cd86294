import contextlib
import gzip
import json
import os
import resource
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from evenly.curation.reservations.mechanisms import MECHANISMS
from evenly.curation.reservations.rule import DownloadRule
from evenly.storage.web.errors import DownloadError, may_pass, verdict_of
from evenly.storage.web.fetching import Fetched, WebClient
from evenly.storage.web.guard import parse_connect
from evenly.storage.web.rule import user_agent

from .conftest import HOST, Answer, picture

PNG = picture()


def fetch(web, url: str, **rule: object) -> Fetched:
    return WebClient(DownloadRule(**{"timeout_s": 2, "retries": 0} | rule), parse_connect(web.connect)).fetch(url)


def redirect(location: str, status: int = 302) -> Answer:
    return Answer(status, b"", (("Location", location),))


def test_a_picture_is_had_with_all_that_was_seen(web):
    fetched = fetch(web, web.put("/a.png", Answer(200, PNG)))
    assert fetched.body == PNG
    assert (fetched.outcome, fetched.http_status, fetched.content_type) == ("success", 200, "image/png")
    assert fetched.final_url == "http://pictures.test/a.png"
    assert fetched.attempt == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(web, status):
    web.put("/b.png", Answer(200, PNG))
    fetched = fetch(web, web.put("/a.png", redirect("/b.png", status)))
    assert fetched.body == PNG
    assert fetched.final_url == "http://pictures.test/b.png"


def test_five_redirects_are_followed_and_six_are_too_many(web):
    for step in range(6):
        web.put(f"/{step}", redirect(f"/{step + 1}"))
    web.put("/6", Answer(200, PNG))
    assert fetch(web, "http://pictures.test/1").outcome == "success"
    assert fetch(web, "http://pictures.test/0").outcome == "too_many_redirects"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/secret",
        "http://localhost:{port}/secret",
        "http://[::ffff:127.0.0.1]:{port}/secret",
        "http://2130706433:{port}/secret",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "ftp://127.0.0.1/x",
    ],
)
def test_a_redirect_to_this_machine_or_to_metadata_is_refused(web, location):
    fetched = fetch(web, web.put("/a.png", redirect(location.format(port=web.port))))
    assert fetched.outcome == "blocked_address"
    assert fetched.body is None
    assert not web.asked["/secret"]


def test_a_redirect_without_a_target_is_its_status(web):
    assert fetch(web, web.put("/a.png", Answer(302, b"", ()))).outcome == "http_302"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_an_answer_that_will_not_change_is_asked_for_once(web, status):
    fetched = fetch(web, web.put("/a.png", Answer(status)), retries=3)
    assert fetched.outcome == f"http_{status}"
    assert web.asked["/a.png"] == 1


def test_too_many_requests_then_a_picture_waits_as_told(web):
    url = web.put("/a.png", Answer(429, headers=(("Retry-After", "1"),)), Answer(200, PNG))
    started = time.monotonic()
    fetched = fetch(web, url, retries=2)
    assert time.monotonic() - started >= 1
    assert (fetched.outcome, fetched.attempt) == ("success", 2)


def test_a_date_in_retry_after_is_understood(web):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    url = web.put("/a.png", Answer(503, headers=(("Retry-After", later),)), Answer(200, PNG))
    started = time.monotonic()
    assert fetch(web, url, retries=1).outcome == "success"
    assert time.monotonic() - started > 0.8


def test_a_server_that_asks_for_more_patience_than_we_have_is_left_alone(web):
    url = web.put("/a.png", Answer(429, headers=(("Retry-After", "3600"),)))
    fetched = fetch(web, url, retries=3)
    assert fetched.outcome == "http_429"
    assert web.asked["/a.png"] == 1


def test_trouble_of_the_server_is_retried_and_counted(web):
    url = web.put("/a.png", Answer(500), Answer(502), Answer(200, PNG))
    client = WebClient(DownloadRule(retries=2), parse_connect(web.connect))
    assert client.fetch(url, first_attempt=4).attempt == 6


def test_a_drip_ends_with_the_time_of_one_try(web):
    url = web.put("/a.png", Answer(200, PNG, drip_s=0.05))
    started = time.monotonic()
    assert fetch(web, url, timeout_s=0.5).outcome == "timeout"
    assert time.monotonic() - started < 1.5


def test_headers_that_drip_end_with_the_time_of_one_try():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:

        def drip() -> None:
            stream, _ = server.accept()
            with stream, contextlib.suppress(OSError):
                for letter in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100:
                    stream.send(bytes([letter]))
                    time.sleep(0.05)

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        client = WebClient(DownloadRule(timeout_s=0.4, retries=0, respect=()), {"a.test": server.getsockname()})
        started = time.monotonic()
        assert client.fetch("http://a.test/").outcome == "timeout"
        assert time.monotonic() - started < 1.5
        thread.join()


def test_nobody_listening_is_no_connection():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    client = WebClient(DownloadRule(retries=0, respect=()), {"a.test": ("127.0.0.1", port)})
    assert client.fetch("http://a.test/").outcome == "connection"


@pytest.mark.parametrize("reply", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"\x16\x03\x01\x02"])
def test_what_is_no_http_is_no_connection(reply):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:

        def answer() -> None:
            stream, _ = server.accept()
            with stream:
                stream.recv(4096)
                stream.sendall(reply)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        client = WebClient(DownloadRule(timeout_s=2, retries=0, respect=()), {"a.test": server.getsockname()})
        assert client.fetch("http://a.test/").outcome == "connection"
        thread.join()


@pytest.mark.parametrize("claimed_length", [None, -1])
def test_a_body_above_the_cap_is_refused_whether_or_not_it_says_its_length(web, claimed_length):
    url = web.put("/a.png", Answer(200, b"x" * 50_000, claimed_length=claimed_length))
    assert fetch(web, url, max_bytes=49_999).outcome == "too_many_bytes"
    assert len(fetch(web, url, max_bytes=50_000).body or b"") == 50_000


def test_a_length_that_claims_too_much_is_refused_without_reading(web):
    url = web.put("/a.png", Answer(200, b"x", claimed_length=10**12))
    assert fetch(web, url).outcome == "too_many_bytes"


def test_a_body_shorter_than_it_says_is_truncated(web):
    fetched = fetch(web, web.put("/a.png", Answer(200, PNG, claimed_length=len(PNG) + 10)))
    assert fetched.outcome == "truncated_image"
    assert fetched.evidence == f"the body ended after {len(PNG)} of {len(PNG) + 10} bytes"


def test_an_opt_out_in_a_header_is_respected_with_its_evidence(web):
    tagged = web.put("/a.png", Answer(200, PNG, (("X-Robots-Tag", "evenly: noai"),)))
    reserved = web.put("/b.png", Answer(200, PNG, (("tdm-reservation", "1"),)))
    first, second = fetch(web, tagged, retries=2), fetch(web, reserved, retries=2)
    assert (first.outcome, first.evidence, first.body) == ("x_robots_tag", "X-Robots-Tag: evenly: noai", None)
    assert (second.outcome, second.evidence, second.body) == ("tdmrep", "tdm-reservation: 1", None)
    assert web.asked["/a.png"] == web.asked["/b.png"] == 1


def test_robots_txt_is_asked_once_and_forbids_before_the_picture_is(web):
    web.put("/robots.txt", Answer(200, b"User-agent: *\nDisallow: /no/", (("Content-Type", "text/plain"),)))
    web.fallback = lambda _: Answer(200, PNG)
    client = WebClient(DownloadRule(retries=0), parse_connect(web.connect))
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(client.fetch, [f"http://pictures.test/{part}/{i}" for part in ("no", "ok") for i in range(8)])
        )
    assert [one.outcome for one in found] == ["robots"] * 8 + ["success"] * 8
    assert found[0].evidence == "Disallow: /no/ (User-agent: *)"
    assert web.asked["/robots.txt"] == 1
    assert not web.asked["/no/0"]


def test_a_redirect_into_a_forbidden_place_is_forbidden(web):
    web.put("/robots.txt", Answer(200, b"User-agent: evenly\nDisallow: /no/"))
    web.put("/no/b.png", Answer(200, PNG))
    assert fetch(web, web.put("/a.png", redirect("/no/b.png"))).outcome == "robots"
    assert not web.asked["/no/b.png"]


@pytest.mark.parametrize(
    ("robots", "outcome"),
    [(Answer(404), "success"), (Answer(403), "success"), (Answer(503), "http_503"), (Answer(429), "http_429")],
)
def test_a_site_without_robots_txt_allows_and_one_in_trouble_forbids_for_now(web, robots, outcome):
    web.put("/robots.txt", robots)
    fetched = fetch(web, web.put("/a.png", Answer(200, PNG)))
    assert fetched.outcome == outcome
    assert outcome == "success" or fetched.evidence.startswith("robots.txt: ")


def test_what_the_rule_does_not_respect_is_not_asked(web):
    web.put("/robots.txt", Answer(200, b"User-agent: *\nDisallow: /"))
    url = web.put("/a.png", Answer(200, PNG, (("X-Robots-Tag", "noai"), ("tdm-reservation", "1"))))
    assert fetch(web, url, respect=()).outcome == "success"
    assert not web.asked["/robots.txt"]
    assert fetch(web, url, respect=("tdmrep",)).outcome == "tdmrep"
    assert fetch(web, url, respect=("x-robots-tag",)).outcome == "x_robots_tag"


def test_we_say_who_we_are_and_whom_to_write_to(web, monkeypatch):
    monkeypatch.setenv("EVENLY_CONTACT", "mailto:crawl@example.org")
    fetch(web, web.put("/a.png", Answer(200, PNG)))
    assert web.agents == {user_agent(DownloadRule())}
    assert user_agent(DownloadRule()).startswith("evenly/")
    assert user_agent(DownloadRule()).endswith(" (+mailto:crawl@example.org)")


def test_a_contact_that_no_header_can_hold_is_refused(monkeypatch):
    monkeypatch.setenv("EVENLY_CONTACT", "a\r\nX-Evil: 1")
    with pytest.raises(DownloadError, match="`EVENLY_CONTACT` must be printable ASCII"):
        user_agent(DownloadRule())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timeout_s": 0}, "`timeout_s` must be above 0; got `0`"),
        ({"retries": -1}, "`retries` must be 0 to 10; got `-1`"),
        ({"max_pixels": 0}, "`max_pixels` must be above 0"),
        (
            {"respect": ("robots", "tea")},
            f"`respect` must hold only {', '.join(MECHANISMS)}; got `tea`",
        ),
        ({"user_agent_token": "a b"}, "`user_agent_token` must be one word"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        DownloadRule(**values)


def test_every_outcome_has_a_verdict_and_only_passing_trouble_may_pass():
    assert verdict_of("success") == "kept"
    assert {verdict_of(o) for o in ("robots", "x_robots_tag", "tdmrep", "too_many_bytes", "too_many_pixels")} == {
        "dropped"
    }
    assert {verdict_of(o) for o in ("dns", "http_404", "not_an_image")} == {"failed"}
    assert all(map(may_pass, ("dns", "connection", "timeout", "http_429", "http_500", "http_503")))
    assert not any(map(may_pass, ("success", "http_404", "robots", "truncated_image", "blocked_address")))


PLAIN = (("Content-Type", "text/plain"),)
FORBID = "User-agent: *\nDisallow: /no/\n"


@pytest.mark.parametrize("hop", [0, 1, 2])
@pytest.mark.parametrize("header", [("X-Robots-Tag", "noai"), ("tdm-reservation", "1")])
def test_an_opt_out_on_any_hop_of_a_redirect_counts(web, hop, header):
    steps = [("/a", "/b"), ("/b", "/c"), ("/c", None)]
    for number, (path, target) in enumerate(steps):
        extra = (header,) if number == hop else ()
        web.put(path, Answer(302, b"", (("Location", target), *extra)) if target else Answer(200, PNG, extra))
    fetched = fetch(web, f"http://{HOST}/a")
    assert fetched.outcome == {"X-Robots-Tag": "x_robots_tag", "tdm-reservation": "tdmrep"}[header[0]]
    assert not any(web.asked[path] for path, _ in steps[hop + 1 :])


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(FORBID.encode(), mtime=0), (*PLAIN, ("Content-Encoding", "gzip"))),
        (gzip.compress(FORBID.encode(), mtime=0), PLAIN),
        (zlib.compress(FORBID.encode()), (*PLAIN, ("Content-Encoding", "deflate"))),
        (zlib.compress(FORBID.encode(), wbits=-15), (*PLAIN, ("Content-Encoding", "deflate"))),
        (FORBID.encode("utf-16"), PLAIN),
        (FORBID.encode("utf-16-be"), PLAIN),
        (FORBID.encode("utf-16-le"), PLAIN),
        (FORBID.encode("utf-32"), PLAIN),
        (FORBID.encode("utf-8-sig"), PLAIN),
        (FORBID.encode() + b"# caf\xe9", PLAIN),
        (FORBID.encode() + b"#" * 2_000_000, PLAIN),
        (gzip.compress(FORBID.encode() + b"#" * 200_000_000, 1, mtime=0)[:500_000], (("Content-Encoding", "gzip"),)),
    ],
)
def test_robots_txt_is_read_in_whatever_encoding_it_comes(web, body, headers):
    web.put("/robots.txt", Answer(200, body, headers))
    assert fetch(web, web.put("/no/a.png", Answer(200, PNG))).outcome == "robots"
    assert fetch(web, web.put("/ok.png", Answer(200, PNG))).outcome == "success"


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (b"anything", "br", "Content-Encoding 'br'"),
        (b"\x1f\x8bbroken", None, "unpacked"),
        (b"no gzip", "gzip", "unpacked"),
        (b"\x00\x01\x02\x03" * 40, None, "no text"),
    ],
)
def test_a_robots_txt_that_cannot_be_read_is_no_consent(web, body, encoding, words):
    web.put("/robots.txt", Answer(200, body, (("Content-Encoding", encoding),) if encoding else PLAIN))
    fetched = fetch(web, web.put("/a.png", Answer(200, PNG)))
    assert fetched.outcome == "robots_unreadable"
    assert fetched.evidence.startswith("robots.txt: ")
    assert words in fetched.evidence
    assert not web.asked["/a.png"]


def tdm(web, content: object) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    web.put("/.well-known/tdmrep.json", Answer(200, body, (("Content-Type", "application/json"),)))


def test_a_tdm_file_is_asked_for_once_and_reserves_with_its_rule_as_evidence(web):
    tdm(web, [{"location": "/no/", "tdm-reservation": 1, "tdm-policy": "https://x.test/p.json"}])
    client = WebClient(DownloadRule(retries=0), parse_connect(web.connect))
    web.fallback = lambda path: None if path == "/robots.txt" else Answer(200, PNG)
    assert client.fetch(f"http://{HOST}/ok.png").outcome == "success"
    fetched = client.fetch(f"http://{HOST}/no/a.png")
    assert (fetched.outcome, fetched.body) == ("tdmrep", None)
    rule = '{"location": "/no/", "tdm-reservation": 1, "tdm-policy": "https://x.test/p.json"}'
    assert fetched.evidence == f"tdmrep.json: {rule}"
    assert web.asked["/.well-known/tdmrep.json"] == 1


def test_a_header_supersedes_the_tdm_file_either_way(web):
    tdm(web, [{"location": "/no/", "tdm-reservation": 1}, {"location": "/", "tdm-reservation": 0}])
    free = web.put("/no/a.png", Answer(200, PNG, (("tdm-reservation", "0"),)))
    reserved = web.put("/b.png", Answer(200, PNG, (("tdm-reservation", "1"),)))
    nonsense = web.put("/no/c.png", Answer(200, PNG, (("tdm-reservation", "yes"),)))
    assert [fetch(web, url).outcome for url in (free, reserved, nonsense)] == ["success", "tdmrep", "tdmrep"]


def test_the_tdm_file_of_every_hop_counts(web):
    tdm(web, [{"location": "/hop", "tdm-reservation": 1}])
    web.put("/a.png", Answer(200, PNG))
    assert fetch(web, web.put("/hop", redirect("/a.png"))).outcome == "tdmrep"
    assert not web.asked["/a.png"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(404), "success"),
        (Answer(403), "success"),
        (Answer(503), "http_503"),
        (Answer(200, b"<html>the start page, as for every path</html>"), "success"),
        (Answer(200, b"[" * 200_000), "tdmrep_unreadable"),
        (Answer(200, b'[{"location": "/"'), "tdmrep_unreadable"),
        (Answer(200, b'[1, null, {}, {"location": 5}]'), "success"),
        (Answer(200, b'{"location": "/", "tdm-reservation": 1}'), "tdmrep"),
    ],
)
def test_what_stands_in_place_of_a_tdm_file_is_read_for_what_it_is(web, answer, outcome):
    web.put("/.well-known/tdmrep.json", answer)
    assert fetch(web, web.put("/a.png", Answer(200, PNG))).outcome == outcome


def test_a_tdm_file_is_not_asked_for_where_it_is_not_respected(web):
    tdm(web, [{"location": "/", "tdm-reservation": 1}])
    assert fetch(web, web.put("/a.png", Answer(200, PNG)), respect=("robots",)).outcome == "success"
    assert not web.asked["/.well-known/tdmrep.json"]


@pytest.mark.parametrize("respect", [(), ("robots",)])
def test_where_this_process_has_no_file_handles_left_the_site_is_not_blamed(web, respect):
    url = web.put("/a.png", Answer(200, PNG))
    client = WebClient(DownloadRule(timeout_s=2, retries=0, respect=respect), parse_connect(web.connect))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open() as free:
        number = free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, limits[1]))
    try:
        with pytest.raises(DownloadError, match="must be allowed to open a file for each of its requests"):
            client.fetch(url)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert client.fetch(url).outcome == "success"
