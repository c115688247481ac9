"""Tests for the text door: what comes in pieces, and whatever may come."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat.messages import (
    LOGIN_FRAME_BYTES,
    USER_FRAME_BYTES,
    Accepted,
    Answer,
    Bye,
    ChangePassword,
    Delete,
    DeleteAccount,
    Deleted,
    Failed,
    Fatal,
    Frame,
    Incoming,
    List,
    Login,
    Logout,
    Message,
    Messages,
    Password,
    PasswordChanged,
    Ping,
    Pong,
    Quit,
    Read,
    Received,
    Token,
    TokenIssued,
    Username,
    Version,
    Welcome,
)
from chat.wire.text import TextTranslator
from chat.wire.translator import FRAMES_AT_ONCE
from tests.network import NetworkTestCase
from tests.strategies import ALWAYS, CUTS
from tests.text_client import INTERRUPT, TIME, Client, DoorCase, entry, inbox, letter, sent, sent_box
from tests.wire import Wire


def talk(take: Callable[[TextTranslator], list[Incoming]], pieces: list[bytes]) -> list[object]:
    """What comes of these pieces at a door where alice is logged in, and what she sees.

    The server answers what it is asked, delivers a message after each piece, and is taken at its word.
    """
    door = TextTranslator()
    door.render([Version(protocol=1, server="chat"), Username()])
    answers: dict[type, Frame] = {
        Ping: Pong(),
        Quit: Bye(),
        List: inbox(entry(3)),
        Read: Messages(messages=[letter(3)], missing=[]),
        Delete: Deleted(ids=[3], missing=[]),
        Message: Accepted(id=9, time=TIME, state="waiting"),
    }
    told: list[object] = []
    opening = b"alice\r\nsecret123\r\n" if pieces[0] else b"alice\nsecret123\n"
    for number, piece in enumerate([opening, *pieces]):
        door.feed(piece)
        while incoming := take(door):
            told += incoming
            said: list[Frame] = []
            for one in incoming:
                if isinstance(one, Login):
                    said.append(
                        Password() if one.field == "username" else Welcome(username="alice", waiting=0)
                    )
                elif isinstance(one, Answer):
                    said.append(one.frame)
                elif type(one) in answers:
                    said.append(answers[type(one)])
            told.append(door.render(said))
        told.append(door.render([letter(100 + number)]))
    return told


def cut(wire: bytes, cuts: list[int]) -> list[bytes]:
    """The wire in pieces of these lengths, over and over."""
    pieces: list[bytes] = []
    while wire:
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(wire[:size])
        wire = wire[size:]
    return pieces


def one_by_one(door: TextTranslator) -> list[Incoming]:
    """What C{take} would give, frame by frame."""
    frames = []
    while (frame := door.next(USER_FRAME_BYTES)) is not None:
        frames.append(frame)
    return frames


class BatchTests(DoorCase):
    """Lines that arrive together are what they are one by one."""

    @ALWAYS
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"hey\n",
                    b"/to bob hey there\r\n",
                    b"/TO  bob  hey \n",
                    b"/to carol\n",
                    b"//quit\n",
                    b" \n",
                    b"\n\n",
                    "é €\n".encode(),
                    b"\xff\n",
                    b"a\r\0b\n",
                    b"/ping\n/ping\n",
                    b"/receipts off\n",
                    b"/write bob\nabout\nline\n.\n",
                    b"/cancel\n",
                    b"/reply yes\n",
                    b"/read 3\nhey\n",
                    b"/quit\n",
                    b"half a ",
                    b"\xff\xf1",
                    b"\xff\xfb\x06",
                    b"\xff\xf4\xff\xfd\x06",
                    b"hey\nhey\n/to bob hey\nhey\n",
                ]
            ),
            min_size=1,
            max_size=8,
        ),
        CUTS,
    )
    def test_any(self, said: list[bytes], cuts: list[int]) -> None:
        """Whatever is typed, however it is cut."""
        wire = b"".join(said)
        for pieces in (said, [b"", wire], [b"", *said], cut(wire, cuts)):
            self.assertEqual(
                talk(lambda door: list(door.take(USER_FRAME_BYTES)), pieces), talk(one_by_one, pieces)
            )

    def test_many(self) -> None:
        """A thousand lines are taken at once, those behind them after the others had their turn."""
        client = self.logged_in()
        client.door.feed(b"/to bob x\n" * (FRAMES_AT_ONCE + 1))
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [sent("bob", "x")] * FRAMES_AT_ONCE)
        self.assertTrue(client.door.more)
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [sent("bob", "x")])
        self.assertFalse(client.door.more)

    def test_order(self) -> None:
        """What is due already comes before what more lines ask for."""
        client = self.logged_in()
        client.types("/to bob")
        client.door.feed(b"/ping\n" * (FRAMES_AT_ONCE - 1))
        client.says(letter(7))
        client.door.feed(b"/ping\nx\n")
        self.assertEqual(client.door.take(USER_FRAME_BYTES)[-2:], [Ping(), Received(ids=[7])])
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [Ping(), sent("bob", "x")])
        client = self.logged_in(b"\r\n")
        (answer,) = client.arrives(INTERRUPT)
        assert isinstance(answer, Answer)
        client.says(letter(8), answer.frame)
        self.assertEqual(client.arrives(b"/to bob x\r\n"), [Read(ids=[8]), sent("bob", "x")])

    def test_before_the_login(self) -> None:
        """There a line sends nothing, whatever it looks like."""
        client = Client()
        client.types("alice", Failed(code="bad-name", reason="No."), Username())
        self.assertEqual(client.types("/to bob x")[0], [Login(field="username", value="/to bob x")])

    def test_limit(self) -> None:
        """A line that is too long is refused behind those that are not."""
        client = self.logged_in()
        first, second, answer = client.arrives(b"/to bob x\n/to bob y\n/to bob " + b"z" * 20 + b"\n", 20)
        self.assertEqual([first, second], [sent("bob", "x"), sent("bob", "y")])
        assert isinstance(answer, Answer) and isinstance(answer.frame, Fatal)
        self.assertEqual(answer.frame.code, "frame-too-large")

    def test_nothing_is_left_behind(self) -> None:
        """As long as there is a frame to take, something is said to wait."""
        client = Client()
        client.door.feed(b"/help\n")
        self.assertIsInstance(client.door.next(LOGIN_FRAME_BYTES), Answer)
        self.assertGreater(client.door.buffered, 0)
        self.assertIsInstance(client.door.next(LOGIN_FRAME_BYTES), Answer)
        self.assertEqual(client.door.buffered, 0)

    def test_confirmation(self) -> None:
        """The first of many lines confirms what was shown before them, once."""
        client = self.logged_in()
        client.says(letter(7), letter(8))
        self.assertEqual(
            client.arrives(b"/to bob x\nx\n"), [Received(ids=[7, 8]), sent("bob", "x"), sent("bob", "x")]
        )
        self.assertEqual(client.arrives(b"x\n"), [sent("bob", "x")])


class ThroughTheServerTests(NetworkTestCase):
    """What is seen when the door's own words and the session's come together."""

    def test_prompted_once(self) -> None:
        """Whatever was typed at the user name is answered by one prompt."""
        protocol = self.network.doors["text"].buildProtocol(None)
        wire = Wire(protocol)
        protocol.makeConnection(wire)
        self.network.settle()
        wire.read()
        for line in (b"", b"/help", b"/invite", b"/invite x", b"chat join 'chat://cut'", b"\xff", b"a b"):
            wire.arrive(line + b"\n")
            self.network.settle()
            seen = wire.read()
            self.assertEqual(seen.count(b"Username: "), 1, seen)
            self.assertTrue(seen.endswith(b"Username: "), seen)


#: Frames that a session may say in answer to a frame, for trying the door with anything at all.
ANSWERS: dict[type[Frame], Sequence[Frame]] = {
    Message: (Accepted(id=5, time=TIME, state="waiting"), Failed(code="too-large", reason="No.")),
    List: (inbox(entry(1, subject="\x1b")), sent_box()),
    Read: (Messages(messages=[letter(1, "\x1b\n\u202e")], missing=[2]),),
    Delete: (Deleted(ids=[1], missing=[2]),),
    Ping: (Pong(),),
    ChangePassword: (PasswordChanged(), Failed(code="wrong-password", reason="No.")),
    DeleteAccount: (Failed(code="wrong-password", reason="No."),),
    Token: (TokenIssued(value="secret", expires=TIME), Failed(code="storage-full", reason="No.")),
    Logout: (Failed(code="storage-full", reason="No."),),
}


TYPED = st.lists(
    st.one_of(
        st.sampled_from(
            b"/to bob hi\n,/write bob\r\n,.\n,/passwd\n,x\n,\n,/cancel\r\n,/delete-account\n,/read 1\n,"
            b"/inbox\n,/status 1\n,\xff\xfd\x06,\xff\xfc\x06,\xff\xf4,\xff\xfa,\xff\xf0,\xff\xfd\x01,"
            b"/token\n,/logout\n,\xff\xfe\x01".split(b",")
        ),
        st.binary(max_size=20),
        st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass") + b"\n"),
    ),
    max_size=20,
)


class AnythingTests(SynchronousTestCase):
    """Whatever is typed and whatever is said, the door does not break."""

    @ALWAYS
    @given(st.sampled_from([b"\n", b"\r\n"]), TYPED, st.text(), st.randoms(use_true_random=False))
    def test_conversation(self, end: bytes, typed: list[bytes], text: str, random: Any) -> None:
        """No input raises, and no raw control character of others comes out."""
        client = Client(end)
        client.logs_in()
        seen = b""
        for octets in typed:
            for each in client.arrives(octets):
                if isinstance(each, Answer):
                    seen += client.says(each.frame)
                elif type(each) in ANSWERS:
                    seen += client.says(random.choice(ANSWERS[type(each)]))
            if random.random() < 0.3:
                number = random.randrange(9)
                seen += client.says(letter(number, text, subject=text, sender=text[:9]))
        seen = re.sub(rb"\xff[\xfb-\xfe].", b"", seen, flags=re.DOTALL)  # what telnet itself is told
        for line in seen.decode("utf-8", "replace").splitlines():
            self.assertEqual([c for c in line if unicodedata.category(c) == "Cc"], [], repr(line))
