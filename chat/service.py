"""Builds everything, starts and stops it in order. The only place that names concrete classes."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat import __version__
from chat.accounts import Accounts, Registration
from chat.directory import Directory
from chat.errors import StartError, tls_needed
from chat.health.rounds import Rounds
from chat.health.vitals import Doorway, Vitals
from chat.limits.allowance import Allowance, Rate
from chat.limits.crowd import TOLD_AT_ONCE, Crowd
from chat.limits.evenness import Evenness
from chat.limits.throttle import Throttle
from chat.listening import cannot_listen, endpoint, let_wait, show
from chat.mailroom import Mailroom
from chat.outlet import Outlet
from chat.ports import Peer
from chat.protocol import ChatFactory
from chat.proxied import PREFIX, inside
from chat.rights import Rights
from chat.session import Session
from chat.signals import on_hangup
from chat.store import Store
from chat.store.fates import EVERY as COUNT_EVERY
from chat.store.fates import Count
from chat.store.files import DataDirectory, schemas
from chat.store.hashing import HashingPool
from chat.store.key import read as read_key
from chat.store.opener import PLAIN, Opener
from chat.store.pool import DirectPool, threaded_pool
from chat.store.retention import Retention
from chat.store.room import Room
from chat.store.upgrade import steps
from chat.tls.certificate import Pair
from chat.tls.door import Door, is_local
from chat.tls.guard import Guard
from chat.web import metrics
from chat.web.door import PLAINTEXT, PROTOCOLS, WebDoor
from chat.web.site import ChatSite
from chat.wire import Codec
from chat.wire.text import TextTranslator
from chat.wire.translator import FrameTranslator, Translator, refuse

if sys.platform != "win32":
    import resource

SERVER = f"chat {__version__}"
#: How long open connections may take to close when the server stops, in seconds.
GRACE = 5.0
#: What is not for connections: files, threads, who is told that there are too many, and those not closed yet.
SPARE_DESCRIPTORS = TOLD_AT_ONCE + 156
_DAY = 24 * 60 * 60 * 1000

#: What each kind of door speaks.
TRANSLATORS: dict[str, Callable[[], Translator]] = {
    "text": TextTranslator,
    "json": lambda: FrameTranslator(Codec.JSON),
    "der": lambda: FrameTranslator(Codec.DER),
}
#: What a client can ask for by ALPN, at any door with TLS.
BY_PROTOCOL = {f"chat/{kind}".encode(): translator for kind, translator in TRANSLATORS.items()}
#: The kind of door that browsers come in by.
WEB = "web"
#: Where the doors are unless they are named.
DEFAULT_DOORS = (
    ("text", "tcp:5310:interface=127.0.0.1"),
    ("json", "tcp:5311:interface=127.0.0.1"),
    ("der", "tcp:5312:interface=127.0.0.1"),
    (WEB, "tcp:5380:interface=127.0.0.1"),
)


@dataclass(frozen=True)
class Settings:
    """What the operator decides.

    @ivar data: the data directory.
    @ivar doors: pairs of a kind of door (a key of L{TRANSLATORS}, or L{WEB}) and an endpoint description.
    @ivar web_origins: the pages of other servers that may talk to this one, see L{chat.web.origins}.
    @ivar web_proxies: who is believed whom they ask for, see L{chat.web.proxies}.
    @ivar metrics_open: whether everybody sees the numbers, see L{chat.web.metrics}.
    @ivar registration: who may sign up; C{None}: anyone, as long as every door is on loopback
        or a UNIX socket, and no proxy brings others there; else whoever has an invitation.
    @ivar bcrypt_rounds: the cost of password hashes, 4 to 31.
    @ivar login_timeout: seconds a login may take.
    @ivar token_days: days for which a token can stand for a password.
    @ivar reserve_names: days for which the name of a deleted account stays reserved.
    @ivar expire: days after which a message that nobody collected turns round; 0: never.
    @ivar mailbox_limit: how many messages may wait in a mailbox before new ones come back; 0: any number.
    @ivar fold: days after which of a settled message only a number remains; 0: never.
    @ivar messages_per_second: how many an account may send in the long run, see L{Allowance}; 0: any number.
    @ivar bytes_per_second: the same of the bytes of their bodies.
    @ivar connections: how many there may be in all; 0: any number.
    @ivar connections_per_address: how many there may be from one network, see L{Crowd}; 0: any number.
    @ivar reserve_space: bytes to keep free on the disk, see L{chat.store.room}.
    @ivar password_key: the file with the key of passwords.db; C{None}: that is a plain file.
    @ivar tls: whether doors on loopback speak TLS, too.
    @ivar allow_plaintext: whether doors that others can reach may do without TLS.
    @ivar certificate: where the certificate and its key are; C{None}: the server makes its own.
    """

    data: Path = Path("chat-data")
    doors: tuple[tuple[str, str], ...] = field(default=DEFAULT_DOORS)
    web_origins: tuple[str, ...] = ()
    web_proxies: tuple[str, ...] = ()
    metrics_open: bool = False
    registration: Registration | None = None
    bcrypt_rounds: int = 12
    login_timeout: float = 60.0
    token_days: float = 30.0
    reserve_names: float = 90.0
    reserve_space: int | None = None
    password_key: Path | None = None
    expire: float = 0.0
    mailbox_limit: int = 0
    fold: float = 0.0
    messages_per_second: float = 1000.0
    bytes_per_second: float = 1024.0 * 1024
    connections: int = 20_000
    connections_per_address: int = 1_000
    tls: bool = False
    allow_plaintext: bool = False
    certificate: Pair | None = None


class ChatService(Service):
    """The server."""

    _log = Logger()

    def __init__(self, reactor: Any, settings: Settings, rights: Rights | None = None) -> None:
        """Read all that may be out of reach later (under a chroot); touch nothing yet.

        @param rights: which rights it gives up as it starts; by default it keeps those it has.
        @raise ValueError: an endpoint description that cannot be used, or what is said of the web door.
        @raise chat.errors.StartError: a certificate or a key that cannot be used.
        """
        self._reactor = reactor
        self._settings = settings
        self._rights = rights or Rights()
        self._schemas = schemas()
        self._steps = steps()
        key = settings.password_key
        self._opener = PLAIN if key is None else Opener(read_key(key, self._rights.outside(settings.data)))
        self._endpoints = [
            (kind, description, endpoint(reactor, kind, description)) for kind, description in settings.doors
        ]
        self._web = WebDoor(settings.web_origins, settings.web_proxies)
        self._ports: list[IListeningPort] = []
        self._factories: list[ChatFactory | ChatSite] = []
        self._forget_hangup: Callable[[], object] = lambda: None
        self._guard = Guard(
            settings.data,
            reactor.seconds,
            forced=settings.tls,
            waived=settings.allow_plaintext,
            given=settings.certificate,
        )

    def privilegedStartService(self) -> None:
        """Give up the rights that the operator does not grant; those of root only for opening ports.

        @raise chat.errors.StartError: it cannot.
        """
        try:
            self._rights.lower(self._settings.data)
        except StartError as error:
            self._tell(error)
            raise
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Open the data, finish what a crash cut short, then listen.

        @raise chat.errors.StartError: it cannot; nothing was changed on disk.
        """
        most = _connections(self._settings.connections, _allow_connections())
        self._crowd = Crowd(most, self._settings.connections_per_address)
        self._directory = DataDirectory(self._settings.data, self._schemas, self._steps, self._opener)
        try:
            self._directory.open()
            for line in self._directory.tightened:
                self._log.warn("{line}", line=line)
            if self._directory.kept is not None:
                self._log.info(
                    "the files were upgraded; as they were they are in {kept}", kept=str(self._directory.kept)
                )
            try:
                self._room = Room(self._settings.data, self._settings.reserve_space)
                self._finish_interrupted()
                self._build()
                self._listen()
                self._rights.give_up()
                if self._rights.user is not None:
                    self._log.info("the server is {rights}, and nobody else any more", rights=self._rights)
                self._forget_hangup = on_hangup(self._reactor, self._guard.reload)
                self._retention.start()
                self._recount.start()
                self._data.indexing.wake()  # for what was there before this version, or was not done in time
            except BaseException:
                self._take_down()
                raise
        except StartError as error:
            self._tell(error)
            raise
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[None]:
        """No new connections, a last word to those there are, everything asked on disk, files closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    # --- start ---

    def _tell(self, error: StartError) -> None:
        """Twistd shows whatever ends the start as a traceback; this one is for the operator."""
        self._log.critical("The server cannot start: {error}", error=error)
        sys.excepthook = _one_line(sys.excepthook)

    def _finish_interrupted(self) -> None:
        """The reactor does not run yet, and nobody is connected: it may block."""
        store = self._store(
            DirectPool(self._settings.data, self._opener), _AtOnce(self._reactor), lambda account: False
        )
        store.indexing.stop()  # there is time for that later
        directory = Directory()
        mailroom = Mailroom(store, directory, self._now)
        accounts = Accounts(store, store.passwords, mailroom, directory, Registration.CLOSED)
        outcome: list[object] = []
        Deferred.fromCoroutine(accounts.finish()).addBoth(outcome.append)
        store.close().addBoth(outcome.append)
        for each in outcome:
            if isinstance(each, Failure):
                raise StartError(
                    f"The data in {self._settings.data} cannot be used ({each.getErrorMessage()}):"
                    " make room, or restore the three files from a backup."
                )

    def _build(self) -> None:
        settings = self._settings
        self._hashing = HashingPool()
        self._hashing.start()
        online = Directory()
        self._data = self._store(
            threaded_pool(self._reactor, settings.data, self._opener), self._reactor, online.live
        )
        allowance = Allowance(
            time.monotonic,
            Rate.per_second(settings.messages_per_second),
            Rate.per_second(settings.bytes_per_second),
        )
        self._mailroom = Mailroom(self._data, online, self._now, allowance, time.monotonic)
        self._accounts = Accounts(
            self._data,
            self._data.passwords,
            self._mailroom,
            online,
            settings.registration or Registration.INVITE,
            lambda: deferLater(self._reactor, 1.0),
            Throttle(time.monotonic),
            Evenness(time.monotonic, lambda seconds: deferLater(self._reactor, seconds)),
            self._now,
        )

        self._retention = Retention(
            self._data,
            self._reactor,
            self._now,
            self._mailroom.returned,
            expire=int(settings.expire * _DAY),
            fold=int(settings.fold * _DAY),
        )

        self._counting = HashingPool(1, "count")
        self._counting.start()
        self._recount = Rounds("count", COUNT_EVERY, self._reactor, self._count, first=0.0)
        self._vitals = Vitals(
            self._reactor,
            self._data,
            mailroom=self._mailroom,
            directory=online,
            crowd=self._crowd,
            doors=lambda: self._doorways,
            disk=self._room.disk,
            tasks=lambda: [
                self._recount,
                self._data.indexing,
                *self._retention.rounds,
                *self._guard.rounds,
            ],
            expires=lambda: self._guard.expires,
        )

    async def _count(self) -> None:
        await self._data.recount(
            Count(self._settings.data, self._opener),
            lambda function: deferToThreadPool(self._reactor, self._counting, function),
        )

    @property
    def _doorways(self) -> list[Doorway]:
        """The doors as they are now."""
        return [
            Doorway(kind, show(port.getHost()), way.name.lower(), len(factory.connections))
            for (kind, _, _), port, way, factory in zip(
                self._endpoints, self._ports, self._ways, self._factories[1:]
            )
        ]

    def _store(self, pool: Any, reactor: Any, live: Callable[[int], bool]) -> Store:
        return Store(
            pool,
            reactor,
            live=live,
            now=self._now,
            reserved=int(self._settings.reserve_names * _DAY),
            in_thread=lambda function, *arguments: deferToThreadPool(
                self._reactor, self._hashing, function, *arguments
            ),
            rounds=self._settings.bcrypt_rounds,
            tokens=int(self._settings.token_days * _DAY),
            room=self._room,
            limit=self._settings.mailbox_limit,
            clock=time.monotonic,
        )

    def _listen(self) -> None:
        outlet = Outlet(self._reactor)
        doors: list[tuple[Door, IListeningPort]] = []
        rooms = metrics.resources(self._vitals, self._settings.metrics_open)
        self._factories.append(
            self._web.furnish(self._reactor, self._converse, self._settings.login_timeout, self._crowd, rooms)
        )
        for kind, description, listening in self._endpoints:
            door = self._door(kind)
            outcome: list[Any] = []
            # A UNIX socket belongs to whoever makes it; a port does not.
            with nullcontext() if inside(description).startswith("unix") else self._rights.for_port():
                listening.listen(door).addBoth(outcome.append)
            port = outcome[0] if outcome else None
            if port is None or isinstance(port, Failure):
                raise StartError(cannot_listen(kind, description, port))
            self._ports.append(port)
            let_wait(port)
            outlet.serve(port)
            doors.append((door, port))
        self._ways = self._guard.open(doors, self._reactor)
        for (kind, _, _), (_, port), way in zip(self._endpoints, doors, self._ways):
            self._log.info(
                "{kind} door listening on {address}{way}",
                kind=kind,
                address=show(port.getHost()),
                way=way.value,
            )
        self._guard.start(self._reactor)
        brought = any(description.startswith(PREFIX) for _, description in self._settings.doors)
        alone = not (brought or self._settings.web_proxies)
        local = alone and all(is_local(port.getHost()) for port in self._ports)
        if local and self._settings.registration is None:
            self._accounts.registration = Registration.OPEN
        self._log.info("registration is {mode}", mode=self._accounts.registration.value)

    def _door(self, kind: str) -> Door:
        """What listens at one more endpoint."""
        if kind == WEB:
            site = self._web.site(self._reactor, self._crowd)
            self._factories.append(site)
            return Door(site, PROTOCOLS, PLAINTEXT)
        translator = TRANSLATORS[kind]
        factory = ChatFactory(
            self._reactor,
            translator,
            self._converse,
            self._settings.login_timeout,
            BY_PROTOCOL,
            self._crowd,
        )
        self._factories.append(factory)
        return Door(factory, BY_PROTOCOL, translator().render([refuse(tls_needed()).frame]))

    def _converse(self, peer: Peer) -> Session:
        return Session(peer, self._accounts, self._mailroom, SERVER)

    def _now(self) -> int:
        return int(self._reactor.seconds() * 1000)

    # --- stop ---

    async def _stop(self) -> None:
        await gatherResults([self._stop_listening(port) for port in self._ports])
        self._web.shut_down()
        closed = DeferredList([factory.shut_down() for factory in self._factories])
        grace = self._reactor.callLater(GRACE, self._abort)
        await closed
        if grace.active():
            grace.cancel()
        self._retention.stop()
        self._recount.stop()
        self._guard.stop()
        try:
            await self._data.close()
        finally:  # the process lives as long as its threads
            self._hashing.stop()
            self._counting.stop()
            self._directory.close()
            self._forget_hangup()
        self._log.info("stopped; everything accepted is on disk")

    def _stop_listening(self, port: IListeningPort) -> Deferred[Any]:
        """Let nobody in there any more; a failure is logged, as when somebody has removed a socket's file."""
        return maybeDeferred(port.stopListening).addErrback(
            lambda failure: self._log.failure("A port could not be closed in order", failure)
        )

    def _abort(self) -> None:
        for factory in self._factories:
            factory.abort()

    def _take_down(self) -> None:
        """The start failed: leave everything as it was found."""
        for port in self._ports:
            port.stopListening()
        if self._ports:
            # The reactor does not run and never will: a UNIX socket is removed here or not at all.
            self._reactor.runUntilCurrent()
        if hasattr(self, "_recount"):
            self._recount.stop()
            self._hashing.stop()
            self._counting.stop()
        self._guard.undo()
        self._directory.undo()


def _allow_connections() -> int:
    """Take as many file descriptors as the system grants: each connection needs one. How many there are."""
    if sys.platform == "win32":
        return 0
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _connections(wanted: int, descriptors: int) -> int:
    """How many connections there may be, so that nobody is refused by the system, without a word.

    @param wanted: as the operator decided; 0: any number.
    @param descriptors: how many the process may have; less than 1: it is not known, or any number.
    """
    granted = max(1, descriptors - SPARE_DESCRIPTORS) if descriptors > 0 else 0
    return min(wanted, granted) if wanted and granted else wanted or granted


class _AtOnce:
    """A clock for which every moment has come: for what is done before the reactor runs."""

    def __init__(self, reactor: Any) -> None:
        self.seconds = reactor.seconds

    def callLater(self, delay: float, function: Callable[..., object], *arguments: object) -> None:
        """Now is late enough."""
        function(*arguments)


def _one_line(
    hook: Callable[[type[BaseException], BaseException, TracebackType | None], object],
) -> Callable[[type[BaseException], BaseException, TracebackType | None], object]:
    def show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not isinstance(error, StartError):
            hook(kind, error, traceback)
        elif sys.stderr is not sys.__stderr__ and sys.__stderr__ is not None:
            # The log has taken over standard error; the operator may be watching the real one.
            print(f"chat: {error}", file=sys.__stderr__)

    return show
