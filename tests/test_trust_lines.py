"""Tests for whom a client trusts: connections with certificates of every kind."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, NoProtocol
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory, Protocol

from chat.client import (
    ChangedServer,
    Disconnected,
    NotChat,
    NoTLS,
    Stopped,
    Trust,
    UnknownServer,
)
from chat.client.connection import ConnectionFactory
from chat.client.once import Order, Sender, send_once
from chat.client.secure import SecureEndpoint
from chat.tls.fingerprint import fingerprint
from chat.wire import Codec
from tests.secure_case import AUTHORITY, FIRST, SECOND, SecureCase, der


class SecureTests(SecureCase):
    """The client library, TLS and certificates."""

    def test_unknown(self) -> None:
        """To a server that is not known nothing is said, and the client stops."""
        error = self.failureResultOf(self.enter(), UnknownServer).value
        self.assertEqual(error.fingerprint, fingerprint(der(FIRST)))
        self.assertEqual(error.doubts, ("it was signed by nobody but itself",))
        self.assertEqual(self.server.heard, [])
        self.run_for(300)
        self.assertEqual((self.secure.attempts, len(self.stopped)), (1, 1))

    def test_known(self) -> None:
        """With a server that is known all is as without TLS."""
        self.known.learn("a.example:5311", fingerprint(der(FIRST)))
        client = self.client(line=self.endpoint())
        started = client.start()
        self.flush()
        self.assertEqual(self.successResultOf(started).username, "alice")
        sent = client.send("bob", "Dinner at eight?" * 4000)
        self.flush()
        self.assertEqual(self.successResultOf(sent).state, "waiting")
        closed = client.close()
        self.flush()
        self.successResultOf(closed)

    def test_expired(self) -> None:
        """A certificate that is known is the right one, even if it has expired."""
        self.secure.identity = AUTHORITY.identity("b.example", days=-1, alone=True)
        error = self.failureResultOf(self.enter(), UnknownServer).value
        self.assertIn("it has expired", error.doubts)
        self.assertIn("it is not for a.example", error.doubts)
        self.known.learn("a.example:5311", error.fingerprint)
        self.successResultOf(self.enter())

    def test_vouched_for(self) -> None:
        """A certificate for the host that an authority vouches for is the right one."""
        self.vouch()
        for host in ("a.example", "192.0.2.7", "2001:db8::7", "xn--bcher-kva.example"):
            self.secure.identity = AUTHORITY.identity(host)
            self.successResultOf(self.enter(host=host))
        self.successResultOf(self.enter(host="bücher.example"))
        name = b"xn--bcher-kva.example"
        self.assertEqual(self.secure.names, [b"a.example", None, None, name, name])

    def test_vouched_for_another(self) -> None:
        """Nor for another host, or when it has expired: then nobody vouches for it."""
        self.vouch()
        for identity, host, doubt in (
            (AUTHORITY.identity("b.example"), "a.example", "it is not for a.example"),
            (AUTHORITY.identity("192.0.2.8"), "192.0.2.7", "it is not for 192.0.2.7"),
            (AUTHORITY.identity(), "a.example", "it is not for a.example"),
            (AUTHORITY.identity("a.example", days=-1), "a.example", "it has expired"),
        ):
            self.secure.identity = identity
            error = self.failureResultOf(self.enter(host=host), UnknownServer).value
            self.assertEqual(error.doubts, (doubt,))

    def test_unknown_authority(self) -> None:
        """An authority that this machine does not know vouches for nothing."""
        self.secure.identity = AUTHORITY.identity("a.example")
        error = self.failureResultOf(self.enter(), UnknownServer).value
        self.assertEqual(error.doubts, ("it was signed by an authority that this machine does not know",))

    def test_changed_at_a_reconnect(self) -> None:
        """A server that comes back with another certificate is not logged in to, nor tried again."""
        self.successResultOf(self.enter(Trust(self.known, accept_new=True)))
        heard = len(self.server.heard)
        self.secure.identity = SECOND
        self.session().cut()
        self.run_for(5)
        self.assertEqual([type(error) for error in self.stopped], [ChangedServer])
        self.assertEqual(self.server.heard[heard:], [])
        attempts = self.secure.attempts
        self.run_for(300)
        self.assertEqual(self.secure.attempts, attempts)

    def test_no_tls(self) -> None:
        """A server that does not speak TLS is told nothing, and the client stops."""
        self.secure.identity = None
        error = self.failureResultOf(self.enter(), NoTLS).value
        self.assertIn("--plaintext", str(error))
        self.assertEqual(self.secure.heard[0][:2], b"\x16\x03")  # the beginning of TLS, and no more
        self.assertNotIn(b"alice", b"".join(self.secure.heard))

    def test_no_tls_any_more(self) -> None:
        """A server that was known to speak TLS, and once does not, may come to its senses."""
        self.successResultOf(self.enter(Trust(self.known, accept_new=True)))
        self.secure.identity = None
        self.session().cut()
        self.run_for(2)
        self.assertIsInstance(self.disconnected[-1][0], NotChat)
        self.assertNotIn(b"alice", b"".join(self.secure.heard))
        self.secure.identity = FIRST
        self.run_for(10)
        self.assertEqual(len(self.server.online("alice")), 1)

    def test_codec(self) -> None:
        """By ALPN the server learns the codec, and refuses one that it does not speak."""
        self.secure.protocols = [b"chat/der"] if self.codec is Codec.JSON else [b"chat/json"]
        started = self.enter(Trust(self.known, accept_new=True))
        self.assertIn("no application protocol", str(self.failureResultOf(started, NoTLS).value))
        self.secure.protocols = [f"chat/{self.codec.value}".encode()]
        self.successResultOf(self.enter(Trust(self.known, accept_new=True)))

    def test_silence(self) -> None:
        """A server that never answers the handshake is given up, and tried again."""
        self.secure.mute = True
        self.enter()
        self.run_for(61, 1)
        self.assertEqual(len(self.disconnected), 1)
        self.assertTrue(self.secure.pumps[0].clientIO.disconnected)

    def test_silence_later(self) -> None:
        """A server that falls silent after the handshake is not told that it waits for that."""
        self.server.mute = True
        self.enter(Trust(self.known, accept_new=True))
        self.run_for(61, 1)
        self.assertNotIn("TLS", str(self.disconnected[0][0]))

    def test_lost(self) -> None:
        """A connection that is lost in the handshake is no more than that."""
        self.secure.mute = True
        self.enter()
        self.secure.pumps[0].serverIO.loseConnection()
        self.run_for(0.5)
        self.assertIs(type(self.disconnected[0][0]), Disconnected)
        self.assertIn("before it was encrypted", str(self.disconnected[0][0]))

    def test_unreachable(self) -> None:
        """A server that is not there is not there with TLS either."""
        endpoint = SecureEndpoint(self.clock, self.line, "a.example", lambda shown: None)
        self.line.broken = True
        started = self.client(line=endpoint).start()
        self.assertNoResult(started)
        self.assertIn("refused", str(self.disconnected[0][0]))
        self.failureResultOf(endpoint.connect(Factory()), ConnectionRefusedError)

    def test_cancelled(self) -> None:
        """An attempt that is given up before there is a connection is given up."""
        connecting: Deferred[IProtocol] = Deferred()
        self.patch(self.line, "connect", lambda factory: connecting)
        endpoint = SecureEndpoint(self.clock, self.line, "a.example", lambda shown: None)
        client = self.client(line=endpoint)
        started = client.start()
        client.close()
        self.failureResultOf(started, Stopped)
        self.assertEqual(self.stopped, [None])
        self.assertTrue(connecting.called)

    def test_no_protocol(self) -> None:
        """A factory that wants no connection gets none."""

        class Unwilling(Factory):
            def buildProtocol(self, addr: IAddress | None) -> None:
                return None

        attempt = self.endpoint(Trust(self.known, accept_new=True)).connect(Unwilling())
        self.flush()
        self.failureResultOf(attempt, NoProtocol)

    def test_versions(self) -> None:
        """TLS 1.3 is spoken, with keys that are made anew."""
        made: list[Any] = []

        class Probe(Protocol):
            def connectionMade(self) -> None:
                handle = self.transport.getHandle()  # type: ignore[union-attr]
                made.append((handle.get_protocol_version_name(), self.transport.negotiatedProtocol))  # type: ignore[union-attr]

        factory: Any = ConnectionFactory(Probe, self.codec)  # type: ignore[arg-type]
        attempt = self.endpoint(Trust(self.known, accept_new=True)).connect(factory)
        self.flush()
        self.successResultOf(attempt)
        self.assertEqual(made, [("TLSv1.3", f"chat/{self.codec.value}".encode())])

    def test_send(self) -> None:
        """C{chat send} says why it did not send, and knows that it did not."""
        complaints: list[str] = []
        order = Order(recipient="bob", body="hello")
        sender = Sender(self.clock, self.endpoint(), self.codec, "alice", "wonderland")
        sending = send_once(sender, order, complaints.append)
        status = Deferred.fromCoroutine(sending)
        self.run_for(1)
        self.assertEqual(self.successResultOf(status), 1)
        self.assertIn("chat trust a.example:5311 SHA256:", complaints[0])
        self.assertEqual(self.server.heard, [])


class SecureDerTests(SecureTests):
    """The same in DER."""

    codec = Codec.DER
