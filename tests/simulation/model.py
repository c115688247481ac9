"""What must be true, from protocol.md alone: who may do what, and what each deed leads to.

The model knows what every client has said, word for word; it is told of every change
on disk; and it asks of each change who has asked for it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Optional

from tests.simulation.books import (
    ACTIVE,
    DEAD,
    DELETED,
    DELIVERED,
    FOLDED,
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
from tests.simulation.claims import Claims, Send, prepared
from tests.simulation.keeping import Crowds, Keeping
from tests.simulation.storage import Disk

if TYPE_CHECKING:
    from tests.simulation.conversation import Conversation


#: After how many milliseconds the server tries again what there was no room for.
RETRY = 1000


class Model:
    """The judge.

    @ivar step: which step of the simulation it is.
    @ivar settled: ids that were confirmed, by account, and since which step that is known.
    @ivar shown: ids that a client has had, by account, and since when.
    @ivar time: what the server's clock says, in milliseconds.
    @ivar latest: the latest time that it has shown to the server that runs now.
    @ivar patience: until then it may try again what there was no room for on the disk.
    @ivar highest: the latest time that it has ever shown.
    @ivar keeping: what the operator of that server has decided.
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
        self.time = self.latest = self.highest = self.patience = 0
        self.keeping = Keeping()
        self._waiting: Counter[int] = Counter()
        self._set_back = 0

    @property
    def moment(self) -> tuple[int, int]:
        """What the server's clock says, and how often it was set back."""
        return self.time, self._set_back

    def starts(self, time: int, keeping: Keeping) -> None:
        """A server has started."""
        self.time = self.latest = self.patience = time
        self.highest = max(self.highest, time)
        for claims in self.names.values():
            claims.pending.clear()
        self.keeping = keeping

    def clock(self, time: int) -> None:
        """The server's clock has gone on, or was set."""
        before, self.time = self.time, time
        self.latest = max(self.latest, time)
        self.highest = max(self.highest, time)
        self._set_back += time < before

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
        if self.disk.refused:
            self.disk.refused = False
            self.patience = max(self.patience, self.time + RETRY)
        changes = self.books.look(self.step)
        crowds = Crowds(self._waiting, changes)
        for change in changes:
            if change.before is None:
                self._entered(change, crowds)
            elif change.now.state == FOLDED:
                self._folded(change, change.before)
            else:
                self._moved(change, change.before)
        if changes:
            self._waiting = Counter(
                row.now.recipient for row in self.books.rows.values() if row.now.state == WAITING
            )
            self._add_up_runs()
        for account in self.books.accounts.values():
            if account.now in (LEAVING, DELETED) and not self.claims(account.name).leaving:
                raise Violation(f"account {account.name} was deleted, but nobody asked for that")

    def known(self, send: Send, sender: int) -> Optional[int]:
        """The id under which the ledger knows this message of this account."""
        for id in send.ids:
            row = self.books.rows[id]
            if row.sender == sender and not row.folded:
                return id
        return None

    def _entered(self, change: Change, crowds: Crowds) -> None:
        row = change.row
        name = self.books.name(row.sender)
        if ACTIVE not in during(self.books.accounts[row.sender].history, self.step):
            raise Violation(f"message {row.id} was accepted from {name}, who is gone")
        send = self.sends.get(row.body) if row.body is not None else self._vanished(change)
        if send is None or send.said == 0:
            raise Violation(f"message {row.id} was sent by nobody")
        if (first := self.known(send, row.sender)) is not None:
            raise Violation(f"message {row.id} is a copy of message {first}")
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
            if (first := self.known(rival, row.sender)) is not None:
                raise Violation(f"message {row.id} has the ref of message {first}")
        send.ids.append(row.id)
        if send.overdrawn:
            raise Violation(f"message {row.id} was accepted, but its sender was told that it was refused")
        self._addressed(change, send, crowds)
        crowds.enter(change.now.recipient)

    def _vanished(self, change: Change) -> Optional[Send]:
        """Which message it was that was entered and removed or recalled in one transaction."""
        row, now = change.row, change.now
        name = self.books.name(row.sender)
        addressee = self.books.name(now.recipient) if now.code is None else now.addressee
        candidates = [
            send
            for send in self.sends.values()
            if (send.sender, send.ref, send.receipt) == (name, row.ref, bool(row.receipt))
            and addressee in (send.recipient, prepared(send.recipient))
            and self.known(send, row.sender) is None
            and send.said - send.refused > len(send.ids)
        ]
        # What somebody waits to hear of, rather than what was lost on its way.
        candidates.sort(key=lambda send: not any(each.waits_for(send) for each in self.conversations))
        return candidates[0] if candidates else None

    def _addressed(self, change: Change, send: Send, crowds: Crowds) -> None:
        """Is a new message in the right mailbox?"""
        row, now, limit = change.row, change.now, self.keeping.limit
        wanted = prepared(send.recipient)
        there = [each for each in self.books.named(wanted) if ACTIVE in during(each.history, self.step)]
        always = [each for each in there if during(each.history, self.step) == [ACTIVE]]
        if now.state != WAITING:
            raise Violation(f"message {row.id} was accepted in state {now.state}")
        if now.code is None:
            if now.recipient not in [each.id for each in there]:
                raise Violation(f"message {row.id} to {wanted} is in the mailbox of account {now.recipient}")
            if limit and crowds.least(now.recipient) >= limit:
                raise Violation(f"message {row.id} is in the mailbox of {wanted}, which was full")
            return
        if now.recipient != row.sender:
            raise Violation(f"message {row.id} was returned to account {now.recipient}")
        if now.code == "mailbox-full":
            if not limit or not any(crowds.most(each.id) >= limit for each in there):
                raise Violation(f"message {row.id} was returned, but there was room for {wanted}")
        elif always:
            raise Violation(f"message {row.id} was returned, but {wanted} exists")
        elif now.code not in ("unknown-recipient", "account-deleted"):
            raise Violation(f"message {row.id} was returned wrongly: {now}")
        elif now.code == "account-deleted" and not self.books.named(wanted):
            raise Violation(f"message {row.id}: there was no account {wanted} that could have been deleted")
        if now.addressee != send.recipient and now.addressee != wanted:
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
            row.settled = self.time
        elif before.state == WAITING and now.state in (WAITING, DEAD):
            self._turned_round(change, before, owner, sender)
        else:
            raise Violation(f"message {row.id} went from {before} to {now}")

    def _turned_round(self, change: Change, before: Standing, owner: Account, sender: Account) -> None:
        now = change.now
        code, addressee = before.code, before.addressee
        expired = code is None and now.code == "expired"
        if expired:
            self._need(self._old(change.row.time, self.keeping.expire), change, "it is not old enough")
            self._need(sender is not owner, change, "it is with its sender")
        else:
            self._need(owner.now in (LEAVING, DELETED), change, f"{owner.name} is there")
        if code is None:
            code, addressee = "expired" if expired else "account-deleted", owner.name
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
        row.settled = self.time
        if row.receipt and before.code is None:
            for conversation in self.conversations:
                conversation.owe_notice(row.sender, row.id)

    def _folded(self, change: Change, before: Standing) -> None:
        """A message is forgotten: only what is in no mailbox any more, and that not too early."""
        row = change.row
        if before.state == WAITING or before.state == DELIVERED:
            # It went on in the transaction that folded it.
            owner = self.books.accounts[before.recipient]
            removed = row.id in self.claims(owner.name).deleted or owner.now in (LEAVING, DELETED)
            between = before._replace(state=REMOVED if removed else RECALLED)
            folded, row.history[-1] = row.history[-1], (self.step, between)
            self._moved(Change(row, before, between), before)
            row.history.append(folded)
            before = between
        self._need(before.state in (REMOVED, RECALLED), change, "it must be kept")
        self._need(self._old(row.settled, self.keeping.fold), change, "it is not old enough")

    def _old(self, since: int, age: int) -> bool:
        """Whether something that happened then has that age, or had it before the clock was set back."""
        return bool(age) and self.latest - since > age

    def _add_up_runs(self) -> None:
        """What each run says of the fates of its messages is what became of them."""
        for run in self.books.runs:
            fates = Counter(self.books.rows[id].counted for id in range(run.first, run.last + 1))
            if (fates["removed"], fates["returned"], fates["recalled"]) != run[2:5]:
                raise Violation(f"the folded run {run} should say {dict(fates)}")

    def _need(self, condition: bool, change: Change, words: str) -> None:
        if not condition:
            raise Violation(f"message {change.row.id}: from {change.before} to {change.now}, but {words}")

    # --- when everything has come to rest ---

    def at_rest(self) -> None:
        """Nothing is under way: everything that was asked is answered, everything due is there."""
        for conversation in self.conversations:
            conversation.at_rest()
