"""The files of the page, read when the server is built: later they may be out of reach."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib.resources import files
from typing import Mapping

from twisted.web.http import CACHED

from chat.web.site import Request, Room

#: What each kind of file is; the system's own table may not be there, or say something else.
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}
INDEX = "index.html"
_ZERO = re.compile(rb"q\s*=\s*0(\.0*)?")


class File(Room):
    """One file, which a browser asks for again only whether it has changed."""

    def __init__(self, kind: str, content: bytes) -> None:
        """Show this.

        @param kind: its media type.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._kind = kind.encode()
        self._plain = content
        self._packed = gzip.compress(content, mtime=0)
        self._tag = hashlib.sha256(content).hexdigest()[:32].encode()

    def render_GET(self, request: Request) -> bytes:
        """The file, or that it is what the browser has."""
        packed = len(self._packed) < len(self._plain) and _takes_gzip(request)
        request.setHeader(b"Content-Type", self._kind)  # type: ignore[no-untyped-call]
        request.setHeader(b"Cache-Control", b"no-cache")  # type: ignore[no-untyped-call]
        request.setHeader(b"Vary", b"Accept-Encoding")  # type: ignore[no-untyped-call]
        if packed:
            request.setHeader(b"Content-Encoding", b"gzip")  # type: ignore[no-untyped-call]
        tag = b'"%s%s"' % (self._tag, b"-gzip" if packed else b"")
        if request.setETag(tag) is CACHED:  # type: ignore[no-untyped-call]
            return b""
        return self._packed if packed else self._plain


def page() -> Mapping[str, File]:
    """Every file of the page, by name."""
    place = files(__package__) / "page"
    found = {}
    for each in place.iterdir():
        kind = _TYPES.get(each.name.rpartition(".")[2])
        if kind is not None and each.is_file():
            found[each.name] = File(kind, each.read_bytes())
    return found


def _takes_gzip(request: Request) -> bool:
    """Whether the client can unpack; who gives gzip the weight 0 says that it cannot."""
    values = request.requestHeaders.getRawHeaders(b"Accept-Encoding") or []
    for entry in b",".join(values).lower().split(b","):
        coding, _, weight = entry.partition(b";")
        if coding.strip() in (b"gzip", b"x-gzip"):
            return _ZERO.fullmatch(weight.strip()) is None
    return False
