"""What a command costs with all the processes it starts. Not a benchmark: benchmarks use it."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_S = 0.1


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and by the processor; the largest sum of memory of all processes, shared pages once."""

    wall_s: float
    processor_s: float
    peak_bytes: int
    out: str


def cost_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end. Raises SystemExit, with what it said, where it fails."""
    before, started = _processor_s(), time.perf_counter()
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(command, env=environment, stdout=stdout, stderr=stderr)  # noqa: S603 - our own
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(_memory(pid) for pid in _family(process.pid)))
            time.sleep(_LOOK_S)
        wall_s = time.perf_counter() - started
        stdout.seek(0)
        stderr.seek(0)
        out, said = stdout.read(), stderr.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}: {said[-2000:]}")
    return Cost(wall_s, _processor_s() - before, peak, out)


def _processor_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))
    except OSError:  # it has ended
        return


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
