"""The network guard: which address a URL may reach, checked where the connection is made.

A URL from a pool may name the machine itself, a metadata service or a printer, plainly or through a redirect, a host
name or an odd spelling. So a host is resolved once, addresses that are not public are struck out, and the socket is
opened to the very address that was checked. `connect` (host -> address and port, like curl's --connect-to) is the
only way around: it is given by whoever starts the download, never by a URL.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from functools import cache
from typing import Any

from evenly.storage.web.errors import DownloadError, FetchError

Address = tuple[Any, ...]  # what socket.connect takes: (ip, port), or (ip, port, flow, scope)
Connect = Mapping[str, tuple[str, int | None]]

_PORTS = 65_536
_LOOKUP_KEPT_S = 60.0
_TROUBLE_KEPT_S = 0.4  # shorter than the first wait before a second try
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # NAT64: the last 32 bits are an IPv4 address
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that is given out so far
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(block)
    for block in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # a cloud's metadata service at an address that counts as public
        "2001::/32",  # Teredo: an IPv4 address inside
        "2002::/16",  # 6to4: an IPv4 address inside
    )
)


class Deadline:
    """A point in time that bounds everything done for one try."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, above 0; raises FetchError `timeout` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise FetchError("timeout", "the time for one try was used up", again=True)
        return left

    def extend(self, seconds: float) -> None:
        """Move the deadline, by the time that something outside this try took."""
        self._end += seconds


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody on the internet may reach: not local, private, mapped or reserved."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _TRANSLATED:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in _GLOBAL_UNICAST:
            return False
    if ip.is_multicast or ip.is_reserved or ip.is_unspecified or any(ip in block for block in _NOT_PUBLIC):
        return False
    return ip.is_global


def parse_connect(connect: Mapping[str, str] | None) -> dict[str, tuple[str, int | None]]:
    """Read a map of host -> "address:port", or address alone for the port of the URL; hosts come in lower case."""
    return {host.lower(): _target(host, target) for host, target in (connect or {}).items()}


def _target(host: str, target: str) -> tuple[str, int | None]:
    address, _, port = target.rpartition(":")
    for name, number in ((target.strip("[]"), None), (address.strip("[]"), port)):
        if is_address(name) and (number is None or (number.isdigit() and 0 < int(number) < _PORTS)):
            return name, None if number is None else int(number)
    raise DownloadError(
        f"`connect` must map a host to an address, or to address:port; got `{target}` for `{host}`. Write it like "
        "127.0.0.1:8000."
    )


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Resolver:
    """Looks up hosts, each once a minute, and never for longer than the caller's deadline."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lookups: dict[str, tuple[float, Future[list[tuple[int, Address]]]]] = {}
        self._lock = threading.Lock()

    def public_addresses(self, host: str, port: int, deadline: Deadline) -> list[tuple[int, Address]]:
        """The (family, address) pairs that may be connected to, in the resolver's order, at least one.

        Raises FetchError: `dns` where the host has no address, `blocked_address` where it has no public one.
        """
        if host in self._connect:
            address, given_port = self._connect[host]
            port = port if given_port is None else given_port
            return [(socket.AF_INET6 if ":" in address else socket.AF_INET, (address, port))]
        if _is_odd_number(host):
            raise FetchError("blocked_address", f"{host} is an odd spelling of an address")
        if host.rstrip(".").endswith(".invalid"):
            raise FetchError("dns", f"{host}: no name below invalid exists")  # RFC 6761, section 6.4: not to be asked
        found = self._lookup(host, deadline)
        public = [(family, (address[0], port, *address[2:])) for family, address in found if is_public(address[0])]
        if not public:
            refused = ", ".join(dict.fromkeys(str(address[0]) for _, address in found))
            raise FetchError("blocked_address", f"{host} is {refused}")
        return public

    def _lookup(self, host: str, deadline: Deadline) -> list[tuple[int, Address]]:
        future = self._future(host)
        try:
            return future.result(timeout=deadline.remaining())
        except FetchError:
            raise
        except TimeoutError:
            raise FetchError("dns", f"no answer for {host} in time", again=True) from None
        except (OSError, UnicodeError) as error:
            passing = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            raise FetchError("dns", f"{host}: {error}", again=passing) from None

    def _future(self, host: str) -> "Future[list[tuple[int, Address]]]":
        with self._lock:
            made, future = self._lookups.get(host, (0.0, None))
            age = time.monotonic() - made
            if future is not None and age < (_TROUBLE_KEPT_S if _is_passing(future) else _LOOKUP_KEPT_S):
                return future
            future = Future()
            self._lookups[host] = (time.monotonic(), future)
        # getaddrinfo cannot be interrupted: a daemon thread keeps a dead name server from holding up the end.
        threading.Thread(target=_resolve, args=(host, future), daemon=True).start()
        return future


def _resolve(host: str, future: "Future[list[tuple[int, Address]]]") -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        future.set_exception(error)
    else:
        future.set_result([(family, address) for family, _, _, _, address in found])


def _is_passing(future: "Future[list[tuple[int, Address]]]") -> bool:
    error = future.exception(timeout=0) if future.done() else None
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN


def _is_odd_number(host: str) -> bool:
    """Whether a host would be read as an IPv4 address without being spelled as four plain decimals."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    if not (last.isdigit() or last.startswith("0x")):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False


class _TimedSocket(socket.socket):
    """A socket whose every read ends with the try's deadline, so that a slow drip cannot outlast it."""

    deadline: Deadline

    def recv_into(self, *args: Any, **options: Any) -> int:  # noqa: ANN401 - the signature is the socket's
        """Receive as the socket does, within what is left of the time."""
        self.settimeout(self.deadline.remaining())
        return super().recv_into(*args, **options)


class _TimedTlsSocket(ssl.SSLSocket):
    """The same for an encrypted connection."""

    deadline: Deadline

    def recv_into(self, *args: Any, **options: Any) -> int:  # noqa: ANN401 - the signature is the socket's
        """Receive as the socket does, within what is left of the time."""
        self.settimeout(self.deadline.remaining())
        return super().recv_into(*args, **options)


class GuardedConnection(http.client.HTTPConnection):
    """An HTTP connection that is opened only to a checked address and ends with its deadline."""

    def __init__(self, host: str, port: int, *, tls: bool, resolver: Resolver, deadline: Deadline) -> None:
        super().__init__(host, port)
        self._tls = tls
        self._resolver = resolver
        self._deadline = deadline

    def connect(self) -> None:
        """Open the socket; raises FetchError `dns`, `blocked_address`, `connection` or `timeout`."""
        addresses = self._resolver.public_addresses(self.host, self.port, self._deadline)
        self.sock = self._open(addresses)
        if self._tls:
            self.sock = _encrypt(self.sock, self.host, self._deadline)

    def _open(self, addresses: list[tuple[int, Address]]) -> _TimedSocket:
        trouble = FetchError("connection", again=True)
        for position, (family, address) in enumerate(addresses):
            sock = _TimedSocket(family, socket.SOCK_STREAM)
            sock.deadline = self._deadline
            try:
                sock.settimeout(self._deadline.remaining() / (len(addresses) - position))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                outcome = "timeout" if isinstance(error, TimeoutError) else "connection"
                trouble = FetchError(outcome, f"{address[0]}: {error}", again=True)
            else:
                return sock
        raise trouble


@cache
def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.sslsocket_class = _TimedTlsSocket
    return context


def _encrypt(sock: socket.socket, host: str, deadline: Deadline) -> ssl.SSLSocket:
    encrypted = _tls_context().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        encrypted.deadline = deadline  # type: ignore[attr-defined]  # the context makes our class
        encrypted.settimeout(deadline.remaining())
        encrypted.do_handshake()
    except (OSError, ValueError, FetchError):
        encrypted.close()
        raise
    return encrypted
