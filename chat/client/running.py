"""How the programs of the client run: the reactor, the exit status, and what they say at the end."""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Coroutine

INTERRUPTED = 130


def usual_reactor() -> Any:
    """The reactor of this system."""
    from twisted.internet import reactor

    return reactor


def asyncio_reactor() -> Any:
    """The reactor that shares its loop with the line editor."""
    import asyncio

    from twisted.internet import asyncioreactor

    loop = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    return usual_reactor()


def run_until(reactor: Any, start: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run the reactor until this has ended, and return what it returns."""
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    status = INTERRUPTED

    def ended(result: int | Failure) -> None:
        nonlocal status
        if isinstance(result, Failure):
            # A defect; its traceback is of more use than a polite sentence.
            status = 1
            result.printTraceback(sys.stderr)
        else:
            status = result
        if reactor.running:
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()).addBoth(ended))
    reactor.run()
    return status


def complain(text: str) -> None:
    """Say on the standard error why the program ends."""
    print(f"chat: {text}", file=sys.stderr, flush=True)


def flush() -> None:
    """Let nothing be flushed at exit into a pipe that nobody reads."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
