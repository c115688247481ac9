"""Group commit: what is asked while the database thread is busy goes to disk together.

Operations run in the order in which they were asked, in one thread, on one
connection.  A run of operations that write the same file is one transaction; the
batch grows by itself under load, and a lone operation waits for nobody.  Nobody
hears of a result before its commit.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from typing import Any, Callable, Generic, Optional, Sequence, TypeVar

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat.errors import Code, Refusal, storage_full

Cursor = sqlite3.Cursor
A = TypeVar("A")
R = TypeVar("R")

#: The most operations in one transaction: bounds how long a commit may take.
LARGEST_GROUP = 4096
#: How long what there was no room for waits before it is tried again.
RETRY_SECONDS = 1.0
#: What waited for a result is broken; what waits for the others is not.
_UNUSABLE = "A result of the store could not be used"
#: The most bytes of contents in one transaction: bounds what it takes from the reserve on the disk.
HEAVIEST_GROUP = 4 * 1024 * 1024


class Procedure(Generic[A, R]):
    """A transaction's part that serves many operations at once.

    @ivar perform: C{perform(cursor, arguments)} returns one result for each argument, in order;
        runs in the database thread.
    @ivar file: which of the three files it writes; C{None} if it only reads.
    @ivar rank: where it stands among the procedures that may be gathered; C{None} if it must
        keep its place among all others.
    @ivar insists: whether an operation that there is no room for is tried again until there is some.
    """

    __slots__ = ("file", "insists", "perform", "rank")

    def __init__(
        self,
        perform: Callable[[Cursor, Sequence[A]], Sequence[R]],
        file: str | None,
        rank: int | None = None,
        *,
        insists: bool = False,
    ) -> None:
        self.perform = perform
        self.file = file
        self.rank = rank
        self.insists = insists


class _Operation:
    __slots__ = ("alone", "argument", "done", "failed", "procedure", "weight")

    def __init__(
        self,
        procedure: Procedure[Any, Any],
        argument: object,
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        weight: int,
    ) -> None:
        self.procedure = procedure
        self.argument = argument
        self.done = done
        self.failed = failed
        self.weight = weight
        self.alone = False


class GroupCommit:
    """The queue in front of the database thread."""

    _log = Logger()

    def __init__(
        self,
        pool: ConnectionPool,
        reactor: IReactorTime,
        begin: Callable[[Cursor], None],
        end: Callable[[Cursor], None],
        forget: Callable[[], None],
    ) -> None:
        """Run operations on the one connection of C{pool}.

        @param begin: called in the database thread at the beginning of each transaction.
        @param end: the same, before its commit.
        @param forget: the same, after a rollback: what was remembered may not be true.
        """
        self._pool = pool
        self._reactor = reactor
        self._begin = begin
        self._end = end
        self._forget = forget
        self._queue: deque[_Operation] = deque()
        self._postponed: list[_Operation] = []  # until there is room
        self._busy = False
        self._closed: Optional[Deferred[None]] = None

    def submit(
        self,
        procedure: Procedure[A, R],
        argument: A,
        done: Callable[[R], None],
        failed: Callable[[Exception], None],
        weight: int = 0,
    ) -> None:
        """Do this after everything asked before; calls back once, after the commit.

        @param weight: how many bytes of contents it brings.
        """
        if self._closed is not None:
            failed(Refusal(Code.SHUTTING_DOWN, "The server is shutting down."))
            return
        self._queue.append(_Operation(procedure, argument, done, failed, weight))
        if not self._busy:
            self._busy = True
            # Not at once: what else arrived in this turn of the reactor comes along.
            self._reactor.callLater(0, self._next)

    def _try_again(self) -> None:
        """There may be room by now for what there was none for."""
        postponed, self._postponed = self._postponed, []
        for each in postponed:
            self.submit(each.procedure, each.argument, each.done, each.failed, each.weight)

    def call(self, procedure: Procedure[A, R], argument: A) -> Deferred[R]:
        """L{submit} for code that waits."""
        result: Deferred[R] = Deferred()
        self.submit(procedure, argument, result.callback, result.errback)
        return result

    def close(self) -> Deferred[None]:
        """Take nothing more; fires when everything asked is on disk."""
        assert self._closed is None
        self._closed = Deferred()
        if not self._busy:
            self._closed.callback(None)
        return self._closed

    def _next(self) -> None:
        """Run transactions until the queue is empty, or one is under way in another thread."""
        while self._queue:
            group = self._group()
            result = self._pool.runInteraction(self._transact, group)
            result.addCallbacks(
                self._committed, self._rolled_back, callbackArgs=(group,), errbackArgs=(group,)
            )
            if not result.called:
                result.addCallback(lambda _: self._next())
                return
        self._busy = False
        if self._closed is not None:
            self._closed.callback(None)

    def _group(self) -> list[_Operation]:
        """Take the operations of the next transaction from the front of the queue."""
        queue = self._queue
        group = [queue.popleft()]
        file = group[0].procedure.file
        weight = group[0].weight
        while queue and len(group) < LARGEST_GROUP and not (group[0].alone or queue[0].alone):
            wanted = queue[0].procedure.file
            if file is not None and wanted is not None and wanted != file:
                break
            weight += queue[0].weight
            if weight > HEAVIEST_GROUP:
                break
            file = file or wanted
            group.append(queue.popleft())
        return group

    def _transact(self, cursor: Cursor, group: list[_Operation]) -> list[object]:
        """In the database thread: one transaction, which the pool commits or rolls back."""
        cursor.execute("BEGIN")
        self._begin(cursor)
        results = _perform(cursor, group)
        self._end(cursor)
        return results

    def _committed(self, results: list[object], group: list[_Operation]) -> None:
        for operation, result in zip(group, results):
            try:
                operation.done(result)
            except Exception:
                self._log.failure(_UNUSABLE)

    def _rolled_back(self, failure: Failure, group: list[_Operation]) -> None:
        self._forget()  # the database thread is idle: this is the only place that may
        if len(group) > 1:
            # One of them is to blame.  Each alone, every one gets what it deserves.
            for operation in reversed(group):
                operation.alone = True
                self._queue.appendleft(operation)
        else:
            assert failure.value is not None
            error = explain(failure.value)
            if group[0].procedure.insists and isinstance(error, Refusal) and error.code is Code.STORAGE_FULL:
                if not self._postponed:
                    self._reactor.callLater(RETRY_SECONDS, self._try_again)
                self._postponed += group
                return
            if not isinstance(error, Refusal):
                self._log.failure("A transaction was rolled back", failure)
            try:
                group[0].failed(error)
            except Exception:
                self._log.failure(_UNUSABLE)


def _perform(cursor: Cursor, group: Sequence[_Operation]) -> list[object]:
    """The results of the operations, those that may be gathered each kind at once."""
    results: list[object] = [None] * len(group)
    gathered: dict[Procedure[Any, Any], list[int]] = {}

    def settle() -> None:
        for procedure in sorted(gathered, key=lambda each: each.rank or 0):
            places = gathered[procedure]
            outcomes = procedure.perform(cursor, [group[place].argument for place in places])
            for place, outcome in zip(places, outcomes):
                results[place] = outcome
        gathered.clear()

    for place, operation in enumerate(group):
        if operation.procedure.rank is not None:
            gathered.setdefault(operation.procedure, []).append(place)
        else:
            settle()
            results[place] = operation.procedure.perform(cursor, [operation.argument])[0]
    settle()
    return results


def explain(error: BaseException) -> Exception:
    """What a failed transaction is to those who asked for it."""
    if "database or disk is full" in str(error):
        return storage_full()
    return error if isinstance(error, Exception) else RuntimeError(str(error))
