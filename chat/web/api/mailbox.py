"""One's own mailbox: what waits, receipts, single messages, listings and searches."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Sequence

import msgspec
from msgspec import Meta

from chat.course import RECEIPTS_AT_ONCE
from chat.messages import (
    Delete,
    Deleted,
    Found,
    List,
    Listing,
    Message,
    Messages,
    Read,
    Received,
    Search,
)
from chat.web.answers import encode
from chat.web.api.asked import JSON, Asked, Id, read_json
from chat.web.api.conversation import Conversation, Pushed
from chat.web.api.desk import Desk
from chat.web.api.endpoint import Answer, Operation, Reply
from chat.web.api.parameters import LARGEST_ID, choice, needed, number, span
from chat.web.api.problem import Problem, bad_parameter, not_found

#: An answer has no more messages once those that it has come to so many bytes.
ANSWER_BYTES = 1024 * 1024
#: How long it may take to find out what waits, in seconds; it is a matter of milliseconds.
_PATIENCE = 60.0


class Receipt(msgspec.Struct, forbid_unknown_fields=True):
    """Which messages are confirmed."""

    ids: Annotated[list[Id], Meta(max_length=RECEIPTS_AT_ONCE)]


class Page:
    """What of the mailbox one answer has.

    @ivar messages: these, as they are answered.
    @ivar more: whether more wait than it has.
    """

    def __init__(self, conversation: Conversation, limit: int) -> None:
        """Show what the conversation is shown, up to so many messages."""
        self.messages: list[dict[str, Any]] = []
        self.more = False
        self._conversation = conversation
        self._limit = limit
        self._size = 0

    def take(self, frames: Sequence[Pushed]) -> None:
        """These are shown."""
        for frame in frames:
            if not isinstance(frame, Message):
                continue
            if len(self.messages) == self._limit or self._size >= ANSWER_BYTES:
                self.more = self._conversation.paused = True
                break
            content = msgspec.to_builtins(frame)
            self.messages.append(content)
            self._size += len(encode(content))  # a character may be six bytes
        self._conversation.wake()


async def waiting(desk: Desk, asked: Asked) -> Reply:
    """The messages that wait, oldest first; with C{wait}, the next ones as soon as they come."""
    deadline = desk.clock.seconds() + asked.query.get("wait", 0.0)
    async with desk.conversation(asked, asked.query.get("after", 0)) as conversation:
        page = Page(conversation, asked.query.get("limit", 100))
        conversation.pushed = page.take
        conversation.drained()
        while not (page.more or (conversation.live and page.messages)):
            left = deadline - desk.clock.seconds()
            if conversation.live and left <= 0:
                break
            await conversation.pause(left if left > 0 else _PATIENCE)
        return Reply(HTTPStatus.OK, {"messages": page.messages, "more": page.more})


async def confirm(desk: Desk, asked: Asked) -> Reply:
    """Confirm messages: they need not come again, and their senders are told who asked for it."""
    _, octets = asked.body(JSON)
    ids = [int(id) for id in read_json(octets, Receipt).ids]
    async with desk.conversation(asked) as conversation:
        conversation.tell(Received(ids=ids))
        # A receipt has no answer, but whatever is asked behind it is answered when it is on disk.
        await conversation.ask(Read(ids=[]))
        if conversation.settling:
            detail = "The server has no room left to note this. Confirm it again later."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "storage-full", detail)
    return Reply(HTTPStatus.NO_CONTENT)


async def read(desk: Desk, asked: Asked) -> Reply:
    """One message, whole."""
    id = _id(asked)
    async with desk.conversation(asked) as conversation:
        found = await conversation.ask(Read(ids=[id]))
    assert isinstance(found, Messages)
    if not found.messages:
        raise not_found(f"There is no message {id} in this mailbox, nor among those sent that have contents.")
    return Reply(HTTPStatus.OK, msgspec.to_builtins(found.messages[0]))


async def remove(desk: Desk, asked: Asked) -> Reply:
    """Remove a message from the mailbox, or take back one that was sent and waits still."""
    id = _id(asked)
    async with desk.conversation(asked) as conversation:
        removed = await conversation.ask(Delete(ids=[id]))
    assert isinstance(removed, Deleted)
    if not removed.ids:
        raise not_found(f"There is no message {id} in this mailbox, nor one that could still be taken back.")
    return Reply(HTTPStatus.NO_CONTENT)


async def inbox(desk: Desk, asked: Asked) -> Reply:
    """What is in the mailbox, without the bodies."""
    return await _list(desk, asked, "inbox")


async def sent(desk: Desk, asked: Asked) -> Reply:
    """What was sent, without the bodies, and what became of it."""
    return await _list(desk, asked, "sent")


async def search(desk: Desk, asked: Asked) -> Reply:
    """What a query finds, newest first."""
    query = asked.query
    wanted = Search(
        query=query["q"], box=query.get("box"), before=query.get("before", 0), limit=query.get("limit", 20)
    )
    async with desk.conversation(asked) as conversation:
        found = await conversation.ask(wanted)
    assert isinstance(found, Found)
    content = msgspec.to_builtins(found)
    del content["keyword"]
    return Reply(HTTPStatus.OK, content)


async def _list(desk: Desk, asked: Asked, box: str) -> Reply:
    after, before = asked.query.get("after", 0), asked.query.get("before")
    limit = asked.query.get("limit", 100)
    backwards = before is not None
    wanted = List(box=box, after=0 if backwards else after, before=before, limit=limit)
    async with desk.conversation(asked) as conversation:
        listing = await conversation.ask(wanted)
    assert isinstance(listing, Listing)
    entries = [entry for entry in listing.messages if entry.id > after]
    more = listing.more and len(entries) == len(listing.messages)
    return Reply(HTTPStatus.OK, {"messages": msgspec.to_builtins(entries), "more": more})


def _id(asked: Asked) -> int:
    given = asked.path[0]
    if not (given.isascii() and given.isdigit() and len(given) < 20 and int(given) <= LARGEST_ID):
        raise bad_parameter("id", "An id is a whole number, as the server has given it to a message.")
    return int(given)


_AFTER = number("after", "Only what has a higher id; oldest first, unless before is given.", 0, LARGEST_ID)
_BEFORE = number("before", "Only what has a lower id, newest first; 0: the newest.", 0, LARGEST_ID)
_LIMIT = number("limit", "How many at most.", 1, 1000, 100)
_QUERY = 'what to search for: words that all occur, "a phrase", wor*, from:NAME, since:2026-11-01, ...'
_NO_MESSAGE = {HTTPStatus.NOT_FOUND: Answer("There is no such message for this account.", "Problem")}
_LISTING = {HTTPStatus.OK: Answer("Entries; more tells whether others follow.", "Listing")}

OPERATIONS = (
    Operation(
        "GET",
        "/messages",
        "receive",
        "Receive what waits",
        waiting,
        query=(
            number(
                "after",
                "Only what came into the mailbox behind this message. It confirms nothing; whoever leaves it"
                " out gets all that is not confirmed.",
                0,
                LARGEST_ID,
            ),
            _LIMIT,
            span("wait", "If nothing is there, wait so long for it."),
        ),
        answers={HTTPStatus.OK: Answer("Messages, oldest first; there may be none.", "Messages")},
    ),
    Operation(
        "POST",
        "/received",
        "confirm",
        "Confirm messages",
        confirm,
        body={JSON: {"$ref": "#/components/schemas/Receipt"}},
        answers={
            HTTPStatus.NO_CONTENT: Answer(
                "It is on disk: they will not come again. Others' ids are passed over."
            )
        },
    ),
    Operation(
        "GET",
        "/messages/{id}",
        "read",
        "Read a message",
        read,
        answers={HTTPStatus.OK: Answer("The message.", "Message"), **_NO_MESSAGE},
    ),
    Operation(
        "DELETE",
        "/messages/{id}",
        "remove",
        "Remove a message, or take it back",
        remove,
        answers={HTTPStatus.NO_CONTENT: Answer("It is gone."), **_NO_MESSAGE},
    ),
    Operation(
        "GET", "/inbox", "inbox", "List the mailbox", inbox, query=(_AFTER, _BEFORE, _LIMIT), answers=_LISTING
    ),
    Operation(
        "GET", "/sent", "sent", "List what was sent", sent, query=(_AFTER, _BEFORE, _LIMIT), answers=_LISTING
    ),
    Operation(
        "GET",
        "/search",
        "search",
        "Search",
        search,
        query=(
            needed("q", _QUERY),
            choice("box", "Only in this one.", "inbox", "sent"),
            _BEFORE,
            number("limit", "How many at most.", 1, 100, 20),
        ),
        answers={
            HTTPStatus.OK: Answer("Entries, newest first.", "Found"),
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Answer("The query is too long.", "Problem"),
        },
    ),
)
