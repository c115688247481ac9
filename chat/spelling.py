"""How words are compared in a search: what is the same word, however it is written.

Upper and lower case, full and half width, ligatures, ß and ss, the two small sigmas of Greek and
whatever else Unicode holds for other forms of the same letters make no difference: text is brought to
one form (NFKC, and the full case folding), what is searched for and what is searched through alike.
The index then tells words apart and leaves out accents, see L{chat.store.spoken.TOKENIZER}.
"""

from __future__ import annotations

import re
from typing import Iterator
from unicodedata import normalize, unidata_version

#: By which rules L{folded} and L{apart} work; the forms of letters are those of a version of Unicode, which
#: Python brings. What was indexed by other rules is indexed anew: it would not be found by these.
RULES = f"1 Unicode {unidata_version}"

#: Where words are written without spaces between them, each character is one.
WORD_EACH = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")

#: So many characters are brought to one form together. To bring a thousand times as many marks on one letter
#: into their order would take a thousand thousand times as long.
_AT_ONCE = 256
#: A text in pieces that end with a space or, where there is none for so long, not before an accent.
_PIECE = re.compile(
    rf".{{0,{_AT_ONCE - 1}}}[\s\u3001\u3002]"
    rf"|.{{1,{_AT_ONCE}}}(?![\u0300-\u036f\u3099\u309a])"
    rf"|.{{1,{_AT_ONCE}}}",
    re.DOTALL,
)
#: Tells where a word may be cut at the end of a line, and is seen nowhere else.
_SOFT_HYPHEN = "\u00ad"


def folded(text: str) -> str:
    """The form in which texts are compared; of what is in ASCII, the index ignores the case."""
    if text.isascii():
        return text
    if len(text) <= _AT_ONCE:
        return _folded(text)
    return "".join(map(_folded, _PIECE.findall(text)))


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """The text in pieces, each as it is and L{folded}."""
    return ((piece, _folded(piece)) for piece in _PIECE.findall(text))


def apart(text: str) -> str:
    """The text L{folded}, and all its words with spaces between them."""
    return text if text.isascii() else WORD_EACH.sub(r" \g<0> ", folded(text))


def _folded(text: str) -> str:
    # Letters that are the same but for their case may be so in one of these forms and not in the other.
    return normalize("NFKC", normalize("NFKC", text.replace(_SOFT_HYPHEN, "")).casefold())
