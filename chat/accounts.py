"""The rules of sign-up, login, passwords, tokens and codes."""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Awaitable, Callable, Iterator, NamedTuple, Sequence

from chat.codes import INVITATION_GROUPS, RECOVERY_CODES, RECOVERY_GROUPS, digest, new_code
from chat.deletion import Deletion, Returns
from chat.directory import Directory, Resident
from chat.errors import (
    ChatError,
    Code,
    Refusal,
    account_gone,
    logged_out,
    looks_taken,
    mixes_scripts,
    name_reserved,
    proof_outdated,
)
from chat.ledger import Account
from chat.limits.evenness import Evenness
from chat.limits.throttle import INSIDE, Throttle
from chat.lookalikes import one_script
from chat.origin import neighbourhood
from chat.ports import Asker, PasswordStore, UserStore
from chat.prepared import new_password, prepare_name, prepare_password

#: How many random bytes a token has: too many to be guessed, ever.
TOKEN_BYTES = 32


class Registration(str, Enum):
    """Who may sign up."""

    OPEN = "open"  # anyone who can reach a door
    # In the others known and unknown names are answered alike.
    INVITE = "invite"  # whoever has an invitation
    CLOSED = "closed"  # nobody


class Admission(NamedTuple):
    """How somebody came to be an account's user.

    @ivar since: how often passwords had been changed before the proof was given.
    @ivar token: the number of the token that was shown instead of the password.
    @ivar at: when it was given, in milliseconds since 1970-01-01 UTC.
    """

    account: Account
    since: int
    token: int | None = None
    at: int = 0


class Recovering(NamedTuple):
    """Somebody who has shown a recovery code of an account, and may choose a new password."""

    account: Account
    code: bytes
    network: str | None = None


class Issued(NamedTuple):
    """A new token: the secret, its number, and when it ends in milliseconds since 1970-01-01 UTC."""

    value: str
    number: int
    expires: int


class Accounts:
    """Sign-up, login, and what may be asked of an account once one is in."""

    def __init__(
        self,
        users: UserStore,
        passwords: PasswordStore,
        mailroom: Returns,
        directory: Directory,
        registration: Registration,
        pause: Callable[[], Awaitable[object]] | None = None,
        throttle: Throttle | None = None,
        evenness: Evenness | None = None,
        now: Callable[[], int] = lambda: 0,
    ) -> None:
        """Serve the sessions of C{directory}.

        @param pause: waits a little, for room on the disk; without it, a lack of room is an error.
        @param throttle: slows guessing down; without it, everybody may guess.
        @param evenness: when refusals of logins are said; without it, as soon as they are known.
        @param now: the time in milliseconds since 1970-01-01 UTC; without it, nobody is given a token whose
            password the operator has ever replaced.
        """
        self._users = users
        self._passwords = passwords
        self._directory = directory
        self._deletion = Deletion(users, passwords, mailroom, directory, pause)
        self._throttle = throttle or Throttle(None)
        self._evenness = evenness or Evenness()
        self._now = now
        self.registration = registration
        # How often passwords were changed, and the tokens of an account revoked, since the start;
        # and which of these was the account's last, and the last that ended its sessions.
        self._changes = 0
        self._last_change: dict[int, int] = {}
        self._last_end: dict[int, int] = {}
        # Sign-ups that failed when there was no room even to undo them, by name.
        self._left_over: dict[str, Account] = {}

    async def invited(self, code: str, network: str | None = None) -> bytes | None:
        """What L{offer} and L{sign_up} want to see of somebody with this invitation.

        Where everybody may sign up that is nothing, and no invitation is looked at or used up.

        @param network: see L{chat.origin.Origin.network}.
        @raise chat.errors.Refusal: C{wrong-invite}; C{slow-down}.
        """
        if self.registration is Registration.OPEN:
            return None
        invitation = digest(code, INVITATION_GROUPS)
        good = await self._users.invited(invitation)
        if not good or self.registration is Registration.CLOSED:
            self._throttle.failed("", network, alike=True)
            raise _wrong_invite()
        return invitation

    @property
    def _alike(self) -> bool:
        """Whether it is a secret which names have an account."""
        return self.registration is not Registration.OPEN

    def _asker(self, name: str, network: str | None, proven: bool = False) -> Asker:
        """Who wants something to be hashed.

        @param proven: whether something was shown that no stranger has.
        """
        place = None if network is None else neighbourhood(network)
        # At home by the place alone: who is known there is not for others there to find out.
        return Asker(place, name, proven or self._throttle.is_home(network))

    def begin(self) -> float:
        """An attempt to log in begins; this moment is for L{may_refuse}."""
        return self._evenness.now()

    async def may_refuse(self, begun: float) -> None:
        """Wait until a refusal does not tell by its moment whether the name has an account.

        Where sign-up is open that is no secret, and there is no wait.
        """
        if self._alike:
            await self._evenness.reached(begun)

    async def offer(self, name: str, invitation: bytes | None = None, network: str | None = None) -> bool:
        """Whether this prepared name, unknown so far, may be signed up now. False: ask for the password.

        Unless registration is open, every name is asked for its password, but for who is invited.

        @param invitation: what L{invited} gave.
        @param network: see L{chat.origin.Origin.network}.
        @raise chat.errors.Refusal: C{name-reserved}; C{name-confusable}, it looks like one that is taken,
            or mixes scripts; C{slow-down}, somebody there has asked with an invitation for too many that
            are not free.
        """
        if invitation is None:
            return self.registration is Registration.OPEN and await self._free(name)
        is_free = self._throttle.naming(network)
        free = await self._free(name)
        if free:
            is_free()
        return free

    async def _free(self, name: str) -> bool:
        if await self._users.find(name) is not None:
            return False
        if await self._users.reserved(name):
            raise name_reserved(name)
        if not one_script(name):
            raise mixes_scripts()
        if await self._users.alike(name):
            raise looks_taken()
        return True

    async def exists(self, name: str) -> bool:
        """Whether there is an account of this prepared name; not for strangers to know."""
        return await self._users.find(name) is not None

    async def sign_up(
        self,
        name: str,
        password: str,
        codes: Sequence[str] = (),
        invitation: bytes | None = None,
        network: str | None = None,
    ) -> Account:
        """Create an account under this prepared name.

        @param codes: its recovery codes.
        @param invitation: what L{offer} was asked with; it is used up by this.
        @param network: see L{chat.origin.Origin.network}.
        @raise chat.errors.Refusal: C{bad-password}, C{name-taken} (somebody was
            faster), C{name-reserved}, C{name-confusable}, C{wrong-invite} (somebody else has used it
            up), C{slow-down}, C{storage-full}.
        """
        chosen = new_password(password)
        self._throttle.signs_up(network)
        if name in self._left_over:
            await self._abandon(self._left_over[name])
        account = await self._users.join(name)
        try:
            # An account that exists has a password.
            asker = self._asker(name, network, proven=invitation is not None)
            await self._passwords.set(account.id, chosen, _digests(codes), asker)
            if not await self._users.activate(account, invitation):
                raise _wrong_invite()
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

    async def log_in(self, name: str, password: str, network: str | None = None) -> Admission:
        """Admit to the account of this prepared name, if this is its password.

        @param network: see L{chat.origin.Origin.network}.
        @raise chat.errors.Refusal: C{wrong-password}, in the same time whether the
            name is known or not; C{slow-down}.
        """
        with self._throttle.attempt(name, network, password, alike=self._alike) as in_earnest:
            since, at = self._changes, self._now()
            account = await self._users.find(name)
            await self._check(account if in_earnest else None, password, self._asker(name, network))
            assert account is not None
            # Hashing takes a while: the account may have gone meanwhile.
            if await self._users.find(name) != account:
                raise _wrong()
            return Admission(account, since, at=at)

    async def resume(self, name: str, token: str, network: str | None = None) -> Admission:
        """Admit to the account of this prepared name, if this is a token of it that is in force.

        It costs no hashing and writes nothing.

        @param network: see L{chat.origin.Origin.network}.
        @raise chat.errors.Refusal: C{wrong-token}, with the same work and in the same
            words whether the name is known or not; C{slow-down}.
        """
        since, at = self._changes, self._now()
        # A lone surrogate, which a token has not, must not matter here.
        grant = await self._passwords.bearer(token.encode(errors="replace"))
        # The name last, and nothing awaited after it: see log_in.
        account = await self._users.find(name)
        if grant is None or account is None or grant.account != account.id:
            self._throttle.failed(name, network, alike=self._alike)
            raise _wrong_token()
        if self._last_end.get(account.id, 0) > since:
            # It was revoked meanwhile, when all sessions were ended that there were: this one was none yet.
            raise _wrong_token()
        self._throttle.entered(name, network)
        return Admission(account, since, grant.number, at)

    async def recovering(self, name: str, code: str, network: str | None = None) -> Recovering:
        """Let somebody who has forgotten the password of this prepared name choose another one.

        It costs no hashing and writes nothing.

        @param network: see L{chat.origin.Origin.network}.
        @raise chat.errors.Refusal: C{wrong-recovery}, with the same work and in the same
            words whether the name is known or not; C{slow-down}.
        """
        account = await self._users.find(name)
        shown = digest(code, RECOVERY_GROUPS)
        good = await self._passwords.recoverable(account.id if account else None, shown)
        if not good or account is None:
            self._throttle.failed(name, network, alike=self._alike)
            raise _wrong_recovery()
        return Recovering(account, shown, network)

    async def recover(self, recovering: Recovering, new: str) -> None:
        """Replace the password, revoke all tokens of the account, and use the code up; in one commit.

        @raise chat.errors.Refusal: C{bad-password}, and the code stays good; C{wrong-recovery}, it was
            used meanwhile, or the account is gone; C{slow-down}, C{storage-full}.
        """
        account, code, network = recovering
        chosen = new_password(new)
        with self._change(account):
            asker = self._asker(account.name, network, proven=True)
            if not await self._passwords.recover(account.id, code, chosen, asker):
                raise _wrong_recovery()

    def new_recovery_codes(self) -> list[str]:
        """Codes that no account has yet."""
        return [new_code(RECOVERY_GROUPS) for _ in range(RECOVERY_CODES)]

    async def renew_recovery_codes(self, account: Account, password: str) -> list[str]:
        """New recovery codes for the account, in place of those it has.

        @raise chat.errors.Refusal: C{wrong-password}, C{slow-down}, C{storage-full}.
        @raise FatalError: C{account-gone}, another session has deleted the account meanwhile.
        """
        codes = self.new_recovery_codes()

        def renew(shown: bytes) -> Awaitable[bool]:
            return self._passwords.renew_codes(account.id, shown, _digests(codes), _inside(account))

        await self._with_password(account, password, renew)
        return codes

    async def issue(self, admission: Admission) -> Issued:
        """A new token for somebody who was admitted.

        @raise chat.errors.Refusal: C{bad-state}, the password was changed since then: whoever
            was admitted with the old one stays, but is not to come back; C{storage-full}.
        @raise FatalError: C{account-gone}, another session has deleted the account meanwhile.
        """
        account, since, _, at = admission
        if self._last_change.get(account.id, 0) > since:
            raise proof_outdated()
        value = secrets.token_urlsafe(TOKEN_BYTES)
        grant = await self._passwords.issue(account.id, value.encode(), at)
        if grant is None:
            raise account_gone()
        if self._last_change.get(account.id, 0) > since:
            # A change came before it, and did not revoke what was not there yet.
            await self._passwords.revoke(account.id, [grant.number])
            raise proof_outdated()
        return Issued(value, grant.number, grant.expires)

    async def revoke(self, account: Account, numbers: Sequence[int]) -> None:
        """Revoke these tokens of the account.

        @raise chat.errors.Refusal: C{storage-full}.
        """
        if numbers:
            await self._passwords.revoke(account.id, numbers)

    async def revoke_all(self, account: Account, session: Resident) -> None:
        """Revoke all tokens of the account, and end its sessions but for the one that asked.

        @raise chat.errors.Refusal: C{storage-full}.
        """
        with self._change(account):
            await self._passwords.revoke(account.id, None)
        self._last_end[account.id] = self._changes
        self._directory.expel_others(account.id, session, logged_out())

    @contextmanager
    def _change(self, account: Account) -> Iterator[None]:
        """From the end of this, nobody is given a token who was admitted before it, unless it is refused.

        Otherwise somebody who knows the old password could make it last. What was issued before the
        change was made, that revokes.
        """
        try:
            yield
        except ChatError:
            raise
        except BaseException:
            self._note_change(account)  # who knows
            raise
        self._note_change(account)

    def _note_change(self, account: Account) -> None:
        self._changes += 1
        self._last_change[account.id] = self._changes

    async def change_password(self, account: Account, password: str, new: str) -> Admission:
        """Replace the password, and revoke all tokens of the account; admits who has done it.

        @raise chat.errors.Refusal: C{bad-password}, C{wrong-password}, C{slow-down}, C{storage-full}.
        @raise FatalError: C{account-gone}, another session has deleted the account meanwhile.
        """
        chosen = new_password(new)
        at = self._now()

        def change(shown: bytes) -> Awaitable[bool]:
            return self._passwords.change(account.id, shown, chosen, _inside(account))

        with self._change(account):
            await self._with_password(account, password, change)
        return Admission(account, self._changes, at=at)

    async def block(self, account: Account, name: str, blocked: bool) -> list[str]:
        """Let what the account of this name sends go back, or be taken again. Who is blocked then.

        @raise chat.errors.Refusal: C{bad-name}, C{unknown-recipient}, C{too-large}, C{bad-frame} (it is
            the account's own name), C{storage-full}.
        @raise FatalError: C{account-gone}.
        """
        return await self._users.block(account.id, prepare_name(name), blocked)

    async def blocked(self, account: Account) -> list[str]:
        """Who is blocked."""
        return await self._users.block(account.id, None, False)

    async def delete(self, account: Account, password: str, session: Resident) -> None:
        """Delete the account of who knows its password; see L{Deletion}.

        @param session: the one that asked; the account's other sessions end.
        @raise chat.errors.Refusal: C{wrong-password}, C{slow-down}, C{storage-full}.
        @raise FatalError: C{account-gone}, another session has deleted the account meanwhile.
        """

        def verify(shown: bytes) -> Awaitable[bool]:
            return self._passwords.verify(account.id, shown, _inside(account))

        await self._with_password(account, password, verify)
        await self._deletion.delete(account, session)

    async def finish(self) -> None:
        """Complete what a crash cut short: deletions, and sign-ups that had no password yet.

        And look at names that nobody looked at so far.
        """
        await self._users.compare_names()
        leaving, joining = await self._users.unfinished()
        for account in leaving:
            await self._deletion.complete(account)
        for account in joining:
            await self._abandon(account)

    async def _with_password(
        self, account: Account, password: str, do: Callable[[bytes], Awaitable[bool]]
    ) -> None:
        """Do what takes the password of who is logged in: whoever found the session open does not know it.

        @param do: gets the password as it is hashed; False: it is another one.
        """
        with self._throttle.attempt(account.name, INSIDE, password):
            shown = prepare_password(password)
            if shown is not None and await do(shown):
                return
            if await self._users.find(account.name) != account:
                raise account_gone()
            raise _wrong()

    async def _check(self, account: Account | None, password: str, asker: Asker) -> None:
        prepared = prepare_password(password)
        # A password that cannot be one costs the same work and gets the same answer.
        right = await self._passwords.verify(account.id if account else None, prepared or b"", asker)
        if not right or prepared is None:
            raise _wrong()


def _inside(account: Account) -> Asker:
    """All sessions of an account that are logged in, as one place; no name or address has a blank."""
    return Asker(f"{INSIDE} {account.name}", account.name, home=True)


def _wrong() -> Refusal:
    return Refusal(Code.WRONG_PASSWORD, "Wrong user name or password.")


def _wrong_token() -> Refusal:
    return Refusal(
        Code.WRONG_TOKEN,
        "This token is not, or no longer, one of that account. Log in with the password.",
    )


def _wrong_invite() -> Refusal:
    return Refusal(
        Code.WRONG_INVITE,
        "This invitation is not, or no longer, good for an account. Ask whoever sent it for another one.",
    )


def _wrong_recovery() -> Refusal:
    return Refusal(
        Code.WRONG_RECOVERY,
        "This recovery code is not, or no longer, one of that account. Each of them is good once.",
    )


def _digests(codes: Sequence[str]) -> list[bytes]:
    return [digest(code, RECOVERY_GROUPS) for code in codes]
