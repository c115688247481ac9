"""Doors behind a proxy that says whom it brings: the PROXY protocol, versions 1 and 2, of TCP.

Such a proxy sends a header before what its client says, and before TLS.  Nobody is greeted,
counted or logged before that is known, so for everything behind it the connection comes from
the client.  Whoever reaches such a door without the proxy can claim to be anybody; it is for
the proxy alone.

Twisted's own C{haproxy:} endpoint tells of the header only with the first bytes behind it:
too late for a server that speaks first.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Callable, NamedTuple, Optional

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

#: What the description of such a door begins with, before that of the endpoint.
PREFIX = "haproxy:"
#: How long a header may take, in seconds: it is the first thing that a proxy sends.
SECONDS = 5.0

_LINE = b"PROXY "
_LONGEST_LINE = 107
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LONGEST = 2048
#: Kinds of addresses in version 2: how long each is, and what it is.
_TCP4, _TCP6 = 0x11, 0x21
_LOCAL, _PROXIED = 0x20, 0x21


class Header(NamedTuple):
    """What a proxy says.

    @ivar source: whom it brings; C{None}: itself, or somebody without an address.
    @ivar size: how many bytes the header has.
    """

    source: Optional[IAddress]
    size: int


def parse(data: bytes) -> Header | None:
    """The header that this begins with; C{None}: it is not whole yet.

    @raise ValueError: it is none.
    """
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _parse_binary(data)
    if data[: len(_LINE)] == _LINE[: len(data)]:
        return _parse_line(data)
    raise ValueError("no PROXY header")


def _parse_line(data: bytes) -> Header | None:
    line, end, _ = data[:_LONGEST_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= _LONGEST_LINE:
            raise ValueError("a PROXY header without an end")
        return None
    size = len(line) + 2
    kind, *fields = line.decode("ascii").split(" ")[1:]
    if kind == "UNKNOWN":
        return Header(None, size)
    source, _, port, _ = fields
    if kind not in ("TCP4", "TCP6"):
        raise ValueError("a PROXY header of another kind")
    return Header(_address(ipaddress.ip_address(source), int(port)), size)


def _parse_binary(data: bytes) -> Header | None:
    start = len(_SIGNATURE) + 4
    if len(data) < start:
        return None
    command, kind = data[start - 4], data[start - 3]
    size = start + int.from_bytes(data[start - 2 : start], "big")
    if command not in (_LOCAL, _PROXIED) or size > _LONGEST:
        raise ValueError("a PROXY header of another version, or a very long one")
    if len(data) < size:
        return None
    width = {_TCP4: 4, _TCP6: 16}.get(kind, 0) if command == _PROXIED else 0
    if not width:
        return Header(None, size)
    if size < start + 2 * width + 4:
        raise ValueError("a PROXY header that is too short for its addresses")
    host = ipaddress.ip_address(data[start : start + width])
    ports = start + 2 * width
    return Header(_address(host, int.from_bytes(data[ports : ports + 2], "big")), size)


def _address(host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> IAddress:
    return (IPv4Address if host.version == 4 else IPv6Address)("TCP", str(host), port)


class _Connection(Protocol):
    """One connection of a proxy, until it is known whose it is."""

    transport: Any

    def __init__(self, factory: Proxied, address: IAddress) -> None:
        self._factory = factory
        self._address = address
        self._data = b""
        self._timer: Optional[IDelayedCall] = None

    def connectionMade(self) -> None:
        """The header is the first thing to come."""
        self._timer = self._factory.reactor.callLater(SECONDS, self._late)

    def dataReceived(self, data: bytes) -> None:
        """A header, perhaps in pieces, and what follows it."""
        self._data += data
        try:
            header = parse(self._data)
        except ValueError as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        self._done()
        transport, source = self.transport, header.source or self._address
        client = self._factory.spoken.buildProtocol(source)
        if client is None:
            transport.abortConnection()
            return
        # From here on there is nothing between the two.
        transport.getPeer = lambda: source
        transport.protocol = client
        client.makeConnection(transport)
        if rest := self._data[header.size :]:
            client.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It was nobody's."""
        self._done()

    def _done(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _late(self) -> None:
        self._refuse(f"no PROXY header within {SECONDS:g} seconds")

    def _refuse(self, why: str) -> None:
        self._done()
        self._factory.refuse(self._address, why)
        self.transport.write(b"This door is for a proxy that sends a PROXY header first.\r\n")
        self.transport.loseConnection()


class Proxied(Factory):
    """Lets in whom a proxy brings."""

    noisy = False
    _log = Logger()

    def __init__(self, reactor: IReactorTime, spoken: IProtocolFactory) -> None:
        """Let them in to C{spoken}."""
        self.reactor = reactor
        self.spoken = spoken
        self._refused = 0

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:  # type: ignore[override]
        """A connection of the proxy."""
        assert addr is not None
        return _Connection(self, addr)

    def refuse(self, address: IAddress, why: str) -> None:
        """Somebody came without saying whose connection it is."""
        self._refused += 1
        if self._refused & (self._refused - 1) == 0:  # 1, 2, 4, 8: a flood of them is no flood of entries
            self._log.warn(
                "{count} connections to a door behind a proxy were refused, the last from {address}: {why}",
                count=self._refused,
                address=getattr(address, "host", "local"),
                why=why,
            )


@implementer(IStreamServerEndpoint)
class ProxiedEndpoint:
    """An endpoint at which a proxy brings others."""

    def __init__(self, reactor: IReactorTime, endpoint: IStreamServerEndpoint) -> None:
        """Listen at C{endpoint}."""
        self._reactor = reactor
        self._endpoint = endpoint

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See L{IStreamServerEndpoint.listen}."""
        return self._endpoint.listen(Proxied(self._reactor, factory))


def described(
    reactor: Any, description: str, make: Callable[[str], IStreamServerEndpoint]
) -> IStreamServerEndpoint:
    """What a description means, with or without a proxy.

    @param make: makes the endpoint of a description that is without.
    @raise ValueError: TLS is in the endpoint itself, where no header could come before it.
    """
    if not description.startswith(PREFIX):
        return make(description)
    inner = inside(description)
    if inner.startswith("ssl:"):
        raise ValueError("the PROXY header comes before TLS: haproxy:tcp:..., and --tls or --certificate")
    return ProxiedEndpoint(reactor, make(inner))


def inside(description: str) -> str:
    """The description of the endpoint itself."""
    return description[len(PREFIX) :] if description.startswith(PREFIX) else description
