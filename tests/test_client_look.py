"""What a person sees at the client: words in their own time, lines that fit their terminal."""

from __future__ import annotations

import io
import os
import time
from unittest import skipUnless

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from chat.client.fates import Fate
from chat.client.look import Look, Tone, encoding, look, wrapped
from chat.client.wording import Wording
from chat.messages import (
    Entry,
    Found,
    Listing,
    Message,
    Messages,
    Returned,
)
from chat.wire.text_words import Asked
from tests.memory_server import TIME
from tests.strategies import ALWAYS

NOW = 1795381620.0  # 2026-11-22T21:07:00Z


class Somewhere(SynchronousTestCase):
    """A test in a time zone of its own."""

    def zone(self, name: str) -> None:
        """Be there until the test ends."""
        before = os.environ.get("TZ")
        self.addCleanup(time.tzset)
        if before is None:
            self.addCleanup(os.environ.pop, "TZ", None)
        else:
            self.addCleanup(os.environ.__setitem__, "TZ", before)
        os.environ["TZ"] = name
        time.tzset()


@skipUnless(hasattr(time, "tzset"), "The time zone of a process cannot be changed here.")
class WordingTests(Somewhere):
    """Who wrote what, and when, in words."""

    def setUp(self) -> None:
        """Alice reads, in a zone where it is ten past ten in the evening."""
        self.zone("EAST-1")
        self.wording = Wording(lambda: NOW)
        self.wording.me = "alice"

    def test_moment(self) -> None:
        """Times are those of the reader, with the date when it is not today."""
        self.assertEqual(self.wording.moment("2026-11-22T21:07:00.123Z"), "22:07")
        self.assertEqual(self.wording.moment("2026-11-21T23:30:00.000Z"), "00:30")
        self.assertEqual(self.wording.moment("2026-11-21T22:30:00.000Z"), "2026-11-21 23:30")
        self.zone("WEST+10")
        self.assertEqual(self.wording.moment("2026-11-21T23:30:00.000Z"), "2026-11-21 13:30")

    def test_no_moment(self) -> None:
        """A time that is none hides no message; it is shown as the server has said it."""
        for never in ("2026-13-45T99:99:99.000Z", "0000-00-00T00:00:00.000Z", "9999-12-31T23:59:59.999Z"):
            message = Message(id=1, sender="bob", recipient="alice", time=never, body="hi")
            self.assertEqual(self.wording.message(message), [f"#1 from bob, {never}", "| hi"])

    def test_new_day(self) -> None:
        """That another day has begun in the reader's zone is told once."""
        now = [NOW]
        wording = Wording(lambda: now[0])
        told = []
        for minutes in (0, 112, 113, 114):
            now[0] = NOW + 60 * minutes
            told.append(wording.new_day())
        self.assertEqual(told, [[], [], ["It is 2026-11-23 now."], []])

    def test_message(self) -> None:
        """A message is a line about it, and its body, marked."""
        message = Message(
            id=17, sender="bob", recipient="alice", time=TIME, body="one\r\ntwo\x1b", subject="hi"
        )
        self.assertEqual(
            self.wording.message(message), ["#17 from bob, 22:07, subject: hi", "| one\n| two\\x1b"]
        )
        empty = Message(id=17, sender="alice", recipient="bob", time=TIME, body="", state="delivered")
        self.assertEqual(self.wording.message(empty, again=True), ["#17 (again) to bob, 22:07, delivered"])
        own = Message(id=17, sender="alice", recipient="alice", time=TIME, body="", automatic=True)
        self.assertEqual(self.wording.message(own), ["#17 from yourself, 22:07, automatic"])

    def test_returned(self) -> None:
        """What came back says from whom and why."""
        returned = Returned(code="expired", recipient="bob", note="Too late.")
        message = Message(id=1, sender="alice", recipient="alice", time=TIME, body="", returned=returned)
        self.assertEqual(
            self.wording.message(message),
            ['#1 to "bob" came back, not delivered: Too late. (expired); sent 22:07'],
        )

    def test_fates(self) -> None:
        """A fate is a line that can be understood alone."""
        self.assertEqual(self.wording.accepted(17, "bob", "waiting"), "#17 to bob: waiting")
        fate = Fate(17, "delivered", time=TIME)
        self.assertEqual(self.wording.fate(fate, "bob"), "#17 to bob: delivered 22:07")
        self.assertEqual(self.wording.fate(Fate(1, "strange\x07"), "bob"), "#1 to bob: strange\\x07")

    def test_boxes(self) -> None:
        """A listing is a line an entry, and how to see more."""
        returned = Returned(code="expired", recipient="bob", note="Too late.")
        entries = [
            Entry(id=2, sender="bob", recipient="alice", time=TIME, state="waiting", subject="hi"),
            Entry(id=1, sender="alice", recipient="alice", time=TIME, state="delivered", returned=returned),
        ]
        listing = Listing(box="inbox", messages=entries, more=True)
        self.assertEqual(
            self.wording.listing(listing, Asked(before=0)),
            [
                "#2 from bob, 22:07, waiting, subject: hi",
                '#1 to "bob" came back, not delivered: Too late. (expired), 22:07, delivered',
                "There is more: /inbox <1",
            ],
        )
        empty = Listing(box="sent", messages=[], more=False)
        self.assertEqual(self.wording.listing(empty, Asked()), ["You have sent nothing."])

    def test_status(self) -> None:
        """What became of one message."""
        returned = Returned(code="expired", recipient="bob", note="Too late.")
        for entry, told in (
            (
                Entry(id=1, sender="alice", recipient="bob", time=TIME, state="recalled"),
                "#1 to bob: recalled",
            ),
            (
                Entry(id=1, sender="a", recipient="b", time=TIME, state="returned", returned=returned),
                '#1 to "bob" came back, not delivered: Too late. (expired)',
            ),
            (
                Entry(id=2, sender="a", recipient="b", time=TIME, state="waiting"),
                "You have sent no message 1.",
            ),
        ):
            listing = Listing(box="sent", messages=[entry], more=False)
            self.assertEqual(self.wording.listing(listing, Asked(status=1)), [told])

    def test_found(self) -> None:
        """What a search finds shows where, and how to see more."""
        entries = [
            Entry(
                id=9, sender="bob", recipient="alice", time=TIME, state="delivered", excerpt="the \x1b fox"
            ),
            Entry(id=8, sender="alice", recipient="bob", time=TIME, state="waiting"),
        ]
        found = Found(messages=entries, more=True, incomplete=True)
        lines = self.wording.found(found, Asked(query="fox"))
        self.assertEqual(
            lines[:4],
            [
                "#9 from bob, 22:07, delivered",
                "| the \\x1b fox",
                "#8 to bob, 22:07, waiting",
                "There is more: /search <8 fox",
            ],
        )
        self.assertIn("index", lines[4])
        nothing = self.wording.found(Found(messages=[], more=False), Asked(query="fox"))
        self.assertEqual(nothing, ["Nothing found."])
        strange = self.wording.found(Found(messages=[], more=True), Asked(query="fox"))
        self.assertEqual(strange, ["Nothing found."])

    def test_missing(self) -> None:
        """What could not be read is said."""
        self.assertEqual(
            self.wording.messages(Messages(messages=[], missing=[9])), ["Not in your mailbox: message 9."]
        )


class HostileTests(SynchronousTestCase):
    """Whatever others write, a line is a line."""

    @ALWAYS
    @given(some.text(), some.text(), some.text(), some.none() | some.text(), some.text())
    def test_message(self, sender: str, recipient: str, body: str, subject: str | None, note: str) -> None:
        """Nothing of a message begins a line but its number and its marks, and nothing steers."""
        returned = Returned(code=note, recipient=recipient, note=note) if note else None
        for state in ("", note):
            message = Message(
                id=7,
                sender=sender,
                recipient=recipient,
                time=TIME,
                body=body,
                subject=subject,
                returned=returned,
                state=state,
            )
            entry = Entry(
                id=7,
                sender=sender,
                recipient=recipient,
                time=TIME,
                state=state,
                subject=subject,
                excerpt=body,
            )
            wording = Wording(lambda: NOW)
            head, *bodies = wording.message(message)
            found = wording.found(Found(messages=[entry], more=True), Asked(query="x"))
            fate = wording.fate(Fate(7, state, time=TIME), recipient)
            lines = [line for text in (*bodies, found[1]) for line in text.split("\n")]
            self.assertTrue(all(line.startswith("| ") for line in lines))
            self.assertTrue(all(line.startswith("#7") for line in (head, found[0], fate)))
            for line in (head, found[0], fate, *lines):
                self.assertEqual(Look().dress(line), line)
                self.assertEqual(len(line.splitlines()), 1)


class Screen(io.StringIO):
    """An output that says that it is a terminal, and in which encoding."""

    def __init__(self, encoding: str = "utf-8", terminal: bool = True) -> None:
        super().__init__()
        self._is = terminal
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """See L{io.TextIOBase.encoding}."""
        return self._encoding

    def isatty(self) -> bool:
        """See L{io.IOBase.isatty}."""
        return self._is


class LookTests(SynchronousTestCase):
    """Lines that fit where they are shown."""

    def test_colours(self) -> None:
        """Colours are on terminals that have them, unless somebody does not want them."""
        pipe, terminal = Screen(terminal=False), Screen()
        for out, colour, plain, environ, coloured in (
            (terminal, "auto", False, {"TERM": "xterm"}, True),
            (terminal, "auto", True, {"TERM": "xterm"}, False),
            (terminal, "auto", False, {"TERM": "dumb"}, False),
            (terminal, "auto", False, {}, False),
            (terminal, "auto", False, {"TERM": "xterm", "NO_COLOR": "1"}, False),
            (terminal, "never", False, {"TERM": "xterm"}, False),
            (pipe, "auto", False, {"TERM": "xterm"}, False),
            (pipe, "always", True, {"NO_COLOR": "1"}, True),
        ):
            dressed = look(out, colour, plain, environ).dress("hello", Tone.GOOD)
            self.assertEqual(dressed, "\x1b[32mhello\x1b[0m" if coloured else "hello", (colour, environ))

    def test_colour_is_decoration(self) -> None:
        """Without colours the same words are there; what is neither good nor bad has none."""
        self.assertEqual(Look(colours=True).dress("hello"), "hello")
        self.assertEqual(
            Look(colours=True, width=lambda: 20).dress("one two three four five six", Tone.BAD),
            "\x1b[31mone two three four\x1b[0m\n\x1b[31m  five six\x1b[0m",
        )

    def test_encoding(self) -> None:
        """Characters that cannot be shown are spelled out, and who says C means it."""
        self.assertEqual(Look("ascii").dress("für 漢"), "f\\xfcr \\u6f22")
        self.assertEqual(Look("latin-1").dress("für 漢"), "für \\u6f22")
        for out, environ, expected in (
            (Screen(), {"LANG": "C.UTF-8"}, "utf-8"),
            (Screen(), {"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, "ascii"),
            (Screen(), {"LANG": "POSIX"}, "ascii"),
            (Screen(), {"LC_ALL": "C", "PYTHONUTF8": "1"}, "utf-8"),
            (Screen(), {}, "utf-8"),
            (Screen(terminal=False), {"LC_ALL": "C"}, "utf-8"),
            (Screen("iso-8859-1"), {"LANG": "de_DE"}, "iso-8859-1"),
        ):
            self.assertEqual(encoding(out, environ), expected, environ)

    def test_no_steering(self) -> None:
        """Whatever gets here, nothing drives the terminal."""
        self.assertEqual(Look().dress("a\x1b[2Jb\x07\x9bc\nd"), "a?[2Jb??c\nd")

    def test_wrapped(self) -> None:
        """Lines are broken at spaces; what goes on is marked as what it is."""
        for line, parts in (
            ("#17 from bob, 21:07, subject: news", ["#17 from bob, 21:07,", "  subject: news"]),
            ("| one two three four five", ["| one two three four", "| five"]),
            ("| one two three fourteen", ["| one two three", "| fourteen"]),
            (
                "| https://example.org/as/long/as/it/takes ok",
                ["| https://example.org/as/long/as/it/takes", "| ok"],
            ),
            ("| " + "ü" * 25, ["| " + "ü" * 17, "| " + "ü" * 8]),
            ("| " + "漢" * 12, ["| " + "漢" * 8, "| " + "漢" * 4]),
            ("short", ["short"]),
            ("", [""]),
        ):
            self.assertEqual(wrapped(line, 20), parts)

    @ALWAYS
    @given(some.text(some.sampled_from("ab 漢ü\u00a0#|"), max_size=80), some.integers(1, 60))
    def test_nothing_looks_like_another_line(self, text: str, width: int) -> None:
        """However a body is broken, nothing of it begins a line, and nothing but spaces is lost."""
        parts = wrapped(f"| {text}", width)
        self.assertTrue(all(part.startswith("|") for part in parts), parts)
        joined = "".join(part.removeprefix("|").replace(" ", "") for part in parts)
        self.assertEqual(joined, text.replace(" ", ""))

    def test_long_ones(self) -> None:
        """The longest body is broken in no time, whatever it is made of."""
        for text in ("ü" * 65_536, " " * 65_536, "ü " * 30_000, "漢" * 20_000):
            begun = time.process_time()
            wrapped(f"| {text}", 40)
            self.assertLess(time.process_time() - begun, 2.0)
