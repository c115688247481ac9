"""Makes C{chat/lookalikes.txt}, what L{chat.lookalikes} knows of Unicode, with the library ICU.

    pip install icukit-pyicu
    python -m tests.unicode_tables > chat/lookalikes.txt

Any other PyICU will do; the first line of the file says which version of Unicode it was.  The
file holds no more than can be in a prepared name (see L{chat.prepared.prepare_name}) or in its
decomposition, so it is a tenth of Unicode's own.
"""

from __future__ import annotations

import importlib
from typing import Any, Iterator

#: Characters that PRECIS allows in names though they are neither letters nor digits nor marks.
EXCEPTIONS = frozenset((0xB7, 0x375, 0x5F3, 0x5F4, 0x6FD, 0x6FE, 0xF0B, 0x200C, 0x200D, 0x3007, 0x30FB))

HEAD = """\
# Unicode {version}: what of it chat.lookalikes needs. Made by: python -m tests.unicode_tables
#
# Prototypes (UTS #39, confusables): a character, and what it looks like. Then scripts
# (Script_Extensions): a first character, and the scripts of all from there to the next line's.
#
"""


def named(icu: Any) -> Iterator[int]:
    """The characters that can be in a prepared name."""
    category = icu.UCharCategory
    categories = {
        category.LOWERCASE_LETTER,
        category.UPPERCASE_LETTER,
        category.OTHER_LETTER,
        category.MODIFIER_LETTER,
        category.DECIMAL_DIGIT_NUMBER,
        category.NON_SPACING_MARK,
        category.COMBINING_SPACING_MARK,
    }
    normal = icu.Normalizer2.getNFKCInstance().normalize
    for code in range(0x21, 0x110000):
        if code < 0x7F:
            if not ord("A") <= code <= ord("Z"):
                yield code
        elif code in EXCEPTIONS or (
            icu.Char.charType(code) in categories
            and normal(chr(code)) == chr(code)
            and icu.Char.tolower(code) == code
        ):
            yield code


def tables(icu: Any) -> Iterator[str]:
    """The lines of the file."""
    codes = list(named(icu))
    decomposed = icu.Normalizer2.getNFDInstance().normalize
    prototype = icu.SpoofChecker().getSkeleton
    yield "prototypes"
    for code in codes:
        character = chr(code)
        if decomposed(character) == character and (shape := prototype(0, character)) != character:
            yield " ".join([f"{code:04X}", *(f"{ord(each):04X}" for each in shape)])
    yield "scripts"
    last = None
    for code in codes:
        scripts = sorted(
            icu.Script(each).getShortName() for each in icu.Script.getScriptExtensions(chr(code))
        )
        if scripts != last:
            yield " ".join([f"{code:04X}", *scripts])
            last = scripts


def main() -> None:
    """Print the file."""
    icu = importlib.import_module("icu")
    licence = importlib.import_module("importlib.resources").files("tests") / "unicode_licence.txt"
    print(HEAD.format(version=icu.UNICODE_VERSION), end="")
    for line in licence.read_text("utf-8").splitlines():
        print(f"# {line}".rstrip())
    for line in tables(icu):
        print(line)


if __name__ == "__main__":
    main()
