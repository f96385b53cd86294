"""A web of evenly's own: OpenMoji's pictures, a pool of captions with known faults, and a loopback server for them.

`make_demo` makes the folder, `loopback_web` serves it, and `evenly.demo.truth.compare_with_truth` says afterwards how
many of the injected faults were found. The pipeline reads the pool and the web; the truth file is read by the demo
command alone.
"""

if __name__ != "evenly.demo":
    raise ImportError(
        f"this package is `evenly.demo`; it was imported as `{__name__}`. Install evenly, then import that."
    )

from evenly.demo.make import make_demo
from evenly.demo.web import loopback_web

__all__ = ["loopback_web", "make_demo"]
