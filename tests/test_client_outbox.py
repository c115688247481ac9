"""What was typed is on disk before it is sent, and there until the server has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filelock import FileLock
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from chat.client import letters
from chat.client.memory import Memory
from chat.client.spool import RefTaken, Spool, drop, waiting
from chat.client.state import State, StateError
from chat.messages import Failed, Message
from tests.line_case import LineTests


def no_disk(state: object) -> None:
    """Nothing can be written."""
    raise StateError("no disk")


def letter(body: str) -> Message:
    """A message to Bob."""
    return Message(recipient="bob", body=body)


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

    def test_no_disk_for_a_while(self) -> None:
        """What was accepted while the disk could not be written is forgotten as soon as it can be."""
        spool = self.spool()
        self.keep(spool, "one", "two")
        spool.forget("one")
        with MonkeyPatcher((State, "change", no_disk)):
            self.clock.advance(1)
        spool.forget("two")
        self.clock.advance(1)
        self.assertEqual(list(waiting(self.state)), [])

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
        """What is no message is told apart, and stays; the others are there all the same."""
        for frame in (b'{"type":"message"}', b"g", "text", b'{"type":"system","data":{"keyword":"ping"}}'):
            spool = self.spool()
            self.keep(spool, "one", "two")
            with self.state.change() as connection:
                connection.execute("UPDATE outbox SET frame = ? WHERE ref = 'one'", (frame,))
            self.assertEqual(self.bodies(spool.left_behind()), ["two"])
            ((number, *_, bad), (*_, good)) = waiting(self.state)
            self.assertEqual(spool.unreadable, [number])
            self.assertIsNone(bad)
            self.assertEqual(good, Message(recipient="bob", body="two", ref="two"))
            spool.clear()

    def test_taken(self) -> None:
        """A ref under which another message is kept is not to be had; that message stays."""
        spool = self.spool()
        self.keep(spool, "one")
        taken = spool.keep("one", Message(recipient="bob", body="two", ref="one"))
        self.clock.advance(0)
        self.assertIn("chat outbox", self.failureResultOf(taken, RefTaken).getErrorMessage())
        self.assertEqual([each and each.body for *_, each in waiting(self.state)], ["one"])
        same = spool.keep("one", Message(recipient="bob", body="one", ref="one", receipt=True))
        self.clock.advance(0)
        self.successResultOf(same)

    def test_gone_for_good(self) -> None:
        """Of a deleted account nothing stays; single messages can be thrown away."""
        spool = self.spool()
        self.keep(spool, "one", "two")
        number = next(iter(waiting(self.state)))[0]
        self.assertTrue(drop(self.state, number))
        for absent in (number, 10**30):
            self.assertFalse(drop(self.state, absent))
        self.assertEqual(
            [(place, account, each and each.body) for _, place, account, each in waiting(self.state)],
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

    def alice(self, programs: bool = False, **more: Any) -> Deferred[int]:
        """Log in as Alice, who keeps what she writes."""
        return super().alice(memory=lambda: Memory(self.clock, self.state, "a:1", **more), programs=programs)

    def kept(self) -> list[str]:
        """What is in the outbox."""
        return [message.body for *_, message in waiting(self.state) if message]

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
            [
                "Not sent to bob: No. (storage-full)",
                "It is kept, and sent as soon as the server takes it, now or the next time.",
            ],
        )
        self.assertEqual(self.kept(), ["two"])
        self.type("/outbox")
        self.assertEqual(self.console.shown[-1], "Not known to be sent, to bob: two")

    def test_offered_again(self) -> None:
        """What a full disk refused is offered each minute, one message first; nothing is told twice."""
        self.patch(letters, "_MOST", 2)
        taken: set[str] = set()
        asked: list[str] = []

        def refuse(session: Any, frame: object) -> bool:
            if not isinstance(frame, Message) or frame.body in taken:
                return False
            asked.append(frame.body)
            return bool(session.say(Failed(code="storage-full", reason="No.", ref=frame.ref)))

        self.server.answers.append(refuse)
        self.alice()
        self.type("/to bob one", "two", "three")
        self.run_for(1)
        self.type("/ping")
        self.assertIn("The server is there.", self.console.shown)
        self.assertEqual(asked, ["one", "two", "three"])
        told = len(self.console.shown)
        self.run_for(125, 1)
        self.assertEqual(asked[3:], ["one", "one"])
        self.line.broken = True
        self.session().cut()
        self.run_for(61, 1)
        self.line.broken = False
        taken.add("one")
        self.run_for(130, 1)
        self.assertEqual(asked[5:], ["two", "three", "two"])
        taken |= {"two", "three"}
        self.run_for(61, 1)
        self.assertEqual([kept.message.body for kept in self.server.ledger.values()], ["one", "two", "three"])
        self.assertEqual(
            [line for line in self.console.shown[told:] if line.startswith(("#", "Not", "It is"))],
            [f"#{number} to bob: waiting" for number in (1, 2, 3)],
        )
        self.assertEqual(self.kept(), [])
        self.type("/quit")
        self.assertEqual(self.complaints, [])

    def test_the_one_offered_is_refused(self) -> None:
        """When the one that is offered is refused for good, those behind it are offered all the same."""
        codes = ["storage-full", "storage-full", "too-large"]
        self.server.answers.append(
            lambda session, frame: (
                isinstance(frame, Message)
                and codes != []
                and session.say(Failed(code=codes.pop(0), reason="No.", ref=frame.ref))
            )
        )
        self.alice()
        self.type("/to bob one", "two")
        self.run_for(125, 1)
        self.assertEqual([kept.message.body for kept in self.server.ledger.values()], ["two"])
        self.run_for(2)
        self.assertEqual(self.kept(), [])

    def test_kept_before_the_disk_failed(self) -> None:
        """What is on disk stays there until the server has room, also when something else cannot be kept."""
        full = [True]
        self.server.answers.append(
            lambda session, frame: (
                isinstance(frame, Message)
                and full[0]
                and session.say(Failed(code="storage-full", reason="No.", ref=frame.ref))
            )
        )
        self.alice()
        self.type("/to bob one")
        with MonkeyPatcher((State, "change", no_disk)):
            self.type("two")
        self.run_for(125, 1)
        self.assertEqual(self.kept(), ["one"])
        full[0] = False
        self.run_for(61, 1)
        self.assertEqual([kept.message.body for kept in self.server.ledger.values()], ["one"])

    def test_repeated_while_it_is_put_off(self) -> None:
        """A program that repeats what the server had no room for is told so again; it is sent once."""
        full = [True]
        self.server.answers.append(
            lambda session, frame: (
                isinstance(frame, Message)
                and full[0]
                and session.say(Failed(code="storage-full", reason="No.", ref=frame.ref))
            )
        )
        status = self.alice(programs=True)
        request = '{"recipient": "bob", "body": "%s", "ref": "%s"}'
        self.type(request % ("one", "r"))
        for _ in range(2):
            self.console.shown.clear()
            self.type(request % ("one", "r"))
            self.assertIn("it is kept already", self.console.shown[0])
            self.assertIn("(storage-full)", self.console.shown[0])
        self.type(request % ("other", "r"))
        self.assertIn("(ref-reused)", self.console.shown[-1])
        self.type(request % ("two", "s"))
        full[0] = False
        self.console.shown.clear()
        self.run_for(61, 1)
        self.assertEqual(self.console.shown, ["#1 to bob: waiting", "#2 to bob: waiting"])
        self.assertEqual([kept.message.body for kept in self.server.ledger.values()], ["one", "two"])
        self.type("/quit")
        self.assertEqual(self.successResultOf(status), 0)
        self.assertEqual(self.kept(), [])

    def test_refused_for_good_at_last(self) -> None:
        """What a full disk refused first, and then the server for another reason, is told, and gone."""
        codes = ["storage-full", "too-large"]
        self.server.answers.append(
            lambda session, frame: (
                isinstance(frame, Message)
                and session.say(Failed(code=codes.pop(0), reason="No.", ref=frame.ref))
            )
        )
        status = self.alice()
        self.type("/to bob one")
        self.run_for(65, 1)
        self.assertEqual(self.console.shown[-2:], ["Not sent to bob: No. (too-large)", "| one"])
        self.assertEqual(self.kept(), [])
        codes.append("storage-full")
        self.type("two", "/quit")
        self.assertEqual(self.successResultOf(status), 5)
        self.assertEqual(self.kept(), ["two"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ref_taken(self) -> None:
        """A ref that belongs to something else that is kept is refused, and that is sent."""
        status = self.alice()
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.type("/to bob one", "/quit")
        self.successResultOf(status)
        with self.state.change() as connection:
            connection.execute("UPDATE outbox SET ref = 'r', owner = 'another that runs'")
        running = FileLock(self.state.folder / "client-another that runs.lock", timeout=0)
        running.acquire()
        self.addCleanup(running.release)
        self.line.broken = False
        self.begin(
            username="alice",
            password="wonderland",
            memory=lambda: Memory(self.clock, self.state, "a:1"),
            programs=True,
        )
        self.type('{"recipient": "bob", "body": "two", "ref": "r"}')
        self.assertIn("another message", self.console.shown[-1])
        self.assertEqual((self.kept(), list(self.server.ledger)), (["one"], []))

    def test_no_message(self) -> None:
        """Something in the outbox that is none is named, with what to do; the rest is sent."""
        status = self.alice()
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.type("/to bob one", "two", "/quit")
        self.successResultOf(status)
        with self.state.change() as connection:
            connection.execute("UPDATE outbox SET frame = 'x' WHERE number = 1")
        self.line.broken = False
        self.begin(
            username="alice", password="wonderland", memory=lambda: Memory(self.clock, self.state, "a:1")
        )
        self.assertIn("chat outbox --drop 1", "".join(self.console.shown))
        self.assertEqual([kept.message.body for kept in self.server.ledger.values()], ["two"])

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
