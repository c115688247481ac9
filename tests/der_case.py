"""Values in DER, made by hand, for tests."""

from __future__ import annotations

from chat.errors import ChatError
from chat.messages import (
    SYSTEM,
    Frame,
    Message,
)
from chat.wire import der


def tlv(tag: int | bytes, *contents: bytes | str) -> bytes:
    """One DER value: tag, shortest length, contents."""
    identifier = tag if isinstance(tag, bytes) else bytes((tag,))
    inner = b"".join([c.encode() if isinstance(c, str) else c for c in contents])
    size = len(inner)
    octets = b"" if size < 128 else size.to_bytes((size.bit_length() + 7) // 8, "big")
    first = size if size < 128 else 128 + len(octets)
    return identifier + bytes((first,)) + octets + inner


def message(*rest: bytes, before: bytes = b"", between: bytes = b"") -> bytes:
    """A message from alice's client, with these values put between or after its fields."""
    return tlv(0xA2, before, tlv(0x82, "bob"), between, tlv(0x85, "x"), *rest)


def system(number: int, *contents: bytes) -> bytes:
    """A system frame with this keyword's number."""
    tag = 0xA0 | number if number < 31 else b"\xbf" + bytes((number,))
    return tlv(0xA0, tlv(tag, *contents))


PLAIN = Message(recipient="bob", body="x")


#: The number of the first keyword that there is not.
LATER = len(SYSTEM)


def outcome(wire: bytes) -> Frame | ChatError:
    """What becomes of these bytes; anything but a frame or a refusal escapes."""
    try:
        return der.decode(wire)
    except ChatError as error:
        return error
