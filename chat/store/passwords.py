"""Passwords, and the tokens that stand for them: the only code that ever sees a hash.

bcrypt is slow on purpose, so it has a small thread pool of its own: neither the
reactor nor the database thread ever waits for it.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Any, Callable, Sequence

import bcrypt
from twisted.internet.defer import Deferred

from chat.errors import Code, Refusal
from chat.ports import Grant
from chat.store import tokens
from chat.store.commit import Cursor, GroupCommit, Procedure
from chat.store.hashing import THREADS

#: How many verifications may be under way or wait for a thread; more are asked to come back.
MOST_AT_ONCE = 200
#: What bcrypt takes at cost 12 on slow hardware, to say how long to wait.
SECONDS_EACH = 0.3

#: Runs a function in a thread of the password pool.
InThread = Callable[..., "Deferred[Any]"]


class Passwords:
    """The password store, see L{chat.ports.PasswordStore}."""

    def __init__(
        self, commit: GroupCommit, in_thread: InThread, rounds: int, now: Callable[[], int], life: int
    ) -> None:
        """Keep passwords.

        @param in_thread: C{in_thread(function, *arguments)} calls it in the pool of hashing threads.
        @param rounds: bcrypt's cost, 4 to 31; each step doubles the work.
        @param now: the time in milliseconds since 1970-01-01 UTC.
        @param life: for how many milliseconds a token stands for the password.
        """
        self._commit = commit
        self._in_thread = in_thread
        self._rounds = rounds
        self._now = now
        self._life = life
        self._busy = 0
        # Checked in place of an account that does not exist, at the same cost.
        self._nobody = bcrypt.hashpw(b"nobody", bcrypt.gensalt(rounds)).decode()

    async def set(self, account: int, password: bytes) -> None:
        """Make this the account's password, and revoke all its tokens."""
        hashed = await self._hashing(_hash, password, self._rounds)
        await self._commit.call(_STORE, (account, hashed))

    async def verify(self, account: int | None, password: bytes) -> bool:
        """Whether this is the account's password, see L{chat.ports.PasswordStore.verify}."""
        stored = await self._commit.call(_FETCH, account)
        right: bool = await self._hashing(_matches, password, stored or self._nobody)
        if right and stored is not None and _cost(stored) < self._rounds:
            await self._renew(account, stored, password)
        return right and stored is not None

    async def remove(self, account: int) -> None:
        """Forget the account's password and its tokens."""
        await self._commit.call(_REMOVE, account)

    async def issue(self, account: int, token: bytes) -> Grant | None:
        """Let this stand for the password, see L{chat.ports.PasswordStore.issue}."""
        now = self._now()
        number = await self._commit.call(_ISSUE, tokens.Wanted(account, token, now, now - self._life))
        return None if number is None else Grant(number, account, now + self._life)

    async def bearer(self, token: bytes) -> Grant | None:
        """Whose token this is, see L{chat.ports.PasswordStore.bearer}."""
        grant = await self._commit.call(_BEARER, (token, self._life))
        return None if grant is None or grant.expires <= self._now() else grant

    async def revoke(self, account: int, numbers: Sequence[int] | None) -> None:
        """Revoke tokens, see L{chat.ports.PasswordStore.revoke}."""
        await self._commit.call(_REVOKE, (account, numbers))

    async def _renew(self, account: int | None, stored: str, password: bytes) -> None:
        """Keep the password at the present cost; where there is no time or room, at a later login."""
        with suppress(Refusal):
            hashed = await self._hashing(_hash, password, self._rounds)
            await self._commit.call(_REPLACE, (account, stored, hashed))

    async def _hashing(self, function: Callable[..., Any], *arguments: object) -> Any:
        if self._busy >= MOST_AT_ONCE:
            seconds = max(1, int(self._busy * SECONDS_EACH / THREADS))
            raise Refusal(
                Code.SLOW_DOWN,
                f"Too many log in at once. Try again in {seconds} seconds.",
                seconds=seconds,
            )
        self._busy += 1
        try:
            return await self._in_thread(function, *arguments)
        finally:
            self._busy -= 1


def _shorten(password: bytes) -> bytes:
    """Fit any password into bcrypt's 72 bytes; base64, for bcrypt stops at a NUL."""
    return base64.b64encode(hashlib.sha256(password).digest())


def _hash(password: bytes, rounds: int) -> str:
    return bcrypt.hashpw(_shorten(password), bcrypt.gensalt(rounds)).decode()


def _matches(password: bytes, hashed: str) -> bool:
    return bcrypt.checkpw(_shorten(password), hashed.encode())


def _cost(hashed: str) -> int:
    """The cost in C{$2b$12$...}."""
    return int(hashed.split("$")[2])


def _fetch(cursor: Cursor, accounts: Sequence[int | None]) -> list[str | None]:
    hashes: list[str | None] = []
    for account in accounts:
        row = cursor.execute("SELECT hash FROM passwords.passwords WHERE account = ?", (account,)).fetchone()
        hashes.append(None if row is None else row[0])
    return hashes


def _store(cursor: Cursor, entries: Sequence[tuple[int, str]]) -> list[None]:
    cursor.executemany("INSERT OR REPLACE INTO passwords.passwords (account, hash) VALUES (?, ?)", entries)
    tokens.revoke_all(cursor, [account for account, _ in entries])
    return [None] * len(entries)


def _replace(cursor: Cursor, entries: Sequence[tuple[int | None, str, str]]) -> list[None]:
    # Only while it is still the one that was verified: the password may have been changed meanwhile.
    cursor.executemany("UPDATE passwords.passwords SET hash = ?3 WHERE account = ?1 AND hash = ?2", entries)
    return [None] * len(entries)


def _remove(cursor: Cursor, accounts: Sequence[int]) -> list[None]:
    cursor.executemany("DELETE FROM passwords.passwords WHERE account = ?", [(each,) for each in accounts])
    tokens.revoke_all(cursor, accounts)
    return [None] * len(accounts)


def _issue(cursor: Cursor, wanted: Sequence[tokens.Wanted]) -> list[int | None]:
    return [tokens.issue(cursor, each) for each in wanted]


def _bearer(cursor: Cursor, shown: Sequence[tuple[bytes, int]]) -> list[Grant | None]:
    return [tokens.bearer(cursor, token, life) for token, life in shown]


def _revoke(cursor: Cursor, revoked: Sequence[tuple[int, Sequence[int] | None]]) -> list[None]:
    for account, numbers in revoked:
        tokens.revoke(cursor, account, numbers)
    return [None] * len(revoked)


_FETCH: Procedure[int | None, str | None] = Procedure(_fetch, None)
_STORE: Procedure[tuple[int, str], None] = Procedure(_store, "passwords")
_REPLACE: Procedure[tuple[int | None, str, str], None] = Procedure(_replace, "passwords")
_REMOVE: Procedure[int, None] = Procedure(_remove, "passwords")
_ISSUE: Procedure[tokens.Wanted, int | None] = Procedure(_issue, "passwords")
_BEARER: Procedure[tuple[bytes, int], Grant | None] = Procedure(_bearer, None)
_REVOKE: Procedure[tuple[int, Sequence[int] | None], None] = Procedure(_revoke, "passwords")
