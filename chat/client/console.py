"""Where a person, or a script, types lines and reads them: append-only text."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Callable, Optional, Protocol, TextIO

from twisted.internet.defer import Deferred, succeed

from chat.client.echo import Echo
from chat.client.look import Look, Tone

#: Given what stands before the cursor: what could be meant, and how many characters it replaces.
Completions = Callable[[str], "tuple[list[str], int]"]


class EndOfInput(Exception):
    """Nothing more will be typed."""


class OutputGone(Exception):
    """Nobody reads what is shown any more."""


class Console(Protocol):
    """Lines in, lines out.

    @ivar interactive: whether a person sits there, rather than a script.
    """

    interactive: bool

    def show(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """Show a line, without tearing what is being typed; now, or when that can be.

        @raise OutputGone: it cannot be shown.
        """

    def seen(self) -> Deferred[None]:
        """Fires when all that was given to be shown is to be seen.

        @return: fails with L{OutputGone} if it cannot be.
        """

    def ring(self) -> None:
        """Ring the bell of the terminal, if there is one."""

    def offer(self, completions: Completions) -> None:
        """Complete with these from now on, where that can be."""

    def ask(self, prompt: str = "", hidden: bool = False) -> Deferred[Optional[str]]:
        """The next line that is typed, without its end; C{None} if it is no text.

        May be cancelled; one question at a time.

        @param prompt: what to show before it; empty for the next command.
        @param hidden: do not show what is typed.
        @return: fails with L{EndOfInput} when there is no more.
        """

    def close(self) -> Deferred[None]:
        """Leave the terminal as it was."""


class PlainConsole:
    """For pipes, files, and terminals on which nothing shall be redrawn.

    A thread waits for the lines, because a file cannot be waited for in any other way
    that works on all systems.  It reads only when a line is wanted, and from the
    descriptor itself, so that a program that ends need not wait for it.
    """

    def __init__(
        self,
        reactor: Any,
        source: int = 0,
        out: TextIO | None = None,
        encoding: str = "utf-8",
        look: Look | None = None,
        interactive: bool | None = None,
    ) -> None:
        """
        @param source: the descriptor that is read.
        @param out: where lines are shown; standard output by default.
        @param encoding: of what is read.
        @param interactive: whether a person sits there; otherwise it is found out.
        """
        self.interactive = os.isatty(source) if interactive is None else interactive
        self._reactor = reactor
        self._source = source
        self._out = sys.stdout if out is None else out
        self._encoding = encoding
        self._look = Look() if look is None else look
        self._buffer = b""
        self._ended = False
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._lines: deque[Optional[bytes]] = deque()
        self._reading = False
        self._waiter: Deferred[Optional[str]] | None = None
        self._hidden = False
        self._echo = Echo(source)
        self._thread = threading.Thread(target=self._read_lines, name="typed lines", daemon=True)
        self._thread.start()

    def show(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """See L{Console.show}."""
        self._write(self._look.dress(line, tone) + "\n")

    def seen(self) -> Deferred[None]:
        """See L{Console.seen}."""
        return succeed(None)

    def ring(self) -> None:
        """See L{Console.ring}."""
        if self._out.isatty():
            self._write("\a")

    def offer(self, completions: Completions) -> None:
        """See L{Console.offer}: there is no line editor here."""

    def ask(self, prompt: str = "", hidden: bool = False) -> Deferred[Optional[str]]:
        """See L{Console.ask}."""
        self._hidden = hidden and self.interactive
        if self._hidden:
            self._echo.off()  # before the prompt: from then on somebody may type
        if prompt and self.interactive:
            self._write(prompt)
        waiter: Deferred[Optional[str]] = Deferred(lambda _: self._forget())
        self._waiter = waiter
        if self._lines:
            self._tell(self._lines.popleft())
        elif not self._reading:
            self._reading = True
            self._wanted.put(hidden)
        return waiter

    def close(self) -> Deferred[None]:
        """See L{Console.close}."""
        self._echo.restore()
        return succeed(None)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError as error:
            raise OutputGone(str(error)) from None

    def _forget(self) -> None:
        self._waiter = None
        with suppress(OutputGone):
            self._hide_no_more()

    def _hide_no_more(self) -> None:
        hidden, self._hidden = self._hidden, False
        if hidden:
            self._echo.restore()
            self._write("\n")

    def _typed(self, lines: list[Optional[bytes]]) -> None:
        self._reading = False
        self._lines += lines
        if self._waiter is not None:  # otherwise it was cancelled: kept for the next one
            self._tell(self._lines.popleft())

    def _tell(self, line: Optional[bytes]) -> None:
        waiter, self._waiter = self._waiter, None
        assert waiter is not None
        try:
            self._hide_no_more()
        except OutputGone as gone:
            waiter.errback(gone)
            return
        if line is None:
            waiter.errback(EndOfInput())
            return
        try:
            text = line.decode(self._encoding)
        except UnicodeDecodeError:
            waiter.callback(None)
        else:
            waiter.callback(text)

    # --- in the thread ---

    def _read_lines(self) -> None:
        while True:
            lines = self._read_some(self._wanted.get())
            self._reactor.callFromThread(self._typed, lines)

    def _read_some(self, only_one: bool) -> list[Optional[bytes]]:
        """At least one line: all that have come together, so that they can be kept together."""
        while b"\n" not in self._buffer and not self._ended:
            try:
                more = os.read(self._source, 65536)
            except OSError:
                more = b""
            self._buffer += more
            self._ended = not more
        if not self._buffer:
            return [None]
        lines = self._buffer.split(b"\n", 1 if only_one or self._ended else -1)
        self._buffer = lines.pop() if len(lines) > 1 else b""
        return [line.removesuffix(b"\r") for line in lines]
