"""Calls of a rebuild of 300 captions in a process of its own, as JSON on stdout: structure.py counts by it.

python tests/traced_rebuild.py CHECKOUT
"""

import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType

NOUNS = ("dog", "cat", "bird", "car", "tree", "house", "boat", "flower", "bridge", "apple")
RECIPE = """
name: traced
seed: 1
sources: [{kind: csv, path: pool.csv, url: null, caption: text}]
curate:
  text: {caption_length: {}}
  match: {}
  preselect: {headroom: 2.0}
  deduplicate: {captions: {scope: pool}}
  balance: {t: 20}
"""


@dataclass
class Trace:
    """The files of a checkout that calls enter, and frames of the checkout above functions of curation.

    A function of curation counts where another room calls it, by the least of its frames. Calls while a module is
    imported do not count.
    """

    root: Path
    files: set[str] = field(default_factory=set)
    frames: dict[str, int] = field(default_factory=dict)
    paths: dict[CodeType, str] = field(default_factory=dict)

    def __call__(self, frame: FrameType, event: str, _value: object) -> None:
        """A profile function."""
        code = frame.f_code
        if event != "call" or not (path := self.path_of(frame)) or code.co_name.startswith(("<", "__")):
            return
        caller = None if frame.f_back is None else self.path_of(frame.f_back)
        is_entry = caller is not None and path.startswith("curation/") and not caller.startswith("curation/")
        if path in self.files and not is_entry:
            return
        ours = [one for one in callers(frame) if self.path_of(one)]
        if any(one.f_code.co_name == "<module>" for one in ours):
            return
        self.files.add(path)
        if is_entry and ours:
            name = f"{path}:{code.co_firstlineno} {code.co_name}"
            self.frames[name] = min(len(ours), self.frames.get(name, len(ours)))

    def path_of(self, frame: FrameType) -> str:
        """The file of a frame below the checkout; "" for one of another place."""
        code = frame.f_code
        if code not in self.paths:
            path = os.path.relpath(os.path.realpath(code.co_filename), self.root)
            self.paths[code] = "" if path.startswith((".", "tests", "<")) else path  # `<frozen os>` is no file of ours
        return self.paths[code]


def callers(frame: FrameType) -> Iterator[FrameType]:
    """The frames above one, nearest first."""
    while (caller := frame.f_back) is not None:
        frame = caller
        yield frame


def main() -> None:
    """Rebuild by the `evenly` of a checkout, and print what was entered."""
    trace = Trace(root=Path(sys.argv[1]).resolve())
    sys.path.insert(0, str(trace.root / "src"))
    from evenly.flows.__main__ import main as command

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        rows = [f"{row} {NOUNS[row % 10]}s and a {NOUNS[(7 * row + 3) % 10]} in the sun" for row in range(300)]
        Path(folder, "pool.csv").write_text("\n".join(["text", *rows, ""]))
        Path(folder, "traced.yaml").write_text(RECIPE)
        sys.argv = ["evenly", "rebuild", f"{folder}/traced.yaml", "--root", f"{folder}/workspace"]
        threading.setprofile(trace)
        sys.setprofile(trace)
        try:
            command()
        except SystemExit as ended:
            if ended.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    sys.stdout.write(json.dumps({"files": sorted(trace.files), "frames": trace.frames}))


if __name__ == "__main__":
    main()
