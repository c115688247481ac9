"""Another real browser: headless Firefox, told what to do by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/).

    firefox = Firefox(self)
    alice = firefox.window("http://127.0.0.1:5380/")
    alice.fill("#login-form [name=name]", "alice")

Each window has its own storage, as on another machine.
"""

from __future__ import annotations

import json
import queue
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Event, Request, TextMessage

from tests.daemon import PATIENCE

#: Under any of these names Firefox may be installed.
NAMES = ("firefox-esr", "firefox")
#: It is slow to start where there is much else to do.
START = 120.0
#: There is a mouse, though a machine without a screen has none; and nobody is asked anything.
SETTINGS = {
    "ui.primaryPointerCapabilities": 6,
    "ui.allPointerCapabilities": 6,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
#: How WebDriver writes the keys that write nothing.
KEYS = {"Enter": "\ue007", "Tab": "\ue004", "Escape": "\ue00c", "ArrowDown": "\ue015", "Shift": "\ue008"}


class Firefox:
    """A Firefox, for as long as a test runs."""

    def __init__(self, test: SynchronousTestCase) -> None:
        """Start it.

        @raise SkipTest: there is none on this machine.
        """
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            raise SkipTest(f"no Firefox here: install one of {', '.join(NAMES)}")
        profile = Path(test.mktemp()).resolve()
        profile.mkdir()
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in SETTINGS.items())
        (profile / "user.js").write_text("\n".join(lines))
        process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"],
            env={"HOME": str(profile), "PATH": "/usr/bin:/bin", "MOZ_CRASHREPORTER_DISABLE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        test.addCleanup(process.wait)
        test.addCleanup(process.kill)
        assert process.stderr is not None
        host, port = _where(process.stderr)
        self._count = 0
        self._connection = socket.create_connection((host, port), PATIENCE)
        test.addCleanup(self._connection.close)
        self._spoken = WSConnection(ConnectionType.CLIENT)
        self._events: Iterator[Event] = iter(())
        self._connection.sendall(self._spoken.send(Request(f"{host}:{port}", "/session")))
        while not isinstance(self._next(), AcceptConnection):
            pass
        self.ask("session.new", capabilities={})

    def window(self, address: str) -> Window:
        """A window of its own, on the page at this address."""
        person = self.ask("browser.createUserContext")["userContext"]
        context = self.ask("browsingContext.create", type="tab", userContext=person)["context"]
        window = Window(self, context)
        window.go(address)
        return window

    def ask(self, method: str, **parameters: Any) -> Any:
        """What a command of WebDriver gives."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        self._connection.sendall(self._spoken.send(TextMessage(json.dumps(command))))
        while (answer := json.loads(self._message())).get("id") != self._count:
            pass
        if answer["type"] == "error":
            raise AssertionError(f"{method}: {answer['error']}: {answer['message']}")
        return answer["result"]

    def _message(self) -> str:
        text = ""
        while True:
            event = self._next()
            if isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    return text

    def _next(self) -> Event:
        """The next thing that Firefox says."""
        while (event := next(self._events, None)) is None:
            arrived = self._connection.recv(1 << 16)
            if not arrived:
                raise AssertionError("Firefox has hung up")
            self._spoken.receive_data(arrived)
            self._events = self._spoken.events()
        return event


class Window:
    """One window."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    def go(self, address: str) -> None:
        """Show what is at this address, and wait until it is there."""
        self._firefox.ask("browsingContext.navigate", context=self._context, url=address, wait="complete")

    def reload(self) -> None:
        """Load the page anew."""
        self._firefox.ask("browsingContext.reload", context=self._context, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """What an expression is in the page; of a promise, what it promises."""
        script = f"Promise.resolve({expression}).then((found) => JSON.stringify(found ?? null))"
        answer = self._firefox.ask(
            "script.evaluate", expression=script, target={"context": self._context}, awaitPromise=True
        )
        if answer["type"] == "exception":
            raise AssertionError(f"{expression[:200]}: {answer['exceptionDetails']['text']}")
        return json.loads(answer["result"]["value"])

    def until(self, expression: str) -> None:
        """Wait until this is true in the page."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                shown = self.evaluate("document.body.innerText")
                raise AssertionError(f"it did not happen: {expression}\n{shown}")
            time.sleep(0.05)

    def see(self, selector: str, text: str = "") -> None:
        """Wait until this is shown, with this text in it."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        self.until(
            f"{found}.some((each) => each.checkVisibility() && each.innerText.includes({json.dumps(text)}))"
        )

    def click(self, selector: str) -> None:
        """Click on this, as soon as it is there."""
        self.see(selector)
        self.evaluate(f"void document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector: str, text: str) -> None:
        """Write this there, by keys."""
        self.see(selector)
        self.evaluate(f"void document.querySelector({json.dumps(selector)}).focus()")
        self.press(*text)

    def press(self, *keys: str) -> None:
        """Press these keys, one after the other; C{Shift+Enter}: both at once."""
        actions = []
        for key in keys:
            together = [KEYS.get(each, each) for each in (key.split("+") if len(key) > 1 else [key])]
            actions += [{"type": "keyDown", "value": each} for each in together]
            actions += [{"type": "keyUp", "value": each} for each in reversed(together)]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._firefox.ask("input.performActions", context=self._context, actions=[source])


def _where(said: IO[str]) -> tuple[str, int]:
    """Where Firefox, which says so on this stream, listens to WebDriver."""
    found: queue.SimpleQueue[re.Match[str] | None] = queue.SimpleQueue()

    def read() -> None:
        with said:
            for line in said:
                if place := re.search(r"WebDriver BiDi listening on ws://(.*):(\d+)", line):
                    found.put(place)
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    place = found.get(timeout=START)
    if place is None:
        raise AssertionError("Firefox ended before it listened")
    return place[1], int(place[2])
