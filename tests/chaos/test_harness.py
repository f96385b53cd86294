"""The harness itself: moments reach all steps, and what a fault leaves is seen. The faults run by `make chaos`."""

import fcntl
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import lance
import pyarrow as pa
import pytest

from tests.chaos.command import End, Point, role_of
from tests.chaos.faults import FAULTS
from tests.chaos.relay import relay
from tests.chaos.timeline import Phase, Timeline
from tests.chaos.workspace import Names, held_locks, unreferenced

TIMELINE = Timeline(
    (
        Phase("collect", "", 4.0, frozenset({"server"})),
        Phase("download", "collect", 2.0, frozenset({"server", "worker"})),
        Phase("publish", "download", 0.0, frozenset({"server"})),
        Phase("end", "publish", 1.0, frozenset()),
    )
)


def test_moments_reach_every_phase_and_lie_within_it():
    points = TIMELINE.points(8, "1")
    assert Counter(point.step for point in points) == dict.fromkeys(("collect", "download", "publish", "end"), 2)
    assert {point.after for point in points if point.step == "download"} == {"collect"}
    assert all(0 <= point.delay_s <= 4 for point in points)
    assert points == TIMELINE.points(8, "1")
    assert points != TIMELINE.points(8, "2")


def test_moments_of_a_role_lie_where_such_processes_are():
    assert {point.step for point in TIMELINE.points(5, "1", "worker")} == {"download"}
    assert TIMELINE.points(5, "1", "ray worker") == []


def test_at_least_sixty_kills_and_twelve_kinds_of_fault_are_run():
    here = {name: fault for name, fault in FAULTS.items() if not name.startswith("ray_")}
    assert sum(fault.times * fault.kills for fault in here.values()) >= 60
    assert len(here) >= 12
    assert all(fault.disturb.__doc__ for fault in FAULTS.values())


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("python -P tether.py uvicorn --factory prefect.server.api.server:create_app", "server"),
        ("python -c from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5)", "worker"),
        ("python -c from multiprocessing.forkserver import main; main(13, 14, [])", "worker"),
        ("python -c from multiprocessing.resource_tracker import main;main(4)", "tracker"),
        ("ray::partitions", "ray worker"),
        ("git rev-parse HEAD", "other"),
    ],
)
def test_a_process_is_known_by_its_command_line(line, role):
    assert role_of(line) == role


def test_files_that_an_undisturbed_run_does_not_leave_are_told(tmp_path):
    for run in ("a", "b", "c"):
        for name in (f"ledger/rows-{'ab' * 8}.arrow", f"shards/{run * 32}.tar", "lock"):
            (tmp_path / run / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / run / name).touch()
    undisturbed = Names.of(tmp_path / "a").with_stable(Names.of(tmp_path / "b"))
    assert not list(undisturbed.differences(Names.of(tmp_path / "c")))
    (tmp_path / "c" / "ledger" / f".rows-{'cd' * 8}.arrow.x1y2z3_a.tmp").touch()
    (tmp_path / "c" / "shards" / ".partial").mkdir()
    (tmp_path / "c" / "ledger" / f"rows-{'ab' * 8}.arrow").unlink()
    told = list(undisturbed.differences(Names.of(tmp_path / "c")))
    assert f"missing: ledger/rows-{'ab' * 8}.arrow" in told
    assert "left behind: ledger/.rows-#.arrow.#.tmp" in told
    assert "left behind: shards/.partial/" in told


def test_a_data_file_of_no_version_is_told(tmp_path):
    lance.write_dataset(pa.table({"a": [1, 2]}), str(tmp_path / "rows.lance"))
    assert unreferenced(tmp_path) == []
    (tmp_path / "rows.lance" / "data" / "0f.lance").touch()
    assert unreferenced(tmp_path) == ["rows.lance/data/0f.lance"]


def test_a_lock_that_is_held_is_told(tmp_path):
    with (tmp_path / ".lock").open("w") as stream:
        assert held_locks(tmp_path) == []
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert held_locks(tmp_path) == [".lock"]


class _Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_arguments):
        pass


def test_a_relay_counts_goes_away_and_comes_back_on_its_port():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with relay(f"127.0.0.1:{server.server_port}") as web:
            url = f"http://127.0.0.1:{web.port}/a"
            assert urllib.request.urlopen(url).read() == b"ok"
            web.go()
            with pytest.raises(OSError, match="refused"):
                urllib.request.urlopen(url)
            web.come()
            assert urllib.request.urlopen(url).read() == b"ok"
            assert web.urls == ["http://127.0.0.1/a"] * 2
        server.shutdown()


def test_a_command_fails_plainly_with_a_line_and_no_traceback():
    def end(status, err):
        return End(status, 0.1, "", err, ())

    assert end(1, "collect 0.1 s\nevenly: the disk is full.\n").failed_plainly()
    assert not end(1, "").failed_plainly()
    assert not end(1, "Traceback (most recent call last):\nevenly: no\n").failed_plainly()
    assert not end(-9, "evenly: no\n").failed_plainly()


def test_a_moment_says_where_it_is():
    assert str(Point("download", "collect", 0.5)) == "download +0.50 s"
