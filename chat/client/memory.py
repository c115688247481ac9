"""What the line client remembers of one account from one run to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from twisted.internet.interfaces import IReactorTime

from chat.client.letters import Keeping, Unkept
from chat.client.spool import Spool
from chat.client.state import State, StateError
from chat.messages import TokenIssued


class Memory:
    """The outbox, the names met and the token of one account at one server.

    It never fails: a client that cannot remember still talks, and says so where it matters.

    @ivar account: the name in its prepared form; set at the login.
    """

    def __init__(
        self,
        clock: IReactorTime,
        state: State | None,
        server: str,
        stay: bool = False,
        outbox: bool = True,
        complain: Callable[[str], object] = lambda text: None,
    ) -> None:
        """
        @param state: where it is kept; C{None}: nowhere.
        @param server: its address, in one form.
        @param stay: keep the token, so that nobody need type the password the next time.
        @param outbox: keep what is not sent yet.
        @param complain: told what cannot be kept.
        """
        self.account = ""
        self._clock = clock
        self._state = state
        self._server = server
        self._stay = stay
        self._outbox = outbox
        self._complain = complain

    def stayed(self, username: str | None) -> tuple[str, TokenIssued] | None:
        """The account that need not type its password: this one, or the only one that stayed logged in."""
        if self._state is not None:
            with suppress(StateError):
                names = [username] if username is not None else self._state.accounts(self._server)
                for name in map(own_form, names if len(names) == 1 else []):
                    token = self._state.token(self._server, name)
                    if token is not None:
                        self.account, self._stay = name, True
                        return name, token
        return None

    def token_changed(self, username: str, token: TokenIssued | None) -> None:
        """There is a new token, or none any more."""
        account = self.account or username
        if self._state is None or not (self._stay or token is None):
            return
        try:
            if token is not None or self._state.token(self._server, account) is not None:
                self._state.keep_token(self._server, account, token)
        except StateError as error:
            self._complain(f"You do not stay logged in: {error}.")

    def keeping(self) -> Keeping:
        """Where what is written is kept until it is sent."""
        if self._state is None or not self._outbox:
            return Unkept()
        return Spool(self._clock, self._state, self._server, self.account)

    def names(self) -> list[str]:
        """Whom this account has met, the latest last."""
        with suppress(StateError):
            if self._state is not None:
                return self._state.names(self._server, self.account)[::-1]
        return []

    def close(self, met: Iterable[str]) -> None:
        """The conversation is over, and it has met these."""
        names = list(met)
        with suppress(StateError):
            if self._state is not None and names:
                self._state.meet(self._server, self.account, names)


def own_form(name: str) -> str:
    """A name in the one form that the server gives it; as it is where it could be no name."""
    if name.isascii():
        return name.lower()

    from chat.prepared import address  # takes a while to import

    return address(name) or name
