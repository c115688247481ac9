"""Group commit: what is asked while the database thread is busy goes to disk together.

Operations run in the order in which they were asked, in one thread, on one
connection.  A run of operations that write the same file is one transaction; the
batch grows by itself under load, and a lone operation waits for nobody.  Nobody
hears of a result before its commit.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from time import perf_counter
from typing import Any, Callable, Generic, Optional, Sequence, TypeVar

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat.errors import Code, Refusal, storage_full
from chat.health.gauges import Histogram

Cursor = sqlite3.Cursor
A = TypeVar("A")
R = TypeVar("R")

#: The most operations in one transaction: bounds how long a commit may take.
LARGEST_GROUP = 4096
#: How long what there was no room for waits before it is tried again.
RETRY_SECONDS = 1.0
#: What waited for a result is broken; what waits for the others is not.
_UNUSABLE = "A result of the store could not be used"
#: How commits are measured: by their operations, and by their seconds from the queue to the disk.
SIZES = tuple(4**power for power in range(7))
SECONDS = tuple(0.00025 * 2**power for power in range(14))
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
    @ivar weigh: C{weigh(argument)} tells how many bytes of contents it brings; C{None}: none to speak of.
    """

    __slots__ = ("file", "insists", "perform", "rank", "weigh")

    def __init__(
        self,
        perform: Callable[[Cursor, Sequence[A]], Sequence[R]],
        file: str | None,
        rank: int | None = None,
        *,
        insists: bool = False,
        weigh: Callable[[A], int] | None = None,
    ) -> None:
        self.perform = perform
        self.file = file
        self.rank = rank
        self.insists = insists
        self.weigh = weigh


#: The procedure, its argument, and what is called with the result or the error. A plain tuple: there is
#: one for each piece of input, made where the processor has just done something else.
Operation = tuple[Procedure[Any, Any], Any, Callable[[Any], None], Callable[[Exception], None]]


class GroupCommit:
    """The queue in front of the database thread.

    @ivar sizes: how many operations the commits had.
    @ivar seconds: how long they took.
    """

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
        self._queue: deque[Operation] = deque()
        self._blamed: deque[Operation] = deque()  # before the queue, each alone: one of them fails
        self._postponed: deque[Operation] = deque()  # until there is room
        self._scout: Optional[Operation] = None  # the one of these that finds out whether there is any
        self._alone = False  # whether the group under way was blamed before
        self._busy = False
        self._closed: Optional[Deferred[None]] = None
        self._begun = 0.0  # the transaction under way
        self.sizes = Histogram(SIZES)
        self.seconds = Histogram(SECONDS)

    @property
    def waiting(self) -> int:
        """How many operations wait for their transaction."""
        return len(self._queue) + len(self._blamed) + len(self._postponed)

    @property
    def postponing(self) -> bool:
        """Whether anything waits until there is room."""
        return bool(self._postponed) or self._scout is not None

    def submit(
        self,
        procedure: Procedure[A, R],
        argument: A,
        done: Callable[[R], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Do this after everything asked before; calls back once, after the commit."""
        if self._closed is not None:
            failed(Refusal(Code.SHUTTING_DOWN, "The server is shutting down."))
            return
        self._queue.append((procedure, argument, done, failed))
        if not self._busy:
            self._wake()

    def _try_again(self) -> None:
        """There may be room by now for what there was none for: one of them finds out for all."""
        if self._closed is not None:
            while self._postponed:
                self.submit(*self._postponed.popleft())
            return
        self._scout = self._postponed.popleft()
        self._queue.append(self._scout)
        if not self._busy:
            self._wake()

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

    def _wake(self) -> None:
        """There is something in the queue. Not at once: what else arrived in this turn comes along."""
        self._busy = True
        self._reactor.callLater(0, self._next)

    def _next(self) -> None:
        """Run transactions until the queue is empty, or one is under way in another thread."""
        while self._blamed or self._queue:
            group = self._group()
            self._begun = perf_counter()
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

    def _group(self) -> list[Operation]:
        """Take the operations of the next transaction from the front of the queue."""
        self._alone = bool(self._blamed)
        if self._blamed:
            return [self._blamed.popleft()]
        queue = self._queue
        group: list[Operation] = []
        file = None
        weight = 0
        while queue and len(group) < LARGEST_GROUP:
            procedure, argument, _, _ = queue[0]
            wanted = procedure.file
            if wanted is not None and wanted != file:
                if file is not None:
                    break
                file = wanted
            if procedure.weigh is not None:
                weight += procedure.weigh(argument)
                if weight > HEAVIEST_GROUP and group:
                    break
            group.append(queue.popleft())
        return group

    def _transact(self, cursor: Cursor, group: list[Operation]) -> list[object]:
        """In the database thread: one transaction, which the pool commits or rolls back."""
        # What it gives is the connection's own cursor: adbapi's searches for each method in vain first.
        cursor = cursor.execute("BEGIN")
        self._begin(cursor)
        results = _perform(cursor, group)
        self._end(cursor)
        return results

    def _committed(self, results: list[object], group: list[Operation]) -> None:
        writing = sum(procedure.file is not None for procedure, _, _, _ in group)
        if writing:  # else nothing went to disk
            self.seconds.note(perf_counter() - self._begun)
            self.sizes.note(writing)
        for (_, _, done, _), result in zip(group, results):
            try:
                done(result)
            except Exception:
                self._log.failure(_UNUSABLE)
        if self._scout is not None:
            self._follow(group)

    def _rolled_back(self, failure: Failure, group: list[Operation]) -> None:
        self._forget()  # the database thread is idle: this is the only place that may
        if len(group) > 1 or (not self._alone and _outrun(failure)):
            # One of them is to blame, or nobody.  Each alone, every one gets what it deserves.
            self._blamed.extend(group)
            return
        ((procedure, _, _, failed),) = group
        assert failure.value is not None
        error = explain(failure.value)
        if procedure.insists and isinstance(error, Refusal) and error.code is Code.STORAGE_FULL:
            self._postpone(group[0])
            return
        if not isinstance(error, Refusal):
            self._log.failure("A transaction was rolled back", failure)
        try:
            failed(error)
        except Exception:
            self._log.failure(_UNUSABLE)
        if self._scout is not None:
            self._follow(group)

    def _postpone(self, operation: Operation) -> None:
        """There is no room for this one, so those that insist, too, and would be next need not be tried."""
        late = [*(each for each in self._blamed if each[0].insists), operation]
        self._blamed = deque(each for each in self._blamed if not each[0].insists)
        unattended = self._scout is None and not self._postponed
        if any(each is self._scout for each in late):
            self._scout = None
            unattended = True
        self._postponed += late
        if unattended:
            self._reactor.callLater(RETRY_SECONDS, self._try_again)

    def _follow(self, group: Sequence[Operation]) -> None:
        """If the scout is among these, which are over, those that wait for it are tried again."""
        if any(each is self._scout for each in group):
            self._scout = None
            self._queue += self._postponed
            self._postponed.clear()


def _perform(cursor: Cursor, group: Sequence[Operation]) -> list[object]:
    """The results of the operations, those that may be gathered each kind at once."""
    results: list[object] = [None] * len(group)
    gathered: dict[Procedure[Any, Any], tuple[list[int], list[Any]]] = {}  # places, arguments

    def settle() -> None:
        for procedure in sorted(gathered, key=lambda each: each.rank or 0):
            places, arguments = gathered[procedure]
            for place, outcome in zip(places, procedure.perform(cursor, arguments)):
                results[place] = outcome
        gathered.clear()

    for place, (procedure, argument, _, _) in enumerate(group):
        if procedure.rank is None:
            settle()
            results[place] = procedure.perform(cursor, [argument])[0]
            continue
        if procedure not in gathered:
            gathered[procedure] = ([], [])
        places, arguments = gathered[procedure]
        places.append(place)
        arguments.append(argument)
    settle()
    return results


def _outrun(failure: Failure) -> bool:
    """Whether another program (chatctl, say) wrote what this transaction had read and was about to write."""
    return "database is locked" in str(failure.value)


def explain(error: BaseException) -> Exception:
    """What a failed transaction is to those who asked for it."""
    if "database or disk is full" in str(error):
        return storage_full()
    return error if isinstance(error, Exception) else RuntimeError(str(error))
