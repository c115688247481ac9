"""The description of all this in OpenAPI 3.1, made of the operations themselves: C{GET /openapi.json}."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Iterable, Mapping

from chat import __version__
from chat.course import RECEIPTS_AT_ONCE
from chat.messages import BODY_BYTES, REF_BYTES, SUBJECT_BYTES
from chat.web.api.asked import Asked
from chat.web.api.desk import Desk
from chat.web.api.endpoint import Answer, Operation, Reply
from chat.web.api.parameters import LARGEST_ID, Parameter

_ID = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}
_TIME = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, milliseconds."}
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean", "default": False}
_STATES = ["waiting", "delivered", "returned", "recalled", "dead"]


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _closed(*required: str, **properties: Any) -> dict[str, Any]:
    """What is sent: what is not among this would be overlooked, so it is refused."""
    return {**_object(*required, **properties), "additionalProperties": False}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


_PROBLEM = {
    "detail": {"type": "string", "description": "What was wrong, what the limit is, what to do."},
    "code": {"type": "string", "description": "Stable, for programs."},
    "status": {"type": "integer"},
    "title": _TEXT,
    "type": {"type": "string", "const": "about:blank"},
    "parameter": {"type": "string", "description": "Which parameter it was."},
}
_SUMMARY = {"id": _ID, "sender": _TEXT, "recipient": _TEXT, "time": _TIME, "subject": _TEXT}
_SCHEMAS: dict[str, Any] = {
    "Draft": _closed(
        "body",
        body={"type": "string", "description": f"At most {BODY_BYTES} bytes of UTF-8."},
        subject={"type": ["string", "null"], "description": f"At most {SUBJECT_BYTES} bytes of UTF-8."},
        ref={
            "type": ["string", "null"],
            "minLength": 1,
            "description": f"In place of Idempotency-Key; at most {REF_BYTES} bytes.",
        },
        receipt=_FLAG,
        automatic=_FLAG,
        answers={
            "type": "integer",
            "minimum": 0,
            "maximum": LARGEST_ID,
            "description": "The id of the message that this one answers, which programs should say.",
        },
    ),
    "Fate": _object("id", "time", "state", id=_ID, time=_TIME, state={"enum": ["waiting", "delivered"]}),
    "Problem": _object("detail", "code", "status", "title", "type", **_PROBLEM),
    "Returned": _object(
        "detail",
        "code",
        "status",
        "title",
        "type",
        "id",
        "time",
        "state",
        **_PROBLEM,
        id=_ID,
        time=_TIME,
        state={"enum": ["returned", "recalled", "dead"]},
    ),
    "CameBack": _object("code", "recipient", "note", code=_TEXT, recipient=_TEXT, note=_TEXT),
    "Message": _object(
        "id",
        "sender",
        "recipient",
        "time",
        "body",
        **_SUMMARY,
        body=_TEXT,
        returned=_ref("CameBack"),
        again={"type": "boolean", "description": "It may have been shown before, and was not confirmed."},
        automatic={"type": "boolean", "description": "A program wrote it, and no program is to answer it."},
        state={"enum": _STATES, "description": "Only where one message is read."},
    ),
    "Messages": _object("messages", "more", messages=_list_of("Message"), more={"type": "boolean"}),
    "Entry": _object(
        "id",
        "sender",
        "recipient",
        "time",
        "state",
        **_SUMMARY,
        state={"enum": _STATES},
        returned=_ref("CameBack"),
        excerpt={"type": "string", "description": "Only where something was searched for."},
    ),
    "Listing": _object("messages", "more", messages=_list_of("Entry"), more={"type": "boolean"}),
    "Found": _object(
        "messages",
        "more",
        messages=_list_of("Entry"),
        more={"type": "boolean"},
        incomplete={"type": "boolean", "description": "Older messages were not looked through yet."},
    ),
    "Receipt": _closed(
        "ids",
        ids={
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": LARGEST_ID},
            "maxItems": RECEIPTS_AT_ONCE,
        },
    ),
    "Description": {"type": "object"},
    "Token": _object("token", "expires", token=_TEXT, expires=_TIME),
}

_OF_ALL = {
    HTTPStatus.BAD_REQUEST: Answer("Not understood; the detail says what of it.", "Problem"),
    HTTPStatus.FORBIDDEN: Answer("Not from there, or not with this login.", "Problem"),
    HTTPStatus.METHOD_NOT_ALLOWED: Answer("Not at this address.", "Problem"),
}
_OF_PEOPLE = {
    HTTPStatus.UNAUTHORIZED: Answer("Nobody is logged in by this.", "Problem"),
    HTTPStatus.TOO_MANY_REQUESTS: Answer("Too much at once, or too many wrong passwords.", "Problem"),
    HTTPStatus.INTERNAL_SERVER_ERROR: Answer("The server failed; what was accepted is safe.", "Problem"),
    HTTPStatus.SERVICE_UNAVAILABLE: Answer("No room, or the server stops. Keep it, ask later.", "Problem"),
}
_OF_BODIES = {
    HTTPStatus.LENGTH_REQUIRED: Answer("There is no body.", "Problem"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Answer("More than there may be.", "Problem"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Answer("Not a kind of body that is understood here.", "Problem"),
}
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"schema": _TEXT, "required": True}},
    HTTPStatus.METHOD_NOT_ALLOWED: {"Allow": {"schema": _TEXT, "required": True}},
    HTTPStatus.TOO_MANY_REQUESTS: {
        "Retry-After": {"schema": {"type": "integer"}, "description": "In seconds."}
    },
}
_ABOUT = (
    "Send messages and receive them over HTTP. A message that is accepted is delivered to its recipient, or"
    " comes back to its sender with the reason; it is never lost and never doubled. What is received is to be"
    " confirmed (POST /received): until then it comes again."
)


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """The description of these operations."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "chat", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "./"}],
        "security": [{"password": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "password": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Name, with % as %25 and : as %3A, and password.",
                },
                "token": {"type": "http", "scheme": "bearer", "description": "What POST /token gives."},
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    answers = dict(_OF_ALL)
    if not operation.public:
        answers |= _OF_PEOPLE
    if operation.body:
        answers |= _OF_BODIES
    answers |= operation.answers
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about,
        "parameters": [
            *(_in_path(each[1:-1]) for each in operation.segments if each.startswith("{")),
            *(_parameter(each, "query") for each in operation.query),
            *(_parameter(each, "header") for each in operation.headers),
        ],
        "responses": {str(status.value): _answer(status, answers[status]) for status in sorted(answers)},
    }
    if operation.body:
        content = {kind: {"schema": schema} for kind, schema in operation.body.items()}
        described["requestBody"] = {"required": True, "content": content}
    if operation.public:
        described["security"] = []
    return described


def _in_path(name: str) -> dict[str, Any]:
    schema: Mapping[str, Any] = _ID if name == "id" else {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _parameter(parameter: Parameter, where: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": where,
        "description": parameter.about,
        "schema": parameter.schema,
    }
    if parameter.required:
        described["required"] = True
    return described


def _answer(status: HTTPStatus, answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.about}
    if status in _HEADERS:
        described["headers"] = _HEADERS[status]
    problem = status.value >= 400
    if answer.schema is not None:
        kind = "application/problem+json" if problem else answer.kind
        described["content"] = {kind: {"schema": _ref(answer.schema)}}
    elif answer.kind != "application/json":
        described["content"] = {answer.kind: {"schema": _TEXT}}
    return described


def describing(operations: Iterable[Operation]) -> Operation:
    """The operation that tells of these, and of itself."""

    async def tell(desk: Desk, asked: Asked) -> Reply:
        return Reply(HTTPStatus.OK, content)

    itself = Operation(
        "GET",
        "/openapi.json",
        "describe",
        "This description",
        tell,
        answers={HTTPStatus.OK: Answer("OpenAPI 3.1.", "Description")},
        public=True,
    )
    content = describe([*operations, itself])
    return itself
