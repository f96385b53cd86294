"""Pictures that reserve rights: XMP and a C2PA manifest store in each format that can hold them.

The store is of `signed.avif`, which the C2PA project's own library wrote and signed.
"""

import io
import struct
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evenly.curation.reservations.blocks import c2pa_store
from tests.hostile_pictures import chunk

SIGNED = Path(__file__).with_name("signed.avif").read_bytes()
STORE = c2pa_store(Image.open(io.BytesIO(SIGNED)), SIGNED, "avif")
VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
NAMES = (
    'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" xmlns:cc="http://creativecommons.org/ns#"'
)


def xmp(attributes: str = "", elements: str = "") -> bytes:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {NAMES} {attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def mining(value: str) -> bytes:
    return xmp(f'plus:DataMining="{VOCABULARY}{value}"')


def with_xmp(kind: str, packet: bytes, *, zipped: bool = False) -> bytes:
    stream, image = io.BytesIO(), Image.new("RGB", (24, 16), (9, 99, 200))
    if kind == "GIF":
        image.save(stream, kind)
        trailer = bytes([1, *range(255, -1, -1), 0])
        return gif_with(stream.getvalue(), b"\x21\xff\x0bXMP DataXMP" + packet + trailer)
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode("utf-8", "replace"), zip=zipped)
        image.save(stream, kind, pnginfo=info)
    else:
        image.save(stream, kind, xmp=packet)
    return stream.getvalue()


def gif_with(data: bytes, extension: bytes) -> bytes:
    start = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    return data[:start] + extension + data[start:]


def with_store(kind: str, store: bytes = STORE) -> bytes:
    """A picture with a C2PA manifest store as the standard puts it into the format."""
    stream = io.BytesIO()
    Image.new("RGB", (24, 16), (9, 99, 200)).save(stream, kind)
    data = stream.getvalue()
    if kind == "JPEG":
        parts = [store[start : start + 1000] for start in range(0, len(store), 1000)]
        heads = [b"" if number == 0 else store[:8] for number in range(len(parts))]
        bodies = [b"JP" + struct.pack(">HI", 7, n + 1) + heads[n] + part for n, part in enumerate(parts)]
        segments = [b"\xff\xeb" + struct.pack(">H", len(body) + 2) + body for body in reversed(bodies)]
        return data[:2] + b"".join(segments) + data[2:]
    if kind == "PNG":
        return data[:33] + chunk(b"caBX", store) + data[33:]
    if kind == "WEBP":
        added = b"C2PA" + struct.pack("<I", len(store)) + store + b"\0" * (len(store) % 2)
        return b"RIFF" + struct.pack("<I", len(data) + len(added) - 8) + data[8:] + added
    if kind == "GIF":
        blocks = b"".join(bytes([len(store[at : at + 255])]) + store[at : at + 255] for at in range(0, len(store), 255))
        return gif_with(data, b"\x21\xff\x0bC2PA_GIF\x01\0\0" + blocks + b"\0")
    uuid = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(4) + b"manifest\0" + bytes(8) + store
    return data + struct.pack(">I4s", len(uuid) + 8, b"uuid") + uuid


def edited(old: bytes, new: bytes) -> bytes:
    """The store with a text of the same length in place of another."""
    assert len(old) == len(new)
    assert old in STORE
    return STORE.replace(old, new)
