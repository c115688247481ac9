"""Where a person, or a script, types lines and reads them: append-only text."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Iterator, Optional, Protocol, TextIO

from twisted.internet.defer import Deferred, succeed


class EndOfInput(Exception):
    """Nothing more will be typed."""


class OutputGone(Exception):
    """Nobody reads what is shown any more."""


class Console(Protocol):
    """Lines in, lines out.

    @ivar interactive: whether a person sits there, rather than a script.
    """

    interactive: bool

    def show(self, line: str) -> None:
        """Show a line, without tearing what is being typed.

        @raise OutputGone: it cannot be shown.
        """

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
    ) -> None:
        """
        @param source: the descriptor that is read.
        @param out: where lines are shown; standard output by default.
        """
        self.interactive = os.isatty(source)
        self._reactor = reactor
        self._source = source
        self._out = sys.stdout if out is None else out
        self._encoding = encoding
        self._buffer = b""
        self._ended = False
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._lines: deque[Optional[bytes]] = deque()
        self._reading = False
        self._waiter: Deferred[Optional[str]] | None = None
        self._saved: Any = None
        self._thread = threading.Thread(target=self._read_lines, name="typed lines", daemon=True)
        self._thread.start()

    def show(self, line: str) -> None:
        """See L{Console.show}."""
        self._write(line + "\n")

    def ask(self, prompt: str = "", hidden: bool = False) -> Deferred[Optional[str]]:
        """See L{Console.ask}."""
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
        self._restore()
        return succeed(None)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError as error:
            raise OutputGone(str(error)) from None

    def _forget(self) -> None:
        self._waiter = None

    def _typed(self, line: Optional[bytes]) -> None:
        self._reading = False
        if self._waiter is None:  # the question was cancelled: keep it for the next one
            self._lines.append(line)
        else:
            self._tell(line)

    def _tell(self, line: Optional[bytes]) -> None:
        waiter, self._waiter = self._waiter, None
        assert waiter is not None
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
            hidden = self._wanted.get()
            with self._hiding(hidden and self.interactive):
                line = self._read_line()
            self._reactor.callFromThread(self._typed, line)

    def _read_line(self) -> Optional[bytes]:
        while b"\n" not in self._buffer and not self._ended:
            try:
                more = os.read(self._source, 65536)
            except OSError:
                more = b""
            self._buffer += more
            self._ended = not more
        if not self._buffer:
            return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    @contextmanager
    def _hiding(self, hide: bool) -> Iterator[None]:
        if not hide:
            yield
            return
        try:
            import termios
        except ImportError:  # no such terminals here
            yield
            return
        self._saved = termios.tcgetattr(self._source)
        silent = termios.tcgetattr(self._source)
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(self._source, termios.TCSADRAIN, silent)
        try:
            yield
        finally:
            self._restore()
            self._reactor.callFromThread(self._write, "\n")

    def _restore(self) -> None:
        saved, self._saved = self._saved, None
        if saved is not None:
            import termios

            termios.tcsetattr(self._source, termios.TCSADRAIN, saved)
