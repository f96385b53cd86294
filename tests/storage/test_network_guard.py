"""The network guard, from the outside: what no URL of a pool may reach, however it is written."""

import ipaddress
import socket
import ssl
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.reservations.rule import DownloadRule
from evenly.storage.web.addresses import follow, parse_address
from evenly.storage.web.errors import DownloadError, FetchError
from evenly.storage.web.fetching import WebClient
from evenly.storage.web.guard import Deadline, GuardedConnection, Resolver, is_public, parse_connect

RULE = DownloadRule(timeout_s=3, retries=0)


def outcome(url: str, **rule: object) -> str:
    client = WebClient(DownloadRule(**{"timeout_s": 3, "retries": 0, "respect": ()} | rule), {})
    return client.fetch(url).outcome


@pytest.fixture(scope="module")
def listener():
    """A loopback port that counts who connects: nobody must."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(0.2)
        yield server


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0",  # noqa: S104 - an address to refuse
         "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "239.1.1.1",
        "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1", "::", "::1", "::ffff:8.8.8.8",
        "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%lo", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1",
        "2001:db8::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "100::1",
        "not an address", "",
    ],
)  # fmt: skip
def test_an_address_that_is_not_everybody_s_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address):
    assert is_public(address)


@given(st.ip_addresses())
def test_no_private_address_passes_in_any_wrapping(address):
    if address.is_private or address.is_loopback or address.is_link_local:
        assert not is_public(str(address))
        if address.version == 4:
            assert not is_public(f"::ffff:{address}")
            assert not is_public(str(ipaddress.IPv6Address((0x64FF9B << 96) | int(address))))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "0",
        "127.000.000.001", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "1.2.3.4.5", "134744072",
        "me@127.0.0.1", "pictures.test\\@127.0.0.1", "①②⑦.0.0.1", "127。0。0。1",
    ],
)  # fmt: skip
def test_loopback_is_not_reached_by_any_spelling(listener, host):
    url = f"http://{host}:{listener.getsockname()[1]}/x.png"
    assert outcome(url) in {"blocked_address", "bad_url"}
    listener.settimeout(0.01)
    with pytest.raises(TimeoutError):
        listener.accept()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///etc/passwd", "blocked_address"),
        ("data:image/png;base64,AAAA", "blocked_address"),
        ("ftp://a.test/x.png", "blocked_address"),
        ("//a.test/x.png", "blocked_address"),
        ("javascript:1", "blocked_address"),
        ("", "blocked_address"),
        ("http://", "bad_url"),
        ("http:///x.png", "bad_url"),
        ("http://a.test:99999/", "bad_url"),
        ("http://a.test:x/", "bad_url"),
        ("http://[::1/", "bad_url"),
        ("http://a b.test/", "bad_url"),
        ("http://" + "ü" * 80 + ".test/", "bad_url"),
        ("http://169.254.169.254/latest/meta-data/", "blocked_address"),
    ],
)
def test_what_is_no_web_address_is_refused_before_any_connection(url, expected):
    assert outcome(url) == expected


def test_a_host_without_address_is_dns_even_where_robots_txt_is_asked_first():
    assert outcome("http://nowhere.invalid/x.png") == "dns"
    assert outcome("http://nowhere.invalid/x.png", respect=("robots",)) == "dns"


def test_the_address_connected_to_is_the_one_that_was_checked(monkeypatch):
    """A name that answers with a public address first and with loopback afterwards is looked up once only."""
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])
    asked = []

    def resolve(host, _port, **_):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    resolver = Resolver({})
    for _ in range(3):
        assert resolver.public_addresses("rebind.test", 80, Deadline(1)) == [
            (socket.AF_INET, ("93.184.216.34", 80)),
        ]
    assert asked == ["rebind.test"]


def test_only_the_public_ones_of_several_addresses_are_tried(monkeypatch):
    found = [(socket.AF_INET, 1, 6, "", (ip, 0)) for ip in ("127.0.0.1", "93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert Resolver({}).public_addresses("mixed.test", 80, Deadline(1)) == [(socket.AF_INET, ("93.184.216.34", 80))]


def test_a_name_server_that_hangs_does_not_outlast_the_deadline(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(5) and [])
    started = time.monotonic()
    with pytest.raises(FetchError) as caught:
        Resolver({}).public_addresses("slow.test", 80, Deadline(0.2))
    release.set()
    assert caught.value.outcome == "dns"
    assert time.monotonic() - started < 1


def test_connect_is_the_way_around_the_guard_and_only_for_its_hosts(listener):
    port = listener.getsockname()[1]
    resolver = Resolver(parse_connect({"Pictures.TEST": f"127.0.0.1:{port}"}))
    assert resolver.public_addresses("pictures.test", 80, Deadline(1)) == [(socket.AF_INET, ("127.0.0.1", port))]
    with pytest.raises(FetchError, match="blocked_address"):
        resolver.public_addresses("localhost", port, Deadline(1))


@pytest.mark.parametrize("target", ["127.0.0.1", "127.0.0.1:8000", "::1", "[::1]", "[::1]:8000"])
def test_a_connect_map_without_a_port_keeps_that_of_the_url(target):
    (address,) = Resolver(parse_connect({"a.test": target})).public_addresses("a.test", 80, Deadline(1))
    assert address[1] == (target.partition(":8000")[0].strip("[]"), 8000 if target.endswith("8000") else 80)


@pytest.mark.parametrize(
    "target", ["localhost:80", "localhost", ":80", "127.0.0.1:x", "127.0.0.1:0", "127.0.0.1:70000", "::1:"]
)
def test_a_connect_map_that_names_no_address_and_port_is_refused(target):
    with pytest.raises(DownloadError, match="`connect` must map a host to an address"):
        parse_connect({"a.test": target})


def test_a_silent_server_ends_with_the_deadline(listener):
    connection = GuardedConnection(
        "a.test", 80, tls=False, resolver=Resolver({"a.test": listener.getsockname()}), deadline=Deadline(0.3)
    )
    started = time.monotonic()
    connection.request("GET", "/")
    with pytest.raises((TimeoutError, FetchError)):
        connection.getresponse()
    connection.close()
    assert time.monotonic() - started < 1
    listener.settimeout(1)
    listener.accept()[0].close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for tls.test, made for this run."""
    x509 = pytest.importorskip("cryptography.x509")
    from datetime import UTC, datetime, timedelta

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tls.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("tls.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "tls.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def tls_port(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                plain, _ = server.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as stream:
                    stream.recv(4096)
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            except OSError:
                plain.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_an_encrypted_page_is_read_where_its_certificate_is_trusted(tls_port, certificate, monkeypatch):
    from evenly.storage.web import guard

    guard._tls_context.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = WebClient(DownloadRule(retries=0, respect=()), {"tls.test": ("127.0.0.1", tls_port)})
    assert client.fetch("https://tls.test/x").body == b"hello"
    guard._tls_context.cache_clear()


def test_a_certificate_that_nobody_trusts_is_no_connection(tls_port):
    client = WebClient(DownloadRule(retries=0, respect=()), {"tls.test": ("127.0.0.1", tls_port)})
    fetched = client.fetch("https://tls.test/x")
    assert fetched.outcome == "connection"
    assert "certificate" in fetched.evidence


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b.png", "http://a.test/b.png"),
        ("b c.png?q=ü#part", "http://a.test/dir/b%20c.png?q=%C3%BC"),
        ("//b.test:8080/x", "http://b.test:8080/x"),
        ("HTTPS://B.test:443/x%20y", "https://b.test/x%20y"),
        ("/caf\u00c3\u00a9", "http://a.test/caf%C3%A9"),
        ("http://user:secret@b.test/", "http://b.test/"),
        ("http://[2606:4700::1]/", "http://[2606:4700::1]/"),
        ("http://bücher.test/", "http://xn--bcher-kva.test/"),
    ],
)
def test_a_redirect_leads_where_its_location_says(location, expected):
    assert follow(parse_address("http://a.test/dir/a.png"), location).url == expected
