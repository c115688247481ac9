"""Whom reverse proxies ask for: they are believed as far as they are trusted, and no further."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase

from chat.web.proxies import Proxies


class AskerTests(SynchronousTestCase):
    """L{Proxies.asker}, where a proxy is trusted."""

    def asker(self, peer: str, *forwarded: str) -> str:
        """Who asks, by a connection from there with these headers."""
        kind = IPv6Address if ":" in peer else IPv4Address
        address: IAddress = kind("TCP", peer, 40000)
        proxies = Proxies(["10.0.0.0/24", "2001:db8::/64"])
        return str(proxies.asker(address, [each.encode() for each in forwarded]).host)  # type: ignore[attr-defined]

    def test_invented(self) -> None:
        """What a client writes itself stands before what the proxy adds, and counts for nothing."""
        self.assertEqual(self.asker("10.0.0.1", "192.0.2.1, 203.0.113.9"), "203.0.113.9")
        self.assertEqual(self.asker("10.0.0.1", "10.0.0.7, 203.0.113.9"), "203.0.113.9")
        self.assertEqual(self.asker("10.0.0.1", "192.0.2.1", "203.0.113.9"), "203.0.113.9")

    def test_chain(self) -> None:
        """A proxy that is trusted may ask for another one that is: then it is whom that one asks for."""
        self.assertEqual(self.asker("10.0.0.1", "192.0.2.1, 203.0.113.9, 10.0.0.2"), "203.0.113.9")
        self.assertEqual(self.asker("2001:db8::1", "203.0.113.9, 2001:db8::2, 10.0.0.2"), "203.0.113.9")
        self.assertEqual(self.asker("10.0.0.1", "10.0.0.3, 10.0.0.2"), "10.0.0.3")

    def test_mapped(self) -> None:
        """An IPv4 address is the same one as an IPv6 door shows it, and as a proxy there writes it."""
        self.assertEqual(self.asker("::ffff:10.0.0.1", "203.0.113.9"), "203.0.113.9")
        self.assertEqual(self.asker("10.0.0.1", "203.0.113.9, ::ffff:10.0.0.2"), "203.0.113.9")
        self.assertEqual(self.asker("10.0.0.1", "::ffff:203.0.113.9"), "203.0.113.9")

    def test_stranger(self) -> None:
        """Who is no proxy asks for itself, whatever it says."""
        self.assertEqual(self.asker("203.0.113.9", "192.0.2.1"), "203.0.113.9")
        self.assertEqual(self.asker("10.0.1.1", "192.0.2.1"), "10.0.1.1")
