"""URLs as they come from pools and Location headers, taken apart and put into the form that goes over the wire."""

import contextlib
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from evenly.storage.web.errors import FetchError

_PORTS = {"http": 80, "https": 443}
_KEPT = "%/:=&?~#+!$,;'@()*[]"  # what a path may hold unescaped; % so that escapes are not escaped again


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """An http or https URL: where to connect (`host`, `port`, `tls`) and what to ask for (`path`, with the query)."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "https"

    @property
    def origin(self) -> str:
        """Scheme, host and, where it is not the usual one, port: what one robots.txt speaks for."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and, where it is not the usual one, port: the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL, escaped, without fragment and credentials."""
        return self.origin + self.path


def parse_address(url: str) -> WebAddress:
    """Read a URL; raises FetchError `blocked_address` for other schemes and `bad_url` for what is no URL."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError as error:
        raise FetchError("bad_url", str(error)) from None
    if parts.scheme not in _PORTS:
        raise FetchError("blocked_address", f"scheme {parts.scheme or 'missing'} is not http or https")
    if not ascii_host or any(ord(letter) <= ord(" ") for letter in ascii_host):
        raise FetchError("bad_url", "no host name")
    path = quote(parts.path or "/", safe=_KEPT)
    query = "?" + quote(parts.query, safe=_KEPT) if parts.query else ""
    return WebAddress(scheme=parts.scheme, host=ascii_host, port=port or _PORTS[parts.scheme], path=path + query)


def follow(address: WebAddress, location: str) -> WebAddress:
    """Where a redirect leads; `location` may be relative, and UTF-8 read as Latin-1, as header text is."""
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    return parse_address(urljoin(address.url, location))
