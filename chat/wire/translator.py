"""The doors: what turns the bytes of one connection into frames and back.

A translator holds what is particular to one way of talking (its framing, its
codec, for people its prompts); every rule is behind it, in the session.
"""

from __future__ import annotations

from typing import Protocol, Sequence

from chat.errors import BadFrame, FatalError, Refusal
from chat.messages import Answer, Failed, Fatal, Frame, Incoming
from chat.wire import Codec, coding, framing

#: A connection that brings so many frames at once lets the others have their turn before it goes on;
#: one that brings so much to be refused, which costs many times as much, sooner.
FRAMES_AT_ONCE = 1000
REFUSALS_AT_ONCE = 40
#: More than this only gathers for one long frame, for a transport brings 64 KiB at once.
LONG_BYTES = 128 * 1024


class Translator(Protocol):
    """One connection's way of talking.

    @ivar more: whether the last L{take} ended only to let other connections have their turn.
    """

    more: bool

    @property
    def buffered(self) -> int:
        """How many bytes wait to become frames; 0 only when L{next} has none."""

    def feed(self, data: bytes) -> None:
        """Add what just arrived."""

    def next(self, limit: int) -> Incoming | None:
        """The next frame, or C{None} while none is whole.

        Bytes that are no frame become an L{Answer}; after one that holds a
        L{Fatal} the translator is not asked again.

        @param limit: the most bytes a frame may have now.
        """

    def take(self, limit: int, data: bytes = b"") -> Sequence[Incoming]:
        """Frames that are whole; nothing follows an L{Answer} with a L{Fatal}.

        When there are none and C{more} is false, no frame is whole.

        @param data: what just arrived, behind what waits.
        """

    def render(self, frames: Sequence[Frame], /) -> bytes:
        """The bytes that say these frames to the other side."""


class FrameTranslator:
    """For programs: each frame as it is, in one codec.

    @ivar buffered: how many bytes wait to become frames.
    """

    def __init__(self, codec: Codec) -> None:
        self._coding = coding(codec)
        self._framing = framing(codec)
        self._decode_front = self._coding.decode_front
        self.render = self._coding.encode_all
        self.buffered = 0
        self.more = False

    def feed(self, data: bytes) -> None:
        """Add what just arrived."""
        self._framing.feed(data)
        self.buffered += len(data)

    def next(self, limit: int) -> Incoming | None:
        """See L{Translator.next}."""
        try:
            wire = self._framing.next(limit)
            return None if wire is None else self._coding.decode(wire)
        except (BadFrame, FatalError) as error:
            return refuse(error)
        finally:
            self.buffered = self._framing.buffered

    def take(self, limit: int, data: bytes = b"") -> Sequence[Incoming]:
        """See L{Translator.take}."""
        if self.buffered or len(data) > limit:
            if data:
                self.feed(data)
            return self._take_buffered(limit)
        # What comes whole never gets into the buffer.
        frames, size = self._decode_front(data, FRAMES_AT_ONCE)
        if size < len(data):
            self.feed(data[size:])
            if not frames:
                return self._take_each(limit)
        self.more = len(frames) == FRAMES_AT_ONCE
        return frames

    def _take_buffered(self, limit: int) -> Sequence[Incoming]:
        framing = self._framing
        # A long frame is taken alone: with others it would be copied once more.
        front = framing.front(limit) if self.buffered <= LONG_BYTES else b""
        frames, size = self._decode_front(front, FRAMES_AT_ONCE)
        if not frames:
            return self._take_each(limit)
        framing.drop(size)
        self.buffered -= size
        self.more = len(frames) == FRAMES_AT_ONCE
        return frames

    def _take_each(self, limit: int) -> list[Incoming]:
        """L{take} where there is something to be refused, or nothing that is whole."""
        frames: list[Incoming] = []
        refused = 0
        while (frame := self.next(limit)) is not None:
            frames.append(frame)
            if isinstance(frame, Answer):
                refused += 1
                if isinstance(frame.frame, Fatal):
                    break
            if len(frames) == FRAMES_AT_ONCE or refused == REFUSALS_AT_ONCE:
                self.more = True
                return frames
        self.more = False
        return frames


def refuse(error: Refusal | FatalError) -> Answer:
    """The answer that tells the other side of this error."""
    if isinstance(error, FatalError):
        return Answer(Fatal(code=error.code.value, reason=error.reason))
    return Answer(Failed(code=error.code.value, reason=error.reason, ref=error.ref, seconds=error.seconds))
