"""A terminal with a line editor: nothing is ever changed but the line that is being typed."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Iterable, Optional

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import DummyHistory, History, InMemoryHistory
from prompt_toolkit.output import create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from chat.client.arrivals import Arrivals
from chat.client.console import Completions, EndOfInput, OutputGone
from chat.client.drawing import AppendingRenderer
from chat.client.echo import Echo
from chat.client.look import Look, Tone
from chat.client.text import is_text

#: Stands before what is typed, where nothing is asked.
_MARK = "> "


class _Interrupted(Exception):
    """Ctrl-C was typed."""


class _Completer(Completer):
    """Completes with what the client offers; nothing is drawn until Tab is pressed."""

    def __init__(self) -> None:
        self.offered: Completions = lambda before: ([], 0)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """See L{Completer.get_completions}."""
        words, replaced = self.offered(document.text_before_cursor)
        space = "" if document.text_after_cursor.startswith(" ") else " "
        return [
            Completion(word if word.endswith(":") else word + space, -replaced, display=word)
            for word in words
        ]


class EditedConsole:
    """For a person at a terminal; see L{chat.client.console.Console}.

    Ctrl-D, or Ctrl-C on an empty line, is the end of the input; Ctrl-C discards what
    has been typed.  Passwords are never kept in the history.  There is no prompt before
    something is typed, and there are no menus and no bars; so nothing that is shown need
    ever be taken back to show something else.
    """

    interactive = True

    def __init__(self, clock: IReactorTime, look: Look | None = None, history: History | None = None) -> None:
        self._look = Look() if look is None else look
        self._output = create_output()
        if isinstance(self._output, Vt100_Output):
            # Asking where the cursor is serves only menus, and not all terminals answer.
            self._output.enable_cpr = False
        self._arrivals = Arrivals(clock, self, self._write)
        self._renderer = AppendingRenderer(self._output, self._arrivals.left)
        self._completer = _Completer()
        self._commands = self._editor(
            InMemoryHistory() if history is None else history,
            completer=self._completer,
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
        )
        self._secrets = self._editor(DummyHistory())
        # What is typed while no line is asked for is shown when it is its turn, and not twice.
        self._echo = Echo(sys.stdin.fileno())
        self._echo.off()
        self._asking: PromptSession[str] | None = None
        self._question: asyncio.Future[Optional[str]] | None = None
        self._closed = False

    def show(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """See L{Console.show<chat.client.console.Console.show>}."""
        self._arrivals.show(self._look.dress(line, tone))

    def seen(self) -> Deferred[None]:
        """See L{Console.seen<chat.client.console.Console.seen>}."""
        return self._arrivals.seen()

    def ring(self) -> None:
        """See L{Console.ring<chat.client.console.Console.ring>}."""
        self._output.bell()

    def offer(self, completions: Completions) -> None:
        """See L{Console.offer<chat.client.console.Console.offer>}."""
        self._completer.offered = completions

    def ask(self, prompt: str = "", hidden: bool = False) -> Deferred[Optional[str]]:
        """See L{Console.ask<chat.client.console.Console.ask>}."""
        self._question = asyncio.ensure_future(self._ask(prompt, hidden))
        line: Deferred[Optional[str]] = Deferred.fromFuture(self._question)
        return line

    def close(self) -> Deferred[None]:
        """See L{Console.close<chat.client.console.Console.close>}."""
        if self._closed:
            return succeed(None)
        self._closed = True
        ended: Deferred[Any] = succeed(None)
        if self._question is not None:
            # The editor must leave raw mode before the event loop ends.
            self._question.cancel()
            ended = Deferred.fromFuture(asyncio.ensure_future(asyncio.wait([self._question])))
        return ended.addCallback(lambda _: self._echo.restore())

    # --- the line that is being typed ---------------------------------------------------

    @property
    def begun(self) -> bool:
        """See L{chat.client.arrivals.TypedLine.begun}."""
        if self._asking is None:
            return False
        return self._renderer.drawn or bool(self._asking.app.current_buffer.text)

    def leave(self) -> None:
        """See L{chat.client.arrivals.TypedLine.leave}."""
        self._renderer.leave()

    def resume(self) -> None:
        """See L{chat.client.arrivals.TypedLine.resume}."""
        self._renderer.away = False
        if self._asking is not None:
            self._asking.app.invalidate()

    def _pressed(self, sender: object) -> None:
        self._renderer.away = False
        self._arrivals.pressed()

    def _write(self, text: str) -> None:
        try:
            self._output.write_raw(text)
            self._output.flush()
        except OSError as error:
            raise OutputGone(str(error)) from None

    def _editor(self, history: History, **more: Any) -> PromptSession[str]:
        editor: PromptSession[str] = PromptSession(
            history=history,
            output=self._output,
            interrupt_exception=_Interrupted,
            eof_exception=EndOfInput,
            reserve_space_for_menu=0,
            enable_suspend=True,
            **more,
        )
        editor.app.renderer = self._renderer
        editor.app.key_processor.after_key_press += self._pressed
        return editor

    async def _ask(self, prompt: str, hidden: bool) -> Optional[str]:
        editor = self._secrets if prompt else self._commands

        def before() -> str:
            return prompt or (_MARK if editor.default_buffer.text else "")

        self._asking = editor
        try:
            while True:
                try:
                    line = await editor.prompt_async(before, is_password=hidden)
                    return line if is_text(line) else None
                except asyncio.CancelledError:
                    raise CancelledError from None  # the one that Twisted's callers know
                except _Interrupted:
                    if not editor.default_buffer.text:
                        raise EndOfInput from None
                finally:
                    self._renderer.away = False
        finally:
            self._asking = None
            self._arrivals.done()
