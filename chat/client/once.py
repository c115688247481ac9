"""C{chat send}: one message, and an exit status that says what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, gatherResults
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from chat.client.client import Client
from chat.client.errors import (
    ClientError,
    Disconnected,
    Refused,
    Silent,
    Stopped,
    UnknownMessage,
    told,
)
from chat.client.fates import WAITING, Fate
from chat.client.letters import Keeping, Unkept, portions
from chat.client.spool import no_message
from chat.client.state import StateError
from chat.messages import Accepted, Message, TokenIssued
from chat.wire import Codec
from chat.wire.text_words import beginning, visible

#: Exit statuses; 2, for a wrong command line, is argparse's.
DELIVERED, REFUSED, STILL_WAITING, RETURNED, UNREACHABLE, QUEUED = 0, 1, 3, 4, 5, 6


@dataclass(frozen=True)
class Order:
    """What to send, and how long to try.

    @ivar wait: seconds to wait for the delivery; C{None} is content with acceptance.
    @ivar patience: seconds in which the server must be reached and accept it.
    @ivar automatic: a program writes it of itself, and no program is to answer it.
    """

    recipient: str
    body: str
    subject: str | None = None
    ref: str | None = None
    wait: float | None = None
    patience: float = 10.0
    automatic: bool = False

    def message(self, ref: str) -> Message:
        """What is sent, with this C{ref}."""
        return Message(
            recipient=self.recipient,
            subject=self.subject,
            body=self.body,
            ref=ref,
            receipt=self.wait is not None,
            automatic=self.automatic,
        )


@dataclass(frozen=True)
class Sender:
    """Who sends, and where to.

    @ivar password: C{None}: the C{token} of who has stayed logged in will do.
    """

    reactor: Any
    endpoint: IStreamClientEndpoint
    codec: Codec
    username: str
    password: str | None
    token: TokenIssued | None = None

    def client(self, reasons: list[Exception]) -> Client:
        """The client that does it; it says in C{reasons} why there is no connection."""
        return Client(
            self.reactor,
            self.endpoint,
            self.username,
            self.password,
            codec=self.codec,
            token=self.token,
            tokens=False,  # one login is all there will be
            on_disconnected=lambda error, delay: reasons.append(error),
        )


class _NotAccepted(Exception):
    """The server does not take a message, or cannot be asked; the text says why.

    @ivar status: which of the two, as an exit status.
    @ivar passing: whether it may be taken later.
    """

    def __init__(self, reason: str, status: int, passing: bool) -> None:
        super().__init__(reason)
        self.status = status
        self.passing = passing

    @classmethod
    def because(cls, error: Exception) -> _NotAccepted:
        """It is not accepted for this reason."""
        cause = (isinstance(error, Stopped) and error.cause) or error
        unreachable = isinstance(cause, (Disconnected, Stopped))
        passing = unreachable or (isinstance(cause, Refused) and cause.passing)
        return cls(told(cause), UNREACHABLE if unreachable else REFUSED, passing)


async def send_once(
    sender: Sender,
    order: Order,
    complain: Callable[[str], object],
    queue: Keeping | None = None,
) -> int:
    """Send one message, wait as long as the order says, and return the exit status.

    The mailbox of the sender is left alone: nothing in it is confirmed.

    @param queue: keep the message there before it is sent, and for later if the server does not
        answer; what was kept there earlier is sent before it.
    """
    queue = Unkept() if queue is None else queue
    queues = not isinstance(queue, Unkept)
    ref = order.ref or token_hex(12)
    reasons: list[Exception] = []
    reactor, client = sender.reactor, sender.client(reasons)
    began = reactor.seconds()
    try:
        left = queue.left_behind()
        await queue.keep(ref, order.message(ref))
        client.start().addErrback(lambda failure: failure.trap(ClientError) and None)
        others = [message for message in left if message.ref != ref]
        unsent = await _send_left(reactor, client, queue, others, order.patience, reasons, complain)
        if unsent is not None and not isinstance(unsent, Refused):
            raise _NotAccepted.because(unsent)
        accepted = await _accepted(reactor, client, order, ref, reasons)
        queue.forget(ref)
        if unsent is not None and unsent.passing:
            complain(f"What was kept before is still unsent. {told(unsent)}")
        if order.wait is None and accepted.state == WAITING:
            return DELIVERED
        wait = max(0.0, (order.wait or 0.0) - (reactor.seconds() - began))
        return await _fate(reactor, client, accepted, wait, complain)
    except _NotAccepted as error:
        if error.passing and queues:
            complain(f"Kept in the outbox, and sent the next time. {error}")
            return QUEUED
        queue.forget(ref)
        complain(f"{'Not sent:' if error.status == REFUSED else 'Not known to be accepted.'} {error}")
        return error.status
    except (StateError, ValueError) as error:
        complain(f"Not sent: {error}")
        return REFUSED
    finally:
        queue.close()
        await _close(reactor, client)


async def _accepted(
    reactor: Any, client: Client, order: Order, ref: str, reasons: list[Exception]
) -> Accepted:
    """Send it, and wait until it is accepted.

    @param reasons: why there was no connection.
    @raise _NotAccepted: it is not, or not in time.
    """
    try:
        return await _send(client, order.message(ref)).addTimeout(order.patience, reactor)
    except TimeoutError:
        raise _NotAccepted.because(_silence(reasons)) from None
    except ClientError as error:
        raise _NotAccepted.because(error) from None


async def send_kept(
    sender: Sender,
    queue: Keeping,
    patience: float,
    complain: Callable[[str], object],
) -> int:
    """Send what is kept for this account, and return the exit status, which tells whether that was all."""
    reasons: list[Exception] = []
    reactor, client = sender.reactor, sender.client(reasons)
    try:
        left = queue.left_behind()
        client.start().addErrback(lambda failure: failure.trap(ClientError) and None)
        unsent = await _send_left(reactor, client, queue, left, patience, reasons, complain)
        if unsent is None:
            return DELIVERED
        failure = _NotAccepted.because(unsent)
        if failure.passing or not isinstance(unsent, Refused):
            complain(f"Something is still unsent. {failure}")
        return UNREACHABLE if failure.passing else REFUSED
    except StateError as error:
        complain(f"Nothing is sent: {error}")
        return REFUSED
    finally:
        queue.close()
        await _close(reactor, client)


def _send(client: Client, message: Message) -> Deferred[Accepted]:
    return client.send(
        message.recipient,
        message.body,
        message.subject,
        receipt=message.receipt,
        ref=message.ref,
        automatic=message.automatic,
        answers=message.answers,
    )


async def _send_left(
    reactor: Any,
    client: Client,
    queue: Keeping,
    left: Iterable[Message],
    patience: float,
    reasons: Sequence[Exception],
    complain: Callable[[str], object],
) -> Exception | None:
    """Send what was kept, in order, and say what is refused; the reason if something could not be sent.

    @param patience: what is on its way together must be answered in so many seconds.
    """
    for number in queue.unreadable:
        complain(f"{no_message(number)}.")
    unsent: Refused | None = None
    for portion in portions(left):
        sent = [_send_one_left(client, queue, message, complain) for message in portion]
        # When the time is over, those that are not answered are cancelled, which is an answer.
        answers = await gatherResults(sent, consumeErrors=True).addTimeout(patience, reactor)
        for error in answers:
            if isinstance(error, CancelledError):
                return _silence(reasons)
            if error is not None and not isinstance(error, Refused):
                return error
            # What is still kept is more important than what was refused for good, and has been told.
            if error is not None and (unsent is None or error.passing):
                unsent = error
    return unsent


def _send_one_left(
    client: Client, queue: Keeping, message: Message, complain: Callable[[str], object]
) -> Deferred[Exception | None]:
    """Send what was kept; fires with the reason if the server did not take it.

    It says whose it was if that is for good.
    """

    def accepted(answer: Accepted) -> None:
        queue.forget(message.ref or "")

    def failed(failure: Failure) -> Exception:
        failure.trap(ClientError, CancelledError)
        error = failure.value
        if isinstance(error, Refused) and not error.passing:
            queue.forget(message.ref or "")
            complain(f"Not sent, what was kept for {beginning(message.recipient)}: {told(error)}")
        assert isinstance(error, Exception)
        return error

    return _send(client, message).addCallbacks(accepted, failed)


def _silence(reasons: Sequence[Exception]) -> Exception:
    """Why there was no answer.

    @param reasons: why there was no connection.
    """
    return reasons[-1] if reasons else Silent("It did not answer in time.")


async def _fate(
    reactor: Any, client: Client, accepted: Accepted, wait: float, complain: Callable[[str], object]
) -> int:
    fate: Fate | None = None
    if accepted.state == "delivered":
        fate = Fate(accepted.id, accepted.state)
    else:
        settled = client.delivered(accepted.id)
        # What has come back already is only asked for its reason.
        seconds = wait if accepted.state == WAITING else max(wait, _ANSWER_SECONDS)
        try:
            fate = await settled.addTimeout(seconds, reactor)
        except (TimeoutError, Stopped, UnknownMessage):
            if accepted.state != WAITING:
                fate = Fate(accepted.id, accepted.state)
    if fate is None:
        complain(f"Message {accepted.id} is accepted and still waiting.")
        return STILL_WAITING
    if fate.state == "delivered":
        return DELIVERED
    why = f"it is {visible(fate.state)}"
    if fate.returned is not None:
        why = f"{visible(fate.returned.note)} ({visible(fate.returned.code)})"
    complain(f"Message {fate.id} came back: {why}")
    return RETURNED


async def _close(reactor: Any, client: Client) -> None:
    """Say goodbye, but wait only a little for the server to do so."""
    closed: Deferred[None] = client.close()
    with suppress(TimeoutError):
        await closed.addTimeout(_ANSWER_SECONDS, reactor)


_ANSWER_SECONDS = 5.0
