"""Invitations: with which of them somebody can sign up. SQL on C{users.db}.

The server looks them up and uses them up; C{chatctl} makes and revokes them, beside it.
"""

from __future__ import annotations

from typing import NamedTuple

from chat.store.commit import Cursor

#: How long one that has ended is still listed, in milliseconds: a week.
LISTED = 7 * 24 * 60 * 60 * 1000


class Kept(NamedTuple):
    """What is known of an invitation, but for its code; times in milliseconds since 1970-01-01 UTC."""

    number: int
    made: int
    expires: int
    uses: int


def good(cursor: Cursor, digest: bytes, now: int) -> bool:
    """Whether an account can be made with the code of this digest."""
    row = cursor.execute(
        "SELECT 1 FROM users.invitations WHERE digest = ? AND uses > 0 AND expires > ?", (digest, now)
    ).fetchone()
    return row is not None


def use(cursor: Cursor, digest: bytes, now: int) -> bool:
    """Make it good for one account less. False: it was for none any more."""
    cursor.execute(
        "UPDATE users.invitations SET uses = uses - 1 WHERE digest = ? AND uses > 0 AND expires > ?",
        (digest, now),
    )
    return cursor.rowcount == 1


def make(cursor: Cursor, digest: bytes, made: int, expires: int, uses: int) -> int:
    """The number of a new invitation; those that ended long ago are forgotten."""
    cursor.execute("DELETE FROM users.invitations WHERE expires <= ?", (made - LISTED,))
    cursor.execute(
        "INSERT INTO users.invitations (digest, made, expires, uses) VALUES (?, ?, ?, ?)",
        (digest, made, expires, uses),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def revoke(cursor: Cursor, number: int) -> bool:
    """Forget the invitation of this number. False: there is none."""
    cursor.execute("DELETE FROM users.invitations WHERE id = ?", (number,))
    return cursor.rowcount == 1


def kept(cursor: Cursor) -> list[Kept]:
    """All there are, the oldest first."""
    return [
        Kept(*row)
        for row in cursor.execute("SELECT id, made, expires, uses FROM users.invitations ORDER BY id")
    ]
