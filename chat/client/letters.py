"""What one account sends: on disk before it is on its way, and there until the server has it."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from chat.client.client import Client
from chat.client.console import OutputGone
from chat.client.errors import ClientError, Refused, told
from chat.client.fates import WAITING, Fate
from chat.client.state import StateError
from chat.client.teller import Teller
from chat.client.wording import marked
from chat.errors import Code
from chat.messages import Accepted, Failed, Message
from chat.wire.text_words import Asked, beginning

#: So much may be on its way, which the client's own L{Outbox<chat.client.outbox.Outbox>} always takes.
_MOST = 5_000
_MOST_CHARACTERS = 2 * 1024 * 1024

#: Refusals that say nothing about the message: it is kept, and sent again the next time.
_PASSING = frozenset({Code.STORAGE_FULL, Code.SLOW_DOWN})


class Keeping(Protocol):
    """Where letters are kept; see L{chat.client.spool.Spool}."""

    def keep(self, ref: str, message: Message) -> Deferred[None]:
        """Keep one."""

    def forget(self, ref: str) -> None:
        """It need not be sent any more."""

    def left_behind(self) -> list[Message]:
        """What clients have left that do not run any more."""

    def clear(self) -> None:
        """Nothing of this account can be sent any more."""

    def close(self) -> None:
        """Leave the rest to the next client."""


class Unkept:
    """Keeps nothing beyond the program's end."""

    def keep(self, ref: str, message: Message) -> Deferred[None]:
        """See L{Keeping.keep}."""
        return succeed(None)

    def forget(self, ref: str) -> None:
        """See L{Keeping.forget}."""

    def left_behind(self) -> list[Message]:
        """See L{Keeping.left_behind}."""
        return []

    def clear(self) -> None:
        """See L{Keeping.clear}."""

    def close(self) -> None:
        """See L{Keeping.close}."""


class Letters:
    """Sends messages, and tells what becomes of each.

    @ivar kept: whether what is unsent outlasts the program.
    """

    def __init__(
        self,
        client: Client,
        keeping: Keeping,
        teller: Teller,
        watch: Callable[[Deferred[Any]], object],
    ) -> None:
        """
        @param watch: told of everything that is under way.
        """
        self.kept = not isinstance(keeping, Unkept)
        self._client = client
        self._keeping = keeping
        self._teller = teller
        self._watch = watch
        self._under_way: dict[str, Message] = {}
        self._characters = 0
        self._left: list[Message] = []

    def __len__(self) -> int:
        return len(self._under_way) + len(self._left)

    @property
    def room(self) -> bool:
        """Whether another one can be sent now."""
        return len(self._under_way) < _MOST and self._characters < _MOST_CHARACTERS

    def send(self, message: Message) -> None:
        """Keep a message, then send it until it is accepted or refused."""
        ref = message.ref or token_hex(12)
        message = msgspec.structs.replace(message, ref=ref)
        if ref in self._under_way:
            self._teller.failed("Not sent: a message with this ref is on its way already.")
            return
        try:
            kept = self._keeping.keep(ref, message)
        except ValueError:
            self._teller.failed(
                "Not sent: some of it is no text in the encoding that your terminal says it has; see LC_ALL."
            )
            return
        self._begin(ref, message)
        kept.addErrback(self._not_kept)
        kept.addCallback(lambda _: self._post(ref, message))
        self._finish(kept, ref, message)

    def left_behind(self) -> int:
        """How many there are that were kept and not sent when a client ended; see L{send_left}."""
        try:
            self._left = self._keeping.left_behind()
        except StateError as error:
            self._teller.failed(f"What was kept to be sent cannot be read: {error}.")
        return len(self._left)

    def send_left(self) -> bool:
        """Send what was left, as much as there is room for; whether that was all."""
        while self._left and self.room:
            message = self._left.pop(0)
            ref = message.ref or ""
            self._begin(ref, message)
            self._finish(self._post(ref, message), ref, message, left=True)
        return not self._left

    def unsent(self) -> list[str]:
        """What the server is not known to have, a line each."""
        return [
            f"Not known to be sent, to {beginning(message.recipient)}: {beginning(message.body)}"
            for message in (*self._under_way.values(), *self._left)
        ] or ["The server has everything that you sent."]

    def clear(self) -> None:
        """The account is gone."""
        try:
            self._keeping.clear()
        except StateError as error:
            self._teller.failed(f"What was not sent is still on disk: {error}.")

    def close(self) -> None:
        """Leave what is unsent to the next client."""
        self._keeping.close()

    def _begin(self, ref: str, message: Message) -> None:
        self._under_way[ref] = message
        self._characters += _length(message)

    def _end(self, ref: str) -> None:
        self._characters -= _length(self._under_way.pop(ref))

    def _post(self, ref: str, message: Message) -> Deferred[Accepted]:
        if not (self._client.connected or self._client.stopped):
            self._teller.note("There is no connection; this will be sent as soon as there is one.")
        return self._client.send(
            message.recipient,
            message.body,
            message.subject,
            receipt=message.receipt,
            ref=ref,
            automatic=message.automatic,
            answers=message.answers,
        )

    def _finish(self, sent: Deferred[Any], ref: str, message: Message, left: bool = False) -> None:
        """Tell what becomes of it.

        @param left: the person may not remember what it was.
        """

        def accepted(answer: Accepted) -> None:
            self._end(ref)
            self._keeping.forget(ref)
            self._teller.accepted(answer, message)
            if message.receipt and answer.state == WAITING:
                fate = self._client.delivered(answer.id)
                fate.addCallback(self._settled, message.recipient)
                fate.addErrback(lambda failure: failure.trap(ClientError, OutputGone) and None)

        def refused(failure: Failure) -> None:
            error = failure.trap(Refused) and failure.value
            assert isinstance(error, Refused)
            later = self.kept and error.code in _PASSING
            if not later:
                self._end(ref)
                self._keeping.forget(ref)
            self._teller.refused(
                Failed(code=error.code, reason=error.reason, seconds=error.seconds, ref=message.ref),
                Asked(recipient=message.recipient),
            )
            if later:
                self._teller.note("It is kept, and sent when you log in the next time.")
            elif left:
                self._teller.note(*marked(message.body))

        self._watch(sent.addCallbacks(accepted, refused))

    def _settled(self, fate: Fate, recipient: str) -> None:
        # What came back is shown itself; what was recalled was recalled by this person.
        if fate.state == "delivered":
            self._teller.fate(fate, recipient)

    def _not_kept(self, failure: Failure) -> Failure | None:
        """It is sent from memory instead."""
        error = failure.value
        if not isinstance(error, StateError):
            return failure
        if self.kept:
            self.kept = False
            self._teller.failed(f"What you write is not kept on disk: {told(error)}.")
        return None


def _length(message: Message) -> int:
    return len(message.recipient) + len(message.subject or "") + len(message.body)
