"""The page in a browser: it says in the messages of a WebSocket what a program says in lines."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage

from tests.simulation.actors import Program
from tests.simulation.books import Violation
from tests.simulation.net import Link
from tests.simulation.plan import WEB

if TYPE_CHECKING:
    from tests.simulation.world import World

_UPGRADE = (
    b"GET /socket HTTP/1.1\r\n"
    b"Host: localhost:5380\r\n"
    b"Origin: http://localhost:5380\r\n"
    b"Connection: Upgrade\r\n"
    b"Upgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"\r\n"
)
_ANSWER = b"HTTP/1.1 101 "
_TOO_SLOW = b"HTTP/1.1 408 "
#: To a request that is half there when the server stops.
_STOPS = b"HTTP/1.1 503 "
#: What is no frame of WebSocket: not masked, a rest of nothing, not UTF-8, of no known kind.
GARBAGE = (
    b"\x81\x02{}",
    b"\x80\x80\x00\x00\x00\x00",
    b"\x81\x81\x00\x00\x00\x00\xff",
    b"\x83\x80\x00\x00\x00\x00",
)


class Page(Program):
    """A page that is open in a browser."""

    codec = "json"

    def __init__(self, world: World, link: Link, name: str) -> None:
        super().__init__(world, link, name, WEB)
        self._socket = Connection(ConnectionType.CLIENT)
        self._random = Random(f"page {link.number}")
        self._head = b""
        self._open = False
        self._text = ""
        link.write(_UPGRADE)

    def put(self, wire: bytes) -> None:
        """See L{Program.put}: each line in a message, or several in one, in one piece or in many."""
        if self._socket.state is not ConnectionState.OPEN:
            return
        random = self._random
        texts = [wire.decode()] if random.random() < 0.3 else wire.decode().split("\n")[:-1]
        for text in texts:
            if random.random() < 0.1:
                self._say(Ping(b"there?"))
            while random.random() < 0.3 and text:
                size = random.randint(0, len(text))
                self._say(TextMessage(text[:size], message_finished=False))
                text = text[size:]
            self._say(TextMessage(text))

    def garbage(self, random: Random) -> bytes:
        """See L{Program.garbage}."""
        what = random.random()
        if what < 0.2:
            return bytes(self._socket.send(BytesMessage(b"{}\n")))
        if what < 0.5:
            return bytes(self._socket.send(TextMessage("{nonsense")))
        return random.choice(GARBAGE)

    def say_no_more(self) -> None:
        """See L{Program.say_no_more}: who says goodbye in the words of WebSocket listens no more."""
        self._say(CloseConnection(1001))

    def arrived(self, data: bytes) -> None:
        """See L{tests.simulation.net.ClientSide.arrived}."""
        if not self._open:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            stops = head.startswith(_STOPS)
            if stops and not data.endswith(b"}\n"):
                return
            if head.startswith(_TOO_SLOW) or (stops and b'"shutting-down"' in data):
                self.link.leave()
                return
            if not head.startswith(_ANSWER):
                raise Violation(f"the server does not become a WebSocket: {head!r}")
            self._open = True
        if self._socket.state is ConnectionState.CLOSED:
            raise Violation("the server speaks after its goodbye")
        self._socket.receive_data(data)
        for event in self._socket.events():
            self._hear(event)

    def _hear(self, event: Any) -> None:
        if isinstance(event, Message):
            self._text += event.data
            if event.message_finished:
                text, self._text = self._text, ""
                if not text.endswith("\n"):
                    raise Violation("a message of the server does not end with its line")
                super().arrived(text.encode())
        elif isinstance(event, CloseConnection):
            if self._socket.state is ConnectionState.REMOTE_CLOSING:
                self._say(event.response())
            self.link.leave()

    def _say(self, event: Any) -> None:
        self.link.write(bytes(self._socket.send(event)))
