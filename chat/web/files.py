"""The files of the page, read when the server is built: later they may be out of reach.

All but the first are below a name that is made of their contents, so that a browser need never ask again
whether one has changed: two dozen such questions are most of what a page takes to be there.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from http import HTTPStatus
from importlib.resources import files
from typing import Mapping

from chat.web.joined import joined
from chat.web.site import Nothing, Request, Room

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
#: The module that the page begins with; what it needs is shown in one file with it.
SCRIPT = "app.js"
#: How long a browser may keep what never changes, in seconds: a year is as good as for ever.
_LASTING = b"max-age=31536000, immutable"
_NAMED = re.compile(rb'((?:href|src)=")([\w.-]+)(?=")')
_ZERO = re.compile(rb"q\s*=\s*0(\.0*)?")


class File(Room):
    """One file, of which a browser asks again only whether it has changed, or not even that."""

    def __init__(self, kind: str, content: bytes, lasting: bool = False) -> None:
        """Show this.

        @param kind: its media type.
        @param lasting: what is under this address never changes.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._kind = kind.encode()
        self._caching = _LASTING if lasting else b"no-cache"
        self._plain = content
        self._packed = gzip.compress(content, mtime=0)
        self._tag = hashlib.sha256(content).hexdigest()[:32].encode()

    def render_GET(self, request: Request) -> bytes:
        """The file, or that it is what the browser has."""
        packed = len(self._packed) < len(self._plain) and _takes_gzip(request)
        request.setHeader(b"Content-Type", self._kind)  # type: ignore[no-untyped-call]
        request.setHeader(b"Cache-Control", self._caching)  # type: ignore[no-untyped-call]
        request.setHeader(b"Vary", b"Accept-Encoding")  # type: ignore[no-untyped-call]
        if packed:
            request.setHeader(b"Content-Encoding", b"gzip")  # type: ignore[no-untyped-call]
        tag = b'"%s%s"' % (self._tag, b"-gzip" if packed else b"")
        request.setHeader(b"ETag", tag)  # type: ignore[no-untyped-call]
        if _has(request, tag):
            request.setResponseCode(HTTPStatus.NOT_MODIFIED, HTTPStatus.NOT_MODIFIED.phrase.encode())
            return b""
        return self._packed if packed else self._plain


class Edition(Nothing):
    """The files of the page but the first, as they are in this version of it.

    @ivar name: it is another one when a single byte is.
    """

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        """Show these."""
        super().__init__()  # type: ignore[no-untyped-call]
        digest = hashlib.sha256()
        for name, content in sorted(contents.items()):
            digest.update(b"%s %d " % (name.encode(), len(content)) + content)
            self.putChild(name.encode(), File(_kind(name), content, lasting=True))
        self.name = f"page-{digest.hexdigest()[:16]}"

    def begins(self, index: bytes) -> File:
        """The first file, which says where the others are."""

        def place(found: re.Match[bytes]) -> bytes:
            start, name = found.groups()
            return start + (self.name.encode() + b"/" if name in self.children else b"") + name

        return File(_kind(INDEX), _NAMED.sub(place, index))


def page() -> Mapping[str, Room]:
    """The page: what is to be found below its address."""
    contents = {
        each.name: each.read_bytes()
        for each in (files(__package__) / "page").iterdir()
        if each.is_file() and each.name.rpartition(".")[2] in _TYPES
    }
    index = contents.pop(INDEX)
    modules = {name: content.decode() for name, content in contents.items() if name.endswith(".js")}
    contents[SCRIPT] = joined(modules, SCRIPT).encode()
    edition = Edition(contents)
    first = edition.begins(index)
    return {"": first, INDEX: first, edition.name: edition}


def _kind(name: str) -> str:
    return _TYPES[name.rpartition(".")[2]]


def _has(request: Request, tag: bytes) -> bool:
    """Whether the client says that it has what is tagged so; a proxy may have made the tag a weak one."""
    values = request.requestHeaders.getRawHeaders(b"If-None-Match") or []
    tags = [each.strip().removeprefix(b"W/") for each in b",".join(values).split(b",")]
    return tag in tags or b"*" in tags


def _takes_gzip(request: Request) -> bool:
    """Whether the client can unpack; who gives gzip the weight 0 says that it cannot."""
    values = request.requestHeaders.getRawHeaders(b"Accept-Encoding") or []
    for entry in b",".join(values).lower().split(b","):
        coding, _, weight = entry.partition(b";")
        if coding.strip() in (b"gzip", b"x-gzip"):
            return _ZERO.fullmatch(weight.strip()) is None
    return False
