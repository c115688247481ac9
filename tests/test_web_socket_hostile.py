"""The WebSocket: all that can be done to it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, Ping, TextMessage

from chat.limits.crowd import Crowd
from chat.messages import LOGIN_FRAME_BYTES, USER_FRAME_BYTES
from chat.protocol import INPUT_BYTES, LINGER
from chat.web.socket import FRAMES_AT_ONCE, SocketTunnel
from tests.strategies import ALWAYS
from tests.talker import keywords
from tests.test_web_socket import PING, SocketTestCase, frame
from tests.web import HERE, Page, open_site


class HostileTests(SocketTestCase):
    """Nothing that a client sends costs more than that client."""

    def tearDown(self) -> None:
        """Nothing of it was an error of the server."""
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_unmasked(self) -> None:
        """Frames that are not masked end the connection, as they have to."""
        page = self.page("alice")
        page.put(frame(1, PING, masked=False))
        self.assertIn("unmasked", self.assertEnds(page, 1002, "fatal malformed-frame"))

    def test_binary(self) -> None:
        """Binary messages are refused, and what to do instead is said."""
        page = self.page("alice")
        page.say_event(BytesMessage(PING))
        self.assertIn("send JSON as text", self.assertEnds(page, 1003, "fatal malformed-frame"))

    def test_notText(self) -> None:
        """Bytes that are no UTF-8 end the connection; so does a letter without its end."""
        for payload in (b'"\xff"', b"\xed\xa0\x80", "\u00e9".encode()[:1]):
            page = self.page("alice")
            page.put(frame(1, payload))
            self.assertEnds(page, 1007, "fatal malformed-frame")

    def test_unlawful(self) -> None:
        """Whatever is no frame ends the connection: none of it is guessed at."""
        for octets in (
            frame(3, b""),
            frame(0, b"what?"),
            frame(1, b"a", fin=False) + frame(1, b"b"),
            frame(9, b"", fin=False),
            frame(9, b"x" * 126),
            frame(8, b"x"),
            frame(8, b"\x03\xed"),
            b"\xc1\x80\x00\x00\x00\x00",
            b"\x81\xfe\x00\x05\x00\x00\x00\x00",
            b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            page = self.page("alice")
            page.put(octets)
            self.assertEnds(page, 1002, "fatal malformed-frame")

    def test_huge(self) -> None:
        """A length that is only said costs nothing; what comes of it is taken as far as a frame may go."""
        page = self.page("alice")
        page.put(frame(1, b"", size=1 << 62))
        self.assertEqual(page.hear(), [])
        (chat,) = self.network.doors["sockets"].connections
        for _ in range(USER_FRAME_BYTES // 65536 - 1):
            page.put(b"\x00" * 65536)
        self.assertEqual(page.hear(), [])
        page.put(b"\x00" * 65536)
        self.assertEnds(page, 1000, "fatal frame-too-large")
        self.assertLessEqual(chat._translator.buffered, USER_FRAME_BYTES)

    def test_endless(self) -> None:
        """Fragments without an end are bounded like a line without one, before login and after it."""
        for name, limit in ((None, LOGIN_FRAME_BYTES), ("alice", USER_FRAME_BYTES)):
            page = self.page(name)
            page.put(frame(1, b"x", fin=False))
            sent = 1
            while not page.ended:
                self.assertLess(sent, limit)
                page.put(frame(0, b"x" * 1023, fin=False))
                sent += 1023
                self.network.clock.advance(0)
            self.assertEnds(page, 1000, "fatal frame-too-large")
            self.assertGreater(sent + 1024, limit)

    def test_weighed(self) -> None:
        """What is not complete is weighed, so that many who begin and do not go on are cut."""
        crowd = Crowd(heaviest=100_000)
        self.site = open_site(self.network, crowd=crowd)
        pages = [self.page(name) for name in ("alice", "bob")]
        pages[0].put(frame(1, b"x" * 60_000, fin=False))
        pages[1].put(frame(1, b"x" * 50_000, fin=False))
        self.assertTrue(pages[0].wire.aborted)
        self.assertFalse(pages[1].wire.aborted)

    def test_pingFlood(self) -> None:
        """Who pings and does not read the answers is not read any more, and costs a bounded buffer."""
        page = self.page("alice")
        page.reads = False
        flood = frame(9, b"x" * 125) * (FRAMES_AT_ONCE - 1)
        for _ in range(100):
            page.put(flood)
            self.network.clock.advance(0)
        self.assertLess(page.wire.most_unread, page.wire.window + 2 * len(flood))
        self.assertEqual(page.wire.producerState, "paused")
        self.assertFalse(page.wire.aborted)
        page.reads = True
        page.system("ping")
        self.assertEqual(keywords(page.hear()), ["pong"])
        self.assertEqual(page.wire.producerState, "producing")

    def test_turns(self) -> None:
        """Who brings very many frames at once lets the others have their turn, and is not read meanwhile."""
        page = self.page("alice")
        page.put(frame(9, b"") * 5 * FRAMES_AT_ONCE + frame(1, PING))
        self.assertEqual(page.wire.unread.count(b"\x8a\x00"), FRAMES_AT_ONCE)
        self.assertEqual(page.wire.producerState, "paused")
        self.network.clock.advance(0)
        self.assertEqual(page.wire.unread.count(b"\x8a\x00"), 5 * FRAMES_AT_ONCE)
        self.assertEqual(keywords(page.hear()), ["pong"])
        self.assertEqual(page.wire.producerState, "producing")

    def test_turnOfNobody(self) -> None:
        """Who is gone before its next turn has none."""
        for last in (b"", frame(8, b"")):
            page = self.page("alice")
            page.put(frame(9, b"") * FRAMES_AT_ONCE + last)
            page.wire.lose()
            self.network.clock.advance(0)

    def test_doesNotRead(self) -> None:
        """Mail for somebody who does not read stays in the database, and comes when they do."""
        page, bob = self.page("alice"), self.network.user("bob")
        page.reads = False
        for number in range(40):
            bob.send("alice", "x" * 20_000, ref=str(number))
            bob.hear()
        self.assertLess(page.wire.most_unread, page.wire.window + 3 * 20_000)
        page.reads = True
        self.assertEqual(len([each for each in page.hear() if "body" in each]), 40)

    def test_sendsOnly(self) -> None:
        """Who sends and does not read is read no more after some answers; all of it counts in the end."""
        page = self.page("alice")
        page.reads = False
        for _ in range(2000):
            page.write(PING + b" " * 100 + b"\n")
            self.network.clock.advance(0)
        self.assertEqual(page.wire.producerState, "paused")
        (chat,) = self.network.doors["sockets"].connections
        self.assertLess(chat._translator.buffered, 2 * INPUT_BYTES)
        page.reads = True
        self.assertEqual(keywords(page.hear()), ["pong"] * 2000)

    def test_waits(self) -> None:
        """Frames behind one that takes its time wait in the network, not in memory."""
        page = self.page("alice")
        self.network.hashing.slow = True
        page.system("change-password", password="password of alice", new="another one that is long")
        self.network.clock.advance(0)
        for _ in range(100):
            page.write(PING + b" " * 4000 + b"\n")
        self.assertEqual(page.wire.producerState, "paused")
        (chat,) = self.network.doors["sockets"].connections
        self.assertLess(chat._translator.buffered, 2 * INPUT_BYTES)
        self.network.hashing.slow = False
        while self.network.hashing.waiting:
            self.network.hashing.finish()
            self.network.settle()
        self.assertEqual(keywords(page.hear())[-100:], ["pong"] * 100)

    def test_afterGoodbye(self) -> None:
        """What comes behind a goodbye, or behind what ended the connection, is not even looked at."""
        for last in (frame(8, b"\x03\xe8"), frame(2, b"")):
            page = self.page("alice")
            page.clings = True
            page.put(last + frame(1, PING))
            page.hear()
            page.put(frame(1, PING) * 1000)
            self.assertEqual(page.hear(), [])
            self.network.pass_time(LINGER)
            self.assertTrue(page.wire.aborted)

    def test_endOfMany(self) -> None:
        """Who says goodbye among very many frames is seen to hang up, for the connection is still read."""
        page = self.page("alice")
        page.clings = True
        quit = b'{"type":"system","data":{"keyword":"quit"}}'
        page.put(frame(1, quit) + frame(9, b"") * (FRAMES_AT_ONCE + 5))
        self.network.clock.advance(0)
        self.assertEqual(keywords(page.hear()), ["bye"])
        self.assertEqual((page.wire.half_closed, page.wire.producerState), (True, "producing"))

    def test_clings(self) -> None:
        """Who does not hang up when the server has is cut after a moment."""
        page = self.page("alice")
        page.clings = True
        page.system("quit")
        self.assertEqual(keywords(page.hear()), ["bye"])
        self.assertTrue(page.wire.half_closed)
        self.assertFalse(page.wire.aborted)
        self.network.pass_time(LINGER)
        self.assertTrue(page.wire.aborted)

    def test_tooMany(self) -> None:
        """Who comes when it is full is told so, and the place is free again afterwards."""
        crowd = Crowd(most=2)
        self.site = open_site(self.network, crowd=crowd)
        self.page("alice")
        bob = self.page("bob")
        page = Page(self.network)
        self.assertEqual(page.response.problem, (503, "too-many-connections"))
        self.assertIn("Retry-After", page.response.headers)
        bob.wire.lose()
        page.wire.lose()
        self.page("bob")
        self.assertEqual(len(self.site.channels), 2)


class CuttingTests(SynchronousTestCase):
    """Bytes may arrive cut anywhere."""

    @ALWAYS
    @given(st.lists(st.integers(1, 40), max_size=60), st.data())
    def test_anywhere(self, sizes: list[int], data: Any) -> None:
        """However the bytes are cut, the same lines come out."""
        lines: list[bytes] = []

        channel: Any = SimpleNamespace(transport=SimpleNamespace(write=lambda octets: None))
        chat: Any = SimpleNamespace(dataReceived=lines.append)
        wire = Connection(ConnectionType.CLIENT)
        texts = data.draw(st.lists(st.text(max_size=30), max_size=8))
        stream = b"".join(bytes(wire.send(TextMessage(text))) + bytes(wire.send(Ping(b""))) for text in texts)
        tunnel = SocketTunnel(channel, chat, HERE)
        at = 0
        for size in [*sizes, len(stream)]:
            tunnel.received(stream[at : at + size])
            at += size
        expected = "".join(text if text.endswith("\n") else text + "\n" for text in texts)
        self.assertEqual(b"".join(lines), expected.encode())
