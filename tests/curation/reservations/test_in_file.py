import io
import struct
import time

import pytest
from PIL import Image

from evenly.curation.reservations.in_file import picture_rights, read_xmp
from evenly.curation.reservations.manifests import training_assertion
from evenly.curation.reservations.mechanisms import PictureRights
from evenly.storage.web.decoding import check_picture
from evenly.storage.web.errors import FetchError

from .marked import SIGNED, STORE, VOCABULARY, edited, mining, with_store, with_xmp, xmp

XMP_KINDS = ["JPEG", "PNG", "WEBP", "AVIF", "GIF"]


def rights(data: bytes) -> PictureRights:
    return check_picture(data, max_pixels=10**6, read_rights=picture_rights).rights


def names(data: bytes) -> list[str]:
    return [one.name for one in rights(data).reservations]


@pytest.mark.parametrize("kind", XMP_KINDS)
def test_the_data_mining_property_is_read_in_each_format(kind):
    assert [*rights(with_xmp(kind, mining("DMI-PROHIBITED-AIMLTRAINING"))).reservations] == [
        ("iptc", "plus:DataMining DMI-PROHIBITED-AIMLTRAINING", True, "")
    ]
    assert names(with_xmp(kind, mining("DMI-ALLOWED"))) == []


def test_a_packed_packet_of_a_png_is_unpacked():
    assert names(with_xmp("PNG", mining("DMI-PROHIBITED"), zipped=True)) == ["iptc"]


@pytest.mark.parametrize(
    "packet",
    [
        xmp(elements=f"<plus:DataMining>{VOCABULARY}DMI-PROHIBITED</plus:DataMining>"),
        xmp(elements=f'<plus:DataMining rdf:resource="{VOCABULARY}DMI-PROHIBITED-SEECONSTRAINT"/>'),
        xmp(elements="<plus:DataMining> DMI-PROHIBITED-GENAIMLTRAINING\n</plus:DataMining>"),
        mining("DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING")
        .replace(b":plus=", b":other=")
        .replace(b"plus:D", b"other:D"),
        mining("DMI-PROHIBITED").decode().encode("utf-16"),
    ],
)
def test_every_form_of_the_property_reserves(packet):
    assert names(with_xmp("JPEG", packet)) == ["iptc"]


@pytest.mark.parametrize(
    "packet",
    [
        mining("DMI-UNSPECIFIED"),
        mining("DMI-PROHIBITEDX1").replace(b"ldf/vocab", b"ldf/vokab"),
        mining("DMI-PROHIBITED").replace(b"ns.useplus.org/ldf/xmp", b"ns.useplus.org/ldf/xmb"),
        mining("DMI-PROHIBITED").replace(b"DataMining", b"DataMinding"),
        xmp(elements="<dc:rights>DMI-PROHIBITED</dc:rights>"),
    ],
)
def test_another_value_namespace_or_name_reserves_nothing(packet):
    assert names(with_xmp("JPEG", packet)) == []


def test_copyright_and_licence_are_values():
    packet = xmp(
        'xmpRights:WebStatement="https://a.test/terms"',
        '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">2026 Ada</rdf:li></rdf:Alt></dc:rights>'
        '<cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"/>',
    )
    read = rights(with_xmp("WEBP", packet))
    assert (read.copyright, read.license) == ("2026 Ada", "https://creativecommons.org/licenses/by/4.0/")
    stream, exif = io.BytesIO(), Image.Exif()
    exif[33432] = "Grace\0"
    Image.new("RGB", (24, 16)).save(stream, "JPEG", exif=exif, xmp=xmp('xmpRights:WebStatement="https://a.test/terms"'))
    read = rights(stream.getvalue())
    assert (read.copyright, read.license) == ("Grace", "https://a.test/terms")


def test_a_picture_that_the_c2pa_library_signed_is_read():
    assert [*rights(SIGNED).reservations] == [
        ("c2pa", "cawg.training-mining: cawg.ai_generative_training notAllowed", True, "")
    ]


@pytest.mark.parametrize("kind", XMP_KINDS)
def test_the_training_assertion_is_read_in_each_format(kind):
    assert names(with_store(kind)) == ["c2pa"]


@pytest.mark.parametrize(
    ("old", "new", "reserves"),
    [
        (b"jnotAllowed", b"jnotallowed", False),
        (b"cawg.ai_generative_training", b"cawg.ai_generative_trainink", False),
        (b"cawg.ai_generative_training", b"acme.ai_generative_training", False),
        (b"cawg.training-mining", b"acme.training-mining", False),
        (b"cawg.training-mining", b"c2pa.training-mining", True),
        (b"c2pa.assertions\0", b"c2pb.assertions\0", False),
    ],
)
def test_of_manifests_only_what_is_so_called_reserves(old, new, reserves):
    assert names(with_store("PNG", edited(old, new))) == (["c2pa"] if reserves else [])


def nested(depth: int) -> bytes:
    box = struct.pack(">I4s", 8, b"free")
    for _ in range(depth):
        description = struct.pack(">I4s", 25, b"jumd") + bytes(17)
        box = struct.pack(">I4s", 8 + len(description) + len(box), b"jumb") + description + box
    return box


def assertion(cbor: bytes) -> bytes:
    """A store whose training assertion is these bytes."""
    content = struct.pack(">I4s", 8 + len(cbor), b"cbor") + cbor
    for label in (b"cawg.training-mining", b"c2pa.assertions", b"urn:c2pa:x", b"c2pa"):
        description = bytes(16) + b"\x03" + label + b"\0"
        content = struct.pack(">I4s", 8 + len(description), b"jumd") + description + content
        content = struct.pack(">I4s", 8 + len(content), b"jumb") + content
    return content


@pytest.mark.parametrize(
    "store",
    [
        assertion(b"\x81" * 60_000 + b"\x01"),
        assertion(b"\x9b" + b"\xff" * 8),
        assertion(b"\xa1" + b"\xa0\x01"),
        assertion(b"x" * 70_000),
        assertion(b""),
        STORE[:2000],
        STORE[:-1],
        edited(b"jumd", b"jumx"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_no_consent(store):
    (one,) = rights(with_store("PNG", store)).reservations
    assert (one.name, one.outcome, one.evidence.startswith("C2PA manifest cannot be read: ")) == (
        "c2pa (unreadable)", "c2pa_unreadable", True,
    )  # fmt: skip


def test_an_assertion_is_read_where_it_is_well_formed():
    uses = b"\xa1\x70cawg.ai_training\xa1\x63use\x6anotAllowed"
    assert training_assertion(assertion(b"\xa1\x67entries" + uses)) == (
        "cawg.training-mining: cawg.ai_training notAllowed"
    )
    assert training_assertion(nested(500)) is None


LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;">]>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">&c;DataMining</x:xmpmeta>'
)


@pytest.mark.parametrize(
    "packet",
    [
        LAUGHS,
        mining("DMI-ALLOWED")[:-60],
        mining("DMI-ALLOWED") + b"<",
        xmp(elements="<dc:rights>" * 30_000),
        xmp(elements="<a/>" * 30_000),
        mining("DMI-ALLOWED") + b" " * (1 << 20) + b"<a/>",
    ],
)
def test_too_much_or_broken_xmp_is_a_reason_in_no_time(packet):
    started = time.process_time()
    with pytest.raises(ValueError, match=r"document type|no XML|more than"):
        read_xmp(packet)
    assert time.process_time() - started < 1


def test_broken_xmp_is_no_consent_only_where_it_speaks_of_mining():
    assert names(with_xmp("WEBP", LAUGHS)) == ["iptc (unreadable)"]
    assert names(with_xmp("WEBP", LAUGHS.replace(b"DataMining", b""))) == []
    assert names(with_xmp("GIF", mining("DMI-ALLOWED")[:-90])) == ["iptc (unreadable)"]


def test_a_bomb_in_a_packed_text_of_a_png_is_a_reason():
    packet = xmp(elements="<dc:rights>" + "a" * 30_000_000 + "</dc:rights>")
    with pytest.raises(FetchError) as caught:
        check_picture(with_xmp("PNG", packet, zipped=True), max_pixels=10**6, read_rights=picture_rights)
    assert caught.value.outcome == "truncated_image"
