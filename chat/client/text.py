"""Whether what somebody has typed is text."""

from __future__ import annotations


def is_text(typed: str) -> bool:
    """Whether it can be written in UTF-8.

    What Python has read from a terminal or a command line in another encoding than it took for granted
    cannot: it holds the odd bytes as lone surrogates.
    """
    try:
        typed.encode()
    except UnicodeEncodeError:
        return False
    return True
