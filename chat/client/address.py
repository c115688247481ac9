"""Where the server is, in the words that a person types, and whether to speak TLS with it."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    clientFromString,
)
from twisted.internet.interfaces import IReactorUNIX, IStreamClientEndpoint

from chat.client.errors import PlaintextRefused
from chat.client.known import KnownServers
from chat.client.trust import Trust
from chat.wire import Codec

#: Where each codec is spoken unless the address says otherwise.
PORTS = {Codec.JSON: 5311, Codec.DER: 5312}

_HOST_PORT = re.compile(
    r"(?P<tls>tls://)?"
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^:\[\]=/\s]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_UNIX_WITH_OPTIONS = re.compile(r"unix:(path|timeout|lockfile|checkPID)=")
_FORMS = "an address is HOST:PORT, tls://HOST:PORT or unix:PATH"


@dataclass(frozen=True)
class Host:
    """A server that is reached by its host's name or address.

    @ivar tls: the address asks for TLS, wherever the host is.
    """

    host: str
    port: int
    tls: bool = False

    @property
    def name(self) -> str:
        """C{HOST:PORT} in the one form in which known servers are written down and compared."""
        host = self.host.lower().rstrip(".")
        with suppress(ValueError):
            host = str(ipaddress.ip_address(host))
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether what is said there stays on this machine."""
        host = self.host.lower().rstrip(".")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def host_from(address: str, codec: Codec | str = Codec.JSON) -> Host | None:
    """The host that an address names, or C{None} where it is of another kind.

    Without a port it is the usual one for C{codec}. A single word is no address, except
    C{localhost}: it could as well be the name of a command.

    @raise ValueError: the port is none.
    """
    match = _HOST_PORT.fullmatch(address)
    if match is None:
        return None
    host = match["six"] or match["host"]
    if not (match["port"] or match["tls"] or match["six"] or "." in host or host.lower() == "localhost"):
        return None
    port = int(match["port"] or PORTS[Codec(codec)])
    if not 1 <= port <= 65535:
        raise ValueError(f"{address!r}: a port is a number from 1 to 65535")
    return Host(host, port, bool(match["tls"]))


def endpoint_from(
    reactor: Any,
    address: str,
    *,
    codec: Codec | str = Codec.JSON,
    trust: Trust | None = None,
    plaintext: bool = False,
) -> IStreamClientEndpoint:
    """The endpoint that an address means.

    C{HOST:PORT} or C{[IPv6]:PORT}, which is TLS unless it is this machine;
    C{tls://HOST:PORT}, which is always TLS; C{unix:PATH} (the path as it is, colons
    included); or else any Twisted client endpoint string, which is what it says.
    TLS it is, too, with a server on this machine whose certificate is known.

    @param codec: decides the port where the address names none.
    @param trust: decides about the server's certificate; by default it must be one that
        the system's authorities have signed, or be among the known servers of this user.
    @param plaintext: do not use TLS.
    @raise ValueError: it means none; the text says why.
    @raise PlaintextRefused: C{plaintext}, and the server's certificate is known.
    @raise KnownServersError: the list of known servers cannot be read.
    """
    host = host_from(address, codec)
    if host is not None:
        return _to_host(reactor, host, trust or Trust(KnownServers()), plaintext)
    if address.startswith("unix:") and not _UNIX_WITH_OPTIONS.match(address):
        path = address[len("unix:") :]
        if not path:
            raise ValueError(f"{address!r} names no path; {_FORMS}")
        if not IReactorUNIX.providedBy(reactor):
            raise ValueError(f"{address!r}: this system has no UNIX sockets; use HOST:PORT")
        return UNIXClientEndpoint(reactor, path)
    if ":" not in address:
        raise ValueError(f"{address!r} is no address; {_FORMS}")
    try:
        return cast(IStreamClientEndpoint, clientFromString(reactor, address))
    except Exception as error:
        # Each kind of endpoint has its own ways to refuse its arguments.
        raise ValueError(
            f"{address!r} is no address: it is HOST:PORT, [IPv6]:PORT, tls://HOST:PORT, unix:PATH or a "
            f"Twisted client endpoint string ({type(error).__name__}: {error})"
        ) from None


def _to_host(reactor: Any, host: Host, trust: Trust, plaintext: bool) -> IStreamClientEndpoint:
    endpoint = HostnameEndpoint(reactor, host.host, host.port)
    if plaintext:
        if trust.knows(host.name):
            raise PlaintextRefused(host.name)
        return endpoint
    if host.loopback and not host.tls and not trust.demanded and not trust.knows(host.name):
        return endpoint
    # Imported only here: on this machine alone nobody needs it, and it takes a while.
    from chat.client.secure import SecureEndpoint

    return SecureEndpoint(reactor, endpoint, host.host, lambda shown: trust.decide(host.name, shown))
