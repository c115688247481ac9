"""Messages of the ledger as frames: as they are delivered, read again, listed and returned."""

from __future__ import annotations

from typing import Optional

from chat.errors import Code
from chat.ledger import Letter, Line, fate, standing
from chat.messages import Entry, Message, Returned
from chat.times import rfc3339

#: Why a message came back, for a person.
NOTES = {
    Code.UNKNOWN_RECIPIENT: "There is no account of that name here. Check the spelling and send again.",
    Code.ACCOUNT_DELETED: "The account was deleted before it took the message.",
    Code.EXPIRED: "Nobody collected the message within the time that this server keeps it.",
    Code.BLOCKED: "The recipient does not take messages from you.",
    Code.MAILBOX_FULL: "Too many messages wait in that mailbox already. Send it again later.",
}


def delivery(letter: Letter, again: bool) -> Message:
    """A message as it is delivered from the store."""
    return Message(
        id=letter.id,
        sender=letter.sender,
        recipient=letter.recipient,
        time=rfc3339(letter.time),
        subject=letter.subject,
        body=letter.body,
        returned=None if letter.code is None else return_of(letter.code, letter.addressee),
        again=again,
        automatic=letter.automatic,
    )


def return_of(code: Optional[str], addressee: Optional[str]) -> Optional[Returned]:
    """Why and from whom a message came back, if it did."""
    if code is None:
        return None
    return Returned(code=code, recipient=addressee or "", note=NOTES[Code(code)])


def entry(line: Line, sent: bool, excerpt: Optional[str] = None) -> Entry:
    """A message as it is listed.

    @param sent: whether the list is that of what was sent.
    """
    return Entry(
        id=line.id,
        sender=line.sender,
        recipient=line.addressee if sent and line.addressee is not None else line.recipient,
        time=rfc3339(line.time),
        subject=line.subject,
        state=fate(line.state, line.code) if sent else standing(line.state),
        returned=return_of(line.code, line.addressee),
        excerpt=excerpt,
    )


def reading(letter: Letter) -> Message:
    """A message as it is read again."""
    return Message(
        id=letter.id,
        sender=letter.sender,
        recipient=letter.recipient,
        time=rfc3339(letter.time),
        subject=letter.subject,
        body=letter.body,
        returned=return_of(letter.code, letter.addressee),
        state=standing(letter.state) if letter.own else fate(letter.state, letter.code),
        automatic=letter.automatic,
    )
