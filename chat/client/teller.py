"""What happens, told to a person in words or to a program in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

import msgspec

from chat.client.console import Console
from chat.client.errors import told
from chat.client.fates import Fate
from chat.client.look import Tone
from chat.client.wording import Wording
from chat.messages import (
    Accepted,
    Blocked,
    Created,
    Deleted,
    Failed,
    Found,
    Frame,
    Listing,
    Message,
    Messages,
    PasswordChanged,
    Pong,
    RecoveryCodes,
    TokenIssued,
    Welcome,
)
from chat.wire import text_words as words
from chat.wire.text_words import NOTHING, Asked, visible

#: The bell rings no more often.
_BELL_SECONDS = 1.0


class Teller(Protocol):
    """Is told what happens, and tells it to whoever is at the console.

    Each method raises L{OutputGone<chat.client.console.OutputGone>} when nobody is.
    """

    def note(self, *lines: str) -> None:
        """Something of our own to say; fit for a terminal."""

    def connected(self, welcome: Welcome, again: bool) -> None:
        """Logged in, for the first time or C{again}."""

    def disconnected(self, error: Exception, delay: float) -> None:
        """The connection is lost, or was not made; in so many seconds it is tried again."""

    def over(self, error: Exception) -> None:
        """The conversation is over."""

    def message(self, message: Message) -> None:
        """A message has come."""

    def accepted(self, answer: Accepted, message: Message) -> None:
        """The server has what was sent."""

    def fate(self, fate: Fate, recipient: str) -> None:
        """What was sent has come to its end; the recipient is empty if it is not known here."""

    def refused(self, refusal: Failed, asked: Asked) -> None:
        """The server does not do what was asked, or the message to C{asked.recipient} is not sent."""

    def failed(self, reason: str) -> None:
        """Something else went wrong; fit for a terminal."""

    def answer(self, frame: Frame, asked: Asked = NOTHING) -> None:
        """The server's answer to what was asked."""


class WordTeller:
    """Tells a person, in lines that are only ever appended; see L{Teller}."""

    def __init__(
        self,
        console: Console,
        wording: Wording,
        bell: bool = False,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        """
        @param bell: ring when a message comes; of those that come together, once.
        """
        self._console = console
        self._wording = wording
        self._bell = bell
        self._seconds = seconds
        self._rung = float("-inf")
        self._reason = ""

    def note(self, *lines: str) -> None:
        """See L{Teller.note}."""
        self._show(*lines)

    def connected(self, welcome: Welcome, again: bool) -> None:
        """See L{Teller.connected}."""
        self._wording.me = welcome.username
        self._reason = ""
        if again:
            self._show("Connected again.")
        else:
            name, waiting = visible(welcome.username), words.waiting(welcome.waiting)
            self._show(f"Welcome, {name}. {waiting} /help lists the commands.")

    def disconnected(self, error: Exception, delay: float) -> None:
        """See L{Teller.disconnected}."""
        # Said once: who listens need not hear the same every minute until the server is back.
        reason = told(error)
        if reason != self._reason:
            self._reason = reason
            self._show(f"{reason} Trying again, first in {delay:.0f} s.", tone=Tone.BAD)

    def over(self, error: Exception) -> None:
        """See L{Teller.over}."""
        self._show(*f"The conversation is over: {told(error)}".split("\n"), tone=Tone.BAD)

    def message(self, message: Message) -> None:
        """See L{Teller.message}."""
        if self._bell and self._seconds() - self._rung >= _BELL_SECONDS:
            self._rung = self._seconds()
            self._console.ring()
        head, *body = self._wording.message(message, message.again)
        self._show(head, tone=Tone.NEWS if message.returned is None else Tone.BAD)
        self._show(*body)

    def accepted(self, answer: Accepted, message: Message) -> None:
        """See L{Teller.accepted}."""
        line = self._wording.accepted(answer.id, message.recipient, answer.state)
        self._show(line, tone=_tone(answer.state))

    def fate(self, fate: Fate, recipient: str) -> None:
        """See L{Teller.fate}."""
        self._show(self._wording.fate(fate, recipient), tone=_tone(fate.state))

    def refused(self, refusal: Failed, asked: Asked) -> None:
        """See L{Teller.refused}."""
        self._show(words.failed(refusal, asked), tone=Tone.BAD)

    def failed(self, reason: str) -> None:
        """See L{Teller.failed}."""
        self._show(reason, tone=Tone.BAD)

    def answer(self, frame: Frame, asked: Asked = NOTHING) -> None:
        """See L{Teller.answer}."""
        self._show(*self._answer(frame, asked))

    def _answer(self, frame: Frame, asked: Asked) -> list[str]:
        wording = self._wording
        if isinstance(frame, Listing):
            return wording.listing(frame, asked)
        if isinstance(frame, Found):
            return wording.found(frame, asked)
        if isinstance(frame, Messages):
            return wording.messages(frame)
        if isinstance(frame, Deleted):
            return words.deleted(frame)
        if isinstance(frame, Blocked):
            return [words.blocked(frame)]
        if isinstance(frame, TokenIssued):
            return wording.token(frame)
        if isinstance(frame, RecoveryCodes):
            return words.recovery_codes(frame.codes)
        if isinstance(frame, Created):
            return words.recovery_codes(frame.recovery) if frame.recovery else []
        if isinstance(frame, PasswordChanged):
            return ["Your password is changed."]
        assert isinstance(frame, Pong), frame
        return ["The server is there."]

    def _show(self, *lines: str, tone: Tone = Tone.PLAIN) -> None:
        for line in self._wording.new_day():
            self._console.show(line)
        for line in lines:
            self._console.show(line, tone)


class JsonTeller:
    """Tells a program, one JSON object a line, in ASCII; see L{Teller}.

    What the server says is told as it said it: C{event} is the keyword of docs/protocol.rst.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._over = False

    def note(self, *lines: str) -> None:
        """See L{Teller.note}."""
        self._tell("note", text="\n".join(lines))

    def connected(self, welcome: Welcome, again: bool) -> None:
        """See L{Teller.connected}."""
        self._tell("connected", username=welcome.username, waiting=welcome.waiting, again=again)

    def disconnected(self, error: Exception, delay: float) -> None:
        """See L{Teller.disconnected}."""
        self._tell("disconnected", reason=str(error), seconds=round(delay, 3))

    def over(self, error: Exception) -> None:
        """See L{Teller.over}: the first reason is the reason, and the last event."""
        if not self._over:
            self._over = True
            self._tell("over", reason=str(error), code=getattr(error, "code", None))

    def message(self, message: Message) -> None:
        """See L{Teller.message}."""
        self._frame(message)

    def accepted(self, answer: Accepted, message: Message) -> None:
        """See L{Teller.accepted}."""
        self._frame(answer, recipient=message.recipient)

    def fate(self, fate: Fate, recipient: str) -> None:
        """See L{Teller.fate}."""
        returned = None if fate.returned is None else msgspec.to_builtins(fate.returned)
        self._tell(
            "fate",
            id=fate.id,
            recipient=recipient or None,
            state=fate.state,
            time=fate.time,
            returned=returned,
        )

    def refused(self, refusal: Failed, asked: Asked) -> None:
        """See L{Teller.refused}."""
        self._frame(refusal, recipient=asked.recipient or None)

    def failed(self, reason: str) -> None:
        """See L{Teller.failed}."""
        self._tell("failed", reason=reason)

    def answer(self, frame: Frame, asked: Asked = NOTHING) -> None:
        """See L{Teller.answer}."""
        self._frame(frame)

    def _frame(self, frame: Frame, **more: object) -> None:
        fields: dict[str, Any] = msgspec.to_builtins(frame)
        event = fields.pop("keyword", "message")
        self._tell(event, **fields, **more)

    def _tell(self, event: str, **fields: object) -> None:
        there = {name: value for name, value in fields.items() if value is not None}
        self._console.show(json.dumps({"event": event, **there}))


def _tone(state: str) -> Tone:
    if state == "delivered":
        return Tone.GOOD
    return Tone.PLAIN if state in ("waiting", "recalled") else Tone.BAD
