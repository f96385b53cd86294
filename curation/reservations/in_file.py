"""Rights in a picture file: IPTC's data-mining property (PLUS, in XMP), C2PA's training assertion, copyright, licence.

It runs where pictures are decoded, within that budget. Whatever the bytes are, the result is values or a reason.
"""

import codecs
import re
import struct
from xml.parsers import expat

from PIL import Image

from evenly.curation.reservations.blocks import c2pa_store, xmp_packets
from evenly.curation.reservations.manifests import training_assertion
from evenly.curation.reservations.mechanisms import PictureRights, Reservation

MOST_XMP_BYTES = 1 << 20
_MOST_ELEMENTS, _DEEPEST, _LONGEST = 20_000, 64, 500
_COPYRIGHT_TAG = 33432  # of EXIF
_PLUS, _DC = "http://ns.useplus.org/ldf/xmp/1.0/", "http://purl.org/dc/elements/1.1/"
_RIGHTS, _CC = "http://ns.adobe.com/xap/1.0/rights/", "http://creativecommons.org/ns#"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DATA_MINING, DC_RIGHTS = f"{_PLUS} DataMining", f"{_DC} rights"
STATEMENT, LICENSE = f"{_RIGHTS} WebStatement", f"{_CC} license"
_WANTED = frozenset({DATA_MINING, DC_RIGHTS, STATEMENT, LICENSE})
_PROHIBITED = re.compile(r"(?:http://ns\.useplus\.org/ldf/vocab/)?(DMI-PROHIBITED[A-Z-]*)")
# The errors of Pillow's reader of EXIF on hostile bytes.
_EXIF_ERRORS = (
    OSError, ValueError, LookupError, TypeError, SyntaxError, ArithmeticError, AttributeError, RuntimeError, EOFError,
    AssertionError, struct.error,
)  # fmt: skip


def picture_rights(picture: Image.Image, data: bytes, kind: str) -> PictureRights:
    """The rights in a picture of format `kind` that was decoded."""
    reservations, values = list[Reservation](), dict[str, str]()
    packet = b""
    try:
        for packet in xmp_packets(picture, data, kind):
            values |= read_xmp(packet)
    except (ValueError, IndexError) as error:
        if b"DataMining" in (packet or data).replace(b"\0", b""):  # in UTF-16 too
            reservations.append(Reservation("iptc", f"XMP cannot be read: {error}", readable=False))
    if named := _PROHIBITED.fullmatch(values.get(DATA_MINING, "")):
        reservations.append(Reservation("iptc", f"plus:DataMining {named[1]}"))
    store = b""
    try:
        store = c2pa_store(picture, data, kind)
        assertion = training_assertion(store)
    except (ValueError, IndexError) as error:
        assertion = None
        if b"training-mining" in (store or data):
            reservations.append(Reservation("c2pa", f"C2PA manifest cannot be read: {error}", readable=False))
    if assertion:
        reservations.append(Reservation("c2pa", assertion))
    return PictureRights(
        reservations=tuple(reservations),
        copyright=_exif_copyright(picture) or values.get(DC_RIGHTS) or None,
        license=values.get(LICENSE) or values.get(STATEMENT) or None,
    )


def read_xmp(packet: bytes) -> dict[str, str]:
    """The wanted properties of an XMP packet, by namespace and name, as attributes, text or `rdf:resource`.

    Raises ValueError for what is too much or no XML; a document type, which XMP never has and bombs need, is refused.
    """
    if len(packet) > MOST_XMP_BYTES:
        raise ValueError(f"more than {MOST_XMP_BYTES} bytes")
    reader = _XmpReader()
    try:
        is_utf16 = packet[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        reader.parser.Parse(packet if is_utf16 else packet.strip(b"\0 \t\r\n"), True)
    except expat.ExpatError as error:
        raise ValueError(f"no XML ({error})") from None
    return reader.values


class _XmpReader:
    def __init__(self) -> None:
        self.values = dict[str, str]()
        self._path, self._count, self._text = list[str](), 0, list[str]()
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _doctype(self, *_: object) -> None:
        raise ValueError("a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._count += 1
        if self._count > _MOST_ELEMENTS or len(self._path) > _DEEPEST:
            raise ValueError(f"more than {_MOST_ELEMENTS} elements, or deeper than {_DEEPEST}")
        for attribute, value in attributes.items():
            if attribute in _WANTED:
                self._take(attribute, value)
            elif attribute == f"{_RDF} resource" and name in _WANTED:
                self._take(name, value)
        self._text.clear()

    def _end(self, _name: str) -> None:
        for name in _WANTED.intersection(self._path[-4:]):  # of a property, or of an item of its list
            self._take(name, "".join(self._text))
        self._path.pop()
        self._text.clear()

    def _take(self, name: str, value: str) -> None:
        """Keep a value, the first that is one; of several data-mining properties one that prohibits."""
        value = " ".join(value.split())[:_LONGEST]
        if value and (not self.values.get(name) or (name == DATA_MINING and _PROHIBITED.fullmatch(value))):
            self.values[name] = value


def _exif_copyright(picture: Image.Image) -> str | None:
    try:
        value = picture.getexif().get(_COPYRIGHT_TAG)
    except _EXIF_ERRORS:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = " ".join(str(value or "").replace("\0", " ").split())[:_LONGEST]
    return text.encode("utf-8", "replace").decode() or None
