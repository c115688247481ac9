"""What is on disk, read with statements of the simulation's own after every transaction.

The books remember every state that a message and an account were ever in, and when, so
that an answer can be held against what was true between the question and the answer.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Optional, TypeVar

from chat.store import tokens

T = TypeVar("T")

WAITING, DELIVERED, REMOVED, RECALLED, DEAD = range(5)
#: No state of the ledger: the message is one of a run, and nothing is left of it but its id.
FOLDED = 5
ACTIVE, LEAVING, DELETED, JOINING = range(4)


class Violation(AssertionError):
    """A promise was broken."""


def during(history: list[tuple[int, T]], since: int) -> list[T]:
    """What was true at some moment from step C{since} on."""
    before = [value for step, value in history if step < since][-1:]
    return before + [value for step, value in history if step >= since]


class Standing(NamedTuple):
    """Where a message is: its state, whose mailbox it is in, and why it came back if it did."""

    state: int
    recipient: int
    code: Optional[str]
    addressee: Optional[str]

    @property
    def fate(self) -> str:
        """What its sender is told."""
        if self.state == DEAD:
            return "dead"
        if self.code is not None:
            return "returned"
        return ("waiting", "delivered", "delivered", "recalled", "dead", "folded")[self.state]

    def owned_by(self, account: int) -> bool:
        """Whether it is in that mailbox."""
        return self.recipient == account and self.state in (WAITING, DELIVERED)

    def deletable_by(self, account: int, sender: int) -> bool:
        """Whether that account can remove or recall it."""
        recallable = sender == account and self.state == WAITING and self.code is None
        return self.owned_by(account) or recallable


@dataclass
class Row:
    """One message of the ledger; what never changes, and where it ever was.

    @ivar settled: when it was confirmed, removed or recalled, by the server's clock, in milliseconds.
    """

    id: int
    sender: int
    time: int
    receipt: int
    ref: Optional[str]
    subject: Optional[str]
    body: Optional[str]
    history: list[tuple[int, Standing]] = field(default_factory=list)
    settled: int = 0

    @property
    def now(self) -> Standing:
        """Where it is."""
        return self.history[-1][1]

    @property
    def last(self) -> Standing:
        """Where it is, or was when it was folded."""
        return self.history[-2][1] if self.folded else self.now

    @property
    def folded(self) -> bool:
        """Whether the ledger does not know it any more."""
        return self.now.state == FOLDED

    @property
    def counted(self) -> str:
        """Among which ones a run counts it."""
        if self.last.state == RECALLED:
            return "recalled"
        return "removed" if self.last.code is None else "returned"


@dataclass
class Account:
    """One account, and the states it was ever in."""

    id: int
    name: str
    history: list[tuple[int, Optional[int]]] = field(default_factory=list)

    @property
    def now(self) -> Optional[int]:
        """Its state; C{None} when it was dropped before it began."""
        return self.history[-1][1]


class Run(NamedTuple):
    """Messages that were folded: the first and the last one, and how many had which fate."""

    first: int
    last: int
    removed: int
    returned: int
    recalled: int
    skipped: int


class Change(NamedTuple):
    """A message that was entered, moved, or folded."""

    row: Row
    before: Optional[Standing]
    now: Standing


_LEDGER = (
    "SELECT id, sender, time, options & 1, ref, subject, body, state, recipient, code, addressee"
    " FROM ledger ORDER BY id"
)


class Books:
    """The files, as they are on disk.

    @ivar runs: what was folded.
    """

    def __init__(self, data: Path) -> None:
        self.rows: dict[int, Row] = {}
        self.runs: list[Run] = []
        self.accounts: dict[int, Account] = {}
        self._db = sqlite3.connect(data / "messages.db", isolation_level=None)
        for name in ("users", "passwords"):
            self._db.execute(f"ATTACH ? AS {name}", (str(data / f"{name}.db"),))
        self._versions: list[int] = []

    def close(self) -> None:
        """Let the files go."""
        self._db.close()

    def look(self, step: int) -> list[Change]:
        """See what has changed since this was last called.

        @raise Violation: something that cannot be.
        """
        versions = [
            self._db.execute(f"PRAGMA {file}.data_version").fetchone()[0]
            for file in ("main", "users", "passwords")
        ]
        if versions == self._versions:
            return []
        self._versions = versions
        self._look_at_accounts(step)
        folded = self._look_at_runs()
        changes = self._look_at_ledger(step, folded)
        self._add_up(len(folded))
        return changes

    def name(self, account: int) -> str:
        """How the account is, or was, called."""
        return self.accounts[account].name

    def named(self, name: str) -> list[Account]:
        """Every account that ever had this name."""
        return [each for each in self.accounts.values() if each.name == name]

    def active(self, name: str) -> Optional[Account]:
        """The account that has this name now."""
        return next((each for each in self.named(name) if each.now == ACTIVE), None)

    def waiting(self, account: int) -> list[Row]:
        """What waits in a mailbox."""
        return [row for row in self.rows.values() if row.now[:2] == (WAITING, account)]

    # --- inside ---

    def _look_at_accounts(self, step: int) -> None:
        found = self._db.execute("SELECT id, name, state FROM users.accounts").fetchall()
        for id, name, state in found:
            account = self.accounts.get(id)
            if account is None:
                account = self.accounts[id] = Account(id, name)
                before = None
            else:
                before = account.now
            if account.name != name:
                raise Violation(f"account {id} was called {account.name} and is called {name}")
            if before != state or not account.history:
                if (before, state) not in _LAWFUL_MOVES:
                    raise Violation(f"account {id} went from state {before} to {state}")
                account.history.append((step, state))
        there = {id for id, _, _ in found}
        for account in self.accounts.values():
            if account.id not in there and account.now is not None:
                if account.now != JOINING:
                    raise Violation(f"account {account.id} has vanished")
                account.history.append((step, None))

    def _look_at_runs(self) -> set[int]:
        """The ids that are folded."""
        self.runs = [Run(*run) for run in self._db.execute("SELECT * FROM folded ORDER BY first")]
        ids: set[int] = set()
        for run in self.runs:
            run_ids = range(run.first, run.last + 1)
            if sum(run[2:]) != len(run_ids) or min(run[2:]) < 0 or run.skipped:
                raise Violation(f"the folded run {run} does not add up")
            if not ids.isdisjoint(run_ids):
                raise Violation(f"messages of the folded run {run} are in another one, too")
            ids.update(run_ids)
        return ids

    def _look_at_ledger(self, step: int, folded: set[int]) -> list[Change]:
        """What was folded, then everything else that has changed."""
        changes = []
        for id in sorted(folded):
            row = self.rows.get(id)
            if row is None:
                raise Violation(f"message {id} was folded before it was in the ledger")
            if not row.folded:
                changes.append(Change(row, row.now, row.now._replace(state=FOLDED)))
                row.history.append((step, changes[-1].now))
        number = 0
        for id, sender, time, receipt, ref, subject, body, *standing in self._db.execute(_LEDGER):
            number += 1
            while number in folded:
                number += 1
            if id != number:
                raise Violation(f"message {number} is not in the ledger, but {id} is")
            now = Standing(*standing)
            row = self.rows.get(id)
            if row is None:
                first = self._first(now)
                row = self.rows[id] = Row(id, sender, time, receipt, ref, subject, body, [(step, first)])
                changes.append(Change(row, None, first))
                if first != now:
                    changes.append(Change(row, first, now))
                    row.history.append((step, now))
                continue
            if (sender, time, receipt, ref) != (row.sender, row.time, row.receipt, row.ref):
                raise Violation(f"message {id} was altered")
            kept = now.state in (WAITING, DELIVERED, DEAD)
            if (subject, body) != ((row.subject, row.body) if kept else (None, None)):
                raise Violation(f"the content of message {id} was altered, or has gone, or has not gone")
            if now != row.now:
                changes.append(Change(row, row.now, now))
                row.history.append((step, now))
        number = max([number, *folded])
        if number < len(self.rows):
            raise Violation(f"the ledger ends at {number}, but there were {len(self.rows)} messages")
        return changes

    def _first(self, now: Standing) -> Standing:
        """Where a new message was entered that may have gone on in the same transaction."""
        if now.code == "expired" and now.addressee is not None:
            return Standing(WAITING, self.named(now.addressee)[-1].id, None, None)
        return now._replace(state=WAITING) if now.state in (DELIVERED, REMOVED, RECALLED) else now

    def _add_up(self, folded: int) -> None:
        """The sums; so many messages are folded."""
        waiting: dict[int, int] = {}
        for row in self.rows.values():
            if row.now.state == WAITING:
                waiting[row.now.recipient] = waiting.get(row.now.recipient, 0) + 1
        counted = {
            account: number
            for account, number in self._db.execute("SELECT account, waiting FROM mailboxes")
            if number
        }
        if counted != waiting:
            raise Violation(f"the mailboxes say that {counted} wait, but it is {waiting}")
        number, position = self._db.execute("SELECT id, position FROM counters").fetchone()
        if number != len(self.rows):
            raise Violation(f"the last id is {number}, but there are {len(self.rows)} messages")
        highest, different = self._db.execute(
            "SELECT coalesce(max(position), 0), count(DISTINCT position) FROM ledger"
        ).fetchone()
        if highest > position or different != len(self.rows) - folded:
            raise Violation("two messages are at one position, or one is at a position not given out")
        without = self._db.execute(
            "SELECT id FROM users.accounts WHERE state = 0"
            " AND id NOT IN (SELECT account FROM passwords.passwords)"
        ).fetchall()
        if without:
            raise Violation(f"accounts {without} have no password")
        most = self._db.execute(
            "SELECT coalesce(max(number), 0) FROM"
            " (SELECT count(*) AS number FROM passwords.tokens GROUP BY account)"
        ).fetchone()[0]
        if most > tokens.MOST:
            raise Violation(f"an account has {most} tokens")


#: From which state to which an account can go; before it is there, and when it is dropped: C{None}.
_LAWFUL_MOVES = {
    (None, JOINING),
    (JOINING, ACTIVE),
    (ACTIVE, LEAVING),
    (LEAVING, DELETED),
}
