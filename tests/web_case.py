"""Requests at the web door, for tests."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource

from chat.web.site import NOT_DONE_YET, ChatSite, Request
from tests.network import NetworkTestCase
from tests.web import Response, ask, knock, open_site, parse, request

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
