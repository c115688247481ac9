"""The two encodings as a client needs them: frames as plain objects, and the ends of frames.

A frame is a C{dict} as in JSON: C{{"type": "system", "data": {"keyword": "ping"}}}.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

Plain = dict[str, Any]


class Wrong(Exception):
    """The server sent bytes that are no frame."""


class Codec(Protocol):
    """One encoding."""

    name: str

    def encode(self, frame: Plain) -> bytes:
        """The bytes of a frame."""

    def padded(self, frame: Plain, size: int) -> bytes:
        """The same frame in so many bytes, by what a receiver passes over."""

    def decode(self, buffer: bytearray) -> Plain | None:
        """Take the first frame out of the buffer; C{None} while it is not whole.

        @raise Wrong: it begins with no frame of this encoding.
        """


class Json:
    """One object a line, with nothing but the standard library."""

    name = "json"

    def encode(self, frame: Plain) -> bytes:
        """See L{Codec.encode}."""
        return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def padded(self, frame: Plain, size: int) -> bytes:
        """See L{Codec.padded}: blanks before the line end."""
        line = self.encode(frame)[:-1]
        return line + b" " * (size - len(line) - 1) + b"\n"

    def decode(self, buffer: bytearray) -> Plain | None:
        """See L{Codec.decode}."""
        end = buffer.find(b"\n")
        if end < 0:
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        try:
            frame = json.loads(line.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
            json.dumps(frame, ensure_ascii=False).encode()  # half of a surrogate pair, escaped, cannot be
        except (ValueError, RecursionError) as error:
            raise Wrong(f"a line that is not JSON in UTF-8 ({error})") from None
        if not isinstance(frame, dict):
            raise Wrong("a line that is no JSON object")
        return frame


def _once(pairs: list[tuple[str, Any]]) -> Plain:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate keys")
    return found


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


class Der:
    """X.690, through L{chat.wire}; what the server sends must be what that would send."""

    name = "der"

    def encode(self, frame: Plain) -> bytes:
        """See L{Codec.encode}."""
        from chat.wire import deserialize, serialize

        return serialize(deserialize(json.dumps(frame).encode(), "json"), "der")

    def padded(self, frame: Plain, size: int) -> bytes:
        """See L{Codec.padded}: a field of a later version, [30], behind the known ones."""
        wire = self.encode(frame)
        tag, fields = wire[:1], bytes(_contents(wire))
        for spare in range(size - len(fields), 0, -1):
            padded = tlv(tag, fields + tlv(b"\x9e", b"\0" * spare))
            if len(padded) == size:
                return padded
        raise ValueError(f"no way to have {size} bytes")

    def decode(self, buffer: bytearray) -> Plain | None:
        """See L{Codec.decode}."""
        from chat.errors import ChatError
        from chat.wire import DerFraming, deserialize, serialize

        framing = DerFraming()
        framing.feed(bytes(buffer))
        try:
            wire = framing.next(1 << 40)
            if wire is None:
                return None
            frame = deserialize(wire, "der")
        except ChatError as error:
            raise Wrong(f"octets that are no frame ({error})") from None
        del buffer[: len(wire)]
        if serialize(frame, "der") != wire:
            raise Wrong("a frame that is encoded differently from what chat.asn1 and DER prescribe")
        plain: Plain = json.loads(serialize(frame, "json"))
        return plain


def tlv(tag: bytes, contents: bytes = b"") -> bytes:
    """One DER value."""
    size = len(contents)
    if size < 0x80:
        return tag + bytes((size,)) + contents
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return tag + bytes((0x80 | len(octets),)) + octets + contents


def _contents(wire: bytes) -> bytes:
    first = wire[1]
    return wire[2 + (first & 0x7F if first & 0x80 else 0) :]


CODECS: dict[str, Codec] = {"json": Json(), "der": Der()}
