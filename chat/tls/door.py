"""What listens at an endpoint, and whether what is said there could be overheard."""

from __future__ import annotations

import ipaddress
from typing import Any, Collection, Optional

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from zope.interface import implementer

#: How everything begins that a TLS client can say first: with a record of the handshake.
_HANDSHAKE = 0x16


class _Transport(BufferingTLSTransport):
    """TLS, and a clear answer for those who do not speak it."""

    factory: _Encrypted
    transport: Any
    _begun: Optional[bool] = None

    def dataReceived(self, data: bytes) -> None:
        """The first byte tells whether this is TLS at all."""
        if self._begun is None:
            self._begun = data[0] == _HANDSHAKE
            if not self._begun:
                self.transport.write(self.factory.answer)
                self.transport.loseConnection()
        if self._begun:
            super().dataReceived(data)  # type: ignore[no-untyped-call]


class _Encrypted(TLSMemoryBIOFactory):
    """Makes such connections."""

    protocol = _Transport

    def __init__(
        self,
        credentials: IOpenSSLServerConnectionCreator,
        spoken: IProtocolFactory,
        clock: IReactorTime,
        answer: bytes,
    ) -> None:
        super().__init__(credentials, False, spoken, clock)
        self.answer = answer


@implementer(IProtocolNegotiationFactory)
class Door(Factory):
    """Lets nobody in until it was said how: where an endpoint listens is known only once it does.

    @ivar protocols: what those who come in can ask for by ALPN.
    """

    noisy = False

    def __init__(self, spoken: IProtocolFactory, protocols: Collection[bytes], answer: bytes = b"") -> None:
        """A door that is shut.

        @param spoken: what talks to those who come in.
        @param protocols: what they can ask for by ALPN.
        @param answer: what they are told who speak plaintext where TLS is expected.
        """
        self._spoken = spoken
        self.protocols = list(protocols)
        self._answer = answer
        self._open: Optional[IProtocolFactory] = None

    def open(self) -> None:
        """Let everybody in, as they come."""
        self._open = self._spoken

    def open_encrypted(self, credentials: IOpenSSLServerConnectionCreator, clock: IReactorTime) -> None:
        """Let in who speaks TLS."""
        self._open = _Encrypted(credentials, self._spoken, clock, self._answer)

    def acceptableProtocols(self) -> list[bytes]:
        """See L{IProtocolNegotiationFactory.acceptableProtocols}."""
        return self.protocols

    def buildProtocol(self, addr: IAddress) -> Optional[IProtocol]:  # type: ignore[override]
        """The protocol of a new connection."""
        return None if self._open is None else self._open.buildProtocol(addr)


def encrypts(port: object) -> bool:
    """Whether a port speaks TLS by itself, as that of an C{ssl:} endpoint does.

    @param port: what the endpoint gave when it began to listen.
    """
    factory = getattr(port, "factory", None)
    while isinstance(factory, WrappingFactory):
        if isinstance(factory, TLSMemoryBIOFactory):
            return True
        factory = factory.wrappedFactory
    return False


def is_network(address: object) -> bool:
    """Whether what is said there goes through a network, and be it that of this machine alone."""
    return not isinstance(address, UNIXAddress)


def is_local(address: object) -> bool:
    """Whether only programs on this machine can connect there."""
    if not is_network(address):
        return True
    try:
        return ipaddress.ip_address(getattr(address, "host", "")).is_loopback
    except ValueError:
        return False
