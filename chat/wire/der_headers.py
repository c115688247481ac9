"""What every DER value begins with: its identifier and length octets, in strict X.690.

The clauses: definite lengths in as few octets as can be (8.1.3, 10.1), tag numbers likewise (8.1.2.4).
"""

from __future__ import annotations

from typing import Callable, NoReturn

from chat.errors import MalformedFrame

UNIVERSAL, CONTEXT, CONSTRUCTED, CLASS = 0x00, 0x80, 0x20, 0xC0


#: Contents of so many octets are common, and larger ones are rare.
_SMALL = 1024


def head_of(identifier: bytes, size: int) -> bytes:
    """Identifier and length octets before C{size} octets of contents."""
    if size < 0x80:
        return identifier + bytes((size,))
    count = (size.bit_length() + 7) // 8
    return identifier + ((0x80 | count) << 8 * count | size).to_bytes(count + 1, "big")


class Heads(dict[int, bytes]):
    """What stands before contents of each size; made when it is first wanted, and kept for small ones."""

    def __init__(self, make: Callable[[int], bytes]) -> None:
        """Ask C{make} for those before so many octets."""
        self._make = make

    def __missing__(self, size: int) -> bytes:
        head = self._make(size)
        if size < _SMALL:
            self[size] = head
        return head


def identifier_of(bits: int, number: int) -> bytes:
    """The identifier octets of a tag: class and form in C{bits}, and a number."""
    if number < 0x1F:
        return bytes((bits | number,))
    septets = [number & 0x7F]
    while number := number >> 7:
        septets.append(0x80 | number & 0x7F)
    return bytes((bits | 0x1F, *reversed(septets)))


def long_size(wire: bytes, at: int, first: int) -> tuple[int, int]:
    """A length in the long form and the offset behind it.

    @param at: the offset behind its first octet.
    @param first: that octet, above 127.
    """
    count = first & 0x7F
    if count == 0:
        raise MalformedFrame("Not DER: lengths are definite.")
    if count > 8:
        raise MalformedFrame("Not DER: a length of more than eight octets.")
    size = int.from_bytes(wire[at : at + count], "big")
    if size < 0x80 or size >> (8 * (count - 1)) == 0:
        raise MalformedFrame("Not DER: a length in more octets than it needs, or cut short.")
    return size, at + count


def header_at(wire: bytes, at: int, end: int) -> tuple[int, int, int, int]:
    """What any value begins with.

    @return: class and form bits, tag number, and where the contents begin and end.
    """
    bits = wire[at] & 0xE0
    number = wire[at] & 0x1F
    at += 1
    if number == 0x1F:
        number = wire[at] & 0x7F
        if not number:
            raise MalformedFrame("Not DER: a tag number in more octets than it needs.")
        while wire[at] & 0x80:
            at += 1
            number = number << 7 | wire[at] & 0x7F
            if number > 0x1FFFFF:
                raise MalformedFrame("Not DER: a tag number over 2097151.")
        at += 1
        if number < 0x1F:
            raise MalformedFrame("Not DER: a tag number in more octets than it needs.")
    size = wire[at]
    at += 1
    if size > 0x7F:
        size, at = long_size(wire, at, size)
    if at + size > end:
        overrun()
    return bits, number, at, at + size


def overrun() -> NoReturn:
    """Refuse a value that has no end where it should."""
    raise MalformedFrame("Not DER: a value reaches beyond the end of what holds it.")
