"""By which names a browser may ask where only this machine can: L{chat.web.origins}."""

from __future__ import annotations

import json

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tests.network import NetworkTestCase
from tests.web import HERE, Page, open_site

#: Addresses of a server that only programs on its machine reach.
LOOPBACK = (
    IPv4Address("TCP", "127.0.0.1", 5380),
    IPv6Address("TCP", "::1", 5380),
    IPv6Address("TCP", "::ffff:127.0.0.1", 5380),
    UNIXAddress("/run/chat/web"),
)


class LoopbackTests(NetworkTestCase):
    """A web door on a loopback address, or on a UNIX socket."""

    def setUp(self) -> None:
        """Open it."""
        super().setUp()
        self.site = open_site(self.network)

    def test_rebound(self) -> None:
        """On this machine, a page that has its own name lead there (DNS rebinding) is refused."""
        for at in LOOPBACK:
            for name in (
                "evil.example:5380",
                "evil.example",
                "localhost.evil.example",
                "127.0.0.1.evil.example:5380",
                "10.0.0.1:5380",
                "[2001:db8::1]:5380",
                "[::ffff:10.0.0.1]",
            ):
                page = Page(self.network, HERE, at, Host=name, Origin=f"http://{name}")
                self.assertEqual(page.response.problem, (403, "foreign-origin"), (at, name))
                for said in ("localhost", "--web-proxy", "--web-origin"):
                    self.assertIn(said, json.loads(page.response.body)["detail"])
                page.wire.lose()
        self.assertEqual(self.network.doors["sockets"].connections, set())

    def test_own(self) -> None:
        """By a name of this machine alone it comes in, by whatever port: ssh may have forwarded it."""
        for at in LOOPBACK:
            for name in ("localhost:5380", "LOCALHOST:8080", "127.0.0.1", "127.1.2.3:80", "[::1]:5380"):
                Page(self.network, HERE, at, Host=name, Origin=f"http://{name}").wire.lose()
            page = Page(self.network, HERE, at, Host="localhost:80", Origin="http://127.0.0.1:80")
            self.assertEqual(page.response.problem, (403, "foreign-origin"))
            page.wire.lose()

    def test_allowed(self) -> None:
        """By another name, too, if the operator has told of it, or of a proxy that brings others."""
        named = {"Host": "chat.example", "Origin": "https://chat.example"}
        for origins, proxies in ((["https://chat.example"], []), ([], ["127.0.0.1"])):
            self.site = open_site(self.network, origins=origins, proxies=proxies)
            for at in LOOPBACK:
                page = Page(self.network, HERE, at, **named)
                self.assertEqual(page.response.status, 101)
                page.wire.lose()
        self.site = open_site(self.network, origins=["https://chat.example"])
        other = Page(self.network, HERE, LOOPBACK[0], Host="b.example", Origin="https://b.example")
        self.assertEqual(other.response.problem, (403, "foreign-origin"))
        other.wire.lose()

    def test_browser(self) -> None:
        """A browser that does not tell whose page asks is not let in by another name either."""
        for host, status in (("evil.example", 403), ("localhost:5380", 101)):
            page = Page(self.network, HERE, LOOPBACK[0], Host=host, Origin="", Sec_Fetch_Site="same-origin")
            self.assertEqual(page.response.status, status)
            page.wire.lose()
        Page(self.network, HERE, LOOPBACK[0], Host="evil.example", Origin="").wire.lose()  # a program
