"""A Chromium that is asked nothing while it is measured.

What drives browsers for tests listens to all that happens in them, and takes a core for it while a page
loads.  Here a tab is let alone until it is done; then it is asked when the browser painted what (Element
Timing).
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Ping, Request, TextMessage

#: Under any of these names it may be installed.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,800",
    "--remote-debugging-port=0",
)
#: How long it may take to start, to stop, and to show something, in seconds.
PATIENCE = 30.0
#: When the first element of this kind was painted.
_PAINTED = """new Promise((tell) => new PerformanceObserver((list) => {
  const [first] = list.getEntries().filter(({identifier}) => identifier === %s);
  if (first) tell(first.renderTime);
}).observe({type: "element", buffered: true}))"""


def program() -> str | None:
    """Where it is on this machine, if it is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One that runs, with a new profile."""

    def __init__(self, program: str) -> None:
        """Start it, and talk to it by its DevTools protocol."""
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        command = [program, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        said = Path(self._profile.name, "DevToolsActivePort")
        deadline = time.monotonic() + PATIENCE
        while not (said.exists() and said.read_text().count("\n")):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise OSError("Chromium does not start")
            time.sleep(0.05)
        port, path = said.read_text().split()
        self._socket = socket.create_connection(("127.0.0.1", int(port)), PATIENCE)
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._socket.sendall(self._wire.send(Request(host=f"127.0.0.1:{port}", target=path)))
        self._number = 0
        self._heard = ""
        self._frames: list[dict[str, Any]] = []
        self._frame(AcceptConnection)

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The answer to a command."""
        self._number += 1
        frame: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            frame["sessionId"] = session
        self._socket.sendall(self._wire.send(TextMessage(json.dumps(frame))))
        while True:
            answer = self._frame(TextMessage)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise OSError(f"Chromium refuses {method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _frame(self, kind: type) -> dict[str, Any]:
        """The next thing of this kind that it says."""
        while True:
            for event in self._wire.events():
                if isinstance(event, Ping):
                    self._socket.sendall(self._wire.send(event.response()))
                elif isinstance(event, TextMessage):
                    self._heard += event.data
                    if event.message_finished:
                        heard, self._heard = self._heard, ""
                        self._frames.append(json.loads(heard))
                elif isinstance(event, kind):
                    return {}
            if self._frames:
                return self._frames.pop(0)
            self._wire.receive_data(self._socket.recv(1 << 20))

    def close(self) -> None:
        """End it, and forget what it kept."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._profile.cleanup()


class Tab:
    """One of its tabs."""

    def __init__(self, chromium: Chromium, address: str) -> None:
        """Open it at this address, and do not look what becomes of it."""
        self._chromium = chromium
        self._target: str = chromium.ask("Target.createTarget", url=address)["targetId"]
        self._session = ""

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        if not self._session:
            answer = self._chromium.ask("Target.attachToTarget", targetId=self._target, flatten=True)
            self._session = answer["sessionId"]
        return self._chromium.ask(method, self._session, **parameters)

    def go(self, address: str) -> None:
        """Go on to this address."""
        self._ask("Page.navigate", url=address)

    def reload(self) -> None:
        """Load it again."""
        self._ask("Page.reload")

    def run(self, script: str) -> Any:
        """What a script results in, or its promise."""
        answer = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise OSError(f"a script failed: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def painted(self, kind: str) -> float:
        """When the first element of this kind was painted: milliseconds from the beginning of the navigation.

        @param kind: what C{elementtiming} calls it.
        """
        painted: float = self.run(_PAINTED % json.dumps(kind))
        return painted

    def close(self) -> None:
        """Close it."""
        self._chromium.ask("Target.closeTarget", targetId=self._target)
