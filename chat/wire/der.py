"""The DER codec: frames as C{chat.asn1} describes them, in strict X.690.

Each frame type is compiled, when this module is imported, from its declaration
in L{chat.messages} into a writer and a reader, so that one message costs a
microsecond or two.  L{chat.wire.schema} says the same through pyasn1, fifty times
slower; the tests hold this module to it.

Two kinds of fault are told apart.  Bytes that no lawful encoder writes are
L{MalformedFrame}: nobody knows what else is wrong with them.  Lawful DER that is
no frame of this protocol is L{BadFrame}; since the first kind is worse, a reader
that finds a bad field goes on to the end before it says so.

What DER is stands in L{chat.wire.der_headers}, L{chat.wire.der_values} and
L{chat.wire.der_structs}, with the clauses of X.690.
"""

from __future__ import annotations

from typing import Callable, Sequence

from chat.errors import BadFrame, MalformedFrame
from chat.messages import SYSTEM, Frame, Login, Message, keyword
from chat.wire.der_headers import CONSTRUCTED, CONTEXT, Heads, head_of, header_at, identifier_of, long_size
from chat.wire.der_structs import contents_writer, sequence_reader, sequence_writer
from chat.wire.der_values import Writer, no_frame, walk

#: The form of a CHOICE's alternative, all of which are made of others.
_CHOICE = CONTEXT | CONSTRUCTED


def encode(frame: Frame) -> bytes:
    """One frame in DER.

    @raise ValueError: a string holds a lone surrogate, a time is none, or a number
        is below 0 or above 2**63 - 1.
    """
    return _WRITERS[type(frame)](frame)


def decode(wire: bytes) -> Frame:
    """The frame that these bytes are; see L{chat.wire.deserialize}."""
    try:
        return _read_frame(wire)
    except IndexError:
        raise MalformedFrame("Not DER: the value ends before its header does.") from None
    except UnicodeDecodeError:
        raise MalformedFrame("Not UTF-8: a UTF8String holds other bytes.") from None


def encode_all(frames: Sequence[Frame]) -> bytes:
    """All these frames in DER, back to back; see L{encode}."""
    return b"".join([_WRITERS[type(frame)](frame) for frame in frames])


def decode_front(values: bytes, most: int) -> tuple[list[Frame], int]:
    """The frames at the front of these bytes, up to so many, and how many bytes they took.

    It ends before what is not whole, and before anything that L{decode} refuses and says what is
    wrong with.
    """
    frames: list[Frame] = []
    at = 0
    end = len(values)
    try:
        while at < end and len(frames) < most:
            start = at + 2
            size = values[at + 1]
            if size == 0x81 and values[start] > 0x7F:  # L{long_size} would say the same, and take its time
                size = values[start]
                start += 1
            elif size > 0x7F:
                size, start = long_size(values, start, size)
            stop = start + size
            if stop > end:
                break
            frames.append(_READER_BY_OCTET[values[at]](values, start, stop))
            at = stop
    except (IndexError, KeyError, UnicodeDecodeError, BadFrame, MalformedFrame):
        pass
    return frames, at


def _system_writer(number: int, struct: type[Frame]) -> Writer:
    identifier = identifier_of(_CHOICE, number)
    write_contents = contents_writer(struct)

    def head(size: int) -> bytes:
        choice = head_of(identifier, size)
        return head_of(b"\xa0", len(choice) + size) + choice

    heads = Heads(head)

    def write(value: Frame) -> bytes:
        contents = write_contents(value)
        return heads[len(contents)] + contents

    return write


#: The alternatives of Frame.  C{system} is a CHOICE, which a tag cannot replace
#: (X.680 31.2.7): its [0] is around the tag of the keyword.
_WRITERS: dict[type[Frame], Writer] = {
    **{struct: _system_writer(number, struct) for number, struct in enumerate(SYSTEM)},
    Login: sequence_writer(Login, b"\xa1"),
    Message: sequence_writer(Message, b"\xa2"),
}
_READERS = {
    1: sequence_reader(Login, "login", 2),
    2: sequence_reader(Message, "message", 2),
}
_SYSTEM_READERS = [sequence_reader(struct, keyword(struct), 3) for struct in SYSTEM]
#: The same by the octet of their tags, as far as those have one.
_SYSTEM_READER_BY_OCTET = {_CHOICE | number: reader for number, reader in enumerate(_SYSTEM_READERS[:0x1F])}


def _read_frame(wire: bytes) -> Frame:
    end = len(wire)
    bits, number, at, stop = header_at(wire, 0, end)
    if stop != end:
        raise MalformedFrame("Not DER: bytes after the end of the value.")
    if bits == _CHOICE:
        if number == 0:
            return _read_system(wire, at, end)
        reader = _READERS.get(number)
        if reader:
            return reader(wire, at, end)  # type: ignore[no-any-return]
    walk(wire, 0, end, 1)
    raise no_frame("a frame is [0] system, [1] login or [2] message")


def _read_system(wire: bytes, start: int, end: int) -> Frame:
    # What is nearly always there; everything else, and what is wrong with it, below.
    if start + 2 <= end and start + 2 + wire[start + 1] == end and wire[start + 1] < 0x80:
        reader = _SYSTEM_READER_BY_OCTET.get(wire[start])
        if reader is not None:
            return reader(wire, start + 2, end)  # type: ignore[no-any-return]
    if start == end:
        raise no_frame("system has no keyword")
    bits, number, at, stop = header_at(wire, start, end)
    if stop != end:
        raise MalformedFrame("Not DER: [0] system holds more than one value.")
    if bits == _CHOICE and number < len(_SYSTEM_READERS):
        return _SYSTEM_READERS[number](wire, at, end)  # type: ignore[no-any-return]
    walk(wire, start, end, 2)
    raise no_frame(f"system has no keyword with this tag, [{number}]")


_READER_BY_OCTET: dict[int, Callable[[bytes, int, int], Frame]] = {
    _CHOICE | 0: _read_system,
    **{_CHOICE | number: reader for number, reader in _READERS.items()},
}
