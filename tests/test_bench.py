"""Tests for L{bench}: it measures, and it notices a server that does something wrong."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import load, run
from bench.load import Fields, Incoming


class SmokeTests(SynchronousTestCase):
    """A very small series of measurements."""

    def measure(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of one call."""
        out, err = io.StringIO(), io.StringIO()
        small = ["--runs", "1", "--senders", "2", "--messages", "20", "--collect", "600"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run.main([*small, "--rate", "100", "--seconds", "0.2", *arguments])
        return status, out.getvalue(), err.getvalue()

    def test_bareLoop(self) -> None:
        """Every scenario works against the bare loop, and the figures are written down."""
        figures = Path(self.mktemp())
        scenarios = ["pipelined", "steady", "offline", "collect", "disk"]
        status, table, notes = self.measure("--only-bare", "--json", str(figures), *scenarios)
        self.assertEqual(status, 0, notes)
        values = json.loads(figures.read_text())
        for scenario in ("100 in flight", "20 in flight", "1 in flight", "steady 100/s"):
            self.assertIn(scenario, table)
            self.assertGreater(values[scenario]["bare loop"]["cpu"][0], 0)
        self.assertEqual(values["login that collects"]["bare loop"]["messages"], [600])
        self.assertGreater(values["disk, each message"]["bare loop"]["bytes"][0], 200)

    def test_compared(self) -> None:
        """The server is measured beside the bare loop, idle sessions too; the table has the ratio."""
        status, table, notes = self.measure(
            "--compare", "--idle", "10", "--settle", "0.1", "pipelined", "idle"
        )
        self.assertEqual(status, 0, notes)
        self.assertRegex(table, r"100 in flight +chat +40 +[0-9.,]+ +[0-9.,-]+ +[0-9.]+ ")
        self.assertRegex(table, r"each of 10 idle sessions \(KiB\) +chat ")

    def test_noListener(self) -> None:
        """A server that ends before it listens is one line with its last words."""
        dead = "raise SystemExit('out of order')"
        self.patch(run, "COMMANDS", {run.CHAT: lambda data, codec: [sys.executable, "-c", dead]})
        status, _, notes = self.measure("steady")
        self.assertEqual(status, 1)
        self.assertIn("bench.run: chat does not listen; its last words: out of order", notes)


class FaultTests(SynchronousTestCase):
    """A server that is fast because it is wrong gets no figures."""

    def setUp(self) -> None:
        """Listen, so that sessions have something to connect to."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.loop = load.Loop()
        self.addCleanup(self.loop.close)

    def recipient(self) -> load.Recipient:
        """One that expects three messages."""
        address = self.listener.getsockname()
        recipient = load.Recipient(self.loop, load.JsonDoor(), address, "bob")
        recipient.prepare(3)
        return recipient

    def deliveries(self, numbers: Sequence[int]) -> list[Incoming]:
        """Messages with these sequence numbers."""
        return [Incoming("message", Fields(id=n + 1, body=f"{n:09d} x")) for n in numbers]

    def test_inOrder(self) -> None:
        """What comes in order is counted; only the answer to the ping settles it."""
        recipient = self.recipient()
        recipient.talk(self.deliveries([0, 1, 2]))
        self.assertEqual((recipient.arrived, recipient.settled), (3, False))
        recipient.talk([Incoming("system", Fields(keyword="pong"))])
        self.assertTrue(recipient.settled)

    def test_wrongDeliveries(self) -> None:
        """A message lost, doubled or out of order is an error."""
        for numbers in ([0, 2], [0, 0], [1, 0]):
            error = self.assertRaises(load.LoadError, self.recipient().talk, self.deliveries(numbers))
            self.assertIn("was due", str(error))

    def test_wrongAnswers(self) -> None:
        """A refusal, an answer to another send, or a returned message is an error."""
        sender = load.Sender(self.loop, load.JsonDoor(), self.listener.getsockname(), "alice")
        good = Fields(keyword="accepted", ref="run-000000000", state="waiting")
        wrong = [
            Fields(keyword="failed", code="slow-down"),
            Fields(keyword="accepted", ref="run-000000001", state="waiting"),
            Fields(keyword="accepted", ref="run-000000000", state="returned"),
        ]
        for fields in wrong:
            sender.prepare("bob", 200, "run-")
            self.assertRaises(load.LoadError, sender.talk, [Incoming("system", fields)])
        sender.prepare("bob", 200, "run-")
        sender.talk([Incoming("system", good)])
        self.assertEqual(sender.accepted, 1)

    def test_hungUp(self) -> None:
        """A connection that the server closes is an error."""
        recipient = self.recipient()
        peer, _ = self.listener.accept()
        peer.shutdown(socket.SHUT_WR)
        self.addCleanup(peer.close)
        error = self.assertRaises(load.LoadError, self.loop.run, lambda: False)
        self.assertIn("hung up on bob", str(error))
        self.assertFalse(recipient.settled)
