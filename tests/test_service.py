"""The service: what it builds, the order in which it starts and stops, and how a start fails."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Sequence

from twisted.application.service import IService
from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chat import __version__, listening, service, tap
from chat.accounts import Accounts, Registration
from chat.errors import StartError
from chat.outlet import PromptServer
from chat.rights import Rights
from chat.service import DEFAULT_DOORS, GRACE, ChatService, Settings
from chat.store.files import DataDirectory, schemas
from chat.store.pool import DirectPool
from chat.tap import Options, makeService
from chat.tls.door import is_local
from tests.network import START, Network
from tests.talker import password
from tests.wire import Wire

LOCAL = "tcp:5311:interface=127.0.0.1"


class Port:
    """A port that says when it stops listening, and takes as long for it as a test wants."""

    transport: Any = tcp.Server

    def __init__(self, reactor: Reactor, address: Any) -> None:
        self._reactor = reactor
        self._address = address
        self.stopped: Deferred[None] = Deferred()

    def getHost(self) -> Any:
        """See C{IListeningPort.getHost}."""
        return self._address

    def stopListening(self) -> Deferred[None]:
        """See C{IListeningPort.stopListening}."""
        self._reactor.events.append("port stops")
        if not self._reactor.slow_ports:
            self._reactor.callLater(0, self.stopped.callback, None)
        self.stopped.addCallback(lambda _: self._reactor.events.append("port stopped"))
        return self.stopped


class Reactor(MemoryReactorClock):
    """A reactor without a network, which writes down what is done in which order."""

    slow_ports = False

    def __init__(self) -> None:
        super().__init__()
        self.advance(START)
        self.events: list[str] = []
        self.ports: list[Port] = []
        self.in_use: set[int] = set()

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See C{IReactorTCP.listenTCP}."""
        if port in self.in_use:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        super().listenTCP(port, factory, backlog, interface)
        address = IPv6Address if ":" in interface else IPv4Address
        return self._noted(address("TCP", interface or "0.0.0.0", port))

    def listenUNIX(self, *arguments: Any, **keywords: Any) -> Any:
        """See C{IReactorUNIX.listenUNIX}."""
        return self._noted(super().listenUNIX(*arguments, **keywords).getHost())

    def _noted(self, address: Any) -> Port:
        self.events.append("port listens")
        self.ports.append(Port(self, address))
        return self.ports[-1]

    def runUntilCurrent(self) -> None:
        """See L{twisted.internet.base.ReactorBase.runUntilCurrent}."""
        self.advance(0)


class ServiceTestCase(SynchronousTestCase):
    """A service whose database and hashes need no threads."""

    def setUp(self) -> None:
        """Nothing is started yet."""
        self.patch(sys, "excepthook", sys.excepthook)  # a failed start replaces it
        self.reactor = Reactor()
        self.data = Path(self.mktemp())
        self.patch(service, "threaded_pool", lambda reactor, data, opener: DirectPool(data, opener))

        def at_once(reactor: Any, pool: Any, function: Callable[..., Any], *arguments: Any) -> Any:
            return execute(function, *arguments)

        self.patch(service, "deferToThreadPool", at_once)

    def service(self, *doors: tuple[str, str], **settings: Any) -> ChatService:
        """A service with these doors."""
        settings.setdefault("bcrypt_rounds", 4)
        return ChatService(
            self.reactor, Settings(data=self.data, doors=doors or (("json", LOCAL),), **settings)
        )

    def start(self, *doors: tuple[str, str], **settings: Any) -> ChatService:
        """The same, started; it is stopped at the end."""
        started = self.service(*doors, **settings)
        started.startService()
        self.addCleanup(self.stop, started)
        return started

    def stop(self, started: ChatService) -> None:
        """Stop it, if that was not done."""
        if started.running:
            stopped = started.stopService()
            for port in self.reactor.ports:
                if self.reactor.slow_ports:
                    port.stopped.callback(None)
            self.reactor.pump([0, GRACE + 1])
            self.successResultOf(stopped)

    def connect(self, door: int = 0) -> Wire:
        """A connection to the door of this number."""
        factory = (self.reactor.tcpServers + self.reactor.unixServers)[door][1]
        wire = Wire(factory.buildProtocol(None))
        wire.protocol.makeConnection(wire)
        return wire

    def say(self, wire: Wire, line: bytes) -> bytes:
        """Say this and tell what is said to it."""
        wire.arrive(line + b"\n")
        self.reactor.advance(0)
        return wire.read()

    def assertCannotStart(self, *doors: tuple[str, str], **settings: Any) -> str:
        """The service does not start, and leaves everything as it was; returns the reason."""
        before = snapshot(self.data)
        with capturedLogs() as logged:
            error = self.assertRaises(StartError, self.service(*doors, **settings).startService)
        critical = [event for event in logged if event["log_level"] is LogLevel.critical]
        self.assertEqual(len(critical), 1)
        self.assertEqual(str(critical[0]["error"]), str(error))
        self.assertEqual(snapshot(self.data), before)
        self.assertNotIn("\n", str(error))
        return str(error)


def snapshot(directory: Path) -> dict[str, bytes] | None:
    """Every file there, but for the lock, with its content; C{None} if the directory is not there."""
    if not directory.exists():
        return None
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file() and file.name != "lock"
    }


class StartTests(ServiceTestCase):
    """How the service starts."""

    def test_service(self) -> None:
        """It is a service like any other."""
        verifyObject(IService, self.service())

    def test_nothingBefore(self) -> None:
        """Nothing is touched before it is started."""
        self.service()
        self.assertFalse(self.data.exists())
        self.assertEqual(self.reactor.events, [])

    def test_dataFirst(self) -> None:
        """It listens only once the data is ready."""
        ready: list[bool] = []
        listen = self.reactor.listenTCP

        def listenTCP(*arguments: Any, **keywords: Any) -> Any:
            ready.append(all((self.data / f"{name}.db").exists() for name in schemas()))
            return listen(*arguments, **keywords)

        self.reactor.listenTCP = listenTCP  # type: ignore[method-assign]
        self.start()
        self.assertEqual(ready, [True])

    def test_greeting(self) -> None:
        """A client is greeted with the name and version of the server."""
        self.start()
        self.assertIn(f'"server":"chat {__version__}"'.encode(), self.connect().read())

    def test_login(self) -> None:
        """Everything is there that a login needs."""
        self.start()
        wire = self.connect()
        wire.read()
        self.assertIn(
            b"new-password", self.say(wire, b'{"type":"login","data":{"field":"username","value":"a"}}')
        )
        secret = b'{"type":"login","data":{"field":"password","value":"correct horse"}}'
        self.assertIn(b"created", self.say(wire, secret))
        self.say(wire, b'{"type":"login","data":{"field":"username","value":"a"}}')
        self.assertIn(b"welcome", self.say(wire, secret))
        said = self.say(wire, b'{"type":"message","data":{"recipient":"a","body":"hi"}}')
        self.assertIn(b'"time":"2026-11-22T21:07:00.123Z"', said)
        wire.lose()

    def test_doors(self) -> None:
        """Each door speaks its own way, several of one kind included; the log tells where each is."""
        with capturedLogs() as logged:
            self.start(
                ("text", "tcp:6310:interface=127.0.0.1"),
                ("json", "tcp:6311:interface=127.0.0.1"),
                ("json", r"tcp6:6313:interface=\:\:1"),
                ("der", "tcp:6312:interface=127.0.0.1"),
                ("json", "unix:/run/chat/json"),
            )
        said = [self.connect(door).read() for door in range(5)]
        for door in (1, 2, 4):
            self.assertTrue(said[door].startswith(b'{"type":"system"'))
        self.assertTrue(said[0].endswith(b"Username: "))
        self.assertEqual(said[3][:1], b"\xa0")
        doors = [(event["kind"], event["address"]) for event in logged if "kind" in event]
        self.assertEqual(
            doors,
            [
                ("text", "127.0.0.1:6310"),
                ("json", "127.0.0.1:6311"),
                ("json", "[::1]:6313"),
                ("der", "127.0.0.1:6312"),
                ("json", "unix:/run/chat/json"),
            ],
        )

    def test_defaultDoors(self) -> None:
        """Where the doors are when they are not named."""
        self.assertEqual(Settings().doors, DEFAULT_DOORS)
        self.start(*DEFAULT_DOORS)
        self.assertEqual(
            [(port, interface) for port, _, _, interface in self.reactor.tcpServers],
            [(port, "127.0.0.1") for port in (5310, 5311, 5312, 5380)],
        )

    def test_registration(self) -> None:
        """By default anyone may sign up while every door is on loopback or a UNIX socket, else nobody."""
        everywhere = ("json", "tcp:5311:interface=0.0.0.0")
        local = ("json", LOCAL)
        cases: list[tuple[Sequence[tuple[str, str]], Registration | None, bytes]] = [
            ([local], None, b"new-password"),
            ([local, ("der", "tcp:1:interface=127.0.0.2")], None, b"new-password"),
            ([local, ("der", r"tcp6:5312:interface=\:\:1")], None, b"new-password"),
            ([local, ("der", "unix:/run/chat")], None, b"new-password"),
            ([everywhere], None, b'"password"'),
            ([("json", "tcp:5311")], None, b'"password"'),
            ([local, ("text", "tcp:5310:interface=192.0.2.1")], None, b'"password"'),
            ([local, ("text", r"tcp6:5310:interface=2001\:db8\:\:1")], None, b'"password"'),
            ([local, ("web", "tcp:5380:interface=127.0.0.1")], None, b"new-password"),
            ([local, ("web", "tcp:5380")], None, b'"password"'),
            ([everywhere], Registration.OPEN, b"new-password"),
            ([local], Registration.CLOSED, b'"password"'),
        ]
        for doors, registration, prompt in cases:
            self.reactor = Reactor()
            with capturedLogs() as logged:
                started = self.start(*doors, registration=registration, allow_plaintext=True)
            mode = registration.value if registration else "open" if prompt == b"new-password" else "invite"
            self.assertIn(mode, [event.get("mode") and event["mode"] for event in logged])
            wire = self.connect()
            wire.read()
            said = self.say(wire, b'{"type":"login","data":{"field":"username","value":"a"}}')
            self.assertIn(prompt, said, doors)
            wire.lose()
            self.stop(started)

    def test_namelessHost(self) -> None:
        """An address that is no IP address is not known to be on this machine."""
        self.assertFalse(is_local(IPv4Address("TCP", "example.org", 1)))

    def test_unixNames(self) -> None:
        """The name of a UNIX socket is shown however Twisted spells it."""

        class Address:
            name = b"/run/chat/\xff"

        self.assertEqual(listening.show(Address()), "unix:/run/chat/\ufffd")

    def test_waitingLine(self) -> None:
        """More clients than endpoints foresee can knock before the first one is let in."""
        with socket.socket() as knocked, contextlib.ExitStack() as knocking:
            knocked.bind(("127.0.0.1", 0))
            knocked.listen(50)
            listening.let_wait(SimpleNamespace(socket=knocked))
            for _ in range(100):
                knocking.enter_context(socket.create_connection(knocked.getsockname(), timeout=10))

    def test_writing(self) -> None:
        """What is said to the clients of any door goes out through one outlet."""
        self.start(("json", LOCAL), ("der", "tcp:5312:interface=127.0.0.1"))
        made = [port.transport for port in self.reactor.ports]
        self.assertEqual([each.func for each in made], [PromptServer] * 2)
        self.assertEqual(len({each.args for each in made}), 1)

    def test_finishes(self) -> None:
        """A deletion that a crash cut short is finished before anybody can connect."""
        network = Network(self.data)
        alice, bob = network.user("alice"), network.user("bob")
        alice.send("bob", "hi")
        alice.hear()
        account = bob.protocol._session.account
        assert account is not None
        network.store.leave(account)
        network.settle()
        network.kill()
        self.start()
        rows = sqlite3.connect(self.data / "messages.db").execute("SELECT recipient, code FROM ledger")
        self.assertEqual(rows.fetchall(), [(1, "account-deleted")])

    def test_tokenDays(self) -> None:
        """A token ends after as many days as the operator has said."""
        self.start(token_days=2.0)
        wire = self.connect()
        for field, value in [("username", "alice"), ("password", "correct horse")] * 2:
            wire.arrive(
                b'{"type":"login","data":{"field":"%s","value":"%s"}}\n' % (field.encode(), value.encode())
            )
        wire.arrive(b'{"type":"system","data":{"keyword":"token"}}\n')
        self.reactor.pump([0] * 20)
        self.assertIn(b'"expires":"2026-11-24T21:07:00.123Z"', wire.read())

    def test_rights(self) -> None:
        """What rights are in reserve are thrown away once the ports are open, before anybody comes in."""
        reserve = Rights()
        self.patch(reserve, "give_up", lambda: self.reactor.events.append("rights given up"))
        started = ChatService(self.reactor, Settings(self.data, (("json", LOCAL),)), reserve)
        started.startService()
        self.addCleanup(self.stop, started)
        self.assertEqual(self.reactor.events, ["port listens", "rights given up"])

    def test_files(self) -> None:
        """The data is in three files that nobody else may read."""
        self.start()
        for name in ("users.db", "passwords.db", "messages.db"):
            self.assertEqual(os.stat(self.data / name).st_mode & 0o077, 0)


class CannotStartTests(ServiceTestCase):
    """A start that fails says why, in one line, and leaves no trace."""

    def test_portInUse(self) -> None:
        """A port in use, with a fresh directory: the line names the door; no directory is left."""
        self.reactor.in_use.add(5312)
        reason = self.assertCannotStart(("json", LOCAL), ("der", "tcp:5312:interface=127.0.0.1"))
        for part in ("der door", "tcp:5312:interface=127.0.0.1", "already in use", "--der"):
            self.assertIn(part, reason)
        self.assertFalse(self.data.exists())
        self.assertEqual(self.reactor.events, ["port listens", "port stops", "port stopped"])

    def test_portInUseWithData(self) -> None:
        """The same with data: the files are as they were, and the next start finds them free."""
        network = Network(self.data)
        network.user("alice")
        network.close()
        self.reactor.in_use.add(5311)
        self.assertCannotStart()
        self.reactor.in_use.clear()
        self.start()

    def test_noEndpoint(self) -> None:
        """An endpoint that fails in another way of its own is named, too."""

        class Endpoint:
            def listen(self, factory: object) -> Deferred[Any]:
                result: Deferred[Any] = Deferred()
                result.errback(Failure(OSError(13, "Permission denied")))
                return result

        self.patch(listening, "serverFromString", lambda reactor, description: Endpoint())
        reason = self.assertCannotStart()
        self.assertIn("Permission denied", reason)

    def test_listensLater(self) -> None:
        """An endpoint that is not ready at once, as some of plugins are."""

        class Endpoint:
            """It takes its time."""

            def listen(self, factory: object) -> Deferred[Any]:
                """See C{IStreamServerEndpoint.listen}."""
                return Deferred()

        self.patch(service, "endpoint", lambda *arguments: Endpoint())
        reason = self.assertCannotStart(("json", "onion:80"))
        self.assertIn("onion:80 is not ready at once", reason)

    def test_secondServer(self) -> None:
        """A second server on the same directory is told that there is a first one, which goes on."""
        self.start()
        self.assertIn("Another server", self.assertCannotStart(("json", "tcp:1:interface=127.0.0.1")))
        self.assertEqual(self.reactor.events, ["port listens"])
        self.assertIn(b"username", self.connect().read())

    def test_notMade(self) -> None:
        """A directory that cannot be made."""
        self.data.write_text("a file")
        self.data = self.data / "data"
        self.assertIn(str(self.data), self.assertCannotStart())

    def test_notWritable(self) -> None:
        """A directory that cannot be written."""
        self.data.mkdir()
        self.patch(os, "access", lambda path, mode: False)
        self.assertIn("cannot be written", self.assertCannotStart())

    def test_damaged(self) -> None:
        """A file that is no database."""
        network = Network(self.data)
        network.close()
        (self.data / "messages.db").write_bytes(b"not a database" * 100)
        self.assertIn("messages.db is damaged", self.assertCannotStart())

    def test_damagedInside(self) -> None:
        """A file that begins like a database, and then does not go on like one."""
        network = Network(self.data)
        network.user("alice")
        network.close()
        file = self.data / "users.db"
        content = file.read_bytes()
        file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
        self.assertIn(str(self.data), self.assertCannotStart())

    def test_newer(self) -> None:
        """A file of a later version."""
        Network(self.data).close()
        connection = sqlite3.connect(self.data / "users.db")
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        reason = self.assertCannotStart()
        self.assertIn("users.db was written by a newer version", reason)

    def test_unfinishable(self) -> None:
        """When there is no room to finish a deletion, the start says so."""
        Network(self.data).close()

        async def finish(accounts: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(Accounts, "finish", finish)
        reason = self.assertCannotStart()
        self.assertIn("database or disk is full", reason)

    def test_notAnErrorOfTheOperator(self) -> None:
        """A defect of the program is not dressed up, and still leaves no trace."""

        def broken(*arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(service, "threaded_pool", broken)
        hook = sys.excepthook
        self.assertRaises(ZeroDivisionError, self.service().startService)
        self.assertFalse(self.data.exists())
        self.assertIs(sys.excepthook, hook)

    def test_shown(self) -> None:
        """The reason is the last word of the process, without a traceback, wherever the log goes."""
        self.data.write_text("a file")
        shown: list[object] = []
        self.patch(sys, "excepthook", lambda *arguments: shown.append(arguments))
        self.assertCannotStart()
        hook = sys.excepthook
        error = StartError("Do this.")
        real = io.StringIO()
        self.patch(sys, "__stderr__", real)
        hook(StartError, error, None)  # the log has taken over sys.stderr
        self.assertEqual(real.getvalue(), "chat: Do this.\n")
        self.patch(sys, "stderr", real)
        hook(StartError, error, None)  # the log was shown there already
        self.assertEqual(real.getvalue(), "chat: Do this.\n")
        self.patch(sys, "__stderr__", None)
        hook(StartError, error, None)
        self.assertEqual(shown, [])
        other = ZeroDivisionError()
        hook(ZeroDivisionError, other, None)
        self.assertEqual(shown, [(ZeroDivisionError, other, None)])


class StopTests(ServiceTestCase):
    """The order in which the service stops."""

    def test_order(self) -> None:
        """No new connections; then the last words; then the store; then the directory is free."""
        self.reactor.slow_ports = True
        started = self.start()
        wire = self.connect()
        wire.read()
        store_closed: list[bool] = []
        close = started._data.close

        def closing() -> Deferred[None]:
            store_closed.append(wire.lost)
            return close()

        self.patch(started._data, "close", closing)
        stopped = started.stopService()
        self.assertFalse(started.running)
        self.reactor.advance(1)
        self.assertEqual(wire.read(), b"")
        self.assertNoResult(stopped)
        self.reactor.ports[0].stopped.callback(None)
        self.assertIn(b"shutting-down", wire.read())
        self.assertEqual(store_closed, [])
        self.assertRaises(StartError, DataDirectory(self.data, schemas()).open)
        wire.lose()
        self.assertEqual(store_closed, [True])
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        directory = DataDirectory(self.data, schemas())
        directory.open()
        directory.close()

    def test_committed(self) -> None:
        """What was asked before the stop is answered, and on disk."""
        network = Network(self.data)
        network.user("alice")
        network.close()
        started = self.start()
        wire = self.connect()
        for field, value in (("username", "alice"), ("password", password("alice"))):
            line = f'{{"type":"login","data":{{"field":"{field}","value":"{value}"}}}}'
            self.say(wire, line.encode())
        wire.arrive(b'{"type":"message","data":{"recipient":"alice","body":"hi"}}\n')
        stopped = started.stopService()
        self.reactor.advance(0)
        self.assertIn(b"accepted", wire.read())
        wire.lose()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        rows = sqlite3.connect(self.data / "messages.db").execute("SELECT count(*) FROM ledger")
        self.assertEqual(rows.fetchone(), (1,))

    def test_portFails(self) -> None:
        """A port that cannot clean up behind itself, as when somebody has removed its file, stops nothing."""
        self.reactor.slow_ports = True
        started = self.start()
        wire = self.connect()
        wire.read()
        stopped = started.stopService()
        self.reactor.ports[0].stopped.errback(FileNotFoundError("chat.sock"))
        self.assertIn(b"shutting-down", wire.read())
        wire.lose()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        (failure,) = self.flushLoggedErrors(FileNotFoundError)
        self.assertEqual(str(failure.value), "chat.sock")
        directory = DataDirectory(self.data, schemas())
        directory.open()
        directory.close()

    def test_grace(self) -> None:
        """Those who do not go are waited for, but not long."""
        started = self.start()
        wire = self.connect()
        self.patch(wire.protocol, "close", lambda: None)
        stopped = started.stopService()
        self.reactor.advance(0)
        self.reactor.advance(GRACE - 0.1)
        self.assertNoResult(stopped)
        self.reactor.advance(0.2)
        self.assertTrue(wire.aborted)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class OptionsTests(SynchronousTestCase):
    """What the operator may say."""

    def settings(self, *arguments: str) -> Settings:
        """The settings of a server with these options."""
        made: list[Settings] = []

        def keep(reactor: object, settings: Settings, rights: object) -> Settings:
            made.append(settings)
            return settings

        self.patch(tap, "ChatService", keep)
        options = Options()
        options.parseOptions(list(arguments))
        makeService(options)
        return made[0]

    def test_defaults(self) -> None:
        """Without options: the defaults of protocol.md."""
        self.assertEqual(self.settings(), Settings())
        settings = Settings()
        self.assertEqual(
            (settings.bcrypt_rounds, settings.login_timeout, settings.registration), (12, 60, None)
        )
        self.assertEqual(settings.reserve_names, 90)

    def test_all(self) -> None:
        """Naming any door replaces all the defaults; each may be repeated."""
        settings = self.settings(
            *("--data", "somewhere", "--registration", "closed", "--bcrypt-rounds", "4"),
            *("--login-timeout", "2.5", "--reserve-names", "0", "--reserve-space", "10"),
            *("--token-days", "0.5"),
            *("--json", "tcp:1", "--text", "tcp:2", "--json", "tcp:3", "--der", "tcp:4"),
        )
        self.assertEqual(
            settings,
            Settings(
                data=Path("somewhere"),
                doors=(("json", "tcp:1"), ("text", "tcp:2"), ("json", "tcp:3"), ("der", "tcp:4")),
                registration=Registration.CLOSED,
                bcrypt_rounds=4,
                login_timeout=2.5,
                token_days=0.5,
                reserve_names=0,
                reserve_space=10 * 1024 * 1024,
            ),
        )

    def test_refused(self) -> None:
        """Every bad value is named, with what would be right."""
        for arguments, part in (
            (["--bcrypt-rounds", "3"], "from 4 to 31"),
            (["--bcrypt-rounds", "32"], "--bcrypt-rounds"),
            (["--bcrypt-rounds", "4.5"], "--bcrypt-rounds"),
            (["--login-timeout", "0"], "--login-timeout"),
            (["--login-timeout", "soon"], "--login-timeout"),
            (["--login-timeout", "nan"], "--login-timeout"),
            (["--reserve-names", "-1"], "--reserve-names"),
            (["--token-days", "0"], "--token-days"),
            (["--reserve-space", "-1"], "--reserve-space"),
            (["--registration", "maybe"], "open, invite or closed"),
            (["--bogus"], "--bogus"),
            (["surplus"], "Wrong number of arguments"),
        ):
            error = self.assertRaises(UsageError, Options().parseOptions, arguments)
            self.assertIn(part, str(error))

    def test_endpoints(self) -> None:
        """An endpoint that is none ends the start with one line that names it."""
        for endpoint in (
            "foo:1",
            "",
            "tcp:",
            "tcp:http",
            "tcp:1:2:3:4:5",
            "tcp:1:colour=red",
            "ssl:1",
            "systemd:domain=INET:index=0",
        ):
            options = Options()
            options.parseOptions(["--json", LOCAL, "--der", endpoint])
            error = self.assertRaises(SystemExit, makeService, options)
            self.assertIn(f"--der {endpoint!r}", str(error))
            self.assertNotIn("\n", str(error))

    def test_service(self) -> None:
        """The options make a service, and touch nothing."""
        options = Options()
        options.parseOptions(["--data", self.mktemp()])
        self.assertIsInstance(makeService(options), ChatService)
        self.assertFalse(Path(options["data"]).exists())
