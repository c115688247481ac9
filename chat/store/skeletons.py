"""C{users.db}: which names look alike. Runs in the database thread."""

from __future__ import annotations

from chat.lookalikes import skeleton
from chat.store.commit import Cursor


def note(cursor: Cursor, account: int, name: str) -> None:
    """Remember what the name of a new account looks like."""
    cursor.execute("INSERT INTO users.skeletons VALUES (?, ?)", (account, skeleton(name)))


def forget(cursor: Cursor, account: int) -> None:
    """This account is not to be."""
    cursor.execute("DELETE FROM users.skeletons WHERE account = ?", (account,))


def alike(cursor: Cursor, name: str) -> list[int]:
    """The accounts, whatever their states, whose names are others than this one but look like it."""
    rows = cursor.execute(
        "SELECT s.account FROM users.skeletons AS s JOIN users.accounts AS a ON a.id = s.account"
        " WHERE s.skeleton = ? AND a.name <> ?",
        (skeleton(name), name),
    )
    return [account for (account,) in rows]


def compare(cursor: Cursor) -> bool:
    """Make sure that what is remembered is what this version makes of every name; whether it was."""
    rows = cursor.execute(
        "SELECT a.id, a.name, s.skeleton FROM users.accounts AS a"
        " LEFT JOIN users.skeletons AS s ON s.account = a.id"
    )
    wrong = [(id, now) for id, name, then in rows if (now := skeleton(name)) != then]
    cursor.executemany("REPLACE INTO users.skeletons VALUES (?, ?)", wrong)
    return not wrong
