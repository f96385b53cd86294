"""Captions that say nothing about their picture: file names, buttons, placeholders, bare addresses.

A caption goes only when the whole of it, after normalising, is boilerplate: "stock photo" goes, "stock photo of a
red apple" stays. The patterns are the list below; a recipe may replace or extend it.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError

_PICTURE = "(image|picture|photo|photograph|thumbnail)"

# RE2 patterns over the normalised caption (lower case, no quotes or full stops around it, single spaces). A stored
# value is the position in this list, counted from 1, so new patterns go to the end.
BOILERPLATE: tuple[str, ...] = (
    # names that cameras and screens give: IMG_1234.jpg, DSC00012, Screenshot 2020-01-01 at 10.00
    r"(img|dsc[nf]?|pict?|photo|image|screen ?shot|scan|mvi|gopr|vid|pxl)[-_ ]?[0-9]([-_ .:0-9]|at)*(\.[a-z]{3,4})?",
    # any other file name, a bare address, a bare host name
    r"[^ /]+\.(jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif)",
    r"(https?://|www\.)[^ ]+",
    r"[^ ]+\.(com|net|org|io|co\.uk|de|test)(/[^ ]*)?",
    # hashes and ids; numbers, dates and sizes
    r"[0-9a-f]{16,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"[-_0-9 .,:/x()#]+",
    # buttons: click here, click on the image to enlarge, zoom in, view full size
    rf"(click|tap|press)( here| on| the| this| {_PICTURE})*|enlarge|zoom in",
    rf"(click|tap|press)( here| on| the| this| {_PICTURE})* to (enlarge|zoom|view|open|see|expand|download).{{0,30}}",
    rf"(zoom in|zoom|view|see|show|open|download)( the| this| full| larger| size| version| {_PICTURE})+",
    # the shelf it came from
    r"(royalty[- ]free |free )?stock (photo(graphy)?|image|picture|illustration|vector)s?",
    # what a server says instead of a picture
    rf"(the |this )?({_PICTURE}|file|page)( is| was)?( not| no longer| currently)( been)? (found|available|loaded)",
    rf"{_PICTURE} (missing|unavailable|removed|deleted|loading|coming soon)",
    rf"no {_PICTURE}( available| found| yet)?|coming soon|loading|404( not found)?|not found",
    # the field's own name, or nothing: untitled-3, alt text, n/a, image, thumbnail 2 of 10
    r"(untitled|unnamed|no title|title|caption|alt( text)?|description|placeholder)([-_ ]?[0-9]+)?",
    r"default|null|none|n/a|undefined|nan|lorem ipsum.*",
    rf"({_PICTURE}|img|pic|thumb|icon|logo|avatar|banner|header|figure|gallery|slide)s?( ?[-_#]?[0-9]+( of [0-9]+)?)?",
    r"(featured|product|hero|profile|cover) (image|photo|picture)",
    # the page around it: read more, share this on ..., advertisement, (c) 2020 ...
    r"(read|learn|see|show|load) more|share( this)?( on .+)?|(next|previous)( image| photo| slide)?",
    r"advert(isement)?|sponsored( post)?|copyright .+|\x{00A9} .+|all rights reserved",
)

# White space, brackets and punctuation; escaped: the ellipsis, two dashes, French and curly quotes.
_AROUND = " \"'`.,;:!?-_*|<>[](){}\u2026\u2013\u2014\u00ab\u00bb\u201c\u201d\u2018\u2019"
_SPACES_BUT_ONE = r"\t\n\f\r\x{00A0}\x{200B}-\x{200D}\x{FEFF}"
_SPACES = rf" {_SPACES_BUT_ONE}"


@dataclass(frozen=True, kw_only=True)
class CaptionBoilerplate:
    """Drop a caption that one of `patterns` (RE2) matches as a whole after normalising."""

    patterns: tuple[str, ...] = BOILERPLATE

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            try:
                pc.match_substring_regex(pa.array([""]), pattern)
            except pa.ArrowInvalid as error:
                raise RuleError(f"`patterns` must be RE2 patterns; got {pattern!r}. {error}") from error


def measure_boilerplate(batch: pa.Table, rule: CaptionBoilerplate) -> pa.Array:
    """Return the number (from 1) of the first pattern that matches each `caption`, 0 where none does, as doubles."""
    captions = plain_captions(column(batch, "caption", pa.string()))
    matches_any = _matches_any(captions, rule.patterns)
    candidates = captions.filter(matches_any)
    numbers = pa.repeat(pa.scalar(0.0), len(candidates))
    for number, pattern in reversed(list(enumerate(rule.patterns, start=1))):
        is_match = pc.match_substring_regex(candidates, rf"\A(?:{pattern})\z")
        numbers = pc.if_else(is_match, float(number), numbers)
    return pc.replace_with_mask(pa.repeat(pa.scalar(0.0), len(captions)), matches_any, numbers)


def judge_boilerplate(values: pa.Array, rule: CaptionBoilerplate) -> Decisions:  # noqa: ARG001 - the shape of a filter
    """Judge pattern numbers: any but 0 goes as boilerplate."""
    return Decisions.of(reason=pc.if_else(pc.greater(values, 0), "boilerplate", ""), value=values)


def plain_captions(captions: pa.Array) -> pa.Array:
    """Return captions in NFKC and lower case, with single spaces and no punctuation at either end; null is empty."""
    folded = pc.utf8_lower(pc.utf8_normalize(pc.fill_null(captions, ""), form="NFKC"))
    is_spaced_oddly = pc.match_substring_regex(folded, rf"[{_SPACES}]{{2}}|[{_SPACES_BUT_ONE}]")
    spaced = pc.replace_substring_regex(folded.filter(is_spaced_oddly), rf"[{_SPACES}]+", " ")
    return pc.utf8_trim(pc.replace_with_mask(folded, is_spaced_oddly, spaced), characters=_AROUND)


def _matches_any(captions: pa.Array, patterns: tuple[str, ...]) -> pa.Array:
    """Whether one of `patterns` may match each caption: in one pass where RE2 takes all patterns as one."""
    choice = "|".join(f"(?:{pattern})" for pattern in patterns)
    try:
        return pc.match_substring_regex(captions, rf"\A(?:{choice})\z")
    except pa.ArrowInvalid:  # too large together
        return pa.repeat(pa.scalar(True), len(captions))
