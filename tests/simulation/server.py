"""One life of the server, from its start to its stop or its crash, as C{chat.service} leads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from chat.accounts import Accounts, Registration
from chat.directory import Directory
from chat.mailroom import Mailroom
from chat.ports import Peer
from chat.protocol import ChatFactory
from chat.session import Session
from chat.store import Store
from chat.store.retention import Retention
from chat.web.api import Api
from chat.web.site import ChatSite, Room
from chat.web.socket import Socket
from chat.wire import Codec
from chat.wire.text import TextTranslator
from chat.wire.translator import FrameTranslator
from tests.network import open_data
from tests.simulation.keeping import Keeping
from tests.simulation.net import Link
from tests.simulation.plan import WEB
from tests.simulation.storage import Crash, Disk, FaultyPool, Hashing

#: How long the name of a deleted account stays reserved here, in milliseconds.
RESERVED = 3600 * 1000
LOGIN_TIMEOUT = 60.0
GRACE = 5.0


class NotStarted(Exception):
    """The server could not start: the disk is full or broken."""


class _AtOnce:
    def __init__(self, clock: Clock) -> None:
        self.seconds = clock.seconds

    def callLater(self, delay: float, function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)


class _Ordered(dict[Any, None]):
    """The connections of a door in the order in which they came: a set has another one in each process."""

    def add(self, connection: Any) -> None:
        self[connection] = None

    def discard(self, connection: Any) -> None:
        self.pop(connection, None)


class Server:
    """One life of the server.

    @ivar stopping: it was told to stop in good order.
    @ivar gone: it has stopped, or crashed.
    """

    def __init__(
        self, data: Path, clock: Clock, disk: Disk, rounds: int, keeping: Keeping, token_life: int
    ) -> None:
        """Start on this data directory.

        @raise NotStarted: it cannot.
        @raise Crash: it crashed while starting.
        """
        self.clock = clock
        self.stopping = False
        self.gone = False
        self.links: list[Link] = []
        self.hashing = Hashing()
        self._data = data
        self._disk = disk
        self._rounds = rounds
        self._keeping = keeping
        self._token_life = token_life
        self.held = open_data(data)
        try:
            self._finish()
            self.pool = FaultyPool(data, disk)
        except BaseException:
            self.held.close()
            raise
        self.directory = Directory()
        self.store = self._store(self.pool, clock, self.directory.live)
        mailroom = Mailroom(self.store, self.directory, self._now)
        self._mailroom = mailroom
        self._accounts = Accounts(
            self.store,
            self.store.passwords,
            mailroom,
            self.directory,
            Registration.OPEN,
            lambda: deferLater(clock, 1.0),
        )
        self.doors = {
            "json": self._door(lambda: FrameTranslator(Codec.JSON)),
            "der": self._door(lambda: FrameTranslator(Codec.DER)),
            "text": self._door(TextTranslator),
            "sockets": self._door(lambda: FrameTranslator(Codec.JSON)),
        }
        root = Room()
        root.putChild(b"socket", Socket(self.doors["sockets"]))
        self._api = Api(clock, self._converse)
        for word, endpoint in self._api.resources.items():
            root.putChild(word, endpoint)
        self.web = ChatSite(clock, root)
        self.web.channels = _Ordered()  # type: ignore[assignment]
        self._retention = Retention(
            self.store, clock, self._now, mailroom.returned, expire=keeping.expire, fold=keeping.fold
        )
        self._retention.start()
        self.store.indexing.wake()

    def connect(self, link: Link) -> None:
        """A client has connected."""
        door = self.web if link.door == WEB else self.doors[link.door]
        protocol = door.buildProtocol(None)
        assert link.server is not None
        link.server.protocol = protocol
        self.links.append(link)
        protocol.makeConnection(link.server)

    def stop(self) -> None:
        """Stop in good order."""
        self.stopping = True
        Deferred.fromCoroutine(self._stop()).addErrback(self._not_stopped)

    def crash(self) -> None:
        """The process ends: what is not on disk is gone."""
        self.gone = True
        for link in self.links:
            if not link.over:
                link.die()
        self.pool.close()
        self.held.close()

    # --- inside ---

    def _finish(self) -> None:
        pool = FaultyPool(self._data, self._disk, at_once=True)
        outcome: list[object] = []
        try:
            store = self._store(pool, _AtOnce(self.clock), lambda account: False)
            store.indexing.stop()
            directory = Directory()
            mailroom = Mailroom(store, directory, self._now)
            accounts = Accounts(store, store.passwords, mailroom, directory, Registration.CLOSED)
            Deferred.fromCoroutine(accounts.finish()).addBoth(outcome.append)
            store.close().addBoth(outcome.append)
        except BaseException:
            pool.close()
            raise
        if pool.crashed:
            pool.close()
            raise Crash
        assert len(outcome) == 2, "the start waits for something"
        for each in outcome:
            if isinstance(each, Failure):
                if not pool.faults:
                    each.raiseException()
                raise NotStarted

    def _store(self, pool: Any, clock: Any, live: Callable[[int], bool]) -> Store:
        return Store(
            pool,
            clock,
            live=live,
            now=self._now,
            reserved=RESERVED,
            in_thread=self.hashing,
            rounds=self._rounds,
            room=lambda *needed: not self._disk.scarce,
            limit=self._keeping.limit,
            tokens=self._token_life,
        )

    def _door(self, translator: Callable[[], Any]) -> ChatFactory:
        factory = ChatFactory(self.clock, translator, self._converse, LOGIN_TIMEOUT)
        factory.connections = _Ordered()  # type: ignore[assignment]
        return factory

    def _converse(self, peer: Peer) -> Session:
        return Session(peer, self._accounts, self._mailroom, "chat simulated")

    def _now(self) -> int:
        return int(self.clock.seconds() * 1000)

    async def _stop(self) -> None:
        self._api.shut_down()
        closed = DeferredList([self.web.shut_down(), *(door.shut_down() for door in self.doors.values())])
        grace = self.clock.callLater(GRACE, self._abort)
        await closed
        if grace.active():
            grace.cancel()
        self._retention.stop()
        await self.store.close()
        self.gone = True
        for link in self.links:
            if not link.over:
                link.die()
        self.held.close()

    def _abort(self) -> None:
        for door in self.doors.values():
            door.abort()
        self.web.abort()

    def _not_stopped(self, failure: Failure) -> None:
        failure.raiseException()
