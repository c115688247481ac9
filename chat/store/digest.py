"""What is kept of a message's content when the content has gone."""

from __future__ import annotations

from hashlib import blake2b


def contents_digest(addressee: str | bytes, subject: str | bytes | None, body: str | bytes) -> bytes:
    """What tells a repetition from a reuse of a ref, once the content has gone; bytes are of UTF-8."""
    digest = blake2b(digest_size=8)
    for part in (addressee, subject, body):
        text = part.encode() if isinstance(part, str) else part or b""
        digest.update(b"%d:" % (-1 if part is None else len(text)))
        digest.update(text)
    return digest.digest()
