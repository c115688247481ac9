"""A small world to try the rules in: a real store on real files, in one thread, with a clock of its own.

Nothing here waits: what was asked of the store is done as soon as L{World.settle},
L{World.result} or any of the methods built on them is called.

    world = open_world(self)
    alice, bob = world.sign_up("alice", "bob")
    accepted = world.send(alice, "bob", "hello")
    world.confirm(bob, accepted.id)
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any, Awaitable, Callable, Coroutine, Sequence, TypeVar

from twisted.enterprise.adbapi import Connection
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chat.accounts import Accounts, Registration
from chat.directory import Directory
from chat.errors import FatalError
from chat.feed import Feed
from chat.ledger import Account, Arrival, Letter
from chat.limits.throttle import Throttle
from chat.mailroom import Mailroom
from chat.messages import Accepted, Delivered, Frame, Message
from chat.origin import LOCAL
from chat.store import Store
from chat.store.files import NAMES, DataDirectory, path, schemas
from chat.store.opener import PLAIN, Opener
from chat.store.pool import DirectPool
from chat.store.reception import InThread

T = TypeVar("T")

#: When the world begins: 2026-11-22T21:07:00Z, in seconds.
BEGINNING = 1_795_381_620
#: For how long names stay reserved, in milliseconds.
RESERVED = 90 * 24 * 60 * 60 * 1000
#: The password of everybody who does not choose another one.
PASSWORD = "correct horse battery"


def at_once(function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
    """Call in this thread: in place of a thread pool."""
    return execute(function, *arguments)


class WorldConnection(Connection):
    """A connection that can find no room to write."""

    _connection: sqlite3.Connection

    def commit(self) -> None:
        """Commit, if nothing was changed or there is room."""
        pool = self._pool
        if self._changes() and pool.room is not None:
            if pool.room == 0:
                raise sqlite3.OperationalError("database or disk is full")
            pool.room -= 1
        self._connection.commit()

    def rollback(self) -> None:
        """Roll back what was changed."""
        self._changes()
        self._connection.rollback()

    def _changes(self) -> int:
        before, self._pool.changes = self._pool.changes, self._connection.total_changes
        return int(self._pool.changes - before)


class WorldPool(DirectPool):
    """A database that can stop answering, as it does to a process that dies, and run out of room.

    @ivar left: how many more transactions are carried out; C{None}: all.
    @ivar room: how many more transactions that change anything find room; C{None}: all.
    """

    connectionFactory = WorldConnection
    left: int | None = None
    room: int | None = None
    changes = 0

    def connect(self) -> Any:
        """As ever; what is changed as the files are opened is no transaction."""
        opened = not self.connections
        connection = super().connect()
        if opened:
            self.changes = connection.total_changes
        return connection

    def runInteraction(self, interaction: Callable[..., Any], *args: Any, **kw: Any) -> Deferred[Any]:
        """As ever, while there are some left; after that never an answer."""
        if self.left is not None:
            if self.left == 0:
                return Deferred()
            self.left -= 1
        return super().runInteraction(interaction, *args, **kw)


class World:
    """The core of a server, without doors.

    @ivar path: the data directory.
    @ivar clock: what the time is; starts at L{BEGINNING}.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        clock: Clock | None = None,
        reserved: int = RESERVED,
        rounds: int = 4,
        in_thread: InThread = at_once,
        registration: Registration = Registration.OPEN,
        throttle: Throttle | None = None,
        opener: Opener = PLAIN,
    ) -> None:
        self.path = Path(directory)
        self.opener = opener
        if clock is None:
            clock = Clock()
            clock.advance(BEGINNING)
        self.clock = clock
        self.data = DataDirectory(self.path, schemas(), None, opener)
        self.data.open()
        self.pool = WorldPool(self.path, opener)
        self.directory = Directory()
        self.store = Store(
            self.pool,
            clock,
            live=self.directory.live,
            now=self.now,
            reserved=reserved,
            in_thread=in_thread,
            rounds=rounds,
        )
        self.mailroom = Mailroom(self.store, self.directory, self.now)
        self.accounts = Accounts(
            self.store,
            self.store.passwords,
            self.mailroom,
            self.directory,
            registration,
            throttle=throttle,
            now=self.now,
        )
        self._closed = False

    # --- time ---

    def now(self) -> int:
        """The time in milliseconds."""
        return round(self.clock.seconds() * 1000)

    def settle(self) -> None:
        """Let everything happen that is due now."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def start(self, awaitable: Awaitable[T]) -> Deferred[T]:
        """Begin this, up to the first thing that it waits for."""

        async def steps() -> T:
            return await awaitable

        return Deferred.fromCoroutine(steps())

    def result(self, awaitable: Awaitable[T]) -> T:
        """What comes of this; raises what it raises."""
        outcome: list[Any] = []
        self.start(awaitable).addBoth(outcome.append)
        self.settle()
        if not outcome:
            raise AssertionError("It still waits for something.")
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        result: T = outcome[0]
        return result

    # --- beginning and end ---

    def close(self) -> None:
        """Stop in order."""
        if not self._closed:
            self._closed = True
            self.result(self.store.close())
            self.data.close()

    def reopen(self, **changes: Any) -> World:
        """Stop in order and start again on the same files."""
        self.close()
        return World(self.path, clock=self.clock, **changes)

    def kill(self, directory: Path | str) -> None:
        """Stop without any order; C{directory} has the files as they are at this moment."""
        there = Path(directory)
        there.mkdir()
        for name in NAMES:
            for suffix in ("", "-wal"):
                file = Path(f"{path(self.path, name)}{suffix}")
                if file.exists():
                    shutil.copy(file, there)
        if not self._closed:
            self._closed = True
            self.pool.close()
            self.data.close()

    def crash(self, directory: Path | str, **changes: Any) -> World:
        """The world of a server that starts after this one was killed at this moment."""
        self.kill(directory)
        return World(directory, clock=self.clock, **changes)

    # --- what people do ---

    def sign_up(self, *names: str) -> list[Account]:
        """Accounts of these prepared names, with L{PASSWORD}."""
        return [self.result(self.accounts.sign_up(name, PASSWORD)) for name in names]

    def accept(self, sender: Account, *messages: Message) -> list[Frame]:
        """The answers to these messages, sent together."""
        answers: list[Frame] = []
        broken: list[Exception] = []
        self.mailroom.accept(sender, messages, answers.extend, broken.append)
        self.settle()
        for error in broken:
            raise error
        return answers

    def send(self, sender: Account, recipient: str, body: str = "hello", **fields: Any) -> Accepted:
        """The answer to one message that is accepted."""
        (answer,) = self.accept(sender, Message(recipient=recipient, body=body, **fields))
        assert isinstance(answer, Accepted), answer
        return answer

    def confirm(self, account: Account, *ids: int) -> None:
        """The recipient has these."""
        broken: list[Exception] = []
        self.mailroom.confirm(account, ids, lambda: None, broken.append)
        self.settle()
        for error in broken:
            raise error

    def waiting(self, account: Account) -> list[Letter]:
        """The first page of what waits for the account; it counts as offered."""
        letters, _ = self.result(self.store.waiting(account.id, 0))
        return letters

    def delete(self, account: Account, session: Onlooker | None = None) -> None:
        """Delete the account."""
        self.result(self.accounts.delete(account, PASSWORD, session or Onlooker(self, account)))

    # --- what is on disk ---

    def sql(self, statement: str, *arguments: object) -> list[Any]:
        """Rows of the files as another program sees them; C{users} and C{passwords} are attached."""
        connection = self.opener.connect(path(self.path, "messages"))
        try:
            self.opener.attach_others(connection, self.path)
            return connection.execute(statement, arguments).fetchall()
        finally:
            connection.close()


def open_world(case: SynchronousTestCase, **settings: Any) -> World:
    """A new world that ends with the test."""
    world = World(case.mktemp(), **settings)
    case.addCleanup(world.close)
    return world


class Onlooker:
    """A session that does nothing but look: one L{Feed}, and a record of what it was shown.

    @ivar shown: the messages, in order.
    @ivar notices: the delivery notices, in order.
    @ivar gone: whether it was told that it is no session of its account any more.
    @ivar paused: whether it reads; see L{look}.
    """

    def __init__(self, world: World, account: Account) -> None:
        self._world = world
        self.account = account
        self.origin = LOCAL
        self.shown: list[Message] = []
        self.notices: list[Delivered] = []
        self.gone = False
        self.paused = False
        self.errors: list[Failure] = []
        self.feed: Feed | None = None

    def arrive(self) -> Feed:
        """Log in; C{drained} of the feed begins to look at what waits."""
        self._world.mailroom.enter(self.account, self)
        mailbox = self._world.result(self._world.mailroom.mailbox(self.account))
        self.feed = Feed(self.account, self._world.mailroom, self, mailbox.offered)
        return self.feed

    def enter(self) -> Onlooker:
        """Log in and look at what waits."""
        self.arrive()
        self.look()
        return self

    def look(self) -> None:
        """Read on."""
        self.paused = False
        assert self.feed is not None
        self.feed.drained()
        self._world.settle()

    def leave(self) -> None:
        """Hang up."""
        assert self.feed is not None
        self._world.mailroom.leave(self.account, self)
        self.feed.stop()

    @property
    def ids(self) -> list[int]:
        """The ids of the messages shown, in order."""
        return [message.id for message in self.shown]

    # --- see chat.directory.Resident ---

    @property
    def live(self) -> bool:
        """As a session."""
        return self.feed is not None and self.feed.shows_next

    def push(self, arrivals: Sequence[Arrival]) -> None:
        """As a session."""
        if self.feed is not None:
            self.feed.push(arrivals)

    def more(self) -> None:
        """As a session."""
        if self.feed is not None:
            self.feed.more()

    def notify(self, frame: Delivered) -> None:
        """Remember it."""
        self.notices.append(frame)

    def expel(self, error: FatalError) -> None:
        """Remember it."""
        self.gone = True

    # --- see chat.ports.Peer ---

    def wait(self, seconds: float) -> Deferred[None]:
        """Nobody here sends too much."""
        raise AssertionError("nothing is to be waited for")

    def send(self, frames: Sequence[Frame]) -> None:
        """Remember the messages."""
        for frame in frames:
            assert isinstance(frame, Message)
            self.shown.append(frame)

    def keep(self, size: int) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing to close."""

    def resume(self) -> None:
        """Nothing is held back."""

    def run(self, steps: Coroutine[Any, Any, None]) -> None:
        """Carry it out; a failure is for the test to find in C{errors}."""
        Deferred.fromCoroutine(steps).addErrback(self.errors.append)
