"""Recovery codes: with which somebody who has forgotten the password chooses another. SQL on C{passwords.db}.

Of a code its SHA-256 is kept, as of a token, and for the same reason: there is nothing to
try out among so many random bits.
"""

from __future__ import annotations

from typing import Sequence

from chat.store.commit import Cursor


def good(cursor: Cursor, account: int | None, digest: bytes, now: int) -> bool:
    """Whether the code of this digest lets somebody choose a new password for this account."""
    row = cursor.execute(
        "SELECT 1 FROM passwords.recoveries"
        " WHERE account = ? AND digest = ? AND (expires IS NULL OR expires > ?)",
        (account, digest, now),
    ).fetchone()
    return row is not None


def use(cursor: Cursor, account: int, digest: bytes, now: int) -> bool:
    """Use the code up. False: it was not good any more."""
    if not good(cursor, account, digest, now):
        return False
    cursor.execute("DELETE FROM passwords.recoveries WHERE account = ? AND digest = ?", (account, digest))
    return True


def replace(cursor: Cursor, account: int, digests: Sequence[bytes]) -> None:
    """Let these be the codes of an account, which has a password that could be forgotten, and no others."""
    forget(cursor, [account])
    cursor.executemany(
        "INSERT INTO passwords.recoveries (account, digest) VALUES (?, ?)",
        [(account, digest) for digest in digests],
    )


def add(cursor: Cursor, account: int, digest: bytes, expires: int) -> bool:
    """One code more, until a moment. False: the account has no password that could be forgotten."""
    if not has_password(cursor, account):
        return False
    cursor.execute(
        "INSERT INTO passwords.recoveries (account, digest, expires) VALUES (?, ?, ?)",
        (account, digest, expires),
    )
    return True


def forget(cursor: Cursor, accounts: Sequence[int]) -> None:
    """None of the codes of these accounts is good any more."""
    cursor.executemany("DELETE FROM passwords.recoveries WHERE account = ?", [(each,) for each in accounts])


def has_password(cursor: Cursor, account: int) -> bool:
    """Whether the account has a password."""
    row = cursor.execute("SELECT 1 FROM passwords.passwords WHERE account = ?", (account,)).fetchone()
    return row is not None
