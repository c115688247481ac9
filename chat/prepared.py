"""The forms of names and passwords: as they are stored, compared and hashed."""

from __future__ import annotations

import re
from functools import lru_cache

from precis_i18n import get_profile

from chat.errors import Code, Refusal

NAME_BYTES = 64
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024

_PLAIN = re.compile("[!-~]+")
_username = get_profile("UsernameCaseMapped")
_opaque = get_profile("OpaqueString")


def prepare_name(text: str) -> str:
    """The form of a user name in which it is stored and compared.

    RFC 8265, UsernameCaseMapped: C{Alice} and C{alice} are one account; spaces,
    control characters and separators are not allowed. 1 to 64 bytes of UTF-8.

    @raise chat.errors.Refusal: C{bad-name}.
    """
    name = address(text)
    if name is None:
        raise Refusal(
            Code.BAD_NAME,
            f"A user name has 1 to {NAME_BYTES} bytes of letters, digits and punctuation,"
            " without spaces or control characters.",
        )
    return name


def address(text: str) -> str | None:
    """The prepared name of a recipient, or C{None} where no account could be called so."""
    # What is much longer cannot become short enough, and must not fill the cache.
    return _prepared(text) if len(text) <= 4 * NAME_BYTES else None


@lru_cache(maxsize=16384)
def _prepared(text: str) -> str | None:
    if text.isascii():
        # The profile allows what is printable, and changes nothing but case: a fortieth of its work.
        return text.lower() if 1 <= len(text) <= NAME_BYTES and _PLAIN.fullmatch(text) else None
    try:
        name: str = _username.enforce(text)
        fits = 1 <= len(name.encode()) <= NAME_BYTES
    except UnicodeError:
        return None
    return name if fits else None


def prepare_password(text: str) -> bytes | None:
    """A password as it is hashed (RFC 8265, OpaqueString, UTF-8), or C{None} if it can be none."""
    if not text or len(text) > LONGEST_PASSWORD:
        return None
    try:
        password: bytes = _opaque.enforce(text).encode()
    except UnicodeError:
        return None
    return password


def new_password(text: str) -> bytes:
    """A password that may be chosen.

    @raise chat.errors.Refusal: C{bad-password}.
    """
    password = prepare_password(text)
    if password is None or not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Refusal(
            Code.BAD_PASSWORD,
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} bytes, without control characters.",
        )
    return password
