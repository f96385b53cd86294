"""Measure what pictures that are small as files and costly to decode take: processor time and memory of each.

Each kind of tests/hostile_pictures.py is checked and fingerprinted in a decoder process of its own, whose start (0.3 s)
is counted. The last column is the word that a download records.

Run: python -m benchmarks.hostile_pictures
"""

import resource
import subprocess
import sys
from pathlib import Path

from evenly.storage.web.errors import FetchError
from evenly.tasks.decoding import FINGERPRINT, PictureChecks

MAX_PIXELS = 80_000_000
_TESTS = Path(__file__).resolve().parent.parent / "tests"


def main() -> None:
    """Print a table of all kinds, or the row of the kind that is named."""
    sys.path.append(str(_TESTS))
    from tests.hostile_pictures import HOSTILE

    if len(sys.argv) > 1:
        sys.stdout.write(_row(sys.argv[1], HOSTILE[sys.argv[1]]()))
        return
    sys.stdout.write("| picture | bytes | processor s | MB | outcome |\n|---|---|---|---|---|\n")
    for name in HOSTILE:
        # A process for each: the system keeps only the largest memory of all children.
        subprocess.run([sys.executable, "-m", "benchmarks.hostile_pictures", name], check=True)  # noqa: S603


def _row(name: str, data: bytes) -> str:
    outcome = "kept"
    with PictureChecks(max_pixels=MAX_PIXELS, measure=FINGERPRINT) as checks:
        try:
            checks.check(data)
        except FetchError as error:
            outcome = error.outcome
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return f"| {name} | {len(data):,} | {used.ru_utime + used.ru_stime:.1f} | {used.ru_maxrss // 1024} | {outcome} |\n"


if __name__ == "__main__":
    main()
