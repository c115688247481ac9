"""Somebody at the terminal client, without a terminal, for tests."""

from __future__ import annotations

import atexit
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Optional

import pexpect
from twisted.internet.defer import Deferred, fail, succeed

from chat.client import Backoff
from chat.client.console import Completions, OutputGone
from chat.client.line import LineClient
from chat.client.look import Tone
from chat.client.main import main
from chat.client.wording import Wording
from tests.daemon import PATIENCE, free_port
from tests.memory_server import TIME, ClientTests

#: Without it, as on Windows, nothing can be tried the way a person at a terminal does.
TERMINALS = hasattr(pexpect, "spawn")


#: How the one moment that the server in memory knows is told, wherever the tests run.
WHEN = Wording(lambda: 0.0).moment(TIME)


ROOT = Path(__file__).resolve().parent.parent


class ScriptedConsole:
    """A person who types what the test says, and remembers what was shown.

    @ivar asked: the prompts, those for hidden lines in parentheses.
    """

    def __init__(self, interactive: bool) -> None:
        self.interactive = interactive
        self.shown: list[str] = []
        self.asked: list[str] = []
        self.broken = False
        self.rung = 0
        self.offered: Completions | None = None
        self.unseen: Deferred[None] = succeed(None)
        self._lines: deque[str | Exception | None] = deque()
        self._waiter: Deferred[Optional[str]] | None = None

    def show(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """Remember it."""
        if self.broken:
            raise OutputGone("nobody reads")
        self.shown += line.split("\n")  # a body comes in one piece

    def seen(self) -> Deferred[None]:
        """At once, unless the test says something else."""
        return self.unseen

    def ring(self) -> None:
        """Count it."""
        self.rung += 1

    def offer(self, completions: Completions) -> None:
        """Remember them."""
        self.offered = completions

    def ask(self, prompt: str = "", hidden: bool = False) -> Deferred[Optional[str]]:
        """Answer with what was typed."""
        if prompt:
            self.asked.append(f"({prompt})" if hidden else prompt)
        if self._lines:
            line = self._lines.popleft()
            return fail(line) if isinstance(line, Exception) else succeed(line)
        self._waiter = Deferred()
        return self._waiter

    def type(self, *lines: str | Exception | None) -> None:
        """Type lines, or the end of the input."""
        for line in lines:
            waiter, self._waiter = self._waiter, None
            if waiter is None or waiter.called:
                self._lines.append(line)
            elif isinstance(line, Exception):
                waiter.errback(line)
            else:
                waiter.callback(line)

    def close(self) -> Deferred[None]:
        """Nothing to leave behind."""
        return succeed(None)


class LineTests(ClientTests):
    """What the tests of the line client in memory start from."""

    interactive = True

    def setUp(self) -> None:
        """A server, and somebody at a console."""
        super().setUp()
        self.console = ScriptedConsole(self.interactive)
        self.complaints: list[str] = []

    def begin(self, **more: Any) -> Deferred[int]:
        """Start the line client."""
        client = LineClient(
            self.clock,
            self.line,
            self.codec,
            self.console,
            complain=self.complaints.append,
            backoff=Backoff(chance=lambda: 1.0),
            **more,
        )
        status = Deferred.fromCoroutine(client.run())
        self.flush()
        return status

    def alice(self, **more: Any) -> Deferred[int]:
        """Start it and log in as Alice."""
        status = self.begin(username="alice", password="wonderland", **more)
        self.assertIn("Welcome, alice.", "".join(self.console.shown))
        self.console.shown.clear()
        return status

    def type(self, *lines: str | Exception | None) -> None:
        """Type lines and see what happens."""
        self.console.type(*lines)
        self.flush()


def run_main(*arguments: str) -> tuple[int, str, str]:
    """Run the program with these arguments: the exit status and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(list(arguments))
        except SystemExit as ended:
            status = int(ended.code or 0)
    return status, out.getvalue(), err.getvalue()


class Daemon:
    """The real server, in a process and a directory of its own."""

    def __init__(self, *options: str) -> None:
        """
        @param options: further ones of the server.
        """
        self._options = options
        self._directory = tempfile.TemporaryDirectory(prefix="chat-test-")
        self.directory = Path(self._directory.name)
        self.socket = f"unix:{self.directory / 'sock'}"
        port = free_port()
        self.addresses = {"json": f"127.0.0.1:{port}"}
        self._doors = ["--json", f"tcp:{port}:interface=127.0.0.1", "--json", self.socket]
        self.environment = dict(os.environ, PYTHONPATH=str(ROOT), TERM="xterm", PYTHONUTF8="1")
        for name in ("CHAT_PASSWORD_FILE", "CHAT_PROFILE", "NO_COLOR"):
            self.environment.pop(name, None)
        for kind in ("CONFIG", "STATE"):
            self.environment[f"XDG_{kind}_HOME"] = str(self.directory / kind.lower())
        for name in ("alice", "bob"):
            (self.directory / name).write_text(f"password of {name}\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._log = self.directory / "log"
        self._log.write_text("")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "twisted", "--log-format=text", f"--log-file={self._log}"),
                *("chat", "--bcrypt-rounds", "4", "--data", str(self.directory / "data")),
                *(*self._doors, "--der", "tcp:0:interface=127.0.0.1", *self._options),
            ],
            env=self.environment,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        found = self._wait_for(r"der door listening on (\S+)")
        self.addresses["der"] = found[1]

    def _wait_for(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            found = re.search(pattern, self._log.read_text())
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"the server does not start: {self._log.read_text()}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Stop it, as an operator would."""
        self._process.terminate()
        self._process.wait(PATIENCE)

    def close(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        self._directory.cleanup()

    def command(self, *arguments: str) -> list[str]:
        """The command line of the client."""
        return ["-m", "chat.client.main", *arguments]

    def user(self, name: str) -> list[str]:
        """The options that log a user in."""
        return ["--user", name, "--password-file", str(self.directory / name)]

    def chat(self, *arguments: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the client with this input, to its end."""
        return subprocess.run(
            [sys.executable, *self.command(*arguments)],
            input=typed,
            capture_output=True,
            env=self.environment,
            timeout=PATIENCE,
        )

    def terminal(self, *arguments: str, columns: int = 100, **environment: str) -> Any:
        """Run the client on a terminal."""
        return pexpect.spawn(
            sys.executable,
            self.command(*arguments),
            env={**self.environment, **environment},
            encoding="utf-8",
            timeout=PATIENCE,
            dimensions=(24, columns),
        )


_DAEMONS: list[Daemon] = []


def shared_daemon() -> Daemon:
    """One server for all tests that may share it, with the accounts of Alice and Bob."""
    if not _DAEMONS:
        daemon = Daemon()
        atexit.register(daemon.close)
        for name in ("alice", "bob"):
            done = daemon.chat(daemon.addresses["json"], *daemon.user(name), "--sign-up")
            assert done.returncode == 0, done
        _DAEMONS.append(daemon)
    return _DAEMONS[0]
