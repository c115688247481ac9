"""TLS with a server whose certificate is decided about before a word is said."""

from __future__ import annotations

from typing import Any, Callable, cast

from OpenSSL import SSL
from service_identity import CertificateError as NoIdentity
from service_identity import VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IProtocolNegotiationFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from chat.client.errors import ClientError, Disconnected, NoTLS
from chat.client.trust import Shown

#: Keys are agreed upon with Diffie and Hellman: who gets hold of the server's key one day cannot
#: read what was recorded before. (In TLS 1.3 it is always so.)
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"

#: OpenSSL's numbers for what is wrong with a certificate, in a person's words.
_DOUBTS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it was signed by nobody but itself",
    19: "it was signed by an authority that this machine does not know",
    20: "it was signed by an authority that this machine does not know",
    21: "it was signed by an authority that this machine does not know",
    23: "it was revoked",
}

#: What OpenSSL says of an answer that is no TLS at all.
_NOT_TLS = frozenset(
    {"wrong version number", "packet length too long", "record layer failure", "http request"}
)

Decide = Callable[[Shown], None]


@implementer(IStreamClientEndpoint)
class SecureEndpoint:
    """Connects with TLS, and calls nothing a connection before its certificate is accepted.

    So the protocol that speaks does not even exist while the server may be the wrong one.
    """

    def __init__(self, clock: Any, endpoint: IStreamClientEndpoint, host: str, decide: Decide) -> None:
        """
        @param endpoint: the way to the server.
        @param host: the name or address that its certificate should be for.
        @param decide: raises, if what the server shows is not the right certificate.
        """
        self._clock = clock
        self._endpoint = endpoint
        self._identity = _Identity(host)
        self._decide = decide
        self._context: SSL.Context | None = None

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint.connect}.

        @return: fires with the protocol when the server's certificate is accepted; fails
            with what C{decide} has raised, or with L{Disconnected}.
        """
        attempt = _Attempt(factory, self._identity, self._decide)
        negotiation = IProtocolNegotiationFactory(factory, None)
        offered = [] if negotiation is None else list(negotiation.acceptableProtocols())
        if self._context is None:
            self._context = _context()  # which reads the certificates of all authorities
        creator = _Creator(self._context, self._identity.server_name, offered)
        tls = TLSMemoryBIOFactory(creator, True, attempt, clock=self._clock)
        connecting = self._endpoint.connect(tls)
        outcome: Deferred[IProtocol] = Deferred(lambda _: attempt.abandon(connecting))
        attempt.outcome = outcome
        connecting.addErrback(attempt.failed)
        return outcome


class _Identity:
    """Whom a certificate should be for."""

    def __init__(self, host: str) -> None:
        self._host = host.partition("%")[0].rstrip(".")  # without an IPv6 zone
        self._is_address = isIPAddress(self._host) or isIPv6Address(self._host)
        if not self._is_address and not self._host.isascii():
            import idna

            self._host = idna.encode(self._host, uts46=True).decode("ascii")

    @property
    def server_name(self) -> bytes | None:
        """What to ask for, where several servers are behind one address."""
        return None if self._is_address else self._host.encode("ascii")

    def doubt(self, connection: SSL.Connection) -> str | None:
        """Why the certificate of the other end is for somebody else, if it is."""
        verify = verify_ip_address if self._is_address else verify_hostname
        try:
            verify(connection, self._host)
        except (VerificationError, NoIdentity, ValueError):
            return f"it is not for {self._host}"
        return None


def _context() -> SSL.Context:
    """TLS 1.2 at least, and a certificate that is looked at, but not judged yet."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_default_verify_paths()
    context.set_verify(SSL.VERIFY_PEER, _note)
    context.set_cipher_list(_CIPHERS)
    return context


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes the TLS side of one connection."""

    def __init__(self, context: SSL.Context, server_name: bytes | None, offered: list[bytes]) -> None:
        self._context = context
        self._server_name = server_name
        self._offered = offered

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See L{IOpenSSLClientConnectionCreator.clientConnectionForTLS}."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        if self._offered:
            connection.set_alpn_protos(self._offered)
        if self._server_name is not None:
            connection.set_tlsext_host_name(self._server_name)
        return connection


def _note(connection: SSL.Connection, certificate: object, number: int, depth: int, ok: int) -> bool:
    """Let the handshake go on, but note what is wrong: the decision comes at its end."""
    if not ok:
        doubt = _DOUBTS.get(number, f"it cannot be verified (OpenSSL's error {number})")
        doubts: list[str] = connection.get_app_data().wrappedProtocol.doubts
        if doubt not in doubts:
            doubts.append(doubt)
    return True


class _Attempt(Factory):
    """One attempt to connect, until the certificate is accepted or not."""

    noisy = False
    outcome: Deferred[IProtocol]

    def __init__(self, factory: IProtocolFactory, identity: _Identity, decide: Decide) -> None:
        self._factory = factory
        self._identity = identity
        self._decide = decide
        self._handshake: _Handshake | None = None
        self._over = False

    def doStart(self) -> None:
        """See L{IProtocolFactory.doStart}."""
        self._factory.doStart()

    def doStop(self) -> None:
        """See L{IProtocolFactory.doStop}."""
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> _Handshake:
        """Something that waits for the end of the handshake."""
        self._handshake = _Handshake(self, cast(IAddress, addr))
        return self._handshake

    def abandon(self, connecting: Deferred[IProtocol]) -> None:
        """Nobody waits for it any more."""
        self._over = True
        if self._handshake is None:
            connecting.cancel()
        else:
            self._handshake.transport.abortConnection()

    def failed(self, failure: Failure) -> None:
        """There will be no connection."""
        if not self._over:
            self._over = True
            self.outcome.errback(failure)

    def judge(self, handshake: _Handshake, addr: IAddress) -> None:
        """The handshake is over: put the real protocol in its place, or hang up."""
        transport = handshake.transport
        try:
            doubt = self._identity.doubt(transport.getHandle())
            doubts = (*handshake.doubts, *([] if doubt is None else [doubt]))
            certificate = Certificate.peerFromTransport(transport).dump()
            self._decide(Shown(certificate, doubts))
            protocol = self._factory.buildProtocol(addr)
            if protocol is None:
                raise NoProtocol
        except Exception:
            failure = Failure()
            transport.abortConnection()
            self.failed(failure)
            return
        self._over = True
        transport.wrappedProtocol = protocol
        protocol.makeConnection(transport)
        self.outcome.callback(protocol)


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Says nothing, hears nothing, and waits for the end of the handshake.

    @ivar doubts: what OpenSSL has found wrong with the certificate.
    """

    transport: Any

    def __init__(self, attempt: _Attempt, addr: IAddress) -> None:
        self.doubts: list[str] = []
        self._attempt = attempt
        self._addr = addr

    def handshakeCompleted(self) -> None:
        """See L{IHandshakeListener.handshakeCompleted}."""
        self._attempt.judge(self, self._addr)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The handshake did not come to its end."""
        self._attempt.failed(Failure(_why(reason)))


def _why(reason: Failure) -> ClientError:
    """What went wrong in a handshake, for a person."""
    error = reason.value
    if not isinstance(error, SSL.Error) or not error.args or not error.args[0]:
        return Disconnected(
            f"The connection was lost before it was encrypted: {reason.getErrorMessage()}"
            " Does the server speak TLS at this port?"
        )
    complaints = [str(complaint[-1]) for complaint in error.args[0]]
    if _NOT_TLS.intersection(complaints):
        return NoTLS(
            "The server does not speak TLS at this port, so nothing was sent."
            " If nobody can listen on the way to it, use --plaintext."
        )
    return NoTLS(f"There is no TLS with this server: {'; '.join(complaints)}.")
