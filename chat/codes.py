"""Codes that a person copies or reads out: random, in groups, and hard to mistype.

The digits and letters are those of Crockford's base 32: 5 bits each, and none of I, L,
O and U, so that a reader who takes a one for an L, or writes in capitals, is understood.
"""

from __future__ import annotations

import hashlib
import re
import secrets

_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_GROUP = 4
#: What people put between groups, and what they take letters for.
_TIDY = str.maketrans({"-": None, " ": None, "o": "0", "i": "1", "l": "1"})

#: How many groups an invitation has: 140 random bits.
INVITATION_GROUPS = 7
#: How many a recovery code has, which is written down by hand: 80 bits, of which nobody guesses one.
RECOVERY_GROUPS = 4
#: How many recovery codes an account is given at a time.
RECOVERY_CODES = 8


def new_code(groups: int) -> str:
    """A code that nobody else has, or ever will have."""
    number = secrets.randbits(5 * _GROUP * groups)
    letters = "".join(_LETTERS[number >> 5 * place & 31] for place in range(_GROUP * groups))
    return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))


def plain(code: str, groups: int) -> str | None:
    """The code in the form of L{new_code}, however it was typed; C{None}: it can be none."""
    if len(code) > 4 * _GROUP * groups:
        return None
    letters = code.lower().translate(_TIDY)
    if not re.fullmatch(f"[{_LETTERS}]{{{_GROUP * groups}}}", letters):
        return None
    return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))


def digest(code: str, groups: int) -> bytes:
    """What is kept of a code in its place: its SHA-256; of what can be none, that of no code.

    A fast hash is right for it: there is nothing to try out among so many random bits.
    """
    return hashlib.sha256((plain(code, groups) or "").encode()).digest()
