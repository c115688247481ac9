"""One connection at the web door: HTTP with an end to everything, until it becomes a WebSocket."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Iterable, Optional, Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

from chat.errors import Code
from chat.limits.crowd import Place
from chat.messages import USER_FRAME_BYTES
from chat.protocol import half_closes, keep_alive
from chat.web.answers import whole

#: The most bytes that the body of a request may have: as many as a frame.
BODY_BYTES = USER_FRAME_BYTES
#: How long a request may take to come in whole, and how long a connection may be idle, in seconds.
REQUEST_TIME = 60.0
#: A connection that brings so many requests at once lets the others have their turn.
REQUESTS_AT_ONCE = 50
#: How long a connection that was hung up may take to close, in seconds: it may still be sending.
LINGER = 30.0
#: Who reads so many bytes a second gets what was answered last, too, before it is cut.
SLOWEST = 4096
#: So many bytes are taken of what is asked behind a request that is not answered yet.
AHEAD = 16 * 1024
#: How long an answer may take for a client that says nothing more, in seconds: it may as well be gone.
PATIENCE = 5.0


class Tunnel(Protocol):
    """What takes a connection over that is not for HTTP any more."""

    def received(self, data: bytes) -> None:
        """Bytes came."""

    def full(self) -> None:
        """The client does not read as fast as it is written to."""

    def drained(self) -> None:
        """The client has caught up."""

    def lost(self, reason: Failure) -> None:
        """The connection is gone."""


@implementer(IHalfCloseableProtocol)
class Channel(HTTPChannel):
    """One connection.

    @ivar place: what it takes up among all connections.
    @ivar peer: the other end.
    """

    transport: Any
    site: Any
    place: Place
    peer: IAddress

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._begun = False  # a request has begun to come in
        self._answering = False  # one is whole, and its answer is not yet
        self._leaving: Optional[IDelayedCall] = None  # hung up; what still comes goes unheard
        self._ended = False  # the client says nothing more
        self._waiting: Optional[IDelayedCall] = None  # the end of the patience with that
        self._tunnel: Optional[Tunnel] = None
        self._full = False  # the client does not read
        self._unread = 0  # so many bytes were written since it stopped
        self._held = 0  # so many lie here for the request beside them
        self._ahead = 0  # so many came behind the request that is being answered
        self._answered = 0  # so many requests
        self._gone = False

    # --- from the transport ---

    def connectionMade(self) -> None:
        """The client speaks first."""
        self.peer = self.transport.getPeer()
        self.site.entered(self)
        super().connectionMade()  # type: ignore[no-untyped-call]
        keep_alive(self.transport)
        if self.place.unheard:
            self.abort()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client; a request must be whole in a time that begins with its first byte."""
        if self._tunnel is not None:
            self._tunnel.received(data)
        elif self._leaving is None:
            if not self._begun:
                self._begun = True
                self.resetTimeout()  # type: ignore[no-untyped-call]
            self._hear(data)

    def readConnectionLost(self) -> None:
        """The client says nothing more: it gets the answer that is due, if that comes soon."""
        self._ended = True
        if self._tunnel is not None:
            self.abort()  # a WebSocket says goodbye, or is gone
        elif self._leaving is not None:
            self.transport.loseConnection()
        elif self._answering and self.requests[0].waits():
            self.abort()  # for what may come much later: whoever waits for that listens
        elif self._answering:
            self.persistent = 0
            self._waiting = self.callLater(PATIENCE, self.abort)  # type: ignore[no-untyped-call]
        elif self._begun:
            self.refuse(HTTPStatus.BAD_REQUEST, "bad-request", "The request ends before it is whole.")
        else:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """All was said that will be."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._gone = True
        for timer in (self._leaving, self._waiting):
            if timer is not None and timer.active():
                timer.cancel()
        self.site.left(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.lost(reason)

    def pauseProducing(self) -> None:
        """The client does not read."""
        if self._tunnel is not None:
            self._tunnel.full()
        else:
            self._full = True
            super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        """The client reads again."""
        if self._tunnel is not None:
            self._tunnel.drained()
        else:
            self._full = self.paused = False
            self._unread = 0
            self._weigh()
            super().resumeProducing()  # type: ignore[no-untyped-call]
            self._hear(b"")

    def _hear(self, data: bytes) -> None:
        """Take what came; behind a request that is answered by then, the next one may have begun in it."""
        LineReceiver.dataReceived(self, data)
        if not self.paused and (self.requests or self._buffer):
            self._begun = True

    def _go_on(self) -> None:
        """The others had their turn."""
        if self.paused and not (self._full or self._leaving or self._gone):
            self.resumeProducing()

    def timeoutConnection(self) -> None:
        """A request did not come in whole in time, or none came for long."""
        if self._begun:
            reason = (
                f"The request was not whole within {self.timeOut:g} seconds. Send it again;"
                " each line of its head ends with CR LF, and so does the head."
            )
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "request-timeout", reason)
        elif self._answered:
            self.loseConnection()
        else:
            self.abort()  # it may be in the middle of a handshake, where nothing can be said

    # --- for the requests ---

    def write(self, data: bytes) -> None:
        """A piece of an answer."""
        super().write(data)  # type: ignore[no-untyped-call]
        if self._full:
            self._unread += len(data)
            self._weigh()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """A piece of an answer that has no length."""
        self.write(b"".join(iovec))

    def hold(self, size: int) -> None:
        """So many bytes lie here for the request, beside what the client does not read of its answer."""
        self._held = size
        self._weigh()

    def refuse(self, status: HTTPStatus, code: str, detail: str) -> None:
        """Answer a request that is not whole, or cannot be read, and hang up."""
        if self._leaving is None:
            self.transport.write(whole(status, code, detail))
            self.loseConnection()

    def upgrade(self, tunnel: Tunnel) -> None:
        """From now on this connection is not for HTTP, but for this."""
        self._tunnel = tunnel

    def loseConnection(self) -> None:
        """Hang up, so that the last words reach a client that is still sending, or reads slowly."""
        if self._leaving is not None:
            return
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()
        most = LINGER + self._unread / SLOWEST
        self._leaving = self.callLater(most, self.abort)  # type: ignore[no-untyped-call]
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        self.clearLineBuffer()  # type: ignore[no-untyped-call]
        self.transport.unregisterProducer()
        if half_closes(self.transport) and not self._ended:
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def retire(self) -> None:
        """Take no more requests: hang up after the answer that is due, or now."""
        if self._answering:
            self.persistent = 0
        elif self._begun:
            reason = "The server is shutting down. Ask again later: nothing was done."
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, Code.SHUTTING_DOWN.value, reason)
        else:
            self.loseConnection()

    def abort(self) -> None:
        """Close it, at once."""
        self.transport.abortConnection()

    # --- the parts of a request ---

    def lineReceived(self, line: bytes) -> None:
        """A line of the head."""
        if self._leaving is None:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> None:
        """A piece of the body; or what a client that is in a hurry sends behind its request."""
        if self._tunnel is not None:
            self._tunnel.received(data)
        elif self._leaving is not None:
            return
        elif self._answering:
            # Not as Twisted does it, which reads on and on from a client that does not read its answer.
            self._dataBuffer.append(data)
            self._ahead += len(data)
            if self._ahead > AHEAD:
                self.transport.pauseProducing()
        else:
            super().rawDataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line of the head that does not end."""
        self._respondToBadRequestAndDisconnect()

    def allHeadersReceived(self) -> None:
        """The head is there: say no to a body that is too long before it comes."""
        if self.length is not None and self.length > BODY_BYTES:
            self.too_large()
        else:
            super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def allContentReceived(self) -> None:
        """The request is whole."""
        if self._leaving is None:
            self._answering = True
            super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:
        """The request is answered; those behind it wait for a client that does not read the answers."""
        self._begun = self._answering = False
        self._ahead = 0
        self.hold(0)
        self._answered += 1
        enough = self._answered % REQUESTS_AT_ONCE == 0
        self.paused = enough or self._full
        if enough:
            self.callLater(0, self._go_on)  # type: ignore[no-untyped-call]
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if self.paused and self._leaving is None:
            self.transport.pauseProducing()

    def too_large(self) -> None:
        """The body is longer than any may be."""
        reason = f"A request may bring at most {BODY_BYTES} bytes; send less at a time."
        self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", reason)

    def _weigh(self) -> None:
        """Tell how much lies here: what the client does not read, and what its request needs."""
        self.place.weigh(self._unread + self._held, self.abort)

    def _respondToBadRequestAndDisconnect(self) -> None:
        reason = (
            f"This is no HTTP/1.1 request, its head has more than {self.totalHeadersSize} bytes or"
            f" {self.maxHeaders} fields, or its body does not come as the head says."
        )
        self.refuse(HTTPStatus.BAD_REQUEST, "bad-request", reason)
