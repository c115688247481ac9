"""The token with which a client logs in again without its password."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat.client.connection import Connection
from chat.client.errors import ClientError
from chat.messages import Token, TokenIssued
from chat.times import milliseconds

#: A token is replaced so many seconds before its end, or after half of what was left of it.
_RENEW_BEFORE = 24 * 60 * 60

OnToken = Callable[["TokenIssued | None"], object]


class TokenKeeper:
    """Has a token whenever the server gives one, and a new one before it ends.

    A server that knows no tokens refuses to give one; then there is none, and each
    login takes the password.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, wanted: bool, token: TokenIssued | None, on_token: OnToken | None
    ) -> None:
        """
        @param wanted: whether to ask for tokens at all.
        @param token: one from an earlier run.
        @param on_token: told of each new token, and with C{None} when there is none any more.
        """
        self._clock = clock
        self._wanted = wanted
        self._on_token = on_token
        self._connection: Connection | None = None
        self._renewal: IDelayedCall | None = None
        self._token: TokenIssued | None = None
        self._renew_at = 0.0
        if token is not None:
            self._take(token)

    @property
    def value(self) -> str | None:
        """What to say in place of the password."""
        return None if self._token is None else self._token.value

    def connected(self, connection: Connection) -> None:
        """Logged in there: ask for a token if there is need of one."""
        self._connection = connection
        self._look()

    def disconnected(self) -> None:
        """No connection, nobody to ask."""
        self._connection = None
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    def refused(self) -> None:
        """The token is worth nothing, or not any more."""
        if self._token is not None:
            self._token = None
            self._tell(None)

    def revoked(self) -> None:
        """The password was changed: the token is gone, but we may have a new one."""
        self.refused()
        self._look()

    def _look(self) -> None:
        """Ask now, or when the time has come."""
        if not self._wanted or self._connection is None:
            return
        if self._token is None or self._renew_at <= self._clock.seconds():
            self._connection.ask(Token(), TokenIssued).addCallbacks(self._issued, self._not_issued)
        elif self._renewal is None:
            delay = self._renew_at - self._clock.seconds()
            self._renewal = self._clock.callLater(delay, self._renew)

    def _renew(self) -> None:
        self._renewal = None
        self._look()

    def _issued(self, token: TokenIssued) -> None:
        self._take(token)
        self._tell(token)
        if self._renew_at > self._clock.seconds():  # the two clocks may differ by any amount
            self._look()

    def _not_issued(self, failure: Failure) -> None:
        # The server knows no tokens, or has no room for one, or the connection is lost: the
        # password will do.
        failure.trap(ClientError)

    def _take(self, token: TokenIssued) -> None:
        now = end = self._clock.seconds()
        with suppress(ValueError):  # no moment: it is replaced at the next login
            end = milliseconds(token.expires) / 1000
        self._token = token
        self._renew_at = end - min(_RENEW_BEFORE, (end - now) / 2)

    def _tell(self, token: TokenIssued | None) -> None:
        if self._on_token is not None:
            try:
                self._on_token(token)
            except Exception:
                self._log.failure("a callback of the application failed")
