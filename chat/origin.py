"""Where a connection comes from: as it is written down, and as it is counted."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple

#: Of an IPv6 address, so many bits name the customer; the rest is theirs to choose.
IPV6_PREFIX = 64
#: And so many, the site: it may have 65,536 networks, and is one neighbour all the same.
IPV6_SITE = 48


class Origin(NamedTuple):
    """Where a connection comes from.

    @ivar shown: the address, for the log; C{local} for a UNIX socket.
    @ivar network: what limits are counted by: the IPv4 address, or the /64 of the IPv6 one;
        C{None} for a program on this machine, whose address tells nothing of who uses it.
    """

    shown: str
    network: str | None


#: A program on this machine that has no address.
LOCAL = Origin("local", None)


def origin(address: object) -> Origin:
    """Where a connection from this address (one of Twisted's) comes from."""
    host = getattr(address, "host", None)
    return _origin(host) if isinstance(host, str) else LOCAL


@lru_cache(maxsize=4096)  # one object for all connections of an address
def _origin(host: str) -> Origin:
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])  # a link's name may follow
    except ValueError:
        return Origin(host, host)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return Origin(host, None if ip.is_loopback else _network(ip))
        ip = ip.ipv4_mapped  # a door for both kinds sees IPv4 so
    return Origin(str(ip), None if ip.is_loopback else str(ip))


def _network(ip: ipaddress.IPv6Address) -> str:
    return str(ipaddress.IPv6Network((ip, IPV6_PREFIX), strict=False))


def neighbourhood(network: str) -> str:
    """What somebody has at the least who has this network: of IPv6 the site, else just that."""
    address, slash, _ = network.partition(f"/{IPV6_PREFIX}")
    return str(ipaddress.IPv6Network((address, IPV6_SITE), strict=False)) if slash else network
