"""Where frames end: whole, in pieces, byte by byte, over the limit, and at what cost."""

from __future__ import annotations

from typing import Any, Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import FatalError, FrameTooLarge, MalformedFrame
from chat.messages import USER_FRAME_BYTES, Frame, Message
from chat.wire import Codec, DerFraming, Framing, LineFraming, der, deserialize, framing, json
from tests.strategies import ALWAYS, CUTS, FRAMES, SAMPLES

LIMIT = 1000


def drain(stream: Framing, limit: int = LIMIT) -> list[bytes]:
    """Take the frames one by one, as long as there are any."""
    frames = []
    while (frame := stream.next(limit)) is not None:
        frames.append(frame)
    return frames


def pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    """The wire in pieces of these lengths, over and over."""
    found: list[bytes] = []
    at = 0
    while at < len(wire):
        size = cuts[len(found) % len(cuts)]
        found.append(wire[at : at + size])
        at += size
    return found


#: The two ways to get frames out.
WAYS: tuple[Callable[[Framing, int], list[bytes]], ...] = (
    drain,
    lambda stream, limit: stream.take(limit),
)


class StreamTests(SynchronousTestCase):
    """A stream gives the same frames however it is cut."""

    def arrives(self, codec: Codec, frames: list[Frame], wire: bytes, cuts: list[int]) -> None:
        """Check that the wire, in these pieces, becomes these frames in both ways."""
        for way in WAYS:
            stream = framing(codec)
            found: list[Frame] = []
            for piece in pieces(wire, cuts):
                stream.feed(piece)
                found += [deserialize(one, codec) for one in way(stream, 1 << 24)]
            self.assertEqual(found, frames)
            self.assertEqual(stream.buffered, 0)

    def test_samples(self) -> None:
        """Every kind of frame, back to back: whole, byte by byte, and in odd pieces."""
        frames = list(SAMPLES)
        for cuts in ([1 << 20], [1], [2, 1, 7], [13]):
            self.arrives(Codec.JSON, frames, b"".join(map(json.encode, frames)), cuts)
            self.arrives(Codec.DER, frames, b"".join(map(der.encode, frames)), cuts)

    @ALWAYS
    @given(st.lists(FRAMES.filter(lambda f: len(der.encode(f)) < 3000), max_size=4), CUTS)
    def test_any(self, frames: list[Frame], cuts: list[int]) -> None:
        """Any frames, cut in any way."""
        self.arrives(Codec.JSON, frames, b"".join(map(json.encode, frames)), cuts)
        self.arrives(Codec.DER, frames, b"".join(map(der.encode, frames)), cuts)

    def test_a_part_is_not_a_frame(self) -> None:
        """Nothing comes out before the last byte is in."""
        for frame in SAMPLES:
            for codec, wire in ((Codec.JSON, json.encode(frame)), (Codec.DER, der.encode(frame))):
                for way in WAYS:
                    stream = framing(codec)
                    for at in range(len(wire) - 1):
                        stream.feed(wire[at : at + 1])
                        self.assertEqual(way(stream, 1 << 20), [])
                        self.assertEqual(stream.buffered, at + 1)
                    stream.feed(wire[-1:])
                    self.assertEqual(way(stream, 1 << 20), [wire.rstrip(b"\n")])

    @ALWAYS
    @given(st.binary(max_size=200), CUTS, st.integers(1, 100))
    def test_any_bytes(self, wire: bytes, cuts: list[int], limit: int) -> None:
        """Any bytes become the same frames and the same refusal, however they come."""
        for codec in Codec:
            outcomes = []
            for way in WAYS:
                for parts in ([wire], pieces(wire, cuts)):
                    stream, found, end = framing(codec), [], ""
                    try:
                        for part in parts:
                            stream.feed(part)
                            # A frame and the fault behind it come from two calls.
                            while frames := way(stream, limit):
                                found += frames
                    except FatalError as error:
                        end = type(error).__name__
                    if way is not drain or not end:
                        outcomes.append((found, end))
            for outcome in outcomes:
                self.assertEqual(outcome, outcomes[0])


class LineTests(SynchronousTestCase):
    """Lines end with LF; a CR before it and blank lines do no harm."""

    def lines(self, wire: bytes) -> list[bytes]:
        """The lines of a wire; the same in both ways."""
        found = []
        for way in WAYS:
            stream = LineFraming()
            stream.feed(wire)
            found.append(way(stream, LIMIT))
        self.assertEqual(found[0], found[1])
        return found[0]

    def test_blank_lines(self) -> None:
        """Blank lines are passed over."""
        self.assertEqual(self.lines(b"\n\r\n \t \nx\n\n\n y\n \n"), [b"x", b" y"])
        self.assertEqual(self.lines(b"\n\n\n"), [])
        self.assertEqual(self.lines(b" \t\n\r\x0b\x0c\n \n\t x \n  \ny"), [b"\t x "])
        self.assertEqual(self.lines(b"\n" * (3 * LIMIT) + b"x\n"), [b"x"])
        self.assertEqual(self.lines(b" \t\n\r\x0b\x0c\n \n\t x \n  \ny"), [b"\t x "])
        self.assertEqual(self.lines(b"\n" * (3 * LIMIT) + b"x\n"), [b"x"])

    def test_carriage_return(self) -> None:
        """A CR before the LF does not change the frame."""
        (line,) = self.lines(json.encode(SAMPLES[0])[:-1] + b"\r\n")
        self.assertEqual(json.decode(line), SAMPLES[0])
        self.assertEqual(self.lines(b"a\rb\r\r\n"), [b"a\rb\r\r"])

    def test_short_after_long(self) -> None:
        """A short line behind a long one that came in pieces is found."""
        for way in WAYS:
            stream = LineFraming()
            stream.feed(b"a long line")
            self.assertEqual(way(stream, LIMIT), [])
            stream.feed(b"\nx\ny\n")
            self.assertEqual(way(stream, LIMIT), [b"a long line", b"x", b"y"])

    def test_rest_stays(self) -> None:
        """What follows the last LF waits for its own."""
        stream = LineFraming()
        stream.feed(b"one\ntwo\nthr")
        self.assertEqual(stream.take(LIMIT), [b"one", b"two"])
        self.assertEqual(stream.buffered, 3)
        stream.feed(b"ee\n")
        self.assertEqual(stream.take(LIMIT), [b"three"])


class DerTests(SynchronousTestCase):
    """Each value's own length says where it ends."""

    def size(self, header: str, size: int) -> None:
        """Check that a value with this header has this many bytes, header included."""
        for way in WAYS:
            wire = bytes.fromhex(header)
            wire += b"\0" * (size - len(wire))
            stream = DerFraming()
            stream.feed(wire[:-1])
            self.assertEqual(way(stream, 1 << 24), [])
            stream.feed(wire[-1:] + wire)
            self.assertEqual(way(stream, 1 << 24), [wire, wire])

    def test_lengths(self) -> None:
        """Lengths in one octet and in several, behind tags of one octet and of several."""
        for tag, octets in (("a2", 1), ("bf1f", 2), ("9f8f7f", 3), ("7fffff7f", 4)):
            self.size(tag + "00", octets + 1)
            self.size(tag + "7f", octets + 1 + 127)
            self.size(tag + "8180", octets + 2 + 128)
            self.size(tag + "820100", octets + 3 + 256)
            self.size(tag + "83010000", octets + 4 + 65536)

    def test_header_in_pieces(self) -> None:
        """A header that is not whole waits, also one whose tag or length goes on."""
        for header in ("", "a2", "bf", "bf1f", "bf81", "bf8100", "bfffff7f", "a282", "a28201"):
            stream = DerFraming()
            stream.feed(bytes.fromhex(header))
            self.assertIsNone(stream.next(LIMIT))
            self.assertEqual(stream.take(LIMIT), [])

    def test_malformed(self) -> None:
        """No value of DER begins like this; said as soon as it is known."""
        for header in (
            "a280",  # indefinite
            "a2ff",  # reserved
            "a289",  # nine octets of length
            "a28100",
            "a2817f",
            "a2820080",
            "bfffffff",  # the tag number goes on and on
            "bf1f80",
        ):
            for way in WAYS:
                stream = DerFraming()
                stream.feed(bytes.fromhex(header))
                self.assertRaises(MalformedFrame, way, stream, LIMIT)
                self.assertRaises(MalformedFrame, way, stream, LIMIT)

    def test_announced_length(self) -> None:
        """A length over the limit is refused before its bytes come."""
        for header in ("a28203e5", "a284ffffffff", "a288ffffffffffffffff", "bf1f8203e4"):
            stream = DerFraming()
            stream.feed(bytes.fromhex(header))
            self.assertRaises(FrameTooLarge, stream.next, LIMIT)


class LimitTests(SynchronousTestCase):
    """A frame of exactly the limit passes, one more byte does not."""

    def fits(self, stream: Framing, wire: bytes, limit: int) -> bool:
        """Whether a wire of one frame passes, however it comes."""
        outcomes = set()
        for way in WAYS:
            for size in (len(wire), 1, 511):
                fresh = type(stream)()
                try:
                    found = []
                    for piece in pieces(wire, [size]):
                        fresh.feed(piece)
                        found += way(fresh, limit)
                    self.assertEqual(found, [wire.rstrip(b"\n")])
                    outcomes.add(True)
                except FrameTooLarge as error:
                    self.assertIn(str(limit), error.reason)
                    outcomes.add(False)
        self.assertEqual(len(outcomes), 1)
        return outcomes.pop()

    def test_line(self) -> None:
        """The LF, and a CR before it, count."""
        for size, end in ((LIMIT, b"\n"), (LIMIT, b"\r\n")):
            self.assertTrue(self.fits(LineFraming(), b"x" * (size - len(end)) + end, LIMIT))
            self.assertFalse(self.fits(LineFraming(), b"x" * (size + 1 - len(end)) + end, LIMIT))

    def test_value(self) -> None:
        """The header counts."""
        head = bytes.fromhex("a28203e4")
        self.assertTrue(self.fits(DerFraming(), head + b"x" * (LIMIT - 4), LIMIT))
        head = bytes.fromhex("a28203e5")
        self.assertFalse(self.fits(DerFraming(), head + b"x" * (LIMIT - 3), LIMIT))

    def test_line_without_end(self) -> None:
        """A line that goes on is refused once its LF would be too late."""
        stream = LineFraming()
        stream.feed(b"x" * (LIMIT - 1))
        self.assertIsNone(stream.next(LIMIT))
        self.assertEqual(stream.take(LIMIT), [])
        stream.feed(b"x")
        self.assertRaises(FrameTooLarge, stream.next, LIMIT)
        self.assertRaises(FrameTooLarge, stream.take, LIMIT)

    def test_blank_line_without_end(self) -> None:
        """Blanks without end are too long as well."""
        stream = LineFraming()
        stream.feed(b" " * LIMIT)
        self.assertRaises(FrameTooLarge, stream.next, LIMIT)
        for way in WAYS:
            stream = LineFraming()
            stream.feed(b" \n" + b" " * LIMIT + b"\nx\n")
            self.assertRaises(FrameTooLarge, way, stream, LIMIT)
            stream = LineFraming()
            stream.feed(b" \n" + b" " * (LIMIT - 1) + b"\nx\n")
            self.assertEqual(way(stream, LIMIT), [b"x"])
        for way in WAYS:
            stream = LineFraming()
            stream.feed(b" \n" + b" " * LIMIT + b"\n")
            self.assertRaises(FrameTooLarge, way, stream, LIMIT)
            stream = LineFraming()
            stream.feed(b" \n" + b" " * (LIMIT - 1) + b"\nx\n")
            self.assertEqual(way(stream, LIMIT), [b"x"])

    def test_whole_frames_first(self) -> None:
        """The frames before one that is too long are given out before it is refused."""
        for stream, good, long in (
            (LineFraming(), b"good\n", b"x" * 50 + b"\n"),
            (DerFraming(), b"\x04\x01x", b"\x04\x32" + b"x" * 50),
        ):
            stream.feed(good + good + long + good)
            expected = [good.rstrip(b"\n")] * 2
            self.assertEqual(stream.take(20), expected)
            self.assertRaises(FrameTooLarge, stream.take, 20)
            # The limit is the caller's: with a higher one the frame comes out after all.
            self.assertEqual(len(stream.take(100)), 2)

    def test_largest_message(self) -> None:
        """A body of 64 KiB fits in a client's line even when every character is escaped."""
        line = json.encode(Message(recipient="b" * 4096, body="\x01" * 65536, ref="\x01" * 64))
        self.assertGreater(len(line), 6 * 65536)
        stream = LineFraming()
        stream.feed(line)
        self.assertEqual(len(stream.take(USER_FRAME_BYTES)), 1)


class FrontTests(SynchronousTestCase):
    """What can be decoded in one go: whole frames within the limit, and nothing where there is a fault."""

    def front(self, stream: Framing, wire: bytes, limit: int = LIMIT) -> bytes:
        """What is there of this wire, which stays."""
        stream.feed(wire)
        found = stream.front(limit)
        self.assertEqual(stream.buffered, len(wire))
        self.assertEqual(stream.front(limit), found)
        return found

    def test_lines(self) -> None:
        """Whole lines, blank ones as well; the rest waits."""
        self.assertEqual(self.front(LineFraming(), b""), b"")
        self.assertEqual(self.front(LineFraming(), b"one"), b"")
        self.assertEqual(self.front(LineFraming(), b"one\n"), b"one\n")
        self.assertEqual(self.front(LineFraming(), b"one\n\n \ntwo\r\nthr"), b"one\n\n \ntwo\r\n")

    def test_lines_within_the_limit(self) -> None:
        """No line is longer than the limit, its LF included; where the first one is, there is nothing."""
        for limit, found in ((9, b"one\nfour\n"), (8, b"one\n"), (4, b"one\n"), (3, b"")):
            self.assertEqual(self.front(LineFraming(), b"one\nfour\nsix", limit), found)

    def test_values(self) -> None:
        """As soon as one value is whole, all that is there up to the limit."""
        one = b"\x04\x01x"
        for wire, limit, found in (
            (b"", LIMIT, b""),
            (one[:1], LIMIT, b""),
            (one[:2], LIMIT, b""),
            (one, LIMIT, one),
            (one, 3, one),
            (one, 2, b""),
            (one + b"\x04", LIMIT, one + b"\x04"),
            (one + b"\x04\x7fyyy", 5, one + b"\x04\x7f"),
            (b"\x04\x80" + one, LIMIT, b""),
        ):
            self.assertEqual(self.front(DerFraming(), wire, limit), found)

    def test_drop(self) -> None:
        """What is dropped is gone, and what is behind it is found."""
        for stream, one, two in (
            (LineFraming(), b"one\n", b"two\n"),
            (DerFraming(), b"\x04\x01x", b"\x04\x01y"),
        ):
            stream.feed(one)
            self.assertEqual(stream.front(LIMIT), one)
            self.assertEqual(stream.take(LIMIT), [one.rstrip(b"\n")])
            stream.feed(one + two)
            stream.drop(len(one))
            self.assertEqual(stream.next(LIMIT), two.rstrip(b"\n"))
            self.assertEqual(stream.buffered, 0)

    def test_blank_lines_up_to_the_limit(self) -> None:
        """However many blank lines come first, a line behind them is taken."""
        stream = LineFraming()
        stream.feed(b"\n" * 50 + b"x\n")
        self.assertEqual(stream.take(20), [b"x"])


class Counting(bytearray):
    """A buffer that counts how many of its bytes are looked at."""

    looked = 0

    def find(self, wanted: Any, start: Any = 0, *rest: Any) -> int:
        """Count a search forwards."""
        self.looked += len(self) - start
        return super().find(wanted, start, *rest)

    def rfind(self, wanted: Any, start: Any = 0, *rest: Any) -> int:
        """Count a search backwards."""
        self.looked += len(self) - start
        return super().rfind(wanted, start, *rest)

    def __getitem__(self, key: Any) -> Any:
        """Count single bytes and slices."""
        found = super().__getitem__(key)
        self.looked += 1 if isinstance(key, int) else len(found)
        return found


class CostTests(SynchronousTestCase):
    """A long frame in many small pieces costs no more than in proportion to its bytes."""

    def looked(self, stream: Framing, wire: bytes, way: Any) -> int:
        """How many bytes are looked at when a wire comes byte by byte."""
        buffer = Counting()
        stream._buffer = buffer  # type: ignore[attr-defined]
        frames: list[bytes] = []
        for at in range(len(wire)):
            stream.feed(wire[at : at + 1])
            frames += way(stream, USER_FRAME_BYTES)
        self.assertEqual(len(frames), 1)
        return buffer.looked

    def test_line(self) -> None:
        """A line of 512 KiB, byte by byte: each byte is looked at a few times at most."""
        wire = b"x" * (USER_FRAME_BYTES - 1) + b"\n"
        for way in WAYS:
            self.assertLess(self.looked(LineFraming(), wire, way), 4 * len(wire))

    def test_front(self) -> None:
        """Nor does it cost more to ask each time whether there is something to decode."""

        def way(stream: Framing, limit: int) -> list[bytes]:
            found = stream.front(limit)
            if not found:
                return drain(stream, limit)
            stream.drop(len(found))
            return [found]

        line = b"x" * (USER_FRAME_BYTES - 1) + b"\n"
        self.assertLess(self.looked(LineFraming(), line, way), 4 * len(line))
        value = bytes.fromhex("a282fff0") + b"x" * 0xFFF0
        self.assertLess(self.looked(DerFraming(), value, way), 12 * len(value))

    def test_value(self) -> None:
        """A value, byte by byte: only its header is looked at again."""
        wire = bytes.fromhex("a282fff0") + b"x" * 0xFFF0
        for way in WAYS:
            self.assertLess(self.looked(DerFraming(), wire, way), 10 * len(wire))

    def test_lines_of_a_batch(self) -> None:
        """Many lines at once are looked at a few times at most."""
        wire = b"some line\n" * 20000
        for way in WAYS:
            buffer = Counting(wire)
            stream = LineFraming()
            stream._buffer = buffer
            self.assertEqual(len(way(stream, USER_FRAME_BYTES)), 20000)
            if way is not drain:
                self.assertLess(buffer.looked, 4 * len(wire))
