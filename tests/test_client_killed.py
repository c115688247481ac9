"""kill -9 of the real client: what was typed is sent by the next one, once."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from chat.client.spool import waiting
from chat.client.state import State
from tests.daemon import PATIENCE
from tests.line_case import Daemon, shared_daemon


class Listening:
    """A client in a process of its own, which a program drives; it may be killed at any moment."""

    def __init__(self, daemon: Daemon, *more: str) -> None:
        command = daemon.command(daemon.addresses["json"], *daemon.user("alice"), "--json", *more)
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=daemon.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self.process.stdout.close()

    def until(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until it has told so many events of one kind."""
        while len(found := [each for each in self.events if each["event"] == event]) < count:
            self.events.append(json.loads(self._lines.get(timeout=PATIENCE)))
        return found

    def type(self, *lines: str) -> None:
        """Type lines."""
        assert self.process.stdin
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def kill(self) -> None:
        """End it as the power would."""
        self.process.kill()
        self.end()

    def end(self) -> int:
        """End its input; the exit status."""
        assert self.process.stdin
        self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        self._reader.join()
        while not self._lines.empty():
            self.events.append(json.loads(self._lines.get()))
        return status


class KilledTests(SynchronousTestCase):
    """C{kill -9} of the real client, with the real server."""

    def setUp(self) -> None:
        """A server, and a client's outbox."""
        self.daemon = shared_daemon()
        folder = Path(self.daemon.environment["XDG_STATE_HOME"], "chat", "profiles", "default")
        self.state = State(folder)
        self.addCleanup(self.state.close)
        self.daemon.chat(self.daemon.addresses["json"], *self.daemon.user("bob"))  # what others left

    def fetched(self) -> list[str]:
        """What Bob gets now."""
        done = self.daemon.chat(self.daemon.addresses["json"], *self.daemon.user("bob"), "--json")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        return [event["body"] for event in events if event["event"] == "message"]

    def kept(self, count: int) -> None:
        """Wait until there is so much in the outbox."""
        deadline = time.monotonic() + PATIENCE
        while len(list(waiting(self.state))) != count:
            self.assertLess(time.monotonic(), deadline, list(waiting(self.state)))
            time.sleep(0.02)

    @skipUnless(os.name == "posix", "Elsewhere no process can be stopped for a while.")
    def test_before_the_server_has_it(self) -> None:
        """Killed when the server has been sent everything, and has not said what became of it."""
        client = Listening(self.daemon)
        client.until("connected")
        self.daemon.signal(signal.SIGSTOP)
        try:
            client.type("/to bob s0", *(f"s{number}" for number in range(1, 20)))
            self.kept(20)
            client.kill()
        finally:
            self.daemon.signal(signal.SIGCONT)
        self.assertEqual([each["event"] for each in client.events if each["event"] == "accepted"], [])
        client = Listening(self.daemon)
        client.until("accepted", 20)
        self.assertEqual(client.end(), 0)
        self.assertEqual(self.fetched(), [f"s{number}" for number in range(20)])
        self.kept(0)

    def test_at_several_moments(self) -> None:
        """Killed after so many were accepted: what was told is with the server, nothing is there twice.

        Between the kills nobody but the next client itself looks after what was left.
        """
        told: set[str] = set()
        typed: list[str] = []
        for moment in (0, 1, 7):
            client = Listening(self.daemon)
            client.until("connected")
            bodies = [f"m{moment}-{number}" for number in range(12)]
            typed += bodies
            for body in bodies:
                client.type(json.dumps({"recipient": "bob", "body": body, "ref": body}))
            client.until("accepted", moment)
            client.kill()
            told |= {each["ref"] for each in client.events if each["event"] == "accepted"}
        client = Listening(self.daemon)
        client.until("connected")
        client.type('{"keyword": "ping"}')
        client.until("pong")
        self.assertEqual(client.end(), 0)
        got = self.fetched()
        self.assertEqual(sorted(got), sorted(set(got)))
        self.assertLessEqual(told, set(got))
        self.assertLessEqual(set(got), set(typed))
        self.kept(0)

    @skipUnless(os.name == "posix", "Elsewhere no process can be stopped for a while.")
    def test_queued(self) -> None:
        """C{chat send --queue} while the server is silent; C{chat outbox} lists it, and sends it later."""
        there = ("--server", self.daemon.addresses["json"], *self.daemon.user("alice"), "--timeout")
        self.daemon.signal(signal.SIGSTOP)
        try:
            done = self.daemon.chat("send", "bob", "--queue", *there, "0.5", typed=b"for later\n")
        finally:
            self.daemon.signal(signal.SIGCONT)
        self.assertEqual((done.returncode, b"Kept in the outbox" in done.stderr), (6, True), done.stderr)
        listed = self.daemon.chat("outbox").stdout.decode()
        self.assertIn(f"to bob, as alice at {self.daemon.addresses['json']}: for later", listed)
        done = self.daemon.chat("outbox", "--send", *there, "30")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(self.fetched(), ["for later"])
        self.assertEqual(self.daemon.chat("outbox").stdout, b"The outbox is empty.\n")
