"""What the ledger knows of a message: its states, which are lawful, and the values that describe it.

No I/O: the rules are in the mailroom, the rows in the store; both speak in these values.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Optional

from msgspec import Struct

from chat.messages import Message


class State(IntEnum):
    """The state of an accepted message, as C{ledger.state} holds it.

    I{Returned} is no state of its own: a message that came back (its C{code} is
    set) waits in its sender's mailbox and is delivered there like any other.
    """

    WAITING = 0  # not confirmed by the one whose mailbox it is in
    DELIVERED = 1  # confirmed; still in the mailbox
    REMOVED = 2  # confirmed, and removed from the mailbox by its owner
    RECALLED = 3  # taken back by its sender while it waited
    DEAD = 4  # came back, but its sender was gone, too: kept for the operator


#: Lawful pairs of state and "has it come back?".
LAWFUL = frozenset(
    {
        (State.WAITING, False),
        (State.WAITING, True),
        (State.DELIVERED, False),
        (State.DELIVERED, True),
        (State.REMOVED, False),
        (State.REMOVED, True),
        (State.RECALLED, False),
        (State.DEAD, True),
    }
)
#: The states in which a message has content and is in a mailbox.
IN_MAILBOX = frozenset({State.WAITING, State.DELIVERED})


def fate(state: int, code: str | None) -> str:
    """What the sender is told has become of the message.

    What a recipient does with a delivered message is not the sender's to know.
    """
    if code is None and state == 0:  # as nearly always where speed matters
        return "waiting"
    if state == State.DEAD:
        return "dead"
    if code is not None:
        return "returned"
    return "recalled" if state == State.RECALLED else "delivered"


def standing(state: int) -> str:
    """What the owner of the mailbox is told: C{waiting} or C{delivered}."""
    return "waiting" if state == State.WAITING else "delivered"


class AccountState(IntEnum):
    """The state of an account, as C{accounts.state} holds it."""

    ACTIVE = 0
    LEAVING = 1  # deleted as far as anyone can see; start-up finishes what is left to do
    DELETED = 2
    JOINING = 3  # signed up, but without a password yet; start-up drops it


class Account(NamedTuple):
    """A durable identity; the name is prepared."""

    id: int
    name: str


#: What a message can be sent with, as C{ledger.options} holds it: its sender asks to be told of the
#: delivery; it was written by a program, and no program is to answer it.
RECEIPT, AUTOMATIC = 1, 2


class Draft(Struct, frozen=True, gc=False):
    """A message on its way into the ledger, checked against every limit.

    @ivar recipient: the prepared name, or C{None} where no account could be called so.
    @ivar addressee: the recipient as it will be named if the message comes back.
    @ivar options: the sum of L{RECEIPT} and L{AUTOMATIC}, or of what applies.
    @ivar answers: the id of the message that it answers, where that matters; 0: none.
    """

    recipient: Optional[str]
    addressee: str
    subject: Optional[str]
    body: str
    ref: Optional[str]
    options: int
    answers: int = 0


class Acceptance(Struct, frozen=True, gc=False):
    """A message as the ledger has it, new or known already by its C{ref}.

    @ivar mailbox: the account whose mailbox it is in.
    @ivar fresh: accepted now, not a repetition.
    """

    id: int
    time: int
    state: int
    code: Optional[str]
    mailbox: int
    position: int
    fresh: bool


class Letter(Struct, frozen=True, gc=False):
    """A message in a mailbox, whole."""

    id: int
    sender: str
    recipient: str
    position: int
    time: int
    state: int
    code: Optional[str]
    addressee: Optional[str]
    subject: Optional[str]
    body: str
    automatic: bool
    own: bool  # in the mailbox of the one who asks (not: sent by them, seen in the sent box)


#: What a mailbox got: its position there, and the message as it is shown.
Arrival = tuple[int, Message]


class Line(NamedTuple):
    """A message in a listing: no body."""

    id: int
    sender: str
    recipient: str
    time: int
    state: int
    code: Optional[str]
    addressee: Optional[str]
    subject: Optional[str]


class Hit(NamedTuple):
    """A message that a query has found.

    @ivar sent: it is shown as what the one who searches has sent, not as what is in the mailbox.
    """

    line: Line
    body: str
    sent: bool


class Discovery(NamedTuple):
    """What a query has found.

    @ivar more: whether there is more behind the last one.
    @ivar incomplete: whether there may be more that was not looked through, because it is not indexed.
    """

    hits: list[Hit]
    more: bool
    incomplete: bool


class Confirmation(NamedTuple):
    """A message that has just become delivered, and the sender who asked to be told."""

    id: int
    sender: int


class Removal(NamedTuple):
    """What deleting did: the ids removed or recalled, the rest, and who is to be told of deliveries."""

    ids: list[int]
    missing: list[int]
    confirmations: list[Confirmation]


class Mailbox(NamedTuple):
    """What a login needs to know: how many wait, and up to which position they may have been shown."""

    waiting: int
    offered: int
