"""Hosts of URLs: in the form in which they are compared, and the domains below which they are registered."""

from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

_PLAIN_HOST = "^(?i:https?)://(?P<host>[A-Za-z0-9._-]+)(?::[0-9]*)?(?:[/?#]|$)"
_HOST = r"^(?i:https?)://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:@\s]+)"


def hosts_of(urls: pa.Array) -> pa.Array:
    """`host_of` each URL. Plain ones, nearly all, are cut by one pattern; Python's parser is asked of the others."""
    hosts = pc.struct_field(pc.extract_regex(urls, _PLAIN_HOST), "host")
    hosts = pc.ascii_lower(pc.ascii_rtrim(hosts, "."))
    is_irregular = pc.and_(pc.is_null(hosts), pc.is_valid(urls))
    parsed_hosts = pa.array([host_of(url) for url in urls.filter(is_irregular).to_pylist()], pa.string())
    return pc.replace_with_mask(hosts, is_irregular, parsed_hosts)


def host_of(url: str | None) -> str | None:
    """The host of a URL in the form of `read_domains`; None where there is none."""
    try:
        host = urlsplit((url or "").strip()).hostname
    except ValueError:
        return None
    return ascii_host(host) if host else None


def ascii_host(host: str) -> str:
    """A host in ASCII (IDNA 2008 after UTS 46) and lower case, without the dot at its end; else as it stands."""
    import idna

    plain = host.strip().rstrip(".").lower()
    try:
        return plain if plain.isascii() else idna.encode(plain, uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        return plain


def is_public_suffix(host: str) -> bool:
    """Whether everybody may register names directly below a host, as below co.uk, by the Public Suffix List."""
    return bool(_suffixes(only_icann=True).is_public(host))


def domains_of(urls: pa.Array) -> pa.Array:
    """The registrable domain of each URL of the web, by the Public Suffix List; its host where it has none."""
    hosts = pc.struct_field(pc.extract_regex(urls, _HOST), "host")
    encoded = pc.dictionary_encode(hosts)
    names = pa.array([registrable(host) for host in encoded.dictionary.to_pylist()], pa.string())
    return names.take(encoded.indices)


def registrable(host: str) -> str:
    """The domain that somebody registered: a name below a public suffix; an address or other host as it is."""
    host = host.lower().rstrip(".")
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return _suffixes(only_icann=False).privatesuffix(host) or host


@cache
def _suffixes(*, only_icann: bool) -> "PublicSuffixList":
    """The Public Suffix List: all of it, or without the private domains below which anybody may be, as github.io."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=only_icann)
