"""C{messages.db}: how messages are confirmed, removed and recalled. Runs in the database thread."""

from __future__ import annotations

import json
from typing import Callable, Sequence

from msgspec import Struct

from chat.ledger import RECEIPT, Confirmation, Removal, State
from chat.store.books import Books
from chat.store.commit import Cursor
from chat.store.fates import DELIVERED, RECALLED, REMOVED, WAITING
from chat.store.stretches import INBOX

#: One look at each row: whose receipt it is, whether it is the first, and whether anybody is to be told;
#: and, of one that came back, that it is no delivery.
_CONFIRM = (
    "UPDATE ledger SET state = 1,"
    " settled = CASE WHEN code IS NOT NULL THEN collected(?1)"
    " WHEN options & 1 THEN confirmed(id, sender, ?1) ELSE ?1 END"
    " WHERE id = ?2 AND recipient = ?3 AND state = 0"
)


class Receipt(Struct, frozen=True, gc=False):
    """The ids that one account confirms."""

    account: int
    ids: Sequence[int]


class Settlement:
    """Settles what becomes of messages that somebody has, or nobody is to have any more."""

    def __init__(self, books: Books, now: Callable[[], int]) -> None:
        """Settle messages, and keep the books.

        @param now: the time in milliseconds since 1970-01-01 UTC.
        """
        self._books = books
        self._now = now
        self._confirmations: list[Confirmation] = []  # of the receipt that is being written
        self._collected = 0  # how many of those confirmed had come back
        self._heard: object = None  # the connection that tells of them

    def confirm(self, cursor: Cursor, receipts: Sequence[Receipt]) -> list[list[Confirmation]]:
        """Make what waits delivered."""
        if self._heard is not cursor.connection:
            self._heard = cursor.connection
            cursor.connection.create_function("confirmed", 3, self._confirmed)
            cursor.connection.create_function("collected", 1, self._collect)
        now = self._now()
        settled = 0
        self._collected = 0
        results: list[list[Confirmation]] = []
        for receipt in receipts:
            account = receipt.account
            confirmations: list[Confirmation] = []
            self._confirmations = confirmations
            cursor.executemany(_CONFIRM, [(now, id, account) for id in receipt.ids])
            if changed := cursor.rowcount:
                settled += changed
                self._books.count(account, -changed)
            results.append(confirmations)
        if settled:
            self._books.fates.turned(WAITING, DELIVERED, settled - self._collected)
        return results

    def _confirmed(self, id: int, sender: int, now: int) -> int:
        """While a receipt is written: the sender of this one is to be told."""
        self._confirmations.append(Confirmation(id, sender))
        return now

    def _collect(self, now: int) -> int:
        """The same: this one had come back, and stays returned."""
        self._collected += 1
        return now

    def remove(self, cursor: Cursor, receipt: Receipt) -> Removal:
        """Remove from the account's mailbox, or recall what it sent and still waits."""
        account, ids = receipt.account, receipt.ids
        wanted = json.dumps(ids)
        now = self._now()
        own = cursor.execute(
            "SELECT id, sender, options, code, state FROM ledger"
            " WHERE id IN (SELECT value FROM json_each(?)) AND recipient = ? AND state < 2",
            (wanted, account),
        ).fetchall()
        waiting = [row for row in own if row[4] == State.WAITING]
        for _, _, _, code, state in own:
            if code is None:
                self._books.fates.turned(WAITING if state == State.WAITING else DELIVERED, REMOVED)
        self.settle(cursor, State.REMOVED, now, [(row[0], account) for row in own])
        self._books.count(account, -len(waiting))
        recalled = cursor.execute(
            "SELECT id, recipient FROM ledger WHERE id IN (SELECT value FROM json_each(?))"
            " AND sender = ? AND state = 0 AND code IS NULL",
            (wanted, account),
        ).fetchall()
        self._books.fates.turned(WAITING, RECALLED, len(recalled))
        self.settle(cursor, State.RECALLED, now, recalled)
        for _, recipient in recalled:
            self._books.count(recipient, -1)
        gone = {row[0] for row in own} | {row[0] for row in recalled}
        asked = dict.fromkeys(ids)
        return Removal(
            ids=[id for id in asked if id in gone],
            missing=[id for id in asked if id not in gone],
            confirmations=[
                Confirmation(id, sender)
                for id, sender, options, code, _ in waiting
                if options & RECEIPT and not code
            ],
        )

    def settle(self, cursor: Cursor, state: State, now: int, messages: Sequence[tuple[int, int]]) -> None:
        """These are out of every mailbox: their content goes.

        @param messages: of each its id, and whose mailbox it was in.
        """
        self._books.volumes.leave(cursor, [id for id, _ in messages])
        cursor.executemany(
            "UPDATE ledger SET state = ?, settled = iif(state = 0, ?, settled), subject = NULL, body = NULL,"
            # As blobs: of a text, not every driver hands over what is behind a NUL.
            " digest = iif(ref IS NULL, NULL, coalesce(digest, contents_digest(CAST(coalesce(addressee,"
            " (SELECT name FROM users.accounts AS a WHERE a.id = recipient)) AS BLOB), CAST(subject AS BLOB),"
            " CAST(body AS BLOB))))"
            " WHERE id = ?",
            [(state, now, id) for id, _ in messages],
        )
        self._books.stretches.leave(
            cursor, INBOX, [account for _, account in messages], [id for id, _ in messages]
        )
