"""C{messages.db}: statements on the ledger and the mailboxes. Runs in the database thread.

Everything that changes a message is here, and each change keeps the books: the
counters and the mailboxes' counts are written at the end of the transaction.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, Callable, Iterable, NamedTuple, Sequence

from chat.errors import Code, Refusal, storage_full
from chat.ledger import (
    Acceptance,
    Account,
    AccountState,
    Confirmation,
    Draft,
    Letter,
    Line,
    Mailbox,
    Removal,
    State,
)
from chat.ports import Outcome
from chat.store.commit import Cursor
from chat.store.users import Users

#: A page of waiting messages ends behind the message that fills it.
PAGE_BYTES = 256 * 1024
PAGE_MESSAGES = 512
#: How many messages of a leaving account one transaction turns round.
TURNED_AT_ONCE = 1000
#: It turns no more once it has so many bytes: on a full disk it has only the reserve to write to.
TURNED_BYTES = 1024 * 1024
#: How many waiting messages one transaction looks at to find those that have waited for too long.
AGED_AT_ONCE = 500

_LETTER = "SELECT id, sender, recipient, position, time, state, code, addressee, subject, body FROM ledger "
_LINE = "SELECT id, sender, recipient, time, state, code, addressee, subject FROM ledger "
_INSERT = (
    "INSERT{} INTO ledger (id, sender, recipient, position, time, state, receipt, ref, digest, code,"
    " addressee, subject, body) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_ALL = _INSERT.format(" OR IGNORE")
_INSERT_ONE = _INSERT.format("")


class Post(NamedTuple):
    """The drafts of one sender."""

    sender: int
    drafts: Sequence[Draft]


class Receipt(NamedTuple):
    """The ids that one account confirms."""

    account: int
    ids: Sequence[int]


class Page(NamedTuple):
    """Which part of a box is wanted."""

    account: int
    sent: bool
    after: int
    limit: int


class Aged(NamedTuple):
    """Which of the waiting messages are to be looked at, and since when one must have waited to expire.

    @ivar after: the mailbox and the position behind which to go on.
    """

    after: tuple[int, int]
    before: int


class Expiry(NamedTuple):
    """What a look at waiting messages has done.

    @ivar after: where the next one begins; C{None}: that was all.
    @ivar senders: to whose mailboxes messages came back.
    """

    after: tuple[int, int] | None
    senders: set[int]


class Messages:
    """The ledger and the mailboxes."""

    def __init__(
        self,
        users: Users,
        now: Callable[[], int],
        live: Callable[[int], bool],
        reserved: int,
        room: Callable[[int], bool],
        limit: int = 0,
    ) -> None:
        """Keep the books.

        @param now: the time in milliseconds since 1970-01-01 UTC.
        @param live: whether the account is shown a message the moment it is committed.
        @param reserved: for how many milliseconds the name of a deleted account is known as such.
        @param room: whether there is room on the disk for new messages, so many bytes being free
            inside the file.
        @param limit: how many messages may wait in a mailbox before new ones come back; 0: any number.
        """
        self._users = users
        self._now = now
        self._live = live
        self._reserved = reserved
        self._room = room
        self._limit = limit
        self._tally: dict[int, int] = {}  # how many wait, with those entered and not counted yet
        self._id = -1  # the last one given out; -1: to be read from the file
        self._position = -1
        self._written = (-1, -1)
        self._deltas: dict[int, list[int]] = {}  # account -> [change of waiting, highest offered]
        self._unnoted: dict[int, int] = {}  # account -> offered up to, where there was no room to note it
        self._looking: set[int] = set()  # whose sessions may be live when they hear of this transaction

    # --- every transaction ---

    def begin(self, cursor: Cursor) -> None:
        """A transaction begins."""
        self._looking.clear()
        if self._id < 0:
            self._id, self._position = cursor.execute("SELECT id, position FROM counters").fetchone()
            self._written = (self._id, self._position)

    def end(self, cursor: Cursor) -> None:
        """The transaction is about to be committed: write the books."""
        if self._written != (self._id, self._position):
            self._written = (self._id, self._position)
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
        self._id = self._position = -1
        self._deltas.clear()

    def _count(self, account: int, waiting: int, offered: int = 0) -> None:
        delta = self._deltas.get(account)
        if delta is None:
            self._deltas[account] = [waiting, offered]
        else:
            delta[0] += waiting
            if offered > delta[1]:
                delta[1] = offered

    # --- accept ---

    def accept(self, cursor: Cursor, posts: Sequence[Post]) -> list[list[Outcome]]:
        """Enter the drafts of all posts in their order; while there is no room, only look up the refs."""
        now = self._now()
        room = self._room(0) or self._room(_free_inside(cursor))
        self._tally.clear()
        outcomes = self._accept_together(cursor, posts, now) if room else None
        if outcomes is None:
            self._tally.clear()
            outcomes = [self._accept_slowly(cursor, post, now, room) for post in posts]
        live = self._live
        for post_outcomes in outcomes:
            for outcome in post_outcomes:
                if isinstance(outcome, Acceptance) and outcome.fresh:
                    account = outcome.mailbox
                    shown = live(account) or account in self._looking
                    self._count(account, 1, outcome.position if shown else 0)
        return outcomes

    def _accept_together(self, cursor: Cursor, posts: Sequence[Post], now: int) -> list[list[Outcome]] | None:
        """Enter all drafts as new ones; C{None}, and nothing is entered, if some ref is known already."""
        first_id, first_position = self._id, self._position
        rows: list[tuple[object, ...]] = []
        outcomes: list[list[Outcome]] = []
        for post in posts:
            alive = self._users.active(cursor, post.sender)
            outcomes.append(
                [
                    self._enter(cursor, post.sender, draft, now, rows) if alive else None
                    for draft in post.drafts
                ]
            )
        if rows:
            cursor.executemany(_INSERT_ALL, rows)
            if cursor.rowcount != len(rows):
                # The ids of those passed over would be gaps.
                cursor.execute("DELETE FROM ledger WHERE id > ?", (first_id,))
                self._id, self._position = first_id, first_position
                return None
        return outcomes

    def _enter(
        self, cursor: Cursor, sender: int, draft: Draft, now: int, rows: list[tuple[object, ...]]
    ) -> Acceptance:
        """Give the draft its id and its mailbox; the row is added to C{rows}."""
        mailbox, code = self._mailbox_of(cursor, sender, draft, now)
        if self._limit:
            self._tally[mailbox] = self._waiting(cursor, mailbox) + 1
        self._id += 1
        self._position += 1
        rows.append(
            (
                self._id,
                sender,
                mailbox,
                self._position,
                now,
                draft.receipt,
                draft.ref,
                None if draft.ref is None else _digest(draft),
                code,
                None if code is None else draft.addressee,
                draft.subject,
                draft.body,
            )
        )
        return Acceptance(self._id, now, State.WAITING, code, mailbox, self._position, True)

    def _mailbox_of(self, cursor: Cursor, sender: int, draft: Draft, now: int) -> tuple[int, str | None]:
        """Whose mailbox the draft goes to, and why it comes back if it is the sender's."""
        entry = None if draft.recipient is None else self._users.named(cursor, draft.recipient)
        if entry is None or entry.state == AccountState.JOINING:
            return sender, Code.UNKNOWN_RECIPIENT.value
        if entry.state == AccountState.ACTIVE:
            if self._limit and self._waiting(cursor, entry.id) >= self._limit:
                return sender, Code.MAILBOX_FULL.value
            return entry.id, None
        if entry.freed is None or now - entry.freed < self._reserved:
            return sender, Code.ACCOUNT_DELETED.value
        return sender, Code.UNKNOWN_RECIPIENT.value

    def _waiting(self, cursor: Cursor, account: int) -> int:
        """How many messages wait for the account, those just entered included."""
        tally = self._tally.get(account)
        return self.mailbox(cursor, account).waiting if tally is None else tally

    def _accept_slowly(self, cursor: Cursor, post: Post, now: int, room: bool) -> list[Outcome]:
        """One by one, looking for each ref first; without C{room}, nothing new is entered."""
        outcomes: list[Outcome] = []
        alive = self._users.active(cursor, post.sender)
        for draft in post.drafts:
            known = None
            if alive and draft.ref is not None:
                known = cursor.execute(
                    "SELECT id, time, state, code, recipient, position, digest FROM ledger"
                    " WHERE sender = ? AND ref = ?",
                    (post.sender, draft.ref),
                ).fetchone()
            if not alive:
                outcomes.append(None)
            elif known is None and not room:
                outcomes.append(storage_full(draft.ref))
            elif known is None:
                rows: list[tuple[object, ...]] = []
                outcomes.append(self._enter(cursor, post.sender, draft, now, rows))
                cursor.execute(_INSERT_ONE, rows[0])
            elif known[6] == _digest(draft):
                id, time, state, code, mailbox, position, _ = known
                outcomes.append(Acceptance(id, time, state, code, mailbox, position, False))
            else:
                reason = "This ref was used for another message. Give each message a ref of its own."
                outcomes.append(Refusal(Code.REF_REUSED, reason, ref=draft.ref))
        return outcomes

    # --- confirm, remove, recall ---

    def confirm(self, cursor: Cursor, receipts: Sequence[Receipt]) -> list[list[Confirmation]]:
        """Make what waits delivered."""
        now = self._now()
        asked = json.dumps([id for receipt in receipts for id in receipt.ids])
        rows = cursor.execute(
            "SELECT id, recipient, sender, receipt, code FROM ledger"
            " WHERE id IN (SELECT value FROM json_each(?)) AND state = 0",
            (asked,),
        ).fetchall()
        waiting = {row[0]: row for row in rows}
        confirmed: list[tuple[int, int]] = []
        results: list[list[Confirmation]] = []
        for account, ids in receipts:
            confirmations = []
            before = len(confirmed)
            for id in ids:
                row = waiting.get(id)
                if row is None or row[1] != account:
                    continue
                del waiting[id]  # named twice, it is confirmed once
                confirmed.append((now, id))
                if row[3] and row[4] is None:
                    confirmations.append(Confirmation(id, row[2]))
            if len(confirmed) > before:
                self._count(account, before - len(confirmed))
            results.append(confirmations)
        cursor.executemany("UPDATE ledger SET state = 1, settled = ? WHERE id = ?", confirmed)
        return results

    def remove(self, cursor: Cursor, receipt: Receipt) -> Removal:
        """Remove from the account's mailbox, or recall what it sent and still waits."""
        account, ids = receipt
        wanted = json.dumps(ids)
        now = self._now()
        own = cursor.execute(
            "SELECT id, sender, receipt, code, state FROM ledger"
            " WHERE id IN (SELECT value FROM json_each(?)) AND recipient = ? AND state < 2",
            (wanted, account),
        ).fetchall()
        waiting = [row for row in own if row[4] == State.WAITING]
        self._settle(cursor, State.REMOVED, now, [row[0] for row in own])
        self._count(account, -len(waiting))
        recalled = cursor.execute(
            "SELECT id, recipient FROM ledger WHERE id IN (SELECT value FROM json_each(?))"
            " AND sender = ? AND state = 0 AND code IS NULL",
            (wanted, account),
        ).fetchall()
        self._settle(cursor, State.RECALLED, now, [row[0] for row in recalled])
        for _, recipient in recalled:
            self._count(recipient, -1)
        gone = {row[0] for row in own} | {row[0] for row in recalled}
        asked = dict.fromkeys(ids)
        return Removal(
            ids=[id for id in asked if id in gone],
            missing=[id for id in asked if id not in gone],
            confirmations=[
                Confirmation(id, sender) for id, sender, receipt, code, _ in waiting if receipt and not code
            ],
        )

    def _settle(self, cursor: Cursor, state: State, now: int, ids: Sequence[int]) -> None:
        """These are out of every mailbox: their content goes."""
        cursor.executemany(
            "UPDATE ledger SET state = ?, settled = coalesce(settled, ?), subject = NULL, body = NULL"
            " WHERE id = ?",
            [(state, now, id) for id in ids],
        )

    # --- look ---

    def mailbox(self, cursor: Cursor, account: int) -> Mailbox:
        """What a login needs to know; it sees what this transaction has not written yet, too."""
        row = cursor.execute(
            "SELECT waiting, offered FROM mailboxes WHERE account = ?", (account,)
        ).fetchone()
        waiting, offered = row or (0, 0)
        delta = self._deltas.get(account, (0, 0))
        return Mailbox(waiting + delta[0], max(offered, delta[1], self._unnoted.get(account, 0)))

    def waiting(self, cursor: Cursor, page: tuple[int, int]) -> tuple[list[Letter], bool]:
        """The next page of waiting messages of an account behind a position; it counts as offered."""
        letters, more = self._page(cursor, page)
        if letters:
            self.offer(cursor, (page[0], letters[-1].position))
        return letters, more

    def waiting_unnoted(self, cursor: Cursor, page: tuple[int, int]) -> tuple[list[Letter], bool]:
        """L{waiting} without writing anything: that it was offered is remembered, to be noted later."""
        letters, more = self._page(cursor, page)
        if letters:
            self._unnoted[page[0]] = letters[-1].position
        return letters, more

    def offer(self, cursor: Cursor, offered: tuple[int, int]) -> None:
        """Note that an account may have been shown what is up to this position."""
        self._count(offered[0], 0, offered[1])

    def _page(self, cursor: Cursor, page: tuple[int, int]) -> tuple[list[Letter], bool]:
        account, after = page
        self._looking.add(account)
        rows = cursor.execute(
            _LETTER + "WHERE recipient = ? AND state = 0 AND position > ? ORDER BY position LIMIT ?",
            (account, after, PAGE_MESSAGES + 1),
        )
        letters: list[tuple[Any, ...]] = []
        size = 0
        more = False
        for row in rows:
            if size >= PAGE_BYTES or len(letters) == PAGE_MESSAGES:
                more = True
                break
            body: str = row[9]
            size += len(body) if body.isascii() else len(body.encode())
            letters.append(row)
        return [self._letter(cursor, account, row) for row in letters], more

    def listing(self, cursor: Cursor, page: Page) -> tuple[list[Line], bool]:
        """The entries of a box behind an id, and whether more follow."""
        where = "sender = ?" if page.sent else "recipient = ? AND state < 2"
        rows = cursor.execute(
            f"{_LINE} WHERE {where} AND id > ? ORDER BY id LIMIT ?",
            (page.account, page.after, page.limit + 1),
        )
        entries: list[tuple[Any, ...]] = []
        size = 0
        more = False
        for row in rows:
            if size >= PAGE_BYTES or len(entries) == page.limit:
                more = True
                break
            size += 2 * len(row[6] or "") + len(row[7] or "")  # addressee, subject
            entries.append(row)
        name = self._users.name
        lines = [
            Line(id, name(cursor, sender), name(cursor, recipient), *rest)
            for id, sender, recipient, *rest in entries
        ]
        return lines, more

    def read(self, cursor: Cursor, receipt: Receipt) -> list[Letter]:
        """Those of these messages that the account may read and that have content."""
        rows = cursor.execute(
            _LETTER + "WHERE id IN (SELECT value FROM json_each(?)) AND state < 2"
            " AND (recipient = ? OR sender = ?)",
            (json.dumps(receipt.ids), receipt.account, receipt.account),
        ).fetchall()
        return [self._letter(cursor, receipt.account, row) for row in rows]

    def _letter(self, cursor: Cursor, reader: int, row: Sequence[Any]) -> Letter:
        id, sender, recipient, *rest = row
        name = self._users.name
        return Letter._make((id, name(cursor, sender), name(cursor, recipient), *rest, recipient == reader))

    # --- return ---

    def turn_round(self, cursor: Cursor, account: Account) -> tuple[bool, set[int]]:
        """Return some of what waits for this leaving account; then, erase some of its mailbox.

        Whether anything is left, and whose mailboxes messages came back to.
        """
        now = self._now()
        found = cursor.execute(
            "SELECT id, sender, code, length(body) FROM ledger WHERE recipient = ? AND state = 0"
            " ORDER BY position LIMIT ?",
            (account.id, TURNED_AT_ONCE),
        )
        rows = _portion(found)
        back = [(id, sender, code, account.name) for id, sender, code, _ in rows]
        senders = self._send_back(cursor, back, Code.ACCOUNT_DELETED, now)
        self._count(account.id, -len(rows))
        if rows:
            return True, senders
        # Now everything that is left in the mailbox is delivered: nothing to search for.
        found = cursor.execute(
            "SELECT id, length(body) FROM ledger WHERE recipient = ? AND state < 2 ORDER BY id LIMIT ?",
            (account.id, TURNED_AT_ONCE),
        )
        erased = _portion(found)
        self._settle(cursor, State.REMOVED, now, [id for id, _ in erased])
        return bool(erased), senders

    def expire(self, cursor: Cursor, aged: Aged) -> Expiry:
        """Look at some waiting messages; those that have waited for too long turn round to their senders.

        What came back already never does again, and what somebody sent to themselves is with its sender.
        """
        rows = cursor.execute(
            "SELECT recipient, position, id, sender, code, time FROM ledger"
            " WHERE state = 0 AND (recipient, position) > (?, ?) ORDER BY recipient, position LIMIT ?",
            (*aged.after, AGED_AT_ONCE),
        ).fetchall()
        back: list[tuple[int, int, str | None, str]] = []
        for recipient, _, id, sender, code, time in rows:
            if code is None and sender != recipient and time < aged.before:
                back.append((id, sender, None, self._users.name(cursor, recipient)))
                self._count(recipient, -1)
        senders = self._send_back(cursor, back, Code.EXPIRED, self._now())
        return Expiry(rows[-1][:2] if len(rows) == AGED_AT_ONCE else None, senders)

    def _send_back(
        self, cursor: Cursor, messages: Sequence[tuple[int, int, str | None, str]], why: Code, now: int
    ) -> set[int]:
        """Return waiting messages to their senders; those who came back already, or have none, are dead.

        @param messages: of each its id, its sender, its code, and the name of the one it was meant for.
        @return: the senders whose mailboxes they came back to.
        """
        returned: list[tuple[object, ...]] = []
        dead: list[tuple[object, ...]] = []
        senders: set[int] = set()
        for id, sender, code, addressee in messages:
            if code is None and self._users.active(cursor, sender):
                self._position += 1
                returned.append((sender, self._position, why.value, addressee, id))
                senders.add(sender)
                self._count(sender, 1)
            else:
                dead.append((now, code or why.value, addressee, id))
        cursor.executemany(
            "UPDATE ledger SET recipient = ?, position = ?, code = ?, addressee = ? WHERE id = ?", returned
        )
        cursor.executemany(
            "UPDATE ledger SET recipient = sender, state = 4, settled = ?, code = ?,"
            " addressee = coalesce(addressee, ?) WHERE id = ?",
            dead,
        )
        return senders


def _portion(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those at the front that one transaction may write anew; the last column is the length of each."""
    portion: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += row[-1]
        if size >= TURNED_BYTES:
            break
    return portion


def _free_inside(cursor: Cursor) -> int:
    """The bytes of C{messages.db} that nothing is in: what was removed left them behind."""
    (pages,) = cursor.execute("PRAGMA main.freelist_count").fetchone()
    (size,) = cursor.execute("PRAGMA main.page_size").fetchone()
    return int(pages) * int(size)


def _digest(draft: Draft) -> bytes:
    """What tells a repetition from a reuse, long after the content has gone."""
    digest = blake2b(digest_size=8)
    for part in (draft.addressee, draft.subject, draft.body):
        text = b"" if part is None else part.encode()
        digest.update(b"%d:" % (-1 if part is None else len(text)))
        digest.update(text)
    return digest.digest()
