import contextlib
import io
import tarfile
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.storage.pools.rows import PoolError
from evenly.storage.pools.webdataset import read_members
from tests.storage.held_pool import header, write_tar

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def members(path):
    with path.open("rb") as stream:
        return [(one.name, one.size, one.refused) for one in read_members(stream, path)]


@pytest.mark.parametrize("kind", FORMATS)
def test_contents_lie_where_members_say_whatever_the_format_and_the_length_of_names(tmp_path, kind):
    parts = [("a/b.txt", b"one"), ("empty", b""), ("x/" * 40 + "y" * 60, b"2" * 1500), ("./dotted.txt", b"four")]
    path = write_tar(tmp_path / "a.tar", parts, kind=kind)
    with path.open("rb") as stream:
        found = [
            (one.name, path.read_bytes()[one.offset : one.offset + one.size]) for one in read_members(stream, path)
        ]
    assert found == [*parts[:3], ("dotted.txt", b"four")]


def test_names_that_lead_out_links_and_devices_are_refused_and_folders_left_out(tmp_path):
    parts = [
        ("../../etc/passwd", b"x"), ("/etc/passwd", b"x"), ("a/../../b", b"x"),
        header("link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        header("hard.png", type=tarfile.LNKTYPE, linkname="a", size=10_000),
        header("pipe.png", type=tarfile.FIFOTYPE), header("null.png", type=tarfile.CHRTYPE),
        header("folder", type=tarfile.DIRTYPE), ("good.txt", b"ok"),
    ]  # fmt: skip
    assert members(write_tar(tmp_path / "a.tar", parts)) == [
        ("../../etc/passwd", 1, "bad_name"), ("/etc/passwd", 1, "bad_name"), ("a/../../b", 1, "bad_name"),
        ("link.png", 0, "link"), ("hard.png", 0, "link"), ("pipe.png", 0, "special_file"),
        ("null.png", 0, "special_file"), ("good.txt", 2, ""),
    ]  # fmt: skip


def test_a_sparse_file_that_claims_to_be_large_is_refused(tmp_path):
    large = header("big.png", pax_headers={"GNU.sparse.realsize": str(2**60), "GNU.sparse.map": "0,1"})
    old = header("old.png", type=tarfile.GNUTYPE_SPARSE)
    path = write_tar(tmp_path / "a.tar", [large, old, ("good.txt", b"ok")])
    assert members(path) == [("big.png", 0, "sparse_file"), ("old.png", 0, "sparse_file"), ("good.txt", 2, "")]


def broken_tars():
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.addfile(header("a.txt", size=600), io.BytesIO(b"a" * 600))
    content = whole.getvalue()
    huge = header("a.txt", size=10**15).tobuf(tarfile.GNU_FORMAT)
    negative = bytearray(header("a.txt", size=5).tobuf(tarfile.GNU_FORMAT))
    negative[124:136] = b"\xff" * 12
    negative[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(negative))[0]
    pax = header("p", type=tarfile.XHDTYPE, size=20).tobuf()
    return {
        "cut": (content[:900], "beyond its end"),
        "cut in a header": (content[:100], "one more block begins at 0"),
        "joined": (content + content, "more behind its end"),
        "no tar": (b"<html>" * 200, "no header of a tar at byte 0"),
        "gzip": (b"\x1f\x8b\x08" + b"\0" * 600, "no header of a tar"),
        "huge": (huge, "beyond its end"),
        "negative": (bytes(negative), "a member of -1 bytes"),
        "pax that does not add up": (pax + b"99999 path=x\n".ljust(512, b"\0"), "pax records"),
        "pax in a circle": (pax + b"0 path=x\n".ljust(512, b"\0"), "pax records"),
    }


@pytest.mark.parametrize("case", broken_tars())
def test_a_tar_that_is_none_says_what_is_wrong(tmp_path, case):
    content, message = broken_tars()[case]
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(PoolError, match=f"must be a plain tar, whole and not compressed; got .*{message}"):
        members(tmp_path / "a.tar")


def test_a_name_of_many_megabytes_is_refused_before_it_is_read(tmp_path):
    size = 64_000_000
    with (tmp_path / "a.tar").open("wb") as stream:
        stream.write(header("long", type=tarfile.GNUTYPE_LONGNAME, size=size).tobuf(tarfile.GNU_FORMAT))
        stream.truncate(size + 2048)
    tracemalloc.start()
    with pytest.raises(PoolError, match="a header of 64000000 bytes, above 65536"):
        members(tmp_path / "a.tar")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_tar_with_changed_bytes_is_read_or_refused_and_never_leads_beyond_its_end(tmp_path_factory, data):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=data.draw(st.sampled_from(FORMATS[1:]))) as tar:
        for name, content in (("a.png", b"1" * 700), ("b" * 200, b"2"), ("ü.txt", b"")):
            tar.addfile(header(name, size=len(content)), io.BytesIO(content))
    content = bytearray(stream.getvalue())
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)):
        content[at] = byte
    path = tmp_path_factory.getbasetemp() / "changed.tar"
    path.write_bytes(bytes(content))
    with contextlib.suppress(PoolError), path.open("rb") as opened:
        for one in read_members(opened, path):
            assert 0 <= one.offset <= one.offset + one.size <= len(content)
