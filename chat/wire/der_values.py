"""DER values of one piece, read and written; and those that mean nothing here, passed over.

The clauses of X.690: INTEGERs in as few octets as can be (8.3.2), BOOLEANs C{00} or C{FF} (11.1),
strings in one piece (10.2).
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Callable, NoReturn

from chat.errors import BadFrame, MalformedFrame
from chat.times import milliseconds, rfc3339
from chat.wire.der_headers import CLASS, CONSTRUCTED, UNIVERSAL, Heads, head_of, header_at

#: How deep values may nest, so that hostile bytes cannot exhaust the stack.
DEPTH = 16

#: One value to its contents octets with the header before them.
Writer = Callable[[Any], bytes]
#: The contents octets from one offset to another, to a value.
Reader = Callable[[bytes, int, int], Any]
#: The universal types that are made of others: EXTERNAL, EMBEDDED PDV, SEQUENCE,
#: SET, CHARACTER STRING.
_MADE_OF_OTHERS = frozenset({8, 11, 16, 17, 29})


def read_string(wire: bytes, at: int, end: int) -> str:
    """The text of a UTF8String."""
    return wire[at:end].decode()


def read_boolean(wire: bytes, at: int, end: int) -> bool:
    """The value of a BOOLEAN."""
    if end - at != 1 or wire[at] not in (0x00, 0xFF):
        raise MalformedFrame("Not DER: a BOOLEAN is one octet, 00 or FF.")
    return wire[at] == 0xFF


def _check_integer(wire: bytes, at: int, end: int) -> None:
    size = end - at
    if size < 1:
        raise MalformedFrame("Not DER: an INTEGER has at least one octet.")
    if size > 1 and (wire[at], wire[at + 1] >> 7) in ((0x00, 0), (0xFF, 1)):
        raise MalformedFrame("Not DER: an INTEGER in more octets than it needs.")


def number_reader(low: int, high: int, where: str) -> Reader:
    """A reader of INTEGERs in these bounds, which are in them."""
    bad = f"{where} is a number from {low} to {high}"

    def read(wire: bytes, at: int, end: int) -> int:
        if not (at < end < at + 9 and 0 < wire[at] < 0x80):
            # A zero, a sign or a fault.  A long one is not made an int: its size is hostile.
            _check_integer(wire, at, end)
            if end - at > 9 or wire[at] > 0x7F:
                raise no_frame(bad)
        value = int.from_bytes(wire[at:end], "big")
        if not low <= value <= high:
            raise no_frame(bad)
        return value

    return read


def time_reader(where: str) -> Reader:
    """A reader of times, which are milliseconds here."""
    number = number_reader(0, 253402300799999, where)

    return lambda wire, at, end: rfc3339(number(wire, at, end))


@cache
def heads_of(identifier: bytes) -> Heads:
    """The headers with this tag: the same for all the many fields that have it."""
    return Heads(lambda size: head_of(identifier, size))


def string_writer(identifier: bytes) -> Writer:
    """A writer of UTF8Strings under this tag."""
    heads = heads_of(identifier)

    def write(value: str) -> bytes:
        contents = value.encode()
        return heads[len(contents)] + contents

    return write


def boolean_writer(identifier: bytes) -> Writer:
    """A writer of BOOLEANs under this tag."""
    false, true = identifier + b"\x01\x00", identifier + b"\x01\xff"
    return lambda value: true if value else false


def number_heads(identifier: bytes) -> list[bytes]:
    """The headers before INTEGERs of 0 to 8 octets."""
    return [head_of(identifier, size) for size in range(9)]


def number_writer(identifier: bytes) -> Writer:
    """A writer of INTEGERs under this tag: 0 to 2**63 - 1."""
    heads = number_heads(identifier)

    def write(value: int) -> bytes:
        if value >> 63:
            not_a_number(value)
        size = value.bit_length() // 8 + 1
        return heads[size] + value.to_bytes(size, "big")

    return write


def not_a_number(value: int) -> NoReturn:
    """Refuse a number that no INTEGER of this protocol has."""
    raise ValueError(f"not a number from 0 to 2**63 - 1: {value}")


def time_writer(identifier: bytes) -> Writer:
    """A writer of times under this tag."""
    number = number_writer(identifier)

    @lru_cache(maxsize=64)  # one commit, one time: many frames have the same one
    def write(value: str) -> bytes:
        return number(milliseconds(value))

    return write


def walk(wire: bytes, at: int, end: int, depth: int) -> int:
    """Check that one value that means nothing to us is DER at least.

    @param depth: how many values it is in, itself counted.
    @return: the offset behind it.
    """
    if depth > DEPTH:
        raise MalformedFrame(f"Nested too deeply: at most {DEPTH} values within each other.")
    bits, number, at, stop = header_at(wire, at, end)
    if bits & CLASS == UNIVERSAL:
        _check_universal(number, bool(bits & CONSTRUCTED), wire[at:stop])
    if bits & CONSTRUCTED:
        while at < stop:
            at = walk(wire, at, stop, depth + 1)
    return stop


def _check_universal(number: int, constructed: bool, contents: bytes) -> None:
    """Check the contents of a value that says itself of what type it is."""
    if number == 0 or constructed != (number in _MADE_OF_OTHERS):
        raise MalformedFrame(f"Not DER: a value of universal type {number} in this form.")
    size = len(contents)
    if number == 1:
        read_boolean(contents, 0, size)
    elif number in (2, 10):
        _check_integer(contents, 0, size)
    elif number == 5 and contents:
        raise MalformedFrame("Not DER: a NULL is empty.")
    elif number == 12:
        contents.decode()


def no_frame(what: str) -> BadFrame:
    """The fault of what is lawful DER, and yet no frame."""
    return BadFrame(f"No frame of this protocol: {what}.")
