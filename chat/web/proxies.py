"""Who asks: the other end of the connection, or whoever a reverse proxy that is trusted says it asks for."""

from __future__ import annotations

import ipaddress
from typing import Sequence, Union

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from chat.tls.door import is_network

#: How a proxy that connects to a UNIX socket is named.
UNIX = "unix"

_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class Proxies:
    """The proxies that the operator trusts to tell who asks.

    @ivar named: whether there are any.
    """

    def __init__(self, named: Sequence[str] = ()) -> None:
        """Trust these.

        @param named: addresses, networks (C{10.0.0.0/8}), or L{UNIX} for whoever connects to a UNIX socket.
        @raise ValueError: one of these is none of that.
        """
        self.named = bool(named)
        self._unix = UNIX in named
        try:
            self._networks: list[_Network] = [
                ipaddress.ip_network(name, strict=False) for name in named if name != UNIX
            ]
        except ValueError as error:
            raise ValueError(f"--web-proxy takes an address, a network, or {UNIX}: {error}") from None

    def asker(self, peer: IAddress, forwarded: Sequence[bytes]) -> IAddress:
        """The address of who asks.

        Each proxy adds at the end whom it was asked by; so what stands there is true as far back as
        the proxies are trusted, and what stands before that, anybody may have written.

        @param peer: the other end of the connection.
        @param forwarded: the values of C{X-Forwarded-For}.
        """
        asker = peer
        trusted = self._trusts(peer)
        for entry in reversed(b",".join(forwarded).split(b",")):
            if not trusted:
                break
            address = _read(entry.strip())
            if address is None:
                break
            asker = (IPv4Address if address.version == 4 else IPv6Address)("TCP", str(address), 0)
            trusted = self._knows(address)
        return asker

    def _trusts(self, peer: IAddress) -> bool:
        if isinstance(peer, UNIXAddress) or not is_network(peer):
            return self._unix
        address = _read(str(getattr(peer, "host", "")).encode("ascii", "replace"))
        return address is not None and self._knows(address)

    def _knows(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _read(entry: bytes) -> _Address | None:
    """The address that an entry names, with its port or without."""
    text = entry.decode("ascii", "replace")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
