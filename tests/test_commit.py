"""Tests for L{chat.store.commit}: what is asked meanwhile goes to disk together, in order."""

from __future__ import annotations

import sqlite3
from collections import deque
from pathlib import Path
from typing import Any, Callable, Sequence

from twisted.enterprise.adbapi import Connection
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chat.errors import Code, Refusal
from chat.store import commit
from chat.store.commit import RETRY_SECONDS, Cursor, GroupCommit, Procedure, explain
from chat.store.pool import DirectPool, threaded_pool


class UnsteadyConnection(Connection):
    """A connection whose commits fail when a test wants it."""

    _connection: sqlite3.Connection

    def commit(self) -> None:
        """Commit, unless the pool has an error in store."""
        if self._pool.commit_errors:
            raise self._pool.commit_errors.popleft()
        self._connection.commit()


class SteppedPool(DirectPool):
    """A pool that carries out one transaction for each L{step}: a slow database thread.

    @ivar slow: whether it waits for L{step} at all.
    @ivar transactions: how many it was given.
    @ivar commit_errors: what the next commits raise.
    """

    connectionFactory = UnsteadyConnection

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.slow = False
        self.transactions = 0
        self.commit_errors: deque[Exception] = deque()
        self._waiting: deque[Callable[[], None]] = deque()

    def runInteraction(self, interaction: Callable[..., Any], *args: Any, **kw: Any) -> Deferred[Any]:
        """Do it now, or at the next step."""
        self.transactions += 1
        if not self.slow:
            return super().runInteraction(interaction, *args, **kw)
        result: Deferred[Any] = Deferred()

        def work() -> None:
            DirectPool.runInteraction(self, interaction, *args, **kw).chainDeferred(result)

        self._waiting.append(work)
        return result

    def step(self) -> None:
        """The database thread gets to the next transaction."""
        self._waiting.popleft()()


def make(directory: Path) -> None:
    """Three files with a table each."""
    directory.mkdir()
    for name in ("messages", "users", "passwords"):
        connection = sqlite3.connect(directory / f"{name}.db")
        connection.execute("CREATE TABLE notes (text TEXT NOT NULL UNIQUE)")
        connection.close()


def notes(directory: Path, file: str = "messages") -> list[str]:
    """What another program finds in one of the files, in the order in which it was written."""
    connection = sqlite3.connect(directory / f"{file}.db")
    try:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]
    finally:
        connection.close()


class CommitCase(SynchronousTestCase):
    """A queue in front of a slow database thread.

    @ivar told: what the callbacks were told, in order.
    @ivar books: which of begin, end and forget were called, in order.
    """

    def setUp(self) -> None:
        """Make three files and a queue in front of them."""
        self.path = Path(self.mktemp())
        make(self.path)
        self.clock = Clock()
        self.pool = SteppedPool(self.path)
        self.addCleanup(self.pool.close)
        self.told: list[object] = []
        self.books: list[str] = []
        self.commit = GroupCommit(
            self.pool,
            self.clock,
            lambda cursor: self.books.append("begin"),
            lambda cursor: self.books.append("end"),
            lambda: self.books.append("forget"),
        )
        self.performed: list[list[str]] = []

    def writer(self, file: str = "messages", rank: int | None = None) -> Procedure[str, str]:
        """A procedure that writes notes to one of the files; a text of C{"bad"} fails."""
        table = "main" if file == "messages" else file

        def perform(cursor: Cursor, texts: Sequence[str]) -> list[str]:
            self.performed.append(list(texts))
            for text in texts:
                cursor.execute(f"INSERT INTO {table}.notes (text) VALUES (?)", (text,))
                if text == "bad":
                    raise ValueError("a bad text")
            return [f"{text} is written" for text in texts]

        return Procedure(perform, file, rank)

    def reader(self) -> Procedure[None, list[str]]:
        """A procedure that reads the notes of C{messages}."""

        def perform(cursor: Cursor, nothing: Sequence[None]) -> list[list[str]]:
            rows = cursor.execute("SELECT text FROM notes ORDER BY rowid").fetchall()
            return [[text for (text,) in rows] for _ in nothing]

        return Procedure(perform, None)

    def submit(self, procedure: Procedure[Any, Any], *arguments: object) -> None:
        """Ask for these, one after the other; what comes of them is C{told}."""
        for argument in arguments:
            self.commit.submit(procedure, argument, self.told.append, self.told.append)

    def run_all(self) -> None:
        """Let everything asked be done."""
        self.clock.advance(0)


class GroupTests(CommitCase):
    """What goes to disk together, and in which order."""

    def test_aLoneOperationWaitsForNobody(self) -> None:
        """One operation is one transaction, in the same turn of the reactor."""
        self.submit(self.writer(), "a")
        self.assertEqual(self.told, [])
        self.run_all()
        self.assertEqual(self.told, ["a is written"])
        self.assertEqual(self.books, ["begin", "end"])
        self.assertEqual(notes(self.path), ["a"])

    def test_whatIsAskedMeanwhileIsOneTransaction(self) -> None:
        """While the thread is busy, requests gather; then they are committed at once, in order."""
        self.pool.slow = True
        self.submit(self.writer(), "a")
        self.run_all()
        self.submit(self.writer(), *"bcdef")
        self.assertEqual((self.pool.transactions, self.told), (1, []))
        self.pool.step()
        self.assertEqual((self.pool.transactions, self.told), (2, ["a is written"]))
        self.assertEqual(notes(self.path), ["a"])
        self.pool.step()
        self.assertEqual(self.pool.transactions, 2)
        self.assertEqual(self.told, [f"{text} is written" for text in "abcdef"])
        self.assertEqual(notes(self.path), list("abcdef"))

    def test_oneTurnOfTheReactor(self) -> None:
        """What arrives in one turn of the reactor shares a transaction, even on an idle database."""
        self.submit(self.writer(), "a", "b")
        self.run_all()
        self.assertEqual(self.pool.transactions, 1)

    def test_nobodyHearsBeforeTheCommit(self) -> None:
        """When a result is told, another program finds it in the file."""
        found: list[list[str]] = []
        self.commit.submit(self.writer(), "a", lambda _: found.append(notes(self.path)), self.fail)
        self.run_all()
        self.assertEqual(found, [["a"]])

    def test_oneFileATransaction(self) -> None:
        """A transaction writes one file only; who only reads comes along with any."""
        self.submit(self.reader(), None)
        self.submit(self.writer(), "a")
        self.submit(self.reader(), None)
        self.submit(self.writer("users"), "b")
        self.submit(self.writer(), "c")
        self.run_all()
        self.assertEqual(self.pool.transactions, 3)
        self.assertEqual(self.told, [[], "a is written", ["a"], "b is written", "c is written"])
        self.assertEqual((notes(self.path), notes(self.path, "users")), (["a", "c"], ["b"]))

    def test_largestGroup(self) -> None:
        """A transaction has a bounded number of operations."""
        self.patch(commit, "LARGEST_GROUP", 2)
        self.submit(self.writer(), *"abcde")
        self.run_all()
        self.assertEqual(self.pool.transactions, 3)
        self.assertEqual(notes(self.path), list("abcde"))

    def test_gathered(self) -> None:
        """Procedures with a rank are performed all at once, the lowest first; others keep their place."""
        last, first, placed = self.writer(rank=1), self.writer(rank=0), self.writer()
        self.submit(last, "a")
        self.submit(first, "b")
        self.submit(last, "c")
        self.submit(placed, "d")
        self.submit(last, "e")
        self.submit(first, "f")
        self.run_all()
        self.assertEqual(self.pool.transactions, 1)
        self.assertEqual(self.performed, [["b"], ["a", "c"], ["d"], ["f"], ["e"]])
        self.assertEqual(self.told, [f"{text} is written" for text in "abcdef"])

    def test_asksAgainFromItsResult(self) -> None:
        """A long row of operations, each asked when the one before is told, needs no deep stack."""

        async def row() -> list[str]:
            return [await self.commit.call(self.writer(), f"note {n}") for n in range(400)]

        result = Deferred.fromCoroutine(row())
        self.run_all()
        self.assertEqual(len(self.successResultOf(result)), 400)
        self.assertEqual(len(notes(self.path)), 400)


class FailureTests(CommitCase):
    """What fails touches nothing else."""

    def test_oneBadOperation(self) -> None:
        """One failing operation is told its error; all the others of its group are done, in order."""
        self.submit(self.writer(), "a", "bad", "c")
        self.submit(self.writer(rank=0), "d")
        self.run_all()
        first, error, *others = self.told
        self.assertEqual([first, *others], ["a is written", "c is written", "d is written"])
        self.assertIsInstance(error, ValueError)
        self.assertEqual(notes(self.path), ["a", "c", "d"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_eachAlone(self) -> None:
        """After the rollback what was remembered is forgotten, and each operation is a transaction."""
        self.submit(self.writer(), "a", "bad")
        self.run_all()
        self.assertEqual(self.performed, [["a"], ["bad"], ["a"], ["bad"]])
        self.assertEqual(self.books, ["begin", "forget", "begin", "end", "begin", "forget"])
        self.flushLoggedErrors(ValueError)

    def test_laterOnesStayTogether(self) -> None:
        """Only the group that failed is done one by one; what was asked after it is a group again."""
        self.pool.slow = True
        self.submit(self.writer(), "a", "bad")
        self.run_all()
        self.submit(self.writer(), "c", "d")
        for transaction, waiting in enumerate((2, 3, 2, 0), 1):
            self.assertEqual((self.pool.transactions, self.commit.waiting), (transaction, waiting))
            self.pool.step()
        self.assertEqual(self.performed[-1:], [["d"]])
        self.assertEqual(self.performed[2:4], [["a"], ["bad"]])
        self.assertEqual(self.pool.transactions, 4)
        self.assertEqual(notes(self.path), ["a", "c", "d"])
        self.flushLoggedErrors(ValueError)

    def test_commitFails(self) -> None:
        """When the commit itself fails, nothing of it is on disk and the one who asked is told."""
        self.pool.commit_errors.append(sqlite3.OperationalError("disk I/O error"))
        self.submit(self.writer(), "a")
        self.run_all()
        self.assertIsInstance(self.told[0], sqlite3.OperationalError)
        self.assertEqual(notes(self.path), [])
        self.submit(self.writer(), "a")
        self.run_all()
        self.assertEqual(self.told[1:], ["a is written"])
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.OperationalError)), 1)

    def test_commitOfAGroupFails(self) -> None:
        """When the commit of a group fails, each operation gets another one of its own."""
        self.pool.commit_errors.append(sqlite3.OperationalError("disk I/O error"))
        self.submit(self.writer(), "a", "b")
        self.run_all()
        self.assertEqual(self.told, ["a is written", "b is written"])
        self.assertEqual((notes(self.path), self.pool.transactions), (["a", "b"], 3))

    def test_noRoom(self) -> None:
        """A full disk is a refusal, and no bug to be logged; with room again all is well."""
        self.pool.commit_errors.append(sqlite3.OperationalError("database or disk is full"))
        self.submit(self.writer(), "a")
        self.run_all()
        refusal = self.told.pop()
        assert isinstance(refusal, Refusal)
        self.assertEqual(refusal.code, Code.STORAGE_FULL)
        self.submit(self.writer(), "a")
        self.run_all()
        self.assertEqual((self.told, notes(self.path)), (["a is written"], ["a"]))

    def test_insists(self) -> None:
        """What insists waits for room; while it waits for its turn to find out, others are not held up."""
        full = sqlite3.OperationalError("database or disk is full")
        insisting: Procedure[str, str] = Procedure(self.writer().perform, "messages", insists=True)
        self.pool.slow = True
        self.pool.commit_errors.append(full)
        self.submit(insisting, "a")
        self.run_all()
        self.pool.step()
        self.assertEqual((self.told, self.commit.waiting), ([], 1))
        self.submit(self.writer(), "b")
        self.run_all()
        self.clock.advance(RETRY_SECONDS)
        self.pool.step()
        self.assertEqual((self.told, self.pool.transactions), (["b is written"], 3))
        self.pool.step()
        self.assertEqual((self.told, notes(self.path)), (["b is written", "a is written"], ["b", "a"]))
        self.assertEqual((self.commit.waiting, self.clock.getDelayedCalls()), (0, []))

    def test_aBrokenListener(self) -> None:
        """Who cannot use its result does not keep the others from theirs."""

        def broken(result: str) -> None:
            raise ZeroDivisionError(result)

        self.commit.submit(self.writer(), "a", broken, self.fail)
        self.submit(self.writer(), "b")
        self.run_all()
        self.assertEqual(self.told, ["b is written"])
        self.assertEqual(notes(self.path), ["a", "b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_aBrokenListenerToErrors(self) -> None:
        """The same for one who cannot use an error."""

        def broken(error: Exception) -> None:
            raise ZeroDivisionError from error

        self.commit.submit(self.writer(), "bad", self.fail, broken)
        self.submit(self.writer(), "b")
        self.run_all()
        self.assertEqual(self.told, ["b is written"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_explain(self) -> None:
        """A full disk is C{storage-full}; other errors are what they are; none ends the server."""
        full = explain(sqlite3.OperationalError("database or disk is full"))
        assert isinstance(full, Refusal)
        self.assertEqual(full.code, Code.STORAGE_FULL)
        error = ValueError("x")
        self.assertIs(explain(error), error)
        self.assertIsInstance(explain(KeyboardInterrupt("x")), RuntimeError)


class CloseTests(CommitCase):
    """The end."""

    def test_idle(self) -> None:
        """With nothing under way it is over at once."""
        self.successResultOf(self.commit.close())

    def test_waitsForEverything(self) -> None:
        """Everything asked before is on disk when it is over."""
        self.pool.slow = True
        self.submit(self.writer(), "a")
        self.run_all()
        self.submit(self.writer(), "b")
        self.submit(self.writer("users"), "c")
        closed = self.commit.close()
        for _ in range(3):
            self.assertNoResult(closed)
            self.pool.step()
        self.successResultOf(closed)
        self.assertEqual(len(self.told), 3)
        self.assertEqual((notes(self.path), notes(self.path, "users")), (["a", "b"], ["c"]))

    def test_refusedAfterwards(self) -> None:
        """Nothing more is taken: neither while the rest is done nor when it is over."""
        self.submit(self.writer(), "a")
        closed = self.commit.close()
        self.submit(self.writer(), "b")
        refusal = self.told.pop()
        assert isinstance(refusal, Refusal)
        self.assertEqual(refusal.code, Code.SHUTTING_DOWN)
        self.run_all()
        self.successResultOf(closed)
        self.failureResultOf(self.commit.call(self.writer(), "c"), Refusal)
        self.assertEqual((self.told, notes(self.path)), (["a is written"], ["a"]))


class ThreadTests(TestCase):
    """The same with the daemon's own pool: one connection in a real database thread."""

    def setUp(self) -> None:
        """Make three files and a queue in front of a thread."""
        self.path = Path(self.mktemp())
        make(self.path)
        self.pool = threaded_pool(reactor, self.path)
        self.addCleanup(self.pool.close)
        self.groups: list[int] = []
        self.commit = GroupCommit(
            self.pool,
            reactor,
            lambda cursor: None,
            lambda cursor: None,
            lambda: None,
        )

        def perform(cursor: Cursor, texts: Sequence[str]) -> list[str]:
            self.groups.append(len(texts))
            cursor.executemany("INSERT INTO notes (text) VALUES (?)", [(text,) for text in texts])
            return [text.upper() for text in texts]

        self.procedure = Procedure(perform, "messages", 0)

    async def test_groups(self) -> None:
        """Two hundred requests are a few transactions, answered in order."""
        texts = [f"note {n:03d}" for n in range(200)]
        first = self.commit.call(self.procedure, texts[0])
        rest = gatherResults([self.commit.call(self.procedure, text) for text in texts[1:]])
        self.assertEqual([await first, *await rest], [text.upper() for text in texts])
        self.assertLessEqual(len(self.groups), 3)
        self.assertEqual(notes(self.path), texts)

    async def test_failure(self) -> None:
        """What fails in the thread fails alone."""
        await self.commit.call(self.procedure, "a")
        again = self.commit.call(self.procedure, "a")
        other = self.commit.call(self.procedure, "b")
        self.assertEqual(await other, "B")
        await self.assertFailure(again, sqlite3.IntegrityError)
        self.assertEqual(notes(self.path), ["a", "b"])
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.IntegrityError)), 1)

    async def test_close(self) -> None:
        """Closing waits for the thread."""
        result = self.commit.call(self.procedure, "a")
        await self.commit.close()
        self.assertEqual(self.successResultOf(result), "A")
        self.assertEqual(notes(self.path), ["a"])

    async def test_durable(self) -> None:
        """All three files are in WAL mode and synchronous=FULL: a power cut forgets no commit."""

        def pragmas(cursor: Cursor) -> list[tuple[object, object]]:
            return [
                (
                    cursor.execute(f"PRAGMA {file}.journal_mode").fetchone()[0],
                    cursor.execute(f"PRAGMA {file}.synchronous").fetchone()[0],
                )
                for file in ("main", "users", "passwords")
            ]

        self.assertEqual(await self.pool.runInteraction(pragmas), [("wal", 2)] * 3)
