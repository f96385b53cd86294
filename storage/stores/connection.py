"""The connection to an object store: which URLs are understood, what a store must do, how its errors read.

Credentials come from the environment alone, by the names that the providers' own tools use (AWS_ACCESS_KEY_ID,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_KEY, ...). None of them is ever part of a path or of an error.

Everything that is acknowledged in a workspace is created where nothing was, so a store must refuse to create what
exists. Some answer such a request with success and write over it. So the first write of a process to a place creates
one object twice, and nothing more is written where the second is not refused.
"""

import io
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from evenly.bounds import STORES
from evenly.installing import install_extra
from evenly.redaction import without_secrets
from evenly.storage.errors import InputError, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # as a Path shows it too, which makes one slash of two
_QUERY = re.compile(r"\?[^\s`'\")]*")
RETRIES: dict[str, Any] = {"max_retries": 6}
"""What the library does about answers that may pass: a few more tries, with growing pauses."""
_PAUSES_S = (0.1, 0.4, 1.6)
_LOST = re.compile(r"error sending request|connection closed|timed? ?out|5\d\d [A-Z]", re.IGNORECASE)
_TRIED_AGAIN = re.compile(r"after \d+ retries")
_REFUSED = re.compile(r"PermissionDenied|Unauthenticated|40[13] ")
_NO_RANGE = re.compile(r"\b416 |CONTENT_RANGE|non-partial")  # where there are no bytes, no range of them can be had
_MAY_PASS = re.compile(
    r"status code: (408|425|429|50[02-9]|5[1-9]\d) |error sending request|connection closed|\btimed? ?out\b"
)
_NO_SUCH_HOST = re.compile(r"dns error(?!.*(Temporary failure|Try again))", re.DOTALL)
_NO_ANSWER = re.compile(r"Generic \w+ error|error sending request|40[13] (Forbidden|Unauthorized)|50\d [A-Z]")
_CONDITION = {"s3": "If-None-Match: *", "gs": "x-goog-if-generation-match: 0", "az": "If-None-Match: *"}
_METADATA_SERVICE = "169.254.169.254"  # where clouds give their machines credentials
_probed: set[tuple[int, str]] = set()
_Answer = TypeVar("_Answer")


def is_url(place: str) -> bool:
    """Whether `place` is a URL rather than a path. A scheme has two letters or more, so that `c:/w` is a path."""
    return _URL.match(place) is not None


def parsed_url(url: str) -> tuple[str, str, str]:
    """Scheme, bucket and key (without slashes at its ends) of a URL; of file://, "file", "" and the path.

    Raises InputError, which shows nothing that could be a password.
    """
    match = _URL.match(url)
    scheme = match[1].lower() if match else ""
    rest = url[match.end() - 1 :].lstrip("/") if match else url
    if scheme not in STORES:
        raise InputError(
            f"`url` must begin with one of {', '.join(f'{name}://' for name in STORES)}; got `{scheme}://`. Use one of "
            "these, or a folder."
        )
    bucket, _, key = rest.partition("/")
    if "@" in bucket:
        raise InputError("`url` must hold no user name or password. Put credentials into the environment.")
    if scheme == "file":
        return scheme, "", _local_path(url)
    if "?" in rest or "#" in rest:
        raise InputError(
            f"`url` must hold no `?` and no `#`; got `{scheme}://{_QUERY.sub('?...', rest)}`. Leave it out."
        )
    names = [name for name in key.split("/") if name]
    if not bucket or {".", ".."} & {bucket, *names} or not rest.isprintable():
        raise InputError(
            f"`url` must be {scheme}://, a bucket, names without `.` and `..`; got `{scheme}://{rest!r}`. Correct it."
        )
    return scheme, bucket, "/".join(names)


def check_client(place: str) -> None:
    """Raise InputError where what speaks to the store at `place` is not installed; it is not loaded."""
    if find_spec("obstore") is None and not place.startswith("file:"):
        raise InputError(f"`obstore` must be installed for `{place}`; it is not. Run `{install_extra('stores')}`.")


def connected(scheme: str, bucket: str) -> "ObjectStore":
    """The store of a bucket; one connection for each process."""
    return _connected(scheme, bucket, os.getpid())


def require_conditions(store: "ObjectStore", place: str, folder: str) -> None:
    """Try once, at the first write to the bucket `place`, whether it refuses to create what exists.

    folder: the key of the folder to try it in. Raises StoreError where it does not.
    """
    if (os.getpid(), place) in _probed:
        return
    import obstore
    from obstore.exceptions import AlreadyExistsError

    key = "/".join(filter(None, (folder, f".probe-{secrets.token_hex(8)}")))
    with readable_errors(place):
        try:
            until_answered(lambda: obstore.put(store, key, b"first", mode="create", use_multipart=False))
        except FileNotFoundError:
            raise StoreError(f"bucket `{place}` must exist; it does not. Make it, or correct the URL.") from None
        except AlreadyExistsError:  # it did what was asked, and its answer was lost
            pass
        try:
            until_answered(lambda: obstore.put(store, key, b"second", mode="create", use_multipart=False))
        except AlreadyExistsError:
            refused = True
        else:
            refused = False
        finally:
            delete_object(store, key)
    if not refused:
        raise StoreError(
            f"store `{place}` must refuse to create an object that exists ({_CONDITION[place.partition(':')[0]]}); it "
            "wrote over one. Nothing was stored. Use a store with conditional writes, or a folder."
        )
    _probed.add((os.getpid(), place))


def delete_object(store: "ObjectStore", key: str) -> None:
    """Remove an object; one that is gone already too, of which Google's and Azure's stores complain."""
    import obstore

    with suppress(FileNotFoundError):
        until_answered(partial(obstore.delete, store, key))


def end_of(store: "ObjectStore", key: str, length: int) -> tuple[bytes, int]:
    """The last `length` bytes of an object, all where there are fewer, and how many it has.

    One request; of an object of more in an Azure store two, since these know no ranges that count from the end.
    """
    import obstore
    from obstore.exceptions import GenericError
    from obstore.store import AzureStore

    if not isinstance(store, AzureStore):
        try:
            response = obstore.get(store, key, options={"range": {"suffix": length}})
        except GenericError as error:
            if not _NO_RANGE.search(str(error)) or obstore.head(store, key)["size"]:
                raise
            return b"", 0
        return bytes(response.bytes()), int(response.meta["size"])
    response = obstore.get(store, key)  # its bytes come when they are asked for
    size = int(response.meta["size"])
    return bytes(
        response.bytes() if size <= length else obstore.get_range(store, key, start=size - length, end=size)
    ), size


def until_answered(request: Callable[[], _Answer]) -> _Answer:
    """Make a request, and make it again a few times where no answer came.

    For what the library does not ask twice for itself: it cannot know whether the store did it. Who creates an object
    by this must look, where one exists, whether it is its own.
    """
    from obstore.exceptions import GenericError

    for pause_s in _PAUSES_S:
        try:
            return request()
        except GenericError as error:
            text = str(error).partition("\n")[0]
            if _TRIED_AGAIN.search(text) or not _LOST.search(text):
                raise
        time.sleep(pause_s)
    return request()


@contextmanager
def readable_errors(place: str) -> Iterator[None]:
    """Turn what the library says of a store into one line, without anything that could be a credential.

    FileNotFoundError passes, and so does AlreadyExistsError, which its callers look for.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError

    try:
        yield
    except AlreadyExistsError:
        raise
    except (BaseError, NotImplementedError) as error:
        raise _trouble(error, place) from None


def trouble_of(error: BaseException, place: str) -> StoreError | None:
    """The same of an error of another library that speaks to the store `place`; None where it is about what it read."""
    return _trouble(error, place) if _NO_ANSWER.search(str(error)) else None


def _trouble(error: BaseException, place: str) -> StoreError:
    text, passing = _words(error), False
    if _METADATA_SERVICE in text:
        text = "no credentials are in the environment, and this machine has no role"
    elif _REFUSED.search(f"{type(error).__name__} {text}"):
        text = f"it refused: {text}"
    elif _NO_SUCH_HOST.search(str(error)):
        text = f"its host is not known: {text}"
    else:
        passing = _MAY_PASS.search(text) is not None
    return StoreError(
        f"store `{place}` must answer; {text}. Check the network, the bucket's name, and the store's settings and "
        "credentials in the environment.",
        passing=passing,
    )


def _local_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise InputError(
            f"`url` must be file:/// and a path of this machine; got the host `{parts.netloc}`. Leave it out."
        )
    return unquote(parts.path)


def _words(error: BaseException) -> str:
    text = _QUERY.sub("", (str(error).strip() or type(error).__name__).splitlines()[0])
    return without_secrets(re.sub(r"\s*<\?xml.*", "", text))


@lru_cache(maxsize=64)
def _connected(scheme: str, bucket: str, _process: int) -> "ObjectStore":
    check_client(f"{scheme}://{bucket}")
    from obstore.store import AzureStore, GCSStore, S3Store

    with readable_errors(f"{scheme}://{bucket}"):
        kinds: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
        store: ObjectStore = kinds[scheme](bucket, retry_config=RETRIES)
        return store


class RangeStream(io.RawIOBase):
    """The `size` bytes of which `read(start, length)` gives some, fetched as they are read."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._at, self._size = read, 0, size

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place, and say where that is."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Fill the buffer as far as there are bytes; how many."""
        content = self._read(self._at, max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
