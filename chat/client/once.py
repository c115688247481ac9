"""C{chat send}: one message, and an exit status that says what became of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Callable

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, gatherResults
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from chat.client.client import Client
from chat.client.errors import (
    ClientError,
    Disconnected,
    Distrust,
    NoSuchAccount,
    Refused,
    Silent,
    Stopped,
    UnknownMessage,
    told,
)
from chat.client.fates import WAITING, Fate
from chat.client.letters import Keeping, Unkept
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
    """

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


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
        others = [_send_left(client, queue, message, complain) for message in left if message.ref != ref]
        accepted = await _accepted(reactor, client, order, ref, reasons)
        queue.forget(ref)
        with suppress(TimeoutError):
            await gatherResults(others, consumeErrors=True).addTimeout(_ANSWER_SECONDS, reactor)
        if order.wait is None and accepted.state == WAITING:
            return DELIVERED
        wait = max(0.0, (order.wait or 0.0) - (reactor.seconds() - began))
        return await _fate(reactor, client, accepted, wait, complain)
    except _NotAccepted as error:
        if error.status == UNREACHABLE and queues:
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
        reason = told(reasons[-1]) if reasons else "It did not answer in time."
        raise _NotAccepted(reason, UNREACHABLE) from None
    except ClientError as error:
        cause = (isinstance(error, Stopped) and error.cause) or error
        refused = not isinstance(cause, (Disconnected, Stopped))
        raise _NotAccepted(told(cause), REFUSED if refused else UNREACHABLE) from None


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
        sent = [_send_left(client, queue, message, complain) for message in left]
        # When the time is over, those that are not answered are cancelled, which is an answer.
        answers = await gatherResults(sent, consumeErrors=True).addTimeout(patience, reactor)
        errors = [error for error in answers if error is not None]
        if not errors:
            return DELIVERED
        reason = errors[-1]
        if isinstance(reason, CancelledError):
            reason = reasons[-1] if reasons else Silent("It did not answer in time.")
        complain(f"Something is still unsent. {told(reason)}")
        return REFUSED if isinstance(reason, (Refused, NoSuchAccount, Distrust)) else UNREACHABLE
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


def _send_left(
    client: Client, queue: Keeping, message: Message, complain: Callable[[str], object]
) -> Deferred[Exception | None]:
    """Send what was kept; fires with the reason if the server does not take it, and says whose it was."""

    def accepted(answer: Accepted) -> None:
        queue.forget(message.ref or "")

    def failed(failure: Failure) -> Exception:
        failure.trap(ClientError, CancelledError)
        error = failure.value
        if isinstance(error, Refused):
            queue.forget(message.ref or "")
            complain(f"Not sent, what was kept for {beginning(message.recipient)}: {told(error)}")
        if isinstance(error, Stopped) and isinstance(error.cause, Exception):
            error = error.cause
        assert isinstance(error, Exception)
        return error

    return _send(client, message).addCallbacks(accepted, failed)


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
    why = "it is " + fate.state
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
