"""A terminal with a line editor: what arrives is shown above the line being typed."""

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
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import CompleteStyle
from twisted.internet.defer import CancelledError, Deferred, succeed

from chat.client.console import Completions, EndOfInput
from chat.client.look import Look, Tone


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
    has been typed.  Passwords are never kept in the history.  Only the line that is being
    typed is ever drawn again, no menus and no bars: what is shown above it stays.
    """

    interactive = True

    def __init__(self, look: Look | None = None, history: History | None = None) -> None:
        self._look = Look() if look is None else look
        self._output = create_output()
        if isinstance(self._output, Vt100_Output):
            # Asking where the cursor is serves only menus, and not all terminals answer.
            self._output.enable_cpr = False
        self._completer = _Completer()
        self._commands = self._editor(
            InMemoryHistory() if history is None else history,
            completer=self._completer,
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
        )
        self._secrets = self._editor(DummyHistory())
        self._patch = patch_stdout(raw=True)
        self._patch.__enter__()
        self._question: asyncio.Future[Optional[str]] | None = None
        self._closed = False

    def show(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """See L{Console.show<chat.client.console.Console.show>}."""
        print(self._look.dress(line, tone), file=sys.stdout, flush=True)

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
        if self._question is None:
            self._restore()
            return succeed(None)
        # The editor must leave raw mode before the event loop ends.
        self._question.cancel()
        ended = asyncio.ensure_future(asyncio.wait([self._question]))
        return Deferred.fromFuture(ended).addCallback(lambda _: self._restore())

    def _restore(self) -> None:
        self._patch.__exit__(None, None, None)

    def _editor(self, history: History, **more: Any) -> PromptSession[str]:
        return PromptSession(
            history=history,
            output=self._output,
            interrupt_exception=_Interrupted,
            eof_exception=EndOfInput,
            reserve_space_for_menu=0,
            **more,
        )

    async def _ask(self, prompt: str, hidden: bool) -> Optional[str]:
        editor = self._secrets if prompt else self._commands
        while True:
            try:
                return await editor.prompt_async(prompt or "> ", is_password=hidden)
            except asyncio.CancelledError:
                raise CancelledError from None  # the one that Twisted's callers know
            except _Interrupted:
                if not editor.default_buffer.text:
                    raise EndOfInput from None
