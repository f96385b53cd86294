"""The run of a shard: img2dataset's downloader and tar writer, with our fetch and our check put in.

`img2dataset.download()` is not used: it sets signal handlers, hangs when a worker is killed, and swallows errors. Its
`Downloader` runs the threads of a shard and its `WebDatasetSampleWriter` writes the tar; the function that fetches a
row and the resizer are ours. An error in one of them would be printed or hang the pool of threads, so it is kept, the
rest of the shard passes quickly, and it is raised after that.
"""

import fcntl
import io
import os
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from multiprocessing import parent_process, set_start_method
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from evenly.storage.web.decoding import EXTENSIONS, Measure, PictureChecks
from evenly.storage.web.errors import DownloadError, FetchError, may_pass, verdict_of
from evenly.storage.web.fetching import Fetched, HostLimits, WebClient
from evenly.storage.web.guard import Connect
from evenly.storage.web.measured import write_measured
from evenly.storage.web.rule import WebRule
from evenly.storage.web.shards import RECORDS, publish_shard

ALARM_AFTER = 100  # the first URLs of a shard that are looked at
ALARM_LEAST = 5  # where there are fewer than that in all; less of them say nothing
ALARM_SHARE = 0.95

PROGRESS_FILE = "progress"  # one byte per URL done
URLS_FILE = "urls.arrow"
_TAR_BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """A shard to fetch: `work` holds its URLS_FILE and is its own; results go to `folder`."""

    name: str
    work: Path
    folder: Path
    threads: int
    tolerate: frozenset[str]
    tar: str  # its name in `folder`


class _Picture(io.BytesIO):
    """The stream that goes from our fetch to our check through img2dataset, with what is known about it."""

    def __init__(self, fetched: Fetched) -> None:
        super().__init__(fetched.body or b"")
        self.fetched = fetched


class ShardRun:
    """A shard while it is fetched; `run` is called once."""

    def __init__(self, task: ShardTask, client: WebClient, checks: PictureChecks, measure: Measure | None) -> None:
        self._task, self._client, self._checks, self._measure = task, client, checks, measure
        self._measured: dict[str, bytes | None] = {}  # by image_id
        self._urls = _read_urls(task.work / URLS_FILE)
        self._fetched: dict[str, Fetched] = {}
        self._outcomes: Counter[str] = Counter()
        self._first: Counter[str] = Counter()
        self._last: str | None = None
        self._trouble: Exception | None = None
        self._progress = -1
        self._writer: Any = None

    def run(self) -> dict[str, int]:
        """Fetch, check, write and publish; returns the URLs per outcome."""
        try:
            engine = self._engine()
            self._progress = os.open(self._task.work / PROGRESS_FILE, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                engine.download_shard((0, str(self._task.work / URLS_FILE)))
            finally:
                os.close(self._progress)
            self._require_complete()
            tar = self._task.work / "0.tar" if self._outcomes["success"] else None
            records, measured = self._task.work / "0.parquet", None
            if self._measure is not None and self._measured:
                measured = self._task.work / "measured.parquet"
                write_measured(measured, self._measure.name, self._measured)
            publish_shard(
                self._task.folder, self._task.name, tar=tar, records=records, measured=measured, tar_as=self._task.tar
            )
        except OSError as error:
            raise DownloadError(
                f"`folder` must be writable and have room for the pictures; got `{error}` at `{self._task.folder}`. "
                "Make room and run again: finished shards are kept."
            ) from None
        return dict(self._outcomes)

    def _engine(self) -> Any:  # noqa: ANN401 - img2dataset has no types
        downloader, self._writer_class = _import_img2dataset()
        downloader.download_image_with_retry = self._fetch_row  # type: ignore[attr-defined]  # its one seam for rows
        return downloader.Downloader(
            sample_writer_class=self._open_writer, resizer=self._check, thread_count=self._task.threads,
            save_caption=False, extract_exif=False, output_folder=str(self._task.work), column_list=["url"],
            timeout=None, number_sample_per_shard=len(self._urls), oom_shard_count=1, compute_hash=None,
            verify_hash_type=None, encode_format="jpg", retries=0, user_agent_token=None,
            disallowed_header_directives=None,
        )  # fmt: skip

    def _require_complete(self) -> None:
        if self._trouble is None and len(self._outcomes) == 1 and ALARM_LEAST <= self._first.total() < ALARM_AFTER:
            (outcome,) = self._outcomes
            self._trouble = self._alarm(outcome) if may_pass(outcome) else None  # a few may all be wrong themselves
        if self._trouble is not None:
            raise self._trouble
        if self._outcomes.total() != len(self._urls):
            raise DownloadError(
                f"a shard must record each of its {len(self._urls)} URLs; got {self._outcomes.total()}. Run it again."
            )

    def _fetch_row(self, row: tuple[int, str], **_: object) -> tuple[int, _Picture | None, str | None]:
        """In place of img2dataset's: (row number, stream, None) or (row number, None, reason). Runs in threads."""
        number, url = row
        if self._trouble is not None:
            return number, None, "stopped"
        try:
            fetched = self._client.fetch(url, first_attempt=self._urls[url]["first_attempt"])
        except Exception as error:  # noqa: BLE001 - relayed to run(); raised here it would hang the pool of threads
            self._trouble = error
            return number, None, "stopped"
        self._fetched[url] = fetched
        return (number, _Picture(fetched), None) if fetched.outcome == "success" else (number, None, fetched.outcome)

    def _check(self, stream: _Picture, _: object = None) -> tuple[bytes | None, None, None, None, None, str | None]:
        """In place of its resizer: the bytes as they came, four sizes that are not used, and the reason or None."""
        fetched, data = stream.fetched, stream.getvalue()
        try:
            checked = self._checks.check(data)
            fetched.rights = checked.rights
            self._client.refuse(checked.rights[0])
            fetched.facts, fetched.measured = checked.facts, checked.measured
        except FetchError as error:
            fetched.outcome, fetched.evidence = error.outcome, error.evidence
            return None, None, None, None, None, error.outcome
        except OSError as error:  # no decoder can be started; raised here it would be printed, and forgotten
            self._trouble = error
            return None, None, None, None, None, "stopped"
        return data, None, None, None, None, None

    def _open_writer(self, *_: object) -> "ShardRun":
        """In place of its writer class; the writer is the shard itself, with img2dataset's below."""
        self._writer = self._writer_class(0, str(self._task.work), save_caption=False, oom_shard_count=1,
                                          schema=RECORDS, encode_format="jpg")  # fmt: skip
        self._writer.buffered_parquet_writer.buffer_size = len(self._urls)  # one row group
        self._writer.tarwriter.mtime = 0  # a whole number: fractions cost a second header of 1 kB per picture
        return self

    def write(self, image: bytes | None, _key: str, _caption: object, meta: dict[str, Any]) -> None:
        """Write one row, as img2dataset's writers do."""
        url = meta["url"]
        fetched = self._fetched.pop(url, None)
        if self._trouble is not None or fetched is None:
            return
        try:
            record = self._record(url, fetched) | self._write_picture(url, fetched, image)
            self._writer.buffered_parquet_writer.write(record)
            os.write(self._progress, b".")
        except OSError as error:
            self._trouble = error
            return
        self._outcomes[fetched.outcome] += 1
        if self._urls[url]["first_attempt"] == 1:
            self._watch(fetched)

    def close(self) -> None:
        """Finish tar and records; what went wrong before is raised by `run` instead."""
        try:
            self._writer.close()
        except OSError as error:
            self._trouble = self._trouble or error

    def _record(self, url: str, fetched: Fetched) -> dict[str, Any]:
        facts, fetched_at = fetched.facts, datetime.now(UTC)
        rights = self._client.rule.stored_rights(fetched.reservations, fetched.rights, fetched_at)
        has_rights = fetched.outcome == "success" or bool(rights["reservation"])
        return (
            dict.fromkeys(RECORDS.names)
            | (rights if has_rights else {})
            | {
                "url": url,
                "key": self._urls[url]["key"],
                "attempt": fetched.attempt,
                "outcome": fetched.outcome,
                "verdict": verdict_of(fetched.outcome),
                "http_status": fetched.http_status,
                "final_url": fetched.final_url,
                "content_type": fetched.content_type,
                "n_bytes": None if fetched.body is None else len(fetched.body),
                "width": facts.width if facts else None,
                "height": facts.height if facts else None,
                "format": facts.format if facts else None,
                "evidence": _storable(fetched.evidence),
                "fetched_at": fetched_at,
            }
        )

    def _write_picture(self, url: str, fetched: Fetched, image: bytes | None) -> dict[str, Any]:
        if image is None or fetched.facts is None:
            return {}
        tar = self._writer.tarwriter
        tar.write({"__key__": self._urls[url]["key"], EXTENSIONS[fetched.facts.format]: image})
        offset = tar.tarstream.offset - -(-len(image) // _TAR_BLOCK) * _TAR_BLOCK
        place = {"tar": self._task.tar, "offset": offset, "size": len(image)}
        image_id = sha256(image).hexdigest()
        self._measured[image_id] = fetched.measured
        return place | {"image_id": image_id}

    def _watch(self, fetched: Fetched) -> None:
        """Stop where nearly all of the first URLs end alike: then it is not the URLs that are broken."""
        if self._first.total() < ALARM_AFTER:
            self._first[fetched.outcome] += 1
            self._last = fetched.evidence or fetched.final_url
            if self._first.total() == ALARM_AFTER:
                self._trouble = self._alarm(self._first.most_common(1)[0][0])

    def _alarm(self, outcome: str) -> DownloadError | None:
        """The error where nearly all of the first URLs ended with this outcome, if that is something to stop for."""
        count, total = self._first[outcome], self._first.total()
        if outcome == "success" or outcome in self._task.tolerate or count < ALARM_SHARE * total:
            return None
        remedy = f"tolerate `{outcome}` until they are recorded: `download: {{tolerate: [{outcome}]}}` in the recipe."
        if outcome == "blocked_address":
            remedy = "name hosts of your own network in the recipe: `web: {connect: {HOST: ADDRESS}}`."
        return DownloadError(
            f"`outcome` must not be the same failure for nearly all URLs; got `{outcome}` for {count} of the first "
            f"{total} (last: {self._last}). Nothing of this shard was recorded. "
            f"Mend the cause and run again, or {remedy}",
            passing=may_pass(outcome),
        )


def _read_urls(path: Path) -> dict[str, dict[str, Any]]:
    with pa.OSFile(str(path)) as source:
        return {row["url"]: row for row in pa.ipc.open_file(source).read_all().to_pylist()}


def _storable(text: str | None) -> str | None:
    """Text that UTF-8 can hold: headers may carry lone surrogates, error messages anything."""
    return None if text is None else text.encode("utf-8", "replace").decode()[:1000]


def _import_img2dataset() -> tuple[ModuleType, Any]:
    """The downloader and tar writer of img2dataset, imported without its call home and, in a worker, without torch.

    webdataset imports torch where it can, for loaders that are not used here: 1 to 2 s and 180 MB per process. Its
    logger, not used either, imports wandb, which makes temporary folders that stay when a worker ends. Its
    resizer, in whose place stands our check, imports albumentations: half a second.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    if parent_process() is not None and "torch" not in sys.modules:
        sys.modules["torch"] = None  # type: ignore[assignment]  # makes `import torch` an ImportError
    for name in ("wandb", "albumentations") if parent_process() is not None else ():
        sys.modules[name] = sys.modules.get(name) or ModuleType(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports imghdr
        from img2dataset import downloader
        from img2dataset.writer import WebDatasetSampleWriter
    return downloader, WebDatasetSampleWriter


WORKERS_LOCK = ".workers"


@dataclass(frozen=True, kw_only=True)
class _Process:
    """The state that a worker process keeps from shard to shard; the lock's descriptor is held until it ends."""

    rule: WebRule
    client: WebClient
    checks: PictureChecks
    measure: Measure | None
    lock: int


_process: _Process | None = None
_failure: OSError | None = None


def start_worker(
    rule: WebRule, connect: Connect, lock_file: Path, measure: Measure | None, limits: HostLimits | None = None
) -> None:
    """Prepare a fresh process, which shows by a lock on `lock_file` that it lives.

    Where that file cannot be opened, its first shard says so: a process that fails here ends its pool without a reason.
    """
    global _process, _failure  # noqa: PLW0603 - a pool's initialiser has no other way to hand things to its tasks
    set_start_method("fork", force=True)  # nothing is started: but only so do locks of thread pools need no clean-up
    try:
        lock = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError as error:
        _failure = error
        return
    checks = PictureChecks(max_pixels=rule.max_pixels, measure=measure, read_rights=rule.picture_reader)
    _process = _Process(rule=rule, client=WebClient(rule, connect, limits), checks=checks, measure=measure, lock=lock)


def run_shard(task: ShardTask) -> dict[str, int]:
    """Fetch a shard and publish it; returns the URLs per outcome. Raises DownloadError, nothing published."""
    if _failure is not None:
        raise _failure
    if _process is None:
        raise DownloadError("`start_worker` must run first in this process; it did not.")
    return ShardRun(task, _process.client, _process.checks, _process.measure).run()
