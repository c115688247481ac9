"""What must be true, from protocol.md alone: who may do what, and what each deed leads to.

The model knows what every client has said, word for word; it is told of every change
on disk; and it asks of each change who has asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

from tests.simulation.books import (
    ACTIVE,
    DEAD,
    DELETED,
    DELIVERED,
    LEAVING,
    RECALLED,
    REMOVED,
    WAITING,
    Account,
    Books,
    Change,
    Standing,
    Violation,
    during,
)
from tests.simulation.storage import Disk

if TYPE_CHECKING:
    from tests.simulation.conversation import Conversation


@dataclass
class Send:
    """One message that somebody wants to send; repeating it under its ref makes no other one.

    @ivar said: how often it was put on the wire.
    @ivar refused: how often that was answered with a refusal.
    @ivar id: its id, once anybody was told, or it was seen on disk.
    """

    sender: str
    recipient: str
    subject: Optional[str]
    body: str
    ref: Optional[str]
    receipt: bool
    said: int = 0
    refused: int = 0
    id: Optional[int] = None


@dataclass
class Claims:
    """What was asked for, in all its sessions, by whoever has this name.

    @ivar confirmed: ids that a client of this name may have confirmed.
    @ivar deleted: ids that it has asked to delete.
    @ivar leaving: it has asked to delete the account.
    @ivar passwords: each that may be the right one.
    @ivar epoch: grows whenever a password is set, so that two settings at once are known as such.
    @ivar certain: the one of L{passwords} is right, if the account is there.
    """

    confirmed: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    leaving: bool = False
    passwords: dict[str, None] = field(default_factory=dict)
    epoch: int = 0
    certain: bool = False

    def perhaps(self, password: str) -> int:
        """This may be the password from now on."""
        self.passwords[password] = None
        self.epoch += 1
        self.certain = False
        return self.epoch

    def surely(self, password: str, epoch: int) -> None:
        """The setting of that epoch has succeeded."""
        if epoch == self.epoch:
            self.passwords = {password: None}
            self.certain = True


def prepared(name: str) -> str:
    """The form of a name in which it is compared; the simulation's names are ASCII."""
    return name.lower()


class Model:
    """The judge.

    @ivar step: which step of the simulation it is.
    @ivar settled: ids that were confirmed, by account, and since which step that is known.
    @ivar shown: ids that a client has had, by account, and since when.
    """

    def __init__(self, books: Books, disk: Disk) -> None:
        self.books = books
        self.disk = disk
        self.step = 0
        self.sends: dict[str, Send] = {}
        self.by_ref: dict[tuple[str, str], list[Send]] = {}
        self.names: dict[str, Claims] = {}
        self.settled: dict[tuple[int, int], int] = {}
        self.shown: dict[tuple[int, int], int] = {}
        self.conversations: list[Conversation] = []

    def claims(self, name: str) -> Claims:
        """What was asked for under this name."""
        return self.names.setdefault(prepared(name), Claims())

    # --- what clients say ---

    def says_message(self, sender: str, frame: dict[str, object]) -> Send:
        """A client puts a message on the wire."""
        body = str(frame["body"])
        send = self.sends.get(body)
        if send is None:
            subject, ref = frame.get("subject"), frame.get("ref")
            send = self.sends[body] = Send(
                prepared(sender),
                str(frame["recipient"]),
                None if subject is None else str(subject),
                body,
                None if ref is None else str(ref),
                bool(frame.get("receipt")),
            )
            if send.ref is not None:
                self.by_ref.setdefault((send.sender, send.ref), []).append(send)
        send.said += 1
        return send

    def rivals(self, send: Send) -> list[Send]:
        """The other messages that this sender has put on the wire under this one's ref."""
        if send.ref is None:
            return []
        return [each for each in self.by_ref[send.sender, send.ref] if each is not send]

    # --- what changes on disk ---

    def look(self) -> None:
        """See what is on disk; every change must have been asked for, and be lawful."""
        for change in self.books.look(self.step):
            if change.before is None:
                self._entered(change)
            else:
                self._moved(change, change.before)
        for account in self.books.accounts.values():
            if account.now in (LEAVING, DELETED) and not self.claims(account.name).leaving:
                raise Violation(f"account {account.name} was deleted, but nobody asked for that")

    def _entered(self, change: Change) -> None:
        row = change.row
        name = self.books.name(row.sender)
        send = self.sends.get(row.body) if row.body is not None else self._vanished(change)
        if send is None or send.said == 0:
            raise Violation(f"message {row.id} was sent by nobody")
        if send.id is not None and self.books.rows[send.id].sender == row.sender:
            raise Violation(f"message {row.id} is a copy of message {send.id}")
        if row.body is None:
            row.body, row.subject = send.body, send.subject
        if (send.sender, send.subject, send.ref, send.receipt) != (
            name,
            row.subject,
            row.ref,
            bool(row.receipt),
        ):
            raise Violation(f"message {row.id} is not as {name} has sent it")
        for rival in self.rivals(send):
            if rival.id is not None and self.books.rows[rival.id].sender == row.sender:
                raise Violation(f"message {row.id} has the ref of message {rival.id}")
        if send.said == send.refused:
            raise Violation(f"message {row.id} was accepted, but its sender was told that it was refused")
        send.id = row.id
        self._addressed(change, send)

    def _vanished(self, change: Change) -> Optional[Send]:
        """Which message it was that was entered and removed or recalled in one transaction."""
        row = change.row
        name = self.books.name(row.sender)
        candidates = [
            send
            for send in self.sends.values()
            if (send.sender, send.ref, send.receipt) == (name, row.ref, bool(row.receipt))
            and send.id is None
            and send.said > send.refused
        ]
        return candidates[0] if candidates else None

    def _addressed(self, change: Change, send: Send) -> None:
        """Is a new message in the right mailbox?"""
        row, now = change.row, change.now
        wanted = prepared(send.recipient)
        there = [each for each in self.books.named(wanted) if ACTIVE in during(each.history, self.step)]
        always = [each for each in there if during(each.history, self.step) == [ACTIVE]]
        if now.state != WAITING:
            raise Violation(f"message {row.id} was accepted in state {now.state}")
        if now.code is None:
            if now.recipient not in [each.id for each in there]:
                raise Violation(f"message {row.id} to {wanted} is in the mailbox of account {now.recipient}")
        elif always:
            raise Violation(f"message {row.id} was returned, but {wanted} exists")
        elif now.code not in ("unknown-recipient", "account-deleted") or now.recipient != row.sender:
            raise Violation(f"message {row.id} was returned wrongly: {now}")
        elif now.code == "account-deleted" and not self.books.named(wanted):
            raise Violation(f"message {row.id}: there was no account {wanted} that could have been deleted")
        elif now.addressee != send.recipient and now.addressee != wanted:
            raise Violation(f"message {row.id} was meant for {send.recipient!r}, not {now.addressee!r}")

    def _moved(self, change: Change, before: Standing) -> None:
        row, now = change.row, change.now
        back = now._replace(state=WAITING)
        if before.state == WAITING and before.code != now.code and now.state in (DELIVERED, REMOVED):
            # It came back and went on in one transaction.
            row.history.insert(-1, (self.step, back))
            self._moved(Change(row, before, back), before)
            self._moved(Change(row, back, now), back)
            return
        owner = self.books.accounts[before.recipient]
        sender = self.books.accounts[row.sender]
        if before.state == WAITING and now == before._replace(state=DELIVERED):
            self._need(
                row.id in self.claims(owner.name).confirmed, change, f"{owner.name} did not confirm it"
            )
            self._settle(change, before)
        elif now == before._replace(state=REMOVED) and before.state in (WAITING, DELIVERED):
            asked = row.id in self.claims(owner.name).deleted
            delivered = before.state == DELIVERED or row.id in self.claims(owner.name).confirmed
            leaving = delivered and owner.now in (LEAVING, DELETED)
            if delivered and before.state == WAITING:  # in one transaction; a listing between may tell of it
                row.history.insert(-1, (self.step, before._replace(state=DELIVERED)))
            self._need(asked or leaving, change, f"{owner.name} did not ask for that")
            self._settle(change, before)
        elif now == before._replace(state=RECALLED) and (before.state, before.code) == (WAITING, None):
            self._need(
                row.id in self.claims(sender.name).deleted, change, f"{sender.name} did not ask for that"
            )
        elif before.state == WAITING and now.state in (WAITING, DEAD) and owner.now in (LEAVING, DELETED):
            self._turned_round(change, before, owner, sender)
        else:
            raise Violation(f"message {row.id} went from {before} to {now}")

    def _turned_round(self, change: Change, before: Standing, owner: Account, sender: Account) -> None:
        now = change.now
        code, addressee = before.code, before.addressee
        if code is None:
            code, addressee = "account-deleted", owner.name
        self._need(now[1:] == (sender.id, code, addressee), change, "it did not go to its sender")
        if now.state == DEAD:
            self._need(
                before.code is not None or during(sender.history, self.step) != [ACTIVE],
                change,
                f"its sender {sender.name} is there",
            )
        else:
            self._need(before.code is None, change, "it came back twice")
            self._need(ACTIVE in during(sender.history, self.step), change, "its sender is gone")

    def _settle(self, change: Change, before: Standing) -> None:
        """A message was confirmed: it must not come again, and its sender may be owed a notice."""
        row = change.row
        if before.state != WAITING:
            return
        self.settled[before.recipient, row.id] = self.step
        if row.receipt and before.code is None:
            for conversation in self.conversations:
                conversation.owe_notice(row.sender, row.id)

    def _need(self, condition: bool, change: Change, words: str) -> None:
        if not condition:
            raise Violation(f"message {change.row.id}: from {change.before} to {change.now}, but {words}")

    # --- when everything has come to rest ---

    def at_rest(self) -> None:
        """Nothing is under way: everything that was asked is answered, everything due is there."""
        for conversation in self.conversations:
            conversation.at_rest()
