"""What is asked for again while it is under way is done once, and all who asked get the result."""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Hashable

from twisted.internet.defer import Deferred


class Together:
    """Who waits for what."""

    def __init__(self) -> None:
        """Nobody waits for anything."""
        self._waiting: dict[Hashable, list[Deferred[Any]]] = {}

    def __call__(self, key: Hashable, do: Callable[[], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
        """The result of this, or of what is under way by the same key.

        Whoever does not want to wait any more takes nothing from the others, not even who asked first.
        """
        result: Deferred[Any] = Deferred()
        if key in self._waiting:
            self._waiting[key].append(result)
        else:
            self._waiting[key] = [result]
            Deferred.fromCoroutine(do()).addBoth(self._done, key)
        return result

    def _done(self, result: object, key: Hashable) -> None:
        for each in self._waiting.pop(key):
            each.callback(result)
