"""Who is online: memory only, gone with the process."""

from __future__ import annotations

from typing import Protocol, Sequence

from chat.errors import FatalError
from chat.ledger import Arrival
from chat.messages import Delivered


class Resident(Protocol):
    """A logged-in session, as the mailroom knows it."""

    @property
    def live(self) -> bool:
        """Whether it is shown a message the moment it is committed."""

    def push(self, arrivals: Sequence[Arrival]) -> None:
        """These have just been committed to its mailbox."""

    def more(self) -> None:
        """Something came into its mailbox that is to be read from the store."""

    def notify(self, frame: Delivered) -> None:
        """Tell the client this, between answers."""

    def expel(self, error: FatalError) -> None:
        """It is no session of its account any more; this is its last word."""


class Directory:
    """The sessions of each account."""

    def __init__(self) -> None:
        # Tuples, replaced and never changed: the store's thread looks in here, too.
        self._sessions: dict[int, tuple[Resident, ...]] = {}

    def add(self, account: int, session: Resident) -> None:
        """This session has logged in."""
        self._sessions[account] = (*self._sessions.get(account, ()), session)

    def discard(self, account: int, session: Resident) -> None:
        """This session has ended or left the account; harmless when it was not there."""
        rest = tuple(each for each in self._sessions.get(account, ()) if each is not session)
        if rest:
            self._sessions[account] = rest
        else:
            self._sessions.pop(account, None)

    def sessions(self, account: int) -> tuple[Resident, ...]:
        """The account's sessions, oldest first."""
        return self._sessions.get(account, ())

    def expel_others(self, account: int, session: Resident, error: FatalError) -> None:
        """End the account's sessions but this one."""
        for each in self.sessions(account):
            if each is not session:
                each.expel(error)

    @property
    def online(self) -> tuple[int, int]:
        """How many accounts there are with a session, and how many sessions."""
        return len(self._sessions), sum(map(len, self._sessions.values()))

    def live(self, account: int) -> bool:
        """Whether a message committed now is shown to the account at once. May be asked in any thread."""
        for session in self._sessions.get(account, ()):  # noqa: SIM110 - asked for every recipient
            if session.live:
                return True
        return False
