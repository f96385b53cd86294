"""A headless Chromium that shows a page as a test wants it: width, light or dark, printed; and axe-core's findings."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
"""Where tests/install_services.sh puts axe-core."""
WAIT_S = 60


class Browser:
    """One tab of Chromium, by its DevTools protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._asked = 0

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """What a method of the protocol answers."""
        self._asked += 1
        self._connection.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=WAIT_S))
            if message.get("id") == self._asked:
                assert "error" not in message, message
                return message["result"]

    def show(self, page: Path, *, width: int = 1280, dark: bool = False, media: str = "screen") -> None:
        """Load a page in a window of this width."""
        self.call("Page.enable")
        self.call("Page.setBypassCSP", enabled=True)  # axe-core is put into the page
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + WAIT_S
        while self.evaluate("document.readyState") != "complete" or self.evaluate("location.href") != page.as_uri():
            assert time.monotonic() < deadline, f"{page} did not load"
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - JSON
        """The value of an expression in the page, awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def findings(self) -> list[dict[str, Any]]:
        """The violations that axe-core sees in the page: id, impact, help, and the elements with what is wrong."""
        self.evaluate(AXE.read_text(encoding="utf-8") + ";0")
        return json.loads(self.evaluate(_FINDINGS))


_FINDINGS = """
axe.run(document, {resultTypes: ['violations']}).then(results => JSON.stringify(results.violations.map(
  one => ({id: one.id, impact: one.impact, help: one.help,
           elements: one.nodes.map(node => node.target.join(' ') + ': ' + node.failureSummary)}))))
"""


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A Chromium with its files in the folder `profile`."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_page_address(profile), max_size=None) as connection:
            yield Browser(connection)
    finally:
        process.terminate()
        process.wait(WAIT_S)


def _page_address(profile: Path) -> str:
    """The address of the first tab, as soon as the browser says its port."""
    deadline = time.monotonic() + WAIT_S
    port_file = profile / "DevToolsActivePort"
    while not port_file.is_file() or not port_file.read_text().strip():
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.05)
    port = port_file.read_text().split()[0]
    while True:
        with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=WAIT_S) as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        if tabs:
            return str(tabs[0]["webSocketDebuggerUrl"])
        time.sleep(0.05)
