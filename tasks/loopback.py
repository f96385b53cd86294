"""The demo's own web, made once and served on a loopback address while a run lasts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from evenly.demo import loopback_web, make_demo
from evenly.tasks.run import Run


@contextmanager
def loopback(run: Run, web: str | None) -> Iterator[Mapping[str, str]]:
    """Yield where the host names of the demo's web are to be reached; nothing where the recipe has no such web."""
    if web is None:
        yield run.connect
        return
    folder = run.cache / "demo"
    with run.progress.bar("drawing the demo's pictures", None) as advance:
        make_demo(folder, progress=advance)
    with loopback_web(folder) as connect:
        yield connect
