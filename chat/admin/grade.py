"""What C{chatctl check} says of a thing: how well it is, in a line."""

from __future__ import annotations

from enum import Enum
from typing import Iterator, NamedTuple


class Grade(str, Enum):
    """How well something is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Line(NamedTuple):
    """One thing that was looked at."""

    grade: Grade
    text: str


Lines = Iterator[Line]
