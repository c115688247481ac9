"""The connection: back-pressure, and how it ends."""

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
from chat.protocol import LINGER
from chat.session import Session
from chat.store.mailboxes import PAGE_BYTES
from tests.network import Client, NetworkTestCase
from tests.talker import keywords
from tests.wire import Wire


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
