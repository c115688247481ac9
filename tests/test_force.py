"""The promise held by force: the real daemon under load is killed, stopped, and left without room.

C{python -m tests.force} does the first of these as often as wanted.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Iterator

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from chat.admin.audit import audit
from tests.daemon import PATIENCE, Caller, Daemon, environment, free_port, until
from tests.force.books import Books, Broken, Row
from tests.force.run import Ordeal
from tests.talker import Said, keywords
from tests.world import open_world


class OrdealTests(TestCase):
    """A server under load, ended at random moments and started again at once, on the same data."""

    timeout = 300

    async def _ended(self, signal: str, ends: int, seed: int, orderly: int = 0) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        ordeal = Ordeal(reactor, folder, seed, signal)
        figures = await ordeal.run(ends)
        self.assertEqual((figures.ended, figures.lost, figures.doubled), (ends, 0, 0))
        self.assertEqual((figures.accepted, figures.delivered), (figures.messages, figures.messages))
        self.assertTrue(figures.orderly >= orderly, ordeal.tell())
        # There was something to lose and to double, and nearly every end was looked into.
        self.assertTrue(figures.messages > 5 * ends, ordeal.tell())
        self.assertTrue(figures.repeated > ends, ordeal.tell())
        self.assertTrue(figures.audits > ends // 2, ordeal.tell())

    def test_kill(self) -> Deferred[None]:
        """After 20 times C{kill -9} nothing is lost and nothing is doubled, and every audit is clean."""
        return Deferred.fromCoroutine(self._ended("KILL", 20, 1))

    def test_term(self) -> Deferred[None]:
        """The same with orderly stops: a restart drops nothing, and clients come back by themselves."""
        return Deferred.fromCoroutine(self._ended("TERM", 5, 2, orderly=3))


class BooksTests(SynchronousTestCase):
    """What judges the server sees when it breaks its promise."""

    def setUp(self) -> None:
        """Ann has sent a message to Ben."""
        self.books = Books(random.Random(0))
        self.books.arrived.update(ben={})
        self.sent = self.books.compose("ann")
        while self.sent.recipient != "ben":
            self.sent = self.books.compose("ann")

    def come(self, id: int, *, name: str = "ben", body: str | None = None, returned: bool = False) -> int:
        """Something comes to somebody."""
        return self.books.arrives(name, id, "ann", self.sent.body if body is None else body, returned)

    def assertBroken(self, *parts: str) -> None:
        """It was noticed, once."""
        (broken,) = self.books.broken
        self.assertIsInstance(broken, Broken)
        for part in parts:
            self.assertIn(part, str(broken))

    def row(self, waiting: bool = True, recipient: str = "ben") -> Row:
        """The message in the ledger."""
        return Row(7, "ann", recipient, self.sent.ref, waiting)

    def test_asItShouldBe(self) -> None:
        """Accepted, repeated, come twice without a receipt: all that is lawful."""
        for _ in range(2):
            self.books.accepted("ann", self.sent.ref, 7, "now")
        self.assertEqual([self.come(7), self.come(7)], [1, 2])
        self.books.account_for([self.row(False)], [7])
        self.assertEqual(self.books.broken, [])
        self.assertNotIn(self.sent.ref, self.books.missing())

    def test_lost(self) -> None:
        """An accepted message is not in the ledger."""
        self.books.accepted("ann", self.sent.ref, 7, "now")
        self.books.account_for([], [7])
        self.assertBroken(self.sent.ref, "not in the ledger")
        self.assertEqual(self.books.figures.lost, 1)
        self.assertIn(self.sent.ref, self.books.missing())

    def test_neverCame(self) -> None:
        """The ledger says delivered, and nobody has it."""
        self.books.account_for([self.row(False)], [])
        self.assertBroken("never came")

    def test_acceptedTwice(self) -> None:
        """A repeated ref has another id."""
        self.books.accepted("ann", self.sent.ref, 7, "now")
        self.books.accepted("ann", self.sent.ref, 8, "now")
        self.assertEqual(self.books.figures.doubled, 2)

    def test_cameAsAnother(self) -> None:
        """A message comes under an id that it does not have."""
        self.books.accepted("ann", self.sent.ref, 7, "now")
        self.come(8)
        self.assertBroken("accepted as 7 and came as 8")

    def test_changed(self) -> None:
        """A message comes changed, to somebody else, or back without a reason."""
        self.come(7, body=self.sent.body + "!")
        self.assertBroken("nobody sent that")
        self.books.broken.clear()
        self.come(7, returned=True)
        self.assertBroken("nobody sent that")
        self.books.broken.clear()
        self.books.account_for([self.row(recipient="ann")], [])
        self.assertBroken("nobody sent")

    def test_twoInOne(self) -> None:
        """Two messages have one id."""
        self.books.accepted("ann", self.sent.ref, 7, "now")
        self.books.accepted("ann", "another", 7, "now")
        self.assertBroken("message 7 is")


class ForceCase(SynchronousTestCase):
    """A test with a daemon, C{self.daemon}, whose addresses stay the same."""

    def setUp(self) -> None:
        """Choose a folder and a port."""
        self.daemon = Daemon(self)
        port = free_port()
        self.door = ("--json", f"tcp:{port}:interface=127.0.0.1")
        self.address = f"127.0.0.1:{port}"

    def start(self) -> None:
        """Start the server; in the end it has no defect to tell of, and the sums come out."""
        self.addCleanup(self._judge)
        self.daemon.start(*self.door)

    def _judge(self) -> None:
        self.assertEqual(self.daemon.traceback(), "")
        with (report := audit(self.daemon.folder / "data")).findings as findings:
            self.assertEqual(findings.read(), "")
        self.assertEqual(report.number, 0)


class HeaderTests(SynchronousTestCase):
    """What C{kill -9} left between the header of a C{-wal} file and its first page: found by force."""

    def test_audited(self) -> None:
        """Such a file holds nothing, and the audit is as clean as it was."""
        world = open_world(self)
        self.assertIsNone(world.result(world.store.find("alice")))
        left = Path(self.mktemp())
        left.mkdir()
        for file in world.path.glob("*.db*"):
            shutil.copy(file, left)
        before = (left / "messages.db-wal").read_bytes()
        alice, _ = world.sign_up("alice", "bob")
        world.send(alice, "bob")
        header = (world.path / "messages.db-wal").read_bytes()[:32]
        (left / "messages.db-wal").write_bytes(header)
        self.assertEqual((len(before), len(header)), (0, 32))
        with (report := audit(left)).findings as findings:
            self.assertEqual(findings.read(), "")
        assert report.totals is not None
        self.assertEqual(report.totals.number, 0)


class Recipient:
    """A recipient in a process of its own.

    @ivar said: the lines that it has written.
    """

    def __init__(self, test: SynchronousTestCase, address: str, name: str) -> None:
        """Start it; it is ended with the test."""
        self.said: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.force.recipient", address, name],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        test.addCleanup(self._end)
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def bodies(self) -> list[str]:
        """The messages it has had."""
        return [line for line in self.said if not line.startswith("welcome ")]

    def stop(self) -> None:
        """Stop it where it stands."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on as if nothing had been."""
        self._process.send_signal(signal.SIGCONT)

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.said.append(line.rstrip("\n"))

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()


class StoppedRecipientTests(ForceCase):
    """A recipient that is there and does nothing."""

    def test_stopped(self) -> None:
        """SIGSTOP, mail, C{kill -9}, a restart: all of it waits, comes to other sessions, to him once."""
        self.start()
        bob = Recipient(self, self.address, "bob")
        until(lambda: bob.said == ["welcome 0"])
        alice = self.daemon.user("alice")
        first = [f"before {number}" for number in range(20)]
        for body in first:
            alice.send("bob", body)
        alice.expect(*["accepted"] * 20)
        until(lambda: bob.bodies == first)
        until(lambda: self._waiting(alice) == 0)
        bob.stop()
        # More than the network holds, so that some is in its buffers and some in the store only.
        later = [f"{number} {'x' * 30_000}" for number in range(300)]
        for body in later:
            alice.send("bob", body)
            alice.expect("accepted")
        self.daemon.kill()
        self.daemon.start(*self.door)
        other = self.daemon.call("json")
        other.say_login("bob")
        (_, welcome) = other.expect("password", "welcome")
        self.assertEqual(welcome["waiting"], 300)
        shown = other.expect(*["message"] * 300)
        self.assertEqual([message["body"] for message in shown], later)
        self.assertEqual(bob.bodies, first)
        other.hang_up()
        bob.go_on()
        until(lambda: len(bob.bodies) >= 320)
        alice = self.daemon.user("alice")
        until(lambda: self._waiting(alice) == 0)
        self.assertEqual(bob.bodies, first + later)
        self.daemon.stop()

    def _waiting(self, alice: Caller) -> int:
        """How many of Alice's messages wait."""
        alice.system("list", box="sent", limit=1000)
        (listing,) = alice.expect("listing")
        return sum(entry["state"] == "waiting" for entry in listing["messages"])


class Disk:
    """A small file system in memory, mounted for the test; it can be filled to the last byte."""

    def __init__(self, test: SynchronousTestCase, folder: Path, mebibytes: int) -> None:
        """Mount it.

        @raise SkipTest: it cannot be mounted here.
        """
        self.folder = folder
        self._filler = folder / "filler"
        folder.mkdir(mode=0o700)
        options = f"size={mebibytes}m,mode=700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            mounted = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise SkipTest(f"There is no mount here: {error}") from None
        if mounted.returncode:
            raise SkipTest(f"A file system cannot be mounted here: {mounted.stderr.strip()}")
        test.addCleanup(subprocess.run, ["umount", "-l", str(folder)], check=True)

    @property
    def free(self) -> int:
        """How many bytes are free."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Leave not a byte."""
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while filler.write(b"x" * 65536):
                pass
        assert self.free == 0

    def clear(self) -> None:
        """Take the filling out."""
        self._filler.unlink()


class FullDiskTests(ForceCase):
    """The data are on a disk of 24 MiB, 8 of which are the reserve."""

    def setUp(self) -> None:
        """Mount it, and start the server on it."""
        super().setUp()
        self.disk = Disk(self, self.daemon.folder / "data", 24)
        self.start()

    def fill(self, alice: Caller, recipient: str, reserve: bool = True) -> int:
        """Alice sends until she is refused; how many were accepted. Then not a byte is left, if so wanted."""
        for number in range(1000):
            alice.send(recipient, "x" * 60_000, ref=f"{recipient} {number}")
            (answer,) = self.answers(alice, 1)
            if answer["keyword"] == "failed":
                self.assertEqual(keywords([answer]), ["failed storage-full"])
                self.assertEqual(answer["ref"], f"{recipient} {number}")
                if not reserve:
                    self.disk.fill()
                return number
        raise AssertionError("the disk has not become full")

    def answers(self, caller: Caller, count: int) -> list[Said]:
        """What was said to this client, but for the messages that came to it meanwhile."""
        return [said for said in self.heard(caller, count) if "keyword" in said]

    def heard(self, caller: Caller, count: int) -> Iterator[Said]:
        """What is said to this client until it has had so many answers."""
        while count:
            said = caller.next()
            count -= "keyword" in said
            yield said

    def ask(self, caller: Caller, word: str, **more: object) -> Said:
        """The answer to a command."""
        caller.system(word, **more)
        (answer,) = self.answers(caller, 1)
        return answer

    def refused(self, alice: Caller, ref: str) -> None:
        """A send is refused for lack of room."""
        alice.send("bob", "hi", ref=ref)
        self.assertEqual(keywords(self.answers(alice, 1)), ["failed storage-full"])

    def test_reserve(self) -> None:
        """Sends are refused in time, repetitions are not; nobody can sign up; all is well with room again."""
        self.daemon.user("bob").hang_up()
        alice = self.daemon.user("alice")
        count = self.fill(alice, "bob")
        self.assertTrue(100 < count < 280, count)
        self.assertTrue(4 << 20 < self.disk.free <= 8 << 20, self.disk.free)
        alice.send("bob", "x" * 60_000, ref="bob 0")
        (again,) = self.answers(alice, 1)
        self.assertEqual((again["keyword"], again["id"]), ("accepted", 1))
        carol = self.daemon.call("json")
        carol.say_login("carol")
        carol.expect("new-password", "failed storage-full", "username")
        carol.say_login("alice")
        carol.expect("password", "welcome")
        # Deleting makes room inside the file; nothing has to be started anew.
        bob = self.daemon.user("bob")
        deleted = self.ask(bob, "delete", ids=list(range(1, count + 1)))
        self.assertEqual(len(deleted["ids"]), count)
        self.assertEqual(self.fill(alice, "bob") > count // 2, True)

    def test_notAByte(self) -> None:
        """With not a byte left those who are here go on: log in, read, confirm, delete; then it recovers."""
        self.daemon.user("bob").hang_up()
        alice = self.daemon.user("alice")
        count = self.fill(alice, "bob", reserve=False)
        self.refused(alice, "small")
        bob = self.daemon.call("json")
        bob.say_login("bob")
        (_, welcome) = bob.expect("password", "welcome")
        self.assertEqual(welcome["waiting"], count)
        ids = [message["id"] for message in bob.expect(*["message"] * count)]
        self.assertEqual(ids, list(range(1, count + 1)))
        bob.received(*ids[:10])
        listing = self.ask(bob, "list", box="inbox", limit=20)["messages"]
        self.assertEqual([entry["state"] for entry in listing], ["delivered"] * 10 + ["waiting"] * 10)
        self.assertEqual(self.ask(bob, "delete", ids=ids[10:20])["ids"], ids[10:20])
        self.assertEqual(len(self.ask(bob, "read", ids=ids[:5])["messages"]), 5)
        self.refused(alice, "small")
        self.disk.clear()
        self.ask(bob, "delete", ids=ids)
        alice.send("bob", "hi", ref="small")
        self.assertEqual(keywords(self.answers(alice, 1)), ["accepted"])
        (message,) = bob.expect("message")
        self.assertEqual((message["body"], message["id"]), ("hi", count + 1))

    def test_deleteAccount(self) -> None:
        """With the reserve left, an account with a full mailbox is deleted, and its mail comes back."""
        self.daemon.user("alice").hang_up()
        bob = self.daemon.user("bob")
        alice = self.daemon.user("alice")
        bob.hang_up()
        count = self.fill(alice, "bob")
        bob = self.daemon.call("json")
        bob.say_login("bob")
        bob.expect("password", "welcome", *["message"] * count)
        bob.system("delete-account", password="password of bob")
        bob.expect("account-deleted", "username")
        returned = alice.expect(*["message"] * count)
        self.assertEqual({message["returned"]["code"] for message in returned}, {"account-deleted"})
        self.assertEqual(len({message["id"] for message in returned}), count)

    def test_restart(self) -> None:
        """Killed with the reserve left, it starts again on the full disk, and mail is delivered."""
        self.daemon.user("bob").hang_up()
        alice = self.daemon.user("alice")
        count = self.fill(alice, "bob")
        self.daemon.kill()
        self.daemon.start(*self.door)
        bob = self.daemon.call("json")
        bob.say_login("bob")
        bob.expect("password", "welcome", *["message"] * count)
        self.assertEqual(len(self.ask(bob, "delete", ids=list(range(1, count + 1)))["ids"]), count)
        alice = self.daemon.user("alice")
        alice.send("bob", "hi")
        self.assertEqual(keywords(self.answers(alice, 1)), ["accepted"])
