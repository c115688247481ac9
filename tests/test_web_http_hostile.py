"""What no request can do to the web door."""

from __future__ import annotations

import re
from random import Random
from typing import ClassVar

from twisted.python.failure import Failure

from chat.limits.crowd import TOLD_AT_ONCE, Crowd
from chat.web.channel import (
    AHEAD,
    LINGER,
    REQUEST_TIME,
    REQUESTS_AT_ONCE,
    SLOWEST,
    Channel,
)
from tests.web import knock, parse, request
from tests.web_case import HALVES, DoorTestCase
from tests.wire import Wire


class HostileTests(DoorTestCase):
    """What is no request is refused in words, and costs no more than that."""

    def test_smuggling(self) -> None:
        """A request whose end can be understood in two ways is not understood at all."""
        for head in (
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Content-Length: +5",
            "Content-Length: 5, 5",
            "Content-Length: 0x5",
            "Content-Length: -5",
            "Content-Length : 5",
            "Content-Length: 5\x00",
            "No colon",
        ):
            octets = (
                f"POST /echo HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\nhelloGET /echo HTTP/1.1\r\n\r\n".encode()
            )
            self.assertEqual(self.refused(octets).problem, (400, "bad-request"), head)
        self.assertEqual(self.echo.asked, [])

    def test_chunks(self) -> None:
        """Chunks that are none end the connection."""
        head = request("/echo", "POST", Transfer_Encoding="chunked")
        for body in (b"x\r\n", b"-1\r\n", b"5\r\nhello!!\r\n", b"1;" + b"x" * 20_000):
            self.assertEqual(self.refused(head + body).problem, (400, "bad-request"), body[:10])

    def test_lines(self) -> None:
        """What is not HTTP is told so."""
        for octets in (
            b"hello\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1 more\r\n\r\n",
            b"\x16\x03\x01\x00\xee\x01\x00\r\n",
            b"SSH-2.0-x\r\n\r\n",
            b'{"type":"login","data":{"field":"username","value":"alice"}}\n' * 2 + b"\r\n",
            b"GET /" + b"x" * 20_000,
            b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        ):
            self.assertEqual(self.refused(octets).problem, (400, "bad-request"), octets[:20])

    def test_linesBehind(self) -> None:
        """Of what came with a line that is no HTTP, nothing is looked at any more."""
        lines: list[bytes] = []
        receive = Channel.lineReceived

        def look(channel: Channel, line: bytes) -> None:
            lines.append(line)
            receive(channel, line)

        self.patch(Channel, "lineReceived", look)
        self.assertEqual(self.refused(b"hello\r\n" + b"\r\n" * 30_000).problem, (400, "bad-request"))
        self.assertEqual(lines, [b"hello"])

    def test_heads(self) -> None:
        """Ten thousand headers are too many, however short; so is one that is too long, in lines or not."""
        first = b"GET /echo HTTP/1.1\r\n"
        for lines in (
            b"A: b\r\n" * 10_000,
            b"A: " + b"b" * 17_000 + b"\r\n",
            b"A: b\r\n" + b" c\r\n" * 9_000,
        ):
            self.assertEqual(self.refused(first + lines + b"\r\n").problem, (400, "bad-request"))
        self.assertEqual(self.echo.asked, [])

    def test_slow(self) -> None:
        """A request has a time to come in whole that does not begin anew with each of its bytes."""
        for octets in (request("/echo", More="x" * 200), request("/echo", "POST", b"x" * 200)):
            wire = knock(self.site)
            self.network.clock.advance(REQUEST_TIME - 1)
            each = 0
            while not wire.half_closed:
                self.assertLess(each, 62)
                wire.arrive(octets[each : each + 1])
                self.network.clock.advance(1)
                each += 1
            self.assertEqual(parse(wire.read()).problem, (408, "request-timeout"))
            self.assertEqual(each, REQUEST_TIME)
            wire.lose()

    def test_slowBehind(self) -> None:
        """So has one that begins in the same bytes as an answered one ends."""
        for octets in HALVES:
            wire = knock(self.site)
            wire.arrive(request("/echo") + octets)
            self.assertEqual(parse(wire.read()).status, 200)
            self.network.clock.advance(REQUEST_TIME)
            self.assertEqual(parse(wire.read()).problem, (408, "request-timeout"))
            wire.lose()

    def test_slowFirstLine(self) -> None:
        """So has its first line; and who ends lines in another way is told how they end."""
        for octets in (b"GET / HT", b"GET / HTTP/1.0\nHost: chat.example\n\n"):
            wire = knock(self.site)
            wire.arrive(octets)
            self.network.clock.advance(REQUEST_TIME)
            response = parse(wire.read())
            self.assertEqual(response.problem, (408, "request-timeout"))
            self.assertIn(b"CR LF", response.body)
            wire.lose()

    def test_hosts(self) -> None:
        """A request that names no server, or two, is none; before HTTP/1.1 none need be named."""
        for head in (b"GET /echo HTTP/1.1\r\n", b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n"):
            wire = knock(self.site)
            wire.arrive(head + b"\r\n")
            self.assertEqual(parse(wire.read()).problem, (400, "bad-request"))
        self.assertEqual(self.echo.asked, [])
        wire = knock(self.site)
        wire.arrive(b"GET /echo HTTP/1.0\r\n\r\n")
        self.assertEqual(parse(wire.read()).status, 200)

    def test_absolute(self) -> None:
        """What is asked for by a whole address, as proxies are asked, is what its path says."""
        for address in ("http://chat.example/echo", "HTTPS://other.example:1/echo?x=/y"):
            self.assertEqual(self.ask(address).status, 200)
        self.assertEqual(self.ask("http://chat.example").status, 200)
        self.assertEqual(self.ask("ftp://chat.example/echo").status, 404)

    def test_idle(self) -> None:
        """A connection on which nothing is asked is closed after a time, without a word."""
        wire = knock(self.site)
        wire.arrive(request("/echo"))
        wire.read()
        self.network.clock.advance(REQUEST_TIME)
        self.assertEqual((wire.half_closed, wire.read()), (True, b""))
        self.network.clock.advance(LINGER)
        self.assertTrue(wire.aborted)
        self.assertEqual(self.site.channels, set())

    def test_takesTime(self) -> None:
        """An answer may take its time."""
        wire = knock(self.site)
        wire.arrive(request("/echo/wait"))
        self.network.clock.advance(100 * REQUEST_TIME)
        self.assertFalse(wire.half_closed)
        (waiting,) = self.echo.asked
        waiting.finish()
        self.assertEqual(parse(wire.read()).status, 200)

    def test_doesNotRead(self) -> None:
        """Who asks much and reads nothing is not heard any more; all of it is answered when they do."""
        wire = knock(self.site)
        for _ in range(100):
            wire.arrive(request("/") * 10)
        self.assertEqual(wire.producerState, "paused")
        self.assertLess(wire.most_unread, wire.window + 20 * len(self.ask("/").body))
        heard = b""
        while octets := wire.read():
            heard += octets
            self.network.clock.advance(0)
        self.assertEqual(heard.count(b"HTTP/1.1 200 OK"), 1000)
        self.assertEqual(wire.producerState, "producing")
        wire.lose()

    def test_sendsOn(self) -> None:
        """Who sends on behind a request that is being answered is read no further, reading or not."""
        one = request("/echo", More="x" * 1000)
        for written in (0, 2 * Wire.window):
            wire = knock(self.site)
            wire.arrive(request("/echo/wait"))
            waiting = self.echo.asked[-1]
            waiting.write(b"x" * written)
            for _ in range(100):
                wire.arrive(one)
            self.assertEqual(wire.producerState, "paused")
            taken = 100 * len(one) - sum(map(len, wire.unsent))
            self.assertLessEqual(taken, AHEAD + len(one))
            asked = len(self.echo.asked)
            waiting.finish()
            while wire.read():
                self.network.clock.advance(0)
            self.assertEqual((len(self.echo.asked) - asked, wire.producerState), (100, "producing"))
            wire.arrive(request("/echo/wait") + one * 10)
            self.assertEqual(wire.producerState, "producing")
            wire.lose()

    def test_sendsOnToTheEnd(self) -> None:
        """What they send is not read when they are hung up on, but their end of it is seen."""
        wire = knock(self.site)
        wire.arrive(request("/echo/wait", Connection="close"))
        for _ in range(2 * AHEAD // 1000):
            wire.arrive(b"x" * 1000)
        self.assertEqual(wire.producerState, "paused")
        self.echo.asked[-1].finish()
        self.assertEqual((wire.half_closed, wire.producerState), (True, "producing"))

    def test_readsSlowly(self) -> None:
        """Who reads slowly has the time for it, also where the connection is to be closed then."""
        for headers in ({"Connection": "close"}, {}):
            wire = knock(self.site)
            wire.arrive(request("/echo/wait", **headers))
            waiting = self.echo.asked[-1]
            waiting.write(b"x" * 100 * SLOWEST)
            waiting.finish()
            while not wire.half_closed or wire.unread:
                self.assertFalse(wire.aborted)
                wire.read(10 * SLOWEST)
                self.network.clock.advance(10)
            self.network.clock.advance(LINGER + 100)
            self.assertTrue(wire.aborted)

    def test_turns(self) -> None:
        """Who asks very much at once lets the others have their turn, and is not read meanwhile."""
        wire = knock(self.site)
        wire.window = 1 << 20
        wire.arrive(request("/echo") * 3 * REQUESTS_AT_ONCE)
        self.assertEqual(len(self.echo.asked), REQUESTS_AT_ONCE)
        self.assertEqual(wire.producerState, "paused")
        self.network.clock.advance(0)
        self.assertEqual(len(self.echo.asked), 3 * REQUESTS_AT_ONCE)
        self.assertEqual(wire.producerState, "producing")
        wire.arrive(request("/echo") * 2 * REQUESTS_AT_ONCE)
        wire.lose()
        self.network.clock.advance(0)
        self.assertEqual(len(self.echo.asked), 4 * REQUESTS_AT_ONCE)

    def test_error(self) -> None:
        """An error in the server is logged, and told without a word of what it was."""
        response = self.ask("/echo/break")
        self.assertEqual(response.problem, (500, "internal-error"))
        self.assertNotIn(b"ZeroDivision", response.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_errorInTheMiddle(self) -> None:
        """An answer that cannot be brought to its end does not look as if it had been."""
        wire = knock(self.site)
        wire.arrive(request("/echo/broken"))
        self.assertTrue(wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_errorForNobody(self) -> None:
        """An error for somebody who is not there any more is logged, and that is all."""
        wire = knock(self.site)
        wire.arrive(request("/echo/wait"))
        (waiting,) = self.echo.asked
        wire.lose()
        waiting.processingFailed(Failure(ZeroDivisionError()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class CuttingTests(DoorTestCase):
    """Requests one behind the other, in bytes that are cut anywhere, to a client that reads as it likes."""

    #: Requests, and with what status each is answered.
    EACH: ClassVar = (
        (request("/nothing"), 404),
        (request("/echo", "POST", b"x" * 3000), 200),
        (request("/echo", "POST", b"x" * 70_000), 200),
        (request("/echo", "POST", Transfer_Encoding="chunked") + b"3\r\nabc\r\n0\r\n\r\n", 200),
        (request("/echo/wait"), 200),
        (request("/", "DELETE"), 405),
        (request("/echo"), 200),
    )

    def test_anywhere(self) -> None:
        """Each is answered, in order, however the bytes are cut; and the last one closes the connection."""
        for seed in range(25):
            random = Random(seed)
            requests = random.choices(self.EACH, k=random.randrange(2 * REQUESTS_AT_ONCE))
            stream = b"".join(octets for octets, _ in requests) + request("/", Connection="close")
            wire = knock(self.site)
            heard = b""
            for _ in range(5000):
                if wire.producerState == "producing":
                    piece = random.choice((3, 300, 30_000, 100_000))
                    wire.arrive(stream[:piece])
                    stream = stream[piece:]
                heard += wire.read(random.choice((0, 10, 3_000, 1 << 20)))
                self.network.clock.advance(0)
                self.answer_late()
                if wire.half_closed and not wire.unread:
                    break
            wire.lose()
            statuses = [int(each) for each in re.findall(rb"HTTP/1.1 (\d+)", heard)]
            self.assertEqual(statuses, [*(status for _, status in requests), 200], seed)

    def answer_late(self) -> None:
        """Answer what was not answered at once."""
        if self.echo.asked and self.echo.asked[-1].path.endswith(b"/wait"):
            self.echo.asked.pop().finish()


class CrowdTests(DoorTestCase):
    """Connections are counted like those of any door."""

    def test_full(self) -> None:
        """Who comes when it is full is told, and told when to come again; then there is room again."""
        crowd = Crowd(most=1)
        self.open(crowd=crowd)
        inside = knock(self.site)
        wire = knock(self.site)
        wire.arrive(request("/"))
        response = parse(wire.read())
        self.assertEqual(response.problem, (503, "too-many-connections"))
        self.assertEqual(response.headers["Retry-After"], "60")
        self.assertTrue(wire.half_closed)
        wire.lose()
        inside.lose()
        self.assertEqual(self.ask("/").status, 200)

    def test_flood(self) -> None:
        """When very many come in vain, the rest are hung up on."""
        self.open(crowd=Crowd(most=1))
        wires = [knock(self.site) for _ in range(TOLD_AT_ONCE + 2)]
        self.assertEqual([wire.aborted for wire in wires], [False] * (TOLD_AT_ONCE + 1) + [True])
        for wire in wires:
            wire.lose()

    def test_asker(self) -> None:
        """Who asks is the other end, unless the operator believes that to be a proxy."""
        self.assertIn(b"127.0.0.1", self.ask("/echo", X_Forwarded_For="192.0.2.9").body)
        self.assertTrue(self.echo.asked[-1].forwarded)
        self.open(proxies=["127.0.0.1"])
        self.assertIn(b"192.0.2.9", self.ask("/echo", X_Forwarded_For="192.0.2.9").body)
        self.assertIn(b"127.0.0.1", self.ask("/echo").body)
        self.assertFalse(self.echo.asked[-1].forwarded)
