"""What each transaction on C{messages.db} keeps true besides the ledger. Runs in the database thread.

Whatever changes a message notes it here: the counters and the mailboxes' counts are
written at the end of the transaction.
"""

from __future__ import annotations

from typing import Callable

from chat.ledger import Mailbox
from chat.store.commit import Cursor
from chat.store.fates import Fates
from chat.store.stretches import Stretches
from chat.store.users import Users
from chat.store.volumes import Volumes


class Books:
    """What is written beside the ledger, and what is known of it without looking.

    @ivar id: the last one given out; -1: to be read from the file.
    @ivar position: the same of the positions.
    @ivar stretches: where in the ledger the messages of each box are.
    @ivar volumes: which words are in which messages.
    @ivar fates: how many messages met each fate.
    @ivar looking: whose sessions may be live when they hear of this transaction.
    @ivar unnoted: up to which position an account was offered what waits, where there was no room to note it.
    """

    def __init__(self, users: Users, now: Callable[[], int]) -> None:
        """Keep the books.

        @param now: the time in milliseconds since 1970-01-01 UTC.
        """
        self.id = -1
        self.position = -1
        self.stretches = Stretches()
        self.volumes = Volumes(users, now)
        self.fates = Fates()
        self.looking: set[int] = set()
        self.unnoted: dict[int, int] = {}
        self._written = (-1, -1)
        self._deltas: dict[int, list[int]] = {}  # account -> [change of waiting, highest offered]

    def begin(self, cursor: Cursor) -> None:
        """A transaction begins."""
        self.fates.begin()
        self.looking.clear()
        if self.id < 0:
            self.id, self.position = cursor.execute("SELECT id, position FROM counters").fetchone()
            self._written = (self.id, self.position)

    def end(self, cursor: Cursor) -> None:
        """The transaction is about to be committed: write the books."""
        if self._written != (self.id, self.position):
            self._written = (self.id, self.position)
            cursor.execute("UPDATE counters SET id = ?, position = ?", self._written)
        if self._deltas:
            changes = [
                (account, waiting, offered)
                for account, (waiting, offered) in self._deltas.items()
                if waiting or offered
            ]
            self._deltas.clear()
            cursor.executemany(
                "INSERT INTO mailboxes (account, waiting, offered) VALUES (?, ?, ?)"
                " ON CONFLICT (account) DO UPDATE SET waiting = waiting + excluded.waiting,"
                " offered = max(offered, excluded.offered)",
                changes,
            )

    def forget(self) -> None:
        """The transaction was rolled back."""
        self.id = self.position = -1
        self._deltas.clear()
        self.stretches.forget()
        self.volumes.forget()
        self.fates.forget()

    def count(self, account: int, waiting: int, offered: int = 0) -> None:
        """So many more wait for this account, and it may have been shown what is up to this position."""
        delta = self._deltas.get(account)
        if delta is None:
            self._deltas[account] = [waiting, offered]
        else:
            delta[0] += waiting
            if offered > delta[1]:
                delta[1] = offered

    def mailbox(self, cursor: Cursor, account: int) -> Mailbox:
        """How many wait for an account, and what it was offered; by what is not written yet, too."""
        row = cursor.execute(
            "SELECT waiting, offered FROM mailboxes WHERE account = ?", (account,)
        ).fetchone()
        waiting, offered = row or (0, 0)
        delta = self._deltas.get(account, (0, 0))
        return Mailbox(waiting + delta[0], max(offered, delta[1], self.unnoted.get(account, 0)))
