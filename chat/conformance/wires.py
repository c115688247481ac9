"""Ways to a door, each as a stream of bytes: bare, through TLS, through a WebSocket.

Nothing but the standard library: what is checked here is not to be checked by itself.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import ssl
import struct
import time
from typing import NamedTuple, Protocol

#: What a server appends to the key of a client to show that it means it (RFC 6455, 1.3).
_MEANT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUED, _TEXT, _CLOSE, _PING, _PONG = 0, 1, 8, 9, 10
_HEAD_BYTES = 16 * 1024


class Wire(Protocol):
    """A connection, as much of it as is needed."""

    def settimeout(self, seconds: float) -> None:
        """How long the next step may take."""

    def sendall(self, data: bytes, /) -> None:
        """Send these bytes.

        @raise OSError: the server has hung up, or takes no more in time.
        """

    def recv(self, size: int, /) -> bytes:
        """Some bytes that came; none: the server has hung up.

        @raise OSError: none came in time, or the connection is broken.
        """

    def close(self) -> None:
        """Hang up."""


class Address(NamedTuple):
    """Where the server's door is.

    @ivar tls: whether it speaks TLS; whose certificate that is does not matter here.
    @ivar path: where its WebSocket is, if that is the way; empty if not.
    @ivar http: whether it is HTTP for programs that is asked for, whose accounts are made by the WebSocket.
    """

    host: str
    port: int
    tls: bool = False
    path: str = ""
    http: bool = False

    def open(self, patience: float) -> Wire:
        """Connect.

        @param patience: how long each step may take, in seconds.
        @raise OSError: nobody listens there, or not to this.
        """
        connection = socket.create_connection((self.host, self.port), patience)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                connection = _trusting().wrap_socket(connection, server_hostname=self.host)
            return WebSocket(connection, self) if self.path else connection
        except BaseException:
            connection.close()
            raise


def parse_address(text: str) -> Address:
    """The door that C{HOST:PORT}, C{tls:HOST:PORT}, C{ws://HOST:PORT/PATH} or C{http://HOST:PORT/PATH} names.

    With C{wss://} and C{https://} it speaks TLS.

    An IPv6 host may stand in brackets.

    @raise ValueError: it has none of these forms.
    """
    scheme, found, rest = text.partition("://")
    if found:
        if scheme not in ("ws", "wss", "http", "https"):
            raise ValueError(text)
        place, _, path = rest.partition("/")
        if scheme.startswith("http"):
            below = f"/{path}".rstrip("/")
            return Address(*_place(place), scheme == "https", f"{below}/socket", http=True)
        return Address(*_place(place), scheme == "wss", f"/{path}")
    return Address(*_place(text.removeprefix("tls:")), text.startswith("tls:"))


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    number = int(port)
    if not host or not 0 < number < 65536:
        raise ValueError(text)
    return host.removeprefix("[").removesuffix("]"), number


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Unlawful(OSError):
    """The server does not speak WebSocket as it should."""


class WebSocket:
    """The lines of the JSON door in text messages.

    What is sent up to its last line end is one message; what is behind that begins another one, which
    goes on with what is sent next.  Each message of the server must be whole lines.
    """

    def __init__(self, below: socket.socket, address: Address) -> None:
        """Ask the server at the other end to become a WebSocket.

        @raise OSError: it does not.
        """
        self._below = below
        self._raw = bytearray()
        self._begun = False  # a message was begun that is to go on
        self._came = bytearray()  # of the server's message
        self._goes_on = False  # the server has begun one that is not whole
        self._over = False
        self._patience = 0.0
        key = base64.b64encode(secrets.token_bytes(16))
        host = f"[{address.host}]" if ":" in address.host else address.host
        place = f"{host}:{address.port}".encode()
        lines = (
            b"GET %b HTTP/1.1" % address.path.encode(),
            b"Host: " + place,
            b"Origin: http%b://" % (b"s" if address.tls else b"") + place,
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: " + key,
            b"",
            b"",
        )
        below.sendall(b"\r\n".join(lines))
        while (end := self._raw.find(b"\r\n\r\n")) < 0:
            arrived = below.recv(1 << 16)
            if not arrived or len(self._raw) > _HEAD_BYTES:
                raise Unlawful("there is no HTTP")
            self._raw += arrived
        first, *rest = bytes(self._raw[:end]).split(b"\r\n")
        del self._raw[: end + 4]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in rest)}
        meant = base64.b64encode(hashlib.sha1(key + _MEANT).digest())
        if not first.startswith(b"HTTP/1.1 101 ") or headers.get(b"sec-websocket-accept") != meant:
            raise Unlawful(f"there is no WebSocket: {first.decode(errors='replace')}")

    def settimeout(self, seconds: float) -> None:
        """See L{Wire.settimeout}."""
        self._patience = seconds
        self._below.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        """See L{Wire.sendall}."""
        end = data.rfind(b"\n") + 1
        if end:
            self._put(data[:end], whole=True)
        if data[end:]:
            self._put(data[end:], whole=False)

    def recv(self, size: int) -> bytes:
        """See L{Wire.recv}: the next message that is whole."""
        until = time.monotonic() + self._patience
        while not self._over:
            found = self._frame()
            if found is not None:
                data = self._take(*found)
                if data:
                    return data
                continue
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._below.settimeout(left)
            arrived = self._below.recv(size)
            if not arrived:
                return b""
            self._raw += arrived
        return b""

    def close(self) -> None:
        """See L{Wire.close}."""
        self._below.close()

    # --- frames ---

    def _put(self, payload: bytes, whole: bool) -> None:
        opcode = _CONTINUED if self._begun else _TEXT
        self._begun = not whole
        self._below.sendall(_frame(opcode, payload, whole))

    def _frame(self) -> tuple[int, bytes] | None:
        """The next frame of the server: its first byte, and what it holds."""
        raw = self._raw
        if len(raw) < 2:
            return None
        first, size, start = raw[0], raw[1], 2
        if size & 0x80 or first & 0x70:
            raise Unlawful("the server sent a frame that is masked, or of no known kind")
        if size > 125:
            start = 4 if size == 126 else 10
            if len(raw) < start:
                return None
            size = int.from_bytes(raw[2:start], "big")
        if len(raw) < start + size:
            return None
        payload = bytes(raw[start : start + size])
        del raw[: start + size]
        return first, payload

    def _take(self, first: int, payload: bytes) -> bytes:
        """The text of a message, if this ends one."""
        opcode, ends = first & 0x0F, bool(first & 0x80)
        if opcode == _CLOSE:
            self._over = True
            if len(payload) == 1 or not ends:
                raise Unlawful("the server says goodbye in no known way")
            self._below.sendall(_frame(_CLOSE, payload[:2], True))
        elif opcode == _PING:
            self._below.sendall(_frame(_PONG, payload, True))
        elif opcode == _PONG:
            pass  # one may be sent unasked
        elif opcode != (_CONTINUED if self._goes_on else _TEXT):
            raise Unlawful(f"the server sent a frame of kind {opcode}")
        else:
            self._came += payload
            self._goes_on = not ends
            if ends:
                data = bytes(self._came)
                self._came.clear()
                if not data.endswith(b"\n"):
                    raise Unlawful("the server sent a message that does not end with its line")
                return data
        return b""


def _frame(opcode: int, payload: bytes, whole: bool) -> bytes:
    size = len(payload)
    short = size if size < 126 else 126 if size < 1 << 16 else 127
    head = bytes([whole << 7 | opcode, 0x80 | short])
    head += b"" if short < 126 else struct.pack("!H" if short == 126 else "!Q", size)
    key = secrets.token_bytes(4)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")
    return head + key + masked
