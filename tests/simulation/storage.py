"""The disk: the real SQLite files, answers that come late, and every way for a transaction to fail."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from random import Random
from typing import Any, Callable, Optional

from twisted.enterprise.adbapi import Connection, Transaction
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chat.store.pool import DirectPool

#: How a transaction can end; all but the first are faults.
FINE, FULL, BROKEN, CRASH_INSIDE, CRASH_BEFORE, CRASH_AFTER = (
    "fine",
    "disk full",
    "I/O error",
    "crash inside",
    "crash before commit",
    "crash after commit",
)
#: What SQLite says.
IO_ERROR, DISK_FULL = "disk I/O error", "database or disk is full"


class Crash(BaseException):
    """The process ends here."""


class InjectedError(sqlite3.OperationalError):
    """A fault of the disk that the simulation has made."""


class Disk:
    """Decides how transactions fare.

    @ivar full: there is no room at present: what writes fails.
    @ivar scarce: there is so little room that nothing new should be taken in.
    @ivar touched: a transaction has run; whoever looks at the files clears this.
    @ivar was_full: one of both has been so.
    @ivar refused: there was no room for a transaction; whoever takes note of that clears this.
    @ivar was_broken: there was an I/O error.
    @ivar fates: how often each fault comes, by its name; the rest is L{FINE}.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.full = False
        self.scarce = False
        self.was_full = False
        self.refused = False
        self.touched = True
        self.was_broken = False
        self.fates: dict[str, float] = {}
        self.healed = False

    def draw(self) -> str:
        """The fate of the next transaction."""
        if self.healed:
            return FINE
        lot = self._random.random()
        for fate, share in self.fates.items():
            lot -= share
            if lot < 0:
                return fate
        return FINE

    def statement(self) -> int:
        """In front of which statement of a transaction a fault comes."""
        return self._random.randint(1, 8)


class _Connection(Connection):
    def commit(self) -> None:
        pool: FaultyPool = self._pool
        pool.committing()
        assert self._connection is not None
        self._connection.commit()
        if pool.fate == CRASH_AFTER:
            raise Crash


class _Transaction(Transaction):
    def execute(self, sql: str, *arguments: Any) -> Any:
        self._pool.executing(sql)
        assert self._cursor is not None
        self._cursor.execute(sql, *arguments)
        return self

    def executemany(self, sql: str, *arguments: Any) -> Any:
        self._pool.executing(sql)
        assert self._cursor is not None
        self._cursor.executemany(sql, *arguments)
        return self

    def __iter__(self) -> Any:
        assert self._cursor is not None
        return iter(self._cursor)


class FaultyPool(DirectPool):
    """The one connection; a transaction runs when L{work} is called, and its answer comes with L{answer}."""

    connectionFactory = _Connection
    transactionFactory = _Transaction

    def __init__(self, directory: Path, disk: Disk, at_once: bool = False) -> None:
        super().__init__(directory)
        self.disk = disk
        self.fate = FINE
        self.waiting: Optional[tuple[Deferred[Any], Callable[[], Any]]] = None
        self.done: Optional[tuple[Deferred[Any], Any]] = None
        self.faults = 0
        self.crashed = False
        self._at_once = at_once
        self._countdown = 0
        self._writes = False
        connection = self.connect()
        for name in ("main", "users", "passwords"):
            connection.execute(f"PRAGMA {name}.synchronous = OFF")

    def runInteraction(self, interaction: Callable[..., Any], *args: Any, **kw: Any) -> Deferred[Any]:
        """As in L{DirectPool}, but later."""
        result: Deferred[Any] = Deferred()
        assert self.waiting is None and self.done is None, "one transaction at a time"
        self.waiting = result, lambda: self._runInteraction(interaction, *args, **kw)
        if self._at_once:
            self.work(self.disk.draw())
            self.answer()
        return result

    def work(self, fate: str) -> None:
        """The transaction that waits runs now; nobody hears of it yet.

        @raise Crash: the process ends in it.
        """
        assert self.waiting is not None
        result, run = self.waiting
        self.waiting = None
        self.disk.touched = True
        self.fate = fate
        self._countdown = self.disk.statement()
        self._writes = False
        try:
            outcome: Any = run()
        except Exception:
            outcome = Failure()
        except Crash:
            self.crashed = True
            raise
        self.fate = FINE
        self.done = result, outcome

    def answer(self) -> None:
        """The answer of the transaction that has run reaches those who wait for it."""
        assert self.done is not None
        result, outcome = self.done
        self.done = None
        if isinstance(outcome, Failure) and DISK_FULL in str(outcome.value):
            self.disk.refused = True  # again: only now the server begins to wait
        result.callback(outcome)

    def executing(self, sql: str) -> None:
        """A statement is about to run."""
        self._writes = self._writes or sql.startswith(("INSERT", "UPDATE", "DELETE"))
        if self.fate == FINE:
            return
        self._countdown -= 1
        if self._countdown <= 0:
            if self.fate == BROKEN:
                self._fault(IO_ERROR)
            if self.fate == CRASH_INSIDE:
                raise Crash
            if self.fate == FULL and self._writes:
                self._fault(DISK_FULL)

    def committing(self) -> None:
        """The transaction is about to be committed."""
        if self.fate in (CRASH_BEFORE, CRASH_INSIDE):
            raise Crash
        if self._writes and (self.fate == FULL or self.disk.full):
            self._fault(DISK_FULL)
        if self.fate == BROKEN:
            self._fault(IO_ERROR)

    def _fault(self, what: str) -> None:
        self.faults += 1
        if what == IO_ERROR:
            self.disk.was_broken = True
        else:
            self.disk.was_full = self.disk.refused = True
        raise InjectedError(what)


class Hashing:
    """The threads that hash passwords: each result comes when the world says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run C{function} in the pool."""
        result: Deferred[Any] = Deferred()
        self.waiting.append((result, lambda: function(*arguments)))
        return result

    def finish(self, place: int) -> None:
        """One of the hashes is there."""
        result, function = self.waiting.pop(place)
        result.callback(function())


class CheapBcrypt:
    """In place of the module C{bcrypt}: the same shape, and no work."""

    @staticmethod
    def gensalt(rounds: int) -> bytes:
        """The beginning of a hash at this cost."""
        return b"$2b$%02d$" % rounds

    @staticmethod
    def hashpw(password: bytes, salt: bytes) -> bytes:
        """The hash."""
        return salt[:7] + hashlib.sha256(password).hexdigest().encode()

    @staticmethod
    def checkpw(password: bytes, hashed: bytes) -> bool:
        """Whether the hash is that of this password."""
        return CheapBcrypt.hashpw(password, hashed) == hashed
