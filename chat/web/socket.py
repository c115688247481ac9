"""The WebSocket: the frames of the JSON door, as text messages (RFC 6455).

What reads and writes the frames of WebSocket is wsproto, which C{twisted.web.websocket} is made
of, too.  That itself is not used: it gathers a message until it is whole, of whatever length and in
however many pieces, and writes to who does not read.  Here a piece goes on as it comes, like
bytes at the JSON door; so what bounds a connection there does so here.
"""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IAddress, IConsumer, IProducer, ITransport
from twisted.python.failure import Failure
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import generate_accept_token
from zope.interface import implementer

from chat.errors import MalformedFrame
from chat.protocol import ChatFactory, ChatProtocol
from chat.web.channel import Channel
from chat.web.site import NOT_DONE_YET, Request, Room

#: A connection that brings so many frames of WebSocket at once lets the others have their turn.
FRAMES_AT_ONCE = 500
_VERSION = b"13"
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\n"
    b"\r\n"
)
_OPEN = frozenset({ConnectionState.OPEN})
_SAYS_GOODBYE = frozenset({ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING})


class Socket(Room):
    """Where a browser connects to."""

    def __init__(self, spoken: ChatFactory) -> None:
        """Let those who connect talk to this."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._spoken = spoken

    def render_GET(self, request: Request) -> bytes | int:
        """Become a WebSocket, if that is asked for as it should be."""
        if (foreign := request.foreign) is not None:
            return request.refuse(HTTPStatus.FORBIDDEN, "foreign-origin", foreign)
        if not _asked_for(request):
            request.setHeader(b"Upgrade", b"websocket")  # type: ignore[no-untyped-call]
            request.setHeader(b"Sec-WebSocket-Version", _VERSION)  # type: ignore[no-untyped-call]
            detail = "This is for WebSockets (RFC 6455, version 13)."
            return request.refuse(HTTPStatus.UPGRADE_REQUIRED, "upgrade-required", detail)
        channel = request.channel
        channel.place.leave()  # it comes in anew, perhaps as somebody else: whom a proxy speaks for
        asker = request.getClientAddress()
        chat = self._spoken.buildProtocol(asker)
        key: bytes = request.getHeader(b"Sec-WebSocket-Key") or b""
        channel.transport.write(_SWITCH % generate_accept_token(key))
        tunnel = SocketTunnel(channel, chat, asker)
        channel.upgrade(tunnel)
        chat.makeConnection(tunnel)  # type: ignore[no-untyped-call]
        return NOT_DONE_YET


def _asked_for(request: Request) -> bool:
    def tokens(name: bytes) -> list[bytes]:
        values = request.requestHeaders.getRawHeaders(name) or []
        return [token.strip().lower() for token in b",".join(values).split(b",")]

    try:
        nonce = base64.b64decode(request.getHeader(b"Sec-WebSocket-Key") or b"", validate=True)
    except binascii.Error:
        return False
    return (
        request.method == b"GET"
        and request.clientproto == b"HTTP/1.1"
        and b"upgrade" in tokens(b"Connection")
        and b"websocket" in tokens(b"Upgrade")
        and tokens(b"Sec-WebSocket-Version") == [_VERSION]
        and len(nonce) == 16
    )


@implementer(ITransport, IConsumer)
class SocketTunnel:
    """A WebSocket, as a transport of bytes for the protocol of the JSON door."""

    def __init__(self, channel: Channel, chat: ChatProtocol, asker: IAddress) -> None:
        self._channel = channel
        self._asker = asker
        self._below: Any = channel.transport
        self._chat = chat
        self._wire = Connection(ConnectionType.SERVER)
        self._code = CloseReason.NORMAL_CLOSURE
        self._last = b""  # the last byte of the message so far
        self._over = False  # what still comes goes unheard
        self._due = False  # there are more frames, to be looked at when the others had their turn
        self._stopped = False  # whoever speaks wants to hear no more for now
        self._full = False  # the client does not read
        self._reading = True

    # --- from the channel ---

    def received(self, data: bytes) -> None:
        """Bytes came: what they hold of messages goes on at once, as lines."""
        if self._over:
            return
        self._wire.receive_data(data)
        if not self._due:
            self._take()

    def _take(self) -> None:
        self._due = False
        lines: list[bytes] = []
        for count, event in enumerate(self._wire.events(), 1):
            if isinstance(event, TextMessage):
                lines.append(self._line(event))
            elif isinstance(event, Ping):
                self._below.write(bytes(self._wire.send(event.response())))
            elif isinstance(event, (BytesMessage, CloseConnection)):
                self._over = True
                self._pass_on(lines)
                self._ended(event)
                return
            if count == FRAMES_AT_ONCE:
                self._due = True
                self._channel.callLater(0, self._go_on)  # type: ignore[no-untyped-call]
                break
        self._pass_on(lines)
        if not self._over:  # what still comes goes unheard, but the client's end has to be seen
            self._read_or_not()

    def _go_on(self) -> None:
        """The others had their turn."""
        if not self._over:
            self._take()

    def full(self) -> None:
        """The client does not read: nor is it read from, for it could have it all answered by pongs."""
        self._full = True
        self._chat.pauseProducing()
        self._read_or_not()

    def drained(self) -> None:
        """The client has caught up."""
        self._full = False
        self._read_or_not()
        self._chat.resumeProducing()

    def lost(self, reason: Failure) -> None:
        """The connection is gone."""
        self._over = True
        self._chat.connectionLost(reason)

    # --- for the protocol ---

    def write(self, data: bytes) -> None:
        """Say these lines."""
        if self._wire.state in _OPEN:
            self._below.write(bytes(self._wire.send(TextMessage(data.decode()))))

    def writeSequence(self, iovec: Any) -> None:
        """See L{ITransport.writeSequence}."""
        self.write(b"".join(iovec))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See L{IConsumer.registerProducer}: the protocol is told anyway, see L{full}."""

    def unregisterProducer(self) -> None:
        """See L{registerProducer}."""

    def pauseProducing(self) -> None:
        """Read no more for now."""
        self._stopped = True
        self._read_or_not()

    def resumeProducing(self) -> None:
        """Read on."""
        self._stopped = False
        self._read_or_not()

    def loseConnection(self) -> None:
        """Hang up as WebSockets do: with a word."""
        self._over = True
        if self._wire.state in _SAYS_GOODBYE:
            self._below.write(bytes(self._wire.send(CloseConnection(self._code))))
        self._channel.loseConnection()

    def abortConnection(self) -> None:
        """Close it, at once."""
        self._channel.abort()

    def getPeer(self) -> IAddress:
        """Who talks, and be it by way of a proxy."""
        return self._asker

    def getHost(self) -> Any:
        """See L{ITransport.getHost}."""
        return self._below.getHost()

    # --- inside ---

    def _line(self, event: TextMessage) -> bytes:
        """A piece of a message; at the end of one ends a line."""
        piece = event.data.encode()
        self._last = piece[-1:] or self._last
        if event.message_finished:
            if self._last != b"\n":
                piece += b"\n"
            self._last = b""
        return piece

    def _pass_on(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        if data:
            self._chat.dataReceived(data)

    def _ended(self, event: Event) -> None:
        """The client says goodbye, or something that cannot be understood."""
        if isinstance(event, BytesMessage):
            self._fail(CloseReason.UNSUPPORTED_DATA, "Binary messages are not taken here: send JSON as text.")
        elif self._wire.state in _OPEN:
            assert isinstance(event, CloseConnection)
            self._fail(CloseReason(event.code), f"This is not how WebSocket is spoken: {event.reason}.")
        else:
            assert isinstance(event, CloseConnection)
            self._code = CloseReason.NORMAL_CLOSURE
            self._chat.readConnectionLost()

    def _fail(self, code: CloseReason, reason: str) -> None:
        self._code = code
        self._chat.end(MalformedFrame(reason))

    def _read_or_not(self) -> None:
        reading = not (self._stopped or self._full or self._due)
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._below.resumeProducing()
            else:
                self._below.pauseProducing()
