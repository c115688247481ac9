"""Tests for L{bench.logins}: it measures, and it notices a login that goes wrong."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import load, logins
from tests.test_bench import call


class LoginsTests(SynchronousTestCase):
    """Very few logins."""

    def setUp(self) -> None:
        """Passwords cost little here."""
        self.patch(logins, "ROUNDS", 4)
        self.data = Path(self.mktemp())
        self.data.mkdir()

    def measure(self, *arguments: str) -> str:
        """What is printed."""
        status, out, err = call(logins.main, "--data", str(self.data), *arguments)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(list(self.data.iterdir()), [])
        return out

    def test_tokens(self) -> None:
        """All clients come back to the server that was started anew, by token and by password."""
        out = self.measure("--count", "7", "--at-once", "3", "tokens")
        for what in ("sign up", "token", "password, cost 4"):
            self.assertRegex(out, rf"  {what}: 7 in [0-9.]+ s, [0-9]+/s, server CPU [0-9]+ us each\n")

    def test_storm(self) -> None:
        """Messages are measured with nobody logging in, and with so many."""
        people = ["--people", "2", "--rate", "50", "--seconds", "0.5", "--runs", "1"]
        out = self.measure("--logins", "3", *people, "storm")
        self.assertRegex(out, r"  no logins: 24 messages .* p99 ")
        self.assertRegex(out, r"  3 logging in: 24 messages .* p99 .*; [0-9.]+ logins/s\n")
        self.assertRegex(out, r"p99 [0-9.]+ ms without logins, [0-9.]+ ms with 3 under way: [0-9.]+ times")

    def test_refused(self) -> None:
        """A login that is refused is an error: the figures of others would be worth nothing."""
        self.patch(load, "PASSWORD", "short")
        self.patch(logins, "PASSWORD", "short")
        status, out, err = call(logins.main, "--data", str(self.data), "--count", "1", "tokens")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("bad-password", err)

    def test_noSuchScenario(self) -> None:
        """A word that is no scenario is wrong usage."""
        self.assertEqual(call(logins.main, "token")[0], 2)
