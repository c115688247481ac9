"""The DER codec: frames as C{chat.asn1} describes them, in strict X.690.

Each frame type is compiled, when this module is imported, from its declaration
in L{chat.messages} into a writer and a reader, so that one message costs a
microsecond or two.  L{chat.wire.schema} says the same through pyasn1, fifty times
slower; the tests hold this module to it.

Two kinds of fault are told apart.  Bytes that no lawful encoder writes are
L{MalformedFrame}: nobody knows what else is wrong with them.  Lawful DER that is
no frame of this protocol is L{BadFrame}; since the first kind is worse, a reader
that finds a bad field goes on to the end before it says so.

What DER is, with the clauses of X.690: definite lengths in as few octets as can
be (8.1.3, 10.1), tag numbers likewise (8.1.2.4), INTEGERs in as few octets as
can be (8.3.2), BOOLEANs C{00} or C{FF} (11.1), strings in one piece (10.2), the
fields of a SEQUENCE in their order (8.9.2).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable, NoReturn, Sequence

import msgspec
from msgspec.inspect import (
    BoolType,
    Field,
    IntType,
    ListType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    type_info,
)

from chat.errors import BadFrame, MalformedFrame
from chat.messages import (
    REF_BYTES,
    SYSTEM,
    Frame,
    Login,
    Message,
    keyword,
    milliseconds,
    rfc3339,
)

#: How deep values may nest, so that hostile bytes cannot exhaust the stack.
DEPTH = 16

#: One value to its contents octets with the header before them.
_Writer = Callable[[Any], bytes]
#: The contents octets from one offset to another, to a value.
_Reader = Callable[[bytes, int, int], Any]

_UNIVERSAL, _CONTEXT, _CONSTRUCTED, _CLASS = 0x00, 0x80, 0x20, 0xC0
#: The form of a CHOICE's alternative, all of which are made of others.
_CHOICE = _CONTEXT | _CONSTRUCTED
_INTEGER, _UTF8_STRING, _SEQUENCE = 0x02, 0x0C, 0x30
#: The universal types that are made of others: EXTERNAL, EMBEDDED PDV, SEQUENCE,
#: SET, CHARACTER STRING.
_MADE_OF_OTHERS = frozenset({8, 11, 16, 17, 29})


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
            if size == 0x81 and values[start] > 0x7F:  # L{_size} would say the same, and take its time
                size = values[start]
                start += 1
            elif size > 0x7F:
                size, start = _size(values, start, size)
            stop = start + size
            if stop > end:
                break
            frames.append(_READER_BY_OCTET[values[at]](values, start, stop))
            at = stop
    except (IndexError, KeyError, UnicodeDecodeError, BadFrame, MalformedFrame):
        pass
    return frames, at


# --- headers -------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _head(identifier: bytes, size: int) -> bytes:
    """Identifier and length octets before C{size} octets of contents."""
    if size < 0x80:
        return identifier + bytes((size,))
    count = (size.bit_length() + 7) // 8
    return identifier + ((0x80 | count) << 8 * count | size).to_bytes(count + 1, "big")


def _identifier(bits: int, number: int) -> bytes:
    """The identifier octets of a tag: class and form in C{bits}, and a number."""
    if number < 0x1F:
        return bytes((bits | number,))
    septets = [number & 0x7F]
    while number := number >> 7:
        septets.append(0x80 | number & 0x7F)
    return bytes((bits | 0x1F, *reversed(septets)))


def _size(wire: bytes, at: int, first: int) -> tuple[int, int]:
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


def _header(wire: bytes, at: int, end: int) -> tuple[int, int, int, int]:
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
        size, at = _size(wire, at, size)
    if at + size > end:
        _overrun()
    return bits, number, at, at + size


def _overrun() -> NoReturn:
    raise MalformedFrame("Not DER: a value reaches beyond the end of what holds it.")


def _walk(wire: bytes, at: int, end: int, depth: int) -> int:
    """Check that one value that means nothing to us is DER at least.

    @param depth: how many values it is in, itself counted.
    @return: the offset behind it.
    """
    if depth > DEPTH:
        raise MalformedFrame(f"Nested too deeply: at most {DEPTH} values within each other.")
    bits, number, at, stop = _header(wire, at, end)
    if bits & _CLASS == _UNIVERSAL:
        _check_universal(number, bool(bits & _CONSTRUCTED), wire[at:stop])
    if bits & _CONSTRUCTED:
        while at < stop:
            at = _walk(wire, at, stop, depth + 1)
    return stop


def _check_universal(number: int, constructed: bool, contents: bytes) -> None:
    """Check the contents of a value that says itself of what type it is."""
    if number == 0 or constructed != (number in _MADE_OF_OTHERS):
        raise MalformedFrame(f"Not DER: a value of universal type {number} in this form.")
    size = len(contents)
    if number == 1:
        _read_boolean(contents, 0, size)
    elif number in (2, 10):
        _check_integer(contents, 0, size)
    elif number == 5 and contents:
        raise MalformedFrame("Not DER: a NULL is empty.")
    elif number == 12:
        contents.decode()


# --- values of one piece ---------------------------------------------------------------


def _read_string(wire: bytes, at: int, end: int) -> str:
    return wire[at:end].decode()


def _read_boolean(wire: bytes, at: int, end: int) -> bool:
    if end - at != 1 or wire[at] not in (0x00, 0xFF):
        raise MalformedFrame("Not DER: a BOOLEAN is one octet, 00 or FF.")
    return wire[at] == 0xFF


def _check_integer(wire: bytes, at: int, end: int) -> None:
    size = end - at
    if size < 1:
        raise MalformedFrame("Not DER: an INTEGER has at least one octet.")
    if size > 1 and (wire[at], wire[at + 1] >> 7) in ((0x00, 0), (0xFF, 1)):
        raise MalformedFrame("Not DER: an INTEGER in more octets than it needs.")


def _number_reader(low: int, high: int, where: str) -> _Reader:
    bad = f"{where} is a number from {low} to {high}"

    def read(wire: bytes, at: int, end: int) -> int:
        if not (at < end < at + 9 and 0 < wire[at] < 0x80):
            # A zero, a sign or a fault.  A long one is not made an int: its size is hostile.
            _check_integer(wire, at, end)
            if end - at > 9 or wire[at] > 0x7F:
                raise _bad(bad)
        value = int.from_bytes(wire[at:end], "big")
        if not low <= value <= high:
            raise _bad(bad)
        return value

    return read


def _time_reader(where: str) -> _Reader:
    number = _number_reader(0, 253402300799999, where)

    return lambda wire, at, end: rfc3339(number(wire, at, end))


def _string_writer(identifier: bytes) -> _Writer:
    heads = [_head(identifier, size) for size in range(0x80)]

    def write(value: str) -> bytes:
        contents = value.encode()
        size = len(contents)
        return (heads[size] if size < 0x80 else _head(identifier, size)) + contents

    return write


def _boolean_writer(identifier: bytes) -> _Writer:
    false, true = identifier + b"\x01\x00", identifier + b"\x01\xff"
    return lambda value: true if value else false


def _number_writer(identifier: bytes) -> _Writer:
    heads = [_head(identifier, size) for size in range(9)]

    def write(value: int) -> bytes:
        if not 0 <= value < 1 << 63:
            raise ValueError(f"not a number from 0 to 2**63 - 1: {value}")
        size = value.bit_length() // 8 + 1
        return heads[size] + value.to_bytes(size, "big")

    return write


def _time_writer(identifier: bytes) -> _Writer:
    number = _number_writer(identifier)

    @lru_cache(maxsize=64)  # one commit, one time: many frames have the same one
    def write(value: str) -> bytes:
        return number(milliseconds(value))

    return write


# --- values made of others -------------------------------------------------------------


def _sequence_writer(struct: type[msgspec.Struct], identifier: bytes) -> _Writer:
    write_contents = _contents_writer(struct)

    def write(value: msgspec.Struct) -> bytes:
        contents = write_contents(value)
        return _head(identifier, len(contents)) + contents

    return write


def _contents_writer(struct: type[msgspec.Struct]) -> _Writer:
    """A writer of the fields that a value has: an expression that names each of them, compiled.

    A loop over the fields would cost as much again as writing them.
    """
    names: dict[str, Any] = {}
    terms = []
    for number, field in enumerate(_fields(struct)):
        names[f"write_{number}"] = _writer(_plain(field.type), _CONTEXT, number)
        names[f"default_{number}"] = _default(field)
        if field.required:
            terms.append(f"write_{number}(value.{field.name})")
        else:
            same = "is" if field.default is None else "=="
            absent = f"(one := value.{field.name}) {same} default_{number}"
            terms.append(f'b"" if {absent} else write_{number}(one)')
    write: _Writer = eval(f'lambda value: b"".join([{", ".join(terms)}])', names)
    return write


def _sequence_reader(struct: type[msgspec.Struct], where: str, depth: int) -> _Reader:
    """A reader of a SEQUENCE.

    @param depth: how many values its fields are in, themselves counted.
    """
    fields = _fields(struct)
    kinds = [_plain(field.type) for field in fields]
    names = [f"{where}.{field.name}" for field in fields]
    known = {
        _CONTEXT | _form(kind) | number: (number, field.name, _reader(kind, name, depth))
        for number, (kind, field, name) in enumerate(zip(kinds, fields, names))
    }
    unknown: tuple[int, str, _Reader] = (-1, "", _read_string)

    def read(wire: bytes, at: int, end: int) -> msgspec.Struct:
        """Read what an encoder of this version writes; leave anything else to L{examine}."""
        start = at
        values: dict[str, Any] = {}
        last = -1
        while at < end:
            number, name, read_field = known.get(wire[at], unknown)
            if number <= last:
                break
            last = number
            size = wire[at + 1]
            at += 2
            if size == 0x81 and wire[at] > 0x7F:  # as in L{decode_front}
                size = wire[at]
                at += 1
            elif size > 0x7F:
                size, at = _size(wire, at, size)
            stop = at + size
            if read_field is _read_string:  # here: the call would cost as much as the reading
                values[name] = wire[at:stop].decode()
            else:
                try:
                    values[name] = read_field(wire, at, stop)
                except BadFrame:
                    return examine(wire, start, end)
            at = stop
        if at == end:
            try:
                return struct(**values)
            except TypeError:  # a field is missing
                pass
        return examine(wire, start, end)

    def examine(wire: bytes, at: int, end: int) -> msgspec.Struct:
        """Read from the beginning, passing over what is unknown, and find what is wrong."""
        values: dict[str, Any] = {}
        last = -1
        fault: BadFrame | None = None
        while at < end:
            field = known.get(wire[at])
            if field is None:
                last, at, odd = pass_over(wire, at, end, last)
                fault = fault or odd
                continue
            number, name, read_field = field
            if number <= last:
                raise MalformedFrame(_DISORDER)
            last = number
            _, _, at, stop = _header(wire, at, end)
            try:
                values[name] = read_field(wire, at, stop)
            except BadFrame as error:
                fault = fault or error
            at = stop
        for declared, name in zip(fields, names):
            if declared.required and declared.name not in values:
                fault = fault or _bad(f"{name} is missing")
        if fault is not None:
            raise BadFrame(fault.reason, ref=_ref(values.get("ref")))
        return struct(**values)

    def pass_over(wire: bytes, at: int, end: int, last: int) -> tuple[int, int, BadFrame | None]:
        """Check a field that is none of ours: a later version's, or a mistake."""
        stop = _walk(wire, at, end, depth)
        bits, number, _, _ = _header(wire, at, end)
        if bits & _CLASS != _CONTEXT:
            return last, stop, _bad(f"{where} has a field with a tag that is not [n]")
        if number <= last:
            raise MalformedFrame(_DISORDER)
        if number >= len(fields):
            return number, stop, None
        if isinstance(kinds[number], StrType):
            raise MalformedFrame("Not DER: a string is primitive, in one piece.")
        return number, stop, _bad(f"{names[number]} is of another kind")

    return read


_DISORDER = "Not DER: the fields of a SEQUENCE in another order, or one of them twice."


def _list_writer(kind: Type, identifier: bytes) -> _Writer:
    write_item = _writer(kind, _UNIVERSAL, _universal(kind) & 0x1F)

    def write(values: list[Any]) -> bytes:
        contents = b"".join([write_item(value) for value in values])
        return _head(identifier, len(contents)) + contents

    return write


def _list_reader(kind: Type, where: str, depth: int) -> _Reader:
    octet = _universal(kind)
    read_item = _reader(kind, f"{where}[]", depth)
    #: Whether whatever is positive and has no more than eight octets is in range.
    numbers = isinstance(kind, IntType) and (kind.ge, kind.le) == (0, (1 << 63) - 1)

    def read(wire: bytes, at: int, end: int) -> list[Any]:
        values = []
        fault: BadFrame | None = None
        while at < end:
            if wire[at] != octet:
                at = _walk(wire, at, end, depth)
                fault = fault or _bad(f"{where}[] is of another kind")
                continue
            size = wire[at + 1]
            at += 2
            if size > 0x7F:
                size, at = _size(wire, at, size)
            stop = at + size
            if stop > end:
                _overrun()
            if numbers and at < stop < at + 9 and 0 < wire[at] < 0x80:
                values.append(int.from_bytes(wire[at:stop], "big"))
            else:
                try:
                    values.append(read_item(wire, at, stop))
                except BadFrame as error:
                    fault = fault or error
            at = stop
        if fault is not None:
            raise fault
        return values

    return read


# --- from the declarations -------------------------------------------------------------


def _fields(struct: type[msgspec.Struct]) -> tuple[Field, ...]:
    declared = type_info(struct)
    assert isinstance(declared, StructType)
    assert len(declared.fields) < 0x1F, "a field's tag has one octet here"
    return declared.fields


def _default(field: Field) -> Any:
    """What the absence of an optional field stands for; a list's is an empty one."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _plain(kind: Type) -> Type:
    """The type without its C{Optional}: in ASN.1 that is the field's, not the type's."""
    if isinstance(kind, UnionType):
        (kind,) = [one for one in kind.types if not isinstance(one, NoneType)]
    return kind


def _form(kind: Type) -> int:
    return _CONSTRUCTED if isinstance(kind, (ListType, StructType)) else 0


def _universal(kind: Type) -> int:
    if isinstance(kind, StrType):
        return _UTF8_STRING
    return _SEQUENCE if isinstance(kind, StructType) else _INTEGER


def _writer(kind: Type, tag_class: int, number: int) -> _Writer:
    identifier = _identifier(tag_class | _form(kind), number)
    if isinstance(kind, StrType):
        return _string_writer(identifier)
    if isinstance(kind, BoolType):
        return _boolean_writer(identifier)
    if isinstance(kind, IntType):
        return _number_writer(identifier)
    if isinstance(kind, ListType):
        return _list_writer(kind.item_type, identifier)
    if isinstance(kind, StructType):
        return _sequence_writer(kind.cls, identifier)
    assert isinstance(kind, Metadata) and kind.extra == {"der": "milliseconds"}, kind
    return _time_writer(identifier)


def _reader(kind: Type, where: str, depth: int) -> _Reader:
    if isinstance(kind, StrType):
        return _read_string
    if isinstance(kind, BoolType):
        return _read_boolean
    if isinstance(kind, IntType):
        assert kind.ge is not None and kind.le is not None, where
        return _number_reader(kind.ge, kind.le, where)
    if isinstance(kind, ListType):
        return _list_reader(kind.item_type, where, depth + 1)
    if isinstance(kind, StructType):
        return _sequence_reader(kind.cls, where, depth + 1)
    return _time_reader(where)


# --- frames ------------------------------------------------------------------------------


def _system_writer(number: int, struct: type[Frame]) -> _Writer:
    identifier = _identifier(_CHOICE, number)
    write_contents = _contents_writer(struct)

    def write(value: Frame) -> bytes:
        contents = write_contents(value)
        choice = _head(identifier, len(contents))
        return _head(b"\xa0", len(choice) + len(contents)) + choice + contents

    return write


#: The alternatives of Frame.  C{system} is a CHOICE, which a tag cannot replace
#: (X.680 31.2.7): its [0] is around the tag of the keyword.
_WRITERS: dict[type[Frame], _Writer] = {
    **{struct: _system_writer(number, struct) for number, struct in enumerate(SYSTEM)},
    Login: _sequence_writer(Login, b"\xa1"),
    Message: _sequence_writer(Message, b"\xa2"),
}
_READERS = {
    1: _sequence_reader(Login, "login", 2),
    2: _sequence_reader(Message, "message", 2),
}
_SYSTEM_READERS = [_sequence_reader(struct, keyword(struct), 3) for struct in SYSTEM]
#: The same by the octet of their tags, as far as those have one.
_SYSTEM_READER_BY_OCTET = {_CHOICE | number: reader for number, reader in enumerate(_SYSTEM_READERS[:0x1F])}


def _read_frame(wire: bytes) -> Frame:
    end = len(wire)
    bits, number, at, stop = _header(wire, 0, end)
    if stop != end:
        raise MalformedFrame("Not DER: bytes after the end of the value.")
    if bits == _CHOICE:
        if number == 0:
            return _read_system(wire, at, end)
        reader = _READERS.get(number)
        if reader:
            return reader(wire, at, end)  # type: ignore[no-any-return]
    _walk(wire, 0, end, 1)
    raise _bad("a frame is [0] system, [1] login or [2] message")


def _read_system(wire: bytes, start: int, end: int) -> Frame:
    # What is nearly always there; everything else, and what is wrong with it, below.
    if start + 2 <= end and start + 2 + wire[start + 1] == end and wire[start + 1] < 0x80:
        reader = _SYSTEM_READER_BY_OCTET.get(wire[start])
        if reader is not None:
            return reader(wire, start + 2, end)  # type: ignore[no-any-return]
    if start == end:
        raise _bad("system has no keyword")
    bits, number, at, stop = _header(wire, start, end)
    if stop != end:
        raise MalformedFrame("Not DER: [0] system holds more than one value.")
    if bits == _CHOICE and number < len(_SYSTEM_READERS):
        return _SYSTEM_READERS[number](wire, at, end)  # type: ignore[no-any-return]
    _walk(wire, start, end, 2)
    raise _bad(f"system has no keyword with this tag, [{number}]")


_READER_BY_OCTET: dict[int, Callable[[bytes, int, int], Frame]] = {
    _CHOICE | 0: _read_system,
    **{_CHOICE | number: reader for number, reader in _READERS.items()},
}


def _bad(what: str) -> BadFrame:
    return BadFrame(f"No frame of this protocol: {what}.")


def _ref(ref: str | None) -> str | None:
    """The C{ref} to answer with, unless it is one that no answer could repeat."""
    return ref if ref is not None and len(ref.encode()) <= REF_BYTES else None
