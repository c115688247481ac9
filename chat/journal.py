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

from twisted.logger import Logger, LogLevel

from chat.origin import Origin
from chat.wire.text_words import visible

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
    _log.emit(
        LogLevel.warn if event in _WARNINGS else LogLevel.info,
        event.value,
        event=event.name.lower().replace("_", "-"),
        account=NOBODY if account is None else visible(account),
        address=visible(origin.shown),
        **more,
    )
