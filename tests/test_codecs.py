"""Both codecs as the rest of the program uses them: the same frames in either, and in doors."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import BadFrame, Code, FatalError, MalformedFrame, Refusal
from chat.messages import (
    SYSTEM,
    Answer,
    Failed,
    Fatal,
    Frame,
    Incoming,
    Login,
    Message,
    Ping,
    Pong,
    Received,
)
from chat.wire import Codec, deserialize, framing, serialize
from chat.wire.translator import FRAMES_AT_ONCE, REFUSALS_AT_ONCE, FrameTranslator, Translator, refuse
from tests.fuzz.targets import check_time
from tests.strategies import ALWAYS, CUTS, FRAMES, SAMPLES


class CodecTests(SynchronousTestCase):
    """C{serialize} and C{deserialize}, whatever the codec."""

    def test_samples_cover_everything(self) -> None:
        """The samples that all these tests use hold every kind of frame."""
        self.assertEqual({type(frame) for frame in SAMPLES}, {Login, Message, *SYSTEM})

    @ALWAYS
    @given(FRAMES)
    def test_same_frame_in_both(self, frame: Frame) -> None:
        """A frame that went through JSON and one that went through DER are equal, and again."""
        from_json = deserialize(serialize(frame, Codec.JSON), Codec.JSON)
        from_der = deserialize(serialize(frame, Codec.DER), Codec.DER)
        self.assertEqual(from_json, from_der)
        self.assertEqual(serialize(from_json, Codec.DER), serialize(frame, Codec.DER))
        self.assertEqual(serialize(from_der, Codec.JSON), serialize(frame, Codec.JSON))

    def test_codec_by_name(self) -> None:
        """A codec can be named by a string, as on a command line."""
        for name in ("json", "der"):
            wire = serialize(Ping(), name)
            self.assertEqual(wire, serialize(Ping(), Codec(name)))
            self.assertEqual(deserialize(wire, name), Ping())
            stream = framing(name)
            stream.feed(wire)
            self.assertEqual(len(stream.take(100)), 1)

    def test_unknown_codec(self) -> None:
        """An unknown codec is a ValueError that names those there are."""
        for call in (
            lambda: serialize(Ping(), "xml"),
            lambda: deserialize(b"", "xml"),
            lambda: framing("xml"),
        ):
            error = self.assertRaises(ValueError, call)
            self.assertIn("'json' and 'der'", str(error))

    def test_lone_surrogate(self) -> None:
        """What UTF-8 cannot carry is a ValueError in either codec."""
        for codec in Codec:
            for frame in (
                Message(recipient="bob", body="\udcff"),
                Login(field="password", value="a\ud800"),
            ):
                self.assertRaises(ValueError, serialize, frame, codec)

    def test_one_frame_only(self) -> None:
        """More than one frame, or less, is malformed."""
        for codec in Codec:
            wire = serialize(Ping(), codec)
            for wrong in (wire + wire, wire[:-2], b""):
                self.assertRaises(MalformedFrame, deserialize, wrong, codec)

    def test_stands_alone(self) -> None:
        """Importing the codecs brings neither Twisted nor pyasn1 with it."""
        program = (
            "import sys, chat.wire, chat.wire.translator\n"
            "print([m for m in ('twisted', 'pyasn1', 'sqlite3') if m in sys.modules])"
        )
        path = [place for place in sys.path if place]
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{program}"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stdout.strip(), "[]")


#: One good frame, one bad, one malformed, one too large for a limit of 100, in each codec.
GOOD = {codec: serialize(Ping(), codec) for codec in Codec}
BAD = {Codec.JSON: b'{"type":"message","data":{"ref":"c1"}}\n', Codec.DER: b"\xa2\x04\x86\x02c1"}
MALFORMED = {Codec.JSON: b"hello\n", Codec.DER: b"\xa0\x02\xb3\x01"}
LARGE = {Codec.JSON: b"x" * 100, Codec.DER: b"\xa2\x7f"}


class TranslatorTests(SynchronousTestCase):
    """The door for programs: frames in and out, refusals in their turn."""

    def translator(self, codec: Codec, *wires: bytes) -> Translator:
        """A translator that was fed this much."""
        translator = FrameTranslator(codec)
        translator.feed(b"".join(wires))
        return translator

    def one_by_one(self, translator: Translator) -> list[object]:
        """What comes out of C{next}, to the end or the first C{fatal}."""
        found: list[object] = []
        while (frame := translator.next(100)) is not None:
            found.append(frame)
            if isinstance(frame, Answer) and isinstance(frame.frame, Fatal):
                break
        return found

    def comes(self, codec: Codec, *wires: bytes) -> list[object]:
        """What these bytes become; the same one by one and all at once."""
        found = self.one_by_one(self.translator(codec, *wires))
        together: list[object] = []
        translator = self.translator(codec, *wires)
        while frames := translator.take(100):
            together += frames
            if isinstance(frames[-1], Answer) and isinstance(frames[-1].frame, Fatal):
                break
        self.assertEqual(found, together)
        return found

    def test_frames(self) -> None:
        """Frames come out as they were sent."""
        for codec in Codec:
            self.assertEqual(self.comes(codec, GOOD[codec], GOOD[codec]), [Ping(), Ping()])
            self.assertEqual(self.comes(codec), [])

    def test_bad_frame(self) -> None:
        """A bad frame is answered in its turn, with its C{ref}, and the next ones still count."""
        for codec in Codec:
            first, answer, last = self.comes(codec, GOOD[codec], BAD[codec], GOOD[codec])
            self.assertEqual((first, last), (Ping(), Ping()))
            assert isinstance(answer, Answer) and isinstance(answer.frame, Failed)
            self.assertEqual((answer.frame.code, answer.frame.ref), ("bad-frame", "c1"))

    def test_fatal(self) -> None:
        """After bytes that are no frame, or too many for one, nothing more counts."""
        for codec in Codec:
            for wrong, code in ((MALFORMED, "malformed-frame"), (LARGE, "frame-too-large")):
                first, answer = self.comes(codec, GOOD[codec], wrong[codec], GOOD[codec])
                self.assertEqual(first, Ping())
                assert isinstance(answer, Answer) and isinstance(answer.frame, Fatal)
                self.assertEqual(answer.frame.code, code)

    def test_render(self) -> None:
        """What is said to the other side is what it will read."""
        for codec in Codec:
            translator = FrameTranslator(codec)
            wire = translator.render([Ping(), Pong(), *SAMPLES])
            translator.feed(wire[:9])
            translator.feed(wire[9:])
            self.assertEqual(translator.buffered, len(wire))
            self.assertEqual(translator.take(1 << 20), [Ping(), Pong(), *SAMPLES])
            self.assertEqual(translator.buffered, 0)
            self.assertEqual(translator.render([]), b"")

    def hostile(self, codec: Codec, wire: bytes) -> list[bytes]:
        """One frame with each of its bits flipped, as it would come between two others."""
        end = b"\n" if codec is Codec.JSON else b""
        wire = wire.rstrip(b"\n")
        return [
            wire[:at] + bytes((wire[at] ^ 1 << bit,)) + wire[at + 1 :] + end
            for at in range(len(wire))
            for bit in range(8)
        ]

    def test_hostile_bytes(self) -> None:
        """Whatever bit of a frame is wrong, and whatever is about it, all at once is one by one."""
        for codec in Codec:
            for frame in (Ping(), Message(recipient="b", body="x", ref="é"), Received(ids=[1, 300])):
                for wire in self.hostile(codec, serialize(frame, codec)):
                    self.comes(codec, GOOD[codec], wire, GOOD[codec])

    @ALWAYS
    @given(st.lists(FRAMES.filter(lambda frame: len(serialize(frame, "der")) < 1000), max_size=4), CUTS)
    def test_in_pieces(self, frames: list[Frame], cuts: list[int]) -> None:
        """Frames come out as they were sent, however they were cut."""
        for codec in Codec:
            translator = FrameTranslator(codec)
            wire = translator.render(frames)
            found: list[Incoming] = []
            at = 0
            while at < len(wire):
                size = cuts[at % len(cuts)]
                translator.feed(wire[at : at + size])
                found += translator.take(1 << 20)
                at += size
            self.assertEqual(found, frames)

    def arrives(self, codec: Codec, pieces: list[bytes], limit: int) -> None:
        """Pieces handed in as they arrive become what they become when they are fed first."""
        fed, handed = FrameTranslator(codec), FrameTranslator(codec)
        for piece in pieces:
            fed.feed(piece)
            data = piece
            while True:
                frames = fed.take(limit)
                self.assertEqual(handed.take(limit, data), frames)
                self.assertEqual((handed.buffered, handed.more), (fed.buffered, fed.more))
                if not frames:
                    break
                last = frames[-1]
                if isinstance(last, Answer) and isinstance(last.frame, Fatal):
                    return
                data = b""

    def test_as_it_arrives(self) -> None:
        """What arrives whole, in part, wrong or too long for the limit, to the byte."""
        for codec in Codec:
            good, bad, malformed, large = GOOD[codec], BAD[codec], MALFORMED[codec], LARGE[codec]
            size = len(good)
            for limit in (size - 1, size, 2 * size - 1, 2 * size, 100):
                for pieces in (
                    [b"", good, b"", good],
                    [good + good],
                    [good[:1], good[1:] + good],
                    [good + good[:-1], good[-1:], good],
                    [bad + good],
                    [good + bad + good],
                    [good + malformed + good],
                    [good + large[:-1], large[-1:]],
                    [good * (FRAMES_AT_ONCE + 1)],
                ):
                    self.arrives(codec, pieces, limit)
                    self.arrives(codec, pieces, 1 << 20)

    @ALWAYS
    @given(st.lists(FRAMES, max_size=4), st.binary(max_size=20), CUTS, st.integers(50, 400))
    def test_any_as_it_arrives(self, frames: list[Frame], odd: bytes, cuts: list[int], limit: int) -> None:
        """The same for any frames, and any bytes among them."""
        for codec in Codec:
            pieces = [serialize(frame, codec) for frame in frames]
            pieces.insert(len(pieces) // 2, odd)
            wire = b"".join(pieces)
            cut = [wire[at : at + cuts[0] * 9] for at in range(0, len(wire), cuts[0] * 9)]
            for each in (pieces, [wire], cut):
                self.arrives(codec, each, limit)

    def floods(self, codec: Codec, wire: bytes) -> list[int]:
        """How many frames come of each take of a flood, and that only the last one ends it."""
        translator = self.translator(codec, wire)
        counts = []
        more = True
        while more:
            counts.append(len(translator.take(1 << 20)))
            more = translator.more
        self.assertEqual(translator.buffered, 0)
        return counts

    def test_taking_turns(self) -> None:
        """No take gives more frames than the others can wait for, and fewer of those that are refused."""
        for codec in Codec:
            flood = self.floods(codec, GOOD[codec] * (2 * FRAMES_AT_ONCE + 5))
            self.assertEqual(flood, [FRAMES_AT_ONCE, FRAMES_AT_ONCE, 5])
            flood = self.floods(codec, BAD[codec] * (2 * REFUSALS_AT_ONCE + 5))
            self.assertEqual(flood, [REFUSALS_AT_ONCE, REFUSALS_AT_ONCE, 5])
            flood = self.floods(codec, BAD[codec] + GOOD[codec] * (2 * FRAMES_AT_ONCE))
            self.assertEqual(flood, [FRAMES_AT_ONCE, FRAMES_AT_ONCE, 1])
        self.assertEqual(self.floods(Codec.JSON, b"\n" * 3000), [0])

    def test_turns_are_short(self) -> None:
        """However much is refused that came in one piece, a take is over soon."""
        for codec, wire in ((Codec.JSON, b"{}\n"), (Codec.DER, b"\xa3\0"), (Codec.JSON, b"\n")):

            def run(flood: bytes, codec: Codec = codec) -> int:
                return min(1, len(self.translator(codec, flood).take(1 << 20)))

            check_time(run, wire * (65536 // len(wire)))

    def test_refuse(self) -> None:
        """Errors become the frames that tell of them, complete."""
        self.assertEqual(
            refuse(Refusal(Code.SLOW_DOWN, "Too fast.", ref="c1", seconds=2)),
            Answer(Failed(code="slow-down", reason="Too fast.", ref="c1", seconds=2)),
        )
        self.assertEqual(refuse(BadFrame("What?")), Answer(Failed(code="bad-frame", reason="What?")))
        self.assertEqual(
            refuse(FatalError(Code.SHUTTING_DOWN, "Back soon.")),
            Answer(Fatal(code="shutting-down", reason="Back soon.")),
        )
