"""Each declaration of L{chat.messages}, compiled into a writer and a reader of its SEQUENCE.

The clause of X.690: the fields of a SEQUENCE in their order (8.9.2).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import takewhile
from typing import Any, Callable, Sequence

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
    header_at,
    identifier_of,
    long_size,
    overrun,
)
from chat.wire.der_values import (
    Reader,
    Writer,
    boolean_writer,
    heads_of,
    no_frame,
    not_a_number,
    number_heads,
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
#: Fields whose values are mostly those of a frame shortly before.
_REPEATED = frozenset({"sender", "recipient", "time", "state"})
#: How many combinations of them are remembered for each kind of frame.
_REMEMBERED = 256
_DISORDER = "Not DER: the fields of a SEQUENCE in another order, or one of them twice."


def sequence_writer(struct: type[msgspec.Struct], identifier: bytes) -> Writer:
    """A writer of a SEQUENCE under this tag."""
    write_contents = contents_writer(struct)
    heads = heads_of(identifier)

    def write(value: msgspec.Struct) -> bytes:
        contents = write_contents(value)
        return heads[len(contents)] + contents

    return write


def contents_writer(struct: type[msgspec.Struct]) -> Writer:
    """A writer of the fields that a value has: statements that name each of them, compiled.

    A loop over the fields would cost as much again as writing them, and a call for each text half as much.
    """
    names: dict[str, Any] = {}
    source = ["def write(value):", "    wire = b''"]
    fields = list(enumerate(_fields(struct)))
    while fields:
        repeated = list(takewhile(lambda each: each[1].name in _REPEATED, fields))
        if len(repeated) > 1:
            number = repeated[0][0]
            names[f"write_{number}"] = _remembering_writer(repeated)
            values = ", ".join([f"value.{field.name}" for _, field in repeated])
            source.append(f"    wire += write_{number}({values})")
            del fields[: len(repeated)]
        else:
            number, field = fields.pop(0)
            source += [f"    {line}" for line in _statements(number, field, f"value.{field.name}", names)]
    return _compiled(source, names)


def _remembering_writer(fields: Sequence[tuple[int, Field]]) -> Callable[..., bytes]:
    """A writer of these fields, which takes their values; what it wrote last it has at hand."""
    names: dict[str, Any] = {}
    source = [f"def write({', '.join([field.name for _, field in fields])}):", "    wire = b''"]
    for number, field in fields:
        source += [f"    {line}" for line in _statements(number, field, field.name, names)]
    return lru_cache(maxsize=_REMEMBERED)(_compiled(source, names))


def _statements(number: int, field: Field, value: str, names: dict[str, Any]) -> list[str]:
    """What adds one field to what is written, if it is there.

    @param value: the expression that gives it.
    @param names: what the statements name is put there.
    """
    kind = _plain(field.type)
    lines = [f"one = {value}"]
    if isinstance(kind, StrType):
        names[f"heads_{number}"] = heads_of(identifier_of(CONTEXT, number))
        lines += ["text = one.encode()", f"wire += heads_{number}[len(text)] + text"]
    elif isinstance(kind, IntType):
        names[f"heads_{number}"] = number_heads(identifier_of(CONTEXT, number))
        names["not_a_number"] = not_a_number
        lines += [
            "if one >> 63: not_a_number(one)",
            "size = one.bit_length() // 8 + 1",
            f"wire += heads_{number}[size] + one.to_bytes(size, 'big')",
        ]
    else:
        names[f"write_{number}"] = _writer(kind, CONTEXT, number)
        lines.append(f"wire += write_{number}(one)")
    if field.required:
        return lines
    names[f"default_{number}"] = default = _default(field)
    same = "is not" if default is None else "!="
    return [lines[0], f"if one {same} default_{number}:", *[f"    {line}" for line in lines[1:]]]


def _compiled(source: Sequence[str], names: dict[str, Any]) -> Callable[..., bytes]:
    """The function C{write} of this source, which may use these names."""
    exec("\n".join([*source, "    return wire"]), names)
    write: Callable[..., bytes] = names["write"]
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
            if size > 0x7F:
                if size == 0x81 and wire[at] > 0x7F:  # as in L{decode_front}
                    size = wire[at]
                    at += 1
                else:
                    size, at = long_size(wire, at, size)
            stop = at + size
            if read_field is read_string:  # here: the call would cost as much as the reading
                values[name] = wire[at:stop].decode()
            elif read_field is read_boolean and size == 1 and wire[at] == 0xFF:
                values[name] = True
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
    heads = heads_of(identifier)

    def write(values: list[Any]) -> bytes:
        contents = b"".join(map(write_item, values))
        return heads[len(contents)] + contents

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
