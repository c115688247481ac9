"""The connection: bytes, limits, time-outs, back-pressure, and how it ends."""

from __future__ import annotations

import json
import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet.interfaces import ISSLTransport, IUNIXTransport
from twisted.internet.testing import StringTransport
from zope.interface import directlyProvides, providedBy

from chat import protocol
from chat.feed import Feed
from chat.messages import Ping
from chat.notices import NOTICE_BYTES, NOTICED_BYTES
from chat.protocol import INPUT_BYTES, LINGER
from chat.session import Session
from chat.store.mailboxes import PAGE_BYTES
from chat.wire.translator import FRAMES_AT_ONCE, REFUSALS_AT_ONCE
from tests.network import Client, NetworkTestCase
from tests.talker import keywords, password
from tests.wire import Wire

CODECS = ("json", "der")


def sized(client: Client, size: int) -> bytes:
    """A frame of just so many bytes: a message if they suffice, else a login frame."""
    kind = {"type": "message", "recipient": "nobody", "key": "body"}
    if size < 10_000:
        kind = {"type": "login", "field": "username", "key": "value"}
    key, type_ = kind.pop("key"), kind.pop("type")
    text = "x" * size
    while len(frame := client.encoded(type_, **kind, **{key: text})) > size:
        text = text[: size - len(frame)]
    assert len(frame) == size
    return frame


class LimitTests(NetworkTestCase):
    """How long a frame may be: 4 KiB before the login, 512 KiB after it, to the byte."""

    def test_beforeLogin(self) -> None:
        """4096 bytes are a frame, 4097 are the end; the one before them is answered."""
        for codec in CODECS:
            client = self.network.connect(codec)
            client.write(sized(client, 4096))
            self.assertHears(client, "failed bad-name", "username")
            client.write(sized(client, 4096) + sized(client, 4097))
            heard = self.assertHears(client, "failed bad-name", "username", "fatal frame-too-large")
            self.assertIn("4096", heard[-1]["reason"])
            self.assertTrue(client.ended)

    def test_afterLogin(self) -> None:
        """524288 bytes are a frame (though its body is too large), 524289 are the end."""
        for codec in CODECS:
            client = self.network.user("alice", codec)
            client.write(sized(client, 524288))
            self.assertHears(client, "failed too-large")
            client.write(sized(client, 524288) + sized(client, 524289))
            heard = self.assertHears(client, "failed too-large", "fatal frame-too-large")
            self.assertIn("524288", heard[-1]["reason"])
            self.assertTrue(client.ended)

    def test_unfinishedLine(self) -> None:
        """A line that cannot end within the limit any more is not waited for."""
        client = self.network.connect()
        client.write(b"x" * 4095)
        self.assertHears(client)
        client.write(b"x")
        self.assertHears(client, "fatal frame-too-large")

    def test_announcedLength(self) -> None:
        """A DER frame that only says it will be too long is not waited for."""
        client = self.network.connect("der")
        client.write(bytes([0xA0, 0x82, 0x0F, 0xFC]))
        self.assertHears(client)
        client = self.network.connect("der")
        client.write(bytes([0xA0, 0x82, 0x0F, 0xFD]))
        self.assertHears(client, "fatal frame-too-large")

    def test_bodyOfEscapes(self) -> None:
        """A body of 64 KiB fits even when every character is escaped."""
        bob = self.network.user("bob")
        alice = self.network.user("alice")
        body = "\x01" * 65536
        line = b'{"type":"message","data":{"recipient":"bob","body":"%s"}}\n' % (b"\\u0001" * 65536)
        alice.write(line)
        self.assertHears(alice, "accepted")
        self.assertEqual(bob.hear()[0]["body"], body)

    def test_limitFallsWithTheLogin(self) -> None:
        """After the account is deleted the limit is 4 KiB again."""
        alice = self.network.user("alice")
        alice.system("delete-account", password=password("alice"))
        alice.write(b"x" * 4096)
        self.assertHears(alice, "account-deleted", "username", "fatal frame-too-large")


class PipelineTests(NetworkTestCase):
    """What is sent before it is asked for."""

    def setUp(self) -> None:
        """A server that knows Alice."""
        super().setUp()
        self.network.user("alice").hang_up()

    def test_all(self) -> None:
        """User name, password, a send, a ping and a large body, in one go: all is answered in order."""
        for codec in CODECS:
            client = self.network.connect(codec)
            large = client.encoded("message", recipient="nobody", body="x" * 65536)
            client.write(
                client.encoded("login", field="username", value="alice")
                + client.encoded("login", field="password", value=password("alice"))
                + client.encoded("message", recipient="nobody", body="hi")
                + client.encoded("system", keyword="ping")
                + large
                + sized(client, 500 * 1024)
                + client.encoded("system", keyword="ping")
            )
            heard = [word for word in keywords(client.hear()) if word != "message"]
            self.assertEqual(
                heard,
                ["password", "welcome", "accepted", "pong", "accepted", "failed too-large", "pong"],
            )

    def test_waits(self) -> None:
        """While the password is checked the rest waits, most of it in the network."""
        for codec in CODECS:
            client = self.network.connect(codec)
            self.network.hashing.slow = True
            client.say_login("alice")
            frame = sized(client, 500 * 1024)
            for start in range(0, len(frame), 10_000):
                client.write(frame[start : start + 10_000])
            client.system("ping")
            self.assertHears(client, "password")
            buffered = client.protocol._translator.buffered
            self.assertLessEqual(buffered, INPUT_BYTES + 10_000)
            self.assertEqual(client.wire.producerState, "paused")
            self.network.hashing.slow = False
            self.network.hashing.finish()
            heard = [word for word in keywords(client.hear()) if word != "message"]
            self.assertEqual(heard, ["welcome", "failed too-large", "pong"])
            self.assertEqual(client.wire.producerState, "producing")

    def test_smallRestStaysHere(self) -> None:
        """What waits and is little does not stop the reading."""
        client = self.network.connect()
        self.network.hashing.slow = True
        client.say_login("alice")
        client.system("ping")
        self.assertHears(client, "password")
        self.assertEqual(client.wire.producerState, "producing")

    def test_takingTurns(self) -> None:
        """Whoever sends very many frames in one go lets the others have their turn before it goes on."""
        client, other = self.network.user("alice"), self.network.user("bob")
        client.write(client.encoded("system", keyword="ping") * (FRAMES_AT_ONCE + 10))
        other.system("ping")
        self.assertEqual(bytes(client.wire.unread).count(b"pong"), FRAMES_AT_ONCE)
        self.assertEqual(bytes(other.wire.unread).count(b"pong"), 1)
        self.assertHears(client, *["pong"] * (FRAMES_AT_ONCE + 10))
        client.write(client.encoded("system", keyword="ping") * (FRAMES_AT_ONCE + 10))
        client.system("ping")
        self.assertEqual(bytes(client.wire.unread).count(b"pong"), FRAMES_AT_ONCE)
        client.protocol.readConnectionLost()
        self.assertHears(client, *["pong"] * (FRAMES_AT_ONCE + 11), "bye")
        client = self.network.user("alice")
        client.write(client.encoded("system", keyword="ping") * (FRAMES_AT_ONCE + 10))
        client.hang_up()
        self.network.settle()

    def test_takingTurnsBeforeLogin(self) -> None:
        """So does whoever has very much refused in one go before a login."""
        client, other = self.network.connect(), self.network.user("bob")
        client.hear()
        client.write(b"{}\n" * (REFUSALS_AT_ONCE + 10))
        other.system("ping")
        self.assertEqual(bytes(client.wire.unread).count(b"bad-frame"), REFUSALS_AT_ONCE)
        self.assertEqual(bytes(other.wire.unread).count(b"pong"), 1)
        self.assertHears(client, *["failed bad-frame", "username"] * (REFUSALS_AT_ONCE + 10))

    def test_wrongPassword(self) -> None:
        """Behind a wrong password a frame is judged by the limit that then holds."""
        client = self.network.connect()
        client.say_login("alice", "not the password")
        client.write(sized(client, 20_000))
        self.assertHears(client, "password", "failed wrong-password", "username", "fatal frame-too-large")

    def test_byteByByte(self) -> None:
        """Bytes that come one at a time are the same conversation."""
        for codec in CODECS:
            client = self.network.connect(codec)
            wire = client.encoded("login", field="username", value="alice")
            wire += client.encoded("login", field="password", value=password("alice"))
            wire += client.encoded("system", keyword="ping")
            for byte in wire:
                client.write(bytes([byte]))
                self.network.settle()
            self.assertHears(client, "password", "welcome", "pong")


class BadBytesTests(NetworkTestCase):
    """Bytes that are no frame."""

    MALFORMED = {
        "json": [b"hello\n", b'{"type":"system"\n', b"\xff\xfe\n", b'"\xed\xa0\x80"\n', b"[" * 4000 + b"\n"],
        "der": [b"\x30\x80", b"\xa0\x81\x01\x00", b"\x1f\xff\xff\xff\xff\x00", b"\xa0\x82\x00\x01\x00"],
    }
    BAD = {
        "json": [b"{}\n", b"[]\n", b"null\n", b'{"type":"foo"}\n', b'{"type":"system","data":{}}\n'],
        "der": [b"\x30\x00", b"\xaa\x00"],
    }

    def test_malformed(self) -> None:
        """What is no JSON, no UTF-8 or no DER is the end, before the login and after it."""
        for codec, samples in self.MALFORMED.items():
            for sample in samples:
                client = self.network.connect(codec)
                client.write(sample)
                self.assertHears(client, "fatal malformed-frame")
                self.assertTrue(client.ended)
                client = self.network.user("alice", codec)
                client.system("ping")
                client.write(sample + client.encoded("system", keyword="ping"))
                self.assertHears(client, "pong", "fatal malformed-frame")
                self.assertTrue(client.ended)

    def test_bad(self) -> None:
        """What is well-formed but no frame is refused; before the login the prompt follows."""
        for codec, samples in self.BAD.items():
            for sample in samples:
                client = self.network.connect(codec)
                client.write(sample)
                self.assertHears(client, "failed bad-frame", "username")
                client.say_login("alice")
                if keywords(client.hear())[-1] != "welcome":
                    client.log_in("alice")
                client.write(sample + client.encoded("system", keyword="ping"))
                self.assertHears(client, "failed bad-frame", "pong")

    def test_blankLines(self) -> None:
        """Blank lines are nothing, and a CR before the LF is allowed."""
        client = self.network.user("alice")
        client.write(b"\n\r\n   \n" + client.encoded("system", keyword="ping")[:-1] + b"\r\n\n")
        self.assertHears(client, "pong")


class LoginTimeoutTests(NetworkTestCase):
    """How long a login may take."""

    def test_silent(self) -> None:
        """A client that never speaks is told, and hung up, after just that time."""
        for codec in CODECS:
            client = self.network.connect(codec)
            self.network.pass_time(59.9)
            self.assertHears(client)
            self.network.pass_time(0.2)
            heard = self.assertHears(client, "fatal login-timeout")
            self.assertIn("60 seconds", heard[0]["reason"])
            self.assertTrue(client.ended)

    def test_notProlonged(self) -> None:
        """Whatever a client says, short of a login, wins it no time."""
        client = self.network.connect()
        for _ in range(6):
            self.network.pass_time(9.9)
            client.say_login("Nobody", "short")
            client.write(b"{}\n")
        self.assertEqual(keywords(client.hear())[-1], "username")
        self.network.pass_time(0.7)
        self.assertHears(client, "fatal login-timeout")

    def test_createdIsNoLogin(self) -> None:
        """Signing up is not logging in."""
        client = self.network.connect()
        client.say_login("alice")
        self.assertHears(client, "new-password", "created", "username")
        self.network.pass_time(60.1)
        self.assertHears(client, "fatal login-timeout")

    def test_loggedIn(self) -> None:
        """After the login there is no hurry."""
        client = self.network.user("alice")
        self.network.pass_time(100_000)
        client.system("ping")
        self.assertHears(client, "pong")

    def test_notWhileHashing(self) -> None:
        """When it is the server that takes its time with the password, the client is waited for."""
        self.network.user("alice").hang_up()
        client = self.network.connect()
        self.network.hashing.slow = True
        client.say_login("alice")
        self.network.settle()
        self.network.pass_time(60.1)
        self.network.pass_time(300)
        self.assertHears(client, "password")
        self.network.hashing.finish()
        self.assertHears(client, "welcome")
        self.network.pass_time(1000)
        client.system("ping")
        self.assertHears(client, "pong")

    def test_afterSlowWrongPassword(self) -> None:
        """When the password then is wrong, the time is up."""
        self.network.user("alice").hang_up()
        client = self.network.connect()
        self.network.hashing.slow = True
        client.say_login("alice", "not the password")
        self.network.settle()
        self.network.pass_time(61)
        self.network.hashing.finish()
        self.assertHears(client, "password", "failed wrong-password", "username", "fatal login-timeout")

    def test_notEvaded(self) -> None:
        """Guesses sent ahead do not keep the server busy beyond the time."""
        self.network.user("alice").hang_up()
        client = self.network.connect()
        self.network.hashing.slow = True
        for _ in range(5):
            client.say_login("alice", "not the password")
        self.network.settle()
        self.network.pass_time(61)
        self.network.hashing.finish()
        self.assertHears(client, "password", "failed wrong-password", "username", "fatal login-timeout")

    def test_againAfterSlowLogin(self) -> None:
        """A login that the server took too long for does not shorten the next one."""
        self.network.user("alice").hang_up()
        client = self.network.connect()
        self.network.hashing.slow = True
        client.say_login("alice")
        self.network.settle()
        self.network.pass_time(61)
        self.network.hashing.finish()
        self.network.hashing.slow = False
        self.assertHears(client, "password", "welcome")
        client.system("delete-account", password=password("alice"))
        self.assertHears(client, "account-deleted", "username")
        self.network.pass_time(59.9)
        self.assertHears(client)
        self.network.pass_time(0.2)
        self.assertHears(client, "fatal login-timeout")

    def test_againAfterDeletion(self) -> None:
        """After the account is deleted the time for a login begins again."""
        client = self.network.user("alice")
        self.network.pass_time(1000)
        client.system("delete-account", password=password("alice"))
        self.assertHears(client, "account-deleted", "username")
        self.network.pass_time(59.9)
        self.assertHears(client)
        self.network.pass_time(0.2)
        self.assertHears(client, "fatal login-timeout")

    def test_otherTime(self) -> None:
        """The operator decides how long it may take."""
        self.start(login_timeout=2.5)
        client = self.network.connect()
        self.network.pass_time(2.6)
        heard = self.assertHears(client, "fatal login-timeout")
        self.assertIn("2.5 seconds", heard[0]["reason"])

    def test_nothingLeft(self) -> None:
        """A connection that is gone leaves no call behind."""
        self.network.connect().hang_up()
        self.network.user("alice").hang_up()
        self.assertEqual(self.network.planned(), [])


class BackPressureTests(NetworkTestCase):
    """A client that does not read costs a bounded buffer and nobody else anything."""

    def setUp(self) -> None:
        """Bob does not read; Alice writes to him."""
        super().setUp()
        self.bob = self.network.user("bob")
        self.alice = self.network.user("alice")

    def write(self, count: int, size: int = 60_000) -> None:
        """Alice sends so many messages to Bob, numbered in their subjects."""
        for _ in range(count):
            self.sent = getattr(self, "sent", 0) + 1
            self.alice.send("bob", "x" * size, subject=str(self.sent))
            self.assertHears(self.alice, "accepted")

    def subjects(self) -> list[int]:
        """The numbers of the messages that Bob was shown."""
        return [int(frame["subject"]) for frame in self.bob.hear()]

    def test_bounded(self) -> None:
        """What waits for Bob in memory stays small; when he reads he gets all of it, in order, once."""
        self.bob.reads = False
        self.write(60)
        self.assertLess(self.bob.wire.most_unread, 200_000)
        self.bob.reads = True
        self.assertEqual(self.subjects(), list(range(1, 61)))
        self.assertLess(self.bob.wire.most_unread, 64 * 1024 + PAGE_BYTES + 100_000)

    def test_liveAgain(self) -> None:
        """When he has caught up he is shown new messages as they come, without asking the store."""
        self.bob.reads = False
        self.write(10)
        self.bob.reads = True
        self.assertEqual(len(self.subjects()), 10)
        self.patch(self.network.store, "waiting", None)
        self.write(2)
        self.assertEqual(self.subjects(), [11, 12])

    def test_byPieces(self) -> None:
        """When he reads a little at a time, while more arrives, the order holds."""
        self.bob.reads = False
        self.write(20)
        shown: list[int] = []
        for _ in range(30):
            self.bob.reads = True
            for _ in range(3):
                self.bob.read(50_000)
                self.network.clock.advance(0)
            self.bob.reads = False
            self.write(1, 1000)
        self.bob.reads = True
        shown += self.subjects()
        self.assertEqual(shown, list(range(1, 51)))

    def test_pages(self) -> None:
        """At a login with a full mailbox, a client that does not read is shown one page."""
        self.bob.hang_up()
        self.write(40)
        self.bob = self.network.connect()
        self.bob.reads = False
        self.bob.say_login("bob")
        self.assertEqual(self.subjects(), [])
        self.assertLess(self.bob.wire.most_unread, 64 * 1024 + PAGE_BYTES + 100_000)
        pages: list[object] = []
        waiting = self.network.store.waiting

        def counted(account: int, after: int) -> Any:
            pages.append(after)
            return waiting(account, after)

        self.patch(self.network.store, "waiting", counted)
        self.bob.reads = True
        frames = self.bob.hear()[2:]
        self.assertEqual([int(frame["subject"]) for frame in frames], list(range(1, 41)))
        self.assertGreater(len(pages), 5)

    def test_goneWhileReading(self) -> None:
        """A client that hangs up in the middle of a large mailbox is not read for any more."""
        self.bob.hang_up()
        self.write(40)
        pages: list[object] = []
        waiting = self.network.store.waiting

        def counted(account: int, after: int) -> Any:
            pages.append(after)
            if len(pages) == 3:
                self.bob.hang_up()
            return waiting(account, after)

        self.patch(self.network.store, "waiting", counted)
        self.bob = self.network.connect()
        self.bob.say_login("bob")
        self.network.settle()
        self.assertEqual(len(pages), 3)
        self.bob = self.network.connect()
        again = [frame for frame in self.bob.log_in("bob")[1:] if frame.get("again")]
        self.assertLess(len(again), 30)

    def test_notices(self) -> None:
        """Deliveries that Alice cannot be told of while she does not read are told when she does."""
        self.alice.send("bob", "hi", receipt=True)
        self.alice.send("bob", "hi", receipt=True)
        first, second = [frame["id"] for frame in self.bob.hear()]
        for _ in range(3):
            self.bob.send("alice", "x" * 60_000)
        self.alice.hear()
        self.alice.reads = False
        for _ in range(3):
            self.bob.send("alice", "x" * 60_000)
        self.network.settle()
        self.assertTrue(self.alice.protocol.paused)
        self.bob.received(first)
        self.network.settle()
        protocol = self.alice.protocol
        weight = protocol._place.weight
        protocol.keep(10**6 + NOTICE_BYTES + NOTICED_BYTES)
        self.assertEqual(protocol._place.weight, weight + 10**6)
        self.bob.received(second)
        self.network.settle()
        self.network.clock.advance(1)
        self.alice.reads = True
        delivered = [frame for frame in self.alice.hear() if frame.get("keyword") == "delivered"]
        self.assertEqual([id for frame in delivered for id in frame["ids"]], [first, second])

    def test_noAnswersEither(self) -> None:
        """One who does not read its answers is not listened to, either."""
        self.alice.reads = False
        for _ in range(20_000):
            self.alice.system("ping")
        self.network.settle()
        self.assertLess(self.alice.wire.most_unread, 200_000)
        self.assertEqual(self.alice.wire.producerState, "paused")
        self.alice.reads = True
        self.assertEqual(keywords(self.alice.hear()), ["pong"] * 20_000)

    def test_largeAnswers(self) -> None:
        """Nor do large answers to small questions, asked in one go, pile up: one, then it must be read."""
        self.write(10)
        self.bob.hear()
        self.bob.reads = False
        questions = self.bob.encoded("system", keyword="read", ids=list(range(1, 11))) * 50
        self.bob.write(questions + self.bob.encoded("system", keyword="ping"))
        self.network.settle()
        self.assertLess(self.bob.wire.most_unread, 2_000_000)
        self.bob.reads = True
        self.assertEqual(keywords(self.bob.hear()), ["messages"] * 50 + ["pong"])
        self.assertLess(self.bob.wire.most_unread, 2_000_000)

    def test_othersGoOn(self) -> None:
        """Others who read are served meanwhile."""
        self.bob.reads = False
        self.write(20)
        carol = self.network.user("carol")
        self.alice.send("carol", "hi")
        self.assertHears(self.alice, "accepted")
        self.assertHears(carol, "message")


class EndTests(NetworkTestCase):
    """How a connection ends."""

    def test_halfClosed(self) -> None:
        """After its last word the server says that nothing more comes, and waits for the client."""
        client = self.network.user("alice")
        client.clings = True
        client.system("quit")
        self.assertHears(client, "bye")
        self.assertTrue(client.wire.half_closed)
        self.assertIsNone(client.wire.producer)  # a real transport would wait for it to be done
        client.system("ping")
        self.assertHears(client)
        self.assertEqual(client.protocol._translator.buffered, 0)  # nor is it kept
        self.assertFalse(client.wire.lost)
        client.hang_up()
        self.assertEqual(self.network.doors["json"].connections, set())
        self.assertEqual(self.network.planned(), [])

    def test_aborted(self) -> None:
        """A client that does not hang up is not waited for long."""
        client = self.network.connect()
        client.clings = True
        client.write(b"hello\n")
        self.assertHears(client, "fatal malformed-frame")
        self.network.pass_time(LINGER - 0.1)
        self.assertFalse(client.wire.aborted)
        self.network.pass_time(0.2)
        self.assertTrue(client.wire.aborted)
        self.assertEqual(self.network.doors["json"].connections, set())

    def test_letsGo(self) -> None:
        """The transport of a lost connection, which may hold much that was never read, is let go at once."""
        client = self.network.user("alice")
        (protocol,) = self.network.doors["json"].connections
        client.hang_up()
        self.assertIsNone(protocol.transport)

    def test_unreadInput(self) -> None:
        """What a client still sends is taken from the network, so that its last words can reach it."""
        client = self.network.user("alice")
        client.clings = True
        client.system("list", box="inbox")
        client.system("quit")
        client.write(b"x" * 100_000)
        self.assertEqual(client.wire.producerState, "paused")
        self.assertHears(client, "listing", "bye")
        self.assertEqual(client.wire.producerState, "producing")

    def test_tls(self) -> None:
        """TLS has its own way to say that nothing more comes."""
        client = Client(self.network)
        directlyProvides(client.wire, providedBy(client.wire), ISSLTransport)
        client.clings = True
        client.write(b"hello\n")
        self.assertEqual(keywords(client.decode(bytes(client.wire.unread)))[-1], "fatal malformed-frame")
        self.assertTrue(client.wire.disconnecting)
        self.assertFalse(client.wire.half_closed)
        client.hang_up()

    def connect(self, handle: socket.socket, *interfaces: Any) -> Wire:
        """A connection that has this socket."""
        self.addCleanup(handle.close)
        wire = Wire(self.network.doors["json"].buildProtocol(None))
        wire.getHandle = lambda: handle  # type: ignore[attr-defined]
        directlyProvides(wire, providedBy(wire), *interfaces)
        wire.protocol.makeConnection(wire)
        self.addCleanup(wire.lose)
        return wire

    def test_keepAlive(self) -> None:
        """A TCP connection finds out that a silent peer is gone, and waits for no more bytes to send."""
        handle = socket.socket()
        wire = self.connect(handle)
        self.assertEqual(wire.options, ["no delay", "keep alive"])
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)), value)

    def test_unix(self) -> None:
        """A UNIX socket has no such options, though Twisted says it was a TCP connection as well."""
        wire = self.connect(socket.socket(socket.AF_UNIX), IUNIXTransport)
        self.assertEqual(wire.options, [])
        self.assertIn(b"username", bytes(wire.unread))

    def test_withoutSocket(self) -> None:
        """A TCP connection whose socket cannot be had does without."""
        client = Client(self.network)
        self.assertEqual(client.wire.options, ["no delay", "keep alive"])
        client.hang_up()

    def test_optionUnknown(self) -> None:
        """A system that does not know an option does without it."""
        handle = socket.socket()
        names = {name: getattr(socket, name) for name in dir(socket) if name != "TCP_KEEPCNT"}
        self.patch(protocol, "socket", SimpleNamespace(**names))
        self.connect(handle)
        self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 60)
        self.assertNotEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT), 4)

    def test_clientEndsFirst(self) -> None:
        """A client that says it will say no more has its answers, then the connection ends."""
        client = self.network.user("alice")
        client.send("nobody", "hi")
        client.system("list", box="sent")
        client.protocol.readConnectionLost()
        self.assertHears(client, "accepted", "message", "listing", "bye")
        self.assertTrue(client.wire.disconnecting)
        client = self.network.connect("der")
        client.protocol.readConnectionLost()
        self.assertHears(client, "bye")

    def test_clientEndsInTheMiddle(self) -> None:
        """A client that stops in the middle of a frame is told that it was not taken."""
        client = self.network.user("alice")
        client.send("nobody", "hi")
        client.write(client.encoded("message", recipient="nobody", body="half a message")[:-1])
        client.protocol.readConnectionLost()
        self.assertHears(client, "accepted", "fatal malformed-frame")
        self.assertTrue(client.wire.disconnecting)

    def test_clientEndsAfterLastWords(self) -> None:
        """A client that has heard the last word and says no more is hung up at once."""
        client = self.network.user("alice")
        client.clings = True
        client.system("quit")
        self.assertHears(client, "bye")
        client.protocol.writeConnectionLost()
        client.protocol.readConnectionLost()
        self.assertTrue(client.wire.disconnecting)

    def test_noTCP(self) -> None:
        """Any other transport will do."""
        connection = self.network.doors["json"].buildProtocol(None)
        transport = StringTransport()
        connection.makeConnection(transport)
        connection.dataReceived(b"hello\n")
        last = json.loads(transport.value().splitlines()[-1])["data"]
        self.assertEqual((last["keyword"], last["code"]), ("fatal", "malformed-frame"))
        self.assertTrue(transport.disconnecting)
        connection.stopProducing()
        connection.connectionLost()
        self.assertEqual(self.network.planned(), [])

    def test_afterTheEnd(self) -> None:
        """Whatever the transport or the session says after the end is nothing."""
        client = self.network.user("alice")
        client.hang_up()
        client.protocol.dataReceived(b"hello\n")
        client.protocol.resumeProducing()
        client.protocol.send([Ping()])
        client.protocol.close()
        client.protocol.resume()
        self.assertEqual(bytes(client.wire.unread), b"")
        self.assertEqual(self.network.planned(), [])

    def test_shutDown(self) -> None:
        """When the server stops everyone is told, logged in or not, after the answers still due."""
        waiting = self.network.connect("der")
        alice = self.network.user("alice")
        alice.send("nobody", "hi")
        fired: list[None] = []
        for door in self.network.doors.values():
            door.shut_down().addCallback(fired.append)
        self.assertEqual(len(fired), 1)  # nobody is at the text door
        self.assertHears(waiting, "fatal shutting-down")
        self.assertHears(alice, "accepted", "fatal shutting-down")
        self.network.settle()
        self.assertEqual(len(fired), 3)

    def test_tooLate(self) -> None:
        """Whom a proxy brings when the server stops already is not let in."""
        door = self.network.doors["json"]
        self.successResultOf(door.shut_down())
        wire = Wire(door.buildProtocol(None))
        wire.protocol.makeConnection(wire)
        self.assertTrue(wire.aborted)
        self.assertEqual(bytes(wire.unread), b"")
        self.assertEqual(door.connections, set())

    def test_abort(self) -> None:
        """Those who do not go are made to."""
        client = self.network.user("alice")
        client.clings = True
        fired: list[None] = []
        door = self.network.doors["json"]
        door.shut_down().addCallback(fired.append)
        self.assertHears(client, "fatal shutting-down")
        self.assertEqual(fired, [])
        door.abort()
        self.assertTrue(client.wire.aborted)
        self.assertEqual(fired, [None])


class ErrorTests(NetworkTestCase):
    """An error of the server's own is logged, ends that session with a last word, and touches no other."""

    def setUp(self) -> None:
        """Two who talk to each other, and one who will have the error."""
        super().setUp()
        self.alice = self.network.user("alice")
        self.bob = self.network.user("bob")
        self.carol = self.network.user("carol")

    def assertAlone(self) -> None:
        """Carol's session ended with a last word and one logged error; the others go on."""
        self.assertEqual(keywords(self.carol.hear())[-1:], ["fatal internal-error"])
        self.assertTrue(self.carol.ended)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.alice.send("bob", "hi")
        self.assertHears(self.alice, "accepted")
        self.assertHears(self.bob, "message")
        self.assertHears(self.network.user("carol"))

    def break_once(self, owner: Any, name: str) -> None:
        """The next call of this function fails."""
        function = getattr(owner, name)

        def broken(*arguments: Any, **keywords: Any) -> Any:
            setattr(owner, name, function)
            raise ZeroDivisionError("on purpose")

        self.patch(owner, name, broken)

    def test_render(self) -> None:
        """An answer that cannot be encoded."""
        self.break_once(self.carol.protocol._translator, "render")
        self.carol.system("ping")
        self.assertAlone()

    def test_renderOfAcceptance(self) -> None:
        """An acceptance that cannot be encoded; the message itself reaches its recipient."""
        self.carol.send("bob", "hi")
        self.break_once(self.carol.protocol._translator, "render")
        self.assertHears(self.bob, "message")
        self.assertAlone()

    def test_renderOfDelivery(self) -> None:
        """A message that one of its recipient's sessions cannot be shown; the other one is."""
        other = self.network.user("carol")
        self.alice.send("carol", "hi")
        self.break_once(self.carol.protocol._translator, "render")
        self.assertHears(self.alice, "accepted")
        self.assertHears(other, "message")
        other.hang_up()
        self.assertEqual(keywords(self.carol.hear())[-1:], ["fatal internal-error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_session(self) -> None:
        """A frame that the session cannot deal with."""
        self.break_once(Session, "_user")
        self.carol.system("ping")
        self.assertAlone()

    def test_command(self) -> None:
        """A command that goes wrong on its way."""
        self.break_once(self.network.mailroom, "listing")
        self.carol.system("list", box="inbox")
        self.assertAlone()

    def test_store(self) -> None:
        """A store that fails for a reason that is nobody's fault here."""
        self.break_once(self.network.store._accept, "perform")
        self.carol.send("bob", "hi")
        self.carol.system("ping")
        self.assertAlone()

    def test_feed(self) -> None:
        """A mailbox that cannot be shown."""
        self.bob.send("carol", "hi")
        self.assertHears(self.bob, "accepted")
        self.assertHears(self.carol, "message")
        self.carol.hang_up()
        self.carol = self.network.connect()
        self.break_once(Feed, "_show")
        self.carol.say_login("carol")
        self.assertEqual(keywords(self.carol.hear())[-2:], ["welcome", "fatal internal-error"])
        self.assertTrue(self.carol.ended)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_drained(self) -> None:
        """An error while a reader catches up."""
        self.carol.reads = False
        for _ in range(5):
            self.alice.send("carol", "x" * 60_000)
        self.assertHears(self.alice, *["accepted"] * 5)
        self.break_once(Session, "drained")
        self.carol.reads = True
        self.assertAlone()

    def test_greeting(self) -> None:
        """An error in the first word is told, too."""
        self.carol.hang_up()
        self.break_once(Session, "start")
        self.carol = Client(self.network)
        self.network.clients.append(self.carol)
        self.assertAlone()

    def test_timeout(self) -> None:
        """An error while a login runs out of time."""
        self.carol.hang_up()
        self.carol = self.network.connect()
        self.break_once(Session, "end")
        self.network.pass_time(61)
        self.assertAlone()

    def test_shutDown(self) -> None:
        """An error while the server stops keeps nobody else from being told."""
        self.break_once(Session, "end")
        self.network.doors["json"].shut_down()
        heard = [keywords(client.hear())[-1] for client in (self.alice, self.bob, self.carol)]
        self.assertEqual(sorted(heard), ["fatal internal-error"] + ["fatal shutting-down"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_evenTheEnd(self) -> None:
        """A session that cannot even say that it failed is cut off."""

        def broken(*arguments: object) -> bytes:
            raise ZeroDivisionError("on purpose")

        self.patch(self.carol.protocol._translator, "render", broken)
        self.carol.system("ping")
        self.network.settle()
        self.assertTrue(self.carol.wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(len(self.network.doors["json"].connections), 2)

    def test_nothingSecretIsLogged(self) -> None:
        """The log tells what went wrong, and nobody's password or message."""
        self.break_once(Session, "_user")
        self.carol.send("bob", "SECRET BODY", subject="SECRET SUBJECT", ref="c1")
        self.carol.system("change-password", password="SECRET OLD", new="SECRET NEW")
        self.carol.hear()
        (failure,) = self.flushLoggedErrors(ZeroDivisionError)
        self.assertNotIn("SECRET", failure.getTraceback())
        self.assertNotIn("SECRET", repr(failure))
