import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from evenly.storage.decoders import DecoderPool, DecodeTroubleError, process
from evenly.storage.decoders.process import cpu_budget_s, memory_budget
from tests.hostile_pictures import encoded

PICTURE = encoded("PNG", "RGB", (4, 4))
OPTIONS = {"max_pixels": 1_000}


def obey(data: bytes, options: dict[str, object]) -> dict[str, object]:
    """A job that does what its options say, as a decoder does what hostile bytes say."""
    match options.get("do"):
        case "spin":
            while True:
                pass
        case "allocate":
            return {"size": len(bytearray(1 << 32))}
        case "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "print":
            sys.stdout.write("noise\n")  # what libraries do
        case "draw":
            return {"name": "pixels", "bytes": memoryview(data * 3)}
        case "sleep":
            time.sleep(60)
    return {"pid": os.getpid(), "size": len(data), "threads": os.environ["OMP_NUM_THREADS"]}


def outcome_of(pool: DecoderPool, do: str) -> str:
    with pytest.raises(DecodeTroubleError) as caught:
        pool.run(PICTURE, {**OPTIONS, "do": do})
    return caught.value.outcome


@pytest.fixture(scope="module")
def pool():
    with DecoderPool(obey) as decoders:
        yield decoders


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends_soon(pid: int) -> bool:
    until = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(pid)


def test_one_process_answers_for_many_pictures_whatever_the_job_prints(pool):
    answers = [pool.run(PICTURE, {**OPTIONS, "do": do}) for do in ("", "print", "")]
    assert len({answer["pid"] for answer in answers}) == 1
    assert [answer["size"] for answer in answers] == [len(PICTURE)] * 3


def test_a_picture_of_many_megabytes_goes_through(pool):
    assert pool.run(bytes(20_000_000), OPTIONS)["size"] == 20_000_000


def test_bytes_come_back_beside_the_reply_and_more_than_four_a_pixel_are_none(pool):
    reply = pool.run(PICTURE, {"max_pixels": len(PICTURE), "do": "draw"})
    assert reply["name"] == "pixels"
    assert reply["bytes"].tobytes() == PICTURE * 3
    assert pool.run(PICTURE, OPTIONS)["size"] == len(PICTURE)
    with pytest.raises(DecodeTroubleError) as caught:
        pool.run(PICTURE, {"max_pixels": len(PICTURE) // 2, "do": "draw"})
    assert caught.value.outcome == "decoder_crashed"
    assert pool.run(PICTURE, OPTIONS)["size"] == len(PICTURE)


def test_a_job_that_does_not_end_is_too_slow_by_processor_time_and_the_next_picture_is_decoded(pool):
    before = os.times()
    assert outcome_of(pool, "spin") == "too_slow"
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < cpu_budget_s(0) + 3
    assert pool.run(PICTURE, OPTIONS)["size"] == len(PICTURE)


def test_a_job_that_takes_too_much_memory_is_a_verdict_of_that(pool):
    assert memory_budget(1_000, 100) < 1 << 32
    assert outcome_of(pool, "allocate") == "too_much_memory"
    assert pool.run(PICTURE, OPTIONS)["size"] == len(PICTURE)


def test_a_decoder_that_crashes_twice_is_the_pictures_fault_and_once_is_not(pool):
    assert outcome_of(pool, "die") == "decoder_crashed"
    first = pool.run(PICTURE, OPTIONS)["pid"]
    os.kill(first, signal.SIGKILL)
    assert pool.run(PICTURE, OPTIONS)["pid"] != first


def test_closing_ends_the_processes():
    decoders = DecoderPool(obey)
    pid = decoders.run(PICTURE, OPTIONS)["pid"]
    decoders.close()
    assert ends_soon(pid)


def test_many_threads_share_as_many_processes_as_were_asked_for():
    with DecoderPool(obey, size=2) as decoders:
        answers = list(decoders.map(lambda data: decoders.run(data, OPTIONS), [PICTURE] * 12))
    assert len({answer["pid"] for answer in answers}) <= 2


def test_the_thread_that_first_asked_may_end():
    with DecoderPool(obey) as decoders:
        pids: list[int] = []
        thread = threading.Thread(target=lambda: pids.append(decoders.run(PICTURE, OPTIONS)["pid"]))
        thread.start()
        thread.join()
        assert decoders.run(PICTURE, OPTIONS)["pid"] == pids[0]


_PARENT = """
import json, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from evenly.storage.decoders import DecoderPool
from test_pool import PICTURE, OPTIONS, obey
obey.__module__ = "test_pool"
pool = DecoderPool(obey)
print(pool.run(PICTURE, OPTIONS)["pid"], flush=True)
pool.run(PICTURE, {**OPTIONS, "do": "sleep"})
"""


def test_no_decoder_outlives_a_killed_parent_even_in_the_middle_of_a_picture():
    paths = json.dumps([str(Path(__file__).parent), str(Path(__file__).parents[2]), *sys.path])
    with subprocess.Popen([sys.executable, "-c", _PARENT, paths], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    assert ends_soon(pid)


def test_a_daemonic_process_that_may_have_no_children_can_decode():
    from multiprocessing import get_context

    context = get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sending.send(DecoderPool(obey).run(PICTURE, OPTIONS)), daemon=True)
    child.start()
    answer = receiving.recv()
    child.join()
    assert answer["size"] == len(PICTURE)
    assert ends_soon(answer["pid"])


def test_a_process_that_stands_still_is_given_up(monkeypatch):
    monkeypatch.setattr("evenly.storage.decoders.pool._IDLE_POLLS", 2)
    monkeypatch.setattr("evenly.storage.decoders.pool._POLL_S", 0.1)
    with DecoderPool(obey) as decoders:
        decoders.run(PICTURE, OPTIONS)
        assert outcome_of(decoders, "sleep") == "decoder_crashed"


def test_budgets_grow_with_the_picture():
    assert cpu_budget_s(80_000_000) == pytest.approx(12.0)
    assert memory_budget(80_000_000, 0) < 2.5e9
    assert cpu_budget_s(1) >= process.CPU_S
