"""What a person at the text door reads: lines, back into the frames that they tell of."""

from __future__ import annotations

import re
from typing import Callable, Optional

from tests.simulation.mail import Said

_DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
_STATES = {
    "waiting": "waiting",
    "delivered": "delivered",
    "returned to its sender": "returned",
    "recalled": "recalled",
    "returned, but its sender is gone": "dead",
}
_STATE = "|".join(sorted(_STATES, key=len, reverse=True))

#: The prompts; those of the login have a keyword.
PROMPTS = {
    "Username: ": "username",
    "Password: ": "password",
    "New password: ": "new-password",
    "Token: ": "password",
    "Again: ": "",
    "Subject: ": "",
}


def _time(text: str) -> str:
    return f"{text[:10]}T{text[11:19]}.000Z"


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(", ")]


def _waiting(found: re.Match[str]) -> Said:
    number = {"No": "0"}.get(found[2], found[2])
    return {"keyword": "welcome", "username": found[1], "waiting": int(number)}


def _message(found: re.Match[str]) -> Said:
    frame: Said = {"id": int(found[1]), "sender": found[3], "again": bool(found[2])}
    return frame if found[4] is None else {**frame, "keyword": "shown", "state": _STATES[found[4]]}


def _back(found: re.Match[str]) -> Said:
    frame: Said = {
        "id": int(found[1]),
        "sender": None,
        "again": bool(found[2]),
        "returned": {"code": found[3]},
    }
    return frame if found[4] is None else {**frame, "keyword": "shown", "state": _STATES[found[4]]}


def _fate(found: re.Match[str]) -> Said:
    if found[3]:
        return {"keyword": "delivered", "ids": [int(found[1])]}
    return {"keyword": "accepted", "id": int(found[1]), "state": _STATES[found[2]]}


def _entry(found: re.Match[str]) -> Said:
    return {
        "keyword": "entry",
        "box": found[1].lower(),
        "id": int(found[2]),
        "sender": None,
        "state": _STATES[found[3]],
    }


_LINES: tuple[tuple[str, Callable[[re.Match[str]], Optional[Said]]], ...] = (
    (r"chat simulated, protocol 1", lambda found: {"keyword": "version"}),
    (r"Welcome, (\S+)\. (No|\d+) messages? (?:are|is) waiting\. .*", _waiting),
    (r"The account (\S+) is made\. .*", lambda found: {"keyword": "created", "username": found[1]}),
    (
        rf"Message (\d+)( \(again\))? from (\S+?)(?: to .*)?, {_DATE}(?:, ({_STATE}))?(?:, subject: .*)?",
        _message,
    ),
    (
        rf'Message (\d+)( \(again\))? to ".*" came back, not delivered: .* \(([a-z-]+)\); sent {_DATE}'
        rf"(?:, ({_STATE}))?(?:, subject: .*)?",
        _back,
    ),
    (rf"Message (\d+)(?: to .*)?: ({_STATE})(, {_DATE})?\.", _fate),
    (
        r"(?:Failed|Not sent to .*): .* \(([a-z-]+)\)(?: Try again in .*)?",
        lambda found: {"keyword": "failed", "code": found[1], "reason": "."},
    ),
    (r"Deleted: messages? ([\d, ]+)\.", lambda found: {"keyword": "gone", "ids": _numbers(found[1])}),
    (
        r"Not deleted: messages? ([\d, ]+)\. .*",
        lambda found: {"keyword": "missing", "ids": _numbers(found[1])},
    ),
    (
        r"Not in your mailbox: messages? ([\d, ]+)\.",
        lambda found: {"keyword": "missing", "ids": _numbers(found[1])},
    ),
    (rf"(Inbox|Sent) (\d+)(?:,? .*), {_DATE}, ({_STATE})(?:, subject: .*)?", _entry),
    (r"There is more: .*", lambda found: {"keyword": "more"}),
    (r"Your account is deleted\.", lambda found: {"keyword": "account-deleted"}),
    (
        rf"Token, until ({_DATE}): (\S+)",
        lambda found: {"keyword": "token-issued", "value": found[2], "expires": _time(found[1])},
    ),
    (r"You are logged out\.", lambda found: {"keyword": "logged-out"}),
    (r"Your password is changed\.", lambda found: {"keyword": "password-changed"}),
    (r"The server is there\.", lambda found: {"keyword": "pong"}),
    (r"Goodbye\.", lambda found: {"keyword": "bye"}),
    (r"The connection is closed: .* \(([a-z-]+)\)", lambda found: {"keyword": "fatal", "code": found[1]}),
    (r"\| .*", lambda found: {"keyword": "body", "line": found[0][2:]}),
    (
        r"(?:This name is free|What you type now goes|A message to|Now its lines|First your present"
        r"|Receipts are|Your password deletes|Your inbox is empty|You have sent nothing|Nothing after message"
        r"|Your recovery codes|password, each of them|  (?:[0-9a-z]{4}-){3}[0-9a-z]{4}"
        r"|Whoever has it can log in|Messages that|Not sent: nobody is chosen|The two were not the same).*",
        lambda found: None,
    ),
    (r"", lambda found: None),
)
_COMPILED = [(re.compile(pattern), make) for pattern, make in _LINES]

#: The lines of answers that take more than one.
PARTS = ("shown", "gone", "missing", "entry", "more")


def frame(line: str) -> Optional[Said]:
    """The frame that this line tells of, or a part of one, or C{None} for words of the door's own.

    @raise ValueError: the line is none of those that there are.
    """
    for pattern, make in _COMPILED:
        found = pattern.fullmatch(line)
        if found is not None:
            return make(found)
    raise ValueError(line)


def whole(keyword: str, asked: Said, parts: list[Said]) -> Said:
    """The answer of which these are the parts; C{keyword}: what was asked for."""
    missing = [id for part in parts if part["keyword"] == "missing" for id in part["ids"]]
    if keyword == "delete":
        gone = [id for part in parts if part["keyword"] == "gone" for id in part["ids"]]
        return {"keyword": "deleted", "ids": gone, "missing": missing}
    if keyword == "read":
        return {
            "keyword": "messages",
            "messages": [p for p in parts if p["keyword"] == "shown"],
            "missing": missing,
        }
    entries = [part for part in parts if part["keyword"] == "entry" and part["box"] == asked["box"]]
    more = any(part["keyword"] == "more" for part in parts)
    return {"keyword": "listing", "messages": entries, "more": more}
