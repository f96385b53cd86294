"""The first screen of a report as a picture, as the documentation shows it.

`python -m tests.report_picture .evenly/reports/demo-….html docs/report.png` writes that of the demo anew.
"""

import base64
import sys
import tempfile
from pathlib import Path

from tests.browser import browser

WIDTH, HEIGHT = 1280, 1180


def main(page: str, picture: str) -> None:
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        tab.show(Path(page).resolve(), width=WIDTH)
        tab.call("Emulation.setScrollbarsHidden", hidden=True)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
        shot = tab.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    Path(picture).write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
