"""Hostile bytes find nothing, what once found something stays fixed, and the fuzzing itself can find."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from random import Random
from typing import Callable, Sequence

from twisted.internet.base import DelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import BadFrame, ChatError, MalformedFrame
from chat.messages import (
    Answer,
    Failed,
    Frame,
    Incoming,
    List,
    Listing,
    Login,
    Message,
    Ping,
    Read,
    Version,
    Welcome,
)
from chat.protocol import INPUT_BYTES, ChatProtocol
from chat.wire import deserialize, json, serialize
from chat.wire.telnet import TelnetLines
from chat.wire.text import TextTranslator
from chat.wire.text_shown import Shown
from chat.wire.text_words import visible
from chat.wire.translator import FRAMES_AT_ONCE
from tests.fuzz import targets
from tests.fuzz.__main__ import CORPUS, TARGETS, attempt, campaign, kept, main, read
from tests.fuzz.mutation import MAKERS
from tests.fuzz.targets import CPU, TIME, Fault, check_memory, check_time
from tests.network import START, Network
from tests.talker import Talker, keywords, password
from tests.wire import Wire

#: How many each target is fed with: the same on every machine. It takes a few seconds.
INPUTS = {"json": 4000, "der": 3000, "text": 1500, "session": 700, "web": 1000}
#: How a translator gives frames.
Take = Callable[..., Sequence[Incoming]]


class CampaignTests(SynchronousTestCase):
    """Each target, with inputs of one seed."""

    def assertFindsNothing(self, name: str) -> None:
        """No input of this seed makes the target do what it must not."""
        directory = Path(self.mktemp())
        directory.mkdir()
        target = TARGETS[name](directory)
        self.addCleanup(target.close)
        self.assertEqual(campaign(target, 20261122, INPUTS[name], None).found, {})

    def test_json(self) -> None:
        """The JSON decoder."""
        self.assertFindsNothing("json")

    def test_der(self) -> None:
        """The DER decoder."""
        self.assertFindsNothing("der")

    def test_text(self) -> None:
        """The text door."""
        self.assertFindsNothing("text")

    def test_session(self) -> None:
        """A whole server, at any door, in any splits."""
        self.assertFindsNothing("session")

    def test_web(self) -> None:
        """A whole server, at the web door."""
        self.assertFindsNothing("web")

    def test_corpus(self) -> None:
        """What once found something finds nothing any more, in any target."""
        for name, make in TARGETS.items():
            directory = Path(self.mktemp())
            directory.mkdir()
            found = kept(name)
            self.assertGreater(len(found), 3, f"no corpus for {name}")
            target = make(directory)
            self.addCleanup(target.close)
            for path in found:
                self.assertEqual(attempt(target, read(path), True)[2], None, path.name)

    def test_corpus_frames(self) -> None:
        """Frames that a decoder once took for something else are what they are."""
        for name, expected in (
            ("json-duplicate-keyword", Ping),
            ("json-null-field", Message),
            ("json-null-in-a-listing", Listing),
            ("json-no-moment", Message),
            ("json-nul", Login),
            ("der-nul", Login),
            ("json-huge-number", BadFrame),
            ("json-lone-surrogate", MalformedFrame),
            ("json-not-utf8-where-skipped", MalformedFrame),
            ("json-deep.gz", MalformedFrame),
            ("der-deep.gz", MalformedFrame),
            ("der-huge-tag", MalformedFrame),
        ):
            try:
                frame: object = deserialize(read(CORPUS / name), name.partition("-")[0])
            except ChatError as error:
                frame = error
            self.assertIsInstance(frame, expected, name)

    def test_corpus_told(self) -> None:
        """Each file of the corpus is small, and its README tells what it did."""
        told = (CORPUS / "README.rst").read_text()
        for path in CORPUS.glob("*-*"):
            self.assertLess(path.stat().st_size, 10_000, path.name)
            self.assertIn(f"``{path.name}``", told)


class FinderTests(SynchronousTestCase):
    """Fuzzing that could not find anything would prove nothing."""

    def test_same_seed(self) -> None:
        """One seed gives the same inputs each time; another gives others."""
        for make in MAKERS.values():
            one, again, other = [[make(Random(f"{seed}/{n}")) for n in range(50)] for seed in (1, 1, 2)]
            self.assertEqual(one, again)
            self.assertNotEqual(one, other)

    def test_both_sides(self) -> None:
        """The inputs of a decoder are of every kind: frames, no frames of ours, and malformed."""
        from chat.errors import BadFrame, FatalError
        from chat.wire import deserialize

        for codec in ("json", "der"):
            kinds: set[type] = set()
            for number in range(300):
                try:
                    kinds.add(type(deserialize(MAKERS[codec](Random(number)), codec)))
                except (BadFrame, FatalError) as error:
                    kinds.add(type(error))
            self.assertTrue({BadFrame} < kinds, codec)
            self.assertGreater(len(kinds), 12, codec)

    def test_exception(self) -> None:
        """An exception is found, with the input that leads to it."""
        target = TARGETS["json"](Path("unused"))
        whole = target.run

        def broken(wire: bytes) -> int:
            return whole(wire) if b"keyword" not in wire else 1 // 0

        target.run = broken  # type: ignore[method-assign]
        found = campaign(target, 1, 200, None).found
        self.assertTrue(found)
        for wire, wrong in found.items():
            self.assertIn(b"keyword", wire)
            self.assertIn("ZeroDivisionError", wrong)

    def test_time(self) -> None:
        """So is what takes too long."""

        def slow(wire: bytes) -> int:
            return sum(1 for _ in range(3_000_000)) and 1

        self.assertRaises(Fault, check_time, slow, b"x")
        self.assertLess(check_time(len, b"x"), CPU)

    def test_endless(self) -> None:
        """So is what has no end."""

        def endless(wire: bytes) -> int:
            while True:
                pass

        self.patch(targets, "ENDLESS", 0.05)
        self.assertRaises(Fault, check_time, endless, b"x")

    def test_memory(self) -> None:
        """So is what takes too much memory."""

        def greedy(wire: bytes) -> int:
            return len([bytes(wire) for _ in range(100_000)])

        target = TARGETS["json"](Path("unused"))
        self.assertLess(check_memory(target, b"x"), 10_000)
        self.patch(target, "run", greedy)
        self.assertRaises(Fault, check_memory, target, b"xy")

    def test_command(self) -> None:
        """The command says how much was tried, and exits with 0."""
        out = io.StringIO()
        with redirect_stdout(out):
            self.assertEqual(main(["der", "--inputs", "30", "--seed", "7"]), 0)
        self.assertRegex(out.getvalue(), r"^der: 30 inputs of seed 7 in \d+ s, .* 0 found something\n$")


class Turns(Clock):
    """A clock whose turns end as a reactor's do: what is called later is called in a later one."""

    def turn(self) -> None:
        """Call what is due, and not what that asks for."""
        due = [call for call in self.getDelayedCalls() if call.getTime() <= self.seconds()]
        for call in due:
            if call.active():
                assert isinstance(call, DelayedCall)
                function, arguments = call.func, call.args
                call.cancel()
                function(*arguments)


class CheapTests(SynchronousTestCase):
    """What is cheap to say is cheap to hear: nobody keeps the others waiting."""

    def talk(self, door: str, *said: bytes) -> tuple[Turns, Wire, ChatProtocol]:
        """A connection of alice at a door, logged in."""
        clock = Turns()
        clock.advance(START)
        network = Network(Path(self.mktemp()), clock=clock)
        self.addCleanup(network.close)
        network.user("alice").hang_up()
        protocol = network.doors[door].buildProtocol(None)
        wire = Wire(protocol)
        protocol.makeConnection(wire)
        for each in said:
            wire.arrive(each)
            clock.advance(0)
            wire.read()
        return clock, wire, protocol

    def assertBounded(self, opening: bytes, begin: bytes, flood: bytes) -> None:
        """A client that floods the text door is left in the network, not in memory."""
        login = f"alice\n{password('alice')}\n".encode()
        clock, wire, protocol = self.talk("text", opening + login, begin)
        most = 0
        for _ in range(12):
            wire.arrive(flood)
            clock.turn()
            wire.read()
            most = max(most, protocol._translator.buffered)
        self.assertGreater(most, 0)
        self.assertLessEqual(most, INPUT_BYTES + len(flood))

    def test_flood_of_lines(self) -> None:
        """Lines that arrive faster than they are read do not pile up, be they answered or not."""
        self.assertBounded(b"", b"", b"x\n" * 32768)
        self.assertBounded(b"", b"/write bob\n\n", b"x\n" * 32768)

    def test_flood_of_commands(self) -> None:
        """Nor do telnet commands, which ask for nothing."""
        self.assertBounded(b"\xff\xf1", b"", b"\xff\xf1" * 32768)

    def test_fault_behind_a_refusal(self) -> None:
        """A fault is told once, whatever is answered before it, and at once or later."""
        ids = list(range(1, 150))  # too many: refused without a look at the store
        said: list[Frame] = [List(box="inbox"), Read(ids=ids), Read(ids=ids)]
        taken: list[int] = []
        for door, fault in (("der", b"\xa0\x80"), ("json", b"x" * 70_000)):
            taken.clear()
            login = [Login(field="username", value="alice"), Login(field="password", value=password("alice"))]
            clock, wire, protocol = self.talk(door, b"".join([serialize(frame, door) for frame in login]))
            take = protocol._translator.take

            def counted(limit: int, data: bytes = b"", take: Take = take) -> Sequence[Incoming]:
                taken.append(limit)
                self.assertLess(len(taken), 20, "it is told for ever")
                return take(limit, data)

            self.patch(protocol._translator, "take", counted)
            wire.arrive(b"".join([serialize(frame, door) for frame in said]) + fault * 8)
            clock.advance(0)
            heard = keywords(Talker(door).decode(wire.read()))
            told = "fatal malformed-frame" if door == "der" else "fatal frame-too-large"
            self.assertEqual(heard, ["listing", "failed too-large", "failed too-large", told])

    def door(self, opening: bytes = b"") -> TextTranslator:
        """A text door where alice is logged in."""
        door = TextTranslator()
        door.render([Version(protocol=1, server="chat"), Welcome(username="alice", waiting=0)])
        door.feed(opening + b"x\n")
        door.take(4096)
        return door

    def test_slices(self) -> None:
        """A take does so much and no more; what is returned tells that there is more."""
        for opening, flood in ((b"", b"/write bob\n\n" + b"x\n" * 3000), (b"\xff\xf1", b"\xff\xf1" * 3000)):
            door = self.door(opening)
            door.feed(flood)
            taken = door.take(524288)
            self.assertTrue(door.more)
            self.assertLessEqual(len(taken), FRAMES_AT_ONCE)
            self.assertGreater(door.buffered, 3000)
            while door.more:
                door.take(524288)
            self.assertEqual(door.buffered, 0)

    def test_blank_lines(self) -> None:
        """Blank lines are used up together, and still confirm what was shown before them."""
        for blank in (b"\n", b"\r\n", b"\r\0"):
            door = self.door()
            shown = Message(id=7, sender="bob", recipient="alice", time=TIME, body="x")
            door.render([shown])
            door.feed(blank * 20000)
            (received,) = door.take(524288)
            self.assertEqual(received.ids, [7])  # type: ignore[union-attr]
            self.assertEqual(door.buffered, 0)

    def test_thrown_away(self) -> None:
        """To be told again and again that the client throws away what it is sent costs no more each time."""
        door = self.door(b"\xff\xf1")
        for number in range(10_000):
            shown = Message(id=number + 1, sender="bob", recipient="alice", time=TIME, body="x")
            door.render([shown])
        door.feed(b"\xff\xfd\x06")
        door.take(524288)

        def step() -> None:
            door.feed(b"\xff\xfd\x06" * 300)
            self.assertEqual(len(door.take(524288)), 1)

        self.assertQuick(step)

    def test_long_names(self) -> None:
        """What is too long for a name or a command is not repeated as a whole."""
        for typed, told in (
            (b"/to %b\n", b"What you type now goes to %b...."),
            (b"/to %b hi\n", b"Not sent to %b...: no (too-large)"),
            (b"/write %b\n", b"A message to %b.... /cancel gives up."),
        ):
            door = self.door()
            door.feed(typed % (b"x" * 5000))
            answers = [
                each.frame if isinstance(each, Answer) else Failed(code="too-large", reason="no")
                for each in door.take(524288)
            ]
            said = door.render(answers)
            self.assertIn(told % (b"x" * 100), said)
            self.assertLess(len(said), 500)

    def test_marks_of_what_was_thrown_away(self) -> None:
        """Their answers confirm nothing; the answer after them confirms what was shown after them."""
        lines = TelnetLines()
        lines.telnet = lines.spoke = True
        shown = Shown(lines)
        for number in (1, 2):
            shown.add(number)
            shown.end_batch()
        shown.flushed()
        self.assertEqual(shown.take_lost(9), [1, 2])
        shown.add(3)
        shown.end_batch()
        self.assertEqual([shown.mark_answered() for _ in range(4)], [[], [], [3], []])

    def assertQuick(self, step: Callable[[], object]) -> None:
        """It takes no longer than a frame may."""

        def run(wire: bytes) -> int:
            step()
            return 1

        check_time(run, b"")

    def test_escapes(self) -> None:
        """A body that is all control characters, or all line ends, is shown as quickly as any."""
        for body in ("\x1b" * 65536, "\n" * 65536, "\\" * 65536, "\U000e0001" * 16384, "\u20ac\x00" * 16384):
            shown = Message(id=7, sender="bob", recipient="alice", time=TIME, body=body)
            door = self.door()
            self.assertQuick(lambda door=door, shown=shown: door.render([shown]))  # type: ignore[misc]
            self.assertQuick(lambda body=body: visible(body))  # type: ignore[misc]

    def test_nul(self) -> None:
        """A long line of NUL is looked through at once, from nc and from telnet, be it UTF-8 or not."""
        for opening in (b"", b"\xff\xf1"):
            for end in (b"\n", b"\xff\xff\n"):

                def step(opening: bytes = opening, end: bytes = end) -> None:
                    door = self.door(opening)
                    door.feed(b"\0" * 500_000 + end)
                    self.assertEqual(len(door.take(524288)), 1)

                self.assertQuick(step)

    def test_bad_frames(self) -> None:
        """JSON that is no frame is found out without looking at each of a hundred thousand parts."""
        from chat.errors import BadFrame

        for part in (b"[]", b"{}", b'{"a":{}}', b"1", b'{"recipient":1}', b'{"r\\u0065cipient":1}'):
            many = b",".join([part] * (500_000 // (len(part) + 1)))
            for line in (
                b'{"type":"dance","data":[%b]}' % many,
                b'{"type":"system","data":{"keyword":"ping","keyword":17,"x":[%b]}}' % many,
                b'{"type":"system","data":{"keyword":"listing","messages":[%b]}}' % many,
            ):
                self.assertQuick(lambda line=line: self.assertRaises(BadFrame, json.decode, line))  # type: ignore[misc]
