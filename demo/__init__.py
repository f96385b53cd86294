"""A web of evenly's own: OpenMoji's pictures, a pool of captions with known faults, and a loopback server for them.

`make_demo` makes the folder, `loopback_web` serves it, and `demo.truth.compare` says afterwards how many of the
injected faults were found. The pipeline reads the pool and the web; the truth file is read by the demo command alone.
"""

from demo.make import make_demo
from demo.web import loopback_web

__all__ = ["loopback_web", "make_demo"]
