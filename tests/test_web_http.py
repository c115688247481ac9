"""What every request at the web door can rely on."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

from twisted.internet.address import UNIXAddress

from chat.limits.crowd import LIGHT, Crowd
from chat.tls.credentials import Credentials
from chat.tls.door import Door
from chat.web import files
from chat.web.channel import (
    BODY_BYTES,
    LINGER,
    PATIENCE,
    REQUEST_TIME,
)
from chat.web.door import PLAINTEXT, PROTOCOLS
from chat.web.origins import Origins
from chat.web.proxies import Proxies
from tests.tls import TLSClient, given
from tests.web import HERE, THERE, knock, parse, request
from tests.web_case import HALVES, DoorTestCase
from tests.wire import Wire


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
