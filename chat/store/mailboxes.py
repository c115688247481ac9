"""C{messages.db}: what accounts see of their mailboxes. Runs in the database thread."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Sequence

from chat.ledger import AUTOMATIC, Letter, Line
from chat.store.books import Books
from chat.store.commit import Cursor
from chat.store.settlement import Receipt
from chat.store.stretches import INBOX, SENT, ahead, behind, look, look_back
from chat.store.users import Users

#: A page of waiting messages ends behind the message that fills it.
PAGE_BYTES = 256 * 1024
PAGE_MESSAGES = 512
#: A page of a box ends, if there is anything on it, when so many stretches were looked through.
LOOKED_THROUGH = 25
#: Higher than any id.
_ABOVE_ALL = 2**63 - 1

_LETTER = (
    "SELECT id, sender, recipient, position, time, state, code, addressee, subject, body, options"
    " FROM ledger "
)
_LINE = "id, sender, recipient, time, state, code, addressee, subject"


class Page(NamedTuple):
    """Which part of a box is wanted.

    @ivar before: C{None}: what is behind C{after}, in its order; or else what is before this, the last first.
    """

    account: int
    sent: bool
    after: int
    limit: int
    before: int | None = None


class Mailboxes:
    """Shows what is in the mailboxes, in pages."""

    def __init__(self, users: Users, books: Books) -> None:
        """Show them, and note in the books what was offered."""
        self._users = users
        self._books = books

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
            unnoted = self._books.unnoted
            unnoted[page[0]] = max(unnoted.get(page[0], 0), letters[-1].position)
        return letters, more

    def offer(self, cursor: Cursor, offered: tuple[int, int]) -> None:
        """Note that an account may have been shown what is up to this position."""
        self._books.count(offered[0], 0, offered[1])

    def _page(self, cursor: Cursor, page: tuple[int, int]) -> tuple[list[Letter], bool]:
        account, after = page
        self._books.looking.add(account)
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
