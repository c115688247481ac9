"""What is logged of accounts: who did what, and from where.

An entry names the account and the address.  It never holds a password, a token, a code, a
subject or a body; nor a name that is no account's, since people type passwords where names
are asked for.  Names and addresses are written so that they cannot look like another entry.
There is no entry for a message: the ledger is what tells of those.

Each entry is an event of C{twisted.logger} with the fields C{event}, C{account} and
C{address}, for programs that read the log.
"""

from __future__ import annotations

from enum import Enum
from typing import Callable

from twisted.logger import Logger, LogLevel

from chat.health import gauges
from chat.origin import Origin, neighbourhood
from chat.wire.text_words import visible

#: What happens with each request of a program is logged once in so many seconds.
SILENCE = 600.0
#: So many entries are remembered for that.
REMEMBERED = 10_000
#: Instead of the name where there is no such account.
NOBODY = "(no account)"


class Event(Enum):
    """What can be told, in words."""

    LOGGED_IN = "{account} logged in from {address} with a {proof}"
    LOGIN_FAILED = "login to {account} from {address} refused: {code}"
    SIGNED_UP = "{account} was created from {address}"
    PASSWORD_CHANGED = "{account} changed its password from {address}"
    RECOVERED = "{account} was recovered from {address} with a recovery code"
    CODES_MADE = "{account} got new recovery codes from {address}"
    TOKEN_ISSUED = "{account} got token {number} from {address}"
    TOKENS_REVOKED = "{account} revoked {which} from {address}"
    DELETED = "{account} was deleted from {address}"
    REFUSED = "{account}: {request} from {address} refused: {code}"
    CUT = "connection from {address} cut: {size} bytes of it lay here, more than of any other"
    TURNED_AWAY = "{count} connections turned away so far, the last from {address}: {code}"


_log = Logger("chat.journal")
_WARNINGS = frozenset((Event.LOGIN_FAILED, Event.REFUSED, Event.CUT, Event.TURNED_AWAY))


def tell(event: Event, origin: Origin, account: str | None = None, **more: str | int) -> None:
    """Log that this happened.

    @param account: the name of an account that exists, or existed until this; C{None} if there is none.
    @param more: what else the words of the event name; nothing that was typed.
    """
    gauges.events[_name(event)] += 1
    _log.emit(
        LogLevel.warn if event in _WARNINGS else LogLevel.info,
        event.value,
        event=_name(event),
        account=NOBODY if account is None else visible(account),
        address=visible(origin.shown),
        **more,
    )


class Seldom:
    """Tells what may happen as often as somebody likes, so that nobody can fill the disk with it."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Begin with having told nothing.

        @param now: the time in seconds.
        """
        self._now = now
        self._told: dict[tuple[object, ...], float] = {}  # what, and when; the oldest first

    def tell(self, event: Event, origin: Origin, account: str | None = None, **more: str | int) -> None:
        """As L{chat.journal.tell}; what was logged lately of the same account and place is only counted.

        One IPv6 address is as good as another of the same site, which has as many as it likes.
        """
        place = origin.shown if origin.network is None else neighbourhood(origin.network)
        told = (event, account, place, *more.items())
        now = self._now()
        while self._told and next(iter(self._told.values())) <= now - SILENCE:
            self._forget()
        if told in self._told:
            gauges.events[_name(event)] += 1
            return
        if len(self._told) >= REMEMBERED:
            self._forget()
        self._told[told] = now
        tell(event, origin, account, **more)

    def _forget(self) -> None:
        del self._told[next(iter(self._told))]


def _name(event: Event) -> str:
    return event.name.lower().replace("_", "-")
