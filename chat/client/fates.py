"""What became of messages, and who waits to know."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat.client.connection import Connection
from chat.client.errors import ClientError, UnknownMessage
from chat.messages import Entry, List, Listing, Messages, Read, Returned

#: The state of a message whose fate is still open.
WAITING = "waiting"

#: How many entries one question asks for when more than one message is waited for.
_PAGE = 100


@dataclass(frozen=True)
class Fate:
    """What became of one message.

    @ivar state: C{delivered}, C{returned}, C{recalled}, or C{dead} (returned, and its
        sender was gone too).
    @ivar returned: why it came back, if it did and the server still knows.
    @ivar time: when it was delivered, if the server told this client at that moment.
    """

    id: int
    state: str
    returned: Returned | None = None
    time: str | None = None


class Fates:
    """Those who wait for the fate of a message that this account sent.

    The server tells of deliveries only to sessions that are there, and only of messages
    sent with a receipt; so what is waited for is also looked up in the list of what was
    sent: each at once, and all after each login and at intervals.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, interval: float) -> None:
        self._clock = clock
        self._interval = interval
        self._waits: dict[int, list[Deferred[Fate]]] = {}
        self._connection: Connection | None = None
        self._poll: IDelayedCall | None = None
        self._asking = False
        self._due: set[int] = set()  # to be looked up

    def wait(self, id: int) -> Deferred[Fate]:
        """Fires with the fate of this message; may be cancelled."""

        def forget(cancelled: Deferred[Fate]) -> None:
            waits = self._waits.get(id, [])
            if cancelled in waits:
                waits.remove(cancelled)
                if not waits:
                    del self._waits[id]

        fate: Deferred[Fate] = Deferred(forget)
        self._waits.setdefault(id, []).append(fate)
        self._due.add(id)
        self._look_up()
        return fate

    def settle(self, fate: Fate) -> bool:
        """Tell those who wait for this message; whether anybody did."""
        waits = self._waits.pop(fate.id, ())
        for wait in waits:
            wait.callback(fate)
        return bool(waits)

    def connected(self, connection: Connection) -> None:
        """Ask over this connection from now on."""
        self._connection = connection
        self.learn()

    def disconnected(self) -> None:
        """Ask nothing until there is a connection again."""
        self._connection = None
        self._unpoll()

    def close(self, error: Exception) -> None:
        """Nobody will ever know."""
        self.disconnected()
        for id in list(self._waits):
            self._fail(id, error)

    def learn(self) -> None:
        """Look up all that is waited for."""
        self._due.update(self._waits)
        self._look_up()

    def _look_up(self) -> None:
        """Look up what is due, and all of it after the interval."""
        if not self._waits or self._connection is None:
            return
        if self._poll is None:
            self._poll = self._clock.callLater(self._interval, self._poll_now)
        if not self._asking:
            self._asking = True
            Deferred.fromCoroutine(self._ask(self._connection)).addErrback(self._not_learnt)

    def _poll_now(self) -> None:
        self._poll = None
        self.learn()

    def _unpoll(self) -> None:
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None

    def _not_learnt(self, failure: Failure) -> None:
        """Without an answer now, the next login or the next interval asks again."""
        if not isinstance(failure.value, ClientError):
            self._log.failure("the fates of messages could not be learnt", failure)

    async def _ask(self, connection: Connection) -> None:
        """Look up each id that is due, many with one question."""
        try:
            while ids := sorted(self._due & self._waits.keys()):
                self._due.clear()
                last = await self._ask_page(connection, ids)
                self._due.update(id for id in ids if id > last)
        finally:
            self._asking = False

    async def _ask_page(self, connection: Connection, ids: list[int]) -> int:
        """Learn what one page of the list tells; returns the last id that it tells about."""
        limit = 1 if len(ids) == 1 else _PAGE
        question = List(box="sent", after=max(ids[0] - 1, 0), limit=limit)
        page = await connection.ask(question, Listing)
        entries = {entry.id: entry for entry in page.messages}
        last = page.messages[-1].id if page.messages and page.more else ids[-1]
        for id in ids:
            if id in entries:
                await self._found(connection, entries[id])
            elif id <= last:
                self._fail(id, UnknownMessage(f"This account has sent no message {id}."))
        return max(last, ids[0])

    async def _found(self, connection: Connection, entry: Entry) -> None:
        if entry.state == WAITING:
            return
        returned = entry.returned
        if entry.state == "returned" and returned is None:
            # The message itself knows the reason, unless it has been removed since.
            answer = await connection.ask(Read(ids=[entry.id]), Messages)
            returned = answer.messages[0].returned if answer.messages else None
        self.settle(Fate(entry.id, entry.state, returned))

    def _fail(self, id: int, error: Exception) -> None:
        for wait in self._waits.pop(id, ()):
            wait.errback(error)
