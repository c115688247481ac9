"""How an account ends: step by step, and to the end whatever happens."""

from __future__ import annotations

from typing import Awaitable, Callable, Protocol

from chat.directory import Directory, Resident
from chat.errors import Code, Refusal, account_gone
from chat.ledger import Account
from chat.ports import PasswordStore, UserStore


class Returns(Protocol):
    """What the deletion of an account asks of the mailroom."""

    async def turn_round(self, account: Account) -> None:
        """Return every message that waits for this account."""


class Deletion:
    """The end of accounts: their waiting messages turn round, their names become reserved.

    Each step is a commit of its own and can be repeated; from the first one on
    the deletion will be completed, by the next start if not by this one.
    """

    def __init__(
        self,
        users: UserStore,
        passwords: PasswordStore,
        mailroom: Returns,
        directory: Directory,
        pause: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Delete accounts from these.

        @param pause: waits a little, for room on the disk; without it, a lack of room is an error.
        """
        self._users = users
        self._passwords = passwords
        self._mailroom = mailroom
        self._directory = directory
        self._pause = pause

    async def delete(self, account: Account, session: Resident) -> None:
        """Delete this account.

        @param session: the one that asked; the account's other sessions end.
        @raise chat.errors.Refusal: C{storage-full}.
        @raise FatalError: C{account-gone}, another session has deleted the account meanwhile.
        """
        if not await self._users.leave(account):
            # Another session was faster; or there was no room to complete it, and now there may be.
            await self.complete(account)
            raise account_gone()
        self._directory.expel_others(account.id, session, account_gone())
        await self.complete(account)

    async def complete(self, account: Account) -> None:
        """What follows the first step of a deletion: none of it is refused, it waits for room instead.

        Each step can be repeated.
        """
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
