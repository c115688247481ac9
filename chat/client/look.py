"""How a line looks where it is shown: as wide, as colourful and in such characters as can be there."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TextIO

#: What steers a terminal. Whatever is shown was made visible before; this is the last gate.
_STEERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Tone(Enum):
    """What kind of news a line is; a colour may say so too, never alone."""

    PLAIN = ""
    NEWS = "1"  # bold
    GOOD = "32"  # green
    BAD = "31"  # red


class Look:
    """Makes lines fit."""

    def __init__(
        self,
        encoding: str = "utf-8",
        colours: bool = False,
        width: Callable[[], int] | None = None,
    ) -> None:
        """
        @param encoding: characters that it has not are spelled out, C{\\xfc}.
        @param colours: whether tones are coloured.
        @param width: how many columns there are now; C{None}: lines are as long as they are.
        """
        self._encoding = encoding
        self._colours = colours
        self._width = width

    def dress(self, text: str, tone: Tone = Tone.PLAIN) -> str:
        """The text as it is to be written, without the last line end."""
        text = _STEERS.sub("?", text)
        if not text.isascii():
            text = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        if self._width is not None:
            width = self._width()
            text = "\n".join([part for line in text.split("\n") for part in wrapped(line, width)])
        if self._colours and tone.value:
            return "\n".join(f"\x1b[{tone.value}m{line}\x1b[0m" for line in text.split("\n"))
        return text


def look(out: TextIO, colour: str, plain: bool, environ: Mapping[str, str] = os.environ) -> Look:
    """The look that suits an output.

    @param colour: C{always}, C{never}, or C{auto}: on a terminal that has colours, unless the person
        does not want them.
    @param plain: nothing but text is wanted, if nobody asks for more.
    """
    terminal = out.isatty()
    colours = colour == "always" or (
        colour == "auto"
        and terminal
        and not plain
        and not environ.get("NO_COLOR")
        and environ.get("TERM", "dumb") != "dumb"
    )
    return Look(encoding(out, environ), colours, columns if terminal else None)


def encoding(out: TextIO, environ: Mapping[str, str] = os.environ) -> str:
    """What to write in.

    Python takes UTF-8 for granted where the locale is C; on a terminal, who says C means it.
    """
    asked = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    overruled = environ.get("PYTHONIOENCODING") or environ.get("PYTHONUTF8")
    if out.isatty() and asked in ("C", "POSIX") and not overruled:
        return "ascii"
    return out.encoding or "utf-8"


def columns() -> int:
    """How wide the terminal is now."""
    return shutil.get_terminal_size().columns


def wrapped(line: str, width: int) -> list[str]:
    """A line in parts that are no wider, broken at spaces, each after the first marked as its continuation.

    A word that is too wide is broken only if it could look like several: an address on the
    web stays whole.
    """
    mark = "| " if line.startswith("| ") else "  "
    room = max(width, 20) - len(mark)
    if len(line) <= width and (line.isascii() or _wide(line) <= width):
        return [line]
    parts: list[str] = []
    part, left = "", room + len(mark)
    for word in _words(line, room):
        size = _wide(word)
        if size > left and len(part) > len(mark):
            parts.append(part.rstrip(" "))
            part, left = mark, room
            word = word.lstrip(" ")
            size = _wide(word)
        part += word
        left -= size
    return [*parts, part.rstrip(" ")]


def _words(line: str, room: int) -> list[str]:
    """The words of a line, each with the spaces before it."""
    found: list[str] = []
    for number, word in enumerate(line.split(" ")):
        spaced = f" {word}" if number else word
        found += [spaced] if word.isascii() else _pieces(spaced, room)
    return found


def _pieces(word: str, room: int) -> list[str]:
    """A word in pieces that are no wider."""
    pieces: list[str] = []
    begin, left = 0, room
    for at, letter in enumerate(word):
        size = _wide(letter)
        if size > left:
            pieces.append(word[begin:at])
            begin, left = at, room
        left -= size
    return [*pieces, word[begin:]]


def _wide(text: str) -> int:
    """How many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )
