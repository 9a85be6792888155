"""A headless Chromium, driven over the DevTools protocol: what the tests of the report share."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
QUIET = ("--no-first-run", "--disable-extensions", "--disable-background-networking")
PATIENCE = 30.0  # seconds for what a page is waited for

Message = dict[str, Any]


def found() -> str | None:
    """Where a browser is, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab. Messages go through a pipe, each ends with a zero byte."""

    def __init__(self, reads: BinaryIO, writes: BinaryIO) -> None:
        self._in, self._out = reads, writes
        self._count, self._rest, self.events = 0, b"", list[Message]()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    _session: str | None = None

    def send(self, method: str, **params: Any) -> Message:
        """A command and its answer; events that come meanwhile are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a page from disk, and wait until it shows what the fragment asks for."""
        self.events.clear()
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=page.resolve().as_uri() + fragment)
        self.wait("Boolean(document.documentElement?.dataset.shown)")

    def value(self, expression: str) -> Any:
        """What an expression is in the page; AssertionError where it throws."""
        how = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.send("Runtime.evaluate", **how)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true; AssertionError if it never is."""
        end = time.monotonic() + PATIENCE
        while not self.value(condition):
            assert time.monotonic() < end, (condition, self.complaints())
            time.sleep(0.02)

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, and what was thrown."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [json.dumps(e["params"]) for e in self.events if e.get("method") in kinds]

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        sent = (e for e in self.events if e.get("method") == "Network.requestWillBeSent")
        return [e["params"]["request"]["url"] for e in sent]

    def _next(self) -> Message:
        while b"\0" not in self._rest:
            part = os.read(self._in.fileno(), 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A running browser with its own empty profile."""
    command = found()
    assert command is not None
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    flags = (*FLAGS, *QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe")
    # The pipe is read at descriptor 3 and written at 4; those above 9 need another shell than sh.
    places = f"exec 8<&{their_in} 9>&{their_out} 3<&8 4>&9"
    words = ["bash", "-c", f'{places}; exec "$0" "$@"', command, *flags, "about:blank"]
    process = subprocess.Popen(
        words, pass_fds=(their_in, their_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(their_in)
    os.close(their_out)
    try:
        with os.fdopen(our_in, "rb") as reads, os.fdopen(our_out, "wb") as writes:
            yield Browser(reads, writes)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)
