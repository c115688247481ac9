"""A place that programs call: its operations by path and method, and how their outcome is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Iterable, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from chat.web.answers import PROBLEM, encode
from chat.web.api.asked import Asked
from chat.web.api.conversation import HungUp
from chat.web.api.parameters import Parameter, read_all
from chat.web.api.problem import Problem, bad_parameter, not_found
from chat.web.site import NOT_DONE_YET, Request

if TYPE_CHECKING:
    from chat.web.api.desk import Desk

#: Whoever only looks may come from another site's page, which is not shown what it gets; nothing else may.
_HARMLESS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Reply:
    """What a request is answered with.

    @ivar content: what is written as JSON; C{None}: nothing.
    """

    status: HTTPStatus
    content: Optional[Mapping[str, Any]] = None


@dataclass(frozen=True)
class Answer:
    """How an operation may answer, as it is described.

    @ivar schema: what the content is, by its name in the description; C{None}: there is none.
    """

    about: str
    schema: Optional[str] = None
    kind: str = "application/json"


@dataclass(frozen=True)
class Operation:
    """One thing that a program may ask for.

    @ivar path: below where it is mounted, with names in braces: C{/messages/{id}}.
    @ivar run: carries it out; C{None} as the reply: it has answered by itself.
    @ivar body: what it takes, by kind: JSON Schemas.
    @ivar headers: what headers it heeds.
    @ivar answers: how it may answer, beside what any operation may answer.
    """

    method: str
    path: str
    name: str
    about: str
    run: Callable[[Desk, Asked], Coroutine[Any, Any, Optional[Reply]]]
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    body: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answers: Mapping[HTTPStatus, Answer] = field(default_factory=dict)
    public: bool = False

    @property
    def segments(self) -> list[str]:
        """The parts of its path."""
        return self.path[1:].split("/")


class Endpoint(Resource):
    """All operations whose paths begin with the same word."""

    isLeaf = True
    _log = Logger()

    def __init__(self, desk: Desk, operations: Iterable[Operation]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._desk = desk
        self._operations = list(operations)

    def render(self, request: Request) -> int:
        """See L{twisted.web.resource.IResource.render}."""
        gone = request.notifyFinish()
        serving = Deferred.fromCoroutine(self._serve(request))
        # Whoever hangs up lets go of what is under way; what was accepted stands.
        gone.addErrback(lambda _: self._desk.gone(request))
        serving.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _serve(self, request: Request) -> None:
        try:
            reply = await self._carry_out(request)
        except HungUp:
            return
        except Problem as problem:
            for name, value in problem.headers.items():
                values = (value,) if isinstance(value, str) else value
                request.responseHeaders.setRawHeaders(name, values)
            _write(request, problem.status, problem.body, PROBLEM)
        else:
            if reply is not None:
                octets = None if reply.content is None else encode(reply.content)
                _write(request, reply.status, octets, b"application/json")

    async def _carry_out(self, request: Request) -> Optional[Reply]:
        method = _method(request)
        assert request.prepath is not None and request.postpath is not None
        segments = [request.prepath[-1], *request.postpath]
        found = [each for each in self._operations if len(each.segments) == len(segments)]
        if not found:
            raise not_found("There is nothing at this address; /openapi.json tells what there is.")
        allowed = {each.method: each for each in found}
        operation = allowed.get("GET" if method == "HEAD" else method)
        if operation is None:
            methods = ", ".join(sorted({*allowed, *(["HEAD"] if "GET" in allowed else [])}))
            detail = f"This address takes {methods}."
            headers = {"Allow": methods}
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", detail, headers=headers)
        refusal = request.misnamed if method in _HARMLESS else request.foreign
        if refusal is not None:
            raise Problem(HTTPStatus.FORBIDDEN, "foreign-origin", refusal)
        _, _, query = request.uri.partition(b"?")
        path = tuple(_text(part) for part in segments[1:])
        return await operation.run(self._desk, Asked(request, path, read_all(query, operation.query)))

    def _failed(self, failure: Failure, request: Request) -> None:
        self._log.failure("A request failed", failure)
        if request.startedWriting:
            request.channel.abort()  # an answer without its end must not look whole
            return
        detail = "Something went wrong on the server. Ask again; what was accepted is safe."
        problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", detail)
        _write(request, problem.status, problem.body, PROBLEM)


def _method(request: Request) -> str:
    return request.method.decode("latin-1")


def _text(part: bytes) -> str:
    try:
        return part.decode()
    except UnicodeDecodeError:
        raise bad_parameter("", "The path of the address is not UTF-8, percent-encoded.") from None


def _write(request: Any, status: HTTPStatus, octets: Optional[bytes], kind: bytes) -> None:
    request.setResponseCode(status.value, status.phrase.encode())
    if octets is not None:
        request.setHeader(b"Content-Type", kind)
        request.setHeader(b"Content-Length", b"%d" % len(octets))
        request.write(octets)
    if request.channel is not None:  # it may have been one answer too many that nobody reads
        request.finish()
