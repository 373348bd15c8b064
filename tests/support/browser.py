"""A headless Chromium, driven by its own chromedriver over W3C WebDriver: plain JSON over HTTP, no package
needed.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1440,1000",
)
POLL_SECONDS = 0.02
ENOUGH_SECONDS = 20.0
"""What a page shows, it shows within this time, however busy the machine is."""


def missing() -> str:
    """Why there can be no browser here; empty where there can."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed (Debian: chromium, chromium-driver)" if absent else ""


class Message(NamedTuple):
    """A line of the browser's console: level as SEVERE or WARNING."""

    level: str
    text: str


class Browser:
    """One tab. Pages are waited for by what they show, never by time."""

    def __init__(self, port: int, folder: Path) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        options = {"args": [*FLAGS, f"--user-data-dir={folder}"], "binary": shutil.which("chromium")}
        wanted = {
            "browserName": "chrome",
            "pageLoadStrategy": "none",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def open(self, url: str, *shown: str) -> float:
        """Go to a page and wait until it shows all of these texts; seconds that it took.

        Raises AssertionError with the page's text where it does not.
        """
        started = time.perf_counter()
        self._ask("POST", f"{self._session}/url", {"url": "about:blank"})
        self._ask("POST", f"{self._session}/url", {"url": url})
        self.wait_for(*shown)
        return time.perf_counter() - started

    def wait_for(self, *shown: str) -> None:
        """Wait until the page shows these texts, in whatever case."""
        deadline = time.monotonic() + ENOUGH_SECONDS
        while (text := self.text()) is not None:
            absent = [one for one in shown if one.lower() not in text.lower()]
            if not absent:
                return
            assert time.monotonic() < deadline, f"{absent} not shown in:\n{text}"
            time.sleep(POLL_SECONDS)

    def text(self) -> str:
        """What the page shows as text."""
        found: str = self.run("return document.body ? document.body.innerText : ''")
        return found.replace("\N{NO-BREAK SPACE}", " ")

    def wait_for_frame(self, *shown: str) -> None:
        """Wait until the page's frame shows these texts; a sandboxed one can be looked into only from
        outside."""
        self.wait_until("return document.querySelector('iframe') !== null")
        found = self._ask("POST", f"{self._session}/element", {"using": "css selector", "value": "iframe"})
        self._ask("POST", f"{self._session}/frame", {"id": found})
        try:
            self.wait_for(*shown)
        finally:
            self._ask("POST", f"{self._session}/frame", {"id": None})

    def wait_until(self, script: str) -> None:
        """Wait until a script returns something true."""
        deadline = time.monotonic() + ENOUGH_SECONDS
        while not self.run(script):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(POLL_SECONDS)

    def run(self, script: str) -> Any:
        """What a script returns."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._ask("GET", f"{self._session}/screenshot"))

    def console(self) -> list[Message]:
        """What the pages have written on the console since the last call."""
        lines = self._ask("POST", f"{self._session}/se/log", {"type": "browser"})
        return [Message(line["level"], line["message"]) for line in lines]

    def requests(self) -> list[str]:
        """Addresses that the pages have asked for since the last call."""
        lines = self._ask("POST", f"{self._session}/se/log", {"type": "performance"})
        events = [json.loads(line["message"])["message"] for line in lines]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        """End the browser."""
        self._ask("DELETE", self._session)
        self._connection.close()

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = json.loads(self._connection.getresponse().read())["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{answer['error']}: {answer['message'].splitlines()[0]}")
        return answer


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="surgecast-browser-", ignore_cleanup_errors=True) as folder,
        subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as driver,
    ):
        try:
            assert driver.stdout is not None
            port = next(int(line.split()[-1].strip(".")) for line in driver.stdout if "successfully" in line)
            opened = Browser(port, Path(folder))
            try:
                yield opened
            finally:
                opened.close()
        finally:
            driver.terminate()
