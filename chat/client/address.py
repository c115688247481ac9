"""Where the server is, in the words that a person types."""

from __future__ import annotations

import re
from typing import Any, cast

from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    clientFromString,
)
from twisted.internet.interfaces import IReactorUNIX, IStreamClientEndpoint

_HOST_PORT = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^:\[\]=/\s]+)):(?P<port>[0-9]{1,5})"
)
_UNIX_WITH_OPTIONS = re.compile(r"unix:(path|timeout|lockfile|checkPID)=")


def endpoint_from(reactor: Any, address: str) -> IStreamClientEndpoint:
    """The endpoint that an address means.

    C{HOST:PORT}, C{[IPv6]:PORT}, C{unix:PATH} (the path as it is, colons
    included), or else any Twisted client endpoint string, such as
    C{tls:chat.example.org:5321}.

    @raise ValueError: it means none; the text says why.
    """
    match = _HOST_PORT.fullmatch(address)
    if address.startswith("unix:") and not _UNIX_WITH_OPTIONS.match(address):
        path = address[len("unix:") :]
        if not path:
            raise ValueError(f"{address!r} names no path; an address is HOST:PORT or unix:PATH")
        if not IReactorUNIX.providedBy(reactor):
            raise ValueError(f"{address!r}: this system has no UNIX sockets; use HOST:PORT")
        return UNIXClientEndpoint(reactor, path)
    if match:
        port = int(match["port"])
        if not 1 <= port <= 65535:
            raise ValueError(f"{address!r}: a port is a number from 1 to 65535")
        return HostnameEndpoint(reactor, match["six"] or match["host"], port)
    if ":" not in address:
        raise ValueError(f"{address!r} is no address; an address is HOST:PORT or unix:PATH")
    try:
        return cast(IStreamClientEndpoint, clientFromString(reactor, address))
    except Exception as error:
        # Each kind of endpoint has its own ways to refuse its arguments.
        raise ValueError(
            f"{address!r} is no address: it is HOST:PORT, [IPv6]:PORT, unix:PATH or a "
            f"Twisted client endpoint string ({type(error).__name__}: {error})"
        ) from None
