import http.client
import io
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from PIL import Image

from evenly.demo.answers import AGENT, CLOSED_HOST, GONE_HOST
from evenly.demo.errors import FolderError
from evenly.demo.places import OVERSIZE_BYTES
from evenly.demo.web import loopback_web


class Visitor:
    """Asks a web's URLs over real connections, one each."""

    def __init__(self, connect) -> None:
        self.connect = connect

    def get(self, url, method="GET", read=None):
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(self.connect[parts.netloc], timeout=10)
        try:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, path, headers={"Host": parts.netloc})
            with connection.getresponse() as response:
                return response.status, response.headers, response.read(read)
        finally:
            connection.close()


@pytest.fixture
def visitor(web_folder):
    with loopback_web(web_folder) as connect:
        yield Visitor(connect)


@pytest.fixture(scope="module")
def pairs(truth):
    def find(fault, detail=None):
        return [row for row in truth if fault in {None, row["fault"]} and detail in {None, row["detail"]}]

    return find


def decodes(body):
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        return image.size


@pytest.mark.parametrize("fault", ["", "wrong_caption", "natural_duplicate", "same_url", "near_duplicate"])
def test_sound_pictures_are_served_whole(visitor, pairs, fault):
    rows = [row for row in pairs(fault) if row["detail"] not in {"busy_once", "redirect_301", "redirect_302"}]
    assert rows
    for row in rows:
        status, headers, body = visitor.get(row["url"])
        assert status == 200
        assert headers["Content-Type"].startswith("image/")
        assert min(decodes(body)) >= 96


def test_exact_duplicates_have_the_bytes_of_their_twin(visitor, pairs):
    for row in pairs("exact_duplicate"):
        assert visitor.get(row["url"])[2] == visitor.get(row["twin_url"])[2]


def test_near_duplicates_have_other_bytes(visitor, pairs):
    for row in pairs("near_duplicate"):
        assert visitor.get(row["url"])[2] != visitor.get(row["twin_url"])[2]


@pytest.mark.parametrize("status", [404, 410, 500])
def test_dead_links_answer_with_their_status(visitor, pairs, status):
    for row in pairs("dead_link", f"http_{status}"):
        assert visitor.get(row["url"])[0] == status


def test_the_closed_host_refuses_and_the_gone_host_is_unknown(visitor, pairs):
    assert {urlsplit(row["url"]).netloc for row in pairs("dead_link", "connection")} == {CLOSED_HOST}
    assert {urlsplit(row["url"]).netloc for row in pairs("dead_link", "dns")} == {GONE_HOST}
    assert GONE_HOST not in visitor.connect
    host, port = visitor.connect[CLOSED_HOST].split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_bad_redirects_lead_in_a_circle_or_to_a_forbidden_address(visitor, pairs):
    (loop,), (trap,) = pairs("dead_link", "too_many_redirects"), pairs("dead_link", "blocked_address")
    assert visitor.get(loop["url"])[1]["Location"] == loop["url"]
    assert visitor.get(trap["url"])[1]["Location"].startswith("http://169.254.169.254/")


def test_good_redirects_lead_to_the_picture(visitor, pairs):
    for code in (301, 302):
        (row,) = pairs(None, f"redirect_{code}")
        status, headers, _ = visitor.get(row["url"])
        assert status == code
        assert decodes(visitor.get(headers["Location"])[2])


def test_broken_files_pretend_to_be_pictures(visitor, pairs):
    for row in pairs("broken_file"):
        status, headers, body = visitor.get(row["url"])
        assert (status, headers["Content-Type"]) == (200, "image/png")
        assert body.startswith({"html": b"<!doctype html>", "truncated": b"\x89PNG", "empty": b""}[row["detail"]])
        with pytest.raises(OSError, match=r"truncated|cannot identify"):
            decodes(body)


def test_opt_outs_are_said_where_they_belong(visitor, pairs):
    tags = {row["detail"]: visitor.get(row["url"])[1] for row in pairs("opted_out")}
    assert tags["noai"]["X-Robots-Tag"] == "noai"
    assert tags["none"]["X-Robots-Tag"] == "none"
    assert tags["agent_noai"]["X-Robots-Tag"] == f"{AGENT}: noai"
    assert tags["tdm_reservation"]["tdm-reservation"] == "1"
    assert b"Disallow: /members/" in visitor.get("http://reserved.test/robots.txt")[2]
    assert f"User-agent: {AGENT}\nDisallow: /\n".encode() in visitor.get("http://selective.test/robots.txt")[2]
    assert visitor.get("http://gallery.test/robots.txt")[0] == 404
    (everyone,), (agent,) = pairs("opted_out", "robots_everyone"), pairs("opted_out", "robots_agent")
    assert everyone["url"].startswith("http://reserved.test/members/")
    assert agent["url"].startswith("http://selective.test/")


def test_oversized_files_are_large_in_bytes_or_pixels(visitor, pairs):
    (sized,), (unsized,) = pairs("oversized", "bytes"), pairs("oversized", "unsized_bytes")
    assert int(visitor.get(sized["url"], "HEAD")[1]["Content-Length"]) == OVERSIZE_BYTES
    assert "Content-Length" not in visitor.get(unsized["url"], "HEAD")[1]
    assert len(visitor.get(unsized["url"])[2]) == OVERSIZE_BYTES
    (bomb,) = pairs("oversized", "pixels")
    with pytest.raises(Image.DecompressionBombError):
        decodes(visitor.get(bomb["url"])[2])


def test_small_and_narrow_pictures_are_so(visitor, pairs):
    assert decodes(visitor.get(pairs("too_small")[0]["url"])[2]) == (16, 16)
    assert decodes(visitor.get(pairs("bad_aspect")[0]["url"])[2]) == (960, 96)


def test_a_busy_host_is_busy_once_per_server(visitor, pairs, web_folder):
    url = pairs(None, "busy_once")[0]["url"]
    status, headers, _ = visitor.get(url)
    assert (status, headers["Retry-After"]) == (429, "1")
    assert visitor.get(url)[0] == 200
    with loopback_web(web_folder) as connect:
        assert Visitor(connect).get(url)[0] == 429


def test_a_slow_host_sends_all_in_the_end(visitor, pairs):
    start = time.monotonic()
    assert decodes(visitor.get(pairs(None, "slow")[0]["url"])[2])
    assert 0.5 < time.monotonic() - start < 5


def test_a_client_that_hangs_up_disturbs_nobody(visitor, pairs, capfd):
    assert len(visitor.get(pairs("oversized", "bytes")[0]["url"], read=1000)[2]) == 1000
    assert visitor.get("http://pictures.test/robots.txt")[0] == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", ["http://pictures.test/nowhere", "http://pictures.test/../truth.parquet"])
def test_nothing_else_is_served(visitor, url):
    assert visitor.get(url)[0] == 404


def test_many_clients_are_served_at_once(visitor):
    urls = [f"http://{host}/robots.txt" for host in visitor.connect if host != CLOSED_HOST] * 60
    with ThreadPoolExecutor(32) as clients:
        start = time.monotonic()
        statuses = Counter(clients.map(lambda url: visitor.get(url)[0], urls))
        rate = len(urls) / (time.monotonic() - start)
    assert set(statuses) == {200, 404}
    assert rate > 100  # over 1,000 a second on two idle cores: this only notices a server that answers one by one


def test_the_port_is_free_again_afterwards(web_folder):
    with loopback_web(web_folder) as connect:
        host, port = connect["pictures.test"].split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_every_url_of_the_pool_has_a_host_or_is_gone(visitor, web_folder):
    urls = pq.read_table(web_folder / "pool.parquet")["url"].to_pylist()
    assert {urlsplit(url).netloc for url in urls} - set(visitor.connect) == {GONE_HOST}


def test_a_folder_without_a_web_is_refused(tmp_path):
    with pytest.raises(FolderError, match="Call make_demo"), loopback_web(tmp_path):
        pass
