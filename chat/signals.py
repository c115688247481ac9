"""Signals from outside: asked to stop twice, the server stops once, and says so."""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable

from twisted.logger import Logger

#: What asks a program to stop; a system without one of them does not have its name.
STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))

_log = Logger()


def stop_once(reactor: Any) -> None:
    """Let the first request to stop be the only one: Twisted takes a second one for an error of the program.

    For a reactor that has just started: what it does at these signals is what the first one does.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # signals are for the main thread alone, and a reactor elsewhere knows none
    first = {number: signal.getsignal(number) for number in STOPS}
    asked: list[int] = []

    def stop(number: int, frame: Any) -> None:
        asked.append(number)
        action = first[number]
        if len(asked) > 1:
            reactor.callFromThread(_log.info, "stopping already: what was accepted is put on disk")
        elif callable(action):
            action(number, frame)

    for number, action in first.items():
        if callable(action):  # not where the operator has a signal ignored
            signal.signal(number, stop)


def on_hangup(reactor: Any, action: Callable[[], None]) -> Callable[[], object]:
    """Do this on SIGHUP, where there is such a thing; gives what ends that."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(action))
    return lambda: signal.signal(signal.SIGHUP, before)
