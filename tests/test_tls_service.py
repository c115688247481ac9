"""The service and TLS: which doors speak it, with which certificate, and what the operator is told."""

from __future__ import annotations

import os
import signal
import stat
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from chat import service, signals
from chat.errors import StartError
from chat.service import Settings
from chat.tap import Options, makeService
from chat.tls import fingerprint
from chat.tls.certificate import Pair, load, make, own
from chat.tls.credentials import LOOK
from chat.tls.door import Door
from chat.tls.guard import Guard, Way
from tests.network import START
from tests.test_service import LOCAL, ServiceTestCase
from tests.tls import TLSClient, given

EVERYWHERE = "tcp:5311:interface=0.0.0.0"
OTHER = r"tcp6:5312:interface=2001\:db8\:\:1"
UNIX = "unix:/run/chat/json"


class TLSServiceTestCase(ServiceTestCase):
    """A service, and what it logs."""

    def log(self, *doors: str, **settings: Any) -> tuple[list[str], list[str]]:
        """Start a server with these JSON doors; what is logged of them, and what it warns of."""
        with capturedLogs() as events:
            self.started = self.start(*(("json", door) for door in doors), **settings)
        warnings = [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]
        return [formatEvent(event) for event in events if "way" in event], warnings

    def tls(self, door: int = 0, *protocols: str) -> TLSClient:
        """A client that speaks TLS at the door of this number."""
        factory = (self.reactor.tcpServers + self.reactor.unixServers)[door][1]
        client = TLSClient(factory, protocols)
        self.reactor.advance(0)
        return client

    def given(self, days: float = 100) -> Pair:
        """A certificate of the operator's."""
        folder = Path(self.mktemp())
        folder.mkdir()
        return given(folder, days)


class DoorsTests(TLSServiceTestCase):
    """Which doors speak TLS."""

    def test_reachable(self) -> None:
        """A door that others can reach speaks TLS; one on loopback or a UNIX socket need not."""
        doors, warnings = self.log(EVERYWHERE, OTHER, "tcp:5313:interface=127.0.0.1", UNIX)
        self.assertEqual(
            doors,
            [
                "json door listening on 0.0.0.0:5311, TLS",
                "json door listening on [2001:db8::1]:5312, TLS",
                "json door listening on 127.0.0.1:5313",
                "json door listening on unix:/run/chat/json",
            ],
        )
        self.assertEqual(warnings, [])
        for door in (0, 1):
            self.assertEqual(self.connect(door).read(), b"")
            self.assertIn(b"username", self.tls(door).hear())
        for door in (2, 3):
            self.assertIn(b"username", self.connect(door).read())

    def test_misled(self) -> None:
        """Who speaks plaintext to a door with TLS is told so, in the way of that door."""
        with capturedLogs():
            self.start(("json", EVERYWHERE), ("text", "tcp:5310"), ("der", "tcp:5312"))
        for door, words in enumerate((b'"code":"tls-needed"', b"This door speaks TLS only.", b"tls-needed")):
            wire = self.connect(door)
            wire.arrive(b"hello\n")
            self.assertIn(words, wire.read())
            self.assertTrue(wire.disconnecting)
            wire.lose()

    def test_local(self) -> None:
        """Where nobody else can reach any door, there is no certificate, either."""
        self.log(LOCAL, UNIX)
        self.assertEqual(sorted(self.data.glob("*.pem")), [])

    def test_forced(self) -> None:
        """C{--tls}: loopback, too. A UNIX socket is no network."""
        doors, _ = self.log(LOCAL, UNIX, tls=True)
        self.assertEqual(
            doors,
            ["json door listening on 127.0.0.1:5311, TLS", "json door listening on unix:/run/chat/json"],
        )
        self.assertIn(b"username", self.tls().hear())
        self.assertIn(b"username", self.connect(1).read())

    def test_plaintext(self) -> None:
        """C{--allow-plaintext}: no TLS, no certificate, and a word of warning."""
        doors, warnings = self.log(EVERYWHERE, LOCAL, allow_plaintext=True)
        self.assertEqual(
            doors,
            ["json door listening on 0.0.0.0:5311, plaintext", "json door listening on 127.0.0.1:5311"],
        )
        self.assertEqual(len(warnings), 1)
        self.assertIn("--allow-plaintext", warnings[0])
        self.assertIn(b"username", self.connect().read())
        self.assertEqual(sorted(self.data.glob("*.pem")), [])

    def test_endpoint(self) -> None:
        """An endpoint that speaks TLS by itself is left to do so, and is no reason to make a certificate."""
        port = SimpleNamespace(factory=TLSMemoryBIOFactory.__new__(TLSMemoryBIOFactory))
        port.getHost = lambda: IPv4Address("TCP", "0.0.0.0", 5311)
        door = Door(SimpleNamespace(), ())  # type: ignore[arg-type]
        guard = Guard(self.data, self.reactor.seconds, forced=True)
        self.assertEqual(guard.open([(door, port)], self.reactor), [Way.TLS])  # type: ignore[list-item]
        self.assertFalse(self.data.exists())

    def test_protocol(self) -> None:
        """One door with TLS serves every codec."""
        self.log(EVERYWHERE)
        self.assertEqual(self.tls(0, "chat/der").hear()[:1], b"\xa0")
        self.assertIn(b"Username: ", self.tls(0, "chat/text").hear())

    def test_registration(self) -> None:
        """TLS does not open a door for everybody: sign-up goes by who can reach it."""
        self.log(EVERYWHERE)
        self.assertNotEqual(self.started._accounts.registration.value, "open")
        self.stop(self.started)
        self.reactor = type(self.reactor)()
        self.log(LOCAL, tls=True)
        self.assertEqual(self.started._accounts.registration.value, "open")


class CertificateTests(TLSServiceTestCase):
    """Which certificate is shown."""

    def test_made(self) -> None:
        """Without one the server makes its own, for its owner alone, and says by what it is known."""
        with capturedLogs() as events:
            self.log(EVERYWHERE, "tcp:5313:interface=192.0.2.7")
        identity = load(own(self.data), START)
        for file in (own(self.data).certificate, own(self.data).key):
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        said = [formatEvent(event) for event in events]
        self.assertIn(f"fingerprint {identity.fingerprint}", said)
        self.assertIn(f"in words: {identity.words}", said)
        self.assertIn(f"TLS certificate {own(self.data).certificate}, good until 2036-11-21", said)
        self.assertIn("192.0.2.7", str(identity.certificate.extensions))

    def test_kept(self) -> None:
        """The next start shows the same one."""
        self.log(EVERYWHERE)
        before = self.tls().tls.getpeercert(True)
        self.stop(self.started)
        self.reactor = type(self.reactor)()
        self.log(EVERYWHERE)
        self.assertEqual(self.tls().tls.getpeercert(True), before)

    def test_given(self) -> None:
        """One that was given is shown, and none is made."""
        pair = self.given()
        self.log(EVERYWHERE, certificate=pair)
        self.assertEqual(
            fingerprint.fingerprint(self.tls().tls.getpeercert(True) or b""), load(pair, START).fingerprint
        )
        self.assertIn(b"username", self.tls().hear())
        self.assertEqual(sorted(self.data.glob("*.pem")), [])

    def test_givenInVain(self) -> None:
        """One that no door shows is worth a word."""
        _, warnings = self.log(LOCAL, certificate=self.given())
        self.assertEqual(
            warnings, ["no door shows the certificate given: those on loopback need --tls for it"]
        )

    def test_readBefore(self) -> None:
        """One that was given is read before anything else, for it may be out of reach later."""
        pair = self.given()
        made = self.service(("json", EVERYWHERE), certificate=pair)
        pair.key.unlink()
        made.startService()
        self.addCleanup(self.stop, made)
        self.assertIn(b"username", self.tls().hear())

    def test_refused(self) -> None:
        """One that cannot be used is told before anything is touched."""
        error = self.assertRaises(StartError, self.service, certificate=self.given(-1))
        self.assertIn("expired", str(error))
        self.assertFalse(self.data.exists())

    def test_keyGone(self) -> None:
        """Without the key of its own certificate it does not start, and leaves everything as it was."""
        self.log(LOCAL)
        self.stop(self.started)
        make(own(self.data), [], START)
        own(self.data).key.unlink()
        self.reactor = type(self.reactor)()
        self.assertIn("tls-key.pem is not there", self.assertCannotStart(("json", EVERYWHERE)))

    def test_takenBack(self) -> None:
        """A start that fails after it has made a certificate takes it back."""
        self.patch(service, "on_hangup", self.fails)
        self.assertCannotStart(("json", EVERYWHERE))
        self.assertFalse(self.data.exists())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def fails(self, *arguments: Any) -> None:
        """Something goes wrong at the very end of the start."""
        raise StartError("It is not to be.")


class ReloadTests(TLSServiceTestCase):
    """Certificates that change while the server runs."""

    def test_changed(self) -> None:
        """Changed files are taken within a minute, as long as the server runs."""
        pair = self.given()
        self.log(EVERYWHERE, certificate=pair)
        before = self.tls().tls.getpeercert(True)
        given(pair.certificate.parent, 50)
        os.utime(pair.key, (START, START))
        self.reactor.advance(LOOK)
        self.assertNotEqual(self.tls().tls.getpeercert(True), before)
        self.stop(self.started)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_hangup(self) -> None:
        """SIGHUP has it read again, in a turn of the reactor's; when the server has stopped, no more."""
        before = signal.getsignal(signal.SIGHUP)
        called: list[Any] = []
        self.reactor.callFromThread = called.append  # type: ignore[attr-defined]
        self.log(EVERYWHERE)
        os.kill(os.getpid(), signal.SIGHUP)
        (action,) = called
        with capturedLogs() as events:
            action()
        self.assertEqual(
            [formatEvent(event) for event in events], ["The TLS certificate was read again; it is the same."]
        )
        self.stop(self.started)
        self.assertIs(signal.getsignal(signal.SIGHUP), before)

    def test_hangupWithout(self) -> None:
        """A server without TLS survives it as well."""
        called: list[Any] = []
        self.reactor.callFromThread = called.append  # type: ignore[attr-defined]
        self.log(LOCAL)
        os.kill(os.getpid(), signal.SIGHUP)
        with capturedLogs() as events:
            called[0]()
        self.assertIn("no certificate", formatEvent(events[0]))

    def test_elsewhere(self) -> None:
        """In a thread of somebody's program signals are left to that program."""
        before = signal.getsignal(signal.SIGHUP)
        undo: list[Any] = []
        thread = threading.Thread(target=lambda: undo.append(signals.on_hangup(self.reactor, lambda: None)))
        thread.start()
        thread.join()
        undo[0]()
        self.assertIs(signal.getsignal(signal.SIGHUP), before)


class OptionsTests(SynchronousTestCase):
    """The options of C{twistd chat}."""

    def settings(self, *arguments: str) -> Settings:
        """The settings of a server with these options."""
        options = Options()
        options.parseOptions(["--data", self.mktemp(), *arguments])
        return makeService(options)._settings

    def test_flags(self) -> None:
        """Each says what it says."""
        self.assertEqual(
            [
                (made.tls, made.allow_plaintext)
                for made in (self.settings(), self.settings("--tls"), self.settings("--allow-plaintext"))
            ],
            [(False, False), (True, False), (False, True)],
        )

    def test_certificate(self) -> None:
        """Files are named in full, wherever the server goes to."""
        folder = Path(self.mktemp())
        folder.mkdir()
        pair = given(folder, 10, Path(folder).stat().st_mtime)
        made = self.settings("--certificate", str(pair.certificate), "--key", str(pair.key))
        self.assertEqual(made.certificate, Pair(pair.certificate.absolute(), pair.key.absolute()))

    def test_refused(self) -> None:
        """Options that make no sense together."""
        for arguments, part in (
            (["--certificate", "a.pem"], "--certificate and --key"),
            (["--key", "a.pem"], "--certificate and --key"),
            (["--tls", "--allow-plaintext"], "contradict"),
        ):
            error = self.assertRaises(UsageError, Options().parseOptions, arguments)
            self.assertIn(part, str(error))

    def test_unusable(self) -> None:
        """A certificate that cannot be used ends the start with one line."""
        error = self.assertRaises(SystemExit, self.settings, "--certificate", "none.pem", "--key", "none.pem")
        self.assertIn(f"chat: The TLS certificate {Path('none.pem').absolute()} is not there", str(error))
        self.assertNotIn("\n", str(error))
