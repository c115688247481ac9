"""What is printed for the reader of a text door, prompts and hidden input included.

It is paper: text is appended, and nothing on it is ever changed.  Before the first
line has told telnet from nc, lines end with LF; then with CR LF for telnet, and
with LF for all others.
"""

from __future__ import annotations

from typing import Sequence

from chat.wire.telnet import Options, TelnetLines
from chat.wire.text_words import Ask


class Paper:
    """What is printed for one client: text that only grows.

    @ivar prompt: the prompt that waits at the end of the paper.
    """

    def __init__(self, lines: TelnetLines, options: Options) -> None:
        self._lines = lines
        self._options = options
        self._out = bytearray()
        self._said: list[str] = []  # lines that come behind it
        self.prompt: Ask | None = None
        self._cut = False  # the prompt was cut off by something else, and is to be repeated
        self._owed = False  # the line end that the client did not echo

    def say(self, lines: Sequence[str]) -> None:
        """Print lines of their own; one may hold line ends itself."""
        if not self._said:
            if self.prompt is None:
                self.send(self._options.show())
            self._end_line()
        self._said += lines

    def _print(self) -> None:
        if self._said:
            text = "\n".join(self._said) + "\n"
            self._said.clear()
            self._out += (text.replace("\n", "\r\n") if self._lines.telnet else text).encode()

    def ask(self, prompt: Ask, answered: bool) -> None:
        """Print a prompt; one that was answered before it could be read gets a line of its own."""
        self._print()
        self._end_line()
        if self._lines.telnet:
            self.send(self._options.binary())
            hide = prompt.hidden and not answered
            self.send(self._options.hide() if hide else self._options.show())
        self._out += prompt.prompt.encode()
        if answered:
            self._out += self._line_end.encode()
        else:
            self.prompt = prompt

    def send(self, octets: bytes) -> None:
        """Send what is no text."""
        self._print()
        self._out += octets

    def typed(self) -> None:
        """The line that the prompt waited for has been typed."""
        self._owed = self._owed or (self.prompt is not None and self._options.hidden)
        self.prompt = None

    def take(self) -> bytes:
        """What was printed since this was last asked."""
        if self._cut and self.prompt is not None:
            prompt = self.prompt
            self.prompt = None
            self.ask(prompt, False)
        self._cut = False
        self._print()
        taken = bytes(self._out)
        self._out.clear()
        return taken

    @property
    def _line_end(self) -> str:
        return "\r\n" if self._lines.telnet else "\n"

    def _end_line(self) -> None:
        if self._owed or (self.prompt is not None and not self._cut):
            self._out += self._line_end.encode()
        self._owed = False
        self._cut = self.prompt is not None
