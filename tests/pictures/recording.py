"""A recording of a terminal session: what really came out of a program, and when; as asciicast, version 2."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import pexpect

from tests.terminals import put_away

#: What is typed takes so many seconds for each key, and what is to be read so many for each line.
KEY = 0.07
#: Nothing is longer quiet than this, in the recording.
LONGEST_PAUSE = 2.5


class Event(NamedTuple):
    """Some output.

    @ivar time: seconds since the beginning.
    """

    time: float
    text: str


class Recording:
    """A program that runs in a terminal, and everything that it writes.

    @ivar events: that.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        size: tuple[int, int],
        environment: dict[str, str],
        folder: Path,
        patience: float,
    ) -> None:
        """Start it in a terminal of this size, columns and lines."""
        self.size = size
        self.events: list[Event] = []
        self._begun = time.monotonic()
        self._program: Any = pexpect.spawn(
            command[0],
            list(command[1:]),
            encoding="utf-8",
            timeout=patience,
            dimensions=(size[1], size[0]),
            env=environment,
            cwd=str(folder),
        )
        self._program.delaybeforesend = None
        self._program.logfile_read = self

    def write(self, text: str) -> None:
        """Something came out."""
        self.events.append(Event(time.monotonic() - self._begun, text))

    def flush(self) -> None:
        """It is here already."""

    def until(self, pattern: str) -> None:
        """Wait until this comes out."""
        self._program.expect(pattern)

    def pause(self, seconds: float) -> None:
        """Let somebody read."""
        self._program.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=seconds)

    def type(self, line: str, fast: bool = False) -> None:
        """Type this, key by key, and Enter."""
        for key in line:
            self._program.send(key)
            self.pause(0.0 if fast else KEY)
        self._program.send("\r")

    def kill(self) -> None:
        """End it; harmless when it has ended."""
        put_away(self._program)

    @property
    def shortened(self) -> list[Event]:
        """The events, with no pause longer than need be."""
        found: list[Event] = []
        now = before = 0.0
        for event in self.events:
            now += min(event.time - before, LONGEST_PAUSE)
            before = event.time
            found.append(Event(now, event.text))
        return found

    def save(self, file: Path, title: str) -> None:
        """Write it, for C{asciinema play}."""
        columns, lines = self.size
        header = {
            "version": 2,
            "width": columns,
            "height": lines,
            "title": title,
            "env": {"TERM": "xterm-256color"},
        }
        rows = [json.dumps(header)]
        rows += [
            json.dumps([round(event.time, 3), "o", event.text], ensure_ascii=False)
            for event in self.shortened
        ]
        file.write_text("\n".join(rows) + "\n", "utf-8")
