"""What every request at the web door can rely on, and what none can do to it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from twisted.internet.address import UNIXAddress
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from chat.limits.crowd import LIGHT, TOLD_AT_ONCE, Crowd
from chat.tls.credentials import Credentials
from chat.tls.door import Door
from chat.web import files
from chat.web.channel import (
    AHEAD,
    BODY_BYTES,
    LINGER,
    PATIENCE,
    REQUEST_TIME,
    REQUESTS_AT_ONCE,
    SLOWEST,
    Channel,
)
from chat.web.door import PLAINTEXT, PROTOCOLS
from chat.web.origins import Origins
from chat.web.proxies import Proxies
from chat.web.site import NOT_DONE_YET, ChatSite, Request
from tests.network import NetworkTestCase
from tests.tls import TLSClient, given
from tests.web import HERE, THERE, Response, ask, knock, open_site, parse, request
from tests.wire import Wire

#: What keeps a browser careful, as the operator of a server would look for it.
CAREFUL = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Echo(Resource):
    """Says what it was told; or waits, breaks, or says nothing, as the path asks."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Request] = []

    def render_POST(self, request: Request) -> bytes:
        """What came, whole, though it calls itself a form."""
        self.asked.append(request)
        content: Any = request.content
        return bytes(content.read())

    def render_GET(self, request: Request) -> Any:
        """What the last part of the path asks for."""
        self.asked.append(request)
        wanted = request.postpath[-1] if request.postpath else b""
        if wanted == b"wait":
            return NOT_DONE_YET
        if wanted == b"break":
            raise ZeroDivisionError
        if wanted == b"broken":
            request.write(b"half of it")
            raise ZeroDivisionError
        return str(request.getClientAddress()).encode()


#: Requests that have no end yet.
HALVES = (b"GET / HT", b"GET / HTTP/1.1\r\n", request("/echo", "POST", b"hello")[:-1])


class DoorTestCase(NetworkTestCase):
    """A web door, with a room of the test's own."""

    def setUp(self) -> None:
        """Open it."""
        super().setUp()
        self.echo = Echo()
        self.open()

    def open(self, **settings: Any) -> ChatSite:
        """Open another."""
        self.site = open_site(self.network, **{"rooms": {b"echo": self.echo}, **settings})
        return self.site

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Response:
        """What a request is answered with; whatever it is, the browser stays careful."""
        response = ask(self.site, path, method, body, **headers)
        self.assertEqual({name: response.headers.get(name) for name in CAREFUL}, CAREFUL)
        self.assertNotIn("Server", response.headers)
        if method != "HEAD" and response.status != 304:
            self.assertEqual(int(response.headers["Content-Length"]), len(response.body))
        return response

    def refused(self, octets: bytes) -> Response:
        """What the server says to these bytes before it hangs up."""
        wire = knock(self.site)
        wire.arrive(octets)
        self.assertTrue(wire.half_closed)
        response = parse(wire.read())
        self.assertEqual({name: response.headers.get(name) for name in CAREFUL}, CAREFUL)
        self.assertEqual(response.headers["Connection"], "close")
        wire.arrive(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(wire.read(), b"")
        wire.lose()
        return response


class PageTests(DoorTestCase):
    """The files of the page."""

    def test_index(self) -> None:
        """The page is at the root, and by its name; what it needs is beside it."""
        page = self.ask("/")
        self.assertEqual((page.status, page.headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertEqual(self.ask("/index.html").body, page.body)
        named = set(re.findall(rb'(?:src|href)="([^":#]+)"', page.body))
        self.assertTrue(named)
        for name in named:
            self.assertFalse(name.startswith(b"/"), name)
            self.assertEqual(self.ask(f"/{name.decode()}").status, 200, name)

    def test_kinds(self) -> None:
        """Every file has a kind that browsers take it by."""
        named = set(re.findall(r'(?:src|href)="([^":#]+)"', self.ask("/").body.decode()))
        kinds = {name.rpartition(".")[2]: self.ask(f"/{name}").headers["Content-Type"] for name in named}
        expected = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
        self.assertEqual(kinds, {**expected, "svg": "image/svg+xml"})

    def test_unchanged(self) -> None:
        """A browser that has the file already is told so, and nothing more."""
        first = self.ask("/")
        self.assertEqual(first.headers["Cache-Control"], "no-cache")
        again = self.ask("/", If_None_Match=first.headers["ETag"])
        self.assertEqual((again.status, again.body), (304, b""))
        tag = again.headers["ETag"]
        self.assertEqual(tag, first.headers["ETag"])
        for tags in (f"W/{tag}", f'"other",{tag}', f'"other", W/{tag}', "*"):
            self.assertEqual(self.ask("/", If_None_Match=tags).status, 304, tags)
        for tags in ('"other"', tag.strip('"'), ""):
            self.assertEqual(self.ask("/", If_None_Match=tags).status, 200, tags)

    def test_edition(self) -> None:
        """What the page needs is kept by browsers for good, under names that no other version has."""
        one = files.Edition({"a.js": b"1", "b.js": b"2"})
        names = {one.name}
        for contents in ({"a.js": b"1", "b.js": b"3"}, {"a.js": b"1"}, {"a.js": b"1", "c.js": b"2"}):
            names.add(files.Edition(contents).name)
        self.assertEqual(len(names), 4)
        self.assertEqual(files.Edition({"b.js": b"2", "a.js": b"1"}).name, one.name)
        index = b'<a href="#a.js"><script src="a.js"></script><link href="https://a.js"><a href="c.js">a.js'
        self.open(rooms={b"first": one.begins(index), one.name.encode(): one})
        shown = index.replace(b'src="', f'src="{one.name}/'.encode())
        self.assertEqual(self.ask("/first").body, shown)
        found = self.ask(f"/{one.name}/a.js")
        self.assertEqual((found.body, found.headers["Cache-Control"]), (b"1", "max-age=31536000, immutable"))
        for path in (f"/{one.name}/c.js", f"/{one.name}/", f"/{one.name}"):
            self.assertEqual(self.ask(path).problem, (404, "not-found"))

    def test_packed(self) -> None:
        """Who can unpack gets less, under another tag; who cannot is not troubled."""
        plain = self.ask("/")
        for accepted in ("gzip", "br, gzip;q=0.5", "x-gzip", "GZIP"):
            packed = self.ask("/", Accept_Encoding=accepted)
            self.assertEqual(packed.headers["Content-Encoding"], "gzip")
            self.assertEqual(gzip.decompress(packed.body), plain.body)
            self.assertNotEqual(packed.headers["ETag"], plain.headers["ETag"])
            self.assertEqual(packed.headers["Vary"], "Accept-Encoding")
        for accepted in ("br", "gzip;q=0", "gzip; q=0.000", "identity"):
            self.assertEqual(self.ask("/", Accept_Encoding=accepted).body, plain.body)

    def test_notWorthIt(self) -> None:
        """What would only grow is not packed."""
        self.open(rooms={b"small": files.File("text/plain", b"x")})
        self.assertEqual(self.ask("/small", Accept_Encoding="gzip").body, b"x")

    def test_head(self) -> None:
        """HEAD tells what GET would bring, without it."""
        got, head = self.ask("/"), self.ask("/", "HEAD")
        self.assertEqual(head.body, b"")
        self.assertEqual(head.headers["Content-Length"], got.headers["Content-Length"])
        self.assertEqual(head.headers["ETag"], got.headers["ETag"])

    def test_star(self) -> None:
        """The server itself can be asked whether it is there, and for nothing else."""
        asked = self.ask("*", "OPTIONS")
        self.assertEqual((asked.status, asked.body), (200, b""))
        refused = self.ask("*")
        self.assertEqual(refused.problem, (405, "method-not-allowed"))
        self.assertEqual(refused.headers["Allow"], "OPTIONS")

    def test_nothing(self) -> None:
        """What there is not is said in one line, and is no place to look at the disk from."""
        for path in (
            "/nothing",
            "/style.css/",
            "//",
            "/../site.py",
            "/%2e%2e/site.py",
            "/..%2fsite.py",
            "/%00",
            "/page/index.html",
            "http://elsewhere.example/nothing",
            "nothing",
        ):
            self.assertEqual(self.ask(path).problem, (404, "not-found"), path)
        self.assertEqual(self.ask("/?nothing").status, 200)

    def test_methods(self) -> None:
        """A file can be looked at, and nothing else."""
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get"):
            response = self.ask("/", method)
            self.assertEqual(response.problem, (405, "method-not-allowed"), method)
            self.assertEqual(response.headers["Allow"], "GET, HEAD")


class BodyTests(DoorTestCase):
    """What a request brings."""

    def test_raw(self) -> None:
        """The body is what was sent, whatever it is called."""
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
            self.assertEqual(self.ask("/echo", "POST", b"a=b&c", Content_Type=kind).body, b"a=b&c")

    def test_chunked(self) -> None:
        """It may come in chunks."""
        body = b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
        wire = knock(self.site)
        wire.arrive(request("/echo", "POST", Transfer_Encoding="chunked") + body)
        self.assertEqual(parse(wire.read()).body, b"hello!")

    def test_largest(self) -> None:
        """As much as a frame may have is taken."""
        self.assertEqual(self.ask("/echo", "POST", b"x" * BODY_BYTES).body, b"x" * BODY_BYTES)

    def test_tooLarge(self) -> None:
        """More is refused before it comes, to whoever waits for the word as well."""
        head = request("/echo", "POST", Content_Length=str(BODY_BYTES + 1), Expect="100-continue")
        self.assertEqual(self.refused(head).problem, (413, "too-large"))
        self.assertEqual(self.refused(head + b"x" * 10_000).problem, (413, "too-large"))
        self.assertEqual(self.echo.asked, [])

    def test_tooManyChunks(self) -> None:
        """In chunks, as soon as it is more."""
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        head = request("/echo", "POST", Transfer_Encoding="chunked")
        self.assertEqual(self.refused(head + chunk * 9).problem, (413, "too-large"))
        self.assertEqual(self.refused(head + chunk * 8 + b"1\r\nx\r\n0\r\n\r\n").problem, (413, "too-large"))
        self.assertEqual(self.echo.asked, [])

    def test_continue(self) -> None:
        """Who asks whether it may go on with a body that is not too long is told so."""
        wire = knock(self.site)
        wire.arrive(request("/echo", "POST", Content_Length="2", Expect="100-continue"))
        self.assertEqual(wire.read(), b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.arrive(b"ok")
        self.assertEqual(parse(wire.read()).body, b"ok")

    def test_weighed(self) -> None:
        """What came of a body that is not whole is weighed, until it is answered or nobody is there."""
        crowd = Crowd()
        self.open(crowd=crowd)
        wire = knock(self.site)
        wire.arrive(request("/echo", "POST", Content_Length=str(BODY_BYTES)) + b"x" * 4 * LIGHT)
        self.assertEqual(crowd.weight, 4 * LIGHT)
        wire.arrive(b"x" * (BODY_BYTES - 4 * LIGHT))
        self.assertEqual(parse(wire.read()).status, 200)
        self.assertEqual(crowd.weight, 0)
        wire.arrive(request("/echo", "POST", Content_Length=str(BODY_BYTES)) + b"x" * 4 * LIGHT)
        wire.lose()
        self.assertEqual(crowd.weight, 0)


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


class HalfClosedTests(DoorTestCase):
    """A client says that it will say nothing more, as nc -N does."""

    def end(self, octets: bytes) -> Wire:
        """The client says this, and no more."""
        wire = knock(self.site)
        if octets:
            wire.arrive(octets)
        wire.protocol.readConnectionLost()
        return wire

    def test_answered(self) -> None:
        """It gets the answer that is due, and then the connection closes, without waiting for it."""
        wire = self.end(request("/echo/wait"))
        self.network.clock.advance(PATIENCE - 1)
        self.assertFalse(wire.disconnecting)
        (waiting,) = self.echo.asked
        waiting.write(b"here")
        waiting.finish()
        self.assertIn(b"here", wire.read())
        self.assertEqual((wire.disconnecting, wire.half_closed), (True, False))
        self.network.clock.advance(PATIENCE)
        self.assertFalse(wire.aborted)  # it may read slowly
        wire.lose()
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """An answer that takes its time is for nobody: it may be gone."""
        wire = self.end(request("/echo/wait"))
        self.network.clock.advance(PATIENCE)
        self.assertTrue(wire.aborted)

    def test_half(self) -> None:
        """Who has not said all is told so."""
        for octets in HALVES:
            for before in (b"", request("/")):
                wire = self.end(before + octets)
                *_, last = wire.read().rpartition(b"HTTP/1.1 ")
                self.assertEqual(parse(b"HTTP/1.1 " + last).problem, (400, "bad-request"))
                self.assertTrue(wire.disconnecting)
        self.assertEqual(self.echo.asked, [])

    def test_nothing(self) -> None:
        """Who has asked nothing, or was answered, is hung up on."""
        wire = self.end(b"")
        self.assertEqual((wire.disconnecting, wire.read()), (True, b""))
        wire = self.end(request("/echo"))
        self.assertEqual(parse(wire.read()).status, 200)
        self.assertTrue(wire.disconnecting)

    def test_refused(self) -> None:
        """Nor is anybody waited for who was told that this is no request."""
        wire = knock(self.site)
        wire.arrive(b"hello\r\n")
        self.assertEqual((wire.disconnecting, wire.half_closed), (False, True))
        wire.protocol.readConnectionLost()
        self.assertTrue(wire.disconnecting)


class ShutDownTests(DoorTestCase):
    """The server stops."""

    def test_nobody(self) -> None:
        """With nobody there it is done."""
        self.successResultOf(self.site.shut_down())

    def test_idle(self) -> None:
        """Connections on which nothing is asked are closed; half a request is not waited for, but told."""
        idle, answered = knock(self.site), knock(self.site)
        answered.arrive(request("/"))
        answered.read()
        halves = [knock(self.site) for _ in HALVES * 2]
        for half, octets in zip(halves, (*HALVES, *(request("/") + each for each in HALVES))):
            half.arrive(octets)
            if octets not in HALVES:
                self.assertTrue(half.read())
        stopped = self.site.shut_down()
        self.assertNoResult(stopped)
        for wire in (idle, answered):
            self.assertEqual((wire.half_closed, wire.read()), (True, b""))
            wire.lose()
        for half in halves:
            self.assertTrue(half.half_closed)
            self.assertEqual(parse(half.read()).problem, (503, "shutting-down"))
            half.lose()
        self.successResultOf(stopped)

    def test_asked(self) -> None:
        """What was asked is answered, and what is asked behind it is not."""
        wire = knock(self.site)
        wire.arrive(request("/echo/wait") + request("/echo"))
        stopped = self.site.shut_down()
        self.assertFalse(wire.half_closed)
        (waiting,) = self.echo.asked
        waiting.write(b"here")
        waiting.finish()
        self.assertIn(b"here", wire.read())
        self.assertTrue(wire.half_closed)
        wire.lose()
        self.successResultOf(stopped)
        self.assertEqual(len(self.echo.asked), 1)

    def test_abort(self) -> None:
        """What does not end is cut."""
        wire = knock(self.site)
        wire.arrive(request("/echo/wait"))
        stopped = self.site.shut_down()
        self.site.abort()
        self.assertTrue(wire.aborted)
        self.successResultOf(stopped)

    def test_twice(self) -> None:
        """To hang up twice is as good as once."""
        wire = knock(self.site)
        (channel,) = self.site.channels
        channel.loseConnection()
        channel.loseConnection()
        self.network.clock.advance(LINGER)
        self.assertTrue(wire.aborted)


class EncryptedTests(DoorTestCase):
    """Through TLS."""

    def client(self, silent: bool = False) -> TLSClient:
        """A client that has shaken hands, or is about to."""
        folder = Path(self.mktemp())
        folder.mkdir()
        credentials = Credentials(given(folder), self.network.clock.seconds)
        door = Door(self.site, PROTOCOLS, PLAINTEXT)
        door.open_encrypted(credentials.speaking(door.protocols), self.network.clock)
        client = TLSClient(door, ["http/1.1"], None, silent)
        self.addCleanup(client.wire.lose)
        self.network.clock.advance(0)
        return client

    def test_talk(self) -> None:
        """What is asked is answered, and the connection ends as it should."""
        client = self.client()
        client.say(request("/echo", Connection="close"))
        self.network.clock.advance(0)
        self.assertEqual(parse(client.hear()).status, 200)
        self.assertTrue(client.closed)

    def test_neverDone(self) -> None:
        """Who never shakes hands is cut after a time."""
        client = self.client(silent=True)
        client.wire.arrive(b"\x16\x03\x01")
        self.network.clock.advance(REQUEST_TIME)
        self.assertTrue(client.wire.aborted)
        self.assertEqual(self.site.channels, set())

    def test_plaintext(self) -> None:
        """Who speaks no TLS is told what to do."""
        client = self.client(silent=True)
        client.wire.arrive(request("/"))
        self.assertEqual(parse(client.wire.read()).problem, (400, "tls-needed"))


class SettingsTests(DoorTestCase):
    """What the operator says of the web door is checked."""

    def test_origins(self) -> None:
        """An origin is what browsers call one."""
        for name in ("chat.example", "https://chat.example/page", "ftp://a", "https://", "https://a?b", ""):
            self.assertRaises(ValueError, Origins, [name])

    def test_proxies(self) -> None:
        """A proxy is an address, a network, or the word for UNIX sockets."""
        for name in ("proxy.example", "10.0.0.0/33", ""):
            self.assertRaises(ValueError, Proxies, [name])
        self.assertEqual(Proxies(["10.1.2.3/8"]).asker(HERE, [b"192.0.2.1"]), HERE)

    def test_unix(self) -> None:
        """Who connects to a UNIX socket has no address; it is believed only if that was said."""
        local = UNIXAddress("/run/chat/web")
        self.assertEqual(Proxies().asker(local, [b"192.0.2.7"]), local)
        asker: Any = Proxies(["unix"]).asker(local, [b"192.0.2.7"])
        self.assertEqual(asker.host, THERE.host)
