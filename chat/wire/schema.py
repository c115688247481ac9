"""The frames as a pyasn1 schema: the slow codec that the fast one is held to.

It says what C{chat.asn1} says, derived once more from L{chat.messages}.  The tests
compare L{chat.wire.der} with it, frame by frame and on hostile bytes; it serves
other programs as an example, too.  pyasn1 takes more than DER allows (lengths and
INTEGERs in more octets than they need, bytes after the end), so
L{reference_decode} takes only what would be encoded to the same bytes again.
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
from pyasn1.codec.der.decoder import decode as _decode
from pyasn1.codec.der.encoder import encode as _encode
from pyasn1.error import PyAsn1Error
from pyasn1.type import base, char, constraint, namedtype, tag, univ

from chat.messages import SYSTEM, Frame, Login, Message, keyword
from chat.times import milliseconds, rfc3339


def _plain(kind: Type) -> Type:
    """The type without its C{Optional}."""
    if isinstance(kind, UnionType):
        (kind,) = [one for one in kind.types if not isinstance(one, NoneType)]
    return kind


def _fields(struct: type[msgspec.Struct]) -> tuple[Field, ...]:
    declared = type_info(struct)
    assert isinstance(declared, StructType)
    return declared.fields


def _integer(low: int, high: int) -> Any:
    return univ.Integer().subtype(subtypeSpec=constraint.ValueRangeConstraint(low, high))


def _asn1(kind: Type) -> Any:
    """The pyasn1 type that stands for one of ours."""
    if isinstance(kind, StrType):
        return char.UTF8String()
    if isinstance(kind, BoolType):
        return univ.Boolean()
    if isinstance(kind, IntType):
        assert kind.ge is not None and kind.le is not None
        return _integer(kind.ge, kind.le)
    if isinstance(kind, ListType):
        return univ.SequenceOf(componentType=_asn1(kind.item_type))
    if isinstance(kind, StructType):
        return _sequence(kind.cls)
    assert isinstance(kind, Metadata) and kind.extra == {"der": "milliseconds"}, kind
    return _integer(0, 253402300799999)


def _automatic(number: int, kind: Any, explicit: bool = False) -> Any:
    """The same type with the tag that C{AUTOMATIC TAGS} gives it."""
    made_of_others = explicit or isinstance(kind, base.ConstructedAsn1Type)
    form = tag.tagFormatConstructed if made_of_others else tag.tagFormatSimple
    own = tag.Tag(tag.tagClassContext, form, number)
    return kind.subtype(explicitTag=own) if explicit else kind.subtype(implicitTag=own)


def _sequence(struct: type[msgspec.Struct]) -> Any:
    return univ.Sequence(
        componentType=namedtype.NamedTypes(
            *[
                (namedtype.NamedType if field.required else namedtype.OptionalNamedType)(
                    field.name, _automatic(number, _asn1(_plain(field.type)))
                )
                for number, field in enumerate(_fields(struct))
            ]
        )
    )


#: C{System} of the module: a CHOICE with one alternative for each keyword.
SYSTEM_SCHEMA = univ.Choice(
    componentType=namedtype.NamedTypes(
        *[
            namedtype.NamedType(keyword(struct), _automatic(number, _sequence(struct)))
            for number, struct in enumerate(SYSTEM)
        ]
    )
)
#: C{Frame} of the module.
FRAME_SCHEMA = univ.Choice(
    componentType=namedtype.NamedTypes(
        namedtype.NamedType("system", _automatic(0, SYSTEM_SCHEMA, explicit=True)),
        namedtype.NamedType("login", _automatic(1, _sequence(Login))),
        namedtype.NamedType("message", _automatic(2, _sequence(Message))),
    )
)


def reference_encode(frame: Frame) -> bytes:
    """One frame in DER, through pyasn1.

    @raise ValueError: a value that the schema does not allow.
    """
    top = FRAME_SCHEMA.clone()
    try:
        if isinstance(frame, Login):
            _fill(top["login"], frame)
        elif isinstance(frame, Message):
            _fill(top["message"], frame)
        else:
            _fill(top["system"][keyword(type(frame))], frame)  # type: ignore[arg-type]
        return bytes(_encode(top))
    except (PyAsn1Error, KeyError) as error:  # a SEQUENCE says KeyError for a wrong value
        raise ValueError(f"no frame of the schema: {error}") from None


def reference_decode(wire: bytes) -> Frame:
    """The frame that these bytes, no more and no less, are in strict DER, through pyasn1.

    Unlike L{chat.wire.der.decode} it knows no extensions: an unknown field is refused.

    @raise ValueError: they are none.
    """
    try:
        value, rest = _decode(wire, asn1Spec=FRAME_SCHEMA)
        if rest or _encode(value) != wire:
            raise ValueError("not strict DER")
        name = value.getName()
        if name == "system":
            value = value["system"]
            return _frame(_BY_KEYWORD[value.getName()], value.getComponent())
        return _frame(Login if name == "login" else Message, value.getComponent())
    except (PyAsn1Error, UnicodeError, IndexError) as error:
        raise ValueError(f"no frame of the schema: {error}") from None


_BY_KEYWORD: dict[str, type[Frame]] = {keyword(struct): struct for struct in SYSTEM}


def _fill(sequence: Any, struct: msgspec.Struct) -> None:
    """Set the fields of a pyasn1 SEQUENCE that are not absent."""
    sequence.clear()  # a SEQUENCE without fields is a value only once it was touched
    for field in _fields(type(struct)):
        value = getattr(struct, field.name)
        # pyasn1 leaves out an optional list that is empty by itself.
        if field.required or value != field.default:
            sequence[field.name] = _to_asn1(_plain(field.type), value, sequence[field.name])


def _to_asn1(kind: Type, value: Any, empty: Any) -> Any:
    if isinstance(kind, StructType):
        _fill(empty, value)
        return empty
    if isinstance(kind, ListType):
        empty.clear()
        for item in value:
            blank = empty.componentType.clone()
            empty.append(_to_asn1(kind.item_type, item, blank))
        return empty
    return milliseconds(value) if isinstance(kind, Metadata) else value


def _frame(struct: type[Frame], sequence: Any) -> Frame:
    return _from_asn1(struct, sequence)  # type: ignore[return-value]


def _from_asn1(struct: type[msgspec.Struct], sequence: Any) -> msgspec.Struct:
    fields = [field for field in _fields(struct) if sequence[field.name].isValue]
    return struct(**{f.name: _value(_plain(f.type), sequence[f.name]) for f in fields})


def _value(kind: Type, value: Any) -> Any:
    if isinstance(kind, StructType):
        return _from_asn1(kind.cls, value)
    if isinstance(kind, ListType):
        return [_value(kind.item_type, item) for item in value]
    if isinstance(kind, BoolType):
        return bool(value)
    if isinstance(kind, StrType):
        return str(value)
    return rfc3339(int(value)) if isinstance(kind, Metadata) else int(value)
