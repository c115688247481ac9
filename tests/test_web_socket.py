"""The WebSocket: the JSON door through a browser's eyes."""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.interfaces import IConsumer, ITransport
from wsproto.events import TextMessage
from zope.interface.verify import verifyObject

from chat.limits.crowd import Crowd
from chat.web.channel import REQUEST_TIME
from tests.network import NetworkTestCase
from tests.talker import keywords
from tests.web import HERE, THERE, Page, ask, knock, open_site, parse, request

PING = b'{"type":"system","data":{"keyword":"ping"}}'


def frame(
    opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, size: int | None = None
) -> bytes:
    """The bytes of one frame, lawful or not.

    @param size: what it says its length is, if that is not true.
    """
    length = len(payload) if size is None else size
    short = length if length < 126 else 126 if length < 1 << 16 else 127
    head = bytes([fin << 7 | opcode, masked << 7 | short])
    head += b"" if short < 126 else struct.pack("!H" if short == 126 else "!Q", length)
    if not masked:
        return head + payload
    key = b"\x01\x02\x03\x04"
    return head + key + bytes(octet ^ key[at % 4] for at, octet in enumerate(payload))


class SocketTestCase(NetworkTestCase):
    """A server with a web door."""

    def setUp(self) -> None:
        """Open it."""
        super().setUp()
        self.site = open_site(self.network)

    def page(self, name: str | None = None, **headers: str) -> Page:
        """A client that has heard the greeting, or is logged in."""
        page = Page(self.network, **headers)
        self.addCleanup(page.wire.lose)
        self.assertEqual(page.response.status, 101)
        page.hear()
        if name is not None:
            page.say_login(name)
            if "welcome" not in keywords(page.hear()):
                page.log_in(name)
        return page

    def assertEnds(self, page: Page, code: int, *expected: str) -> str:
        """The client is told this and hung up on with this code; what the last word says."""
        heard = page.hear()
        self.assertEqual(keywords(heard), list(expected))
        self.assertEqual(page.closes, [code])
        self.assertTrue(page.ended)
        self.assertFalse(self.site.channels)
        return str(heard[-1].get("reason")) if heard else ""


class TalkTests(SocketTestCase):
    """What is said at the JSON door is said here."""

    def test_talk(self) -> None:
        """Two people talk, one by the WebSocket and one by the JSON door."""
        alice, bob = self.page("alice"), self.network.user("bob")
        alice.send("bob", "h\u00e9 \U0001f600", ref="c1", receipt=True)
        self.assertEqual(keywords(alice.hear()), ["accepted"])
        (message,) = bob.hear()
        self.assertEqual(message["body"], "h\u00e9 \U0001f600")
        bob.received(message["id"])
        bob.send("alice", "you, too")
        bob.hear()
        self.assertEqual(keywords(alice.hear()), ["delivered", "message"])

    def test_greeting(self) -> None:
        """The server speaks first, in lines that are whole."""
        page = Page(self.network)
        self.addCleanup(page.wire.lose)
        self.assertEqual(keywords(page.hear()), ["version", "username"])
        self.assertEqual(page.undecoded, 0)

    def test_several(self) -> None:
        """A message holds one frame or several, and the end of its last line may be missing."""
        page = self.page("alice")
        for text in (PING, PING + b"\n", PING + b"\n" + PING, PING + b"\r\n" + PING + b"\r\n", b"", b"\n"):
            page.say_event(TextMessage(text.decode()))
            self.assertEqual(keywords(page.hear()), ["pong"] * text.count(PING))

    def test_notAcross(self) -> None:
        """A message ends a frame, whole or not: what is one message cannot be continued in the next."""
        page = self.page("alice")
        page.say_event(TextMessage(PING[:10].decode()))
        self.assertEnds(page, 1000, "fatal malformed-frame")

    def test_fragments(self) -> None:
        """A message may come in fragments, with pings between them; the letters may be cut, too."""
        page = self.page("alice")
        text = '{"type":"message","data":{"recipient":"alice","body":"\U0001f600"}}'.encode()
        page.put(frame(1, text[:1], fin=False))
        for at in range(1, len(text)):
            page.put(frame(9, b"p"))
            page.put(frame(0, text[at : at + 1], fin=False))
        self.assertEqual(page.hear(), [])
        page.put(frame(0, b""))
        _, message = page.hear()
        self.assertEqual(message["body"], "\U0001f600")

    def test_masks(self) -> None:
        """The server's messages are not masked; the client's are, each with its own key."""
        page = self.page("alice")
        page.wire.arrive(frame(1, PING))
        self.network.clock.advance(0)
        said = b'{"type":"system","data":{"keyword":"pong"}}\n'
        self.assertEqual(page.wire.read(), bytes([0x81, len(said)]) + said)

    def test_ping(self) -> None:
        """A ping is answered with what it brought, logged in or not."""
        page = Page(self.network)
        self.addCleanup(page.wire.lose)
        page.wire.read()
        page.put(frame(9, b"are you there"))
        self.assertEqual(page.wire.read(), b"\x8a\x0dare you there")
        page.put(frame(10, b"unasked"))
        self.assertEqual(page.wire.read(), b"")

    def test_quit(self) -> None:
        """Who quits hears goodbye twice: in the protocol and in that of WebSocket."""
        page = self.page("alice")
        page.system("quit")
        self.assertEnds(page, 1000, "bye")

    def test_close(self) -> None:
        """Who closes is answered so; what was sent before that counts."""
        page = self.page("alice")
        page.put(
            frame(1, b'{"type":"message","data":{"recipient":"bob","body":"late"}}') + frame(8, b"\x03\xe9")
        )
        self.network.settle()
        self.assertEqual(page.closes, [1000])
        self.assertTrue(page.ended)
        again = self.page("alice")
        again.system("list", box="sent")
        (entry,) = again.hear()[-1]["messages"]
        self.assertEqual(entry["recipient"], "bob")

    def test_lost(self) -> None:
        """A connection that is cut leaves nobody behind."""
        before = self.network.clock.getDelayedCalls()
        page = self.page()
        self.assertEqual(len(self.network.doors["sockets"].connections), 1)
        page.wire.lose()
        self.assertEqual(self.network.doors["sockets"].connections, set())
        self.assertEqual(self.site.channels, set())
        self.assertEqual(self.network.clock.getDelayedCalls(), before)

    def test_cut(self) -> None:
        """Who says nothing more without a goodbye is gone, and what comes is not counted as shown."""
        page, bob = self.page("alice"), self.network.user("bob")
        page.protocol.readConnectionLost()
        self.assertTrue(page.wire.aborted)
        self.assertEqual(self.network.doors["sockets"].connections, set())
        bob.send("alice", "hello")
        bob.hear()
        again = self.page()
        again.say_login("alice")
        (message,) = [each for each in again.hear() if "body" in each]
        self.assertNotIn("again", message)

    def test_loginTimeout(self) -> None:
        """Who does not log in is told and hung up on in the time of every door, not in that of a request."""
        page = self.page()
        self.network.pass_time(59.9)
        self.assertEqual(page.hear(), [])
        self.network.pass_time(0.1)
        self.assertEnds(page, 1000, "fatal login-timeout")

    def test_stays(self) -> None:
        """Who is logged in may be silent for as long as they like."""
        page = self.page("alice")
        self.network.pass_time(100 * REQUEST_TIME)
        page.system("ping")
        self.assertEqual(keywords(page.hear()), ["pong"])

    def test_transport(self) -> None:
        """It is a transport like another."""
        page = self.page()
        (chat,) = self.network.doors["sockets"].connections
        verifyObject(ITransport, chat.transport)
        verifyObject(IConsumer, chat.transport)
        self.assertEqual(chat.transport.getPeer(), HERE)
        self.assertEqual(chat.transport.getHost(), page.wire.getHost())
        chat.transport.writeSequence([b"a", b"b\n"])
        self.assertEqual(page.wire.read(), b"\x81\x03ab\n")
        self.assertEqual(set(page.wire.options), {"no delay", "keep alive"})


class UpgradeTests(SocketTestCase):
    """Who becomes a WebSocket, and who does not."""

    def refusal(self, **headers: str) -> tuple[int, str]:
        """What is said to somebody who asks with these headers."""
        page = Page(self.network, **headers)
        page.wire.lose()
        self.assertEqual(self.network.doors["sockets"].connections, set())
        return page.response.problem

    def test_notAsked(self) -> None:
        """Whatever else comes there is told what the place is for."""
        response = ask(self.site, "/socket")
        self.assertEqual(response.problem, (426, "upgrade-required"))
        self.assertEqual(response.headers["Upgrade"], "websocket")
        self.assertEqual(ask(self.site, "/socket", "POST").problem, (405, "method-not-allowed"))
        self.assertEqual(ask(self.site, "/socket", "HEAD").status, 426)
        self.assertEqual(ask(self.site, "/socket/more").problem, (404, "not-found"))
        for name, value in (
            ("Connection", "keep-alive"),
            ("Upgrade", "h2c"),
            ("Sec_WebSocket_Version", "8"),
            ("Sec_WebSocket_Version", ""),
            ("Sec_WebSocket_Key", ""),
            ("Sec_WebSocket_Key", "c2hvcnQ="),
            ("Sec_WebSocket_Key", "\u00e9"),
        ):
            self.assertEqual(self.refusal(**{name: value}), (426, "upgrade-required"), name)

    def test_old(self) -> None:
        """HTTP/1.0 cannot become anything else."""
        wire = knock(self.site)
        head = request("/socket", Connection="Upgrade", Upgrade="websocket").replace(b"HTTP/1.1", b"HTTP/1.0")
        wire.arrive(head)
        self.assertEqual(parse(wire.read()).problem, (426, "upgrade-required"))

    def test_foreign(self) -> None:
        """The page of another server is refused, whatever it calls itself."""
        for origin in (
            "http://evil.example",
            "http://chat.example.evil.example",
            "http://chat.example:8080",
            "http://user@evil.example",
            "https://chat.example:80",
            "null",
            "http://",
            "http://chat.example/",
            "file://",
            "ftp://chat.example",
            "\u00e9",
            "http://chat.example:x",
        ):
            self.assertEqual(self.refusal(Origin=origin), (403, "foreign-origin"), origin)
        self.assertEqual(self.refusal(Host="chat.example:x"), (403, "foreign-origin"))

    def test_own(self) -> None:
        """The server's own page comes in, by whatever name it was asked for; so do programs."""
        for headers in (
            {"Host": "chat.example:5380", "Origin": "http://chat.example:5380"},
            {"Host": "CHAT.example", "Origin": "http://chat.EXAMPLE"},
            {"Host": "chat.example", "Origin": "https://chat.example"},
            {"Host": "chat.example:443", "Origin": "https://chat.example"},
            {"Host": "127.0.0.1:5380", "Origin": "http://127.0.0.1:5380"},
            {"Host": "[::1]:5380", "Origin": "http://[::1]:5380"},
            {"Origin": ""},
        ):
            self.page(**headers).wire.lose()

    def test_allowed(self) -> None:
        """The page of another server comes in if the operator has said so."""
        self.site = open_site(self.network, origins=["https://talk.example", "http://localhost:8000"])
        self.page(Origin="https://talk.example").wire.lose()
        self.page(Origin="http://localhost:8000").wire.lose()
        self.assertEqual(self.refusal(Origin="http://talk.example"), (403, "foreign-origin"))

    def test_hurry(self) -> None:
        """What is sent behind the request, before it was answered, is heard."""
        page = Page(self.network)
        page.wire.lose()
        wire = knock(self.site)
        head = request("/socket", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Version="13",
                       Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
        wire.arrive(head + frame(9, b"hurry"))
        self.assertIn(b"\x8a\x05hurry", wire.read())
        wire.lose()

    def test_half(self) -> None:
        """Who stops in the middle of the request is told after a time, and hung up on."""
        wire = knock(self.site)
        wire.arrive(b"GET /socket HTTP/1.1\r\nUpgrade: websocket\r\n")
        self.network.pass_time(REQUEST_TIME)
        self.assertEqual(parse(wire.read()).problem, (408, "request-timeout"))
        self.assertTrue(wire.half_closed)


class OriginTests(SocketTestCase):
    """Where a client comes from, as limits and the journal know it."""

    def came_from(self, peer: Any, *proxies: str, forwarded: str = "") -> str:
        """Where a client seems to come from."""
        self.site = open_site(self.network, proxies=proxies)
        page = Page(self.network, peer, X_Forwarded_For=forwarded)
        (chat,) = self.network.doors["sockets"].connections
        page.wire.lose()
        return chat.origin.shown

    def test_direct(self) -> None:
        """Nobody is believed whom they speak for who was not said to be a proxy."""
        self.assertEqual(self.came_from(THERE), "192.0.2.7")
        self.assertEqual(self.came_from(THERE, forwarded="203.0.113.9"), "192.0.2.7")
        self.assertEqual(self.came_from(THERE, "127.0.0.1", forwarded="203.0.113.9"), "192.0.2.7")

    def test_proxy(self) -> None:
        """A proxy is; and of what it passes on only what proxies have added, from the end."""
        for forwarded, expected in (
            ("", "127.0.0.1"),
            ("203.0.113.9", "203.0.113.9"),
            ("10.0.0.1, 203.0.113.9", "203.0.113.9"),
            ("198.51.100.1, 203.0.113.9, 127.0.0.1", "203.0.113.9"),
            ("203.0.113.9:1234", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:1234", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("unknown", "127.0.0.1"),
            ("203.0.113.9, what", "127.0.0.1"),
        ):
            self.assertEqual(self.came_from(HERE, "127.0.0.0/8", forwarded=forwarded), expected)

    def test_counted(self) -> None:
        """Behind a proxy each network has its own limit, and a WebSocket is counted once."""
        crowd = Crowd(most=3, each=1)
        self.site = open_site(self.network, proxies=["127.0.0.1"], crowd=crowd)
        first = self.page(X_Forwarded_For="203.0.113.9")
        second = self.page(X_Forwarded_For="203.0.113.10")
        third = Page(self.network, X_Forwarded_For="203.0.113.9")
        self.assertEqual(keywords(third.hear())[-1], "fatal too-many-connections")
        first.wire.lose()
        self.page(X_Forwarded_For="203.0.113.9").wire.lose()
        second.wire.lose()
