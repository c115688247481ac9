"""A L{twisted.web.server.Site} whose connections are counted, bounded, and told when the server stops."""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import Any, Collection, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import IResource, Resource

from chat.limits.crowd import Crowd
from chat.origin import origin
from chat.web.answers import HEADERS, PROBLEM, problem
from chat.web.channel import BODY_BYTES, REQUEST_TIME, Channel
from chat.web.origins import Origins
from chat.web.proxies import Proxies


class Request(server.Request):
    """One request."""

    channel: Channel
    site: Any  # a ChatSite, as long as the request is served
    _log = Logger()

    def __init__(self, channel: Channel, *arguments: Any, **more: Any) -> None:
        super().__init__(channel, *arguments, **more)  # type: ignore[no-untyped-call]
        self.site = channel.site
        for name, value in HEADERS.items():
            self.responseHeaders.setRawHeaders(name, [value])
        self._taken = 0

    @property
    def foreign(self) -> str | None:
        """Why it is refused: it comes from the page of another server, see L{Origins}; or nothing."""
        whose = self.getHeader(b"Origin")
        if whose is None and not self.requestHeaders.hasHeader(b"Sec-Fetch-Site"):
            return None  # a program
        at = self.getHost()  # type: ignore[no-untyped-call]
        alone = not self.site.proxies.named and origin(at).network is None
        refusal: str | None = self.site.origins.foreign(whose, self.getHeader(b"Host"), alone)
        return refusal

    @property
    def forwarded(self) -> bool:
        """Whether it came through a proxy, as far as that has said so."""
        return any(self.requestHeaders.hasHeader(name) for name in (b"X-Forwarded-For", b"Forwarded", b"Via"))

    def getClientAddress(self) -> IAddress:
        """Who asks; a proxy is believed only if the operator does."""
        forwarded = self.requestHeaders.getRawHeaders(b"X-Forwarded-For") or ()
        asker: IAddress = self.site.proxies.asker(self.client, forwarded)
        return asker

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body; of how long it will be in the end nothing need have been said."""
        self._taken += len(data)
        if self._taken > BODY_BYTES:
            self.channel.too_large()
        elif self.content is not None:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]
            self.channel.hold(self._taken)

    def render(self, resrc: Any) -> None:
        """Ask a resource to answer; what it cannot is refused in one line."""
        self.responseHeaders.removeHeader(b"Server")
        refusal = self.channel.place.refusal
        body: Any
        if refusal is not None:
            self.channel.persistent = 0
            self.setHeader(b"Retry-After", b"60")  # type: ignore[no-untyped-call]
            body = self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, refusal.code.value, refusal.reason)
        else:
            try:
                body = resrc.render(self)
            except UnsupportedMethod as error:
                body = self._not_allowed(error.allowedMethods)
        if body is server.NOT_DONE_YET:
            return
        if self.code not in (HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT):
            self.setHeader(b"Content-Length", b"%d" % len(body))  # type: ignore[no-untyped-call]
        self.write(b"" if self.method == b"HEAD" else body)  # type: ignore[no-untyped-call]
        self.finish()  # type: ignore[no-untyped-call]

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


class _Nothing(Room):
    """There is nothing there."""

    def render(self, request: Request) -> bytes:
        """Whatever was asked for."""
        return request.refuse(HTTPStatus.NOT_FOUND, "not-found", "There is nothing under this address.")


_NOTHING: IResource = _Nothing()  # type: ignore[no-untyped-call]


class ChatSite(server.Site):
    """The web door.

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
        super().__init__(  # type: ignore[no-untyped-call]
            root, Request, reactor=reactor, timeout=REQUEST_TIME, parsePOSTFormSubmission=False
        )
        self.channels: set[Channel] = set()
        self.origins = origins or Origins()
        self.proxies = proxies or Proxies()
        self._crowd = crowd or Crowd()
        self._emptied: Optional[Deferred[None]] = None

    @property
    def connections(self) -> Collection[Channel]:
        """Those that are open, as of every door."""
        return self.channels

    def getContentFile(self, length: int | None) -> io.BytesIO:
        """Where the body of a request is gathered: it is short, and in a jail there is no room for files."""
        return io.BytesIO()

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
