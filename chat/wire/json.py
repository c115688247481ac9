"""The JSON codec: one object a line, UTF-8, ended by LF."""

from __future__ import annotations

from typing import Union

import msgspec

from chat.errors import BadFrame, MalformedFrame
from chat.messages import REF_BYTES, SYSTEM, Frame, Login, Message


class _SystemEnvelope(msgspec.Struct, tag_field="type", tag="system"):
    data: Union[SYSTEM]  # type: ignore[valid-type]


class _LoginEnvelope(msgspec.Struct, tag_field="type", tag="login"):
    data: Login


class _MessageEnvelope(msgspec.Struct, tag_field="type", tag="message"):
    data: Message


_Envelope = Union[_SystemEnvelope, _LoginEnvelope, _MessageEnvelope]
_decoder: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)
_encode = msgspec.json.Encoder().encode

_OPEN_SYSTEM = b'{"type":"system","data":'
_OPEN = {Login: b'{"type":"login","data":', Message: b'{"type":"message","data":'}


def encode(frame: Frame) -> bytes:
    """One frame as a line, LF included.

    @raise ValueError: a string holds a lone surrogate.
    """
    return _OPEN.get(type(frame), _OPEN_SYSTEM) + _encode(frame) + b"}\n"


def decode(line: bytes) -> Frame:
    """The frame on one line; see L{chat.wire.deserialize}."""
    try:
        # msgspec skips what it has no field for without looking at its bytes.
        line.decode()
        return _decoder.decode(line).data
    except msgspec.ValidationError:
        return _decode_slowly(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None


def _decode_slowly(line: bytes) -> Frame:
    """Tell apart what the typed decoder refuses.

    It stops at the first fault, so the rest of the line may not be JSON at all; it
    judges the first of duplicate keys, where the last one counts; and it takes no
    C{null} for a field with another default, where C{null} means absent.
    """
    try:
        # A Raw is any JSON: this checks the line to its end.
        raw = _tidy(msgspec.json.decode(line, type=msgspec.Raw), _DEPTH)
        return _decoder.decode(raw).data
    except msgspec.ValidationError as error:
        raise BadFrame(f"No frame of this protocol: {_mask(error)}.", ref=_ref(raw)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(error) from None


#: How deep objects and arrays mean anything: frame, data, messages, message, returned.
_DEPTH = 5
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_arrays = msgspec.json.Decoder(list[msgspec.Raw])


def _tidy(raw: msgspec.Raw, depth: int) -> msgspec.Raw:
    """The same JSON without duplicate keys and without fields that are C{null}."""
    start = bytes(memoryview(raw)[:1])
    if depth and start == b"{":
        fields = _objects.decode(raw).items()
        tidy = {key: _tidy(value, depth - 1) for key, value in fields if value != _NULL}
        return msgspec.Raw(_encode(tidy))
    if depth and start == b"[":
        return msgspec.Raw(_encode([_tidy(value, depth - 1) for value in _arrays.decode(raw)]))
    return raw


_NULL = msgspec.Raw(b"null")


def _malformed(error: Exception) -> MalformedFrame:
    if isinstance(error, UnicodeDecodeError):
        return MalformedFrame("Not UTF-8: each frame is one JSON object on a line, in UTF-8.")
    if isinstance(error, RecursionError):
        return MalformedFrame("Nested too deeply: each frame is one JSON object on a line.")
    return MalformedFrame("Not JSON: each frame is one JSON object on a line, in UTF-8.")


def _mask(error: msgspec.ValidationError) -> str:
    """The decoder's sentence without the value it quotes, which may be a secret."""
    text = str(error)
    if text.startswith("Invalid value "):
        return "Unknown value" + text[text.rindex(" - at ") :]
    return text


class _Reference(msgspec.Struct):
    ref: str


class _Referring(msgspec.Struct):
    data: _Reference


_reference = msgspec.json.Decoder(_Referring)


def _ref(raw: msgspec.Raw) -> str | None:
    """The C{ref} of what was meant as a message, so that its sender can tell which failed."""
    try:
        ref = _reference.decode(raw).data.ref
    except msgspec.ValidationError:
        return None
    return ref if len(ref.encode()) <= REF_BYTES else None
