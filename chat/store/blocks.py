"""Whom an account does not want to hear from: statements on C{users.db}. Runs in the database thread."""

from __future__ import annotations

from typing import NamedTuple, Union

from chat.errors import Code, Refusal
from chat.ledger import AccountState
from chat.store.commit import Cursor
from chat.store.users import Users

#: How many accounts one account can block.
MOST = 1000


class Change(NamedTuple):
    """What an account asks for.

    @ivar name: the prepared name it is about; C{None}: nothing is to be changed.
    @ivar blocked: whether its messages go back from now on.
    """

    account: int
    name: str | None = None
    blocked: bool = False


#: The names of those who are blocked; why nothing was changed; or (C{None}) the account is gone.
Names = Union["list[str]", Refusal, None]


def change(cursor: Cursor, users: Users, wanted: Change, now: int) -> Names:
    """Make a change, and tell who is blocked."""
    account = wanted.account
    if not users.active(cursor, account):
        return None
    if wanted.name is not None:
        entry = users.named(cursor, wanted.name)
        if entry is None or entry.state != AccountState.ACTIVE:
            return Refusal(Code.UNKNOWN_RECIPIENT, "There is no account of that name here.")
        if entry.id == account:
            return Refusal(Code.BAD_FRAME, "One cannot block oneself.")
        if not wanted.blocked:
            cursor.execute("DELETE FROM users.blocks WHERE account = ? AND blocked = ?", (account, entry.id))
        elif len(_names(cursor, account)) < MOST or blocks(cursor, account, entry.id):
            cursor.execute("INSERT OR IGNORE INTO users.blocks VALUES (?, ?, ?)", (account, entry.id, now))
        else:
            return Refusal(Code.TOO_LARGE, f"At most {MOST} accounts can be blocked. Unblock one first.")
        users.forget_one(cursor, account)
    return _names(cursor, account)


def _names(cursor: Cursor, account: int) -> list[str]:
    rows = cursor.execute(
        "SELECT name FROM users.blocks JOIN users.accounts ON id = blocked"
        " WHERE account = ? AND state = 0 ORDER BY name",
        (account,),
    )
    return [name for (name,) in rows]


def blocks(cursor: Cursor, account: int, sender: int) -> bool:
    """Whether what this sender sends to the account goes back."""
    return (
        cursor.execute(
            "SELECT 1 FROM users.blocks WHERE account = ? AND blocked = ?", (account, sender)
        ).fetchone()
        is not None
    )
