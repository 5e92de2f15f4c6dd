"""A page in a real browser: chromium without a window, driven by the WebDriver protocol of its chromedriver."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = "needs chromium and chromedriver on the path"
KEYS = {
    "Tab": "\ue004",
    "Right": "\ue014",
    "Left": "\ue012",
    "Escape": "\ue00c",
    "Enter": "\ue007",
    "End": "\ue010",
}


class Browser:
    """One window. What it asks is sent to chromedriver and answered before a method returns."""

    def __init__(self, address: str, downloads: Path) -> None:
        self._address = address
        self.downloads = downloads
        options = {
            "binary": CHROMIUM,
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
            "prefs": {"download.default_directory": str(downloads)},
        }
        asked = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self._address += f"/session/{self._ask('POST', '/session', asked)['sessionId']}"

    def _ask(self, method: str, path: str, value: Any = None) -> Any:
        data = None if method != "POST" else json.dumps(value or {}).encode()
        request = Request(self._address + path, data=data, method=method)
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path, address: str = "") -> None:
        """Open a page anew; ``address`` is what follows "#", with it."""
        self._ask("POST", "/url", {"url": "about:blank"})
        self._ask("POST", "/url", {"url": page.resolve().as_uri() + address})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns, past the page's own policy."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_until_told(self, script: str, *arguments: Any) -> Any:
        """Return what a script gives to its last argument, a function."""
        return self._ask("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def press(self, *keys: str) -> None:
        """Press keys one after another, by their names."""
        steps = [{"type": kind, "value": KEYS[key]} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": steps}]})

    def point(self, x: float, y: float) -> None:
        """Move the pointer to a place of what is seen."""
        step = {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
        self._ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "m", "actions": [step]}]})

    def tell(self, command: str, **given: Any) -> Any:
        """Send a command of the developers' protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": given})

    def size(self, width: int, height: int = 900) -> None:
        """Give what is seen its size in CSS pixels."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name: str) -> None:
        """Ask for the "light" or the "dark" scheme."""
        self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path: Path) -> None:
        """Write what the whole page looks like."""
        found = self.tell("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        self._ask("DELETE", "")


@contextmanager
def browsing() -> Iterator[Browser]:
    """Yield a browser that is closed at the end; starting it takes seconds."""
    assert DRIVER is not None
    with (
        tempfile.TemporaryDirectory() as downloads,
        subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, encoding="utf-8") as process,
    ):
        try:
            assert process.stdout is not None
            found = next(
                filter(None, (re.search(r"successfully on port (\d+)", line) for line in process.stdout))
            )
            browser = Browser(f"http://127.0.0.1:{found[1]}", Path(downloads))
            yield browser
            browser.close()
        finally:
            process.terminate()
