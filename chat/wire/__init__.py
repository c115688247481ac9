"""Bytes to frames and back, without I/O and without Twisted.

L{serialize} and L{deserialize} stand alone::

    from chat.messages import Ping
    from chat.wire import Codec, deserialize, serialize

    wire = serialize(Ping(), Codec.JSON)
    assert deserialize(wire, Codec.JSON) == Ping()

For a stream of bytes, L{framing} finds where one frame ends and the next begins.
"""

from __future__ import annotations

from enum import Enum
from typing import Callable, NoReturn, Protocol, Sequence, TypeVar

from chat.messages import Frame
from chat.wire import der, json
from chat.wire.framing import DerFraming, Framing, LineFraming

__all__ = [
    "Codec",
    "Coding",
    "DerFraming",
    "Framing",
    "LineFraming",
    "coding",
    "deserialize",
    "framing",
    "serialize",
]

T = TypeVar("T")


class Codec(str, Enum):
    """Which encoding: C{json} (one object a line) or C{der} (X.690, C{chat.asn1})."""

    JSON = "json"
    DER = "der"


def serialize(frame: Frame, codec: Codec | str) -> bytes:
    """The bytes of one frame; JSON ends with its LF.

    @raise ValueError: a string with a lone surrogate, which UTF-8 cannot carry, or an
        unknown codec; in DER, a time that is none, or a number out of range, too.
    """
    return _CODING[codec].encode(frame)


def deserialize(data: bytes, codec: Codec | str) -> Frame:
    """The frame that these bytes, no more and no less, are.

    @param data: one whole frame; for JSON, its line end may be missing.
    @raise chat.errors.MalformedFrame: not JSON, not UTF-8, not strict DER.
    @raise chat.errors.BadFrame: well-formed, but no frame of this protocol.
    @raise ValueError: an unknown codec.
    """
    return _CODING[codec].decode(data)


class Coding(Protocol):
    """One codec, with what is quicker for many frames than for each of them."""

    def encode(self, frame: Frame, /) -> bytes:
        """See L{serialize}."""

    def encode_all(self, frames: Sequence[Frame], /) -> bytes:
        """The bytes of all these frames, one after the other."""

    def decode(self, wire: bytes, /) -> Frame:
        """See L{deserialize}."""

    def decode_front(self, wires: bytes, most: int, /) -> tuple[list[Frame], int]:
        """Frames from the front of what L{Framing.front} gives, and how many bytes they took.

        Up to so many, and perhaps none: what is none of ours is left to L{decode}, which says why.
        """


def coding(codec: Codec | str) -> Coding:
    """All that one codec can do."""
    return _CODING[codec]


def framing(codec: Codec | str) -> Framing:
    """An empty buffer that cuts a stream in this codec into frames."""
    return _FRAMING[codec]()


class _ByCodec(dict[str, T]):
    """A table by codec that says which codecs there are."""

    def __missing__(self, codec: object) -> NoReturn:
        raise ValueError(f"no such codec: {codec!r}; there are 'json' and 'der'")


_CODING: _ByCodec[Coding] = _ByCodec({Codec.JSON: json, Codec.DER: der})
_FRAMING: _ByCodec[Callable[[], Framing]] = _ByCodec({Codec.JSON: LineFraming, Codec.DER: DerFraming})
