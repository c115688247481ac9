"""What a client that is logged in may ask for, and how each request is carried out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Coroutine, Iterator, Optional

from chat.accounts import Accounts, Admission
from chat.directory import Resident
from chat.errors import Code, Refusal
from chat.journal import Event, tell
from chat.limits.throttle import WRONG
from chat.mailroom import Mailroom
from chat.messages import (
    AccountDeleted,
    Block,
    Blocked,
    Blocks,
    ChangePassword,
    Delete,
    DeleteAccount,
    Frame,
    List,
    LoggedOut,
    Login,
    Logout,
    Message,
    PasswordChanged,
    Ping,
    Quit,
    Read,
    Received,
    Recovery,
    RecoveryCodes,
    Search,
    System,
    Token,
    TokenIssued,
    Unblock,
    keyword,
)
from chat.origin import Origin
from chat.times import rfc3339

#: The steps to the answer.
Steps = Coroutine[Any, Any, Frame]


class Requests:
    """Carries out what one client asks for in one login; each request has one answer, or is refused.

    @ivar awaited: whether anybody waits for the answers; what only looks need not go on if not.
    """

    __slots__ = ("_account", "_accounts", "_admission", "_mailroom", "_origin", "_tokens", "awaited")

    def __init__(self, admission: Admission, accounts: Accounts, mailroom: Mailroom, origin: Origin) -> None:
        """Let the client ask who was admitted."""
        self._account = admission.account
        self._accounts = accounts
        self._admission = admission
        self._mailroom = mailroom
        self._origin = origin
        self.awaited = True
        # The numbers of those shown and given in this login.
        self._tokens: tuple[int, ...] = () if admission.token is None else (admission.token,)

    def request(self, frame: Frame) -> Optional[Steps]:
        """What carries out this request, after which the client is where it was; C{None}: it is none."""
        carry_out = _REQUESTS.get(type(frame))
        return None if carry_out is None else carry_out(self, frame)

    async def log_out(self, session: Resident, frame: Logout) -> Frame:
        """Revoke the tokens of this login, or all; whoever asked for it is to leave the account.

        @param session: the one that asks.
        """
        if frame.all:
            await self._accounts.revoke_all(self._account, session)
        else:
            await self._accounts.revoke(self._account, self._tokens)
        self._tell(Event.TOKENS_REVOKED, which="all tokens" if frame.all else "the tokens of a login")
        return LoggedOut()

    async def delete_account(self, session: Resident, frame: DeleteAccount) -> Frame:
        """Delete the account that the session is to leave.

        @param session: the one that asks.
        """
        with self._journal("delete-account"):
            await self._accounts.delete(self._account, frame.password, session)
        self._tell(Event.DELETED)
        return AccountDeleted()

    def _listing(self, frame: List) -> Steps:
        return self._mailroom.listing(self._account, frame.box, frame.after, frame.limit, frame.before)

    def _search(self, frame: Search) -> Steps:
        return self._mailroom.search(self._account, frame, lambda: self.awaited)

    def _read(self, frame: Read) -> Steps:
        return self._mailroom.read(self._account, frame.ids)

    def _remove(self, frame: Delete) -> Steps:
        return self._mailroom.remove(self._account, frame.ids)

    async def _change_password(self, frame: ChangePassword) -> Frame:
        with self._journal("change-password"):
            self._admission = await self._accounts.change_password(self._account, frame.password, frame.new)
        self._tell(Event.PASSWORD_CHANGED)
        return PasswordChanged()

    async def _renew_codes(self, frame: Recovery) -> Frame:
        with self._journal("recovery"):
            codes = await self._accounts.renew_recovery_codes(self._account, frame.password)
        self._tell(Event.CODES_MADE)
        return RecoveryCodes(codes=codes)

    async def _block(self, frame: Block) -> Frame:
        return Blocked(usernames=await self._accounts.block(self._account, frame.username, True))

    async def _unblock(self, frame: Unblock) -> Frame:
        return Blocked(usernames=await self._accounts.block(self._account, frame.username, False))

    async def _blocks(self, frame: Blocks) -> Frame:
        return Blocked(usernames=await self._accounts.blocked(self._account))

    async def _issue_token(self, frame: Token) -> Frame:
        token = await self._accounts.issue(self._admission)
        self._tokens += (token.number,)
        self._tell(Event.TOKEN_ISSUED, number=token.number)
        return TokenIssued(value=token.value, expires=rfc3339(token.expires))

    def _tell(self, event: Event, **fields: Any) -> None:
        """Log what was done with the account."""
        tell(event, self._origin, self._account.name, **fields)

    @contextmanager
    def _journal(self, request: str) -> Iterator[None]:
        """Log it if the password for this request was wrong."""
        try:
            yield
        except Refusal as refusal:
            if refusal.code in WRONG:
                self._tell(Event.REFUSED, request=request, code=refusal.code.value)
            raise


_REQUESTS: dict[type[Frame], Callable[[Requests, Any], Steps]] = {
    List: Requests._listing,
    Search: Requests._search,
    Read: Requests._read,
    Delete: Requests._remove,
    ChangePassword: Requests._change_password,
    Recovery: Requests._renew_codes,
    Token: Requests._issue_token,
    Block: Requests._block,
    Unblock: Requests._unblock,
    Blocks: Requests._blocks,
}
#: What a client may say besides.
_SAID = (Login, Message, Received, DeleteAccount, Logout, Ping, Quit)


def is_request(frame: Frame) -> bool:
    """Whether clients say this, though perhaps not now."""
    return type(frame) in _REQUESTS or isinstance(frame, _SAID)


def said_by_servers(frame: Frame) -> Refusal:
    """The refusal of a frame that only servers say."""
    assert isinstance(frame, System)
    return Refusal(Code.BAD_FRAME, f"{keyword(frame)} is said by servers, not by clients.")


def not_before_login(ref: str | None) -> Refusal:
    """The refusal of a frame from a client that is not logged in."""
    return Refusal(Code.BAD_STATE, "Log in first: only login frames are taken before the welcome.", ref=ref)
