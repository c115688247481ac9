"""The doors: what turns the bytes of one connection into frames and back.

A translator holds what is particular to one way of talking (its framing, its
codec, for people its prompts); every rule is behind it, in the session.
"""

from __future__ import annotations

from typing import Protocol, Sequence

from chat.errors import BadFrame, FatalError, Refusal
from chat.messages import Answer, Failed, Fatal, Frame, Incoming
from chat.wire import Codec, decoder, encoder, framing

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
        self._encode = encoder(codec)
        self._decode = decoder(codec)
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
            wire = self._framing.next(limit)
            return None if wire is None else self._decode(wire)
        except (BadFrame, FatalError) as error:
            return refuse(error)

    def take(self, limit: int) -> list[Incoming]:
        """See L{Translator.take}."""
        frames: list[Incoming] = []
        decode = self._decode
        try:
            for wire in self._framing.take(limit):
                try:
                    frames.append(decode(wire))
                except BadFrame as error:
                    frames.append(refuse(error))
        except FatalError as error:
            frames.append(refuse(error))
        return frames

    def render(self, frames: Sequence[Frame]) -> bytes:
        """See L{Translator.render}."""
        encode = self._encode
        return b"".join([encode(frame) for frame in frames])


def refuse(error: Refusal | FatalError) -> Answer:
    """The answer that tells the other side of this error."""
    if isinstance(error, FatalError):
        return Answer(Fatal(code=error.code.value, reason=error.reason))
    return Answer(Failed(code=error.code.value, reason=error.reason, ref=error.ref, seconds=error.seconds))
