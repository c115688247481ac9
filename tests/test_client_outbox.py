"""What was typed is on disk before it is sent, and there until the server has it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from unittest import skipUnless

from filelock import FileLock
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chat.client.memory import Memory
from chat.client.spool import Spool, drop, waiting
from chat.client.state import State, StateError
from chat.messages import Failed, Message, TokenIssued
from tests.test_line_client import LineTests


def letter(body: str) -> Message:
    """A message to Bob."""
    return Message(recipient="bob", body=body)


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


class SpoolTests(SynchronousTestCase):
    """The outbox of one account."""

    def setUp(self) -> None:
        """A profile."""
        self.clock = Clock()
        self.state = State(Path(self.mktemp()).absolute())
        self.addCleanup(self.state.close)

    def spool(self, account: str = "alice") -> Spool:
        """A client begins to run."""
        return Spool(self.clock, self.state, "a:1", account)

    def kill(self, spool: Spool) -> None:
        """The client ends, without a chance to do anything about it."""
        lock, spool._lock = spool._lock, None
        if lock is not None:
            lock.release()

    def keep(self, spool: Spool, *bodies: str) -> None:
        """Keep messages, each under its body as the ref."""
        kept = [spool.keep(body, Message(recipient="bob", body=body, ref=body)) for body in bodies]
        self.assertEqual([each.called for each in kept], [False] * len(bodies))
        self.clock.advance(0)
        for each in kept:
            self.successResultOf(each)

    def bodies(self, messages: list[Message]) -> list[str]:
        """What they say."""
        return [message.body for message in messages]

    def test_left_behind(self) -> None:
        """What a client has kept when it is killed is what the next one finds, in the same order."""
        first = self.spool()
        self.keep(first, "one", "two", "three")
        first.forget("two")
        self.clock.advance(1)
        self.kill(first)
        second = self.spool()
        self.assertEqual(self.bodies(second.left_behind()), ["one", "three"])
        second.forget("one")
        second.close()
        self.assertEqual(self.bodies(self.spool().left_behind()), ["three"])

    def test_still_running(self) -> None:
        """What a client keeps that runs is not taken away from it, nor what another account has kept."""
        first, other = self.spool(), self.spool("carol")
        self.keep(first, "one")
        self.keep(other, "two")
        self.kill(other)
        second = self.spool()
        self.assertEqual(second.left_behind(), [])
        self.kill(first)
        self.assertEqual(self.bodies(second.left_behind()), ["one"])

    def test_no_litter(self) -> None:
        """Of clients that are gone, nothing is left but what they have not sent."""
        spools = [self.spool() for _ in range(3)]
        for number, spool in enumerate(spools):
            self.keep(spool, str(number))
        spools[0].close()
        self.kill(spools[1])
        self.spool().left_behind()
        self.assertEqual(len(list(self.state.folder.glob("*.lock"))), 2)  # of the third, and the new one

    def test_together(self) -> None:
        """What is kept in one turn of the reactor is one transaction, and costs one."""
        spool = self.spool()
        changes: list[str] = []
        connection = self.state._opened()
        connection.set_trace_callback(changes.append)
        self.keep(spool, *map(str, range(100)))
        self.assertEqual(changes.count("COMMIT"), 1)

    def test_twice(self) -> None:
        """The same ref is kept once."""
        spool = self.spool()
        self.keep(spool, "one")
        self.keep(spool, "one")
        self.kill(spool)
        self.assertEqual(self.bodies(self.spool().left_behind()), ["one"])

    def test_no_disk(self) -> None:
        """What cannot be kept is said, and nothing is kept by halves."""
        self.state.folder.mkdir(parents=True)
        self.state.path.mkdir()
        kept = self.spool().keep("one", letter("one"))
        self.clock.advance(0)
        self.failureResultOf(kept, StateError)

    def test_no_locks(self) -> None:
        """Where the file system knows no locks, nothing is kept, and that is said."""

        def none(lock: object) -> None:
            raise NotImplementedError("no locks here")

        first = self.spool()
        self.keep(first, "one")
        self.patch(FileLock, "acquire", none)
        kept = self.spool().keep("two", letter("two"))
        self.clock.advance(0)
        self.failureResultOf(kept, StateError)
        self.assertRaises(StateError, self.spool().left_behind)

    def test_no_message(self) -> None:
        """What is no message is said, and stays."""
        spool = self.spool()
        self.keep(spool, "one")
        with self.state.change() as connection:
            connection.execute("UPDATE outbox SET frame = ?", (b'{"type":"message"}',))
        error = self.assertRaises(StateError, spool.left_behind)
        self.assertIn("no message", str(error))

    def test_gone_for_good(self) -> None:
        """Of a deleted account nothing stays; single messages can be thrown away."""
        spool = self.spool()
        self.keep(spool, "one", "two")
        number = next(iter(waiting(self.state)))[0]
        self.assertTrue(drop(self.state, number))
        self.assertFalse(drop(self.state, number))
        self.assertEqual(
            [(place, account, each.body) for _, place, account, each in waiting(self.state)],
            [("a:1", "alice", "two")],
        )
        spool.clear()
        self.assertEqual(list(waiting(self.state)), [])


class KeepingTests(LineTests):
    """The line client and its outbox, in memory but for the disk."""

    def setUp(self) -> None:
        """A profile."""
        super().setUp()
        self.state = State(Path(self.mktemp()).absolute())
        self.addCleanup(self.state.close)

    def alice(self, **more: Any) -> Deferred[int]:
        """Log in as Alice, who keeps what she writes."""
        return super().alice(memory=lambda: Memory(self.clock, self.state, "a:1", **more))

    def kept(self) -> list[str]:
        """What is in the outbox."""
        return [message.body for *_, message in waiting(self.state)]

    def type(self, *lines: str | Exception | None) -> None:
        """Type lines and see what happens."""
        self.console.type(*lines)
        self.run_for(0.01)

    def test_kept_until_accepted(self) -> None:
        """A message is on disk before it is sent, and no longer than until it is accepted."""
        held = [True]
        self.server.answers.append(lambda session, frame: isinstance(frame, Message) and held[0])
        self.alice()
        self.console.type("/to bob hello")
        self.flush()
        self.assertEqual(self.server.frames(Message), [])
        self.run_for(0.01)
        self.assertEqual(self.kept(), ["hello"])
        self.assertEqual(len(self.server.frames(Message)), 1)
        held[0] = False
        self.session().cut()
        self.run_for(3)
        self.assertEqual(self.console.shown[-1], "#1 to bob: waiting")
        self.run_for(2)
        self.assertEqual(self.kept(), [])

    def test_sent_the_next_time(self) -> None:
        """Who leaves with something unsent is told that it is kept; and that it is sent, the next time."""
        status = self.alice()
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.type("/to bob one", "two")
        self.type("/outbox")
        self.assertEqual(
            self.console.shown[-2:],
            ["Not known to be sent, to bob: one", "Not known to be sent, to bob: two"],
        )
        self.type("/quit")
        self.assertEqual(self.successResultOf(status), 5)
        self.assertIn("They are kept", self.complaints[0])
        self.line.broken = False
        self.begin(
            username="alice",
            password="wonderland",
            memory=lambda: Memory(self.clock, self.state, "a:1"),
        )
        self.assertEqual([kept.message.body for kept in self.server.ledger.values()], ["one", "two"])
        self.assertEqual(
            self.console.shown[-2:],
            ["#1 to bob: waiting", "#2 to bob: waiting"],
        )
        self.type("/outbox")
        self.assertEqual(self.console.shown[-1], "The server has everything that you sent.")

    def test_refused(self) -> None:
        """What is refused for good is not kept; what a full disk refused is, for the next time."""
        codes = ["too-large", "storage-full"]

        def refuse(session: Any, frame: object) -> bool:
            if not isinstance(frame, Message) or not codes:
                return False
            return bool(session.say(Failed(code=codes.pop(0), reason="No.", ref=frame.ref)))

        self.server.answers.append(refuse)
        self.alice()
        self.type("/to bob one", "two")
        self.run_for(2)
        self.assertEqual(
            self.console.shown[-2:],
            ["Not sent to bob: No. (storage-full)", "It is kept, and sent when you log in the next time."],
        )
        self.assertEqual(self.kept(), ["two"])
        self.type("/outbox")
        self.assertEqual(self.console.shown[-1], "Not known to be sent, to bob: two")

    def test_refused_later(self) -> None:
        """Of what was left and is refused now, the text is shown, for nobody remembers it."""
        status = self.alice()
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.type("/to bob one", "/quit")
        self.successResultOf(status)
        self.line.broken = False
        self.server.answers.append(
            lambda session, frame: (
                isinstance(frame, Message)
                and session.say(Failed(code="too-large", reason="No.", ref=frame.ref))
            )
        )
        self.begin(
            username="alice", password="wonderland", memory=lambda: Memory(self.clock, self.state, "a:1")
        )
        self.assertEqual(self.console.shown[-2:], ["Not sent to bob: No. (too-large)", "| one"])
        self.run_for(2)
        self.assertEqual(self.kept(), [])

    def test_no_disk(self) -> None:
        """Without a disk, it is said once, and sent all the same."""
        self.state.folder.mkdir(parents=True)
        self.state.path.mkdir()
        self.alice()
        self.type("/to bob one", "two")
        self.assertEqual(len(self.server.ledger), 2)
        said = [line for line in self.console.shown if "not kept on disk" in line]
        self.assertEqual(len(said), 1)

    def test_not_wanted(self) -> None:
        """Who does not want it on disk has nothing there."""
        self.alice(outbox=False)
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.type("/to bob one", "/quit")
        self.assertEqual(self.complaints, ["1 message is not known to be sent."])
        self.assertEqual(self.kept(), [])

    def test_account_deleted(self) -> None:
        """With the account goes what it has not sent."""
        self.server.answers.append(lambda session, frame: isinstance(frame, Message))
        self.alice()
        self.type("/to bob one")
        self.assertEqual(self.kept(), ["one"])
        self.type("/delete-account", "wonderland")
        self.run_for(130)
        self.server.answers.clear()
        self.session().cut()
        self.run_for(3)
        self.assertNotIn("alice", self.server.accounts)
        self.assertEqual(self.kept(), [])

    def test_account_deleted_without_disk(self) -> None:
        """When that cannot be, it is said, and the account is gone all the same."""
        self.alice()
        self.state.folder.mkdir(parents=True)
        self.state.path.mkdir()
        self.type("/delete-account", "wonderland")
        self.assertIn("still on disk", self.console.shown[-2])
        self.assertEqual(self.console.shown[-1], "Your account is deleted.")


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
