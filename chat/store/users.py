"""C{users.db}: statements, and what is remembered of them. Runs in the database thread."""

from __future__ import annotations

import json
from typing import Callable, Iterable

from msgspec import Struct

from chat.ledger import Account, AccountState
from chat.store import invitations, skeletons
from chat.store.commit import Cursor

#: How many names and ids are remembered; more are looked up again. A name takes some 200 bytes, and to look
#: it up a third as long as to accept a message.
NAMES = 100_000
IDS = 20_000
#: As long as no more names have to be looked up for what is written together, each is looked up alone.
FEW = 16


_ENTRY = (
    "SELECT id, name, state, freed, EXISTS (SELECT 1 FROM users.blocks WHERE account = accounts.id)"
    " FROM users.accounts "
)


class Entry(Struct, frozen=True, gc=False):
    """An account as it stands, or the last one that had the name.

    @ivar blocks: whether there is anybody it does not want to hear from, see L{chat.store.blocks}.
    """

    id: int
    name: str
    state: int
    freed: int | None
    blocks: bool


class Users:
    """Who has an account, and who had one."""

    def __init__(self) -> None:
        self._by_name: dict[str, Entry | None] = {}
        self._by_id: dict[int, Entry] = {}
        self._version = -1
        self._strangers = 0  # how many names had to be looked up since the last call of meet

    def begin(self, cursor: Cursor) -> None:
        """A transaction begins: was the file changed by another program?"""
        (version,) = cursor.execute("PRAGMA users.data_version").fetchone()
        if version != self._version:
            self._version = version
            self.forget()

    def forget(self) -> None:
        """What was remembered may not be true any more."""
        self._by_name.clear()
        self._by_id.clear()

    def forget_one(self, cursor: Cursor, id: int) -> None:
        """The same of one account."""
        for (name,) in cursor.execute("SELECT name FROM users.accounts WHERE id = ?", (id,)):
            self._by_name.pop(name, None)
        self._by_id.pop(id, None)

    def named(self, cursor: Cursor, name: str) -> Entry | None:
        """The account of this prepared name, or the last one that had it."""
        try:
            return self._by_name[name]
        except KeyError:
            pass
        row = cursor.execute(
            f"{_ENTRY} WHERE name = ? AND state <> 2"
            f" UNION ALL SELECT * FROM ({_ENTRY} WHERE name = ? AND state = 2 ORDER BY id DESC LIMIT 1)",
            (name, name),
        ).fetchone()
        entry = None if row is None else Entry(*row)
        if len(self._by_name) >= NAMES:
            self._by_name.clear()
        self._by_name[name] = entry
        self._strangers += 1
        return entry

    def meet(self, cursor: Cursor, names: Callable[[], Iterable[str | None]]) -> None:
        """These names are asked for next: where many had to be looked up last time, do it for all at once.

        @param names: tells them; C{None} is none.
        """
        if self._strangers > FEW:
            unknown = {name for name in names() if name is not None and name not in self._by_name}
            found = cursor.execute(
                f"{_ENTRY} WHERE name IN (SELECT value FROM json_each(?)) AND state <> 2",
                (json.dumps(list(unknown)),),
            )
            entries = {row[1]: Entry(*row) for row in found}
            if len(self._by_name) + len(entries) > NAMES:
                self._by_name.clear()
            self._by_name |= entries
            self._strangers = len(unknown)
        else:
            self._strangers = 0

    def numbered(self, cursor: Cursor, id: int) -> Entry | None:
        """The account of this id, whatever its state."""
        entry = self._by_id.get(id)
        if entry is None:
            row = cursor.execute(f"{_ENTRY} WHERE id = ?", (id,)).fetchone()
            if row is None:
                return None
            entry = Entry(*row)
            if len(self._by_id) >= IDS:
                self._by_id.clear()
            self._by_id[id] = entry
        return entry

    def name(self, cursor: Cursor, id: int) -> str:
        """How the account of this id is, or was, called."""
        entry = self.numbered(cursor, id)
        return "" if entry is None else entry.name

    def active(self, cursor: Cursor, id: int) -> bool:
        """Whether the account of this id exists."""
        entry = self.numbered(cursor, id)
        return entry is not None and entry.state == AccountState.ACTIVE

    @staticmethod
    def holds(entry: Entry, now: int, reserved: int) -> bool:
        """Whether the name still belongs to this account; a deleted one keeps it for C{reserved} ms."""
        return entry.freed is None or now - entry.freed < reserved

    def alike(self, cursor: Cursor, name: str, now: int, reserved: int) -> bool:
        """Whether a name that looks like this one, but is another, belongs to somebody; see L{holds}."""
        entries = (self.numbered(cursor, id) for id in skeletons.alike(cursor, name))
        return any(entry is not None and self.holds(entry, now, reserved) for entry in entries)

    def join(self, cursor: Cursor, name: str, now: int) -> Account:
        """Begin an account under this name, which must be free. Nobody sees it yet."""
        cursor.execute("INSERT INTO users.accounts (name, state, created) VALUES (?, 3, ?)", (name, now))
        id = cursor.lastrowid
        assert id is not None
        skeletons.note(cursor, id, name)
        self.forget_one(cursor, id)
        return Account(id, name)

    def activate(self, cursor: Cursor, id: int, invitation: bytes | None, now: int) -> bool:
        """The joining account exists from now on, unless its invitation is not good any more."""
        if invitation is not None and not invitations.use(cursor, invitation, now):
            return False
        cursor.execute("UPDATE users.accounts SET state = 0 WHERE id = ? AND state = 3", (id,))
        self.forget_one(cursor, id)
        return True

    def abandon(self, cursor: Cursor, id: int) -> None:
        """The joining account is not to be."""
        self.forget_one(cursor, id)
        cursor.execute("DELETE FROM users.accounts WHERE id = ? AND state = 3", (id,))
        if cursor.rowcount:
            skeletons.forget(cursor, id)

    def leave(self, cursor: Cursor, id: int) -> bool:
        """Mark the account as leaving; whether it was active."""
        cursor.execute("UPDATE users.accounts SET state = 1 WHERE id = ? AND state = 0", (id,))
        left = cursor.rowcount == 1
        self.forget_one(cursor, id)
        return left

    def unfinished(self, cursor: Cursor) -> tuple[list[Account], list[Account]]:
        """The accounts that were leaving, and those that were joining, when the server stopped."""
        rows = cursor.execute(
            "SELECT state, id, name FROM users.accounts WHERE state IN (1, 3) ORDER BY id"
        ).fetchall()
        leaving = [Account(id, name) for state, id, name in rows if state == AccountState.LEAVING]
        joining = [Account(id, name) for state, id, name in rows if state == AccountState.JOINING]
        return leaving, joining

    def free(self, cursor: Cursor, id: int, now: int) -> None:
        """Mark a leaving account as deleted; the name can be given again some time after C{now}."""
        cursor.execute("UPDATE users.accounts SET state = 2, freed = ? WHERE id = ? AND state = 1", (now, id))
        self.forget_one(cursor, id)
        cursor.execute("DELETE FROM users.blocks WHERE account = ? OR blocked = ?", (id, id))
        if cursor.rowcount:
            self.forget()  # others may block nobody any more
