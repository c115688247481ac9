"""Characters that steer a terminal or deceive its reader: made visible wherever a person looks.

In every field that can come from somebody else, at every door: the text door, the line
client, C{chatctl}, the log.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import msgspec
from msgspec.inspect import IntType, ListType, StrType, StructType, Type, UnionType, type_info
from twisted.trial.unittest import SynchronousTestCase

from chat import messages as m
from chat.admin.main import main
from chat.client.errors import Disconnected, Refused, told
from chat.errors import Code
from chat.journal import Event, tell
from chat.messages import Frame
from chat.origin import Origin
from chat.times import rfc3339
from chat.web.answers import encode
from chat.wire.text import _RENDER
from chat.wire.text_words import visible
from tests.line_case import LineTests
from tests.logbook import LogBook
from tests.network import NetworkTestCase
from tests.text_client import Client
from tests.wire import Wire
from tests.world import open_world

#: What must reach no terminal: controls (C0, DEL, C1), what changes the order of what follows, line ends
#: of another kind, and what is not seen at all.  A line end of the usual kind is another matter.
STEERING = (
    "\x00\x07\x08\x0b\x0c\r\x1b\x7f\x85\x90\x9b\x9c\x9d"  # NUL, BEL, ..., NEL, DCS, CSI, ST, OSC
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # bidirectional
    "\u2028\u2029"
    "\u00ad\u034f\u115f\u17b4\u180e\u200b\u200c\u200d\u2060\u2064\u3164\ufeff\uffa0"  # not seen
    "\U000e0001\U000e0041\U000e007f\U0001d173"  # tags, and their like
)
EVIL = "".join(f"{number}{each}" for number, each in enumerate(STEERING)) + "\x1b[2J\x1b]0;title\x07"
_STEERS = re.compile(f"[{re.escape(STEERING)}]")
#: Telnet's own octets are no characters.
_TELNET = re.compile(rb"\xff[\xfb-\xfe].")
#: Marks of Arabic, Syriac and Kaithi that are seen, though Unicode files them with those that are not.
_SEEN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")


def evil(kind: Type) -> Any:
    """A value of this type with the worst in it that it can hold."""
    if isinstance(kind, UnionType):
        return evil(next(one for one in kind.types if not isinstance(one, type(type_info(None)))))
    if isinstance(kind, IntType):
        return 7
    if isinstance(kind, ListType):
        return [evil(kind.item_type)]
    if isinstance(kind, StructType):
        return worst(kind.cls)
    if isinstance(kind, StrType):
        return EVIL
    return True if kind == type_info(bool) else rfc3339(1_795_381_620_123)


def worst(struct: type[msgspec.Struct]) -> Any:
    """A frame of this type with the worst in every field."""
    declared = type_info(struct)
    assert isinstance(declared, StructType)
    return struct(**{field.name: evil(field.type) for field in declared.fields})


#: What servers say, every field of it hostile.
FRAMES: list[Frame] = [worst(kind) for kind in _RENDER if issubclass(kind, (m.Message, m.System))]


class ShownCase(SynchronousTestCase):
    """What a person is shown."""

    def assertHarmless(self, shown: str | bytes) -> None:
        """Nothing of it steers."""
        text = _TELNET.sub(b"", shown).decode() if isinstance(shown, bytes) else shown
        found = _STEERS.findall(text)
        self.assertEqual(found, [], ascii(text))


class RuleTests(ShownCase):
    """L{visible}, the one rule."""

    def test_json(self) -> None:
        """In the JSON that curl shows they are escaped, and it means the same."""
        shown = encode({EVIL: [EVIL, {"and what is harmless": "\t\n\\ é 漢 🦊"}]})
        self.assertHarmless(shown[:-1])
        self.assertEqual(json.loads(shown), {EVIL: [EVIL, {"and what is harmless": "\t\n\\ é 漢 🦊"}]})
        self.assertIn("é 漢 🦊".encode(), shown)

    def test_everyCharacter(self) -> None:
        """Of all characters, those for control, format and separation are spelled out."""
        left = []
        for code in range(sys.maxunicode + 1):
            character = chr(code)
            kind = unicodedata.category(character)
            if kind in ("Cc", "Cf", "Cs", "Zl", "Zp") and character in visible(character):
                left.append(character)
        # Python 3.10 does not know all of them yet.
        self.assertEqual(set(left), {each for each in _SEEN if unicodedata.category(each) == "Cf"})

    def test_unambiguous(self) -> None:
        """What is spelled out cannot be mistaken for what was written so."""
        self.assertNotEqual(visible("\x1b"), visible("\\x1b"))
        self.assertHarmless(visible(EVIL))


class TextDoorTests(ShownCase):
    """The text door."""

    def test_everyFrame(self) -> None:
        """Whatever a server says, in whatever field, in answer to whatever command."""
        self.assertGreater(len(FRAMES), 20)
        for line in (
            "/ping",
            "/inbox",
            "/sent",
            "/read 7",
            "/status 7",
            "/delete 7",
            "/to bob x",
            "/token",
            "x",
        ):
            for frame in FRAMES:
                client = Client()
                client.logs_in()
                shown = client.types(line, frame)[1]
                self.assertHarmless(shown)
                client = Client()
                self.assertHarmless(client.says(frame))

    def test_typed(self) -> None:
        """What the door repeats of what was typed."""
        for line in (
            EVIL,
            f"/{EVIL}",
            f"/to {EVIL} x",
            f"/read {EVIL}",
            f"/receipts {EVIL}",
            f"/write {EVIL}",
        ):
            client = Client()
            client.logs_in()
            self.assertHarmless(client.types(line.replace("\r", ""))[1])
            self.assertHarmless(Client().types(line.replace("\r", ""))[1])


class ConversationTests(NetworkTestCase, ShownCase):
    """From a JSON door to a text door, through the whole server."""

    def test_everyField(self) -> None:
        """Recipient, subject, body and ref; delivered, listed, read again, come back."""
        mallory, alice = self.network.user("mallory"), self.network.user("alice")
        mallory.send("alice", EVIL, subject=EVIL, ref=EVIL[:30])
        mallory.send(EVIL, EVIL, subject=EVIL)
        alice.send(EVIL, EVIL, subject=EVIL, ref=EVIL[:30])
        self.network.settle()
        alice.hang_up()
        mallory.hang_up()
        for name in ("alice", "mallory"):
            protocol = self.network.doors["text"].buildProtocol(None)
            wire = Wire(protocol)
            protocol.makeConnection(wire)
            shown = bytearray()
            for line in (
                name,
                f"password of {name}",
                *("/inbox", "/sent", "/read 1 2 3", "/status 1", "/status 2", "/status 3", "/delete 1"),
                f"/to {EVIL} x".replace("\r", ""),
            ):
                wire.arrive(line.encode() + b"\n")
                self.network.settle()
                shown += wire.read()
            self.assertIn(b"subject:", shown)
            self.assertHarmless(bytes(shown))

    def test_login(self) -> None:
        """A name that is none, and a password, are not shown again by any door."""
        for codec in ("json", "der"):
            client = self.network.connect(codec)
            client.answer("username", EVIL)
            (failed, _) = client.hear()
            self.assertHarmless(failed["reason"])


class LineClientTests(LineTests, ShownCase):
    """The line client."""

    def test_everyField(self) -> None:
        """What others sent, what came back, and what is listed."""
        self.alice()
        self.server.accounts["evil"] = "x"
        self.begin(username="alice", password="wonderland")
        sent = self.server.accept("evil", m.Message(recipient="alice", body=EVIL, subject=EVIL))
        self.server.deliver(sent)
        self.flush()
        for line in ("/inbox", "/read 1", f"/to {EVIL} {EVIL}".replace("\r", ""), "/sent"):
            self.console.type(line)
            self.flush()
        self.assertGreater(len(self.console.shown), 4)
        self.assertHarmless("\n".join(self.console.shown))
        self.assertHarmless("\n".join(self.console.asked))

    def test_errors(self) -> None:
        """What a server said before it was trusted, too."""
        for error in (Disconnected(EVIL), Refused(Code.BAD_NAME.value, EVIL)):
            self.assertHarmless(told(error))


class OperatorTests(ShownCase):
    """C{chatctl}."""

    def test_deadLetters(self) -> None:
        """The letters that nobody is left to read but the operator."""
        world = open_world(self)
        alice, bob = world.sign_up("alice", "bob")
        world.send(alice, "bob", EVIL, subject=EVIL)
        world.delete(alice)
        world.delete(bob)
        for options in (
            ["deadletters"],
            ["deadletters", "--show", "1"],
            ["deadletters", "--show", "1", "--format", "json"],
        ):
            self.assertHarmless(self.printed(*options, "--data", str(world.path)))

    def test_export(self) -> None:
        """A mailbox that is written to a terminal; a file has it unaltered."""
        world = open_world(self)
        alice, _ = world.sign_up("alice", "bob")
        world.send(alice, "bob", EVIL, subject=EVIL)
        for form in ("jsonl", "mbox"):
            options = ("export", "--data", str(world.path), "--format", form, "alice")
            self.assertHarmless(self.printed(*options, terminal=True))
        self.assertIn("\u202e", self.printed("export", "--data", str(world.path), "alice"))

    def test_complaint(self) -> None:
        """What was typed as an argument."""
        world = open_world(self)
        error = StringIO()
        self.patch(sys, "stderr", error)
        self.assertEqual(main(["export", "--data", str(world.path), EVIL]), 2)
        self.assertHarmless(error.getvalue())

    def printed(self, *arguments: str, terminal: bool = False) -> str:
        """What a command prints."""
        out = StringIO()
        self.patch(out, "isatty", lambda: terminal)
        with redirect_stdout(out):
            main(arguments)
        return out.getvalue()


class LogTests(ShownCase):
    """The log."""

    def test_journal(self) -> None:
        """What is logged of accounts."""
        log = LogBook(self)
        tell(Event.SIGNED_UP, Origin(EVIL, None), EVIL)
        self.assertHarmless(log.text)
        self.assertEqual(log.text.count("\n"), 0)
