"""The web door as the service opens it, and what the operator may say of it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.service import GRACE, WEB
from chat.tap import Options, makeService
from tests import test_service
from tests.test_service import LOCAL
from tests.web import UPGRADE, parse, request
from tests.wire import Wire

SOCKET = request("/socket", **{name.replace("-", "_"): value for name, value in UPGRADE.items()})


class WebServiceTests(test_service.ServiceTestCase):
    """A service with a web door, on a reactor without a network."""

    def knock(self, octets: bytes, door: int = 0) -> Wire:
        """A connection to the web door on which this was said."""
        wire = self.connect(door)
        wire.arrive(octets)
        self.reactor.advance(0)
        return wire

    def answer(self, octets: bytes, door: int = 0) -> int:
        """With which status a request is answered."""
        return parse(self.knock(octets, door).read()).status

    def test_opens(self) -> None:
        """The page, the WebSocket, and what programs ask for are there, at each of two doors."""
        self.start((WEB, LOCAL), (WEB, "tcp:5381:interface=127.0.0.1"))
        for door in range(2):
            self.assertEqual(self.answer(request("/"), door), 200)
            self.assertEqual(self.answer(request("/messages"), door), 401)
            self.assertEqual(self.answer(request("/health"), door), 200)
            wire = self.knock(SOCKET, door)
            self.assertIn(b'"username"', wire.read())
            wire.lose()

    def test_origin(self) -> None:
        """The page of another server comes in if that was said, for the WebSocket and for requests."""
        foreign = SOCKET.replace(b"http://chat.example", b"https://talk.example")
        self.start((WEB, LOCAL))
        self.assertEqual(self.answer(foreign), 403)
        self.assertEqual(self.answer(request("/token", "POST", Origin="https://talk.example")), 403)

    def test_allowedOrigin(self) -> None:
        """The same with C{--web-origin}."""
        foreign = SOCKET.replace(b"http://chat.example", b"https://talk.example")
        self.start((WEB, LOCAL), web_origins=("https://talk.example",))
        self.assertEqual(self.answer(foreign), 101)
        self.assertEqual(self.answer(request("/token", "POST", Origin="https://talk.example")), 401)

    def test_proxied(self) -> None:
        """A proxy brings others to a door on loopback: then not everybody may sign up."""
        self.start((WEB, LOCAL), web_proxies=("127.0.0.1",))
        wire = self.knock(SOCKET)
        wire.read()
        name = b'{"type":"login","data":{"field":"username","value":"alice"}}'
        key = bytes([0x81, 0x80 | len(name), 0, 0, 0, 0])
        wire.arrive(key + name)
        self.reactor.advance(0)
        self.assertIn(b'"password"', wire.read())
        wire.lose()

    def test_stops(self) -> None:
        """The last word is said on every connection, and those that do not hang up are cut."""
        started = self.start((WEB, LOCAL))
        socket, idle, half = self.knock(SOCKET), self.knock(b""), self.knock(b"GET / HT")
        socket.read()
        stopped = started.stopService()
        self.reactor.advance(0)
        self.assertIn(b'"shutting-down"', socket.read())
        for wire in (socket, idle, half):
            self.assertTrue(wire.half_closed)
        self.assertNoResult(stopped)
        self.reactor.advance(GRACE)
        for wire in (socket, idle, half):
            self.assertTrue(wire.aborted)
        self.successResultOf(stopped)

    def test_neverStarted(self) -> None:
        """A port in use ends the start, which names the door; what was never opened can be stopped."""
        self.reactor.in_use.add(5380)
        reason = self.assertCannotStart(("json", LOCAL), (WEB, "tcp:5380:interface=127.0.0.1"))
        for part in ("web door", "already in use", "--web"):
            self.assertIn(part, reason)


class WebOptionsTests(SynchronousTestCase):
    """What the operator may say."""

    settings: Any = test_service.OptionsTests.settings

    def test_all(self) -> None:
        """Doors, origins and proxies may each be several."""
        settings = self.settings(
            *("--web", "tcp:1", "--web", "tcp:2", "--web-origin", "https://a.example"),
            *("--web-origin", "https://b.example", "--web-proxy", "unix", "--web-proxy", "10.0.0.0/8"),
        )
        self.assertEqual(settings.doors, ((WEB, "tcp:1"), (WEB, "tcp:2")))
        self.assertEqual(settings.web_origins, ("https://a.example", "https://b.example"))
        self.assertEqual(settings.web_proxies, ("unix", "10.0.0.0/8"))

    def test_refused(self) -> None:
        """What cannot be used ends the start with one line that names it, and what would be right."""
        for option, value, right in (
            ("--web-origin", "chat.example", "https://chat.example"),
            ("--web-proxy", "proxy.example", "an address, a network, or unix"),
            ("--web", "nowhere", "no endpoint that can be used"),
        ):
            options = Options()
            options.parseOptions([option, value])
            error = str(self.assertRaises(SystemExit, makeService, options))
            for part in (option, repr(value), right):
                self.assertIn(part, error)
            self.assertNotIn("\n", error)
