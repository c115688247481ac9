"""Where requests are served: each has a conversation with the core of its own, for as long as it is open."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Callable, Optional

from twisted.internet.interfaces import IReactorTime

from chat.journal import Seldom
from chat.origin import origin
from chat.ports import Peer
from chat.session import Session
from chat.web.api.asked import Asked, credentials
from chat.web.api.conversation import Conversation
from chat.web.site import Request


class Desk:
    """Knows the requests that are being served.

    @ivar clock: what the time is.
    """

    def __init__(self, clock: IReactorTime, converse: Callable[[Peer], Session]) -> None:
        """Serve with sessions that C{converse} makes."""
        self.clock = clock
        self._converse = converse
        self._logins = Seldom(clock.seconds)
        self._open: dict[Request, Conversation] = {}

    @property
    def busy(self) -> int:
        """How many requests are being served."""
        return len(self._open)

    @asynccontextmanager
    async def conversation(
        self, asked: Asked, shown_after: Optional[int] = None
    ) -> AsyncIterator[Conversation]:
        """As whoever asks: logged in, until the request is served.

        @param shown_after: see L{Session}; by default nothing of the mailbox is shown.
        @raise Problem: they are not let in.
        """
        who = credentials(asked.request)
        came_from = origin(asked.request.getClientAddress())
        conversation = Conversation(self.clock, self._session, came_from, shown_after)
        self._open[asked.request] = conversation
        asked.request.waits = lambda: conversation.waits
        try:
            await conversation.log_in(who)
            yield conversation
        finally:
            del self._open[asked.request]
            conversation.end()

    def gone(self, request: Request) -> None:
        """Whoever asked has hung up."""
        if request in self._open:
            self._open[request].hang_up()

    def shut_down(self) -> None:
        """The server stops: every request is answered now, what is under way first."""
        for conversation in list(self._open.values()):
            conversation.shut_down()

    def _session(self, peer: Peer) -> Session:
        """A session for one request: each of them is a login, and they are logged now and then."""
        session = self._converse(peer)
        session.tell_logins_by(self._logins.tell)
        return session
