"""Sending: C{POST /to/NAME}."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Any, Optional

import msgspec

from chat.messages import Accepted, Delivered, Entry, List, Listing, Message
from chat.web.api.asked import JSON, TEXT, Asked, Id, read_json, read_text
from chat.web.api.conversation import Conversation, Pushed
from chat.web.api.desk import Desk
from chat.web.api.endpoint import Answer, Operation, Reply
from chat.web.api.parameters import flag, span, text
from chat.web.api.problem import Problem, bad_body

#: How often it is looked whether a message that somebody waits for has come back, in seconds. Of a
#: delivery they are told at once.
LOOK = 2.0

#: What is wrong with a key that is none: a second message would be taken for the first one, sent again.
_EMPTY = "is empty. Give each message one of its own, or none."
_STATUS = {"waiting": HTTPStatus.ACCEPTED, "delivered": HTTPStatus.OK}


class Draft(msgspec.Struct, forbid_unknown_fields=True):
    """A message as JSON."""

    body: str
    subject: Optional[str] = None
    ref: Optional[str] = None
    receipt: bool = False
    automatic: bool = False
    answers: Id = 0


async def send(desk: Desk, asked: Asked) -> Reply:
    """Accept a message; with C{wait}, tell what becomes of it within that time."""
    message = _message(asked)
    async with desk.conversation(asked) as conversation:
        accepted = await conversation.ask(message)
        assert isinstance(accepted, Accepted)
        state = accepted.state
        entry = None
        if state == "waiting" and "wait" in asked.query:
            deadline = desk.clock.seconds() + asked.query["wait"]
            state, entry = await _settled(desk, conversation, accepted.id, deadline)
        fate = {"id": accepted.id, "time": accepted.time, "state": state}
        if state in _STATUS:
            return Reply(_STATUS[state], fate)
        with suppress(Problem):  # from here on nothing may keep the id from the sender
            entry = entry or await _entry(conversation, accepted.id)
        raise _returned(fate, entry)


def _message(asked: Asked) -> Message:
    kind, octets = asked.body(TEXT, JSON)
    query = asked.query
    draft = read_json(octets, Draft) if kind == JSON else Draft(body=read_text(octets))
    if draft.ref == "":
        raise bad_body(f"The ref in the body {_EMPTY}")
    return Message(
        recipient=asked.path[0],
        subject=_once("subject", draft.subject, asked.header("Subject")),
        body=draft.body,
        ref=_once("ref", draft.ref, _key(asked.header("Idempotency-Key"))),
        # Who waits for the delivery is to be told of it.
        receipt=draft.receipt or query.get("receipt", False) or query.get("wait", 0) > 0,
        automatic=draft.automatic or query.get("automatic", False),
        answers=int(draft.answers),
    )


def _once(what: str, field: Optional[str], header: Optional[str]) -> Optional[str]:
    """What is given in a field of the body, or in a header."""
    if None not in (field, header) and field != header:
        detail = f"The {what} is given in the body and in a header, and not as the same. Give it once."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "given-twice", detail)
    return header if field is None else field


def _key(header: Optional[str]) -> Optional[str]:
    """A key without the quotes that some programs put around it."""
    key = header[1:-1] if header and len(header) > 1 and header[0] == header[-1] == '"' else header
    if key == "":
        raise Problem(HTTPStatus.BAD_REQUEST, "bad-header", f"The header Idempotency-Key {_EMPTY}")
    return key


async def _settled(
    desk: Desk, conversation: Conversation, id: int, deadline: float
) -> tuple[str, Optional[Entry]]:
    """What has become of a message, as soon as it does not wait any more, or at the deadline.

    Where that cannot be found out, since the session ends, it waits: it was accepted, and whoever were
    told of a problem instead would send it again.
    """
    delivered = False

    def notice(frames: list[Pushed]) -> None:
        nonlocal delivered
        for frame in frames:
            if isinstance(frame, Delivered) and id in frame.ids:
                delivered = True
                conversation.wake()

    conversation.pushed = notice  # type: ignore[assignment]
    with suppress(Problem):
        while (left := deadline - desk.clock.seconds()) > 0:
            await conversation.pause(min(left, LOOK))
            if delivered:
                break
            entry = await _entry(conversation, id) if conversation.ready else None
            if entry is not None and entry.state != "waiting":
                return entry.state, entry
    return "delivered" if delivered else "waiting", None


async def _entry(conversation: Conversation, id: int) -> Optional[Entry]:
    """What the sender is told of a message."""
    listing = await conversation.ask(List(box="sent", after=id - 1, limit=1))
    assert isinstance(listing, Listing)
    return listing.messages[0] if listing.messages and listing.messages[0].id == id else None


def _returned(fate: dict[str, Any], entry: Optional[Entry]) -> Problem:
    """The answer when the message is not with its recipient, and never will be."""
    if entry is not None and entry.returned is not None:
        why = entry.returned
        detail = f"{why.note} The message came back to your own mailbox, with this note."
        return Problem(HTTPStatus.CONFLICT, why.code, detail, more=fate)
    detail = f"This message does not wait for its recipient any more: it was {fate['state']}."
    return Problem(HTTPStatus.CONFLICT, str(fate["state"]), detail, more=fate)


_IN_QUERY = (
    span(
        "wait",
        "Answer when the message is delivered or has come back, but after this time at the latest; without"
        " it, as soon as the message is on disk. Asks for a receipt, too.",
    ),
    flag("receipt", "Tell the sender's other sessions and event streams of the delivery."),
    flag("automatic", "A program wrote this unasked, and no program is to answer it."),
)
_IN_HEADERS = (
    text(
        "Subject",
        "The subject, at most 256 bytes of UTF-8; to programs that send ASCII only, the form of RFC 8187"
        " is open, too: UTF-8''caf%C3%A9.",
    ),
    text(
        "Idempotency-Key",
        "The sender's own name for this message, at most 64 bytes. The same again is the same message,"
        " never a second one.",
        least=1,
    ),
)
OPERATIONS = (
    Operation(
        "POST",
        "/to/{name}",
        "send",
        "Send a message",
        send,
        query=_IN_QUERY,
        headers=_IN_HEADERS,
        body={
            TEXT: {"type": "string"},
            JSON: {"$ref": "#/components/schemas/Draft"},
        },
        answers={
            HTTPStatus.OK: Answer("The message is delivered: its recipient has confirmed it.", "Fate"),
            HTTPStatus.ACCEPTED: Answer("The message is on disk, and waits for its recipient.", "Fate"),
            HTTPStatus.CONFLICT: Answer(
                "The message came back; the code and the detail tell why.", "Returned"
            ),
            HTTPStatus.UNPROCESSABLE_ENTITY: Answer(
                "Its ref was used for another, or no program may answer so, or it contradicts itself.",
                "Problem",
            ),
        },
    ),
)
