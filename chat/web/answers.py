"""What every answer of the web door has in common: headers that keep browsers careful, and how it says no."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Mapping

from chat.wire.text_words import escaped

#: The page needs nothing but its own files and its own server; nobody else may show it in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: Each answer has these; C{Cache-Control} stands for those that name nothing better.
HEADERS = {
    b"Content-Security-Policy": POLICY.encode(),
    b"X-Content-Type-Options": b"nosniff",
    b"Referrer-Policy": b"no-referrer",
    b"Cross-Origin-Opener-Policy": b"same-origin",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Cache-Control": b"no-store",
}
PROBLEM = b"application/problem+json"


def encode(content: Mapping[str, Any]) -> bytes:
    """JSON, on a line of its own; what others wrote does not steer the terminal of who asks by curl."""
    return escaped(json.dumps(content, ensure_ascii=False)).encode() + b"\n"


def problem(status: HTTPStatus, code: str, detail: str, more: Mapping[str, object] | None = None) -> bytes:
    """The body of an answer that says no (RFC 9457), what a person wants to know first at the top.

    @param more: members that only this one has.
    """
    members = {"detail": detail, "code": code, **(more or {}), "status": status.value, "title": status.phrase}
    return encode({**members, "type": "about:blank"})


def whole(status: HTTPStatus, code: str, detail: str, more: Mapping[bytes, bytes] | None = None) -> bytes:
    """All the bytes of an answer that says no, after which the connection closes."""
    body = problem(status, code, detail)
    headers = {
        **HEADERS,
        b"Content-Type": PROBLEM,
        b"Content-Length": b"%d" % len(body),
        b"Connection": b"close",
        **(more or {}),
    }
    lines = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode())]
    lines += [b"%s: %s" % header for header in headers.items()]
    return b"\r\n".join([*lines, b"", body])
