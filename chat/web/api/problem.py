"""What goes wrong with a request, as its answer: RFC 9457, with the stable code of the protocol."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Mapping

from chat.errors import Code
from chat.messages import Failed, Fatal
from chat.web.answers import problem

#: What a client has to show, and the two ways to do so.
CHALLENGES = ('Basic realm="chat", charset="UTF-8"', 'Bearer realm="chat"')

#: The status that each code of the core is told with; what is not here is 400.
STATUS = {
    Code.WRONG_PASSWORD: HTTPStatus.UNAUTHORIZED,
    Code.WRONG_TOKEN: HTTPStatus.UNAUTHORIZED,
    Code.ACCOUNT_GONE: HTTPStatus.UNAUTHORIZED,
    Code.LOGGED_OUT: HTTPStatus.UNAUTHORIZED,
    Code.BAD_STATE: HTTPStatus.FORBIDDEN,
    Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.REF_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.AUTOMATIC_LOOP: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.SLOW_DOWN: HTTPStatus.TOO_MANY_REQUESTS,
    Code.STORAGE_FULL: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.SHUTTING_DOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.TOO_MANY_CONNECTIONS: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_BY_CODE: dict[str, HTTPStatus] = {code.value: status for code, status in STATUS.items()}
#: Who cannot log in for one of these is told when or whether to try again; for all others, who to be.
_NOT_OF_THE_LOGIN = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class Problem(Exception):
    """The request is answered with this instead.

    @ivar headers: what the answer has beside the usual.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str | tuple[str, ...]] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """What was wrong, what the limit is, what to do.

        @param more: members of the answer that only this kind of problem has.
        """
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self._more = dict(more or {})

    @property
    def body(self) -> bytes:
        """The body of the answer, a line of JSON."""
        return problem(self.status, self.code, self.detail, self._more)


def refused(frame: Failed | Fatal) -> Problem:
    """The problem that a refusal of the core is."""
    status = _BY_CODE.get(frame.code, HTTPStatus.BAD_REQUEST)
    headers: dict[str, str | tuple[str, ...]] = {}
    if isinstance(frame, Failed) and frame.seconds is not None:
        headers["Retry-After"] = str(frame.seconds)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = CHALLENGES
    return Problem(status, frame.code, frame.reason, headers=headers)


def not_logged_in(frame: Failed) -> Problem:
    """The problem that a refused login is."""
    told = refused(frame)
    return told if told.status in _NOT_OF_THE_LOGIN else unauthorized(frame.reason, frame.code)


def unauthorized(detail: str, code: str = Code.WRONG_PASSWORD.value) -> Problem:
    """Nobody in particular asks for what is somebody's."""
    return Problem(HTTPStatus.UNAUTHORIZED, code, detail, headers={"WWW-Authenticate": CHALLENGES})


def bad_parameter(name: str, detail: str) -> Problem:
    """A parameter that is unknown, repeated, or out of bounds; the sentence names it."""
    return Problem(HTTPStatus.BAD_REQUEST, "bad-parameter", detail, more={"parameter": name})


def bad_body(detail: str) -> Problem:
    """What was sent is not what it is said to be."""
    return Problem(HTTPStatus.BAD_REQUEST, "bad-body", detail)


def not_found(detail: str) -> Problem:
    """There is no such thing here."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", detail)
