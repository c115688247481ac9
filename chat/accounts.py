"""The rules of names, passwords, tokens, sign-up and deletion."""

from __future__ import annotations

import re
import secrets
import sys
from contextlib import contextmanager, suppress
from enum import Enum
from functools import lru_cache
from typing import Awaitable, Callable, Iterator, NamedTuple, Protocol, Sequence

from precis_i18n import get_profile

from chat.directory import Directory, Resident
from chat.errors import Code, FatalError, Refusal, name_reserved
from chat.ledger import Account
from chat.ports import PasswordStore, UserStore

NAME_BYTES = 64
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
#: How many random bytes a token has: too many to be guessed, ever.
TOKEN_BYTES = 32

_PLAIN = re.compile("[!-~]+")
_username = get_profile("UsernameCaseMapped")
_opaque = get_profile("OpaqueString")


class Registration(str, Enum):
    """Who may sign up."""

    OPEN = "open"  # anyone who can reach a door
    CLOSED = "closed"  # nobody; known and unknown names are answered alike


class Admission(NamedTuple):
    """How somebody came to be an account's user.

    @ivar since: how often passwords had been changed before the proof was given.
    @ivar token: the number of the token that was shown instead of the password.
    """

    account: Account
    since: int
    token: int | None = None


class Issued(NamedTuple):
    """A new token: the secret, its number, and when it ends in milliseconds since 1970-01-01 UTC."""

    value: str
    number: int
    expires: int


class Returns(Protocol):
    """What the deletion of an account asks of the mailroom."""

    async def turn_round(self, account: Account) -> None:
        """Return every message that waits for this account."""


def prepare_name(text: str) -> str:
    """The form of a user name in which it is stored and compared.

    RFC 8265, UsernameCaseMapped: C{Alice} and C{alice} are one account; spaces,
    control characters and separators are not allowed. 1 to 64 bytes of UTF-8.

    @raise chat.errors.Refusal: C{bad-name}.
    """
    name = address(text)
    if name is None:
        raise Refusal(
            Code.BAD_NAME,
            f"A user name has 1 to {NAME_BYTES} bytes of letters, digits and punctuation,"
            " without spaces or control characters.",
        )
    return name


def address(text: str) -> str | None:
    """The prepared name of a recipient, or C{None} where no account could be called so."""
    # What is much longer cannot become short enough, and must not fill the cache.
    return _prepared(text) if len(text) <= 4 * NAME_BYTES else None


@lru_cache(maxsize=16384)
def _prepared(text: str) -> str | None:
    if text.isascii():
        # The profile allows what is printable, and changes nothing but case: a fortieth of its work.
        return text.lower() if 1 <= len(text) <= NAME_BYTES and _PLAIN.fullmatch(text) else None
    try:
        name: str = _username.enforce(text)
        fits = 1 <= len(name.encode()) <= NAME_BYTES
    except UnicodeError:
        return None
    return name if fits else None


def prepare_password(text: str) -> bytes | None:
    """A password as it is hashed (RFC 8265, OpaqueString, UTF-8), or C{None} if it can be none."""
    if not text or len(text) > LONGEST_PASSWORD:
        return None
    try:
        password: bytes = _opaque.enforce(text).encode()
    except UnicodeError:
        return None
    return password


def new_password(text: str) -> bytes:
    """A password that may be chosen.

    @raise chat.errors.Refusal: C{bad-password}.
    """
    password = prepare_password(text)
    if password is None or not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Refusal(
            Code.BAD_PASSWORD,
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} bytes, without control characters.",
        )
    return password


class Accounts:
    """Sign-up, login and deletion."""

    def __init__(
        self,
        users: UserStore,
        passwords: PasswordStore,
        mailroom: Returns,
        directory: Directory,
        registration: Registration,
        pause: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Serve the sessions of C{directory}.

        @param pause: waits a little, for room on the disk; without it, a lack of room is an error.
        """
        self._users = users
        self._passwords = passwords
        self._mailroom = mailroom
        self._directory = directory
        self._pause = pause
        self.registration = registration
        # How often passwords were changed, and the tokens of an account revoked, since the start;
        # and which of these was the account's last.
        self._changes = 0
        self._last_change: dict[int, int] = {}
        # Sign-ups that failed when there was no room even to undo them, by name.
        self._left_over: dict[str, Account] = {}

    async def offer(self, name: str) -> bool:
        """Whether this prepared name, unknown so far, may be signed up now. False: ask for the password.

        Unless registration is open, every name is asked for its password.

        @raise chat.errors.Refusal: C{name-reserved}.
        """
        if self.registration is not Registration.OPEN:
            return False
        if await self._users.find(name) is not None:
            return False
        if await self._users.reserved(name):
            raise name_reserved(name)
        return True

    async def sign_up(self, name: str, password: str) -> Account:
        """Create an account under this prepared name.

        @raise chat.errors.Refusal: C{bad-password}, C{name-taken} (somebody was
            faster), C{name-reserved}, C{slow-down}, C{storage-full}.
        """
        chosen = new_password(password)
        if name in self._left_over:
            await self._abandon(self._left_over[name])
        account = await self._users.join(name)
        try:
            # An account that exists has a password.
            await self._passwords.set(account.id, chosen)
            await self._users.activate(account)
        except Exception:
            self._left_over[name] = account
            with suppress(Refusal):
                await self._abandon(account)
            raise
        return account

    async def _abandon(self, account: Account) -> None:
        """Undo a sign-up that is not complete."""
        await self._passwords.remove(account.id)
        await self._users.abandon(account)
        self._left_over.pop(account.name, None)

    async def log_in(self, name: str, password: str) -> Admission:
        """Admit to the account of this prepared name, if this is its password.

        @raise chat.errors.Refusal: C{wrong-password}, in the same time whether the
            name is known or not; C{slow-down}.
        """
        since = self._changes
        account = await self._users.find(name)
        await self._check(account, password)
        assert account is not None
        # Hashing takes a while: the account may have gone meanwhile.
        if await self._users.find(name) != account:
            raise _wrong()
        return Admission(account, since)

    async def resume(self, name: str, token: str) -> Admission:
        """Admit to the account of this prepared name, if this is a token of it that is in force.

        It costs no hashing and writes nothing.

        @raise chat.errors.Refusal: C{wrong-token}, with the same work and in the same
            words whether the name is known or not.
        """
        since = self._changes
        # A lone surrogate, which a token has not, must not matter here.
        grant = await self._passwords.bearer(token.encode(errors="replace"))
        # The name last, and nothing awaited after it: see log_in.
        account = await self._users.find(name)
        if grant is None or account is None or grant.account != account.id:
            raise Refusal(
                Code.WRONG_TOKEN,
                "This token is not, or no longer, one of that account. Log in with the password.",
            )
        return Admission(account, since, grant.number)

    async def issue(self, admission: Admission) -> Issued:
        """A new token for somebody who was admitted.

        @raise chat.errors.Refusal: C{bad-state}, the password was changed since then: whoever
            was admitted with the old one stays, but is not to come back; C{storage-full}.
        @raise FatalError: C{account-gone}, another session has deleted the account meanwhile.
        """
        account = admission.account.id
        if self._last_change.get(account, 0) > admission.since:
            raise Refusal(
                Code.BAD_STATE,
                "The password was changed, or all tokens were revoked, after this login."
                " Log in again to be given a token.",
            )
        value = secrets.token_urlsafe(TOKEN_BYTES)
        grant = await self._passwords.issue(account, value.encode())
        if grant is None:
            raise _gone()
        return Issued(value, grant.number, grant.expires)

    async def revoke(self, account: Account, numbers: Sequence[int] | None) -> None:
        """Revoke these tokens of the account; C{None}: all, and no present session is given a new one.

        @raise chat.errors.Refusal: C{storage-full}.
        """
        if numbers is None:
            with self._change(account):
                await self._passwords.revoke(account.id, None)
        elif numbers:
            await self._passwords.revoke(account.id, numbers)

    @contextmanager
    def _change(self, account: Account) -> Iterator[None]:
        """From the beginning of this, nobody is given a token who was admitted before its end.

        Otherwise somebody who knows the old password could make it last.
        """
        self._last_change[account.id] = sys.maxsize
        try:
            yield
        finally:
            self._changes += 1
            self._last_change[account.id] = self._changes

    async def change_password(self, account: Account, password: str, new: str) -> Admission:
        """Replace the password, and revoke all tokens of the account; admits who has done it.

        @raise chat.errors.Refusal: C{bad-password}, C{wrong-password}, C{slow-down}, C{storage-full}.
        @raise FatalError: C{account-gone}, another session has deleted the account meanwhile.
        """
        chosen = new_password(new)
        await self._check(account, password)
        with self._change(account):
            await self._passwords.set(account.id, chosen)
        since = self._changes
        if await self._users.find(account.name) != account:
            await self._passwords.remove(account.id)
            raise _gone()
        return Admission(account, since)

    async def delete(self, account: Account, password: str, session: Resident) -> None:
        """Delete the account: its waiting messages turn round, its name becomes reserved.

        Each step is a commit of its own and can be repeated; from the first one on
        the deletion will be completed, by the next start if not by this one.

        @param session: the one that asked; the account's other sessions end.
        @raise chat.errors.Refusal: C{wrong-password}, C{slow-down}, C{storage-full}.
        @raise FatalError: C{account-gone}, another session has deleted the account meanwhile.
        """
        await self._check(account, password)
        if not await self._users.leave(account):
            # Another session was faster; or there was no room to complete it, and now there may be.
            await self._finish(account)
            raise _gone()
        others: Sequence[Resident] = self._directory.sessions(account.id)
        for other in others:
            if other is not session:
                other.account_gone()
        await self._finish(account)

    async def finish(self) -> None:
        """Complete what a crash cut short: deletions, and sign-ups that had no password yet."""
        leaving, joining = await self._users.unfinished()
        for account in leaving:
            await self._finish(account)
        for account in joining:
            await self._abandon(account)

    async def _finish(self, account: Account) -> None:
        """What follows the first step of a deletion: none of it is refused, it waits for room instead."""
        for step in (
            lambda: self._mailroom.turn_round(account),
            lambda: self._passwords.remove(account.id),
            lambda: self._users.free(account),
        ):
            await self._insist(step)

    async def _insist(self, step: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await step()
                return
            except Refusal as refusal:
                if refusal.code is not Code.STORAGE_FULL or self._pause is None:
                    raise
                await self._pause()

    async def _check(self, account: Account | None, password: str) -> None:
        prepared = prepare_password(password)
        # A password that cannot be one costs the same work and gets the same answer.
        right = await self._passwords.verify(account.id if account else None, prepared or b"")
        if not right or prepared is None:
            raise _wrong()


def _gone() -> FatalError:
    return FatalError(Code.ACCOUNT_GONE, "This account no longer exists.")


def _wrong() -> Refusal:
    return Refusal(Code.WRONG_PASSWORD, "Wrong user name or password.")
