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
from importlib.resources import files
from typing import Iterable

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

#: What a character looks like, where it does not look like itself only.
_PROTOTYPES: dict[int, str] = {}
#: The first characters of runs with the same scripts, and the scripts of each run.
_FIRSTS: list[int] = []
_SCRIPTS: list[frozenset[str]] = []


def skeleton(name: str) -> str:
    """What a prepared name looks like: for comparing only, it is no name itself."""
    return _decomposed(_decomposed(name).translate(_PROTOTYPES))


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
    return _SCRIPTS[bisect_right(_FIRSTS, code) - 1]


def _shared(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """What is in each of these, nothing if there are none."""
    return frozenset.intersection(*sets) if sets else frozenset()


def _digit(character: str) -> int | None:
    digit: int | None = unicodedata.decimal(character, None)
    return digit


def _read(lines: Iterable[str]) -> None:
    of_scripts = False
    seen: dict[str, frozenset[str]] = {}
    for line in lines:
        first, _, rest = line.partition(" ")
        if first == "#":
            continue
        if first in ("prototypes", "scripts"):
            of_scripts = first == "scripts"
        elif of_scripts:
            if rest not in seen:
                seen[rest] = frozenset(part for each in rest.split() for part in _TOGETHER.get(each, (each,)))
            _FIRSTS.append(int(first, 16))
            _SCRIPTS.append(seen[rest])
        else:
            _PROTOTYPES[int(first, 16)] = "".join(chr(int(each, 16)) for each in rest.split())


_read((files("chat") / "lookalikes.txt").read_text("utf-8").splitlines())
