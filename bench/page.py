"""How soon the web page shows a message, with a large mailbox behind it.

    python -m bench.page

A real headless Chromium opens the page, logged in by its token, on a mailbox of so many
messages: delivered ones, and as many that wait and are delivered while the page loads.
Measured from the beginning of the navigation until the text of the first message is
painted, as the browser notes it, with the list of conversations and with a conversation
open: in a tab that is new at that moment, for which Chromium starts a process meanwhile,
in an empty one that has been open for a second, and reloaded.  The same of a page that does
nothing but show a line is what Chromium itself takes.  Needs Chromium.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from time import sleep
from typing import Any

from bench.chromium import Chromium, Tab, program
from bench.run import CHAT, Server, chat_server

LOOPBACK = "tcp:0:interface=127.0.0.1"
PASSWORD = "correct horse"
#: Logs in on the page.
LOG_IN = f"""new Promise((done) => {{
  const form = document.getElementById("login-form");
  const timer = setInterval(() => {{
    if (form.hidden) return;
    clearInterval(timer);
    form.name.value = "alice";
    form.password.value = {json.dumps(PASSWORD)};
    form.requestSubmit();
    done();
  }}, 100);
}})"""
#: The least that a page can be which shows a message by a script.
EMPTY = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>empty</title></head>
<body><ul id="people"></ul>
<script>people.innerHTML = '<li elementtiming="preview">A message</li>';</script></body></html>
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


def loads(
    chromium: Chromium, address: str, kind: str, runs: int, prepare: Callable[[], None], rest: float
) -> dict[str, list[float]]:
    """How long it took until the first message was painted, each time, in each kind of tab.

    @param kind: of what is waited for, see L{Tab.painted}.
    @param rest: so many seconds of peace after each.
    """
    taken: dict[str, list[float]] = {"new tab": [], "open tab": [], "reloaded": []}
    tab = Tab(chromium, "about:blank")
    for _ in range(runs):
        for how, times in taken.items():
            prepare()
            if how == "reloaded":
                tab.reload()
            else:
                tab.close()
                sleep(0.5)
                if how == "new tab":
                    tab = Tab(chromium, address)
                else:
                    tab = Tab(chromium, "about:blank")
                    sleep(1)
                    tab.go(address)
            sleep(rest)
            times.append(tab.painted(kind))
    tab.close()
    return taken


def show(name: str, taken: dict[str, list[float]]) -> None:
    """Print one line for each kind of tab."""
    for how, times in taken.items():
        each = ", ".join(f"{time:.0f}" for time in times)
        print(f"{name.format(how)}: {median(times):.0f} ms ({each})", flush=True)


class Nothing(BaseHTTPRequestHandler):
    """A page that does nothing but show a message: what it takes is what the browser takes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The page, whatever is asked for."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", f"{len(EMPTY)}")
        self.end_headers()
        self.wfile.write(EMPTY)

    def log_message(self, format: str, *args: object) -> None:
        """There is no log."""


def floor(chromium: Chromium, runs: int) -> None:
    """Print how long it takes where there is nothing to be done."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        show("an empty page, {}", loads(chromium, address, "preview", runs, prepare=lambda: None, rest=1))
        server.shutdown()
        thread.join()


def measure(chromium: Chromium, server: Server, people: int, delivered: int, waiting: int, runs: int) -> None:
    """Print how long it takes with such a mailbox."""
    writers = [Person(port(server, "json"), f"writer{number}") for number in range(people)]
    reader = Person(port(server, "json"), "alice")
    for writer in writers:
        writer.write("alice", delivered // people)
    reader.take(delivered // people * people)
    reader.say("system", keyword="quit")
    reader.until("bye")
    address = f"http://127.0.0.1:{port(server, 'web')}/"
    tab = Tab(chromium, address)
    sleep(1)
    tab.run(LOG_IN)
    tab.painted("preview")
    sleep(1)
    tab.close()
    for what, fragment, kind in (
        ("conversations", "", "preview"),
        ("a conversation", "#to=writer0", "message"),
    ):

        def prepare() -> None:
            for writer in writers:
                writer.write("alice", waiting // people)
            sleep(waiting / 3000)  # so long it takes until they are in the index

        name = f"{what}, {{}}, {delivered} delivered, {waiting} waiting"
        show(name, loads(chromium, address + fragment, kind, runs, prepare, rest=1 + waiting / 5000))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=10_000, help="in the mailbox [%(default)s]")
    parser.add_argument("--people", type=int, default=25, help="who wrote them [%(default)s]")
    parser.add_argument("--runs", type=int, default=5, help="of which the median counts [%(default)s]")
    chosen = parser.parse_args(arguments)
    found = program()
    if found is None:
        parser.error("there is no Chromium here")
    with tempfile.TemporaryDirectory(prefix="page-") as folder, closing(Chromium(found)) as chromium:
        floor(chromium, chosen.runs)
        for number, (delivered, waiting) in enumerate([(chosen.messages, 0), (0, chosen.messages)]):
            data = Path(folder, f"data-{number}")
            server = Server(CHAT, data, command=[*chat_server(data, "json"), "--web", LOOPBACK])
            try:
                measure(chromium, server, chosen.people, delivered or chosen.people, waiting, chosen.runs)
            finally:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
