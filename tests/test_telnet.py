"""Telnet in the text door: what is a line, what is a command, and what is answered."""

from __future__ import annotations

from typing import Union

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import FrameTooLarge
from chat.wire.telnet import (
    AYT,
    BINARY,
    DO,
    DONT,
    ECHO,
    IAC,
    IP,
    SB,
    SE,
    WILL,
    WONT,
    Command,
    Options,
    TelnetLines,
)
from tests.strategies import ALWAYS

LIMIT = 100
NAWS = 31
Piece = Union[bytes, Command]

#: What arrives -> the lines and commands in it, and whether it tells that this is telnet.
ARRIVES: dict[str, tuple[bytes, list[Piece], bool | None]] = {
    "nothing": (b"", [], None),
    "half a line": (b"ali", [], None),
    "lines of nc": (b"alice\n\nbob\n", [b"alice", b"", b"bob"], False),
    "lines of telnet": (b"alice\r\n\r\nbob\r\n", [b"alice", b"", b"bob"], True),
    "Enter in character mode is CR NUL": (b"alice\r\0bob\r\0", [b"alice", b"bob"], True),
    "a NUL elsewhere is an octet": (b"a\0\nb\n", [b"a\0", b"b"], False),
    "a CR elsewhere, too": (b"a\rb\n\r\r\n", [b"a\rb", b"\r"], False),
    "after DO BINARY telnet sends bare LF": (b"a\r\nb\n", [b"a", b"b"], True),
    "a command comes first": (
        bytes((IAC, WILL, NAWS)) + b"a\n",
        [Command(WILL, NAWS), b"a"],
        True,
    ),
    "commands inside a line": (
        b"a" + bytes((IAC, AYT)) + b"b" + bytes((IAC, DO, ECHO)) + b"c\r\n",
        [Command(AYT), Command(DO, ECHO), b"abc"],
        True,
    ),
    "a command between CR and NUL": (
        b"a\r" + bytes((IAC, IP)) + b"\0",
        [Command(IP), b"a"],
        True,
    ),
    "an option that looks like a line end": (bytes((IAC, DONT, 10)), [Command(DONT, 10)], True),
    "an option 255": (bytes((IAC, DO, IAC)) + b"a\n", [Command(DO, IAC), b"a"], True),
    "255 twice is one octet": (b"a\xff\xffb\xff\xff\r\n", [b"a\xffb\xff"], True),
    "255 before no command is an octet": (b"\xff\xc3\n\xff\0\xffa\n", [b"\xff\xc3", b"\xff\0\xffa"], False),
    "to nc, 255 is always one": (b"a\n\xff\xfe\n\xff\n", [b"a", b"\xff\xfe", b"\xff"], False),
    "a subnegotiation is skipped": (
        b"a" + bytes((IAC, SB, NAWS, 0, 10, IAC, IAC, IAC, 9, 13, 0, IAC, SE)) + b"b\n",
        [b"ab"],
        True,
    ),
    "its end is missing": (b"a\r\n" + bytes((IAC, SB, NAWS, 1, 2, IAC)), [b"a"], True),
    "half a command": (b"a\r\nb" + bytes((IAC, WILL)), [b"a"], True),
    "a lone 255": (b"a\r\nb\xff", [b"a"], True),
}  # fmt: skip


def drain(lines: TelnetLines, limit: int = LIMIT) -> list[Piece]:
    """All that is whole."""
    found: list[Piece] = []
    while (piece := lines.next(limit)) is not None:
        found.append(piece)
    return found


class LinesTests(SynchronousTestCase):
    """Bytes become the same lines and commands however they are cut."""

    def test_whole(self) -> None:
        """In one piece."""
        for name, (arriving, expected, telnet) in ARRIVES.items():
            lines = TelnetLines()
            lines.feed(arriving)
            self.assertEqual(drain(lines), expected, name)
            self.assertIs(lines.telnet, telnet, name)
            self.assertEqual(lines.fed, len(arriving), name)

    def test_every_split(self) -> None:
        """In two pieces, cut at every place, with and without looking in between."""
        for name, (arriving, expected, telnet) in ARRIVES.items():
            for cut in range(1, len(arriving)):
                lines = TelnetLines()
                lines.feed(arriving[:cut])
                found = drain(lines)
                lines.feed(arriving[cut:])
                self.assertEqual(found + drain(lines), expected, (name, cut))
                self.assertIs(lines.telnet, telnet, (name, cut))

    def test_byte_by_byte(self) -> None:
        """In pieces of one byte."""
        for name, (arriving, expected, telnet) in ARRIVES.items():
            lines = TelnetLines()
            found: list[Piece] = []
            for at in range(len(arriving)):
                lines.feed(arriving[at : at + 1])
                found += drain(lines)
            self.assertEqual(found, expected, name)
            self.assertIs(lines.telnet, telnet, name)

    def test_position(self) -> None:
        """The position is behind the line just taken; what waits is counted."""
        lines = TelnetLines()
        lines.feed(b"one\r\ntwo\xff\xf1 or\r\nth")
        for line, position, buffered in ((b"one", 5, 12), (Command(241), 10, 10), (b"two or", 15, 2)):
            self.assertEqual(lines.next(LIMIT), line)
            self.assertEqual(lines.position, position)
            self.assertEqual(lines.buffered, buffered)

    def test_limit(self) -> None:
        """A line may have as many bytes as the limit says, its LF included, and not one more."""
        for end in (b"\n", b"\r\n"):
            lines = TelnetLines()
            lines.feed(b"a" * (LIMIT - len(end)) + end)
            self.assertEqual(drain(lines), [b"a" * (LIMIT - len(end))])
            lines.feed(b"a" * (LIMIT - len(end) + 1) + end)
            self.assertRaises(FrameTooLarge, lines.next, LIMIT)

    def test_limit_of_a_part(self) -> None:
        """A line that has no end in sight is refused once it is as long as a line may be."""
        lines = TelnetLines()
        lines.feed(b"a" * (LIMIT - 1))
        self.assertEqual(drain(lines), [])
        lines.feed(b"a")
        self.assertRaises(FrameTooLarge, lines.next, LIMIT)

    def test_limit_around_commands(self) -> None:
        """What stands before a command inside a line counts."""
        lines = TelnetLines()
        for _ in range(LIMIT):
            lines.feed(b"a\xff\xf1")
        found: list[Piece | None] = [lines.next(LIMIT) for _ in range(LIMIT - 1)]
        self.assertEqual(found, [Command(241)] * (LIMIT - 1))
        self.assertRaises(FrameTooLarge, drain, lines)

    def test_limit_of_a_subnegotiation(self) -> None:
        """A subnegotiation that does not end is refused, and costs no memory before."""
        for octets in (b"abc", b"\xff\xff"):
            lines = TelnetLines()
            lines.feed(bytes((IAC, SB)))
            for _ in range(LIMIT // 3 - 1):
                lines.feed(octets)
                self.assertEqual(drain(lines), [])
                self.assertEqual(lines.buffered, 0)
            lines.feed(octets * LIMIT)
            self.assertRaises(FrameTooLarge, drain, lines)

    @ALWAYS
    @given(st.lists(st.binary(max_size=12) | st.sampled_from([b"\r\n", b"\xff\xfb\1", b"\xff\xfa"])))
    def test_any(self, parts: list[bytes]) -> None:
        """Any bytes at all: pieces come out, or the limit is named, and the cut makes no difference."""

        def pieces(feeds: list[bytes]) -> list[Piece | str]:
            lines = TelnetLines()
            found: list[Piece | str] = []
            try:
                for feed in feeds:
                    lines.feed(feed)
                    found += drain(lines)
            except FrameTooLarge:
                found.append("too large")
            return found

        self.assertEqual(pieces(parts), pieces([b"".join(parts)]))


class FrontTests(SynchronousTestCase):
    """Many lines at once, as long as they are mere text."""

    def lines(self, *pieces: bytes) -> TelnetLines:
        """What arrived in these pieces, of which the first one, a line, has been taken."""
        lines = TelnetLines()
        for piece in pieces:
            lines.feed(piece)
        lines.next(LIMIT)
        return lines

    def test_lines(self) -> None:
        """Whole lines, each with its CR; they stay until they are dropped."""
        lines = self.lines(b"alice\n", "é\r\n\na\rb\nhal".encode())
        self.assertEqual(lines.front(LIMIT, 10), ["é\r", "", "a\rb"])
        self.assertEqual(lines.front(LIMIT, 2), ["é\r", ""])
        lines.drop(["é\r", ""])
        self.assertEqual(lines.buffered, 7)
        self.assertEqual(lines.next(LIMIT), b"a\rb")
        self.assertEqual(lines.front(LIMIT, 10), [])
        lines.feed(b"f\n")
        self.assertEqual(lines.front(LIMIT, 10), ["half"])

    def test_not_at_first(self) -> None:
        """None before the first line, which tells telnet from nc."""
        lines = TelnetLines()
        lines.feed(b"alice\nbob\n")
        self.assertEqual(lines.front(LIMIT, 10), [])
        lines.next(LIMIT)
        self.assertEqual(lines.front(LIMIT, 10), ["bob"])

    def test_anything_else(self) -> None:
        """None when a command, a CR NUL or what is no UTF-8 is among them, or comes in between."""
        for wrong in (bytes((IAC, AYT)), bytes((IAC, IAC)), b"\xff", b"\r\0", b"\xc3"):
            for end in (b"\n", b"\r\n"):
                lines = self.lines(b"alice" + end, b"a" + end + b"b" + wrong + b"c" + end)
                self.assertEqual(lines.front(LIMIT, 10), [], wrong)
        lines = self.lines(b"alice\r\n", b"a" + bytes((IAC, AYT)) + b"b\r\nc\r\n")
        self.assertEqual(lines.next(LIMIT), Command(AYT))
        self.assertEqual(lines.front(LIMIT, 10), [])
        self.assertEqual(lines.next(LIMIT), b"ab")
        self.assertEqual(lines.front(LIMIT, 10), ["c\r"])
        lines = self.lines(b"alice\r\n", bytes((IAC, SB, NAWS)))
        self.assertIsNone(lines.next(LIMIT))
        lines.feed(b"a\nb\n")
        self.assertEqual(lines.front(LIMIT, 10), [])

    def test_limit(self) -> None:
        """No line is longer than the limit, its end included."""
        lines = self.lines(b"alice\n", b"one\nfour\nsix")
        for limit, found in ((9, ["one", "four"]), (8, ["one"]), (4, ["one"]), (3, [])):
            self.assertEqual(lines.front(limit, 10), found)


class BlankTests(SynchronousTestCase):
    """Empty lines can be used up together."""

    def test_skipped(self) -> None:
        """As many as there are at the front, and nothing else."""
        for wire, left in ((b"\n\r\n\r\0a\n", 2), (b"\n\n", 0), (b"\0\n", 2), (b"\ra\n", 3), (b"", 0)):
            lines = TelnetLines()
            lines.feed(b"alice\n" + wire)
            lines.next(LIMIT)
            lines.skip_blanks()
            self.assertEqual(lines.buffered, left, wire)

    def test_not_within_a_line(self) -> None:
        """None before the first line, which tells telnet from nc, nor within a line."""
        lines = TelnetLines()
        lines.feed(b"\n\n")
        lines.skip_blanks()
        self.assertEqual(lines.buffered, 2)
        lines = TelnetLines()
        lines.feed(b"alice\r\na" + bytes((IAC, AYT)) + b"\n\n")
        self.assertEqual([lines.next(LIMIT), lines.next(LIMIT)], [b"alice", Command(AYT)])
        lines.skip_blanks()
        self.assertEqual([lines.next(LIMIT), lines.next(LIMIT)], [b"a", b""])


class OptionsTests(SynchronousTestCase):
    """Options are refused, except those that the door itself asks for; nothing goes round."""

    def test_refusals(self) -> None:
        """What a client offers or asks for is refused once; what it takes back is not answered."""
        options = Options()
        for option in (1, 3, NAWS, 255):
            with self.subTest(option=option):
                self.assertEqual(options.reply(Command(WILL, option)), bytes((IAC, DONT, option)))
                self.assertEqual(options.reply(Command(DO, option)), bytes((IAC, WONT, option)))
                self.assertEqual(options.reply(Command(WONT, option)), b"")
                self.assertEqual(options.reply(Command(DONT, option)), b"")

    def test_other_commands(self) -> None:
        """Are you there? is answered in words, all else (NOP, erase, suspend, ...) is ignored."""
        for code in range(236, 250):
            expected = b"\r\n[Yes]\r\n" if code == AYT else b""
            self.assertEqual(Options().reply(Command(code)), expected, str(code))

    def test_binary(self) -> None:
        """Eight bits are asked for once, or agreed to once if the client offers them first."""
        options = Options()
        self.assertEqual(options.binary(), bytes((IAC, DO, BINARY)))
        self.assertEqual(options.binary(), b"")
        self.assertEqual(options.reply(Command(WILL, BINARY)), b"")
        self.assertEqual(options.reply(Command(WONT, BINARY)), b"")
        other = Options()
        self.assertEqual(other.reply(Command(WILL, BINARY)), bytes((IAC, DO, BINARY)))
        self.assertEqual(other.binary(), b"")

    def test_hide_and_show(self) -> None:
        """Only changes are said."""
        options = Options()
        self.assertEqual(options.show(), b"")
        self.assertEqual(options.hide(), bytes((IAC, WILL, ECHO)))
        self.assertEqual(options.hide(), b"")
        self.assertTrue(options.hidden)
        self.assertEqual(options.show(), bytes((IAC, WONT, ECHO)))
        self.assertFalse(options.hidden)

    def answers(self, *said: int) -> tuple[bytes, Options]:
        """The options after hide and show as often as is said here, with the client's words between.

        C{WILL} stands for hide, C{WONT} for show, C{DO} and C{DONT} for the client's answers.
        """
        options = Options()
        replies = b""
        for word in said:
            if word == WILL:
                options.hide()
            elif word == WONT:
                options.show()
            else:
                replies += options.reply(Command(word, ECHO))
        return replies, options

    def test_answers_are_not_answered(self) -> None:
        """However late they come."""
        for said in (
            (WILL, DO, WONT, DONT),
            (WILL, WONT, DO, DONT),
            (WILL, DO, WONT, WILL, DONT, DO),
            (WILL, WONT, WILL, DO, DONT, DO),
        ):
            replies, options = self.answers(*said)
            self.assertEqual(replies, b"")
            self.assertIs(options.hidden, said.count(WILL) == 2)

    def test_a_client_that_refuses(self) -> None:
        """Echoes itself: that is known from then on, and never taken for the answer to WONT."""
        replies, options = self.answers(WILL, DONT)
        self.assertEqual((replies, options.hidden), (b"", False))
        replies, options = self.answers(WILL, WONT, DONT, WILL, DO)
        self.assertEqual((replies, options.hidden), (b"", True))
        for said in ((WILL, WONT, WILL, DONT, DONT), (WILL, DO, WONT, WILL, DONT, DONT)):
            replies, options = self.answers(*said)
            self.assertEqual((replies, options.hidden), (b"", False), str(said))

    def test_a_client_that_wants(self) -> None:
        """Its own wish to be echoed is refused, its wish not to be echoed is followed."""
        self.assertEqual(self.answers(DO)[0], bytes((IAC, WONT, ECHO)))
        self.assertEqual(self.answers(WILL, DO, DO)[0], b"")
        replies, options = self.answers(WILL, DO, DONT)
        self.assertEqual((replies, options.hidden), (bytes((IAC, WONT, ECHO)), False))

    def test_two_such_sides(self) -> None:
        """Two sides that answer each other fall silent, whatever started them."""
        for first in range(256):
            for code in (WILL, WONT, DO, DONT):
                sides = [Options(), Options()]
                sides[0].hide()
                words = bytes((IAC, code, first))
                for turn in range(6):
                    if not words:
                        break
                    words = sides[turn % 2].reply(Command(words[1], words[2]))
                self.assertEqual(words, b"", f"{code} {first}")
