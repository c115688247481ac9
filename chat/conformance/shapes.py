"""What every frame of a server looks like, by the encoding guide of docs/protocol.rst.

Written from the document and not from L{chat.messages}, so that the two hold each other.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Callable, Mapping, NamedTuple

LARGEST = 2**63 - 1
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", re.ASCII)

#: What is wrong with a value, or an empty string.
Kind = Callable[[Any], str]


class Field(NamedTuple):
    """One field of a frame."""

    kind: Kind
    required: bool = True


Shape = Mapping[str, Field]


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else "is no string"


def _word(value: Any) -> str:
    return "" if isinstance(value, str) and value else "is no string, or empty"


def _number(value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return "" if whole and 0 <= value <= LARGEST else "is no number from 0 to 2**63 - 1"


def _truth(value: Any) -> str:
    return "" if isinstance(value, bool) else "is neither true nor false"


def _time(value: Any) -> str:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return "is no RFC 3339 time in UTC with milliseconds"
    try:
        datetime.fromisoformat(value[:-1])
    except ValueError:
        return "is no moment that ever was"
    return ""


def _one_of(*words: str) -> Kind:
    return lambda value: "" if value in words else f"is none of {', '.join(words)}"


def _list_of(kind: Kind) -> Kind:
    def check(value: Any) -> str:
        if not isinstance(value, list):
            return "is no array"
        return next((f"has an element that {wrong}" for each in value if (wrong := kind(each))), "")

    return check


def _object(shape: Shape) -> Kind:
    def check(value: Any) -> str:
        return fault(shape, value) if isinstance(value, dict) else "is no object"

    return check


def fault(shape: Shape, fields: Mapping[str, Any]) -> str:
    """What is wrong with these fields, or an empty string; others than the known ones may be there."""
    for name, field in shape.items():
        if name not in fields:
            if field.required:
                return f"lacks {name}"
        elif wrong := field.kind(fields[name]):
            return f"has a field {name} that {wrong}"
    return ""


_IDS = Field(_list_of(_number))
_RETURNED: Shape = {"code": Field(_word), "recipient": Field(_text), "note": Field(_word)}
_MESSAGE: dict[str, Field] = {
    "id": Field(_number),
    "sender": Field(_word),
    "recipient": Field(_text),
    "time": Field(_time),
    "subject": Field(_text, False),
    "body": Field(_text),
    "returned": Field(_object(_RETURNED), False),
    "again": Field(_truth, False),
    "automatic": Field(_truth, False),
}
_STANDING = Field(_one_of("waiting", "delivered", "returned", "recalled", "dead"))
_ENTRY: dict[str, Field] = {
    name: _MESSAGE[name] for name in ("id", "sender", "recipient", "time", "subject", "returned")
} | {"state": _STANDING}

#: The frames that servers say, by keyword; C{message} for a message.
SHAPES: Mapping[str, Shape] = {
    "version": {"protocol": Field(_number), "server": Field(_word)},
    "username": {},
    "password": {},
    "new-password": {},
    "created": {"username": Field(_word), "recovery": Field(_list_of(_word), False)},
    "welcome": {"username": Field(_word), "waiting": Field(_number)},
    "failed": {
        "code": Field(_word),
        "reason": Field(_word),
        "ref": Field(_text, False),
        "seconds": Field(_number, False),
    },
    "fatal": {"code": Field(_word), "reason": Field(_word)},
    "accepted": {
        "ref": Field(_text, False),
        "id": Field(_number),
        "time": Field(_time),
        "state": _STANDING,
    },
    "delivered": {"ids": _IDS, "time": Field(_time)},
    "deleted": {"ids": _IDS, "missing": _IDS},
    "listing": {
        "box": Field(_one_of("inbox", "sent")),
        "messages": Field(_list_of(_object(_ENTRY))),
        "more": Field(_truth),
    },
    "found": {
        "messages": Field(_list_of(_object(_ENTRY | {"excerpt": Field(_text, False)}))),
        "more": Field(_truth),
        "incomplete": Field(_truth, False),
    },
    "messages": {
        "messages": Field(_list_of(_object(_MESSAGE | {"state": _STANDING}))),
        "missing": _IDS,
    },
    "account-deleted": {},
    "password-changed": {},
    "token-issued": {"value": Field(_word), "expires": Field(_time)},
    "logged-out": {},
    "recovery-codes": {"codes": Field(_list_of(_word))},
    "blocked": {"usernames": Field(_list_of(_word))},
    "pong": {},
    "bye": {},
    "message": _MESSAGE,
}
