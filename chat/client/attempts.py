"""Connecting, and connecting again, each time after a longer while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from chat.client.backoff import Backoff
from chat.client.connection import ConnectionFactory
from chat.client.errors import unreachable


class Attempts:
    """One attempt to connect at a time; who asks for them decides whether there is another one."""

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        factory: ConnectionFactory,
        backoff: Backoff,
        timeout: float,
        failed: Callable[[Exception], object],
    ) -> None:
        """
        @param timeout: seconds that one attempt may take.
        @param failed: told why an attempt has failed.
        """
        self._clock = clock
        self._endpoint = endpoint
        self._factory = factory
        self._backoff = backoff
        self._timeout = timeout
        self._failed = failed
        self._attempt: Deferred[Any] | None = None
        self._retry: IDelayedCall | None = None

    def begin(self) -> None:
        """Connect now."""
        self._retry = None
        self._attempt = attempt = self._endpoint.connect(self._factory)
        attempt.addTimeout(self._timeout, self._clock)
        attempt.addCallbacks(lambda _: None, self._unreachable)

    def again(self, least: float) -> float:
        """Connect again, after so many seconds at least; after how many."""
        delay = max(self._backoff.next(), least)
        self._retry = self._clock.callLater(delay, self.begin)
        return delay

    def succeeded(self) -> None:
        """The next failure is the first one again."""
        self._backoff.reset()

    def stop(self) -> None:
        """Connect no more."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def give_up(self) -> None:
        """Do not wait for the present attempt."""
        if self._attempt is not None:
            self._attempt.cancel()

    def _unreachable(self, failure: Failure) -> None:
        self._failed(unreachable(failure))
