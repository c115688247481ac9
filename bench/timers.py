"""Which layer of a server its CPU time goes to: clocks at the borders between layers.

Loaded into a server by L{bench.layers} before it starts.  Each function at a border is
wrapped so that the CPU time of its thread, until it returns, counts for its layer, less
what other borders take within it.  The server works on batches, so there are few calls
for each message; what the clocks themselves cost is measured and taken off.

On SIGUSR1 the figures so far are written to a file.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import msgspec

#: Where the figures go.
VARIABLE = "CHAT_BENCH_TIMERS"

READS, WRITES, REACTOR = "sockets: reading", "sockets: writing", "reactor"
DECODING, ENCODING = "framing and decoding", "encoding"
DOOR, SESSION, CHECKS = "door: flow control", "session: order and states", "checks and names"
GROUP = "group commit: queue, threads"
LEDGER, RECEIPTS, COUNTS = "ledger: ids, rows", "ledger: receipts", "ledger: counts"
SQL_MESSAGES, SQL_RECEIPTS = "SQL: messages", "SQL: receipts"
SQL_COUNTS, SQL_REST = "SQL: counts", "SQL: begin, pragmas"
DISK = "commit: log and fdatasync"
ANSWERS, DELIVERY = "answers", "deliveries"
COLLECTION = "garbage collection"
#: The layers, in the order of a message's way; what is none of these is the rest.
LAYERS = (
    READS,
    DECODING,
    DOOR,
    SESSION,
    CHECKS,
    GROUP,
    LEDGER,
    RECEIPTS,
    COUNTS,
    SQL_REST,
    SQL_MESSAGES,
    SQL_RECEIPTS,
    SQL_COUNTS,
    DISK,
    ANSWERS,
    DELIVERY,
    ENCODING,
    WRITES,
    REACTOR,
    COLLECTION,
)

#: What any server here runs on.
TWISTED = {
    "twisted.internet.tcp:Connection.doRead": READS,
    "twisted.internet.abstract:FileDescriptor.write": WRITES,
    "twisted.internet.abstract:FileDescriptor.doWrite": WRITES,
    "twisted.internet.epollreactor:EPollReactor.doPoll": REACTOR,
    "twisted.internet.epollreactor:EPollReactor.doIteration": REACTOR,
    "twisted.internet.base:ReactorBase.runUntilCurrent": REACTOR,
    "twisted.internet.base:ReactorBase.callFromThread": GROUP,
    "twisted.enterprise.adbapi:ConnectionPool.runInteraction": GROUP,
    "twisted.enterprise.adbapi:ConnectionPool._runInteraction": GROUP,
}
BARE_LOOP = {
    "bench.bare_loop:decode_lines": DECODING,
    "bench.bare_loop:Connection.dataReceived": SESSION,
    "bench.bare_loop:Store.add": GROUP,
    "bench.bare_loop:Store._commit": LEDGER,
    "bench.bare_loop:Store._write": LEDGER,
    "bench.bare_loop:Store._committed": ANSWERS,
}
CHAT = {
    "chat.protocol:ChatProtocol.dataReceived": DOOR,
    "chat.protocol:ChatProtocol.send": DOOR,
    "chat.protocol:ChatProtocol.resume": DOOR,
    "chat.outlet:PromptServer.write": WRITES,
    "chat.outlet:Outlet._send": WRITES,
    "chat.wire.translator:FrameTranslator.feed": DECODING,
    "chat.wire.translator:FrameTranslator.next": DECODING,
    "chat.wire.translator:FrameTranslator.take": DECODING,
    "chat.wire.json:encode_all": ENCODING,
    "chat.wire.der:encode_all": ENCODING,
    "chat.wire.text:TextTranslator.feed": DECODING,
    "chat.wire.text:TextTranslator.next": DECODING,
    "chat.wire.text:TextTranslator.take": DECODING,
    "chat.wire.text:TextTranslator.render": ENCODING,
    "chat.course:Course.receive": SESSION,
    "chat.course:Course._answered": SESSION,
    "chat.course:Course._confirmed": SESSION,
    "chat.session:Session.push": DELIVERY,
    "chat.feed:Feed.push": DELIVERY,
    "chat.mailroom:Mailroom.accept": CHECKS,
    "chat.mailroom:Mailroom.confirm": CHECKS,
    "chat.mailroom:Mailroom._accepted": ANSWERS,
    "chat.mailroom:Mailroom._confirmed": ANSWERS,
    "chat.store.store:Store.accept": GROUP,
    "chat.store.store:Store.confirm": GROUP,
    "chat.store.commit:GroupCommit._next": GROUP,
    "chat.store.commit:GroupCommit._committed": GROUP,
    "chat.store.commit:GroupCommit._transact": GROUP,
    "chat.store.store:Store._begin": COUNTS,
    "chat.store.intake:Intake.accept": LEDGER,
    "chat.store.settlement:Settlement.confirm": RECEIPTS,
    "chat.store.books:Books.end": COUNTS,
}

#: What a statement is for, by how it begins.
_STATEMENTS = (
    (re.compile(r"\s*INSERT (OR \w+ )?INTO (ledger|message)\b"), SQL_MESSAGES),
    (re.compile(r"\s*(UPDATE (ledger|message)\b|SELECT .*\bFROM ledger\b)", re.DOTALL), SQL_RECEIPTS),
    (re.compile(r".*\b(mailboxes|counters)\b", re.DOTALL), SQL_COUNTS),
)

_clock = time.thread_time_ns

#: Nanoseconds, how often the layer was entered, how often something within it was.
Account = list[int]


class Thread(threading.local):
    """What one thread is in the middle of: whose account is open, and since when."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {"": [0, 0, 0]}
        self.open = self.accounts[""]
        self.since = _clock()
        _threads.append(self.accounts)

    def account(self, layer: str) -> Account:
        """The account of a layer."""
        return self.accounts.setdefault(layer, [0, 0, 0])


_threads: list[dict[str, Account]] = []
_thread = Thread()


def enter(layer: str) -> Account:
    """From here on this thread works for that layer; gives what L{leave} wants."""
    thread = _thread
    around = thread.open
    within = thread.accounts.get(layer) or thread.account(layer)
    now = _clock()
    around[0] += now - thread.since
    around[2] += 1
    within[1] += 1
    thread.open = within
    thread.since = now
    return around


def leave(around: Account) -> None:
    """Back to what it worked for before."""
    thread = _thread
    now = _clock()
    thread.open[0] += now - thread.since
    thread.open = around
    thread.since = now


def timed(layer: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, working for a layer."""

    @wraps(function, updated=())
    def timed(*args: Any, **kwargs: Any) -> Any:
        around = enter(layer)
        try:
            return function(*args, **kwargs)
        finally:
            leave(around)

    return timed


class Missing(Exception):
    """A border is not where it is expected: the server was rebuilt, and these tables are out of date."""


def find(border: str) -> tuple[Any, str, Any]:
    """What holds the function of this name, its name in there, and the function.

    @raise Missing: there is none.
    """
    module, _, path = border.partition(":")
    *outer, name = path.split(".")
    try:
        holder: Any = importlib.import_module(module)
        for each in outer:
            holder = getattr(holder, each)
        return holder, name, vars(holder)[name]
    except (ImportError, AttributeError, KeyError):
        raise Missing(f"there is no {border}") from None


def wrap(borders: dict[str, str]) -> None:
    """Put clocks at these borders."""
    found = [(*find(border), layer) for border, layer in borders.items()]
    for holder, name, function, layer in found:
        if isinstance(function, staticmethod):
            setattr(holder, name, staticmethod(timed(layer, function.__func__)))
        else:
            setattr(holder, name, timed(layer, function))


def wrap_database() -> None:
    """Put clocks at the statements and the commit."""
    from twisted.enterprise import adbapi

    known: dict[str, str] = {}

    def layer(statement: str) -> str:
        if statement not in known:
            matches = (name for pattern, name in _STATEMENTS if pattern.match(statement))
            known[statement] = next(matches, SQL_REST)
        return known[statement]

    class Clocked:
        """A cursor with a clock in it."""

        def __init__(self, cursor: Any) -> None:
            self._cursor = cursor

        def execute(self, statement: str, *args: Any) -> Clocked:
            around = enter(layer(statement))
            try:
                self._cursor.execute(statement, *args)
            finally:
                leave(around)
            return self

        def executemany(self, statement: str, *args: Any) -> Clocked:
            around = enter(layer(statement))
            try:
                self._cursor.executemany(statement, *args)
            finally:
                leave(around)
            return self

        def __iter__(self) -> Any:
            return iter(self._cursor)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._cursor, name)

    opened = adbapi.Transaction.reopen

    def reopen(transaction: Any) -> None:
        opened(transaction)  # type: ignore[no-untyped-call]
        transaction._cursor = Clocked(transaction._cursor)

    def commit(connection: Any) -> None:
        connection._connection.commit()

    setattr(adbapi.Transaction, "reopen", reopen)  # noqa: B010 - mypy knows that it is a method
    setattr(adbapi.Connection, "commit", timed(DISK, commit))  # noqa: B010


def watch_collection() -> None:
    """Put clocks at the garbage collector."""

    around: list[Account] = []

    def collecting(phase: str, numbers: dict[str, int]) -> None:
        if phase == "start":
            around.append(enter(COLLECTION))
        else:
            leave(around.pop())

    gc.callbacks.append(collecting)


def cost_of_clocks(rounds: int = 50_000) -> tuple[float, float]:
    """Nanoseconds that one border costs, for the layer that is entered and for the one around it."""
    nothing = timed("within", lambda: None)
    outside = enter("around")
    before = _clock()
    for _ in range(rounds):
        pass
    loop = _clock() - before
    for _ in range(rounds):
        nothing()
    leave(outside)
    within, around = _thread.accounts.pop("within")[0], _thread.accounts.pop("around")[0]
    return within / rounds, (around - 2 * loop) / rounds


class Snapshot(msgspec.Struct):
    """The figures at one moment.

    @ivar number: snapshots are counted.
    @ivar cpu: of the whole process, in nanoseconds.
    @ivar within: see L{cost_of_clocks}.
    @ivar around: see L{cost_of_clocks}.
    @ivar spent: by layer: nanoseconds, times entered, times left for another one within.
    """

    number: int
    cpu: int
    within: float
    around: float
    spent: dict[str, list[int]]


def install(*tables: dict[str, str]) -> None:
    """Put clocks everywhere, and listen to SIGUSR1."""
    within, around = cost_of_clocks()
    for table in tables:
        wrap(table)
    wrap_database()
    watch_collection()
    path = os.environ[VARIABLE]
    number = 0

    def snapshot(*_: object) -> None:
        nonlocal number
        number += 1
        total: dict[str, list[int]] = {}
        for spent in _threads:
            for layer, figures in list(spent.items()):
                sums = total.setdefault(layer, [0, 0, 0])
                sums[:] = map(sum, zip(sums, figures))
        cpu = time.process_time_ns()
        with open(f"{path}.new", "wb") as file:
            file.write(msgspec.json.encode(Snapshot(number, cpu, within, around, total)))
        os.replace(f"{path}.new", path)

    signal.signal(signal.SIGUSR1, snapshot)


def run_bare_loop() -> None:
    """Run the bare loop with clocks in it."""
    from bench import bare_loop

    install(TWISTED, BARE_LOOP)
    bare_loop.main()


def run_chat() -> None:
    """Run twistd with clocks in the server."""
    from twisted.scripts.twistd import run

    install(TWISTED, CHAT)
    run()
