"""Where one frame ends and the next begins, in a stream of bytes that comes in pieces.

A framing finds ends; it does not decode.  A fault is raised only once all whole
frames before it were taken, so that those are answered first.
"""

from __future__ import annotations

import re
from typing import Protocol

from chat.errors import FrameTooLarge, MalformedFrame

_NOT_BLANK = re.compile(rb"[^ \t\n\r\f\v]")


class Framing(Protocol):
    """A buffer of bytes that gives up whole frames.

    C{limit} is always the most bytes that a frame may have, its line end or
    header included.
    """

    def feed(self, data: bytes) -> None:
        """Add what just arrived."""

    def next(self, limit: int) -> bytes | None:
        """The frame at the front, or C{None} while it is not whole.

        @raise chat.errors.FrameTooLarge: it is longer than C{limit}.
        @raise chat.errors.MalformedFrame: no frame can begin like this.
        """

    def take(self, limit: int) -> list[bytes]:
        """All whole frames; raises like L{next}, but only for the first of them."""

    def front(self, limit: int) -> bytes:
        """What to decode in one go: whole frames, none of them too long, and perhaps the beginning of one.

        Nothing where L{next} has none, or a fault; and whoever wants all frames asks again.
        """

    def drop(self, size: int) -> None:
        """Forget so many bytes at the front: frames that were found there."""

    @property
    def buffered(self) -> int:
        """How many bytes wait: whole frames and the beginning of one."""


class LineFraming:
    """Lines ended by LF, a CR before it allowed; blank lines are passed over.

    The frames do not include their LF.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # there is no LF before this offset

    @property
    def buffered(self) -> int:
        """How many bytes wait: whole lines and the beginning of one."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what just arrived."""
        self._buffer += data

    def next(self, limit: int) -> bytes | None:
        """The next line that is not blank, see L{Framing.next}."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(buffer)
                if len(buffer) >= limit:
                    raise FrameTooLarge(limit)
                return None
            if end >= limit:
                raise FrameTooLarge(limit)
            line = bytes(memoryview(buffer)[:end])
            if line and not line.isspace():
                self.drop(end + 1)
                return line
            # It is blank; perhaps thousands behind it are, too.
            found = _NOT_BLANK.search(buffer, 0, limit)
            stop = min(limit, len(buffer)) if found is None else found.start()
            self.drop(buffer.rfind(b"\n", 0, stop) + 1)

    def take(self, limit: int) -> list[bytes]:
        """All whole lines, see L{Framing.take}."""
        if lines := self.front(limit):
            self.drop(len(lines))
            if found := [line for line in lines.split(b"\n") if line and not line.isspace()]:
                return found
        return take_each(self, limit)

    def front(self, limit: int) -> bytes:
        """Whole lines, see L{Framing.front}."""
        buffer = self._buffer
        end = buffer.rfind(b"\n", self._searched) + 1
        if end > limit:  # then each of these lines is short enough
            end = buffer.rfind(b"\n", 0, limit) + 1
        return bytes(buffer) if end == len(buffer) else bytes(memoryview(buffer)[:end])

    def drop(self, size: int) -> None:
        """See L{Framing.drop}."""
        del self._buffer[:size]
        self._searched = 0


class DerFraming:
    """DER values back to back: each one's own length is the framing."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """How many bytes wait: whole values and the beginning of one."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what just arrived."""
        self._buffer += data

    def next(self, limit: int) -> bytes | None:
        """The next value, header included, see L{Framing.next}."""
        buffer = self._buffer
        size = _size(buffer)
        if size > limit:
            raise FrameTooLarge(limit)
        if not size or len(buffer) < size:
            return None
        value = bytes(memoryview(buffer)[:size])
        del buffer[:size]
        return value

    def take(self, limit: int) -> list[bytes]:
        """All whole values, see L{Framing.take}."""
        return take_each(self, limit)

    def front(self, limit: int) -> bytes:
        """Whole values and perhaps the beginning of one, see L{Framing.front}."""
        buffer = self._buffer
        try:
            size = _size(buffer)
        except MalformedFrame:
            return b""
        whole = 0 < size <= min(len(buffer), limit)
        return bytes(memoryview(buffer)[:limit]) if whole else b""

    def drop(self, size: int) -> None:
        """See L{Framing.drop}."""
        del self._buffer[:size]


def take_each(framing: Framing, limit: int) -> list[bytes]:
    """L{Framing.take} for any framing, one by one, holding back a fault behind whole frames."""
    frames: list[bytes] = []
    try:
        while (frame := framing.next(limit)) is not None:
            frames.append(frame)
    except (FrameTooLarge, MalformedFrame):
        if not frames:
            raise
    return frames


def _size(buffer: bytearray) -> int:
    """The bytes of the DER value at the front, header included; 0 while its header is not whole.

    X.690: 8.1.2 (identifier octets), 8.1.3 and 10.1 (length octets: definite, as few as can be).
    """
    available = len(buffer)
    if available < 2:
        return 0
    at = 1
    if buffer[0] & 0x1F == 0x1F:  # a high tag number goes on until an octet below 128
        while buffer[at] & 0x80:
            at += 1
            if at > 3:
                raise MalformedFrame("Not DER: a tag number over 2097151.")
            if at >= available:
                return 0
        at += 1
        if at >= available:
            return 0
    first = buffer[at]
    at += 1
    if first < 0x80:
        return at + first
    if first in (0x80, 0xFF):
        raise MalformedFrame("Not DER: lengths are definite.")
    count = first & 0x7F
    if count > 8:
        raise MalformedFrame("Not DER: a length of more than eight octets.")
    if available < at + count:
        return 0
    length = int.from_bytes(buffer[at : at + count], "big")
    if length < 0x80 or length >> (8 * (count - 1)) == 0:
        raise MalformedFrame("Not DER: a length in more octets than it needs.")
    return at + count + length
