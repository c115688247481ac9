"""C{chat send}: one message, and an exit status that says what became of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Callable

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint

from chat.client.client import Client
from chat.client.errors import (
    ClientError,
    Disconnected,
    Distrust,
    NoSuchAccount,
    Refused,
    Stopped,
    UnknownMessage,
    told,
)
from chat.client.fates import WAITING, Fate
from chat.messages import Accepted
from chat.wire import Codec
from chat.wire.text_words import visible

#: Exit statuses; 2, for a wrong command line, is argparse's.
DELIVERED, REFUSED, STILL_WAITING, RETURNED, UNREACHABLE = 0, 1, 3, 4, 5


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


async def send_once(
    reactor: Any,
    endpoint: IStreamClientEndpoint,
    codec: Codec,
    username: str,
    password: str,
    order: Order,
    complain: Callable[[str], object],
) -> int:
    """Send one message, wait as long as the order says, and return the exit status.

    The mailbox of the sender is left alone: nothing in it is confirmed.
    """
    reasons: list[Exception] = []
    client = Client(
        reactor,
        endpoint,
        username,
        password,
        codec=codec,
        tokens=False,  # one login is all there will be
        on_disconnected=lambda error, delay: reasons.append(error),
    )
    began = reactor.seconds()
    client.start().addErrback(lambda failure: failure.trap(ClientError) and None)
    try:
        accepted = await _accepted(reactor, client, order)
        if order.wait is None and accepted.state == WAITING:
            return DELIVERED
        wait = max(0.0, (order.wait or 0.0) - (reactor.seconds() - began))
        return await _fate(reactor, client, accepted, wait, complain)
    except TimeoutError:
        reason = told(reasons[-1]) if reasons else "It did not answer in time."
        complain(f"Not known to be accepted. {reason}")
        return UNREACHABLE
    except ValueError as error:
        complain(f"Not sent: {error}")
        return REFUSED
    except Stopped as stopped:
        cause = stopped.cause or stopped
        complain(f"Not sent: {told(cause)}")
        return REFUSED if isinstance(cause, (Refused, NoSuchAccount, Distrust)) else UNREACHABLE
    except Disconnected as error:
        complain(f"Not known to be accepted. {told(error)}")
        return UNREACHABLE
    except ClientError as error:
        complain(f"Not sent: {told(error)}")
        return REFUSED
    finally:
        await _close(reactor, client)


async def _accepted(reactor: Any, client: Client, order: Order) -> Accepted:
    sent = client.send(
        order.recipient,
        order.body,
        order.subject,
        receipt=order.wait is not None,
        ref=order.ref,
        automatic=order.automatic,
    )
    return await sent.addTimeout(order.patience, reactor)


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
