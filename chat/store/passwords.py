"""Passwords: the only code that ever sees a hash.

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
from chat.store.commit import Cursor, GroupCommit, Procedure

#: How many verifications may be under way or wait for a thread; more are asked to come back.
MOST_AT_ONCE = 200
#: How many threads hash: more than the cores would only slow each other down.
THREADS = 2
#: What bcrypt takes at cost 12 on slow hardware, to say how long to wait.
SECONDS_EACH = 0.3

#: Runs a function in a thread of the password pool.
InThread = Callable[..., "Deferred[Any]"]


class Passwords:
    """The password store, see L{chat.ports.PasswordStore}."""

    def __init__(self, commit: GroupCommit, in_thread: InThread, rounds: int) -> None:
        """Keep passwords.

        @param in_thread: C{in_thread(function, *arguments)} calls it in the pool of hashing threads.
        @param rounds: bcrypt's cost, 4 to 31; each step doubles the work.
        """
        self._commit = commit
        self._in_thread = in_thread
        self._rounds = rounds
        self._busy = 0
        # Checked in place of an account that does not exist, at the same cost.
        self._nobody = bcrypt.hashpw(b"nobody", bcrypt.gensalt(rounds)).decode()

    async def set(self, account: int, password: bytes) -> None:
        """Make this the account's password."""
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
        """Forget the account's password."""
        await self._commit.call(_REMOVE, account)

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
    return [None] * len(entries)


def _replace(cursor: Cursor, entries: Sequence[tuple[int | None, str, str]]) -> list[None]:
    # Only while it is still the one that was verified: the password may have been changed meanwhile.
    cursor.executemany("UPDATE passwords.passwords SET hash = ?3 WHERE account = ?1 AND hash = ?2", entries)
    return [None] * len(entries)


def _remove(cursor: Cursor, accounts: Sequence[int]) -> list[None]:
    cursor.executemany("DELETE FROM passwords.passwords WHERE account = ?", [(each,) for each in accounts])
    return [None] * len(accounts)


_FETCH: Procedure[int | None, str | None] = Procedure(_fetch, None)
_STORE: Procedure[tuple[int, str], None] = Procedure(_store, "passwords")
_REPLACE: Procedure[tuple[int | None, str, str], None] = Procedure(_replace, "passwords")
_REMOVE: Procedure[int, None] = Procedure(_remove, "passwords")
