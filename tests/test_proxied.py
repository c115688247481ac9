"""Tests for L{chat.proxied}: a proxy says whom it brings, and everything counts by that."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chat.proxied import SECONDS, Header, Proxied, described, inside, parse
from tests.daemon import PATIENCE, Daemon

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
SOURCE4 = IPv4Address("TCP", "192.0.2.1", 56324)
SOURCE6 = IPv6Address("TCP", "2001:db8::1", 4711)
PROXY = IPv4Address("TCP", "127.0.0.1", 40000)


def binary(command: int, kind: int, addresses: bytes, more: bytes = b"") -> bytes:
    """A header of version 2."""
    content = addresses + more
    return SIGNATURE + struct.pack("!BBH", command, kind, len(content)) + content


TCP4 = binary(0x21, 0x11, socket.inet_aton("192.0.2.1") + bytes(4) + struct.pack("!HH", 56324, 443))
TCP6 = binary(
    0x21,
    0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::1") + bytes(16) + struct.pack("!HH", 4711, 443),
    b"\x03\x00\x04abcd",
)
LOCAL = binary(0x20, 0x00, b"")
#: A look whether the server is well, by a proxy that says all the same who asked last.
LOCAL_WITH_ADDRESSES = binary(0x20, 0x11, socket.inet_aton("192.0.2.1") + bytes(4) + bytes(4))
UNIX = binary(0x21, 0x31, bytes(216))
#: Headers, and whom they bring.
HEADERS: dict[bytes, IAddress | None] = {
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n": SOURCE4,
    b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n": SOURCE6,
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n": None,
    TCP4: SOURCE4,
    TCP6: SOURCE6,
    LOCAL: None,
    LOCAL_WITH_ADDRESSES: None,
    UNIX: None,
}
WRONG = (
    b'{"type":"login"}\n',
    b"\x16\x03\x01",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
    b"PROXY TCP4 somewhere 198.51.100.2 56324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 port 443\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n",
    "PROXY TCP4 192.0.2.\u00b9 198.51.100.2 56324 443\r\n".encode(),
    b"PROXY TCP4 " + b"1" * 200,
    binary(0x31, 0x11, bytes(12)),
    binary(0x21, 0x11, bytes(11)),
    SIGNATURE + b"\x21\x11\xff\xff",
)


class ParseTests(SynchronousTestCase):
    """What a header says."""

    def test_whole(self) -> None:
        """Both versions are read, whatever follows them, and cut anywhere they are waited for."""
        for header, source in HEADERS.items():
            for rest in (b"", b"PROXY TCP4 203.0.113.9 ", b"\x00" * 5000):
                self.assertEqual(parse(header + rest), Header(source, len(header)))
            for size in range(len(header)):
                self.assertIs(parse(header[:size]), None, header[:size])

    def test_wrong(self) -> None:
        """What is none is found out, at the latest when it is whole."""
        for header in WRONG:
            self.assertRaises(ValueError, parse, header)

    def test_described(self) -> None:
        """A description with the word before it is of such a door; in TLS there can be none."""
        made: list[str] = []

        spoken = Spoken()

        @implementer(IStreamServerEndpoint)
        class Endpoint:
            """Tells what would listen."""

            def listen(self, factory: IProtocolFactory) -> Any:
                """See L{IStreamServerEndpoint.listen}."""
                return factory

        def make(description: str) -> IStreamServerEndpoint:
            made.append(description)
            return Endpoint()

        self.assertIs(described(Clock(), "tcp:1", make).listen(spoken), spoken)
        proxied: Any = described(Clock(), "haproxy:tcp:2", make).listen(spoken)
        self.assertIs(proxied.spoken, spoken)
        self.assertEqual(
            (made, inside("haproxy:unix:x"), inside("unix:x")), (["tcp:1", "tcp:2"], "unix:x", "unix:x")
        )
        self.assertRaises(ValueError, described, Clock(), "haproxy:ssl:3", make)


class Spoken(Factory):
    """What listens behind the door; tells who came, and speaks first."""

    def __init__(self) -> None:
        self.came: list[object] = []
        self.shut = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Somebody is here."""
        self.came.append(addr)
        return None if self.shut else Greeting(self)


class Greeting(Protocol):
    """Greets, and notes what is said."""

    def __init__(self, spoken: Spoken) -> None:
        self._spoken = spoken

    def connectionMade(self) -> None:
        """The server speaks first."""
        assert self.transport is not None
        self._spoken.came.append(self.transport.getPeer())
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        """And then the client."""
        self._spoken.came.append(data)


class DoorTests(SynchronousTestCase):
    """A door behind a proxy."""

    def setUp(self) -> None:
        """The proxy has connected."""
        self.clock = Clock()
        self.spoken = Spoken()
        self.factory = Proxied(self.clock, self.spoken)
        self.connect()

    def connect(self) -> None:
        """Connect."""
        self.transport = StringTransport(peerAddress=PROXY)
        self.connection = self.factory.buildProtocol(PROXY)
        self.connection.makeConnection(self.transport)
        self.transport.protocol = self.connection  # type: ignore[attr-defined]

    def test_greeted(self) -> None:
        """The header alone is enough to be greeted; until it is whole nobody is there."""
        self.connection.dataReceived(TCP4[:20])
        self.assertEqual((self.spoken.came, self.transport.value()), ([], b""))
        self.connection.dataReceived(TCP4[20:])
        self.assertEqual((self.spoken.came, self.transport.value()), ([SOURCE4, SOURCE4], b"hello"))
        self.clock.advance(SECONDS)
        self.assertFalse(self.transport.disconnecting)

    def test_whatFollows(self) -> None:
        """What comes with the header and behind it is the client's, and goes straight to the server."""
        self.connection.dataReceived(TCP6 + b"PROXY me")
        self.transport.protocol.dataReceived(b"!")  # type: ignore[attr-defined]
        self.assertEqual(self.spoken.came, [SOURCE6, SOURCE6, b"PROXY me", b"!"])

    def test_itself(self) -> None:
        """A proxy that brings nobody, to see whether the server lives, is itself who comes."""
        self.connection.dataReceived(LOCAL)
        self.assertEqual(self.spoken.came, [PROXY, PROXY])

    def test_noHeader(self) -> None:
        """Who sends none is told what is missing, and nobody was there; the log says it now and then."""
        told = []
        for number in range(4):
            self.connect()
            self.connection.dataReceived(WRONG[number])
            self.assertIn(b"PROXY header", self.transport.value())
            self.assertTrue(self.transport.disconnecting)
            told.append(self.factory._refused)
        self.assertEqual((told, self.spoken.came), ([1, 2, 3, 4], []))
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)  # that of setUp

    def test_late(self) -> None:
        """A header has to come at once."""
        self.connection.dataReceived(TCP4[:5])
        self.clock.advance(SECONDS)
        self.assertTrue(self.transport.disconnecting)

    def test_shut(self) -> None:
        """A door that lets nobody in does not let them in here, either."""
        self.spoken.shut = True
        self.connection.dataReceived(TCP4)
        self.assertTrue(self.transport.disconnected)


class DaemonTests(SynchronousTestCase):
    """A real server behind what could be a proxy."""

    def come(self, header: bytes) -> socket.socket:
        """Come through the proxy."""
        port = int(self.daemon.doors[1][1].rpartition(":")[2])
        connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.addCleanup(connection.close)
        connection.sendall(header)
        return connection

    def told(self, connection: socket.socket, *words: str, lines: int) -> list[str]:
        """Answer the prompts; what the server says last, up to so many lines."""
        for field, value in zip(("username", "password"), words):
            frame = {"type": "login", "data": {"field": field, "value": value}}
            connection.sendall(json.dumps(frame).encode() + b"\n")
        heard = [json.loads(line)["data"] for _, line in zip(range(lines), connection.makefile("rb"))]
        return [each.get("code", each["keyword"]) for each in heard]

    def test_real(self) -> None:
        """Who is greeted, counted, slowed down and logged is the client, by both kinds of header."""
        self.daemon = Daemon(self)
        door = "tcp:0:interface=127.0.0.1"
        self.daemon.start("--json", door, "--json", f"haproxy:{door}", "--connections-per-address", "7")
        self.assertTrue(any("registration is invite" in line for line in self.daemon.log))
        wrong = ("alice", "a wrong password")
        said = [self.told(self.come(header), *wrong, lines=5) for header in (*HEADERS, *[TCP4] * 4)]
        greeted = ["version", "username", "password"]
        self.assertEqual(said[:4], [[*greeted, "wrong-password", "username"]] * 4)
        slow = [each[3] for each in said]
        self.assertEqual(slow[-2:], ["wrong-password", "slow-down"])
        self.assertEqual(slow.count("slow-down"), 1)
        self.assertEqual(self.told(self.come(TCP4), lines=2), ["version", "username"])
        self.assertEqual(self.told(self.come(TCP4), lines=3)[2], "too-many-connections")
        self.daemon.stop()
        for shown in ("192.0.2.1", "2001:db8::1", "127.0.0.1"):
            self.assertTrue(
                any(f"from {shown} refused: wrong-password" in line for line in self.daemon.log), shown
            )
