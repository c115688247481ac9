"""What is kept of a message's content when the content has gone."""

from __future__ import annotations

from hashlib import blake2b


def contents_digest(addressee: str, subject: str | None, body: str) -> bytes:
    """What tells a repetition from a reuse of a ref, once the content has gone."""
    digest = blake2b(digest_size=8)
    for part in (addressee, subject, body):
        text = b"" if part is None else part.encode()
        digest.update(b"%d:" % (-1 if part is None else len(text)))
        digest.update(text)
    return digest.digest()
