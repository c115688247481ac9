"""What a person is told at the console, in words and in their own time.

As at the server's text door, what comes from others is shown with everything visible that
could steer a terminal, and the lines of a body are marked.  Every line can be understood
alone, in the order in which they come: nothing is ever changed that was shown before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime

from chat.client.fates import Fate
from chat.messages import Entry, Found, Listing, Message, Messages, Returned, TokenIssued
from chat.times import milliseconds
from chat.wire import text_words as words
from chat.wire.text_words import Asked, visible

_STATES = {
    "waiting": "waiting",
    "delivered": "delivered",
    "returned": "came back",
    "recalled": "recalled",
    "dead": "came back, but its sender is gone",
}


class Wording:
    """Puts messages and answers in words.

    @ivar me: the name that is logged in.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """
        @param now: seconds since 1970; decides what is today.
        """
        self.me = ""
        self._now = now
        self._day = self._today()

    def moment(self, time: str) -> str:
        """A time in the reader's own zone, with the date unless that is today: C{21:07}."""
        try:
            then = datetime.fromtimestamp(milliseconds(time) / 1000).astimezone()
        except (ValueError, OverflowError, OSError):
            return visible(time)  # there is no such moment, or not here; that hides no message
        return f"{then:%H:%M}" if then.date() == self._today() else f"{then:%Y-%m-%d %H:%M}"

    def new_day(self) -> list[str]:
        """That another day has begun since this was asked before, for then C{21:07} means another moment."""
        before, self._day = self._day, self._today()
        return [] if self._day == before else [f"It is {self._day} now."]

    def _today(self) -> date:
        return datetime.fromtimestamp(self._now()).astimezone().date()

    # --- messages -----------------------------------------------------------------------

    def message(self, message: Message, again: bool = False) -> list[str]:
        """Whose it is, when and what about; then its body, all in one."""
        head = f"#{message.id}{' (again)' if again else ''}"
        if message.returned is not None:
            head += f" {_back(message.returned)}; sent {self.moment(message.time)}"
        else:
            head += f" {self._whose(message.sender, message.recipient)}, {self.moment(message.time)}"
        if message.automatic:
            head += ", automatic"
        if message.state:
            head += f", {_state(message.state)}"
        return [head + _subject(message.subject), *marked(message.body)]

    def messages(self, answer: Messages) -> list[str]:
        """Messages that were asked for, and which there are not."""
        lines = [line for message in answer.messages for line in self.message(message)]
        return [*lines, *([words.missing(answer.missing)] if answer.missing else [])]

    def accepted(self, number: int, recipient: str, state: str) -> str:
        """The server has a message: C{#17 to bob: waiting}."""
        to = f" to {visible(recipient)}" if recipient else ""
        return f"#{number}{to}: {_state(state)}"

    def fate(self, fate: Fate, recipient: str) -> str:
        """What has become of a message: C{#17 to bob: delivered 21:07}."""
        at = "" if fate.time is None else f" {self.moment(fate.time)}"
        return f"{self.accepted(fate.id, recipient, fate.state)}{at}"

    # --- boxes --------------------------------------------------------------------------

    def listing(self, listing: Listing, asked: Asked) -> list[str]:
        """A box, one line an entry, and how to see the next page."""
        if asked.status:
            return [self._status(listing, asked.status)]
        entries = [self._entry(entry) for entry in listing.messages]
        return [*entries, *words.listing(listing, asked)[len(entries) :]]

    def found(self, found: Found, asked: Asked) -> list[str]:
        """What a search has found, one line an entry and one for where; and how to see the next page."""
        lines: list[str] = []
        for entry in found.messages:
            lines.append(self._entry(entry))
            lines += [] if entry.excerpt is None else [f"| {visible(entry.excerpt)}"]
        return [*lines, *words.found(found, self.me, asked)[len(lines) :]]

    def _entry(self, entry: Entry) -> str:
        if entry.returned is not None:
            who = _back(entry.returned)
        else:
            who = self._whose(entry.sender, entry.recipient)
        when = self.moment(entry.time)
        return f"#{entry.id} {who}, {when}, {_state(entry.state)}{_subject(entry.subject)}"

    def _status(self, listing: Listing, number: int) -> str:
        for entry in listing.messages:
            if entry.id == number and entry.returned is not None:
                return f"#{number} {_back(entry.returned)}"
            if entry.id == number:
                return self.accepted(number, entry.recipient, entry.state)
        return f"You have sent no message {number}."

    # --- the rest -----------------------------------------------------------------------

    def token(self, token: TokenIssued) -> list[str]:
        """A token, and what can be done with it."""
        _, what = words.token(token)
        return [f"Token, until {self.moment(token.expires)}: {visible(token.value)}", what]

    def _whose(self, sender: str, recipient: str) -> str:
        if sender != self.me:
            return f"from {visible(sender)}"
        return f"to {visible(recipient)}" if recipient != self.me else "from yourself"


def marked(body: str) -> list[str]:
    """The lines of a body, visible and marked, all in one text; nothing of an empty one."""
    lines = body.replace("\r\n", "\n").split("\n")
    return ["\n".join(f"| {visible(line)}" for line in lines)] if body else []


def unsent(count: int, kept: bool) -> str:
    """How much is not known to be sent, and what becomes of it."""
    what = "1 message is" if count == 1 else f"{count} messages are"
    if not kept:
        return f"{what} not known to be sent."
    pronoun = "It is" if count == 1 else "They are"
    return f"{what} not known to be sent. {pronoun} kept, and sent when you log in here again."


def several(names: Iterable[str]) -> str:
    """Names, one after another."""
    return ", ".join(map(visible, names))


def _state(state: str) -> str:
    return _STATES.get(state, visible(state))


def _subject(subject: str | None) -> str:
    return "" if subject is None else f", subject: {visible(subject)}"


def _back(returned: Returned) -> str:
    why = f"{visible(returned.note)} ({visible(returned.code)})"
    return f'to "{visible(returned.recipient)}" came back, not delivered: {why}'
