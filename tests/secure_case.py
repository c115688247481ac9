"""Servers with certificates, and clients that look at them, for tests."""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path
from typing import Any, Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test import iosim
from zope.interface import implementer

from chat.client import (
    KnownServers,
    Trust,
)
from chat.client.secure import SecureEndpoint
from chat.tls.certificate import Identity
from chat.tls.context import context
from chat.wire import Codec
from tests.memory_server import ClientTests, Line, MemoryServer, MemorySession


def full(*arguments: object) -> None:
    """What happens to who writes to a full disk."""
    raise OSError(28, "No space left on device")


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "The authority of a test") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = (
            self._begin(self._name, self._key, 1)
            .add_extension(basic, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def identity(self, *hosts: str, days: int = 1, alone: bool = False) -> Identity:
        """A certificate for these hosts, and its key.

        @param days: for how long it is good; a negative number, since when it is not.
        @param alone: it signs itself.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_general(host) for host in hosts]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
        certificate = (
            self._begin(subject, key, days, issuer=subject if alone else self._name)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key if alone else self._key, hashes.SHA256())
        )
        return Identity(certificate, (), key)

    def _begin(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=days))
        )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


AUTHORITY = Authority()


#: The certificates that most tests need; they sign themselves.
FIRST, SECOND = AUTHORITY.identity("a.example", alone=True), AUTHORITY.identity("a.example", alone=True)


def der(identity: Identity) -> bytes:
    """The certificate's bytes."""
    return identity.certificate.public_bytes(Encoding.DER)


def vouching(file: Path) -> Callable[[], None]:
    """The system knows the L{AUTHORITY}, and no other, until what this returns is called."""
    file.write_bytes(AUTHORITY.certificate.public_bytes(Encoding.PEM))
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(file.absolute())

    def back() -> None:
        del os.environ["SSL_CERT_FILE"]
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before

    return back


@implementer(IOpenSSLServerConnectionCreator)
class ServerSide:
    """The server's side of TLS; like the server's own."""

    def __init__(self, identity: Identity, protocols: list[bytes], names: list[bytes | None]) -> None:
        self._context = context(identity, protocols)
        self._context.set_tlsext_servername_callback(
            lambda connection: names.append(connection.get_servername())
        )

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """See L{IOpenSSLServerConnectionCreator}."""
        return SSL.Connection(self._context, None)


class Plain(Protocol):
    """A server that speaks no TLS, as another door would, and notes what it hears."""

    def __init__(self, heard: list[bytes]) -> None:
        self._heard = heard

    def connectionMade(self) -> None:
        """Speak first."""
        assert self.transport is not None
        self.transport.write(b'{"type":"system","data":{"keyword":"version"}}\n')

    def dataReceived(self, data: bytes) -> None:
        """Note it."""
        self._heard.append(data)


class SecureLine(Line):
    """The way to a L{MemoryServer} with TLS; what is there instead of it can be said.

    @ivar identity: the certificate that is shown; C{None}: no TLS is spoken.
    @ivar protocols: what the server can agree upon by ALPN.
    @ivar mute: whether it never says a word.
    @ivar names: which servers were asked for by name.
    @ivar heard: what came to the one that speaks no TLS.
    """

    def __init__(self, server: MemoryServer, clock: Clock, codec: Codec = Codec.JSON) -> None:
        super().__init__(server, codec)
        self.identity: Identity | None = FIRST
        self.protocols = [b"chat/json", b"chat/der"]
        self.mute = False
        self.names: list[bytes | None] = []
        self.heard: list[bytes] = []
        self._clock = clock

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint.connect}."""
        self.attempts += 1
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5311))
        session: Any = Protocol() if self.mute else self._session()
        client = iosim.FakeTransport(protocol, isServer=False)
        server = iosim.FakeTransport(session, isServer=True)
        protocol.makeConnection(client)
        session.makeConnection(server)
        self.pumps.append(iosim.IOPump(protocol, session, client, server, False))
        return succeed(protocol)

    def _session(self) -> IProtocol:
        if self.identity is None:
            return Plain(self.heard)
        session = MemorySession(self.server, self.codec)

        class Sessions(Factory):
            def buildProtocol(self, addr: IAddress | None) -> Protocol:
                return session

        side = ServerSide(self.identity, self.protocols, self.names)
        tls = TLSMemoryBIOFactory(side, False, Sessions(), clock=self._clock).buildProtocol(
            IPv4Address("TCP", "192.0.2.2", 50000)
        )
        assert tls is not None
        return tls


class SecureCase(ClientTests):
    """What the tests with TLS in memory start from."""

    def setUp(self) -> None:
        """A server with a certificate that it has signed itself, and that nobody knows."""
        super().setUp()
        self.known = KnownServers(Path(self.mktemp()) / "known_servers")
        self.secure = SecureLine(self.server, self.clock, self.codec)
        self.lines.append(self.secure)

    def flush(self) -> None:
        """Carry all bytes to where they go, those too that TLS keeps back for a moment."""
        super().flush()
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)
            super().flush()

    def endpoint(self, trust: Trust | None = None, host: str = "a.example") -> SecureEndpoint:
        """The way to the server, with TLS."""
        trust = Trust(self.known) if trust is None else trust
        return SecureEndpoint(
            self.clock, self.secure, host, lambda shown: trust.decide(f"{host}:5311", shown)
        )

    def enter(self, trust: Trust | None = None, host: str = "a.example", **more: Any) -> Deferred[Any]:
        """Start a client there."""
        started = self.client(line=self.endpoint(trust, host), **more).start()
        self.flush()
        return started

    def vouch(self) -> None:
        """From now on the system has an authority."""
        self.addCleanup(vouching(Path(self.mktemp())))
