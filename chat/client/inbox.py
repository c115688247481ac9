"""Messages on their way to the application: each one once, and confirmed only after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from inspect import isawaitable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chat.client.connection import Connection
from chat.client.errors import ClientError
from chat.client.fates import WAITING
from chat.client.seen import Seen
from chat.messages import READ_IDS, List, Listing, Message, Messages, Read, Received

OnMessage = Callable[[Message], Awaitable[object] | None]

#: The most ids in one C{received} frame.
_RECEIVED_IDS = 5_000


class Inbox:
    """Gives messages to a callback one at a time, in order, and confirms them.

    A slow callback costs a bounded amount of memory: what arrives beyond it is
    forgotten and fetched again from the mailbox, where it waits, later.
    """

    _log = Logger()

    def __init__(
        self, on_message: OnMessage | None, most: int = 1_000, most_bytes: int = 16 * 1024 * 1024
    ) -> None:
        self._on_message = on_message
        self._most = most
        self._most_bytes = most_bytes
        self._connection: Connection | None = None
        self._backlog: deque[Message] = deque()
        self._bytes = 0
        self._held: dict[int, str] = {}  # the times of those in the backlog, or with the callback
        self._here: set[int] = set()  # those of them that came over the present connection
        self._seen = Seen()
        self._confirmed: list[int] = []
        self._missed: int | None = None  # the lowest id that was forgotten
        self._fetching = False
        self._running = False

    def connected(self, connection: Connection) -> None:
        """Confirm over this connection from now on."""
        self._connection = connection

    def disconnected(self) -> None:
        """The server will deliver again what it does not know to be received."""
        self._connection = None
        self._missed = None
        self._here.clear()
        self._confirmed.clear()

    def part(self) -> None:
        """Give the callback what has arrived, and confirm it; what arrives later is left with the server.

        For it could not be confirmed any more, and would be given again at the next login.
        """
        self.turn()
        self._on_message = None
        self._missed = None

    def close(self) -> None:
        """Give the callback nothing more."""
        self.disconnected()
        self._backlog.clear()
        self._on_message = None

    def arrived(self, message: Message) -> None:
        """Take a message that the server delivered."""
        id = message.id
        held = self._held.get(id)
        if self._on_message is None:
            return
        if held == message.time:
            self._here.add(id)
        elif held is None and self._seen.holds(id, message.time):
            self._confirmed.append(id)
        elif (
            held is not None  # by another message, of a server whose files were put back
            or self._missed is not None
            or self._fetching
            or len(self._backlog) >= self._most
            or self._bytes >= self._most_bytes
        ):
            self._missed = id if self._missed is None else min(self._missed, id)
        else:
            self._keep(message)

    def turn(self) -> None:
        """Give the callback what has arrived, unless it is still busy, and confirm."""
        if self._running:
            self._confirm()
        elif self._backlog or self._confirmed or self._missed is not None:
            self._running = True
            Deferred.fromCoroutine(self._deliver()).addErrback(self._failed)

    def _keep(self, message: Message) -> None:
        self._held[message.id] = message.time
        self._here.add(message.id)
        self._backlog.append(message)
        self._bytes += len(message.body)

    async def _deliver(self) -> None:
        try:
            while True:
                while self._backlog and self._on_message is not None:
                    message = self._backlog.popleft()
                    self._bytes -= len(message.body)
                    await self._give(self._on_message, message)
                if self._missed is None or self._connection is None:
                    break
                self._confirm()
                try:
                    await self._fetch(self._connection)
                except ClientError:
                    break  # delivered again after the next login, or fetched at the next turn
        finally:
            self._running = False
        self._confirm()

    async def _give(self, on_message: OnMessage, message: Message) -> None:
        try:
            result = on_message(message)
            if isawaitable(result):
                if not (isinstance(result, Deferred) and result.called):
                    self._confirm()
                await result
        except Exception:
            self._log.failure(
                "on_message failed for message {id}; it stays unconfirmed and will come again",
                id=message.id,
            )
        else:
            self._seen.add(message.id, message.time)
            if message.id in self._here:  # otherwise it comes once more, and is confirmed then
                self._confirmed.append(message.id)
        finally:
            self._held.pop(message.id, None)
            self._here.discard(message.id)

    async def _fetch(self, connection: Connection) -> None:
        """Take one page of what was forgotten from the mailbox."""
        assert self._missed is not None
        first, self._missed, self._fetching = self._missed, None, True
        after = max(0, first - 1)
        try:
            page = await connection.ask(List(box="inbox", after=after, limit=READ_IDS), Listing)
            ids = [
                entry.id
                for entry in page.messages
                if entry.state == WAITING and not self._seen.holds(entry.id, entry.time)
            ]
            if ids:
                for message in (await connection.ask(Read(ids=ids), Messages)).messages:
                    self._keep(message)
            first = page.messages[-1].id + 1 if page.more and page.messages else 0
        finally:
            self._fetching = False
            if first and connection is self._connection:
                self._missed = first if self._missed is None else min(first, self._missed)

    def _confirm(self) -> None:
        ids = self._confirmed
        while ids and self._connection is not None:
            self._connection.tell(Received(ids=ids[:_RECEIVED_IDS]))
            del ids[:_RECEIVED_IDS]

    def _failed(self, failure: object | None) -> None:
        self._log.error("delivery to the application stopped: {failure}", failure=failure)
