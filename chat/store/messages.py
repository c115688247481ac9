"""C{messages.db}: statements on the ledger and the mailboxes. Runs in the database thread.

Everything that changes a message is here, and each change keeps the books: the
counters and the mailboxes' counts are written at the end of the transaction.
"""

from __future__ import annotations

import json
from collections import Counter
from hashlib import blake2b
from itertools import chain, islice
from typing import Any, Callable, Iterable, NamedTuple, Sequence

from msgspec import Struct

from chat.errors import Code, Refusal, automatic_loop, storage_full
from chat.ledger import (
    AUTOMATIC,
    RECEIPT,
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
from chat.store.blocks import blocks
from chat.store.commit import Cursor
from chat.store.fates import DEAD, DELIVERED, RECALLED, REMOVED, RETURNED, WAITING, Fates
from chat.store.stretches import INBOX, SENT, Stretches, ahead, behind, look, look_back
from chat.store.users import Users
from chat.store.volumes import Volumes

#: A page of waiting messages ends behind the message that fills it.
PAGE_BYTES = 256 * 1024
PAGE_MESSAGES = 512
#: A page of a box ends, if there is anything on it, when so many stretches were looked through.
LOOKED_THROUGH = 25
#: Higher than any id.
_ABOVE_ALL = 2**63 - 1
#: How many messages of a leaving account one transaction turns round.
TURNED_AT_ONCE = 1000
#: It turns no more once it has so many bytes: on a full disk it has only the reserve to write to.
TURNED_BYTES = 1024 * 1024
#: How many waiting messages one transaction looks at to find those that have waited for too long.
AGED_AT_ONCE = 500

_LETTER = (
    "SELECT id, sender, recipient, position, time, state, code, addressee, subject, body, options"
    " FROM ledger "
)
_LINE = "id, sender, recipient, time, state, code, addressee, subject"
#: What is absent is given as 0, which no text is equal to: for each None, and each bool, Python's sqlite3
#: looks for an adapter first, and that takes longer than to bind all the rest of the row.
_INSERT = (
    "INSERT{} INTO ledger (id, sender, recipient, position, time, settled, state, options, ref, code,"
    " addressee, subject, body) VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, ?6, nullif(?7, 0), nullif(?8, 0),"
    " nullif(?9, 0), nullif(?10, 0), ?11)"
)
_INSERT_ALL = _INSERT.format(" OR IGNORE")
_INSERT_ONE = _INSERT.format("")
#: One look at each row: whose receipt it is, whether it is the first, and whether anybody is to be told;
#: and, of one that came back, that it is no delivery.
_CONFIRM = (
    "UPDATE ledger SET state = 1,"
    " settled = CASE WHEN code IS NOT NULL THEN collected(?1)"
    " WHEN options & 1 THEN confirmed(id, sender, ?1) ELSE ?1 END"
    " WHERE id = ?2 AND recipient = ?3 AND state = 0"
)


#: What is inserted for one draft, as in L{_INSERT}.
Row = tuple[Any, ...]


class Post(Struct, frozen=True, gc=False):
    """The drafts of one sender."""

    sender: int
    drafts: Sequence[Draft]


class Receipt(Struct, frozen=True, gc=False):
    """The ids that one account confirms."""

    account: int
    ids: Sequence[int]


class Page(NamedTuple):
    """Which part of a box is wanted.

    @ivar before: C{None}: what is behind C{after}, in its order; or else what is before this, the last first.
    """

    account: int
    sent: bool
    after: int
    limit: int
    before: int | None = None


class Aged(NamedTuple):
    """Which of the waiting messages are to be looked at, and since when one must have waited to expire.

    @ivar after: the mailbox and the position behind which to go on.
    """

    after: tuple[int, int]
    before: int


class Back(NamedTuple):
    """A waiting message that turns round.

    @ivar code: why it came back before, if it did.
    @ivar account: in whose mailbox it is, under the name C{addressee}.
    """

    id: int
    sender: int
    code: str | None
    account: int
    addressee: str


class Expiry(NamedTuple):
    """What a look at waiting messages has done.

    @ivar after: where the next one begins; C{None}: that was all.
    @ivar senders: to whose mailboxes messages came back.
    """

    after: tuple[int, int] | None
    senders: set[int]


class Messages:
    """The ledger and the mailboxes.

    @ivar stretches: where in the ledger the messages of each box are.
    @ivar volumes: which words are in which messages.
    @ivar fates: how many messages met each fate.
    """

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
        self.stretches = Stretches()
        self.volumes = Volumes(users, now)
        self.fates = Fates()
        self._homes: dict[str | None, int] = {}  # in this transaction: who takes anything from anybody
        self._tally: dict[int, int] = {}  # how many wait, with those entered and not counted yet
        self._id = -1  # the last one given out; -1: to be read from the file
        self._position = -1
        self._written = (-1, -1)
        self._deltas: dict[int, list[int]] = {}  # account -> [change of waiting, highest offered]
        self._unnoted: dict[int, int] = {}  # account -> offered up to, where there was no room to note it
        self._looking: set[int] = set()  # whose sessions may be live when they hear of this transaction
        self._confirmations: list[Confirmation] = []  # of the receipt that is being written
        self._collected = 0  # how many of those confirmed had come back
        self._heard: object = None  # the connection that tells of them

    # --- every transaction ---

    def begin(self, cursor: Cursor) -> None:
        """A transaction begins."""
        self.fates.begin()
        self._looking.clear()
        if self._heard is not cursor.connection:
            self._heard = cursor.connection
            cursor.connection.create_function("confirmed", 3, self._confirmed)
            cursor.connection.create_function("collected", 1, self._collect)
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
        self.stretches.forget()
        self.volumes.forget()
        self.fates.forget()

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
        self._homes.clear()
        rows: list[Row] = []
        outcomes = self._accept_together(cursor, posts, now, rows) if room else None
        if outcomes is None:
            self._tally.clear()
            rows.clear()
            outcomes = [self._accept_slowly(cursor, post, now, room, rows) for post in posts]
        if rows:
            self._note(cursor, rows)
        return outcomes

    def _accept_together(
        self, cursor: Cursor, posts: Sequence[Post], now: int, rows: list[Row]
    ) -> list[list[Outcome]] | None:
        """Enter all drafts as new ones; C{None}, and nothing is entered, if some ref is known already."""
        first_id, first_position = self._id, self._position
        outcomes = self._enter(cursor, posts, now, rows)
        if rows:
            cursor.executemany(_INSERT_ALL, rows)
            if cursor.rowcount != len(rows):
                # The ids of those passed over would be gaps.
                cursor.execute("DELETE FROM ledger WHERE id > ?", (first_id,))
                self._id, self._position = first_id, first_position
                return None
        return outcomes

    def _enter(self, cursor: Cursor, posts: Sequence[Post], now: int, rows: list[Row]) -> list[list[Outcome]]:
        """Give each draft its id and its mailbox; the rows to insert are added to C{rows}."""
        homes = self._homes
        id, position = self._id, self._position
        results: list[list[Outcome]] = []
        for post in posts:
            sender = post.sender
            if not self._users.active(cursor, sender):
                results.append([None] * len(post.drafts))
                continue
            outcomes: list[Outcome] = []
            for draft in post.drafts:
                if draft.answers and _unanswerable(cursor, sender, draft.answers):
                    outcomes.append(automatic_loop(draft.ref))
                    continue
                id += 1
                position += 1
                mailbox = homes.get(draft.recipient)
                code = addressee = None
                if mailbox is None:
                    mailbox, code = self._mailbox_of(cursor, sender, draft, now)
                    if self._limit:
                        self._tally[mailbox] = self._waiting(cursor, mailbox) + 1
                    if code is not None:
                        addressee = draft.addressee
                outcomes.append(Acceptance(id, now, 0, code, mailbox, position, True))
                ref, subject = draft.ref, draft.subject
                rows.append(
                    (
                        id,
                        sender,
                        mailbox,
                        position,
                        now,
                        draft.options,
                        0 if ref is None else ref,
                        0 if code is None else code,
                        0 if addressee is None else addressee,
                        0 if subject is None else subject,
                        draft.body,
                    )
                )
            results.append(outcomes)
        self._id, self._position = id, position
        return results

    def _note(self, cursor: Cursor, rows: Sequence[Row]) -> None:
        """These were entered: count them where they wait, and note where they are found."""
        new = [row[7] for row in rows].count(0)  # without a code
        self.fates.accepted(WAITING, new)
        if new < len(rows):
            self.fates.accepted(RETURNED, len(rows) - new)
        mailboxes = [row[2] for row in rows]
        newest = dict(zip(mailboxes, [row[3] for row in rows]))
        for account, number in Counter(mailboxes).items():
            shown = self._live(account) or account in self._looking
            self._count(account, number, newest[account] if shown else 0)
        ids = [row[0] for row in rows]
        self.stretches.note(cursor, INBOX, mailboxes, ids)
        self.stretches.note(cursor, SENT, [row[1] for row in rows], ids)

    def _mailbox_of(self, cursor: Cursor, sender: int, draft: Draft, now: int) -> tuple[int, str | None]:
        """Whose mailbox the draft goes to, and why it comes back if it is the sender's."""
        entry = None if draft.recipient is None else self._users.named(cursor, draft.recipient)
        if entry is None or entry.state == AccountState.JOINING:
            return sender, Code.UNKNOWN_RECIPIENT.value
        if entry.state == AccountState.ACTIVE:
            if not (entry.blocks or self._limit):
                self._homes[draft.recipient] = entry.id
            elif entry.blocks and blocks(cursor, entry.id, sender):
                return sender, Code.BLOCKED.value
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

    def _accept_slowly(
        self, cursor: Cursor, post: Post, now: int, room: bool, rows: list[Row]
    ) -> list[Outcome]:
        """One by one, looking for each ref first; without C{room}, nothing new is entered."""
        outcomes: list[Outcome] = []
        alive = self._users.active(cursor, post.sender)
        for draft in post.drafts:
            known = None
            if alive and draft.ref is not None:
                known = cursor.execute(
                    "SELECT id, time, state, code, recipient, position, digest, addressee, subject, body"
                    " FROM ledger WHERE sender = ? AND ref = ?",
                    (post.sender, draft.ref),
                ).fetchone()
            if not alive:
                outcomes.append(None)
            elif known is None and not room:
                outcomes.append(storage_full(draft.ref))
            elif known is None:
                before = len(rows)
                outcomes += self._enter(cursor, [Post(post.sender, (draft,))], now, rows)[0]
                if len(rows) > before:
                    cursor.execute(_INSERT_ONE, rows[-1])
            elif self._is_repeated(cursor, draft, *known[4:5], *known[6:]):
                id, time, state, code, mailbox, position, *_ = known
                outcomes.append(Acceptance(id, time, state, code, mailbox, position, False))
            else:
                reason = "This ref was used for another message. Give each message a ref of its own."
                outcomes.append(Refusal(Code.REF_REUSED, reason, ref=draft.ref))
        return outcomes

    def _is_repeated(
        self,
        cursor: Cursor,
        draft: Draft,
        mailbox: int,
        digest: bytes | None,
        addressee: str | None,
        subject: str | None,
        body: str | None,
    ) -> bool:
        """Whether a known message has the contents of the draft."""
        if digest is not None:
            return digest == contents_digest(draft.addressee, draft.subject, draft.body)
        if addressee is None:
            addressee = self._users.name(cursor, mailbox)
        return (addressee, subject, body) == (draft.addressee, draft.subject, draft.body)

    # --- confirm, remove, recall ---

    def confirm(self, cursor: Cursor, receipts: Sequence[Receipt]) -> list[list[Confirmation]]:
        """Make what waits delivered."""
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
                self._count(account, -changed)
            results.append(confirmations)
        if settled:
            self.fates.turned(WAITING, DELIVERED, settled - self._collected)
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
                self.fates.turned(WAITING if state == State.WAITING else DELIVERED, REMOVED)
        self._settle(cursor, State.REMOVED, now, [(row[0], account) for row in own])
        self._count(account, -len(waiting))
        recalled = cursor.execute(
            "SELECT id, recipient FROM ledger WHERE id IN (SELECT value FROM json_each(?))"
            " AND sender = ? AND state = 0 AND code IS NULL",
            (wanted, account),
        ).fetchall()
        self.fates.turned(WAITING, RECALLED, len(recalled))
        self._settle(cursor, State.RECALLED, now, recalled)
        for _, recipient in recalled:
            self._count(recipient, -1)
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

    def _settle(self, cursor: Cursor, state: State, now: int, messages: Sequence[tuple[int, int]]) -> None:
        """These are out of every mailbox: their content goes.

        @param messages: of each its id, and whose mailbox it was in.
        """
        self.volumes.leave(cursor, [id for id, _ in messages])
        cursor.executemany(
            "UPDATE ledger SET state = ?, settled = iif(state = 0, ?, settled), subject = NULL, body = NULL,"
            " digest = iif(ref IS NULL, NULL, coalesce(digest, contents_digest(coalesce(addressee,"
            " (SELECT name FROM users.accounts AS a WHERE a.id = recipient)), subject, body)))"
            " WHERE id = ?",
            [(state, now, id) for id, _ in messages],
        )
        self.stretches.leave(cursor, INBOX, [account for _, account in messages], [id for id, _ in messages])

    # --- look ---

    def mailbox(self, cursor: Cursor, account: int) -> Mailbox:
        """What a login needs to know; it sees what this transaction has not written yet, too."""
        row = cursor.execute(
            "SELECT waiting, offered FROM mailboxes WHERE account = ?", (account,)
        ).fetchone()
        waiting, offered = row or (0, 0)
        delta = self._deltas.get(account, (0, 0))
        return Mailbox(waiting + delta[0], max(offered, delta[1], self._unnoted.get(account, 0)))

    def position(self, cursor: Cursor, place: tuple[int, int]) -> int:
        """Where in an account's mailbox a message is or was; 0: it never was there, for all that is known."""
        found = cursor.execute("SELECT position FROM ledger WHERE recipient = ? AND id = ?", place).fetchone()
        return int(found[0]) if found else 0

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
        """The entries of a box behind an id, or before one, and whether more follow."""
        entries: list[tuple[Any, ...]] = []
        more = self._list(cursor, page, entries)
        name = self._users.name
        lines = [
            Line(id, name(cursor, sender), name(cursor, recipient), *rest)
            for id, sender, recipient, *rest in entries
        ]
        return lines, more

    @staticmethod
    def _list(cursor: Cursor, page: Page, entries: list[tuple[Any, ...]]) -> bool:
        box = SENT if page.sent else INBOX
        size = 0
        # In the first one there may be nothing that is wanted: it does not count, and one more tells of more.
        most = LOOKED_THROUGH + 2
        back = page.before is not None
        edge = (page.before or _ABOVE_ALL) if back else page.after
        stretches = (ahead if back else behind)(cursor, page.account, box, edge, most)
        for looked, stretch in enumerate(stretches):
            if entries and looked >= LOOKED_THROUGH:
                return True
            for row in (look_back if back else look)(cursor, _LINE, page.account, box, stretch, edge):
                if size >= PAGE_BYTES or len(entries) == page.limit:
                    return True
                size += 2 * len(row[6] or "") + len(row[7] or "")  # addressee, subject
                entries.append(row)
        return False

    def read(self, cursor: Cursor, receipt: Receipt) -> list[Letter]:
        """Those of these messages that the account may read and that have content."""
        rows = cursor.execute(
            _LETTER + "WHERE id IN (SELECT value FROM json_each(?)) AND state < 2"
            " AND (recipient = ? OR sender = ?)",
            (json.dumps(receipt.ids), receipt.account, receipt.account),
        ).fetchall()
        return [self._letter(cursor, receipt.account, row) for row in rows]

    def _letter(self, cursor: Cursor, reader: int, row: Sequence[Any]) -> Letter:
        id, sender, recipient, position, time, state, code, addressee, subject, body, options = row
        return Letter(
            id,
            self._users.name(cursor, sender),
            self._users.name(cursor, recipient),
            position,
            time,
            state,
            code,
            addressee,
            subject,
            body,
            bool(options & AUTOMATIC),
            recipient == reader,
        )

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
        rows: Sequence[tuple[Any, ...]] = _portion(found)
        back = [Back(id, sender, code, account.id, account.name) for id, sender, code, _ in rows]
        senders = self._send_back(cursor, back, Code.ACCOUNT_DELETED, now)
        self._count(account.id, -len(rows))
        if rows:
            return True, senders
        # Now everything that is left in the mailbox is delivered: nothing to search for.
        delivered = chain.from_iterable(
            look(cursor, "id, code, length(body)", account.id, INBOX, stretch, 0)
            for stretch in behind(cursor, account.id, INBOX, 0, TURNED_AT_ONCE)
        )
        erased = _portion(islice(delivered, TURNED_AT_ONCE))
        self.fates.turned(DELIVERED, REMOVED, [code for _, code, _ in erased].count(None))
        self._settle(cursor, State.REMOVED, now, [(id, account.id) for id, *_ in erased])
        return bool(erased), senders

    def expire(self, cursor: Cursor, aged: Aged) -> Expiry:
        """Look at some waiting messages; those that have waited for too long turn round to their senders.

        What came back already never does again, and what somebody sent to themselves is with its sender.
        """
        found = cursor.execute(
            "SELECT recipient, position, id, sender,"
            " CASE WHEN code IS NULL AND sender <> recipient AND time < ? THEN length(body) END"
            " FROM ledger WHERE state = 0 AND (recipient, position) > (?, ?)"
            " ORDER BY recipient, position LIMIT ?",
            (aged.before, *aged.after, AGED_AT_ONCE),
        )
        rows = _portion(found)
        more = len(rows) == AGED_AT_ONCE or found.fetchone() is not None
        back: list[Back] = []
        for recipient, _, id, sender, length in rows:
            if length is not None:
                back.append(Back(id, sender, None, recipient, self._users.name(cursor, recipient)))
                self._count(recipient, -1)
        senders = self._send_back(cursor, back, Code.EXPIRED, self._now())
        return Expiry(rows[-1][:2] if more else None, senders)

    def _send_back(self, cursor: Cursor, messages: Sequence[Back], why: Code, now: int) -> set[int]:
        """Return waiting messages to their senders; those who came back already, or have none, are dead.

        @return: the senders whose mailboxes they came back to.
        """
        returned: list[tuple[int, int, str, str, int]] = []
        dead: list[tuple[object, ...]] = []
        senders: set[int] = set()
        for id, sender, code, _, addressee in messages:
            if code is None and self._users.active(cursor, sender):
                self._position += 1
                returned.append((sender, self._position, why.value, addressee, id))
                senders.add(sender)
                self._count(sender, 1)
            else:
                self.fates.turned(WAITING if code is None else RETURNED, DEAD)
                dead.append((now, code or why.value, addressee, id))
        self.fates.turned(WAITING, RETURNED, len(returned))
        self.volumes.leave(cursor, [each.id for each in messages])
        cursor.executemany(
            "UPDATE ledger SET recipient = ?, position = ?, code = ?, addressee = ? WHERE id = ?", returned
        )
        cursor.executemany(
            "UPDATE ledger SET recipient = sender, state = 4, settled = ?, code = ?,"
            " addressee = coalesce(addressee, ?) WHERE id = ?",
            dead,
        )
        self.stretches.leave(
            cursor, INBOX, [each.account for each in messages], [each.id for each in messages]
        )
        self.stretches.note(cursor, INBOX, [row[0] for row in returned], [row[4] for row in returned])
        self.volumes.enter(cursor, [row[4] for row in returned])
        return senders


def _portion(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those at the front that one transaction may write anew.

    The last column is the length of each; C{None}: it is only looked at.
    """
    portion: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += row[-1] or 0
        if size >= TURNED_BYTES:
            break
    return portion


def _free_inside(cursor: Cursor) -> int:
    """The bytes of C{messages.db} that nothing is in: what was removed left them behind."""
    (pages,) = cursor.execute("PRAGMA main.freelist_count").fetchone()
    (size,) = cursor.execute("PRAGMA main.page_size").fetchone()
    return int(pages) * int(size)


def _unanswerable(cursor: Cursor, account: int, id: int) -> bool:
    """Whether a message in the account's mailbox is one that no program is to answer."""
    row = cursor.execute(
        "SELECT options, code FROM ledger WHERE id = ? AND recipient = ?", (id, account)
    ).fetchone()
    return row is not None and (row[1] is not None or row[0] >= AUTOMATIC)


def contents_digest(addressee: str, subject: str | None, body: str) -> bytes:
    """What tells a repetition from a reuse of a ref, once the content has gone."""
    digest = blake2b(digest_size=8)
    for part in (addressee, subject, body):
        text = b"" if part is None else part.encode()
        digest.update(b"%d:" % (-1 if part is None else len(text)))
        digest.update(text)
    return digest.digest()
