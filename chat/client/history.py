"""The lines that were typed, from one run of the client to the next."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import History

from chat.client import places
from chat.client.text import is_text

#: So many lines are kept from one run to the next.
_LINES = 1_000
#: Commands that ask for a secret, which somebody may have typed behind them.
_SECRET = frozenset({"/passwd", "/recovery", "/token", "/delete-account"})


class LineHistory(History):
    """A file with one typed line in a line, which is its owner's alone; several clients may add to it.

    Where it cannot be written or read, the history lasts as long as the program.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """See L{History.load_history_strings}: the latest first."""
        lines = self._read()
        if len(lines) > 2 * _LINES:
            lines = lines[-_LINES:]
            self._shorten(lines)
        return [text for line in reversed(lines) if (text := _text(line)) is not None]

    def append_string(self, string: str) -> None:
        """See L{History.append_string}: without what may be a secret, and nothing twice in a row."""
        words = string.split(None, 1)
        if words and words[0].lower() in _SECRET:
            string = words[0].lower()
        if words and is_text(string) and self.get_strings()[-1:] != [string]:
            super().append_string(string)

    def store_string(self, string: str) -> None:
        """See L{History.store_string}."""
        with suppress(OSError):
            places.private_file(self._path)
            with open(self._path, "ab") as file:
                file.write(json.dumps(string).encode() + b"\n")

    def _read(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines()
        except OSError:
            return []

    def _shorten(self, lines: list[bytes]) -> None:
        with suppress(OSError):
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=".history-")
            try:
                with open(descriptor, "wb") as file:
                    file.write(b"".join(line + b"\n" for line in lines))
                os.replace(name, self._path)
            except OSError:  # somebody else has it open, on Windows
                os.unlink(name)


def _text(line: bytes) -> str | None:
    """The typed line that a line of the file is, if it is one."""
    with suppress(ValueError):
        text = json.loads(line)
        if isinstance(text, str):
            return text
    return None
