"""Somebody who sends to everybody, and takes what comes: what the clients of a load have in common."""

from __future__ import annotations

import random
from typing import Any, Awaitable

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.force.books import Books, Sent


class User:
    """An account and its client.

    @ivar talking: whether it goes on sending.
    @ivar here: fires at the first login.
    """

    def __init__(self, reactor: Any, name: str, books: Books, chance: random.Random) -> None:
        """Enter the account into the books."""
        self.reactor = reactor
        self.name = name
        self.books = books
        self.chance = chance
        self.talking = True
        self.here: Deferred[None] = Deferred()
        self.silent: Deferred[None] | None = None
        books.arrived[name] = {}

    def welcome(self) -> None:
        """It is logged in, perhaps for the first time."""
        if not self.here.called:
            self.here.callback(None)

    def talk(self) -> None:
        """Begin to send."""
        self.silent = Deferred.fromCoroutine(self._talk())

    async def fall_silent(self) -> None:
        """Begin nothing new; done when everything sent is accepted."""
        self.talking = False
        assert self.silent is not None
        await self.silent

    async def _talk(self) -> None:
        """One burst after another, each as soon as the one before it is accepted."""
        while self.talking:
            burst = [self.books.compose(self.name) for _ in range(self.chance.randint(1, 8))]
            if self.chance.random() < 0.1:
                burst += self.earlier(2)
            await self.send(burst)
            await deferLater(self.reactor, self.chance.uniform(0, 0.04))

    def earlier(self, most: int) -> list[Sent]:
        """Some messages of this user that were accepted already, to be sent again."""
        told = [key for key in list(self.books.told)[-200:] if key[0] == self.name]
        chosen = self.chance.sample(told, min(most, len(told)))
        self.books.figures.repeated += len(chosen)
        return [self.books.sent[key] for key in chosen]

    # --- for each kind of client ---

    def connect(self) -> None:
        """Connect, and go on connecting whenever the connection is lost."""
        raise NotImplementedError

    def send(self, burst: list[Sent]) -> Awaitable[object]:
        """Send these; done when all of them are accepted."""
        raise NotImplementedError

    def close(self) -> Awaitable[object]:
        """Hang up for good, after confirming what came."""
        raise NotImplementedError

    def stop(self) -> None:
        """Do nothing more, at once."""
        raise NotImplementedError
