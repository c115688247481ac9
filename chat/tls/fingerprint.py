"""What a certificate is called, so that people and programs can tell whether it is the one they know.

The fingerprint of a certificate is the SHA-256 digest of its DER form, as C{openssl x509 -fingerprint
-sha256} prints it, with C{SHA256:} in front::

    SHA256:5F:0B:31:...:C4     32 pairs of hexadecimal digits

For a person on the telephone the beginning of the same digest is eight words, 88 bits: enough that
nobody can search for another certificate with the same words.  Programs compare the whole digest.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from chat.tls.wordlist import dictionary

#: How many words say a fingerprint.
COUNT = 8
_BITS = 11  # in a word
_PREFIX = "SHA256:"
_FORM = re.compile(r"(?:SHA256:)?([0-9A-F]{2}(?::?[0-9A-F]{2}){31})", re.IGNORECASE)


def fingerprint(certificate: bytes) -> str:
    """The fingerprint of a certificate.

    @param certificate: in DER.
    """
    return _written(hashlib.sha256(certificate).digest())


def words(certificate: bytes) -> str:
    """The fingerprint of a certificate as eight words with a space between them.

    @param certificate: in DER.
    """
    digest = int.from_bytes(hashlib.sha256(certificate).digest(), "big")
    known = dictionary()
    return " ".join(
        known[digest >> 256 - _BITS * number & (1 << _BITS) - 1] for number in range(1, COUNT + 1)
    )


def parse(text: str) -> str:
    """A fingerprint as L{fingerprint} writes it, from what somebody has typed or pasted.

    The prefix and the colons may be absent, letters may be small, blanks may be around it.

    @raise ValueError: it is none; the text says what one looks like.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            "A fingerprint is SHA256: and 64 hexadecimal digits, in pairs with colons between them."
        )
    return _written(bytes.fromhex(found[1].replace(":", "")))


def same(certificate: bytes, known: str) -> bool:
    """Whether this certificate (in DER) has this fingerprint; how long it takes tells nothing.

    @param known: as L{fingerprint} or L{parse} gave it; anything else is the fingerprint of none.
    """
    return hmac.compare_digest(fingerprint(certificate).encode(), known.encode())


def _written(digest: bytes) -> str:
    return _PREFIX + digest.hex(":").upper()
