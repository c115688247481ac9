"""The doors: what turns the bytes of one connection into frames and back.

A translator holds what is particular to one way of talking (its framing, its
codec, for people its prompts); every rule is behind it, in the session.
"""

from __future__ import annotations

from typing import Protocol, Sequence

from chat.errors import BadFrame, FatalError, Refusal
from chat.messages import Answer, Failed, Fatal, Frame, Incoming
from chat.wire import Codec, deserialize, framing, serialize

#: A connection that brings so many frames at once lets the others have their turn before it goes on.
FRAMES_AT_ONCE = 1000


class Translator(Protocol):
    """One connection's way of talking."""

    def feed(self, data: bytes) -> None:
        """Add what just arrived."""

    def next(self, limit: int) -> Incoming | None:
        """The next frame, or C{None} while none is whole.

        Bytes that are no frame become an L{Answer}; after one that holds a
        L{Fatal} the translator is not asked again.

        @param limit: the most bytes a frame may have now.
        """

    def take(self, limit: int) -> list[Incoming]:
        """The frames that are whole; nothing follows an L{Answer} with a L{Fatal}.

        When these are L{FRAMES_AT_ONCE} or more, there may be more still.
        """

    def render(self, frames: Sequence[Frame]) -> bytes:
        """The bytes that say these frames to the other side."""

    @property
    def buffered(self) -> int:
        """How many bytes wait to become frames."""


class FrameTranslator:
    """For programs: each frame as it is, in one codec."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._framing = framing(codec)

    @property
    def buffered(self) -> int:
        """How many bytes wait to become frames."""
        return self._framing.buffered

    def feed(self, data: bytes) -> None:
        """Add what just arrived."""
        self._framing.feed(data)

    def next(self, limit: int) -> Incoming | None:
        """See L{Translator.next}."""
        try:
            data = self._framing.next(limit)
        except FatalError as error:
            return refuse(error)
        return None if data is None else self._decode(data)

    def take(self, limit: int) -> list[Incoming]:
        """See L{Translator.take}."""
        try:
            wires = self._framing.take(limit)
        except FatalError as error:
            return [refuse(error)]
        codec = self._codec
        frames: list[Incoming] = []
        for wire in wires:
            try:
                frames.append(deserialize(wire, codec))
            except BadFrame as error:
                frames.append(refuse(error))
            except FatalError as error:
                frames.append(refuse(error))
                break
        return frames

    def render(self, frames: Sequence[Frame]) -> bytes:
        """See L{Translator.render}."""
        codec = self._codec
        return b"".join([serialize(frame, codec) for frame in frames])

    def _decode(self, data: bytes) -> Incoming:
        try:
            return deserialize(data, self._codec)
        except (BadFrame, FatalError) as error:
            return refuse(error)


def refuse(error: Refusal | FatalError) -> Answer:
    """The answer that tells the other side of this error."""
    if isinstance(error, FatalError):
        return Answer(Fatal(code=error.code.value, reason=error.reason))
    return Answer(Failed(code=error.code.value, reason=error.reason, ref=error.ref, seconds=error.seconds))
