"""Reservations in the headers of an answer: X-Robots-Tag, TDM reservation, Content-Usage, Content-Signal, licence link.

Each function returns the evidence, the header that objects, or None. The versions that are read stand in
docs/sources.md: drafts change.
"""

import re
from collections.abc import Collection, Iterator
from email.message import Message

from evenly.curation.reservations.mechanisms import Reservation

OBJECTIONS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_NO_LEARNING = frozenset({"noml"})
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_AGENT = re.compile(r"\s*([A-Za-z0-9_*.-]+)\s*:\s*(.*)", re.DOTALL)
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[^\s;,="]+(?:\s*=\s*(?:"[^"]*"|[^\s;,"]+))?)*)')
_PARAMETER = re.compile(r';\s*([^\s;,="]+)\s*=\s*(?:"([^"]*)"|([^\s;,"]+))')
RSL_TYPE = "application/rsl+xml"


def header_reservations(headers: Message, agent: str, in_tdm_file: str | None = None) -> Iterator[Reservation]:
    """What the headers of an answer reserve; `in_tdm_file`: what the site's TDM file does, unless superseded."""
    tdm = tdm_objection(headers) or (None if tdm_is_said(headers) else in_tdm_file)
    read = {
        "x-robots-tag": x_robots_objection(headers, agent),
        "tdmrep": tdm,
        "content-usage": usage_objection(headers),
        "content-signal": signal_header_objection(headers),
        "noml": x_robots_objection(headers, agent, _NO_LEARNING),
        "rsl": license_link(headers),
    }
    for mechanism, evidence in read.items():
        if evidence:
            yield Reservation(mechanism, evidence)


def x_robots_objection(headers: Message, agent: str, objections: Collection[str] = OBJECTIONS) -> str | None:
    """The X-Robots-Tag header that forbids keeping the picture, to all or to `agent`, or None."""
    for value in headers.get_all("X-Robots-Tag", []):
        if _objects(str(value), agent.lower(), objections):
            return f"X-Robots-Tag: {value}"
    return None


def _objects(value: str, agent: str, objections: Collection[str]) -> bool:
    """Read one header: `directive, …`, `agent: directive, …`, or several such groups after each other."""
    addressed = True
    for item in value.split(","):
        directive = item.strip().lower()
        named = _AGENT.fullmatch(item)
        if named and named[1].lower() not in _WITH_VALUE:
            addressed = named[1].lower() in (agent, "*")
            directive = named[2].strip().lower()
        if addressed and directive in objections:
            return True
    return False


def tdm_objection(headers: Message) -> str | None:
    """The header that reserves the rights of text and data mining, with its policy where one is named, or None."""
    for value in headers.get_all("tdm-reservation", []):
        if str(value).strip() == "1":
            policy = headers.get("tdm-policy")
            return "tdm-reservation: 1" + (f", tdm-policy: {policy}" if policy else "")
    return None


def tdm_is_said(headers: Message) -> bool:
    """Whether the headers say anything valid of TDM rights: then it supersedes the site's TDM file."""
    return any(str(value).strip() in {"0", "1"} for value in headers.get_all("tdm-reservation", []))


def usage_objection(headers: Message) -> str | None:
    """The Content-Usage header (IETF aipref) that disallows training, or None. Several are one, as HTTP joins them."""
    values = [str(value) for value in headers.get_all("Content-Usage", [])]
    return f"Content-Usage: {', '.join(values)}" if values and forbids_training(", ".join(values)) else None


def forbids_training(preference: str) -> bool:
    """Whether a statement of preference, a dictionary of RFC 9651, has `train-ai=n`; one that is broken says nothing.

    Letters count as they are, and of a key that stands twice the last value does.
    """
    import http_sf

    try:
        parsed = http_sf.parse(preference.strip().encode("latin-1", "replace"), tltype="dictionary")
    except ValueError:  # StructuredFieldError is one
        return False
    item = parsed.get("train-ai") if isinstance(parsed, dict) else None
    return isinstance(item, tuple) and isinstance(item[0], http_sf.Token) and str(item[0]) == "n"


def signal_header_objection(headers: Message) -> str | None:
    """The Content-Signal header that says `ai-train=no`, or None."""
    values = (str(value) for value in headers.get_all("Content-Signal", []))
    return next((f"Content-Signal: {value}" for value in values if signals_no_training(value)), None)


def signals_no_training(value: str) -> bool:
    """Whether a list of content signals has `ai-train=no`."""
    pairs = (item.partition("=") for item in value.lower().split(","))
    return any(name.strip() == "ai-train" and preference.strip() == "no" for name, _, preference in pairs)


def license_link(headers: Message) -> str | None:
    """The Link header that names an RSL licence (`rel="license"`, its type), or None. The licence is not read."""
    for value in headers.get_all("Link", []):
        for target, parameters in _LINK.findall(str(value)):
            named = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(parameters)}
            kind = named.get("type", "").partition(";")[0].strip().lower()
            if "license" in named.get("rel", "").lower().split() and kind == RSL_TYPE:
                return f"Link: <{target}>{parameters}"
    return None
