"""Numbers for Prometheus, and whether the server is well; the first only for its operator.

There is nothing secret in the numbers: no name, no address of anybody.  But how many people write
how much is nobody's business who happens to reach the page.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.web.resource import IResource, Resource

from chat.health.vitals import Reading, Vitals
from chat.tls.door import is_local
from chat.web.origins import is_loopback
from chat.web.site import NOT_DONE_YET, Request

if TYPE_CHECKING:
    from chat.web.numbers import Numbers


class Metrics(Resource):
    """For Prometheus."""

    isLeaf = True

    def __init__(self, vitals: Vitals, everybody: bool) -> None:
        """Tell the operator.

        @param everybody: tell everybody else, too.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._vitals = vitals
        self._everybody = everybody
        self._numbers: Optional[Numbers] = None

    def render_GET(self, request: Request) -> bytes | int:
        """All the numbers, in the format that is asked for."""
        if not (self._everybody or from_operator(request)):
            detail = (
                "The numbers are for programs on the server's own machine that ask it directly, by HTTP/1.1,"
                " where the server was told of no proxy (--web-proxy, --web-origin)."
                " Its operator can let everybody ask with --metrics-open."
            )
            return request.refuse(HTTPStatus.FORBIDDEN, "not-for-you", detail)
        return _later(request, self._vitals.read(), self._write)

    def _write(self, request: Request, reading: Reading) -> bytes:
        if self._numbers is None:
            from chat.web.numbers import Numbers  # only now: see there

            self._numbers = Numbers(self._vitals)
        written, kind = self._numbers.written(reading, request.getHeader("Accept") or "")
        request.setHeader(b"Content-Type", kind.encode())  # type: ignore[no-untyped-call]
        return written


class Health(Resource):
    """Whether the server is well; what is wrong, only for its operator."""

    isLeaf = True

    def __init__(self, vitals: Vitals, everybody: bool) -> None:
        """Tell everybody.

        @param everybody: tell everybody what is wrong, too.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._vitals = vitals
        self._everybody = everybody

    def render_GET(self, request: Request) -> bytes | int:
        """C{ok}, or a status for programs that look no further."""
        return _later(request, self._vitals.read(), self._write)

    def _write(self, request: Request, reading: Reading) -> bytes:
        problems = self._vitals.problems(reading)
        status = "failing" if any(each.grave for each in problems) else "degraded" if problems else "ok"
        answer: dict[str, object] = {"status": status}
        if self._everybody or from_operator(request):
            answer["problems"] = [{"part": each.part, "detail": each.words} for each in problems]
        if problems:
            request.setResponseCode(HTTPStatus.SERVICE_UNAVAILABLE)
        request.setHeader(b"Content-Type", b"application/json")  # type: ignore[no-untyped-call]
        return json.dumps(answer).encode() + b"\n"


def resources(vitals: Vitals, everybody: bool = False) -> dict[bytes, IResource]:
    """What is below the web door, by the first part of the path.

    @param everybody: whether the operator lets others see the numbers.
    """
    return {b"metrics": Metrics(vitals, everybody), b"health": Health(vitals, everybody)}


def from_operator(request: Request) -> bool:
    """Whether a program on this machine asks, directly and by a name that is only this machine's.

    A proxy that says nothing of those it asks for looks like such a program.  So nobody is one where
    the operator has told of a proxy, or speaks as nginx does that is told nothing else (HTTP/1.0).
    The name tells of other proxies, and of a web page that had its own name lead here.
    """
    return (
        is_local(request.getClientAddress())
        and is_loopback(request.getHeader(b"Host"))
        and request.clientproto == b"HTTP/1.1"
        and not (request.forwarded or request.site.proxies.named or request.site.origins.named)
    )


def _later(request: Request, reading: Deferred[Reading], write: Callable[[Request, Reading], bytes]) -> int:
    """Answer when it was read, unless nobody waits any more."""
    gone: list[object] = []
    request.notifyFinish().addBoth(gone.append)

    def answer(read: Reading) -> None:
        if not gone:
            body = write(request, read)
            request.setHeader(b"Content-Length", b"%d" % len(body))  # type: ignore[no-untyped-call]
            request.write(b"" if request.method == b"HEAD" else body)  # type: ignore[no-untyped-call]
            request.finish()  # type: ignore[no-untyped-call]

    reading.addCallback(answer).addErrback(request.processingFailed)
    reading.addErrback(lambda _: None)  # it is logged, and told
    return NOT_DONE_YET
