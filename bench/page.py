"""How soon the web page shows a message, with a large mailbox behind it.

    python -m bench.page

A real headless Chromium opens the page, logged in by its token, on a mailbox of so many
messages: delivered ones, and as many that wait and are delivered while the page loads.
Measured from the beginning of the navigation until the text of the first message is
painted, with the list of conversations and with a conversation open: in a tab that is new at that
moment, for which Chromium starts a process meanwhile, in an empty one that has been open for a
second, and reloaded.  Needs Chromium and C{pip install playwright}.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.run import CHAT, Server, chat_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LOOPBACK = "tcp:0:interface=127.0.0.1"
PASSWORD = "correct horse"
#: Notes when the first text of a message has been painted, and how much was transferred until then.
NOTE = """
const first = (selector) => new MutationObserver((_, observer) => {
  const found = [...document.querySelectorAll(selector)].find(({innerText}) => innerText.trim().length > 3);
  if (!found) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.painted ??= performance.now(); }));
}).observe(document, {childList: true, subtree: true, characterData: true});
first(location.hash ? ".message .body:not(.absent)" : "#people .preview");
"""


class Person:
    """Somebody with a JSON connection."""

    def __init__(self, port: int, name: str) -> None:
        """Log in; the account is made if there is none."""
        self._stream = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
        self.until("username")
        while True:
            self.say("login", field="username", value=name)
            new = self.until("password", "new-password")["keyword"] == "new-password"
            self.say("login", field="password", value=PASSWORD)
            if not new:
                break
            self.until("username")
        self.until("welcome")

    def say(self, kind: str, **fields: Any) -> None:
        """Say a frame."""
        self._stream.write(json.dumps({"type": kind, "data": fields}).encode() + b"\n")
        self._stream.flush()

    def until(self, *words: str) -> dict[str, Any]:
        """The next frame of these, others passed over."""
        while line := self._stream.readline():
            said: dict[str, Any] = json.loads(line)["data"]
            if said.get("keyword", "message") in words:
                return said
        raise EOFError(f"hung up on while waiting for {words}")

    def write(self, name: str, count: int) -> None:
        """Send so many messages, a hundred at a time."""
        for start in range(0, count, 100):
            for number in range(start, min(count, start + 100)):
                self.say("message", recipient=name, body=f"Message {number}, " + "and some more of it. " * 8)
            for _ in range(start, min(count, start + 100)):
                self.until("accepted")

    def take(self, count: int) -> None:
        """Confirm so many messages."""
        for _ in range(count):
            self.say("system", keyword="received", ids=[self.until("message")["id"]])
        self.say("system", keyword="ping")
        self.until("pong")


def port(server: Server, kind: str) -> int:
    """The port of a door."""
    found = re.search(rf"{kind} door listening on \S+:(\d+)", server.data.with_suffix(".log").read_text())
    assert found is not None
    return int(found[1])


def measure(browser: Browser, server: Server, people: int, delivered: int, waiting: int, runs: int) -> None:
    """Print how long it takes with such a mailbox."""
    writers = [Person(port(server, "json"), f"writer{number}") for number in range(people)]
    reader = Person(port(server, "json"), "alice")
    for writer in writers:
        writer.write("alice", delivered // people)
    reader.take(delivered // people * people)
    reader.say("system", keyword="quit")
    reader.until("bye")
    address = f"http://127.0.0.1:{port(server, 'web')}/"
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(address)
    page.fill("#login-form [name=name]", "alice")
    page.fill("#login-form [name=password]", PASSWORD)
    page.click("#login-form button.primary")
    page.wait_for_selector("#people .preview")
    page.wait_for_timeout(1000)
    page.close()
    for what, fragment in (("conversations", ""), ("a conversation", "#to=writer0")):
        taken: dict[str, list[float]] = {"new tab": [], "open tab": [], "reloaded": []}
        for _ in range(runs):
            for how, times in taken.items():
                for writer in writers:
                    writer.write("alice", waiting // people)
                if how == "reloaded":
                    page.reload()
                else:
                    page.close()
                    page = context.new_page()
                    page.add_init_script(NOTE)
                    page.wait_for_timeout(1000 if how == "open tab" else 0)
                    page.goto(address + fragment)
                page.wait_for_function("() => window.painted")
                times.append(page.evaluate("() => window.painted"))
                page.wait_for_timeout(500 + waiting // 5)
        for how, times in taken.items():
            each = ", ".join(f"{time:.0f}" for time in times)
            mailbox = f"{delivered} delivered, {waiting} waiting"
            print(f"{what}, {how}, {mailbox}: {median(times):.0f} ms ({each})", flush=True)
    context.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=10_000, help="in the mailbox [%(default)s]")
    parser.add_argument("--people", type=int, default=25, help="who wrote them [%(default)s]")
    parser.add_argument("--runs", type=int, default=5, help="of which the median counts [%(default)s]")
    chosen = parser.parse_args(arguments)
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        parser.error("there is no Chromium here")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="page-") as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for number, (delivered, waiting) in enumerate([(chosen.messages, 0), (0, chosen.messages)]):
            data = Path(folder, f"data-{number}")
            server = Server(CHAT, data, command=[*chat_server(data, "json"), "--web", LOOPBACK])
            try:
                measure(browser, server, chosen.people, delivered or chosen.people, waiting, chosen.runs)
            finally:
                server.stop()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
