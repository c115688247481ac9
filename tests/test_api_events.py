"""HTTP for programs: what arrives, as a stream of server-sent events."""

from __future__ import annotations

from chat.web.api.events import HEARTBEAT
from tests.api import ApiTestCase, Open


class StreamTests(ApiTestCase):
    """C{GET /events}."""

    def follow(self, query: str = "", **headers: str) -> Open:
        """What bob is told from now on."""
        return self.bob.open("GET", f"/events{query}", **headers)

    def test_messages(self) -> None:
        """What waits is shown, then what comes; nothing is confirmed by that."""
        self.alice.send("bob", "one\ntwo")
        stream = self.follow()
        self.assertEqual(
            [(name, event["body"]) for name, event in stream.events()], [("message", "one\ntwo")]
        )
        self.alice.send("bob")
        self.assertEqual([event["id"] for _, event in stream.events()], [1, 2])
        self.assertEqual(self.bob.waiting(), [1, 2])
        # nginx gathers events otherwise, unless its settings say not to.
        self.assertIn(b"\r\nX-Accel-Buffering: no\r\n", stream.read())

    def test_delivered(self) -> None:
        """Who asked for a receipt is told of the delivery."""
        stream = self.alice.open("GET", "/events")
        self.assertEqual(stream.events(), [])
        self.alice.post("/to/bob?receipt=true", b"hello")
        self.bob.say("/received", ids=[1])
        self.assertEqual(stream.events(), [("delivered", {"ids": [1], "time": "2026-11-22T21:07:00.123Z"})])

    def test_coming_back(self) -> None:
        """A browser that comes back goes on where it was, whatever the address said at first."""
        for _ in range(3):
            self.alice.send("bob")
        stream = self.follow("?after=1", Last_Event_ID="2")
        self.assertEqual([event["id"] for _, event in stream.events()], [3])
        self.assertEqual([event["id"] for _, event in self.follow("?after=1").events()], [2, 3])
        self.assertProblem(self.follow(Last_Event_ID="x").response, 400, "bad-parameter")

    def test_heartbeat(self) -> None:
        """A stream without events shows that it is alive; one with events does so by them."""
        stream = self.follow()
        beginning = stream.stream
        self.network.pass_time(15)
        self.assertEqual(stream.stream, beginning + ":\n\n")
        self.alice.send("bob")
        self.network.pass_time(15)
        self.assertEqual(stream.stream.count(":\n\n"), 1)
        self.network.pass_time(15)
        self.assertEqual(stream.stream.count(":\n\n"), 2)

    def test_for_a_time(self) -> None:
        """A stream can be asked to end; the connection is good for the next request then."""
        stream = self.follow("?for=20s")
        self.assertFalse(stream.read().endswith(b"\r\n0\r\n\r\n"))
        self.network.pass_time(15)
        self.network.pass_time(5)
        self.assertTrue(stream.read().endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(self.door_is_open(stream), True)
        stream.hang_up()
        self.assertNothingUnderWay()

    def door_is_open(self, stream: Open) -> bool:
        """Whether the connection stands."""
        return not (stream.wire.half_closed or stream.wire.lost)

    def test_hang_up(self) -> None:
        """Who hangs up leaves nothing behind."""
        stream = self.follow()
        self.assertEqual(stream.events(), [])
        stream.hang_up()
        self.assertNothingUnderWay()
        self.assertEqual(self.network.directory.sessions(2), ())

    def test_end_of_the_server(self) -> None:
        """When the server stops, the stream says so, and ends."""
        stream = self.follow()
        self.assertEqual(stream.events(), [])
        self.door.shut_down()
        ((name, content),) = stream.events()
        self.assertEqual((name, content["code"]), ("end", "shutting-down"))
        self.assertTrue(stream.read().endswith(b"\r\n0\r\n\r\n"))

    def test_slow_reader(self) -> None:
        """A client that does not read costs the server a page; the rest waits, and comes when it reads."""
        for _ in range(40):
            self.alice.post("/to/bob", b"x" * 50_000)
        asked = self.follow()
        asked.wire.reads = False
        self.network.settle()
        held = len(asked.wire.unread)
        self.assertLess(held, 600_000)
        channel = asked.wire.protocol
        self.assertGreater(channel.place.weight, 100_000)  # type: ignore[attr-defined]
        for _ in range(4):
            self.network.pass_time(HEARTBEAT)
        self.assertEqual(len(asked.wire.unread), held)  # nor is it told again and again that it is alive
        asked.read_all()
        self.assertEqual([event["id"] for _, event in asked.events()], list(range(1, 41)))
        self.assertEqual(channel.place.weight, 0)  # type: ignore[attr-defined]

    def test_notices_kept(self) -> None:
        """Of deliveries a client that does not read is told when it reads again; they weigh, too."""
        for _ in range(10):
            self.bob.send("alice", "x" * 50_000)
        stream = self.alice.open("GET", "/events")
        self.network.settle()
        channel = stream.wire.protocol
        before = channel.place.weight  # type: ignore[attr-defined]
        self.alice.post("/to/bob?receipt=true", b"hello")
        self.bob.say("/received", ids=[11])
        self.network.settle()
        self.assertGreater(channel.place.weight, before)  # type: ignore[attr-defined]
        stream.read_all()
        self.assertIn("delivered", [name for name, _ in stream.events()])
