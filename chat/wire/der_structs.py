"""Each declaration of L{chat.messages}, compiled into a writer and a reader of its SEQUENCE.

The clause of X.690: the fields of a SEQUENCE in their order (8.9.2).
"""

from __future__ import annotations

from typing import Any

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
from chat.messages import REF_BYTES
from chat.wire.der_headers import (
    CLASS,
    CONSTRUCTED,
    CONTEXT,
    UNIVERSAL,
    head_of,
    header_at,
    identifier_of,
    long_size,
    overrun,
)
from chat.wire.der_values import (
    Reader,
    Writer,
    boolean_writer,
    no_frame,
    number_reader,
    number_writer,
    read_boolean,
    read_string,
    string_writer,
    time_reader,
    time_writer,
    walk,
)

_INTEGER, _UTF8_STRING, _SEQUENCE = 0x02, 0x0C, 0x30
_DISORDER = "Not DER: the fields of a SEQUENCE in another order, or one of them twice."


def sequence_writer(struct: type[msgspec.Struct], identifier: bytes) -> Writer:
    """A writer of a SEQUENCE under this tag."""
    write_contents = contents_writer(struct)

    def write(value: msgspec.Struct) -> bytes:
        contents = write_contents(value)
        return head_of(identifier, len(contents)) + contents

    return write


def contents_writer(struct: type[msgspec.Struct]) -> Writer:
    """A writer of the fields that a value has: an expression that names each of them, compiled.

    A loop over the fields would cost as much again as writing them.
    """
    names: dict[str, Any] = {}
    terms = []
    for number, field in enumerate(_fields(struct)):
        names[f"write_{number}"] = _writer(_plain(field.type), CONTEXT, number)
        names[f"default_{number}"] = _default(field)
        if field.required:
            terms.append(f"write_{number}(value.{field.name})")
        else:
            same = "is" if field.default is None else "=="
            absent = f"(one := value.{field.name}) {same} default_{number}"
            terms.append(f'b"" if {absent} else write_{number}(one)')
    write: Writer = eval(f'lambda value: b"".join([{", ".join(terms)}])', names)
    return write


def sequence_reader(struct: type[msgspec.Struct], where: str, depth: int) -> Reader:
    """A reader of a SEQUENCE.

    @param depth: how many values its fields are in, themselves counted.
    """
    fields = _fields(struct)
    kinds = [_plain(field.type) for field in fields]
    names = [f"{where}.{field.name}" for field in fields]
    known = {
        CONTEXT | _form(kind) | number: (number, field.name, _reader(kind, name, depth))
        for number, (kind, field, name) in enumerate(zip(kinds, fields, names))
    }
    unknown: tuple[int, str, Reader] = (-1, "", read_string)

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
                size, at = long_size(wire, at, size)
            stop = at + size
            if read_field is read_string:  # here: the call would cost as much as the reading
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
            _, _, at, stop = header_at(wire, at, end)
            try:
                values[name] = read_field(wire, at, stop)
            except BadFrame as error:
                fault = fault or error
            at = stop
        for declared, name in zip(fields, names):
            if declared.required and declared.name not in values:
                fault = fault or no_frame(f"{name} is missing")
        if fault is not None:
            raise BadFrame(fault.reason, ref=_ref(values.get("ref")))
        return struct(**values)

    def pass_over(wire: bytes, at: int, end: int, last: int) -> tuple[int, int, BadFrame | None]:
        """Check a field that is none of ours: a later version's, or a mistake."""
        stop = walk(wire, at, end, depth)
        bits, number, _, _ = header_at(wire, at, end)
        if bits & CLASS != CONTEXT:
            return last, stop, no_frame(f"{where} has a field with a tag that is not [n]")
        if number <= last:
            raise MalformedFrame(_DISORDER)
        if number >= len(fields):
            return number, stop, None
        if isinstance(kinds[number], StrType):
            raise MalformedFrame("Not DER: a string is primitive, in one piece.")
        return number, stop, no_frame(f"{names[number]} is of another kind")

    return read


def _list_writer(kind: Type, identifier: bytes) -> Writer:
    write_item = _writer(kind, UNIVERSAL, _universal(kind) & 0x1F)

    def write(values: list[Any]) -> bytes:
        contents = b"".join([write_item(value) for value in values])
        return head_of(identifier, len(contents)) + contents

    return write


def _list_reader(kind: Type, where: str, depth: int) -> Reader:
    octet = _universal(kind)
    read_item = _reader(kind, f"{where}[]", depth)
    #: Whether whatever is positive and has no more than eight octets is in range.
    numbers = isinstance(kind, IntType) and (kind.ge, kind.le) == (0, (1 << 63) - 1)

    def read(wire: bytes, at: int, end: int) -> list[Any]:
        values = []
        fault: BadFrame | None = None
        while at < end:
            if wire[at] != octet:
                at = walk(wire, at, end, depth)
                fault = fault or no_frame(f"{where}[] is of another kind")
                continue
            size = wire[at + 1]
            at += 2
            if size > 0x7F:
                size, at = long_size(wire, at, size)
            stop = at + size
            if stop > end:
                overrun()
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
    return CONSTRUCTED if isinstance(kind, (ListType, StructType)) else 0


def _universal(kind: Type) -> int:
    if isinstance(kind, StrType):
        return _UTF8_STRING
    return _SEQUENCE if isinstance(kind, StructType) else _INTEGER


def _writer(kind: Type, tag_class: int, number: int) -> Writer:
    identifier = identifier_of(tag_class | _form(kind), number)
    if isinstance(kind, StrType):
        return string_writer(identifier)
    if isinstance(kind, BoolType):
        return boolean_writer(identifier)
    if isinstance(kind, IntType):
        return number_writer(identifier)
    if isinstance(kind, ListType):
        return _list_writer(kind.item_type, identifier)
    if isinstance(kind, StructType):
        return sequence_writer(kind.cls, identifier)
    assert isinstance(kind, Metadata) and kind.extra == {"der": "milliseconds"}, kind
    return time_writer(identifier)


def _reader(kind: Type, where: str, depth: int) -> Reader:
    if isinstance(kind, StrType):
        return read_string
    if isinstance(kind, BoolType):
        return read_boolean
    if isinstance(kind, IntType):
        assert kind.ge is not None and kind.le is not None, where
        return number_reader(kind.ge, kind.le, where)
    if isinstance(kind, ListType):
        return _list_reader(kind.item_type, where, depth + 1)
    if isinstance(kind, StructType):
        return sequence_reader(kind.cls, where, depth + 1)
    return time_reader(where)


def _ref(ref: str | None) -> str | None:
    """The C{ref} to answer with, unless it is one that no answer could repeat."""
    return ref if ref is not None and len(ref.encode()) <= REF_BYTES else None
