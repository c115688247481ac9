"""Whether a terminal itself shows what is typed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

try:
    import termios
except ImportError:  # there are no such terminals here
    termios = None  # type: ignore[assignment]


class Echo:
    """The echo of one terminal; it is put back as it was."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: Any = None

    def off(self) -> None:
        """Show nothing from now on, where that can be."""
        if termios is None or self._saved is not None:
            return
        with suppress(termios.error):  # it is none, or none any more
            modes = termios.tcgetattr(self._descriptor)
            self._saved = list(modes)
            modes[3] &= ~termios.ECHO
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, modes)

    def restore(self) -> None:
        """Be as before; harmless when that is so."""
        saved, self._saved = self._saved, None
        if saved is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, saved)
