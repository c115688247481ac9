"""A server under load that is ended again and again, at random moments, and started at once."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any, Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.daemon import STOPPED
from tests.force.books import Books, Broken, Figures, Row
from tests.force.ledger import audited, leave_copy, rows
from tests.force.library import LibraryUser
from tests.force.raw import RawUser
from tests.force.server import Life, Server
from tests.force.user import User

#: Up to how many seconds after it listens a server is ended.
LIFE_SECONDS = 0.4
#: How many servers in a hundred are ended while they start.
STARTING = 10
#: What a start takes, about.
START_SECONDS = 1.2
#: What it may take until everybody has signed up, in seconds.
START_PATIENCE = 60.0
#: How long it may take until everything accepted has come, in seconds.
DRAIN_SECONDS = 120.0


def crowd(reactor: Any, server: Server, books: Books, chance: random.Random) -> list[User]:
    """The users: each codec, with the library and without, prompt and slow."""
    library = (("ann", "json", 0.0), ("ben", "der", 0.0), ("cleo", "json", 0.02), ("dan", "der", 0.02))
    raw = (("eve", "json", False), ("fay", "der", False), ("gus", "json", True), ("hal", "der", True))
    return [
        *[
            LibraryUser(reactor, name, books, chance, server.address(codec), codec, slowness)
            for name, codec, slowness in library
        ],
        *[
            RawUser(reactor, name, books, chance, server.ports[codec], codec, slow)
            for name, codec, slow in raw
        ],
    ]


class Ordeal:
    """One data directory, one load, and many ends."""

    def __init__(self, reactor: Any, folder: Path, seed: int, signal: str) -> None:
        """Nothing is started yet.

        @param folder: an empty folder for everything.
        @param signal: how the server is ended: C{KILL} or C{TERM}.
        """
        self._reactor = reactor
        self._folder = folder
        self._signal = signal
        self._chance = random.Random(seed)
        self._server = Server(reactor, folder)
        self.books = Books(self._chance)
        self._users = crowd(reactor, self._server, self.books, self._chance)
        self._checks: list[Deferred[None]] = []
        self._last = 0  # everything up to this id was found in the ledger
        self._waiting: set[int] = set()  # of these, what waited then
        self._life: Life | None = None

    async def run(self, ends: int, tell: Callable[[str], None] = lambda line: None) -> Figures:
        """End it so often, then let everything come to its end; what was done and found.

        @raise Broken: the promise was broken.
        """
        figures = self.books.figures
        began = self._reactor.seconds()
        try:
            for number in range(1, ends + 1):
                life = self._life = self._server.start()
                if number == 1:
                    await self._begin()
                await self._wait_for_the_moment(life, number)
                await self._end(life)
                self._check(number)
                while len(self._checks) > 2 or (self._checks and number == ends):
                    await self._checks.pop(0)
                if number % 20 == 0:
                    figures.seconds = self._reactor.seconds() - began
                    tell(self.tell())
            await self._come_to_rest()
            figures.seconds = self._reactor.seconds() - began
            return figures
        finally:
            await self._stop()

    def tell(self) -> str:
        """The figures so far in one line."""
        figures = self.books.figures
        figures.messages = len(self.books.sent)
        figures.accepted = len(self.books.told)
        words = [f"{name} {value:,.0f}" for name, value in vars(figures).items()]
        return ", ".join(words)

    async def _begin(self) -> None:
        """Everybody signs up, before anybody sends to somebody who is not there."""
        for user in self._users:
            user.connect()
        await gatherResults([user.here for user in self._users]).addTimeout(START_PATIENCE, self._reactor)
        for user in self._users:
            user.talk()

    async def _stop(self) -> None:
        """Whatever happened, nothing goes on."""
        for user in self._users:
            user.stop()
        if self._life is not None:
            await self._life.end("KILL")

    async def _wait_for_the_moment(self, life: Life, number: int) -> None:
        """Any moment, now and then one before the doors are open."""
        if self._chance.randrange(100) < STARTING and number > 1:
            await deferLater(self._reactor, self._chance.uniform(0, START_SECONDS))
            self.books.figures.starting += not life.is_listening
            return
        if not await life.listening():
            raise Broken("the server did not start:\n" + "\n".join(life.log))
        await deferLater(self._reactor, self._chance.uniform(0, LIFE_SECONDS))

    async def _end(self, life: Life) -> None:
        if life.over:
            raise Broken("the server ended by itself:\n" + "\n".join(life.log))
        await life.end(self._signal)
        self.books.figures.ended += 1
        self.books.figures.orderly += STOPPED in "\n".join(life.log)
        if life.faults:
            self.books.fail("the log tells of a fault:\n" + "\n".join(life.log))
        self._raise()

    def _raise(self) -> None:
        """What the clients found is the end of it."""
        if self.books.broken:
            raise Broken("\n".join(str(error) for error in self.books.broken[:20]))

    # --- what it left behind ---

    def _check(self, number: int) -> None:
        """Keep a copy of the files, to be looked at while the next server runs."""
        if not (self._server.data / "messages.db").exists():
            return  # it was ended before it had made them
        copied = self._folder / f"copy-{number}"
        leave_copy(self._server.data, copied)
        accepted = [
            id for id in self.books.owner if id > self._last and self.books.owner[id] in self.books.told
        ]
        before = self._checks[-1] if self._checks else None
        self._checks.append(Deferred.fromCoroutine(self._look(copied, accepted, before)))

    async def _look(self, copied: Path, accepted: list[int], before: Deferred[None] | None) -> None:
        def read() -> list[Row]:
            audited(copied)
            return rows(copied, self._last, self._waiting)

        if before is not None and not before.called:
            turn: Deferred[None] = Deferred()
            before.addCallback(lambda _: turn.callback(None))
            await turn
        found: list[Row] = await deferToThread(read)
        self.books.figures.audits += 1
        self.books.account_for(found, [id for id in accepted if id > self._last])
        self._last = max([self._last, *[row.id for row in found]])
        self._waiting = {row.id for row in found if row.waiting}
        shutil.rmtree(copied)

    async def _come_to_rest(self) -> None:
        """One more start: everything is accepted, everything comes, nothing is left over."""
        life = self._life = self._server.start()
        if not await life.listening():
            raise Broken("the server did not start:\n" + "\n".join(life.log))
        await gatherResults([Deferred.fromCoroutine(user.fall_silent()) for user in self._users])
        deadline = self._reactor.seconds() + DRAIN_SECONDS
        while (missing := self.books.missing()) and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, 0.05)
            self._raise()
        if missing:
            self.books.figures.lost += len(missing)
            self.books.fail(f"{len(missing)} messages never came: {', '.join(missing[:10])}")
        for user in self._users:
            await user.close()
        await life.end("TERM")
        audited(self._server.data)
        self.books.figures.audits += 1
        found = rows(self._server.data, 0, ())
        self.books.account_for(found, list(self.books.owner))
        self.tell()
        if len(found) != len(self.books.sent):
            self.books.figures.doubled += len(found) - len(self.books.sent)
            self.books.fail(f"{len(self.books.sent)} messages were sent, the ledger has {len(found)}")
        for row in found:
            if row.waiting:
                self.books.fail(
                    f"message {row.id} came to {row.recipient}, who confirmed it, and still waits"
                )
        self._raise()
