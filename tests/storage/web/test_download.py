import errno
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evenly.curation.reservations.rule import DownloadRule
from evenly.storage.web.decoding import PictureChecks
from evenly.storage.web.download import DownloadWorkers, FailureRule, _cut, _gathered
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.fetching import WebClient
from evenly.storage.web.guard import parse_connect
from evenly.storage.web.images import find_places, read_image_bytes, read_images
from evenly.storage.web.rule import Retry
from evenly.storage.web.shard_run import URLS_FILE, ShardRun, ShardTask, _import_img2dataset, run_shard, start_worker
from evenly.storage.web.shards import RECORDS, URLS, read_downloads, shard_names
from evenly.storage.worker_pool import worker_pool

from .conftest import HOST, Answer, picture, serve
from .fetched import download_images

ROOT = Path(__file__).parents[3]
QUICK = DownloadRule(timeout_s=2, retries=1, max_wait_s=2, max_bytes=100_000, max_pixels=1_000_000)
ONE = DownloadWorkers(processes=1)
HTML = (("Content-Type", "image/png"),)


def numbered(path: str) -> Answer | None:
    """A picture of its own for every path that is a number."""
    return Answer(200, picture(int(path[1:]))) if path[1:].isdigit() else None


def url(name: object) -> str:
    return f"http://{HOST}/{name}"


EXPECTED = {
    "a.png": "success", "b.jpg": "success", "c.webp": "success", "d.gif": "success", "e.bmp": "success",
    "f.avif": "success", "wrong-name.jpg": "success", "moved": "success", "busy": "success", "twin.png": "success",
    "gone": "http_404", "broken": "http_500", "html.png": "not_an_image", "empty.png": "empty_body",
    "half.png": "truncated_image", "short.png": "truncated_image", "slow.png": "timeout", "huge.png": "too_many_bytes",
    "bomb.png": "too_many_pixels", "no/a.png": "robots", "noai.png": "x_robots_tag", "tdm.png": "tdmrep",
    "loop": "too_many_redirects", "home": "blocked_address", "meta": "blocked_address",
}  # fmt: skip
BESIDES = {
    "http://nowhere.invalid/x.png": "dns",
    "http://127.0.0.1/x.png": "blocked_address",
    "file:///etc/passwd": "blocked_address",
}


def test_a_download_leaves_nothing_among_temporary_files(web, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    web.fallback = numbered
    download_images([url(1)], QUICK, folder=tmp_path / "shards", connect=web.connect, workers=ONE)
    assert not list((tmp_path / "temporary").iterdir())


def fill(web) -> None:
    """Put up a page for every way that a download can end."""
    for name, kind in (("a.png", "PNG"), ("b.jpg", "JPEG"), ("c.webp", "WEBP"), ("d.gif", "GIF"), ("e.bmp", "BMP")):
        web.put(f"/{name}", Answer(200, picture(1, kind)))
    web.put("/f.avif", Answer(200, picture(1, "AVIF")))
    web.put("/wrong-name.jpg", Answer(200, picture(2)))
    web.put("/twin.png", Answer(200, picture(1)))
    web.put("/robots.txt", Answer(200, b"User-agent: *\nDisallow: /no/"))
    web.put("/moved", Answer(301, b"", (("Location", "http://other.test/a.png"),)))
    web.put("/busy", Answer(429, headers=(("Retry-After", "0"),)), Answer(200, picture(3)))
    web.put("/broken", Answer(500))
    web.put("/html.png", Answer(200, b"<!DOCTYPE html><title>Hello</title>"))
    web.put("/empty.png", Answer(200, b""))
    web.put("/half.png", Answer(200, picture(4, "PNG", (200, 200))[:300]))
    web.put("/short.png", Answer(200, picture(5), claimed_length=5000))
    web.put("/slow.png", Answer(200, picture(6), drip_s=0.1))
    web.put("/huge.png", Answer(200, b"x" * 200_000))
    web.put("/bomb.png", Answer(200, picture(7, "PNG", (1001, 1000))))
    web.put("/noai.png", Answer(200, picture(8), (("X-Robots-Tag", "noai"),)))
    web.put("/tdm.png", Answer(200, picture(9), (("tdm-reservation", "1"),)))
    web.put("/no/a.png", Answer(200, picture(10)))
    web.put("/loop", Answer(302, b"", (("Location", "/loop"),)))
    web.put("/home", Answer(302, b"", (("Location", f"http://127.0.0.1:{web.port}/a.png"),)))
    web.put("/meta", Answer(302, b"", (("Location", "http://169.254.169.254/latest/"),)))


@pytest.fixture(scope="module")
def harvest(tmp_path_factory):
    """One download of everything, made from a thread, and asked for twice."""
    folder = tmp_path_factory.mktemp("harvest")
    urls = [url(name) for name in EXPECTED] + list(BESIDES)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    made, ticks = [], []

    def work() -> None:
        made.append(
            download_images(
                [*urls, urls[0]], QUICK, folder=folder, connect=web.connect, workers=ONE, progress=ticks.append
            )
        )

    with serve() as web:
        fill(web)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        asked = Counter(web.asked)
        made.append(download_images(urls, QUICK, folder=folder, connect=web.connect))
        assert web.asked == asked
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    return folder, made, ticks


def test_every_way_to_end_is_recorded_by_its_word(harvest):
    folder, _, _ = harvest
    table = read_downloads(folder)
    assert table.schema == RECORDS
    found = dict(zip(table["url"].to_pylist(), table["outcome"].to_pylist(), strict=True))
    assert found == {url(name): outcome for name, outcome in EXPECTED.items()} | BESIDES
    verdicts = dict(zip(table["outcome"].to_pylist(), table["verdict"].to_pylist(), strict=True))
    assert {outcome for outcome, verdict in verdicts.items() if verdict == "dropped"} == {
        "robots", "x_robots_tag", "tdmrep", "too_many_bytes", "too_many_pixels",
    }  # fmt: skip


def test_each_url_is_fetched_once_and_progress_counts_them_all(harvest):
    folder, made, ticks = harvest
    n = len(EXPECTED) + len(BESIDES)
    assert (made[0].urls, made[0].recorded_before, made[0].fetched) == (n, 0, n)
    assert made[0].outcomes["success"] == 10
    assert (made[1].recorded_before, made[1].fetched, made[1].outcomes) == (n, 0, {})
    assert sum(ticks) == n
    assert sorted(path.suffix for path in folder.iterdir()) == ["", "", ".parquet", ".tar"]


def test_what_is_recorded_is_what_lies_in_the_tar(harvest):
    folder, _, _ = harvest
    kept = read_downloads(folder).filter(pc.field("verdict") == "kept")
    rows = kept.to_pylist()
    for row, data in zip(rows, read_image_bytes(folder, kept), strict=True):
        assert hashlib.sha256(data).hexdigest() == row["image_id"]
        assert len(data) == row["n_bytes"] == row["size"]
        image = Image.open(io.BytesIO(data))
        assert ((row["width"], row["height"]), row["format"]) == (image.size, (image.format or "").lower())
    members = {}
    for name in shard_names(folder):
        with tarfile.open(folder / f"{name}.tar") as tar:
            members |= {member.name: (f"{name}.tar", member.offset_data, member.size) for member in tar}
    extension = {"jpeg": "jpg"}
    assert members == {
        f"{row['key']}.{extension.get(row['format'], row['format'])}": (row["tar"], row["offset"], row["size"])
        for row in rows
    }


def test_what_failed_has_its_evidence_and_no_bytes(harvest):
    folder, _, _ = harvest
    rows = {row["url"].removeprefix(f"http://{HOST}/"): row for row in read_downloads(folder).to_pylist()}
    for row in rows.values():
        if row["verdict"] != "kept":
            assert row["evidence"]
            assert (row["tar"], row["image_id"], row["offset"], row["width"]) == (None, None, None, None)
    assert rows["no/a.png"]["evidence"] == "Disallow: /no/ (User-agent: *)"
    assert rows["gone"]["http_status"] == 404
    assert rows["html.png"]["content_type"] == "image/png"
    assert "1001 x 1000" in rows["bomb.png"]["evidence"]
    assert rows["moved"]["final_url"] == "http://other.test/a.png"
    assert (rows["busy"]["attempt"], rows["broken"]["attempt"], rows["gone"]["attempt"]) == (2, 2, 1)


def test_pictures_are_read_by_their_id_in_the_order_asked(harvest):
    folder, _, _ = harvest
    wanted = [hashlib.sha256(picture(seed)).hexdigest() for seed in (3, 1, 2, 1)]
    assert list(read_images(folder, wanted)) == [picture(seed) for seed in (3, 1, 2, 1)]
    assert list(read_images(folder, [])) == []
    with pytest.raises(DownloadError, match="`image_ids` must be of pictures"):
        read_images(folder, ["0" * 64])


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1]])
def test_pictures_are_read_where_they_are_said_to_lie_and_checked_by_their_name(harvest, order):
    folder, _, _ = harvest
    wanted = sorted(hashlib.sha256(picture(seed)).hexdigest() for seed in (3, 1, 2))
    places = find_places(folder, wanted)
    places = places.take(pc.index_in(pa.array(wanted), places["image_id"].combine_chunks()))
    asked = [wanted[place] for place in order]
    for among in (places, places.take(order)):
        assert [hashlib.sha256(data).hexdigest() for data in read_images(folder, asked, among)] == asked
    with pytest.raises(DownloadError, match="`image_ids` must be of pictures"):
        read_images(folder, asked[:1], places.filter(pc.not_equal(places["image_id"], asked[0])).slice(0, 1))
    shifted = places.set_column(2, "offset", pc.add(places["offset"], 1))
    with pytest.raises(DownloadError, match="must hold the bytes of picture"):
        list(read_images(folder, wanted, shifted))


def test_records_without_bytes_cannot_be_read(harvest):
    folder, _, _ = harvest
    failed = read_downloads(folder).filter(pc.field("verdict") == "failed")
    with pytest.raises(DownloadError, match="must be of kept pictures"):
        list(read_image_bytes(folder, failed))


@pytest.mark.slow
def test_a_retry_is_a_new_observation_of_what_may_pass_only(web, tmp_path):
    web.put("/0", Answer(503), Answer(200, picture(0)))
    web.put("/1", Answer(404), Answer(200, picture(1)))
    rule = DownloadRule(retries=0)
    urls = [url(0), url(1)]
    assert download_images(urls, rule, folder=tmp_path, connect=web.connect).outcomes == {"http_404": 1, "http_503": 1}
    made = download_images(urls, rule, folder=tmp_path, connect=web.connect, retry=Retry())
    assert (made.recorded_before, made.outcomes) == (1, {"success": 1})
    table = read_downloads(tmp_path, ["outcome", "attempt"])
    assert table.to_pylist() == [{"outcome": "success", "attempt": 2}, {"outcome": "http_404", "attempt": 1}]
    assert len(shard_names(tmp_path)) == 2


def test_a_killed_worker_is_an_error_and_the_next_run_completes(web, tmp_path):
    web.fallback = lambda path: time.sleep(0.02) or numbered(path)
    urls = [url(i) for i in range(400)]
    killed = threading.Thread(target=_kill_a_child_once, args=(tmp_path,))
    killed.start()
    with pytest.raises(DownloadError, match="a download worker must not end by itself"):
        download_images(
            urls,
            QUICK,
            folder=tmp_path,
            connect=web.connect,
            workers=DownloadWorkers(processes=2, threads=2, shard_size=100),
        )
    killed.join()
    assert not active_children()
    _complete_and_check(web, tmp_path, urls)


def _kill_a_child_once(folder: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(path.stat().st_size for path in folder.glob(".partial/*/progress")):
        time.sleep(0.02)
    os.kill(active_children()[0].pid, signal.SIGKILL)


def test_a_killed_run_leaves_nothing_running_and_the_next_run_completes(web, tmp_path):
    web.fallback = lambda path: time.sleep(0.02) or numbered(path)
    urls = [url(i) for i in range(400)]
    code = (
        "from pathlib import Path; from evenly.storage.web.download import DownloadWorkers; "
        "from evenly.curation.reservations.rule import DownloadRule; "
        "from tests.storage.web.fetched import download_images; "
        f"download_images({urls!r}, DownloadRule(), folder=Path({str(tmp_path)!r}), connect={web.connect!r}, "
        "workers=DownloadWorkers(processes=2, threads=2, shard_size=100))"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while time.monotonic() < until and not shard_names(tmp_path):
        time.sleep(0.02)
    workers = _children(run.pid)
    assert workers
    run.kill()
    run.wait()
    until = time.monotonic() + 5
    while any(_is_alive(worker) for worker in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_is_alive(worker) for worker in workers)
    _complete_and_check(web, tmp_path, urls)


def _complete_and_check(web, folder: Path, urls: list[str]) -> None:
    """Every URL has one record, its own bytes, and those of finished shards were asked for once."""
    before = set(read_downloads(folder)["url"].to_pylist())
    asked = Counter(web.asked)
    (folder / ("0" * 32 + ".tar")).write_bytes(b"torn")
    made = download_images(urls, QUICK, folder=folder, connect=web.connect, workers=DownloadWorkers(processes=2))
    assert made.recorded_before == len(before)
    assert not (folder / ("0" * 32 + ".tar")).exists()
    assert not (folder / ".partial").exists()
    records = pa.concat_tables([read_downloads(folder)])
    assert sorted(records["url"].to_pylist()) == sorted(urls)
    assert set(records["outcome"].to_pylist()) == {"success"}
    seeds = [int(one.rpartition("/")[2]) for one in records["url"].to_pylist()]
    assert list(read_image_bytes(folder, records)) == [picture(seed) for seed in seeds]
    assert all(
        web.asked[one.removeprefix(f"http://{HOST}")] == asked[one.removeprefix(f"http://{HOST}")] == 1
        for one in before
    )


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_one_failure_of_nearly_all_urls_stops_the_run_unless_it_is_tolerated(tmp_path):
    urls = [f"http://host{i}.invalid/x.png" for i in range(120)]
    rule = DownloadRule(retries=0)
    with pytest.raises(DownloadError, match=r"got `dns` for 100 of the first 100 .* tolerate `dns`"):
        download_images(urls, rule, folder=tmp_path)
    assert read_downloads(tmp_path).num_rows == 0
    made = download_images(urls, rule, folder=tmp_path, failures=FailureRule(tolerate=["dns"]))
    assert made.outcomes == {"dns": 120}


def test_a_small_pool_stops_where_all_its_urls_end_with_one_trouble_that_may_pass(web, tmp_path):
    rule, away = DownloadRule(retries=0), [f"http://host{i}.invalid/x.png" for i in range(5)]
    with pytest.raises(DownloadError, match=r"got `dns` for 5 of the first 5 .* tolerate `dns`") as stopped:
        download_images(away, rule, folder=tmp_path, workers=ONE)
    assert stopped.value.passing
    assert read_downloads(tmp_path).num_rows == 0
    assert download_images(away[:4], rule, folder=tmp_path, workers=ONE).outcomes == {"dns": 4}  # too few to tell
    tolerant = FailureRule(tolerate=["dns"])
    made = download_images(away, rule, folder=tmp_path / "b", failures=tolerant, workers=ONE)
    assert made.outcomes == {"dns": 5}
    web.fallback = numbered
    mixed = [*away, url(1)]
    made = download_images(mixed, rule, folder=tmp_path / "c", connect=web.connect, workers=ONE)
    assert made.outcomes == {"dns": 5, "success": 1}  # some are there: it is those that are not
    gone = [url(f"gone{i}") for i in range(6)]
    made = download_images(gone, rule, folder=tmp_path / "d", connect=web.connect, workers=ONE)
    assert made.outcomes == {"http_404": 6}  # the site answers


def test_urls_that_failed_and_fail_again_are_recorded_anew_whatever_their_number(tmp_path):
    rule, urls = DownloadRule(retries=0), [f"http://host{i}.invalid/x.png" for i in range(7)]
    download_images(urls, rule, folder=tmp_path, failures=FailureRule(tolerate=["dns"]), workers=ONE)
    assert download_images(urls, rule, folder=tmp_path, retry=Retry(), workers=ONE).outcomes == {"dns": 7}
    assert set(read_downloads(tmp_path, ["attempt"])["attempt"].to_pylist()) == {2}


@given(sizes=st.lists(st.integers(0, 250), max_size=12))
def test_tables_of_partitions_are_gathered_until_all_are_watched_or_there_are_too_few_in_all(sizes):
    numbers = iter(range(sum(sizes)))
    names = [[str(next(numbers)) for _ in range(size)] for size in sizes]
    tables = [pa.table([part, part, [1] * len(part)], schema=URLS) for part in names]
    gathered = list(_gathered(tables))
    assert [one for table in gathered for one in table["url"].to_pylist()] == [one for part in names for one in part]
    lengths = [table.num_rows for table in gathered]
    assert min(lengths) >= 100 or len(lengths) == 1


@contextmanager
def _files_at_most(size: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_is_one_clear_error_and_nothing_is_half_recorded(web, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "BMP")
    web.fallback = lambda path: Answer(200, stream.getvalue()) if path[1:].isdigit() else None
    urls = [url(i) for i in range(20)]
    rule = DownloadRule(retries=0)
    with _files_at_most(300_000), pytest.raises(DownloadError, match=r"have room for the pictures; got .*too large"):
        download_images(urls, rule, folder=tmp_path, connect=web.connect, workers=ONE)
    assert read_downloads(tmp_path).num_rows == 0
    assert download_images(urls, rule, folder=tmp_path, connect=web.connect, workers=ONE).outcomes == {"success": 20}


def test_a_folder_belongs_to_one_download_at_a_time(web, tmp_path):
    release = threading.Event()
    web.fallback = lambda path: release.wait(30) and numbered(path)
    first = threading.Thread(
        target=download_images,
        args=([url(0)], DownloadRule(timeout_s=30)),
        kwargs={"folder": tmp_path, "connect": web.connect},
    )
    first.start()
    until = time.monotonic() + 30
    while not (tmp_path / ".lock").exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    with pytest.raises(DownloadError, match="one download at a time"):
        download_images([url(1)], QUICK, folder=tmp_path, connect=web.connect)
    release.set()
    first.join()
    assert read_downloads(tmp_path, ["url", "outcome"]).to_pylist() == [{"url": url(0), "outcome": "success"}]


def test_no_urls_are_no_work(tmp_path):
    made = download_images([], QUICK, folder=tmp_path / "new")
    assert (made.urls, made.fetched, made.outcomes) == (0, 0, {})
    assert read_downloads(tmp_path / "new").num_rows == 0


@pytest.mark.parametrize("name", ["processes", "threads", "shard_size"])
def test_a_width_below_one_is_refused(name):
    with pytest.raises(DownloadError, match=f"`{name}` must be 1 or more; got `0`"):
        DownloadWorkers(**{name: 0})


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="`folder` must be writable"):
        download_images(["http://a.test/"], QUICK, folder=tmp_path / "file")


def test_a_worker_that_cannot_begin_says_why(tmp_path):
    lock = tmp_path / "gone" / ".workers"  # as on a disk that becomes read-only while workers start
    workers = worker_pool(1, initializer=start_worker, initargs=(QUICK, {}, lock, None))
    with workers as pool, pytest.raises(FileNotFoundError, match=r"\.workers"):
        pool.submit(run_shard, None).result(60)


def test_a_shard_whose_pictures_no_decoder_can_be_started_for_says_why(web, tmp_path):
    class OutOfHandles(PictureChecks):
        def check(self, _data):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    (tmp_path / "work").mkdir()
    with pa.OSFile(str(tmp_path / "work" / URLS_FILE), "wb") as sink, pa.ipc.new_file(sink, URLS) as writer:
        writer.write_table(pa.Table.from_pylist([{"url": url(1), "key": "1", "first_attempt": 1}], URLS))
    web.put("/1", Answer(200, picture(1)))
    places = {"name": "a", "work": tmp_path / "work", "folder": tmp_path, "tar": "a.tar"}
    task = ShardTask(**places, threads=1, tolerate=frozenset())
    client = WebClient(QUICK, parse_connect(web.connect))
    with OutOfHandles(max_pixels=9) as checks, pytest.raises(DownloadError, match=r"got `.*Too many open files`"):
        ShardRun(task, client, checks, None).run()


@pytest.mark.parametrize("content", [b"", b"PAR1 torn"])
def test_records_that_cannot_be_read_are_named(tmp_path, content):
    (tmp_path / ("a" * 32 + ".parquet")).write_bytes(content)
    with pytest.raises(DownloadError, match=r"records `.*a\.parquet` must be readable"):
        read_downloads(tmp_path)


@given(n=st.integers(0, 500), size=st.integers(1, 120), processes=st.integers(1, 5))
def test_shards_hold_every_url_once_in_nearly_equal_parts(n, size, processes):
    pending = pa.table(
        {"url": [str(i) for i in range(n)], "key": [str(i) for i in range(n)], "first_attempt": [1] * n}, URLS
    )
    shards = _cut(pending, size, processes)
    assert [one for shard in shards for one in shard["url"].to_pylist()] == pending["url"].to_pylist()
    lengths = {shard.num_rows for shard in shards}
    assert not lengths or (max(lengths) <= size and max(lengths) - min(lengths) <= 1)


@pytest.mark.slow
def test_a_worker_loads_nothing_of_what_resizes_logs_or_trains():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_loaded_by_a_worker).result() == []


def _loaded_by_a_worker() -> list[str]:
    _import_img2dataset()
    return [name for name in ("torch", "wandb", "albumentations") if getattr(sys.modules.get(name), "__file__", None)]
