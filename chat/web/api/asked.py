"""A request as it is understood: who asks, for what, and with which contents."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Optional, TypeVar, Union
from urllib.parse import quote, unquote, unquote_to_bytes

import msgspec

from chat.messages import Number
from chat.web.api.conversation import Credentials
from chat.web.api.problem import Problem, bad_body, unauthorized
from chat.web.site import Request

T = TypeVar("T")

#: An id in JSON, which does not tell 17.0 from 17.
Id = Union[Number, Annotated[float, msgspec.Meta(ge=0, le=2**62, multiple_of=1)]]

#: What browsers and curl call what they send when nobody says what it is.
_FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
TEXT = "text/plain"
#: A reason may repeat what was sent, and that may be long.
_LONGEST_REASON = 200
_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_EXTENDED = re.compile(rb"utf-8'[A-Za-z0-9-]*'", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """One request.

    @ivar path: the parts of its path below what serves it, decoded.
    @ivar query: the values of its parameters, by name.
    """

    request: Request
    path: tuple[str, ...]
    query: dict[str, Any]

    def header(self, name: str) -> Optional[str]:
        """The value of a header; C{None} if there is none.

        Beyond ASCII it is UTF-8, or in the form of RFC 8187 (C{UTF-8''caf%C3%A9}), for programs
        that can send ASCII only.

        @raise Problem: it is neither, or there are several.
        """
        values = self.request.requestHeaders.getRawHeaders(name.encode("ascii"), [])
        if not values:
            return None
        if len(values) > 1:
            raise _bad_header(name, "is there twice. Give it once.")
        value = bytes(values[0])
        if extended := _EXTENDED.match(value):
            value = unquote_to_bytes(value[extended.end() :])
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise _bad_header(name, "is not UTF-8. In ASCII it can be written so: UTF-8''caf%C3%A9") from None

    def body(self, *kinds: str) -> tuple[str, bytes]:
        """The kind of the contents, one of these, and the contents.

        What is said to be a form is taken for the first of these.

        @raise Problem: it is of another kind, or there is none.
        """
        headers = self.request.requestHeaders
        if not (headers.hasHeader(b"content-length") or headers.hasHeader(b"transfer-encoding")):
            detail = "There is no body. Send one, with its Content-Length; curl does with -d."
            raise Problem(HTTPStatus.LENGTH_REQUIRED, "length-required", detail)
        if headers.hasHeader(b"content-encoding"):
            raise _unsupported("The body is compressed. Send it as it is.", kinds)
        given = self.header("Content-Type")
        kind, charset = (kinds[0], "utf-8") if given is None else _kind(given)
        if kind == _FORM:
            kind = kinds[0]  # curl -d says so of whatever it sends
        if kind not in kinds:
            raise _unsupported(f"A body of the kind {kind[:60]!r} is not understood here.", kinds)
        if charset not in ("utf-8", "us-ascii"):
            raise _unsupported("The body is not said to be UTF-8, and that is all that is understood.", kinds)
        content = self.request.content
        assert content is not None
        return kind, content.read()


def read_text(octets: bytes) -> str:
    """A body that is plain text.

    @raise Problem: it is not UTF-8.
    """
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise bad_body(f"The body is not UTF-8: byte {error.start} begins no character.") from None


def read_json(octets: bytes, type: type[T]) -> T:
    """A body that is a JSON object with these fields.

    @raise Problem: it is not.
    """
    read_text(octets)  # for what is no UTF-8, msgspec has an error of another kind
    try:
        return msgspec.json.decode(octets, type=type)
    except msgspec.ValidationError as error:
        why = str(error)
        why = why if len(why) <= _LONGEST_REASON else f"{why[:_LONGEST_REASON]}..."
        raise bad_body(f"The JSON in the body is not what is expected: {why}.") from None
    except (msgspec.DecodeError, RecursionError):
        raise bad_body("The body is said to be JSON, and is not.") from None


def credentials(request: Request) -> Credentials:
    """Who asks.

    @raise Problem: it does not say so, or not in a way that is understood.
    """
    values = request.requestHeaders.getRawHeaders(b"authorization", [])
    if not values:
        raise unauthorized("Say who you are: with curl, -u NAME.", "login-needed")
    scheme, _, shown = values[0].partition(b" ")
    found = None
    if len(values) == 1 and scheme.lower() == b"basic":
        found = _basic(shown.strip())
    elif len(values) == 1 and scheme.lower() == b"bearer":
        found = _bearer(shown.strip())
    if found is None:
        expected = "neither Basic (a name and its password) nor Bearer (a token of POST /token)"
        raise unauthorized(f"The Authorization header is {expected}.", "login-needed")
    return found


def bearer(name: str, token: str) -> str:
    """What stands for both the name and the token of an account, in one word."""
    return f"{quote(name, safe='')}.{token}"


def _basic(shown: bytes) -> Credentials | None:
    try:
        name, colon, password = b64decode(shown, validate=True).decode().partition(":")
    except (NotBase64, UnicodeDecodeError):
        return None
    return Credentials(_name(name), "password", password) if colon else None


def _bearer(shown: bytes) -> Credentials | None:
    try:
        name, dot, token = shown.decode("ascii").rpartition(".")
    except UnicodeDecodeError:
        return None
    return Credentials(_name(name), "token", token) if dot else None


def _name(written: str) -> str:
    """The name that this stands for, percent-encoded: in Basic, a colon would end it.

    @raise Problem: a percent sign is not the beginning of a byte. It is not taken for itself: then some
        names with one could be written plainly, and others would be other accounts.
    """
    try:
        if _LONE_PERCENT.search(written) is None:
            return unquote(written, errors="strict")
    except UnicodeDecodeError:
        pass
    detail = "In a name, % is written %25 and : is written %3A: it is percent-encoded UTF-8."
    raise unauthorized(detail, "login-needed")


def _kind(value: str) -> tuple[str, str]:
    """What a Content-Type header says: the kind, and the encoding of its characters."""
    kind, *parameters = (part.strip() for part in value.split(";"))
    charset = "utf-8"
    for parameter in parameters:
        name, _, given = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = given.strip().strip('"').lower()
    return kind.lower(), {"utf8": "utf-8", "ascii": "us-ascii"}.get(charset, charset)


def _unsupported(detail: str, kinds: tuple[str, ...]) -> Problem:
    detail = f"{detail} Send {' or '.join(kinds)}, in UTF-8."
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)


def _bad_header(name: str, what: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "bad-header", f"The header {name} {what}")
