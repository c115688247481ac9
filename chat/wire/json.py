"""The JSON codec: one object a line, UTF-8, ended by LF."""

from __future__ import annotations

from codecs import getincrementaldecoder
from contextlib import suppress
from typing import Any, Iterable, Sequence, Union

import msgspec

from chat.errors import BadFrame, MalformedFrame
from chat.messages import REF_BYTES, SYSTEM, Entry, Frame, Login, Message, Returned


class _SystemEnvelope(msgspec.Struct, tag_field="type", tag="system", gc=False):
    data: Union[SYSTEM]  # type: ignore[valid-type]


class _LoginEnvelope(msgspec.Struct, tag_field="type", tag="login", gc=False):
    data: Login


class _MessageEnvelope(msgspec.Struct, tag_field="type", tag="message", gc=False):
    data: Message


_Envelope = Union[_SystemEnvelope, _LoginEnvelope, _MessageEnvelope]
_decoder: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)
_decode = _decoder.decode
_encoder = msgspec.json.Encoder()
_encode = _encoder.encode

_incremental_utf8 = getincrementaldecoder("utf-8")
#: A longer line is decoded in pieces, for the text of all of it may take many times as much room.
_PIECE = 64 * 1024

_OPENING: dict[type[Frame], bytes] = {
    **dict.fromkeys(SYSTEM, b'{"type":"system","data":'),
    Login: b'{"type":"login","data":',
    Message: b'{"type":"message","data":',
}


def encode(frame: Frame) -> bytes:
    """One frame as a line, LF included.

    @raise ValueError: a string holds a lone surrogate.
    """
    return _OPENING[type(frame)] + _encode(frame) + b"}\n"


def encode_all(frames: Sequence[Frame]) -> bytes:
    """The lines of all these frames: what L{encode} makes of each of them, one after the other."""
    if len(frames) == 1:
        frame = frames[0]
        return b"%b%b}\n" % (_OPENING[type(frame)], _encode(frame))
    kinds = set(map(type, frames))
    if len(kinds) != 1:
        return b"".join([encode(frame) for frame in frames])
    opening = _OPENING[kinds.pop()]
    # Within what is encoded there is no LF: JSON escapes it.
    lines = _encoder.encode_lines(frames)[:-1].replace(b"\n", b"}\n" + opening)
    return b"%b%b}\n" % (opening, lines)


def decode(line: bytes) -> Frame:
    """The frame on one line; see L{chat.wire.deserialize}."""
    try:
        # msgspec skips what it has no field for without looking at its bytes.
        _check_utf8(line)
        return _decoder.decode(line).data
    except msgspec.ValidationError:
        pass  # let go of it: it quotes what may be all of the line
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None
    return _decode_slowly(line)


def _check_utf8(line: bytes) -> None:
    """Raise L{UnicodeDecodeError} for what is no UTF-8."""
    if len(line) <= _PIECE:
        line.decode()
        return
    check = _incremental_utf8().decode
    for at in range(0, len(line), _PIECE):
        check(line[at : at + _PIECE], at + _PIECE >= len(line))


def decode_front(lines: bytes, most: int) -> tuple[list[Frame], int]:
    """The frames on these whole lines, up to so many, and how many bytes they took.

    None at all when not each of those lines is a frame: L{decode} tells what is wrong with which.
    """
    each = lines.split(b"\n", most)
    taken = len(lines) - len(each.pop())
    frames: list[Frame] = []
    try:
        if not lines.isascii():
            lines[:taken].decode()
        for line in each:
            frames.append(_decode(line).data)
        return frames, taken
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [], 0


def _decode_slowly(line: bytes) -> Frame:
    """Tell apart what the typed decoder refuses.

    It stops at the first fault, so the rest of the line may not be JSON at all; it
    judges the first of duplicate keys, where the last one counts; and it takes no
    C{null} for a field with another default, where C{null} means absent.
    """
    try:
        # A Raw is any JSON: this checks the line to its end.
        raw = msgspec.json.decode(line, type=msgspec.Raw)
        raw = _tidy(line)
        return _decoder.decode(raw).data
    except msgspec.ValidationError as error:
        raise BadFrame(f"No frame of this protocol: {_mask(error)}.", ref=_ref(raw)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(error) from None


_NULL = msgspec.Raw(b"null")


def _parts(names: Iterable[str], required: Sequence[str] = ()) -> type[msgspec.Struct]:
    """An object whose fields of these names are left undecoded, of duplicates the last; no others."""
    optional = [(name, msgspec.Raw, _NULL) for name in dict.fromkeys(names) if name not in required]
    return msgspec.defstruct("_Parts", [*[(name, msgspec.Raw) for name in required], *optional])


#: No type and no keyword takes more bytes, however it is escaped.
_LONGEST_TAG = 200
#: No message that a server sends takes fewer bytes.
_SHORTEST = 40
#: What may stand in a frame, in its data, in a message or an entry within these, and in why it came back.
_frame = msgspec.json.Decoder(_parts(("type", "data")))
_KINDS: tuple[type[Frame], ...] = (Login, Message, *SYSTEM)
_data = msgspec.json.Decoder(
    _parts(["keyword", *[name for kind in _KINDS for name in kind.__struct_fields__]])
)
_WITHIN = _parts([*Message.__struct_fields__, *Entry.__struct_fields__], ("recipient",))
_within: msgspec.json.Decoder[list[msgspec.Struct]] = msgspec.json.Decoder(list[_WITHIN])  # type: ignore[valid-type]
_reason = msgspec.json.Decoder(_parts(Returned.__struct_fields__))


def _tidy(line: bytes) -> msgspec.Raw:
    """The same frame without duplicate keys, without fields that are C{null}, and without unknown ones.

    What is no object where one should be is left as it is, and so are messages too short to be
    any: a line costs little more than what it costs to skip it, whatever it is made of.
    """
    fields = _present(_frame.decode(line))
    _short(fields, "type", "$")
    with suppress(msgspec.ValidationError, KeyError):
        data = _present(_data.decode(fields["data"]))
        fields["data"] = data
        _tidy_reason(data)
        if line.count(b'"recipient"') * _SHORTEST <= len(line):  # which is to say: unless it is escaped
            messages = _within.decode(data["messages"])
            if len(messages) * _SHORTEST <= len(line):
                data["messages"] = [_tidy_reason(_present(each)) for each in messages]
    said = fields.get("data")
    if isinstance(said, dict) and bytes(fields.get("type", _NULL)) == b'"system"':
        _short(said, "keyword", "$.data")
    tidy = bytearray(len(line))  # a buffer that has to grow becomes half as large again
    _encoder.encode_into(fields, tidy)
    return msgspec.Raw(tidy)


def _short(fields: dict[str, Any], tag: str, path: str) -> None:
    """Refuse what is too long for a tag, as the decoder would; but that would quote it, which takes room."""
    if memoryview(fields.get(tag, b"")).nbytes > _LONGEST_TAG:
        raise msgspec.ValidationError(f"Invalid value - at `{path}.{tag}`")


def _tidy_reason(fields: dict[str, Any]) -> dict[str, Any]:
    with suppress(msgspec.ValidationError, KeyError):
        fields["returned"] = _present(_reason.decode(fields["returned"]))
    return fields


def _present(parts: msgspec.Struct) -> dict[str, Any]:
    return {name: part for name in parts.__struct_fields__ if (part := getattr(parts, name)) != _NULL}


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
