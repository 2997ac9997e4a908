"""A real browser for tests: Chromium without a window, driven over a pipe by its DevTools protocol.

Needs nothing but the browser itself: messages are JSON ended by NUL, read from descriptor 3 and written to 4.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HANDOVER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Browser:
    """One page in one browser."""

    def __init__(self, program: str, profile: Path) -> None:
        """Start `program` with its files in the folder `profile`."""
        their_in, self._out = _high_pipe(write_ours=True)
        their_out, self._in = _high_pipe(write_ours=False)
        flags = [*FLAGS, f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium does not sandbox root
        self._process = subprocess.Popen(
            [sys.executable, "-c", HANDOVER, str(their_in), str(their_out), program, *flags],
            pass_fds=(3, 4, their_in, their_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        self._buffer = b""
        self._id = 0
        self._session = ""
        self.complaints: list[str] = []
        """Exceptions and console errors of the page, a broken content policy among them."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a DevTools method and give its result.

        Raises:
            RuntimeError: the browser refuses, such as to look into a page that is just being left.
        """
        self._id += 1
        message: dict[str, object] = {"id": self._id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._id:
                if "error" in answer:
                    raise RuntimeError(answer["error"]["message"])
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page; of a promise what it comes to."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, good: Callable[[Any], bool] = bool, timeout_s: float = 15.0) -> Any:
        """Evaluate `script` until `good` holds for its value, and give that.

        Raises:
            TimeoutError: it never did; says what the value was.
        """
        end = time.monotonic() + timeout_s
        value = None
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):  # on its way to another page
                value = self.run(script)
                if good(value):
                    return value
            time.sleep(0.05)
        raise TimeoutError(f"{script} stayed {value!r}; the page complained: {self.complaints}")

    def resize(self, width: int, height: int, scale: float = 1.0, phone: bool = False) -> None:
        """Give the page another size, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )

    def screenshot(self) -> bytes:
        """The page as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], 30)[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._in, 1 << 16)
            if not data:
                raise EOFError("the browser has ended")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        what = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(what["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.complaints.append(what["entry"]["text"])


def _high_pipe(write_ours: bool) -> tuple[int, int]:
    """A pipe as (their end, our end), their end inheritable and above the descriptors it will be moved to."""
    read, write = os.pipe()
    theirs, ours = (read, write) if write_ours else (write, read)
    high = fcntl.fcntl(theirs, fcntl.F_DUPFD, 10)
    os.close(theirs)
    os.set_inheritable(high, True)
    return high, ours


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Chromium of EDGEFACE_CHROMIUM, else of the PATH."""
    program = os.environ.get("EDGEFACE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium, or its path in EDGEFACE_CHROMIUM")
    with Browser(program, tmp_path / "profile") as opened:
        yield opened
