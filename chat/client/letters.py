"""What one account sends: on disk before it is on its way, and there until the server has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from secrets import token_hex
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from chat.client.client import Client
from chat.client.console import OutputGone
from chat.client.errors import ClientError, Refused, told
from chat.client.fates import WAITING, Fate
from chat.client.spool import RefTaken, no_message, same
from chat.client.state import StateError
from chat.client.teller import Teller
from chat.client.wording import marked
from chat.errors import Code
from chat.messages import Accepted, Failed, Message
from chat.wire.text_words import Asked, beginning

#: So much may be on its way, which the client's own L{Outbox<chat.client.outbox.Outbox>} always takes.
_MOST = 5_000
_MOST_CHARACTERS = 2 * 1024 * 1024

#: What the server could not take yet is offered again after so long.
_AGAIN_SECONDS = 60.0


class Keeping(Protocol):
    """Where letters are kept; see L{chat.client.spool.Spool}.

    @ivar unreadable: the numbers of what is no letter, after L{left_behind}.
    """

    unreadable: list[int]

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

    def __init__(self) -> None:
        self.unreadable: list[int] = []

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


def portions(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Messages by as many as may be on their way together."""
    portion: list[Message] = []
    characters = 0
    for message in messages:
        length = _length(message)
        if portion and (len(portion) >= _MOST or characters + length > _MOST_CHARACTERS):
            yield portion
            portion, characters = [], 0
        portion.append(message)
        characters += length
    if portion:
        yield portion


class Letters:
    """Sends messages, and tells what becomes of each.

    What the server cannot take now, because its disk is full for example, is offered again
    every minute: one message first, and when that is taken, the others.

    @ivar kept: whether what is unsent outlasts the program.
    """

    def __init__(
        self,
        clock: IReactorTime,
        client: Client,
        keeping: Keeping,
        teller: Teller,
        watch: Callable[[Deferred[Any]], object],
    ) -> None:
        """
        @param watch: told of everything that is under way.
        """
        self.kept = not isinstance(keeping, Unkept)
        self._clock = clock
        self._client = client
        self._keeping = keeping
        self._teller = teller
        self._watch = watch
        self._under_way: dict[str, Message] = {}
        self._characters = 0
        self._left: list[Message] = []
        self._later: list[Message] = []
        self._put_off: set[str] = set()  # the refs of what the server could not take when it was asked last
        self._offered = ""  # the ref of what was offered again last
        self._offer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._under_way) + len(self._left) + len(self._later)

    @property
    def room(self) -> bool:
        """Whether another one can be sent now."""
        return len(self._under_way) < _MOST and self._characters < _MOST_CHARACTERS

    def send(self, message: Message) -> None:
        """Keep a message, then send it until it is accepted or refused.

        The same under the same C{ref} again is sent once: what is told of the first is told of both.
        """
        there = None if message.ref is None else self._unanswered(message.ref)
        if there is not None:
            self._sent_again(there, message)
            return
        ref = message.ref or token_hex(12)
        message = msgspec.structs.replace(message, ref=ref)
        try:
            kept = self._keeping.keep(ref, message)
        except ValueError:
            reason = "some of it is no text in the encoding that your terminal says it has; see LC_ALL"
            self._not_sent(message, Code.BAD_FRAME, reason)
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
        for number in self._keeping.unreadable:
            self._teller.failed(f"{no_message(number)}.")
        return len(self._left)

    def send_left(self) -> bool:
        """Send what was left, as much as there is room for; whether that was all."""
        while self._left and self.room:
            self._send_again(self._left.pop(0))
        return not self._left

    def unsent(self) -> list[str]:
        """What the server is not known to have, a line each."""
        return [
            f"Not known to be sent, to {beginning(message.recipient)}: {beginning(message.body)}"
            for message in (*self._under_way.values(), *self._left, *self._later)
        ] or ["The server has everything that you sent."]

    def clear(self) -> None:
        """The account is gone."""
        self._left, self._later = [], []
        try:
            self._keeping.clear()
        except StateError as error:
            self._teller.failed(f"What was not sent is still on disk: {error}.")

    def close(self) -> None:
        """Leave what is unsent to the next client."""
        offer, self._offer = self._offer, None
        if offer is not None:
            offer.cancel()
        self._keeping.close()

    def _unanswered(self, ref: str) -> Message | None:
        """What has this ref, if it is on its way or waits for that."""
        if ref in self._under_way:
            return self._under_way[ref]
        return next((message for message in (*self._left, *self._later) if message.ref == ref), None)

    def _sent_again(self, there: Message, message: Message) -> None:
        """A program repeats what is not answered yet, because it was started anew, for example."""
        if not same(there, message):
            self._not_sent(message, Code.REF_REUSED, "another message with this ref is not answered yet")
        elif there in self._later:
            reason = "it is kept already, and sent as soon as the server takes it"
            self._not_sent(message, Code.STORAGE_FULL, reason)

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
            if ref in self._put_off:
                self._put_off.discard(ref)
                self._left += self._later
                self._later.clear()
                self.send_left()

        def refused(failure: Failure) -> None:
            error = failure.value
            if not isinstance(error, (Refused, RefTaken)):
                failure.raiseException()
            self._end(ref)
            if isinstance(error, RefTaken):
                self._not_sent(message, Code.REF_REUSED, str(error))
                return
            later = error.passing and (self.kept or ref in self._put_off)
            if not (later and ref in self._put_off):  # otherwise it has been told
                self._teller.refused(
                    Failed(code=error.code, reason=error.reason, seconds=error.seconds, ref=message.ref),
                    Asked(recipient=message.recipient),
                )
            if later:
                self._put_it_off(message)
                return
            self._put_off.discard(ref)
            self._keeping.forget(ref)
            if self._later:  # it may have been the one that was offered for all of them
                self._offer_in_a_while()
            if left:
                self._teller.note(*marked(message.body))

        self._watch(sent.addCallbacks(accepted, refused))

    def _not_sent(self, message: Message, code: Code, reason: str) -> None:
        """Told as a refusal of the server is."""
        refusal = Failed(code=code.value, reason=f"{reason}.", ref=message.ref)
        self._teller.refused(refusal, Asked(recipient=message.recipient))

    def _put_it_off(self, message: Message) -> None:
        if not self._put_off:
            self._teller.note("It is kept, and sent as soon as the server takes it, now or the next time.")
        ref = message.ref or ""
        self._put_off.add(ref)
        # The one that was offered alone is still the first of them.
        self._later.insert(0 if ref == self._offered else len(self._later), message)
        self._offer_in_a_while()

    def _offer_in_a_while(self) -> None:
        if self._offer is None:
            self._offer = self._clock.callLater(_AGAIN_SECONDS, self._offer_one)

    def _offer_one(self) -> None:
        self._offer = None
        if self._later and self._client.connected:
            first = self._later.pop(0)
            self._offered = first.ref or ""
            self._send_again(first)
        elif self._later and not self._client.stopped:
            self._offer_in_a_while()

    def _send_again(self, message: Message) -> None:
        ref = message.ref or ""
        self._begin(ref, message)
        self._finish(self._post(ref, message), ref, message, left=True)

    def _settled(self, fate: Fate, recipient: str) -> None:
        # What came back is shown itself; what was recalled was recalled by this person.
        if fate.state == "delivered":
            self._teller.fate(fate, recipient)

    def _not_kept(self, failure: Failure) -> Failure | None:
        """It is sent from memory instead."""
        error = failure.value
        if not isinstance(error, StateError) or isinstance(error, RefTaken):
            return failure
        if self.kept:
            self.kept = False
            self._teller.failed(f"What you write is not kept on disk: {told(error)}.")
        return None


def _length(message: Message) -> int:
    return len(message.recipient) + len(message.subject or "") + len(message.body)
