"""How the load generator talks at each of the server's doors: frames to bytes, bytes to frames.

Only what a load needs is read, and as cheaply as can be, but all of it: a line or a
frame that is not known is handed on as a failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec


class Fields(msgspec.Struct, gc=False):
    """The fields of a frame that a generator looks at."""

    keyword: str = ""
    id: int = 0
    ref: str = ""
    body: str = ""
    state: str = ""
    waiting: int = 0
    code: str = ""
    reason: str = ""


class Incoming(msgspec.Struct, gc=False):
    """One frame from the server."""

    type: str
    data: Fields


_FIELDS = frozenset(Fields.__struct_fields__)


class Door(Protocol):
    """How frames are written and read at one of the server's doors.

    @ivar ping: asks whether the server is there.
    @ivar mark: where the server asks for a sign that all before it has arrived (a frame of
        the type C{mark}), this is the sign; empty: clients say C{received} instead.
    @ivar refs: whether answers name the message that they are about.
    """

    ping: bytes
    mark: bytes
    refs: bool

    def login(self, username: str, password: str) -> bytes:
        """Both answers to the prompts, at once."""

    def again(self, password: str) -> bytes:
        """What a new password takes beyond the answer to its prompt."""

    def opening(self, recipient: str) -> bytes:
        """What is said once, before messages to this recipient."""

    def message(self, recipient: str, body: str, ref: str) -> bytes:
        """One message."""

    def received(self, ids: Sequence[int]) -> bytes:
        """The receipt for these messages."""

    def cut(self, buffer: bytes) -> tuple[list[Incoming], bytes]:
        """The whole frames at the front, and the bytes after them."""


class JsonDoor:
    """One JSON object a line."""

    ping = b'{"type":"system","data":{"keyword":"ping"}}\n'
    mark = b""
    refs = True

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(Incoming).decode_lines

    def login(self, username: str, password: str) -> bytes:
        """See L{Door.login}."""
        return b"".join(
            _line("login", {"field": name, "value": value})
            for name, value in (("username", username), ("password", password))
        )

    def again(self, password: str) -> bytes:
        """See L{Door.again}."""
        return b""

    def opening(self, recipient: str) -> bytes:
        """See L{Door.opening}."""
        return b""

    def message(self, recipient: str, body: str, ref: str) -> bytes:
        """See L{Door.message}."""
        return _line("message", {"recipient": recipient, "body": body, "ref": ref})

    def received(self, ids: Sequence[int]) -> bytes:
        """See L{Door.received}."""
        return _line("system", {"keyword": "received", "ids": ids})

    def cut(self, buffer: bytes) -> tuple[list[Incoming], bytes]:
        """See L{Door.cut}."""
        end = buffer.rfind(b"\n") + 1
        return self._decode(buffer[:end]) if end else [], buffer[end:]


def _line(kind: str, fields: object) -> bytes:
    return msgspec.json.encode({"type": kind, "data": fields}) + b"\n"


#: Identifier octets of C{chat.asn1}, whose tags are numbered in the order of its text.
_SYSTEM, _MESSAGE, _ACCEPTED = 0xA0, 0xA2, 0xA8
_ACCEPTED_REF, _ACCEPTED_ID, _ACCEPTED_STATE = 0x80, 0x81, 0x83
_MESSAGE_ID, _MESSAGE_BODY = 0x80, 0x85


class DerDoor:
    """The same frames in DER, through the project's own codec.

    The two kinds that come by the thousand are taken apart here: the codec checks far
    more than a generator has time for.
    """

    mark = b""
    refs = True

    def __init__(self) -> None:
        from chat import messages
        from chat.wire import Codec, serialize
        from chat.wire.der import decode

        self._messages = messages
        self._encode: Callable[[messages.Frame], bytes] = lambda f: serialize(f, Codec.DER)
        self._decode = decode
        self.ping = self._encode(messages.Ping())

    def login(self, username: str, password: str) -> bytes:
        """See L{Door.login}."""
        answer = self._messages.Login
        return self._encode(answer(field="username", value=username)) + self._encode(
            answer(field="password", value=password)
        )

    def again(self, password: str) -> bytes:
        """See L{Door.again}."""
        return b""

    def opening(self, recipient: str) -> bytes:
        """See L{Door.opening}."""
        return b""

    def message(self, recipient: str, body: str, ref: str) -> bytes:
        """See L{Door.message}."""
        return self._encode(self._messages.Message(recipient=recipient, body=body, ref=ref))

    def received(self, ids: Sequence[int]) -> bytes:
        """See L{Door.received}."""
        return self._encode(self._messages.Received(ids=list(ids)))

    def cut(self, buffer: bytes) -> tuple[list[Incoming], bytes]:
        """See L{Door.cut}."""
        frames = []
        at, end = 0, len(buffer)
        while end - at >= 2:
            size = _der_size(buffer, at)
            if not size or at + size > end:
                break
            frames.append(self._frame(buffer, at, at + size))
            at += size
        return frames, buffer[at:]

    def _frame(self, buffer: bytes, at: int, end: int) -> Incoming:
        """The frame that is there."""
        kind = buffer[at]
        inner = _content(buffer, at)
        if kind == _MESSAGE:
            parts = _parts(buffer, inner, end)
            number = int.from_bytes(parts[_MESSAGE_ID], "big")
            return Incoming("message", Fields(id=number, body=parts[_MESSAGE_BODY].decode()))
        if kind == _SYSTEM and buffer[inner] == _ACCEPTED:
            parts = _parts(buffer, _content(buffer, inner), end)
            number = int.from_bytes(parts[_ACCEPTED_ID], "big")
            ref, state = parts[_ACCEPTED_REF].decode(), parts[_ACCEPTED_STATE].decode()
            return Incoming("system", Fields("accepted", number, ref, state=state))
        frame = self._decode(buffer[at:end])
        assert isinstance(frame, self._messages.System)
        fields = Fields(self._messages.keyword(frame))
        for name in _FIELDS.intersection(frame.__struct_fields__):
            if value := getattr(frame, name):
                setattr(fields, name, value)
        return Incoming("system", fields)


def _content(buffer: bytes, at: int) -> int:
    """Where the content begins of the value at C{at}, whose tag is one octet."""
    length = buffer[at + 1]
    return at + 2 if length < 0x80 else at + 2 + (length & 0x7F)


def _parts(buffer: bytes, at: int, end: int) -> dict[int, bytes]:
    """The contents of the values that stand side by side, by their tags."""
    parts = {}
    while at < end:
        tag, length = buffer[at], buffer[at + 1]
        at += 2
        if length > 0x80:
            start = at + (length & 0x7F)
            length = int.from_bytes(buffer[at:start], "big")
            at = start
        parts[tag] = buffer[at : at + length]
        at += length
    return parts


def _der_size(buffer: bytes, at: int) -> int:
    """The size of the value at C{at}; 0 while its header is not whole."""
    start = at + 1
    if buffer[at] & 0x1F == 0x1F:
        while start < len(buffer) and buffer[start] & 0x80:
            start += 1
        start += 1
    if start >= len(buffer):
        return 0
    length = buffer[start]
    start += 1
    if length & 0x80:
        octets = length & 0x7F
        if start + octets > len(buffer):
            return 0
        length = int.from_bytes(buffer[start : start + octets], "big")
        start += octets
    return start + length - at


#: What a telnet client is sent: the fate of a message sent; a message, with one line of body; a
#: request for a mark; another option; a prompt, which has no line end; any other line.
_TEXT = re.compile(
    rb"Message (?P<id>\d+)"
    rb"(?: to \S+: (?P<state>[^\r\n]*)\.\r?\n"
    rb"|(?: \(again\))? from [^\r\n]*\r?\n\| (?P<body>[^\r\n\xff]*)\r?\n)"
    rb"|\xff\xfd(?P<mark>\x06)"
    rb"|\xff(?P<option>[\xfb-\xfe].)"
    rb"|(?P<prompt>(?:Username|Password|New password|Again): )"
    rb"|(?!Message \d+(?: \(again\))? from )(?P<line>[^\r\n\xff]*)\r?\n",
    re.DOTALL,
)
#: Other lines, by how they begin; those that say C{None} are passed over.
_LINES = {
    b"Welcome, ": "welcome",
    b"The account ": "created",
    b"The server is there.": "pong",
    b"This name is free.": None,
    b"Receipts are off": None,
    b"What you type now goes to ": None,
    b"Your recovery codes.": None,
    b"password, each of them ": None,
    b"  ": None,  # one of them
}
_WAITING = re.compile(rb"(\d+) messages? (?:is|are) waiting")
_GREETING = re.compile(rb".*, protocol 1")


class TextDoor:
    """What a person types at a telnet client that answers marks, as stock telnet does.

    Messages are bare lines, to a correspondent who is chosen once; no delivery is announced
    to the sender, as none is asked for at the other doors.
    """

    ping = b"/ping\r\n"
    mark = b"\xff\xfc\x06"
    refs = False

    def login(self, username: str, password: str) -> bytes:
        """See L{Door.login}."""
        return f"{username}\r\n{password}\r\n".encode()

    def again(self, password: str) -> bytes:
        """See L{Door.again}."""
        return f"{password}\r\n".encode()

    def opening(self, recipient: str) -> bytes:
        """See L{Door.opening}."""
        return f"/receipts off\r\n/to {recipient}\r\n".encode()

    def message(self, recipient: str, body: str, ref: str) -> bytes:
        """See L{Door.message}."""
        return f"{body}\r\n".encode()

    def received(self, ids: Sequence[int]) -> bytes:
        """See L{Door.received}."""
        return b""

    def cut(self, buffer: bytes) -> tuple[list[Incoming], bytes]:
        """See L{Door.cut}."""
        frames: list[Incoming] = []
        at = 0
        for found in _TEXT.finditer(buffer):
            if found.start() != at:
                break
            at = found.end()
            kind = found.lastgroup
            if kind == "body":
                fields = Fields(id=int(found["id"]), body=found["body"].decode())
                frames.append(Incoming("message", fields))
            elif kind == "state":
                fields = Fields("accepted", id=int(found["id"]), state=found["state"].decode())
                frames.append(Incoming("system", fields))
            elif kind == "mark":
                frames.append(Incoming("mark", Fields()))
            elif kind == "prompt":
                asked = found["prompt"][:-2].decode().lower().replace(" ", "-")
                frames.append(Incoming("system", Fields(asked)))
            elif kind == "line" and (said := self._said(found["line"])) is not None:
                frames.append(Incoming("system", said))
        return frames, buffer[at:]

    @staticmethod
    def _said(line: bytes) -> Fields | None:
        """What a line that is about no message says; C{None}: nothing that matters."""
        if not line or _GREETING.fullmatch(line):
            return None
        for start, keyword in _LINES.items():
            if line.startswith(start):
                waiting = _WAITING.search(line)
                return Fields(keyword, waiting=int(waiting[1]) if waiting else 0) if keyword else None
        return Fields("failed", reason=line.decode(errors="replace"))


DOORS: dict[str, Callable[[], Door]] = {"json": JsonDoor, "der": DerDoor, "text": TextDoor}
