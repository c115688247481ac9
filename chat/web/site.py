"""A web site whose connections are counted, bounded, and told when the server stops.

It stands on L{twisted.web.http} and L{twisted.web.resource} alone.  L{twisted.web.server}, which stands on
these, too, brings templates, an XML parser and Perspective Broker: 2 MiB that nothing here needs.
"""

from __future__ import annotations

import io
import re
from http import HTTPStatus
from typing import Any, Callable, Collection, Optional
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import IResource, Resource, getChildForRequest

from chat.limits.crowd import Crowd
from chat.origin import origin
from chat.web.answers import HEADERS, PROBLEM, problem
from chat.web.channel import BODY_BYTES, REQUEST_TIME, Channel
from chat.web.origins import Origins
from chat.web.proxies import Proxies

#: What a resource gives back that will answer later; Twisted's own number for it.
NOT_DONE_YET = 1
_ABSOLUTE = re.compile(rb"https?://[^/]*(/.*)?", re.IGNORECASE | re.DOTALL)


class Request(http.Request):
    """One request.

    @ivar prepath: the parts of its path that led to the resource which answers it.
    @ivar postpath: the parts behind those.
    @ivar waits: whether it is not being served, but waits for something to come.
    """

    channel: Channel
    site: ChatSite
    _log = Logger()

    def __init__(self, channel: Channel, queued: object = False) -> None:
        super().__init__(channel, queued, parsePOSTFormSubmission=False)
        self.site = channel.site
        self.prepath: list[bytes] = []
        self.postpath: list[bytes] = []
        self.waits: Callable[[], bool] = lambda: False
        for name, value in HEADERS.items():
            self.responseHeaders.setRawHeaders(name, [value])
        self._taken = 0

    @property
    def foreign(self) -> str | None:
        """Why it is refused: it comes from the page of another server, see L{Origins}; or nothing."""
        return self._foreign(self.getHeader(b"Origin"))

    @property
    def misnamed(self) -> str | None:
        """Why not even what is shown to nobody else's page is shown; or nothing.

        The page of a name that leads here is, to the browser, one of this server, and would see the answer.
        """
        return self._foreign(None)

    def _foreign(self, whose: bytes | None) -> str | None:
        headers = self.requestHeaders
        if not (headers.hasHeader(b"Origin") or headers.hasHeader(b"Sec-Fetch-Site")):
            return None  # a program
        at = self.getHost()  # type: ignore[no-untyped-call]
        alone = not self.site.proxies.named and origin(at).network is None
        return self.site.origins.foreign(whose, self.getHeader(b"Host"), alone)

    @property
    def forwarded(self) -> bool:
        """Whether it came through a proxy, as far as that has said so."""
        return any(self.requestHeaders.hasHeader(name) for name in (b"X-Forwarded-For", b"Forwarded", b"Via"))

    def getClientAddress(self) -> IAddress:
        """Who asks; a proxy is believed only if the operator does."""
        forwarded = self.requestHeaders.getRawHeaders(b"X-Forwarded-For") or ()
        asker: IAddress = self.site.proxies.asker(self.client, forwarded)
        return asker

    def gotLength(self, length: int | None) -> None:
        """The body begins: it is short, and in a jail there is no room for files, so memory it is."""
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body; of how long it will be in the end nothing need have been said."""
        self._taken += len(data)
        if self._taken > BODY_BYTES:
            self.channel.too_large()
        elif self.content is not None:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]
            self.channel.hold(self._taken)

    def process(self) -> None:
        """The request is here: answer it, whatever it is."""
        self.setHeader(b"Date", http.datetimeToString())  # type: ignore[no-untyped-call]
        if absolute := _ABSOLUTE.fullmatch(self.path):  # RFC 9112, 3.2.2: as proxies are asked
            self.path = absolute[1] or b"/"
        self.postpath = [unquote_to_bytes(part) for part in self.path[1:].split(b"/")]
        try:
            body = self._answer()
            if body is not None:
                if self.code not in (HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT):
                    self.setHeader(b"Content-Length", b"%d" % len(body))  # type: ignore[no-untyped-call]
                self.write(b"" if self.method == b"HEAD" else body)  # type: ignore[no-untyped-call]
                self.finish()  # type: ignore[no-untyped-call]
        except Exception:
            self.processingFailed(Failure())

    def _answer(self) -> bytes | None:
        """The answer, which may be a refusal; or nothing, where it comes later."""
        refusal = self.channel.place.refusal
        if refusal is not None:
            self.channel.persistent = 0
            self.setHeader(b"Retry-After", b"60")  # type: ignore[no-untyped-call]
            return self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, refusal.code.value, refusal.reason)
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        if len(hosts) > 1 or (not hosts and self.clientproto == b"HTTP/1.1"):
            detail = "A request names its server once, in one header Host."
            return self.refuse(HTTPStatus.BAD_REQUEST, "bad-request", detail)
        if self.path == b"*":  # the server itself, of which RFC 9110 lets clients ask only this
            return b"" if self.method == b"OPTIONS" else self._not_allowed([b"OPTIONS"])
        try:
            body = getChildForRequest(self.site.resource, self).render(self)
        except UnsupportedMethod as error:
            return self._not_allowed(error.allowedMethods)
        return None if body is NOT_DONE_YET else body

    def refuse(self, status: HTTPStatus, code: str, detail: str) -> bytes:
        """The answer to a request that is not granted."""
        self.setResponseCode(status, status.phrase.encode())
        self.setHeader(b"Content-Type", PROBLEM)  # type: ignore[no-untyped-call]
        return problem(status, code, detail)

    def processingFailed(self, reason: Failure) -> Failure:
        """An error in the server is told to its operator; who asks hears only that it is one."""
        self._log.failure("A request failed", reason)
        if not (self.startedWriting or self._disconnected):
            detail = "Something went wrong on the server. Try again; what was accepted is safe."
            body = self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", detail)
            self.setHeader(b"Content-Length", b"%d" % len(body))  # type: ignore[no-untyped-call]
            self.write(body)  # type: ignore[no-untyped-call]
            self.finish()  # type: ignore[no-untyped-call]
        elif not self._disconnected:
            self.channel.abort()  # an answer without its end must not look whole
        return reason

    def _not_allowed(self, allowed: Any) -> bytes:
        methods = ", ".join(sorted(method.decode() for method in allowed))
        self.setHeader(b"Allow", methods.encode())  # type: ignore[no-untyped-call]
        detail = f"This takes {methods} and nothing else."
        return self.refuse(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", detail)


class Room(Resource):
    """A resource that has nothing below it but what was put there."""

    def getChild(self, path: bytes, request: object) -> IResource:
        """What there is not."""
        return _NOTHING


class Nothing(Room):
    """There is nothing there."""

    def render(self, request: Request) -> bytes:
        """Whatever was asked for."""
        return request.refuse(HTTPStatus.NOT_FOUND, "not-found", "There is nothing under this address.")


_NOTHING: IResource = Nothing()  # type: ignore[no-untyped-call]


class ChatSite(http.HTTPFactory):
    """The web door.

    @ivar resource: the root of what there is.
    @ivar channels: its connections.
    @ivar origins: which pages may talk to it.
    @ivar proxies: who is believed whom they ask for.
    """

    protocol = Channel  # type: ignore[assignment]
    noisy = False

    def __init__(
        self,
        reactor: Any,
        root: IResource,
        crowd: Crowd | None = None,
        origins: Origins | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        """Open a door to this tree of resources.

        @param crowd: counts the connections of all doors; without it there may be any number.
        """
        super().__init__(reactor=reactor, timeout=REQUEST_TIME)
        self.resource = root
        self.channels: set[Channel] = set()
        self.origins = origins or Origins()
        self.proxies = proxies or Proxies()
        self._crowd = crowd or Crowd()
        self._emptied: Optional[Deferred[None]] = None

    @property
    def connections(self) -> Collection[Channel]:
        """Those that are open, as of every door."""
        return self.channels

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A new connection."""
        channel: Any = super().buildProtocol(addr)
        channel.requestFactory = Request
        channel.site = self
        return channel

    def startFactory(self) -> None:
        """There is no log of requests: they name who writes to whom."""

    def stopFactory(self) -> None:
        """See L{startFactory}."""

    def log(self, request: Any) -> None:
        """See L{startFactory}."""

    def entered(self, channel: Channel) -> None:
        """There is a new connection."""
        channel.place = self._crowd.enter(origin(channel.peer))
        self.channels.add(channel)

    def left(self, channel: Channel) -> None:
        """A connection was lost."""
        channel.place.leave()
        self.channels.discard(channel)
        if self._emptied is not None and not self.channels:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def shut_down(self) -> Deferred[None]:
        """Let what is asked be answered, and nothing be asked anew; fires when all connections are closed."""
        emptied: Deferred[None] = Deferred()
        for channel in list(self.channels):
            channel.retire()
        if self.channels:
            self._emptied = emptied
        else:
            emptied.callback(None)
        return emptied

    def abort(self) -> None:
        """Close what is still open, at once."""
        for channel in list(self.channels):
            channel.abort()
