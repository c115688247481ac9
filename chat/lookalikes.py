"""Names that a person takes for one another, by Unicode's rules (UTS #39).

Two names whose L{skeleton} is the same look alike: C{paypal} in Latin and in Cyrillic letters,
C{modern} and C{modem}.  A name in letters of several scripts (see L{one_script}) is refused by
itself: it can look like a name that nobody has yet.

The table is Unicode's, cut down to what names can hold (see C{tests/unicode_tables.py}); skeletons
may differ from one version of it to the next.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from functools import cache
from importlib.resources import files
from itertools import takewhile
from typing import Iterable, NamedTuple

#: Scripts that are written together, by the name of the whole.
_TOGETHER = {
    "Hani": ("Hani", "Jpan", "Kore", "Hanb"),
    "Hira": ("Hira", "Jpan"),
    "Kana": ("Kana", "Jpan"),
    "Hang": ("Hang", "Kore"),
    "Bopo": ("Bopo", "Hanb"),
}
#: With these, Latin letters are usual in one word.
_WITH_LATIN = frozenset(("Jpan", "Kore", "Hanb"))
#: Characters of every script.
_COMMON = frozenset(("Zyyy", "Zinh"))


class _Table(NamedTuple):
    """What Unicode says.

    @ivar prototypes: what a character looks like, where it does not look like itself only.
    @ivar firsts: the first characters of runs with the same scripts.
    @ivar scripts: the scripts of each run.
    """

    prototypes: dict[int, str]
    firsts: list[int]
    scripts: list[frozenset[str]]


#: Read now: in a jail it is out of reach later.  Most of it is not looked at before it is needed, by a
#: name with letters that are not in ASCII: as objects it takes ten times the room.
_LINES = (files("chat") / "lookalikes.txt").read_text("utf-8")


def skeleton(name: str) -> str:
    """What a prepared name looks like: for comparing only, it is no name itself."""
    return _decomposed(_decomposed(name).translate(_OF_ASCII if name.isascii() else _table().prototypes))


def one_script(name: str) -> bool:
    """Whether a prepared name is in one script, or in a usual mixture, with digits of one kind.

    That is the level "highly restrictive" of UTS #39: besides single scripts, Latin with
    Japanese, Korean or Chinese.
    """
    if name.isascii():
        return True
    scripts = [found for found in map(_scripts, map(ord, name)) if not found & _COMMON]
    others = [found for found in scripts if "Latn" not in found]
    common = _shared(others)
    whole = common if len(others) == len(scripts) else _shared(scripts) | (common & _WITH_LATIN)
    zeros = {ord(character) - digit for character in name if (digit := _digit(character)) is not None}
    return (not scripts or bool(whole)) and len(zeros) <= 1


def _decomposed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFD", text)


def _scripts(code: int) -> frozenset[str]:
    table = _table()
    return table.scripts[bisect_right(table.firsts, code) - 1]


def _shared(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """What is in each of these, nothing if there are none."""
    return frozenset.intersection(*sets) if sets else frozenset()


def _digit(character: str) -> int | None:
    digit: int | None = unicodedata.decimal(character, None)
    return digit


def _looks(line: str) -> tuple[int, str]:
    """A character, and what it looks like."""
    first, *rest = (int(each, 16) for each in line.split())
    return first, "".join(map(chr, rest))


def _sections() -> tuple[list[str], list[str]]:
    """The lines of the prototypes, and those of the scripts."""
    prototypes, _, scripts = _LINES.partition("\nprototypes\n")[2].partition("scripts\n")
    return prototypes.splitlines(), scripts.splitlines()


@cache
def _table() -> _Table:
    prototypes, runs = _sections()
    table = _Table(dict(map(_looks, prototypes)), [], [])
    seen: dict[str, frozenset[str]] = {}
    for line in runs:
        first, _, rest = line.partition(" ")
        if rest not in seen:
            seen[rest] = frozenset(part for each in rest.split() for part in _TOGETHER.get(each, (each,)))
        table.firsts.append(int(first, 16))
        table.scripts.append(seen[rest])
    return table


#: What the characters of ASCII look like, which most names are made of.
_OF_ASCII = dict(map(_looks, takewhile(lambda line: line < "0080", _sections()[0])))
