"""A user of the client library: every message comes to the application exactly once."""

from __future__ import annotations

import random
from typing import Any, Awaitable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from chat.client import Backoff, Client
from chat.messages import Accepted, Message, Welcome
from tests.daemon import password
from tests.force.books import Books, Sent
from tests.force.user import User


class LibraryUser(User):
    """One L{Client} for the whole time.

    @ivar slowness: up to how many seconds its application takes for a message.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        books: Books,
        chance: random.Random,
        address: str,
        codec: str,
        slowness: float = 0.0,
    ) -> None:
        super().__init__(reactor, name, books, chance)
        self.slowness = slowness
        self._last = 0
        self._written: set[str] = set()  # on a connection, and not answered
        self.client = Client(
            reactor,
            address,
            name,
            password(name),
            codec=codec,
            create=True,
            on_message=self._take,
            on_connected=self._connected,
            on_stopped=self._stopped,
            backoff=Backoff(0.05, 0.3, chance.random),
        )

    def connect(self) -> None:
        """See L{User.connect}: the library does it all."""
        self.client.start().addErrback(lambda failure: self.books.fail(f"{self.name}: {failure.value}"))

    def send(self, burst: list[Sent]) -> Awaitable[object]:
        """See L{User.send}."""
        return gatherResults([self._send(each) for each in burst], consumeErrors=True)

    def close(self) -> Awaitable[object]:
        """See L{User.close}."""
        return self.client.close()

    def stop(self) -> None:
        """See L{User.stop}."""
        self.talking = False
        if not self.client.stopped:
            self.client.close()

    def _send(self, sent: Sent) -> Deferred[None]:
        def accepted(answer: Accepted) -> None:
            self._written.discard(sent.ref)
            self.books.accepted(self.name, sent.ref, answer.id, answer.time)

        answer = self.client.send(sent.recipient, sent.body, ref=sent.ref)
        if self.client.connected:
            self._written.add(sent.ref)
        return answer.addCallback(accepted)

    def _connected(self, welcome: Welcome) -> None:
        self.welcome()
        self.books.figures.repeated += len(self._written)

    def _take(self, message: Message) -> Awaitable[object] | None:
        body, came_back = message.body, message.returned is not None
        if self.books.arrives(self.name, message.id, message.sender, body, came_back) > 1:
            self.books.twice(self.name, message.id)
        if message.id < self._last:
            self.books.fail(f"message {message.id} came to {self.name} behind {self._last}")
        self._last = message.id
        if not self.slowness:
            return None
        return deferLater(self.reactor, self.chance.uniform(0, self.slowness))

    def _stopped(self, error: Exception | None) -> None:
        if error is not None:
            self.books.fail(f"the client of {self.name} has stopped: {error}")
