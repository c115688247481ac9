"""Tokens: what stands for a password for a time. SQL on C{passwords.db}, run in the database thread.

Only the SHA-256 of a token is kept, and a token is looked up by it.  A slow hash is
for passwords, which can be guessed: there is nothing to try out among 256 random
bits.  Nor can the time that a look-up takes be put to use: who does not know a token
cannot choose where among the digests his guess falls.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Sequence

from chat.errors import Refusal, proof_outdated
from chat.ports import Grant
from chat.store.commit import Cursor

#: How many tokens an account has at most: about as many as somebody has devices and programs.
MOST = 16
#: How many tokens that have ended are cleared away when one is issued.
CLEARED = 8


class Wanted(NamedTuple):
    """A token to be issued.

    @ivar since: tokens issued before this, or at this moment, have ended.
    @ivar admitted: when its owner has proven to be the account's user; if the operator has replaced the
        password since then, or at that moment, that proof is worth nothing any more.
    """

    account: int
    token: bytes
    now: int
    since: int
    admitted: int


def issue(cursor: Cursor, wanted: Wanted) -> int | Refusal | None:
    """The number of the new token; C{None}: the account has no password that it could stand for.

    A refusal is given, not raised: only an error ends the transaction.
    """
    row = cursor.execute("SELECT time FROM passwords.resets WHERE account = ?", (wanted.account,)).fetchone()
    if row is not None and row[0] >= wanted.admitted:
        return proof_outdated()
    cursor.execute(
        "INSERT INTO passwords.tokens (account, digest, issued)"
        " SELECT account, ?, ? FROM passwords.passwords WHERE account = ?",
        (_digest(wanted.token), wanted.now, wanted.account),
    )
    if not cursor.rowcount:
        return None
    number = cursor.lastrowid
    cursor.execute(
        "DELETE FROM passwords.tokens WHERE account = ?1 AND id NOT IN"
        " (SELECT id FROM passwords.tokens WHERE account = ?1 ORDER BY id DESC LIMIT ?2)",
        (wanted.account, MOST),
    )
    cursor.execute(
        "DELETE FROM passwords.tokens WHERE issued <= ? AND id IN"
        " (SELECT id FROM passwords.tokens ORDER BY id LIMIT ?)",
        (wanted.since, CLEARED),
    )
    return number


def bearer(cursor: Cursor, token: bytes, life: int) -> Grant | None:
    """Whose token this is, and when it ends."""
    row = cursor.execute(
        "SELECT id, account, issued FROM passwords.tokens WHERE digest = ?", (_digest(token),)
    ).fetchone()
    if row is None:
        return None
    number, account, issued = row
    return Grant(number, account, issued + life)


def revoke(cursor: Cursor, account: int, numbers: Sequence[int] | None) -> None:
    """Revoke these tokens of an account, or all."""
    if numbers is None:
        revoke_all(cursor, [account])
        return
    cursor.executemany(
        "DELETE FROM passwords.tokens WHERE id = ? AND account = ?", [(number, account) for number in numbers]
    )


def revoke_all(cursor: Cursor, accounts: Sequence[int]) -> None:
    """Revoke every token of these accounts."""
    cursor.executemany("DELETE FROM passwords.tokens WHERE account = ?", [(each,) for each in accounts])


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
