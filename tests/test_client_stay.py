"""Staying logged in, by a token that the client keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from chat.client.memory import Memory, own_form
from chat.client.state import State
from chat.messages import TokenIssued
from tests.line_case import LineTests


class StayTests(LineTests):
    """Staying logged in."""

    def setUp(self) -> None:
        """A profile."""
        super().setUp()
        self.state = State(Path(self.mktemp()).absolute())
        self.addCleanup(self.state.close)

    def begin(self, stay: bool = False, **more: Any) -> Deferred[int]:
        """Start the client."""
        return super().begin(memory=lambda: Memory(self.clock, self.state, "a:1", stay), **more)

    def test_stay(self) -> None:
        """Who stays logged in types no password and no name the next time, until they log out."""
        self.begin(stay=True)
        self.type("alice", "wonderland", "/quit")
        self.console.asked.clear()
        self.begin()
        self.assertIn("Welcome, alice.", self.console.shown[-1])
        self.assertEqual(self.console.asked, [])
        self.type("/logout")
        self.assertEqual(self.state.accounts("a:1"), [])
        self.assertEqual(self.console.asked, ["Username: "])

    def test_not_asked_for(self) -> None:
        """Otherwise nothing is kept."""
        self.begin()
        self.type("alice", "wonderland", "/quit")
        self.assertEqual(self.state.accounts("a:1"), [])

    def test_several(self) -> None:
        """Where several stay, the name decides; with a password given, that is used."""
        for name, password in (("alice", "wonderland"), ("bob", "correct horse")):
            self.begin(stay=True, username=name)
            self.type(password, "/quit")
        self.console.asked.clear()
        self.begin()
        self.assertEqual(self.console.asked, ["Username: "])
        self.begin(username="Bob")
        self.assertIn("Welcome, bob.", self.console.shown[-1])
        tokens = len(self.server.tokens or {})
        self.begin(username="bob", password="correct horse")
        self.assertEqual(len(self.server.tokens or {}), tokens + 1)

    def test_renewed(self) -> None:
        """Who stays logged in by a token that the server replaces in time stays by the new one."""
        first, second = (TokenIssued(value=value, expires="2026-12-22T21:07:00.000Z") for value in "xy")
        self.state.keep_token("a:1", "alice", first)
        memory = Memory(self.clock, self.state, "a:1")
        self.assertEqual(memory.stayed(None), ("alice", first))
        memory.token_changed("alice", second)
        self.assertEqual(memory.stayed("Alice"), ("alice", second))

    def test_any_form(self) -> None:
        """However a name is written, it is the one under which the server knows the account."""
        self.assertEqual(
            [own_form(name) for name in ("Alice", "Jose\u0301", "\uff21lice", "two words", "\u00df \u2603")],
            ["alice", "jos\u00e9", "alice", "two words", "\u00df \u2603"],
        )

    def test_revoked(self) -> None:
        """When the token is not taken any more, the password is asked, and the token forgotten."""
        self.begin(stay=True, username="alice")
        self.type("wonderland", "/quit")
        self.server.tokens = {}
        self.console.asked.clear()
        self.begin(username="alice")
        self.assertEqual(self.console.asked, ["(Password: )"])
        self.assertIn("does not stay logged in any more", self.console.shown[-1])
        self.assertEqual(self.state.accounts("a:1"), [])

    def test_no_disk(self) -> None:
        """When the token cannot be kept, that is said, and the conversation goes on."""
        self.state.folder.mkdir(parents=True)
        self.state.path.mkdir()
        complaints: list[str] = []
        memory = Memory(self.clock, self.state, "a:1", True, complain=complaints.append)
        LineTests.begin(self, memory=lambda: memory, username="alice")
        self.type("wonderland")
        self.assertIn("Welcome, alice.", "".join(self.console.shown))
        self.assertIn("do not stay logged in", complaints[0])
