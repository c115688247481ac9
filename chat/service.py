"""Builds everything, starts and stops it in order. The only place that names concrete classes."""

from __future__ import annotations

import ipaddress
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat import __version__
from chat.accounts import Accounts, Registration
from chat.directory import Directory
from chat.errors import StartError
from chat.mailroom import Mailroom
from chat.ports import Peer
from chat.protocol import ChatFactory
from chat.session import Session
from chat.store import Store
from chat.store.files import DataDirectory, schemas
from chat.store.hashing import HashingPool
from chat.store.pool import DirectPool, threaded_pool
from chat.store.retention import Retention
from chat.store.room import Room
from chat.store.upgrade import steps
from chat.wire import Codec
from chat.wire.text import TextTranslator
from chat.wire.translator import FrameTranslator, Translator

SERVER = f"chat {__version__}"
#: How long open connections may take to close when the server stops, in seconds.
GRACE = 5.0
#: How many connections may wait at a door for their turn.
WAITING_LINE = 4096
_DAY = 24 * 60 * 60 * 1000

#: What each kind of door speaks.
TRANSLATORS: dict[str, Callable[[], Translator]] = {
    "text": TextTranslator,
    "json": lambda: FrameTranslator(Codec.JSON),
    "der": lambda: FrameTranslator(Codec.DER),
}
#: Where the doors are unless they are named.
DEFAULT_DOORS = (
    ("text", "tcp:5310:interface=127.0.0.1"),
    ("json", "tcp:5311:interface=127.0.0.1"),
    ("der", "tcp:5312:interface=127.0.0.1"),
)


@dataclass(frozen=True)
class Settings:
    """What the operator decides.

    @ivar data: the data directory.
    @ivar doors: pairs of a kind of door (a key of L{TRANSLATORS}) and an endpoint description.
    @ivar registration: who may sign up; C{None}: anyone, as long as every door is on loopback
        or a UNIX socket, else nobody.
    @ivar bcrypt_rounds: the cost of password hashes, 4 to 31.
    @ivar login_timeout: seconds a login may take.
    @ivar token_days: days for which a token can stand for a password.
    @ivar reserve_names: days for which the name of a deleted account stays reserved.
    @ivar expire: days after which a message that nobody collected turns round; 0: never.
    @ivar mailbox_limit: how many messages may wait in a mailbox before new ones come back; 0: any number.
    @ivar fold: days after which of a settled message only a number remains; 0: never.
    @ivar reserve_space: bytes to keep free on the disk, see L{chat.store.room}.
    """

    data: Path = Path("chat-data")
    doors: tuple[tuple[str, str], ...] = field(default=DEFAULT_DOORS)
    registration: Registration | None = None
    bcrypt_rounds: int = 12
    login_timeout: float = 60.0
    token_days: float = 30.0
    reserve_names: float = 90.0
    reserve_space: int | None = None
    expire: float = 0.0
    mailbox_limit: int = 0
    fold: float = 0.0


class ChatService(Service):
    """The server."""

    _log = Logger()

    def __init__(self, reactor: Any, settings: Settings) -> None:
        """Read all that may be out of reach later (under a chroot); touch nothing yet.

        @raise ValueError: an endpoint description that cannot be used.
        """
        self._reactor = reactor
        self._settings = settings
        self._schemas = schemas()
        self._steps = steps()
        self._endpoints = [
            (kind, description, _endpoint(reactor, kind, description)) for kind, description in settings.doors
        ]
        self._ports: list[IListeningPort] = []
        self._factories: list[ChatFactory] = []

    def startService(self) -> None:
        """Open the data, finish what a crash cut short, then listen.

        @raise chat.errors.StartError: it cannot; nothing was changed on disk.
        """
        _allow_connections()
        self._directory = DataDirectory(self._settings.data, self._schemas, self._steps)
        try:
            self._directory.open()
            if self._directory.kept is not None:
                self._log.info(
                    "the files were upgraded; as they were they are in {kept}", kept=str(self._directory.kept)
                )
            try:
                self._room = Room(self._settings.data, self._settings.reserve_space)
                self._finish_interrupted()
                self._build()
                self._listen()
                self._retention.start()
            except BaseException:
                self._take_down()
                raise
        except StartError as error:
            self._log.critical("The server cannot start: {error}", error=error)
            # twistd shows whatever ends the start as a traceback; this one is for the operator.
            sys.excepthook = _one_line(sys.excepthook)
            raise
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[None]:
        """No new connections, a last word to those there are, everything asked on disk, files closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    # --- start ---

    def _finish_interrupted(self) -> None:
        """The reactor does not run yet, and nobody is connected: it may block."""
        store = self._store(DirectPool(self._settings.data), _AtOnce(self._reactor), lambda account: False)
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
        self._data = self._store(threaded_pool(self._reactor, settings.data), self._reactor, online.live)
        self._mailroom = Mailroom(self._data, online, self._now)
        self._accounts = Accounts(
            self._data,
            self._data.passwords,
            self._mailroom,
            online,
            settings.registration or Registration.CLOSED,
            lambda: deferLater(self._reactor, 1.0),
        )

        self._retention = Retention(
            self._data,
            self._reactor,
            self._now,
            self._mailroom.returned,
            expire=int(settings.expire * _DAY),
            fold=int(settings.fold * _DAY),
        )

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
        )

    def _listen(self) -> None:
        local = True
        for kind, description, endpoint in self._endpoints:
            factory = ChatFactory(
                self._reactor, TRANSLATORS[kind], self._converse, self._settings.login_timeout
            )
            self._factories.append(factory)
            outcome: list[Any] = []
            endpoint.listen(factory).addBoth(outcome.append)
            if isinstance(outcome[0], Failure):
                raise StartError(_cannot_listen(kind, description, outcome[0]))
            port = outcome[0]
            self._ports.append(port)
            _let_wait(port)
            address = port.getHost()
            local = local and _is_local(address)
            self._log.info("{kind} door listening on {address}", kind=kind, address=_show(address))
        if self._settings.registration is None and local:
            self._accounts.registration = Registration.OPEN
        self._log.info("registration is {mode}", mode=self._accounts.registration.value)

    def _converse(self, peer: Peer) -> Session:
        return Session(peer, self._accounts, self._mailroom, SERVER)

    def _now(self) -> int:
        return int(self._reactor.seconds() * 1000)

    # --- stop ---

    async def _stop(self) -> None:
        await gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        closed = DeferredList([factory.shut_down() for factory in self._factories])
        grace = self._reactor.callLater(GRACE, self._abort)
        await closed
        if grace.active():
            grace.cancel()
        self._retention.stop()
        await self._data.close()
        self._hashing.stop()
        self._directory.close()
        self._log.info("stopped; everything accepted is on disk")

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
        if hasattr(self, "_hashing"):
            self._hashing.stop()
        self._directory.undo()


def _allow_connections() -> None:
    """Take as many file descriptors as the system grants: each connection needs one."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _AtOnce:
    """A clock for which every moment has come: for what is done before the reactor runs."""

    def __init__(self, reactor: Any) -> None:
        self.seconds = reactor.seconds

    def callLater(self, delay: float, function: Callable[..., object], *arguments: object) -> None:
        """Now is late enough."""
        function(*arguments)


def _endpoint(reactor: Any, kind: str, description: str) -> IStreamServerEndpoint:
    """The endpoint of this description.

    @raise ValueError: it is none, or it needs something that is not there.
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except Exception as error:  # every kind of endpoint has its own ways to fail
        cause = f"{type(error).__name__}: {error}"
        raise ValueError(f"--{kind} {description!r} is no endpoint that can be used ({cause})") from error
    return endpoint


def _cannot_listen(kind: str, description: str, failure: Failure) -> str:
    cause: object = failure.value
    if isinstance(cause, CannotListenError):
        cause = cause.socketError
    return (
        f"The {kind} door cannot listen on {description} ({cause}):"
        f" stop what is using it, or name another endpoint with --{kind}."
    )


def _is_local(address: IAddress) -> bool:
    """Whether only programs on this machine can connect there."""
    host = getattr(address, "host", None)
    if host is None:
        return True  # a UNIX socket
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _let_wait(port: Any) -> None:
    """Let the clients of a server that was started anew come back all at once.

    Endpoints let 50 wait. Who comes when the line is full is not heard, and knocks again only
    after a second, then after three more, and so on.
    """
    listening = getattr(port, "socket", None)
    if isinstance(listening, socket.socket):
        listening.listen(WAITING_LINE)


def _show(address: Any) -> str:
    if not hasattr(address, "host"):
        name = address.name
        return f"unix:{name.decode(errors='replace') if isinstance(name, bytes) else name}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


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
