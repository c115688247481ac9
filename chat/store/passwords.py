"""Passwords, the tokens that stand for them and the codes that replace them: only this ever sees a hash.

bcrypt is slow on purpose, so it has a small thread pool of its own, and lines before it (see
L{chat.store.reception}): neither the reactor nor the database thread ever waits for it.
"""

from __future__ import annotations

import base64
import hashlib
from functools import partial
from time import perf_counter
from typing import Callable, Sequence

import bcrypt

from chat.errors import Refusal
from chat.ports import ANYBODY, Asker, Grant
from chat.store import recoveries, tokens
from chat.store.commit import Cursor, GroupCommit, Procedure
from chat.store.reception import InThread, Reception
from chat.store.together import Together

#: The cost of a hash, unless the operator chose another.
USUAL_COST = 12
#: What is hashed where there is nothing to be hashed.
_NOBODY = b"nobody"


class Passwords:
    """The password store, see L{chat.ports.PasswordStore}."""

    def __init__(
        self,
        commit: GroupCommit,
        in_thread: InThread,
        rounds: int,
        now: Callable[[], int],
        life: int,
        clock: Callable[[], float],
    ) -> None:
        """Keep passwords.

        @param in_thread: see L{Reception}.
        @param rounds: bcrypt's cost, 4 to 31; each step doubles the work.
        @param now: the time in milliseconds since 1970-01-01 UTC.
        @param life: for how many milliseconds a token stands for the password.
        @param clock: see L{Reception}.
        """
        self._commit = commit
        self._rounds = rounds
        self._now = now
        self._life = life
        # Checked in place of an account that does not exist, at the same cost.
        begun = perf_counter()
        self._nobody = bcrypt.hashpw(_NOBODY, bcrypt.gensalt(rounds)).decode()
        self._reception = Reception(in_thread, clock, perf_counter() - begun)
        self._together = Together()

    @property
    def busy(self) -> int:
        """How many passwords are being hashed, or wait for it."""
        return self._reception.busy

    async def set(
        self,
        account: int,
        password: bytes,
        codes: Sequence[bytes] | None = None,
        asker: Asker = ANYBODY,
    ) -> None:
        """Make this the account's password, see L{chat.ports.PasswordStore.set}."""
        hashed = await self._reception.hash(asker, make_hash, password, self._rounds)
        await self._commit.call(_STORE, (account, hashed, codes))

    async def verify(self, account: int | None, password: bytes, asker: Asker = ANYBODY) -> bool:
        """Whether this is the account's password, see L{chat.ports.PasswordStore.verify}."""
        return await self._proven(account, password, asker) is not None

    async def change(self, account: int, password: bytes, new: bytes, asker: Asker = ANYBODY) -> bool:
        """Replace the password by another one, see L{chat.ports.PasswordStore.change}."""
        while (proven := await self._proven(account, password, asker)) is not None:
            hashed = await self._reception.hash(asker, make_hash, new, self._rounds)
            if await self._commit.call(_CHANGE, (account, proven, hashed)):
                return True
        return False

    async def _proven(self, account: int | None, password: bytes, asker: Asker) -> str | None:
        """The hash that is in force, if it is that of this password.

        To compare them takes a while, in which the password may have been replaced: then it is the new one
        that counts.
        """
        stored = await self._commit.call(_FETCH, account)
        while True:
            hashed = stored or self._nobody
            # A program that logs in many times at once costs no more than one that does it once.
            key = (asker.place, asker.name, hashed, password)
            compare = partial(self._compare, account, hashed, password, asker)
            proven: str | None = await self._together(key, compare)
            if proven is None or stored is None:
                return None
            stored = await self._commit.call(_FETCH, account)
            if stored is None or stored == proven:
                return stored

    async def _compare(self, account: int | None, hashed: str, password: bytes, asker: Asker) -> str | None:
        """The hash of this password that is kept from now on, if C{hashed} is one."""
        if not await self._reception.hash(asker, _matches, password, hashed, self._rounds):
            return None
        if hashed != self._nobody and _cost(hashed) < self._rounds and self._reception.idle:
            return await self._renew(account, hashed, password, asker)
        return hashed

    async def remove(self, account: int) -> None:
        """Forget the account, see L{chat.ports.PasswordStore.remove}."""
        await self._commit.call(_REMOVE, account)

    async def recoverable(self, account: int | None, code: bytes) -> bool:
        """Whether this code is good, see L{chat.ports.PasswordStore.recoverable}."""
        return await self._commit.call(_RECOVERABLE, (account, code, self._now()))

    async def recover(self, account: int, code: bytes, password: bytes, asker: Asker = ANYBODY) -> bool:
        """Use up a recovery code, see L{chat.ports.PasswordStore.recover}."""
        hashed = await self._reception.hash(asker, make_hash, password, self._rounds)
        return await self._commit.call(_RECOVER, (account, code, self._now(), hashed))

    async def renew_codes(
        self, account: int, password: bytes, codes: Sequence[bytes], asker: Asker = ANYBODY
    ) -> bool:
        """Replace the recovery codes, see L{chat.ports.PasswordStore.renew_codes}."""
        while (proven := await self._proven(account, password, asker)) is not None:
            if await self._commit.call(_RENEW_CODES, (account, proven, codes)):
                return True
        return False

    async def issue(self, account: int, token: bytes, admitted: int) -> Grant | None:
        """Let this stand for the password, see L{chat.ports.PasswordStore.issue}."""
        now = self._now()
        wanted = tokens.Wanted(account, token, now, now - self._life, admitted)
        number = await self._commit.call(_ISSUE, wanted)
        if isinstance(number, Refusal):
            raise number
        return None if number is None else Grant(number, account, now + self._life)

    async def bearer(self, token: bytes) -> Grant | None:
        """Whose token this is, see L{chat.ports.PasswordStore.bearer}."""
        grant = await self._commit.call(_BEARER, (token, self._life))
        return None if grant is None or grant.expires <= self._now() else grant

    async def revoke(self, account: int, numbers: Sequence[int] | None) -> None:
        """Revoke tokens, see L{chat.ports.PasswordStore.revoke}."""
        await self._commit.call(_REVOKE, (account, numbers))

    async def _renew(self, account: int | None, stored: str, password: bytes, asker: Asker) -> str:
        """Keep the password at the present cost; where there is no room, at a later login. What is kept."""
        try:
            hashed: str = await self._reception.hash(asker, make_hash, password, self._rounds)
            await self._commit.call(_REPLACE, (account, stored, hashed))
        except Refusal:
            return stored
        return hashed


def _shorten(password: bytes) -> bytes:
    """Fit any password into bcrypt's 72 bytes; base64, for bcrypt stops at a NUL."""
    return base64.b64encode(hashlib.sha256(password).digest())


def make_hash(password: bytes, rounds: int) -> str:
    """What is kept of a password."""
    return bcrypt.hashpw(_shorten(password), bcrypt.gensalt(rounds)).decode()


def _matches(password: bytes, hashed: str, rounds: int) -> bool:
    """Whether it is the password; finding that it is not takes the same time whatever the hash had cost.

    What an older hash lacks to the present cost is made up for: 2^5 + 2^5 + 2^6 + 2^7 = 2^8.
    """
    right = bcrypt.checkpw(_shorten(password), hashed.encode())
    for cost in () if right else range(_cost(hashed), rounds):
        bcrypt.hashpw(_NOBODY, bcrypt.gensalt(cost))
    return right


def _cost(hashed: str) -> int:
    """The cost in C{$2b$12$...}."""
    return int(hashed.split("$")[2])


# --- for the operator, beside a running server ---


def cost(cursor: Cursor, account: int) -> int:
    """What it costs to check the account's password; for one that has none, the usual."""
    (stored,) = _fetch(cursor, [account])
    return USUAL_COST if stored is None else _cost(stored)


def reset(cursor: Cursor, account: int, hashed: str, now: int) -> bool:
    """Replace the account's password, revoke its tokens, forget its recovery codes. False: it has none.

    Whoever was admitted before is given no tokens any more.
    """
    if not recoveries.has_password(cursor, account):
        return False
    _put(cursor, account, hashed)
    recoveries.forget(cursor, [account])
    cursor.execute("INSERT OR REPLACE INTO passwords.resets (account, time) VALUES (?, ?)", (account, now))
    return True


# --- in the database thread ---


def _fetch(cursor: Cursor, accounts: Sequence[int | None]) -> list[str | None]:
    hashes: list[str | None] = []
    for account in accounts:
        row = cursor.execute("SELECT hash FROM passwords.passwords WHERE account = ?", (account,)).fetchone()
        hashes.append(None if row is None else row[0])
    return hashes


def _store(cursor: Cursor, entries: Sequence[tuple[int, str, Sequence[bytes] | None]]) -> list[None]:
    for account, hashed, codes in entries:
        _put(cursor, account, hashed)
        if codes is not None:
            recoveries.replace(cursor, account, codes)
    return [None] * len(entries)


def _put(cursor: Cursor, account: int, hashed: str) -> None:
    cursor.execute(
        "INSERT OR REPLACE INTO passwords.passwords (account, hash) VALUES (?, ?)", (account, hashed)
    )
    tokens.revoke_all(cursor, [account])


def _recoverable(cursor: Cursor, asked: Sequence[tuple[int | None, bytes, int]]) -> list[bool]:
    return [recoveries.good(cursor, *each) for each in asked]


def _recover(cursor: Cursor, entries: Sequence[tuple[int, bytes, int, str]]) -> list[bool]:
    good = []
    for account, code, now, hashed in entries:
        good.append(recoveries.use(cursor, account, code, now))
        if good[-1]:
            _put(cursor, account, hashed)
    return good


def _change(cursor: Cursor, entries: Sequence[tuple[int, str, str]]) -> list[bool]:
    changed = []
    for account, proven, hashed in entries:
        changed.append(_fetch(cursor, [account]) == [proven])
        if changed[-1]:
            _put(cursor, account, hashed)
    return changed


def _renew_codes(cursor: Cursor, entries: Sequence[tuple[int, str, Sequence[bytes]]]) -> list[bool]:
    renewed = []
    for account, proven, codes in entries:
        renewed.append(_fetch(cursor, [account]) == [proven])
        if renewed[-1]:
            recoveries.replace(cursor, account, codes)
    return renewed


def _replace(cursor: Cursor, entries: Sequence[tuple[int | None, str, str]]) -> list[None]:
    # Only while it is still the one that was verified: the password may have been changed meanwhile.
    cursor.executemany("UPDATE passwords.passwords SET hash = ?3 WHERE account = ?1 AND hash = ?2", entries)
    return [None] * len(entries)


def _remove(cursor: Cursor, accounts: Sequence[int]) -> list[None]:
    for table in ("passwords", "resets"):
        cursor.executemany(f"DELETE FROM passwords.{table} WHERE account = ?", [(each,) for each in accounts])
    tokens.revoke_all(cursor, accounts)
    recoveries.forget(cursor, accounts)
    return [None] * len(accounts)


def _issue(cursor: Cursor, wanted: Sequence[tokens.Wanted]) -> list[int | Refusal | None]:
    return [tokens.issue(cursor, each) for each in wanted]


def _bearer(cursor: Cursor, shown: Sequence[tuple[bytes, int]]) -> list[Grant | None]:
    return [tokens.bearer(cursor, token, life) for token, life in shown]


def _revoke(cursor: Cursor, revoked: Sequence[tuple[int, Sequence[int] | None]]) -> list[None]:
    for account, numbers in revoked:
        tokens.revoke(cursor, account, numbers)
    return [None] * len(revoked)


_FETCH: Procedure[int | None, str | None] = Procedure(_fetch, None)
_STORE: Procedure[tuple[int, str, Sequence[bytes] | None], None] = Procedure(_store, "passwords")
_RECOVERABLE: Procedure[tuple[int | None, bytes, int], bool] = Procedure(_recoverable, None)
_RECOVER: Procedure[tuple[int, bytes, int, str], bool] = Procedure(_recover, "passwords")
_CHANGE: Procedure[tuple[int, str, str], bool] = Procedure(_change, "passwords")
_RENEW_CODES: Procedure[tuple[int, str, Sequence[bytes]], bool] = Procedure(_renew_codes, "passwords")
_REPLACE: Procedure[tuple[int | None, str, str], None] = Procedure(_replace, "passwords")
_REMOVE: Procedure[int, None] = Procedure(_remove, "passwords")
_ISSUE: Procedure[tokens.Wanted, int | Refusal | None] = Procedure(_issue, "passwords")
_BEARER: Procedure[tuple[bytes, int], Grant | None] = Procedure(_bearer, None)
_REVOKE: Procedure[tuple[int, Sequence[int] | None], None] = Procedure(_revoke, "passwords")
