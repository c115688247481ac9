"""Doors with TLS: what is agreed upon, what is refused, and who speaks first."""

from __future__ import annotations

import contextlib
import json
import ssl
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chat.protocol import ChatFactory
from chat.service import BY_PROTOCOL, TRANSLATORS
from chat.tls.credentials import Credentials
from chat.tls.door import Door, encrypts, is_local
from tests.daemon import trusting
from tests.network import Network
from tests.tls import TLSClient, given
from tests.wire import Wire

GREETINGS = {"json": b'{"type":"system"', "der": b"\xa0", "text": b"chat "}


class DoorTestCase(SynchronousTestCase):
    """A JSON door with TLS, and all that is behind it, on a clock."""

    def setUp(self) -> None:
        """The door is open."""
        self.network = Network(Path(self.mktemp()))
        self.addCleanup(self.network.close)
        folder = Path(self.mktemp())
        folder.mkdir()
        self.credentials = Credentials(given(folder), self.network.clock.seconds)
        self.door = self.opened("json")

    def opened(self, kind: str) -> Door:
        """A door of this kind."""
        self.factory = ChatFactory(
            self.network.clock, TRANSLATORS[kind], self.network.converse, 60.0, BY_PROTOCOL
        )
        door = Door(self.factory, BY_PROTOCOL, b"no TLS?")
        door.open_encrypted(self.credentials.speaking(BY_PROTOCOL), self.network.clock)
        return door

    def client(
        self, *protocols: str, context: ssl.SSLContext | None = None, silent: bool = False
    ) -> TLSClient:
        """A client that has shaken hands, or is about to."""
        client = TLSClient(self.door, protocols, context, silent)
        self.addCleanup(client.wire.lose)
        self.network.clock.advance(0)
        return client

    def alerts(self, client: TLSClient) -> str:
        """With which alert the server has refused the handshake, in the words of OpenSSL."""
        return str(client.error).lower().replace("_", " ")


class AgreementTests(DoorTestCase):
    """What is agreed upon in the handshake."""

    def test_ownKind(self) -> None:
        """A client that asks for nothing is spoken to in the door's own way."""
        for kind, greeting in GREETINGS.items():
            self.door = self.opened(kind)
            client = self.client()
            self.assertIsNone(client.tls.selected_alpn_protocol())
            self.assertTrue(client.hear().startswith(greeting), kind)

    def test_protocols(self) -> None:
        """A client is spoken to in what it asks for first, whatever the door's own way is."""
        for door in GREETINGS:
            self.door = self.opened(door)
            for kind, greeting in GREETINGS.items():
                client = self.client("h2", f"chat/{kind}", "chat/json", "chat/der")
                self.assertEqual(client.tls.selected_alpn_protocol(), f"chat/{kind}")
                self.assertTrue(client.hear().startswith(greeting), (door, kind))

    def test_unknown(self) -> None:
        """A client that asks only for what is not spoken here is refused: it believes to be elsewhere."""
        client = self.client("http/1.1", "h2")
        self.assertIn("alert no application protocol", self.alerts(client))
        self.assertTrue(client.wire.disconnecting)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_conversation(self) -> None:
        """What follows the greeting is answered in its turn."""
        client = self.client("chat/json")
        client.say(
            b'{"type":"system","data":{"keyword":"ping"}}\n{"type":"system","data":{"keyword":"quit"}}\n'
        )
        self.network.settle()
        said = [json.loads(line)["data"]["keyword"] for line in client.hear().splitlines()]
        self.assertEqual(said, ["version", "username", "failed", "username", "failed", "username"])

    def test_newest(self) -> None:
        """TLS 1.3 where the client can."""
        client = self.client()
        self.assertEqual(client.tls.version(), "TLSv1.3")

    def test_forwardSecrecy(self) -> None:
        """TLS 1.2 only with keys that are made for the connection and forgotten with it."""
        context = trusting()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        client = self.client(context=context)
        self.assertEqual(client.tls.version(), "TLSv1.2")
        cipher = client.tls.cipher()
        assert cipher is not None
        self.assertTrue(cipher[0].startswith("ECDHE-"), cipher)
        self.assertIsNone(client.tls.compression())
        for ciphers in ("kRSA", "DHE+AESGCM:!ECDHE", "ECDHE+SHA1:!AESGCM", "aNULL:@SECLEVEL=0"):
            context = trusting()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
            self.assertIn("handshake failure", self.alerts(self.client(context=context)))

    def test_old(self) -> None:
        """TLS 1.1 and older are refused."""
        context = trusting()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        self.assertIn("alert protocol version", self.alerts(self.client(context=context)))

    def test_onlyOnce(self) -> None:
        """A client of TLS 1.2 cannot have the server do the costly part of a handshake again and again."""
        server = self.credentials.speaking(()).serverConnectionForTLS(cast(Any, None))
        server.set_accept_state()
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context, None)
        client.set_connect_state()

        def talk() -> None:
            for one, step, other in (
                (client, client.do_handshake, server),
                (server, partial(server.recv, 1), client),
            ) * 3:
                with contextlib.suppress(SSL.WantReadError):
                    step()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(1 << 16))

        talk()
        self.assertEqual(client.get_protocol_version_name(), "TLSv1.2")
        client.renegotiate()
        error = self.assertRaises(SSL.Error, talk)
        self.assertIn("no renegotiation", str(error))


class HandshakeTests(DoorTestCase):
    """A handshake that is not over."""

    def test_nothingBefore(self) -> None:
        """The server says nothing before a client speaks TLS, and nothing it says is plain."""
        client = self.client(silent=True)
        self.assertEqual(bytes(client.wire.unread), b"")
        client.shake_hands()
        self.network.clock.advance(0)
        self.assertNotIn(b"keyword", bytes(client.wire.unread))
        self.assertIn(b"keyword", client.hear())

    def test_neverDone(self) -> None:
        """A handshake that nobody completes is cut when the time for a login is over."""
        silent = self.client(silent=True)
        half = self.client(silent=True)
        half.wire.arrive(b"\x16\x03\x01\x02\x00\x01")  # the first bytes of a ClientHello
        self.network.clock.advance(59)
        self.assertFalse(silent.wire.aborted or half.wire.aborted)
        self.network.clock.advance(1)
        self.assertTrue(silent.wire.aborted and half.wire.aborted)
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(self.network.planned(), [])

    def test_countsForTheLogin(self) -> None:
        """The time for a login begins with the connection, not with the end of the handshake."""
        client = self.client(silent=True)
        self.network.clock.advance(59)
        client.shake_hands()
        self.network.clock.advance(1)
        self.assertIn(b"login-timeout", client.hear())

    def test_shutDown(self) -> None:
        """When the server stops, who is in the middle of a handshake is not waited for; others are told."""
        silent, client = self.client(silent=True), self.client()
        stopped = self.factory.shut_down()
        self.assertTrue(silent.wire.aborted)
        self.network.clock.advance(0)
        self.assertIn(b"shutting-down", client.hear())
        client.wire.lose()
        self.successResultOf(stopped)

    def test_plaintext(self) -> None:
        """Who does not speak TLS is told so, once, and nothing else."""
        client = self.client(silent=True)
        client.wire.arrive(b"hello, is ")
        client.wire.arrive(b"anybody there?\n")
        self.assertEqual(bytes(client.wire.unread), b"no TLS?")
        self.assertTrue(client.wire.disconnecting)
        client.wire.lose()
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_garbage(self) -> None:
        """What begins like TLS and is none ends the connection with an alert."""
        client = self.client(silent=True)
        client.wire.arrive(b"\x16\x03\x01\x00\x05hello")
        self.assertEqual(client.wire.unread[:1], b"\x15")
        self.assertTrue(client.wire.disconnecting)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_between(self) -> None:
        """Where something is between TLS and the session (a PROXY header, say), there is a greeting, too."""
        door = Door(WrappingFactory(self.factory), BY_PROTOCOL)
        door.open_encrypted(self.credentials.speaking(BY_PROTOCOL), self.network.clock)
        client = TLSClient(door)
        self.network.clock.advance(0)
        self.assertIn(b"username", client.hear())
        client.wire.lose()

    def test_lostInHandshake(self) -> None:
        """A client that goes away in the middle leaves nothing behind."""
        client = self.client(silent=True)
        client.wire.lose()
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(self.network.planned(), [])

    def test_reader(self) -> None:
        """A login and a message of the largest kind go through, both ways."""
        client = self.client()
        for line in (
            b'{"type":"login","data":{"field":"username","value":"alice"}}\n',
            b'{"type":"login","data":{"field":"password","value":"correct horse"}}\n',
        ) * 2:
            client.say(line)
            self.network.settle()
        client.say(b'{"type":"message","data":{"recipient":"alice","body":"%s"}}\n' % (b"x" * 65536))
        self.network.settle()
        self.assertIn(b'"body":"%s"' % (b"x" * 65536), client.hear())
        client.say(b'{"type":"system","data":{"keyword":"quit"}}\n')
        self.network.settle()
        self.assertTrue(client.hear().endswith(b'"keyword":"bye"}}\n'))
        self.assertTrue(client.closed)


class EndpointTests(SynchronousTestCase):
    """What is known of an endpoint once it listens."""

    def test_shut(self) -> None:
        """Nobody comes in before it was said how; then everybody."""
        network = Network(Path(self.mktemp()))
        self.addCleanup(network.close)
        door = Door(network.doors["json"], BY_PROTOCOL)
        address = IPv4Address("TCP", "127.0.0.1", 1)
        self.assertIsNone(door.buildProtocol(address))
        door.open()
        wire = Wire(door.buildProtocol(address))  # type: ignore[arg-type]
        wire.protocol.makeConnection(wire)
        self.assertIn(b"username", wire.read())
        wire.lose()

    def test_negotiates(self) -> None:
        """Endpoints that speak TLS by themselves are told what may be asked for."""
        door = Door(SimpleNamespace(), BY_PROTOCOL)  # type: ignore[arg-type]
        verifyObject(IProtocolNegotiationFactory, door)
        self.assertEqual(door.acceptableProtocols(), [b"chat/text", b"chat/json", b"chat/der"])

    def test_encrypts(self) -> None:
        """TLS is found under whatever else an endpoint has wrapped around a door."""
        door: Any = Door(SimpleNamespace(), ())  # type: ignore[arg-type]
        encrypted = TLSMemoryBIOFactory.__new__(TLSMemoryBIOFactory)
        encrypted.wrappedFactory = door
        for factory, expected in (
            (door, False),
            (WrappingFactory(door), False),
            (encrypted, True),
            (WrappingFactory(encrypted), True),
        ):
            self.assertEqual(encrypts(SimpleNamespace(factory=factory)), expected)
        self.assertFalse(encrypts(object()))

    def test_local(self) -> None:
        """Only loopback and UNIX sockets are out of reach of others; what is not known is not."""
        for address, expected in (
            (IPv4Address("TCP", "127.0.0.1", 1), True),
            (IPv4Address("TCP", "127.8.9.10", 1), True),
            (IPv6Address("TCP", "::1", 1), True),
            (UNIXAddress("/run/chat"), True),
            (IPv4Address("TCP", "0.0.0.0", 1), False),
            (IPv4Address("TCP", "10.0.0.1", 1), False),
            (IPv6Address("TCP", "::", 1), False),
            (IPv6Address("TCP", "fe80::1%eth0", 1), False),
            (IPv4Address("TCP", "example.org", 1), False),
            (SimpleNamespace(name="a socket of another kind"), False),
        ):
            self.assertEqual(is_local(address), expected, address)
