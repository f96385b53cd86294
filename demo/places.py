"""Addresses of pairs in the demo's web: the URL of each, and what the server answers there."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from evenly.demo.answers import AGENT, CLOSED_HOST, GONE_HOST, Answer
from evenly.demo.draws import pick
from evenly.demo.pictures.variants import BOMB_FILE, LOOKS, MEDIA_TYPES, Variant

OVERSIZE_BYTES = 64 * 2**20
SLOW_QUARTER_S = 0.15

_OWN = (
    *["http://pictures.test/openmoji/{code}.png"] * 3,
    "http://gallery.test/img/{code}.png",
    "http://blog.test/2024/05/{code}.png",
)
_COPY_HOSTS = ("mirror.test", "cdn.test", "copies.test")
_HEADERS = {
    "noai": ("X-Robots-Tag", "noai"),
    "noimageai": ("X-Robots-Tag", "noimageai, noindex"),
    "none": ("X-Robots-Tag", "none"),
    "agent_noai": ("X-Robots-Tag", f"{AGENT}: noai"),
    "tdm_reservation": ("tdm-reservation", "1"),
    "other_agent_noai": ("X-Robots-Tag", "otherbot: noai"),
    "nofollow": ("X-Robots-Tag", "nofollow"),
}
_PAGE = "<!doctype html><title>{title}</title><p>This page has no picture of {code}.</p>\n"


@dataclass(kw_only=True)
class PairAddress:
    """A URL with all that must be answered and made for it."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    variants: list[Variant] = field(default_factory=list)


def host_source(url: str) -> str:
    """The name of the source that found `url`: it tells nothing about faults."""
    host = urlsplit(url).hostname
    return {"gallery.test": "gallery", "blog.test": "blog"}.get(host or "", "crawl")


def own_place(code: str, oddity: str, seed: int) -> PairAddress:
    """Where the picture itself stands; `oddity`: how its server behaves, "" for plainly."""
    url = pick(_OWN, seed, "place", code).format(code=code)
    picture = Answer(file=f"pictures/{code}.png")
    if oddity == "robots_everyone":
        url = f"http://reserved.test/members/{code}.png"
    elif oddity == "robots_agent":
        url = f"http://selective.test/img/{code}.png"
    elif oddity in _HEADERS:
        picture = Answer(file=picture.file, headers=(_HEADERS[oddity],))
    elif oddity.startswith("redirect"):
        target = f"http://gallery.test/moved/{code}.png"
        redirect = Answer(status=int(oddity[-3:]), headers=(("Location", target),))
        return PairAddress(url=url, answers={url: redirect, target: picture})
    elif oddity == "busy_once":
        picture = Answer(file=picture.file, busy=True)
    elif oddity == "slow":
        picture = Answer(file=picture.file, delay_s=SLOW_QUARTER_S)
    elif oddity == "query":
        url = f"http://cdn.test/render?picture={code}&format=png"
    return PairAddress(url=url, answers={url: picture})


def added_place(code: str, fault: str, detail: str, *, twin_url: str, seed: int) -> PairAddress:
    """Where an added pair for the picture `code` stands; its fault says what is answered there."""
    if fault == "same_url":
        return PairAddress(url=twin_url)
    if fault == "dead_link":
        return _dead(code, detail)
    host = pick(_COPY_HOSTS, seed, "host", fault, code)
    if fault == "exact_duplicate":
        url = f"http://{host}/files/{code}.png"
        return PairAddress(url=url, answers={url: Answer(file=f"pictures/{code}.png")})
    if detail in LOOKS:
        variant = Variant(code=code, kind=detail)
        ending = LOOKS[detail].ending
        url = f"http://{host}/{detail.replace('_', '-')}/{code}.{ending}"
        answer = Answer(file=variant.file, media_type=MEDIA_TYPES[ending])
        return PairAddress(url=url, answers={url: answer}, variants=[variant])
    url = f"http://{host}/media/{code}.png"
    return PairAddress(url=url, answers={url: _spoilt(code, detail, seed)})


def _dead(code: str, detail: str) -> PairAddress:
    """A link that leads nowhere; `detail` is the reason that a downloader must give."""
    hosts = {"dns": GONE_HOST, "connection": CLOSED_HOST}
    url = f"http://{hosts.get(detail, 'pictures.test')}/archive/{code}.png"
    if detail in hosts:
        return PairAddress(url=url)
    if detail == "too_many_redirects":
        return PairAddress(url=url, answers={url: Answer(status=302, headers=(("Location", url),))})
    if detail == "blocked_address":
        metadata_service = "http://169.254.169.254/latest/meta-data/"
        return PairAddress(url=url, answers={url: Answer(status=302, headers=(("Location", metadata_service),))})
    status = int(detail.removeprefix("http_"))
    page = _PAGE.format(title=status, code=code)
    return PairAddress(url=url, answers={url: Answer(status=status, media_type="text/html", text=page)})


def _spoilt(code: str, detail: str, seed: int) -> Answer:
    """Something else than the whole picture, served as if it were one."""
    file = f"pictures/{code}.png"
    if detail == "html":
        return Answer(text=_PAGE.format(title="Sign in", code=code))
    if detail == "truncated":
        return Answer(file=file, kept=pick((0.3, 0.5, 0.7), seed, "kept", code))
    if detail == "empty":
        return Answer(text="")
    if detail == "pixels":
        return Answer(file=BOMB_FILE)
    return Answer(file=file, padded_to=OVERSIZE_BYTES, sized=detail == "bytes")
