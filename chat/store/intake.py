"""C{messages.db}: how messages enter the ledger. Runs in the database thread."""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Sequence

from msgspec import Struct

from chat.errors import Code, Refusal, automatic_loop, storage_full
from chat.ledger import AUTOMATIC, Acceptance, AccountState, Draft
from chat.ports import Outcome
from chat.store.blocks import blocks
from chat.store.books import Books
from chat.store.commit import Cursor
from chat.store.digest import contents_digest
from chat.store.fates import RETURNED, WAITING
from chat.store.stretches import INBOX, SENT
from chat.store.users import Users

_INSERT = (
    " INTO ledger (id, sender, recipient, position, time, settled, state, options, body, ref,"
    " code, addressee, subject) VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, ?6, ?7, "
)
#: Of most messages, nothing else is to be said than their ref.
_PLAIN = f"{_INSERT}?8, NULL, NULL, NULL)"
#: What is absent is given as 0, which no text is equal to: for each None, and each bool, Python's sqlite3
#: looks for an adapter first, and that takes longer than to bind all the rest of the row.
_OTHER = f"{_INSERT}nullif(?8, 0), nullif(?9, 0), nullif(?10, 0), nullif(?11, 0))"
#: The statements for the two kinds of rows: one whose ref is known is an error, or is left out.
_ALL = (f"INSERT{_PLAIN}", f"INSERT{_OTHER}")
_UNKNOWN = (f"INSERT OR IGNORE{_PLAIN}", f"INSERT OR IGNORE{_OTHER}")

#: What is inserted for one draft, as in L{_INSERT}.
Row = tuple[Any, ...]


class Post(Struct, frozen=True, gc=False):
    """The drafts of one sender."""

    sender: int
    drafts: Sequence[Draft]


class Rows(Struct):
    """What is inserted for some drafts."""

    plain: list[Row] = []
    other: list[Row] = []

    def insert(self, cursor: Cursor, statements: tuple[str, str]) -> bool:
        """Insert them by L{_ALL} or L{_UNKNOWN}; whether none was left out."""
        inserted = 0
        for statement, rows in zip(statements, (self.plain, self.other)):
            if rows:
                cursor.executemany(statement, rows)
                inserted += cursor.rowcount
        return inserted == len(self.plain) + len(self.other)

    def add(self, rows: Rows) -> None:
        """Those, too."""
        self.plain += rows.plain
        self.other += rows.other

    def in_order(self) -> list[Row]:
        """All of them in the order of their ids."""
        return sorted(self.plain + self.other) if self.other else self.plain


class Intake:
    """Accepts messages: each goes to a mailbox, its recipient's or back to its sender's."""

    def __init__(
        self,
        users: Users,
        books: Books,
        now: Callable[[], int],
        live: Callable[[int], bool],
        reserved: int,
        room: Callable[[int], bool],
        limit: int = 0,
    ) -> None:
        """Accept messages, and keep the books.

        @param now: the time in milliseconds since 1970-01-01 UTC.
        @param live: whether the account is shown a message the moment it is committed.
        @param reserved: for how many milliseconds the name of a deleted account is known as such.
        @param room: whether there is room on the disk for new messages, so many bytes being free
            inside the file.
        @param limit: how many messages may wait in a mailbox before new ones come back; 0: any number.
        """
        self._users = users
        self._books = books
        self._now = now
        self._live = live
        self._reserved = reserved
        self._room = room
        self._limit = limit
        self._homes: dict[str | None, int] = {}  # in this transaction: who takes anything from anybody
        self._tally: dict[int, int] = {}  # how many wait, with those entered and not counted yet

    def accept(self, cursor: Cursor, posts: Sequence[Post]) -> list[list[Outcome]]:
        """Enter the drafts of all posts in their order; while there is no room, only look up the refs."""
        now = self._now()
        room = self._room(0) or self._room(_free_inside(cursor))
        self._tally.clear()
        self._homes.clear()
        self._users.meet(cursor, lambda: (draft.recipient for post in posts for draft in post.drafts))
        rows = Rows()
        outcomes = self._accept_together(cursor, posts, now, rows) if room else None
        if outcomes is None:
            self._tally.clear()
            rows = Rows()
            outcomes = [self._accept_slowly(cursor, post, now, room, rows) for post in posts]
        if entered := rows.in_order():
            self._note(cursor, entered, len(rows.plain))
        return outcomes

    def _accept_together(
        self, cursor: Cursor, posts: Sequence[Post], now: int, rows: Rows
    ) -> list[list[Outcome]] | None:
        """Enter all drafts as new ones; C{None}, and nothing is entered, if some ref is known already."""
        first_id, first_position = self._books.id, self._books.position
        outcomes = self._enter(cursor, posts, now, rows)
        if not rows.insert(cursor, _UNKNOWN):
            # The ids of those passed over would be gaps.
            cursor.execute("DELETE FROM ledger WHERE id > ?", (first_id,))
            self._books.id, self._books.position = first_id, first_position
            return None
        return outcomes

    def _enter(self, cursor: Cursor, posts: Sequence[Post], now: int, rows: Rows) -> list[list[Outcome]]:
        """Give each draft its id and its mailbox; the rows to insert are added to C{rows}."""
        homes = self._homes
        plain = rows.plain
        id, position = self._books.id, self._books.position
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
                row = (
                    id,
                    sender,
                    mailbox,
                    position,
                    now,
                    draft.options,
                    draft.body,
                    0 if ref is None else ref,
                )
                if code is None and subject is None and ref is not None:
                    plain.append(row)
                else:
                    texts = (code, addressee, subject)
                    rows.other.append(row + tuple([0 if text is None else text for text in texts]))
            results.append(outcomes)
        self._books.id, self._books.position = id, position
        return results

    def _note(self, cursor: Cursor, rows: Sequence[Row], plain: int) -> None:
        """These were entered: count them where they wait, and note where they are found.

        @param plain: how many of them are of the plain kind.
        """
        new = plain
        if plain < len(rows):
            new += [row[8] for row in rows if len(row) > 8].count(0)  # without a code
        self._books.fates.accepted(WAITING, new)
        if new < len(rows):
            self._books.fates.accepted(RETURNED, len(rows) - new)
        mailboxes = [row[2] for row in rows]
        newest = dict(zip(mailboxes, [row[3] for row in rows]))
        for account, number in Counter(mailboxes).items():
            shown = self._live(account) or account in self._books.looking
            self._books.count(account, number, newest[account] if shown else 0)
        ids = [row[0] for row in rows]
        self._books.stretches.note(cursor, INBOX, mailboxes, ids)
        self._books.stretches.note(cursor, SENT, [row[1] for row in rows], ids)

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
        if self._users.holds(entry, now, self._reserved):
            return sender, Code.ACCOUNT_DELETED.value
        return sender, Code.UNKNOWN_RECIPIENT.value

    def _waiting(self, cursor: Cursor, account: int) -> int:
        """How many messages wait for the account, those just entered included."""
        tally = self._tally.get(account)
        return self._books.mailbox(cursor, account).waiting if tally is None else tally

    def _accept_slowly(self, cursor: Cursor, post: Post, now: int, room: bool, rows: Rows) -> list[Outcome]:
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
                entered = Rows()
                outcomes += self._enter(cursor, [Post(post.sender, (draft,))], now, entered)[0]
                entered.insert(cursor, _ALL)
                rows.add(entered)
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
