"""Somebody at the text door, line by line, for tests."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.messages import (
    USER_FRAME_BYTES,
    Answer,
    Entry,
    Frame,
    Incoming,
    Listing,
    Message,
    Password,
    Returned,
    Username,
    Version,
    Welcome,
)
from chat.wire.text import TextTranslator
from chat.wire.translator import Translator

TIME = "2026-11-22T21:07:00.123Z"


AT = "2026-11-22 21:07:00 UTC"


HIDE, SHOW = b"\xff\xfb\x01", b"\xff\xfc\x01"


HIDDEN = b"\xff\xfd\x01"  # DO ECHO: the client agrees


INTERRUPT = b"\xff\xf4\xff\xfd\x06"  # what telnet sends for Ctrl-C: IP, DO TIMING-MARK


def letter(number: int, body: str = "hello", **more: Any) -> Message:
    """A message to alice, from bob unless told otherwise."""
    fields: dict[str, Any] = {"sender": "bob", "recipient": "alice", **more}
    return Message(id=number, time=TIME, body=body, **fields)


def sent(recipient: str, body: str, subject: str | None = None, receipt: bool = True) -> Message:
    """The frame of a message that is sent."""
    return Message(recipient=recipient, subject=subject, body=body, receipt=receipt)


def entry(number: int, **more: Any) -> Entry:
    """A line of a listing, of a message from bob to alice unless told otherwise."""
    fields: dict[str, Any] = {"sender": "bob", "recipient": "alice", "state": "waiting", **more}
    return Entry(id=number, time=TIME, **fields)


def inbox(*entries: Entry, more: bool = False) -> Listing:
    """A listing of the inbox."""
    return Listing(box="inbox", messages=list(entries), more=more)


def sent_box(*entries: Entry, more: bool = False) -> Listing:
    """A listing of what was sent."""
    return Listing(box="sent", messages=list(entries), more=more)


UNKNOWN = Returned(code="unknown-recipient", recipient="zed", note="There is no such account.")


class Client:
    """A person at a text door, and a session that answers as it is told.

    @ivar end: how the client ends its lines.
    """

    def __init__(self, end: bytes = b"\n") -> None:
        self.end = end
        self.door: Translator = TextTranslator()
        self.screen = self.door.render([Version(protocol=1, server="chat 1.0"), Username()])

    def says(self, *frames: Frame) -> bytes:
        """What the server's frames look like."""
        return self.door.render(frames)

    def arrives(self, octets: bytes, limit: int = USER_FRAME_BYTES) -> list[Incoming]:
        """What the door hands to the session when these bytes arrive."""
        self.door.feed(octets)
        return list(self.door.take(limit))

    def types(self, line: str, *answers: Frame) -> tuple[list[Frame], bytes]:
        """Type one line: the frames that the session gets, and what is seen then.

        The door's own answers take their turn before C{answers}.
        """
        incoming = self.arrives(line.encode() + self.end)
        own = [each.frame for each in incoming if isinstance(each, Answer)]
        frames = [each for each in incoming if not isinstance(each, Answer)]
        return frames, self.says(*own, *answers)

    def logs_in(self) -> None:
        """As alice."""
        self.types("alice", Password())
        if self.end == b"\r\n":
            self.arrives(HIDDEN)
        self.types("secret123", Welcome(username="alice", waiting=0))
        if self.end == b"\r\n":
            self.arrives(b"\xff\xfe\x01")


class DoorCase(SynchronousTestCase):
    """What the tests of the text door check."""

    def logged_in(self, end: bytes = b"\n") -> Client:
        """A client that is."""
        client = Client(end)
        client.logs_in()
        return client

    def answered(self, client: Client, line: str, *expected: str) -> None:
        """Check that the door itself answers this line, in these lines, and asks nothing."""
        frames, seen = client.types(line)
        self.assertEqual(frames, [], line)
        self.assertEqual(seen.decode(), "".join(f"{each}\n" for each in expected), line)
