import io
import os
import pickle
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from evenly.storage.errors import InputError, StoreError
from evenly.storage.stores import connection
from evenly.storage.stores.object_path import ObjectPath, path_at
from tests.google_store_server import google_environment, google_store, make_google_bucket
from tests.object_store_server import (
    CREDENTIALS,
    environment_of,
    make_bucket,
    reaching,
    reaching_by,
    without_conditions,
)


def test_a_path_in_a_store_is_built_and_taken_apart_as_any_path():
    path = path_at("s3://bucket/a/b.json")
    assert (str(path), path.name, path.stem, path.suffix) == ("s3://bucket/a/b.json", "b.json", "b", ".json")
    assert str(path.parent / "c.d" / "e") == "s3://bucket/a/c.d/e"
    assert str(path.with_name("x").with_suffix(".y")) == "s3://bucket/a/x.y"
    assert path.relative_to(path_at("s3://bucket")).as_posix() == "a/b.json"
    assert path == path_at(path) == path_at(Path("s3://bucket/a/b.json")) == pickle.loads(pickle.dumps(path))  # noqa: S301
    assert len({path, path_at("s3://bucket/a//b.json/"), path_at("s3://bucket/A/b.json")}) == 2
    assert path_at("gs://bucket/a") != path_at("s3://bucket/a")
    assert isinstance(path.parent, ObjectPath)
    assert f"{path}" == path.as_posix() == "s3://bucket/a/b.json"


@pytest.mark.parametrize("url", ["file:///tmp/a%20b", "file://localhost/tmp/a%20b"])
def test_a_file_url_is_a_folder_of_this_machine(url):
    assert path_at(url) == Path("/tmp/a b")  # noqa: S108
    assert not isinstance(path_at(url), ObjectPath)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://host/x", "must begin with one of s3://, gs://, az://, file://; got `http://`"),
        ("s3://", "must be s3://, a bucket, names"),
        ("s3://bucket/../other", "names without `.` and `..`"),
        ("s3://bucket/a\nb", "must be s3://, a bucket"),
        ("s3://bucket/a?versionId=1", "no `\\?` and no `#`; got `s3://bucket/a\\?\\.\\.\\.`"),
        ("file://elsewhere/x", "a path of this machine; got the host `elsewhere`"),
    ],
)
def test_a_url_that_is_not_understood_is_refused(url, words):
    with pytest.raises(InputError, match=words):
        path_at(url)


def test_a_password_in_a_url_is_refused_and_not_shown():
    with pytest.raises(InputError, match="no user name or password") as error:
        path_at("s3://me:hunter2@bucket/x")
    assert "hunter2" not in str(error.value)


def test_what_only_a_folder_can_do_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = path_at("s3://bucket/a")
    for touch in (os.stat, os.mkdir, Path.touch, shutil.rmtree, io.FileIO):
        with pytest.raises(
            StoreError, match="`s3://bucket/a` must be in a folder for this; it lies in an object store"
        ):
            touch(path)
    with pytest.raises(StoreError, match="must be in a folder for renaming"):
        path.rename("b")
    with pytest.raises(StoreError, match="must be in a folder for opening with `wb`"):
        path.open("wb")
    path.mkdir(parents=True)
    assert list(tmp_path.iterdir()) == []


def test_an_object_is_created_once_and_replaced_whole(bucket):
    path = path_at(bucket) / "a b" / "ü%#+.json"
    assert not path.exists()
    assert path.create(b"1")
    assert not path.create(b"2")
    assert (path.read_bytes(), path.stat().st_size) == (b"1", 1)
    path.write_bytes(b"3456")
    assert (path.read_text(), path.read_range(1, 2), path.open("rb").read()) == ("3456", b"45", b"3456")
    assert (path.is_file(), path.is_dir(), path.parent.is_file(), path.parent.is_dir()) == (True, False, False, True)
    path.unlink()
    path.unlink(missing_ok=True)
    for reading in (path.unlink, path.stat, path.read_bytes, path.open, lambda: path.read_range(0, 1)):
        with pytest.raises(FileNotFoundError, match=path.name.replace("+", r"\+")):
            reading()


def test_a_page_is_one_for_a_browser(bucket):
    import obstore

    page = path_at(bucket) / "reports" / "birds-1.html"
    page.write_bytes(b"<p>birds</p>")
    assert obstore.get(page.store, page.key).attributes["Content-Type"] == "text/html; charset=utf-8"


def test_patterns_match_as_in_a_folder(bucket, tmp_path):
    names = ["a.json", "b.json", "b.txt", ".hidden", "x/a.json", "x/y/a.json", "z/rows.lance/data/1", "z/event-1.json"]
    for root in (path_at(bucket) / "w", tmp_path / "w"):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"")
    stored, local = path_at(bucket) / "w", tmp_path / "w"
    for pattern in ("*.json", "*/*.json", "*/*.lance", "x/a.json", "x/b.json", "z/event-*.json", "*", "none/*.json"):
        expected = sorted(path.relative_to(local).as_posix() for path in local.glob(pattern))
        assert sorted(path.relative_to(stored).as_posix() for path in stored.glob(pattern)) == expected
    assert sorted(path.name for path in stored.iterdir()) == sorted(path.name for path in local.iterdir())
    assert sorted(path.relative_to(stored).as_posix() for path in stored.rglob("*.json")) == sorted(
        path.relative_to(local).as_posix() for path in local.rglob("*.json")
    )


def test_a_large_object_arrives_whole_and_is_read_by_range(bucket):
    content = os.urandom(1 << 20) * 20
    path = path_at(bucket) / "large"
    path.write_bytes(content)
    with path.open("rb") as stream:
        stream.seek(12_345_678)
        assert stream.read(1_000_000) == content[12_345_678:13_345_678]
    assert path.read_bytes() == content


@pytest.mark.parametrize("length", [1, 5, 9 << 20])
def test_the_end_of_an_object_comes_with_its_size(bucket, length):
    for content in (b"", b"12345", os.urandom(1 << 20) * 10):
        path = path_at(bucket) / f"{len(content)}"
        path.write_bytes(content)
        assert path.read_end(length) == (content[-length:], len(content))
    with pytest.raises(FileNotFoundError, match="none"):
        (path_at(bucket) / "none").read_end(length)


def test_what_another_has_removed_is_no_fault(bucket):
    (path_at(bucket) / "w" / "e").unlink(missing_ok=True)


@pytest.mark.parametrize(("kind", "condition"), [("s3", "If-None-Match: *"), ("gs", "x-goog-if-generation-match: 0")])
def test_a_store_that_ignores_conditions_is_refused_at_the_first_write(request, tmp_path, kind, condition):
    with ExitStack() as stack:
        if kind == "s3":
            server = request.getfixturevalue("s3_server")
            make_bucket(server, "ignoring")
            environment = environment_of(stack.enter_context(without_conditions(server)))
        else:
            server = stack.enter_context(google_store(tmp_path, keeps_conditions=False))
            make_google_bucket(server, "ignoring")
            environment = google_environment(server, tmp_path)
        stack.enter_context(reaching_by(environment))
        path = path_at(f"{kind}://ignoring/w/record.json")
        assert not path.exists()
        for write in (path.create, path.write_bytes):
            with pytest.raises(StoreError, match="must refuse to create an object that exists") as error:
                write(b"x")
            assert str(error.value) == (
                f"store `{kind}://ignoring` must refuse to create an object that exists ({condition}); it wrote over "
                "one. Nothing was stored. Use a store with conditional writes, or a folder."
            )
        assert list(path_at(f"{kind}://ignoring").objects()) == []


def test_a_store_is_tried_once_in_a_process(bucket, monkeypatch):
    path_at(bucket).joinpath("a").write_bytes(b"")
    monkeypatch.setattr(connection.secrets, "token_hex", lambda _: pytest.fail("tried again"))
    path_at(bucket).joinpath("b").write_bytes(b"")


@pytest.mark.parametrize("name", ["absent-bucket", "closed"])
def test_an_error_of_the_store_is_one_line_without_credentials(s3_server, name, monkeypatch, caplog):
    with reaching(s3_server):
        if name == "closed":
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:9/{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}")
            monkeypatch.setattr(connection, "RETRIES", {"max_retries": 0})
        with pytest.raises(StoreError, match=f"`s3://{name}` must (exist|answer)") as error:
            (path_at(f"s3://{name}") / "x").write_bytes(b"")
    assert "\n" not in str(error.value)
    shown = f"{error.value!r} {error.value.__cause__!r} {error.value.__suppress_context__} {caplog.text}"
    assert not [value for value in CREDENTIALS.values() if value in shown]


def test_a_bucket_that_is_not_there_is_named(bucket):
    with pytest.raises(
        StoreError, match=rf"^bucket `{bucket}x` must exist; it does not\. Make it, or correct the URL\.$"
    ):
        (path_at(f"{bucket}x") / "w" / "record.json").create(b"")


def test_two_buckets_are_two_stores(s3_server):
    for name in ("one-bucket", "another-bucket"):
        make_bucket(s3_server, name)
    with reaching(s3_server):
        path_at("s3://one-bucket/a").write_bytes(b"1")
        path_at("s3://another-bucket/a").write_bytes(b"2")
        assert path_at("s3://one-bucket/a").read_bytes() == b"1"


def test_without_credentials_it_says_so(s3_server, monkeypatch):
    with reaching(s3_server):
        for name in CREDENTIALS:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9/169.254.169.254")
        monkeypatch.setattr(connection, "RETRIES", {"max_retries": 0})
        with pytest.raises(StoreError, match="no credentials are in the environment, and this machine has no role"):
            path_at("s3://bucket/x").exists()
