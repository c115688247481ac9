"""What arrives waits for a pause in the typing, and never touches what is there already."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chat.client.console import OutputGone

#: Who has not pressed a key for so long is not typing at the moment.
PAUSE_SECONDS = 1.0


class TypedLine(Protocol):
    """The line that somebody is typing.

    @ivar begun: whether there is anything of it to be seen, or will be in a moment.
    """

    @property
    def begun(self) -> bool:
        """See above."""

    def leave(self) -> None:
        """Go on below it; it stays as it is."""

    def resume(self) -> None:
        """Show it once more, where the cursor is."""


class Arrivals:
    """Shows what arrives between two lines that are typed.

    While nothing is typed, it is shown at once.  While somebody types, it waits until no key
    was pressed for a moment, or the line is done.  If it has to be shown below a line that
    is only half typed, that line is shown again further below, when nothing has come for a
    moment or the next key is pressed.
    """

    def __init__(self, clock: IReactorTime, line: TypedLine, write: Callable[[str], None]) -> None:
        """
        @param write: shows whole lines; may raise L{OutputGone}.
        """
        self._clock = clock
        self._line = line
        self._write = write
        self._pressed = float("-inf")
        self._held: list[str] = []
        self._waiters: list[Deferred[None]] = []
        self._later: IDelayedCall | None = None
        self._left = False  # the line stands above what has arrived since

    def show(self, text: str) -> None:
        """Show some lines, now or soon.

        @raise OutputGone: they cannot be shown.
        """
        self._held.append(text)
        pause = self._pressed + PAUSE_SECONDS - self._clock.seconds()
        if pause <= 0 or not self._line.begun:
            self._release()
        elif self._later is None:
            self._wake_in(pause)

    def seen(self) -> Deferred[None]:
        """Fires when all of it is shown; fails with L{OutputGone} if it cannot be."""
        if not self._held:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    def pressed(self) -> None:
        """A key was pressed, and has had its effect on the line."""
        self._pressed = self._clock.seconds()
        self._left = False  # it is shown again by the key
        if not self._line.begun:
            self.done()
        elif self._held:
            self._wake_in(PAUSE_SECONDS)

    def left(self) -> None:
        """The line was left for another reason: it is shown again in a moment, too."""
        self._left = True
        self._wake_in(PAUSE_SECONDS)

    def done(self) -> None:
        """The line that was being typed is complete, or gone."""
        self._left = False
        self._wake()

    def _release(self) -> None:
        held, self._held = self._held, []
        waiters, self._waiters = self._waiters, []
        try:
            if self._line.begun and not self._left:
                self._line.leave()
                self.left()
            self._write("".join(f"{text}\n" for text in held))
        except OutputGone as gone:
            for waiter in waiters:
                waiter.errback(gone)
            raise
        if self._left:
            self._wake_in(PAUSE_SECONDS)
        for waiter in waiters:
            waiter.callback(None)

    def _wake_in(self, seconds: float) -> None:
        self._sleep()
        self._later = self._clock.callLater(seconds, self._wake)

    def _sleep(self) -> None:
        later, self._later = self._later, None
        if later is not None and later.active():
            later.cancel()

    def _wake(self) -> None:
        self._sleep()
        if self._held:
            with suppress(OutputGone):  # who waits is told
                self._release()
        elif self._left:
            self._left = False
            self._line.resume()
