"""What the client keeps on its machine for one profile."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from chat.client.spool import drop, waiting
from chat.client.state import State, StateError
from chat.messages import TokenIssued


class StateTests(SynchronousTestCase):
    """The database of a profile."""

    def setUp(self) -> None:
        """A folder that is not there yet."""
        self.folder = Path(self.mktemp()).absolute() / "profile"
        self.state = State(self.folder)
        self.addCleanup(self.state.close)

    def test_nothing(self) -> None:
        """Looking for what was never kept makes no file."""
        self.assertEqual(self.state.names("a:1", "alice"), [])
        self.assertIsNone(self.state.token("a:1", "alice"))
        self.assertEqual(list(waiting(self.state)), [])
        self.assertFalse(self.folder.exists())

    def test_nothing_is_forgotten_or_left(self) -> None:
        """What is kept survives a power cut, and what is not kept any more is nowhere in the file."""
        self.state.meet("a:1", "alice", ["bob"])
        (synchronous,) = self.state.rows("PRAGMA synchronous")
        self.assertEqual(synchronous, (3,))
        with self.state.change() as connection:
            row = ("r", "o", "a:1", "alice", b"hush, this is a secret")
            connection.execute(
                "INSERT INTO outbox (ref, owner, server, account, frame) VALUES (?, ?, ?, ?, ?)", row
            )
        self.assertIn(b"hush", self.state.path.read_bytes())
        self.assertTrue(drop(self.state, 1))
        self.assertNotIn(b"hush", self.state.path.read_bytes())

    @skipUnless(os.name == "posix", "Elsewhere, who may read a file is decided by its folder.")
    def test_private(self) -> None:
        """Nobody else can read it, whatever the umask allows."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.state.meet("a:1", "alice", ["bob"])
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        self.assertEqual(self.state.path.stat().st_mode & 0o777, 0o600)

    def test_tokens(self) -> None:
        """The token of an account is kept, replaced and forgotten; each server has its own."""
        first, second = (TokenIssued(value=value, expires="2026-12-22T21:07:00.000Z") for value in "xy")
        self.state.keep_token("a:1", "alice", first)
        self.state.keep_token("b:1", "alice", second)
        self.assertEqual(self.state.accounts("a:1"), ["alice"])
        self.assertEqual(self.state.token("a:1", "alice"), first)
        self.state.keep_token("a:1", "alice", second)
        self.assertEqual(self.state.token("a:1", "alice"), second)
        self.state.keep_token("a:1", "alice", None)
        self.assertIsNone(self.state.token("a:1", "alice"))
        self.assertEqual(self.state.token("b:1", "alice"), second)

    def test_names(self) -> None:
        """The names met last come first."""
        self.state.meet("a:1", "alice", ["bob", "carol"])
        self.state.meet("a:1", "alice", ["bob"])
        self.assertEqual(self.state.names("a:1", "alice"), ["bob", "carol"])

    def test_no_database(self) -> None:
        """A file that is none, and a folder that cannot be, are named, with the reason."""
        self.folder.mkdir(parents=True)
        self.state.path.write_text("this is no database, however long it may be" * 100)
        error = self.assertRaises(StateError, self.state.names, "a:1", "alice")
        self.assertIn(str(self.state.path), str(error))
        lost = State(self.state.path / "below")
        self.assertRaises(StateError, lost.meet, "a:1", "alice", ["bob"])

    def test_newer(self) -> None:
        """What a newer program has made is left alone."""
        self.state.meet("a:1", "alice", ["bob"])
        self.state.close()
        with sqlite3.connect(self.state.path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        error = self.assertRaises(StateError, State(self.folder).names, "a:1", "alice")
        self.assertIn("newer version", str(error))

    def test_half_done(self) -> None:
        """A change that fails leaves nothing behind."""

        def fail() -> None:
            with self.state.change() as connection:
                connection.execute("INSERT INTO names VALUES ('a:1', 'alice', 'bob', 1)")
                connection.execute("INSERT INTO nonsense VALUES (1)")

        self.assertRaises(StateError, fail)
        self.assertEqual(self.state.names("a:1", "alice"), [])
