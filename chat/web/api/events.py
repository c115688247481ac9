"""Server-sent events: what comes into the mailbox, and what was delivered of what one sent, as it happens."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, Mapping, Optional, Sequence

import msgspec
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from chat.messages import Message
from chat.web.answers import encode
from chat.web.api.asked import Asked
from chat.web.api.conversation import Conversation, Pushed
from chat.web.api.desk import Desk
from chat.web.api.endpoint import Answer, Operation, Reply
from chat.web.api.parameters import LARGEST_ID, number, span
from chat.web.api.problem import Problem, bad_parameter

#: A stream that has nothing to say says so, after so many seconds: what is in between keeps it open.
HEARTBEAT = 15.0


@implementer(IPushProducer)
class Stream:
    """An answer that goes on: each thing is written as it is shown."""

    def __init__(self, request: Any, conversation: Conversation) -> None:
        self._request = request
        self._conversation = conversation
        self._said = False

    def begin(self) -> None:
        """Say that it begins, and let what waits be shown as fast as it is read."""
        self._request.registerProducer(self, True)
        self._request.write(b": what waits follows, then what comes\n\n")
        self._conversation.pushed = self.take
        self._conversation.kept = self.keep
        self._conversation.drained()

    def take(self, frames: Sequence[Pushed]) -> None:
        """These are shown, or told."""
        self._said = True
        for frame in frames:
            content = msgspec.to_builtins(frame)
            if isinstance(frame, Message):
                self._write("message", content, frame.id)
            else:
                content.pop("keyword")
                self._write("delivered", content)

    def beat(self) -> None:
        """Show that the stream is alive, if nothing else did."""
        if not (self._said or self._conversation.paused):
            self._request.write(b":\n\n")
        self._said = False

    def keep(self, size: int) -> None:
        """So many bytes are kept for the client, which is too busy to be told."""
        channel = None if self._request.finished else self._request.channel
        if channel is not None:  # and the client is still there
            channel.hold(size)

    def fail(self, problem: Problem) -> None:
        """Say why it ends."""
        self._request.write(b"event: end\ndata: %b\n" % problem.body)
        self.end()

    def end(self) -> None:
        """It ends."""
        self._request.unregisterProducer()
        self._request.finish()

    def _write(self, event: str, content: Mapping[str, Any], id: Optional[int] = None) -> None:
        numbered = b"" if id is None else b"id: %d\n" % id
        self._request.write(b"event: %b\n%bdata: %b\n" % (event.encode(), numbered, encode(content)))

    # --- from the transport ---

    def pauseProducing(self) -> None:
        """The client does not read as fast as it is written to: the rest waits in the store."""
        self._conversation.paused = True

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._conversation.drained()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._conversation.hang_up()


async def follow(desk: Desk, asked: Asked) -> Optional[Reply]:
    """Show what waits, then what comes, until whoever listens hangs up."""
    async with desk.conversation(asked, _position(asked)) as conversation:
        asked.request.responseHeaders.setRawHeaders("Content-Type", ["text/event-stream"])
        # What is in between is to pass each event on, not to gather them.
        asked.request.responseHeaders.setRawHeaders("X-Accel-Buffering", ["no"])
        if asked.request.method == b"HEAD":
            return Reply(HTTPStatus.OK)
        stream = Stream(asked.request, conversation)
        end = desk.clock.seconds() + asked.query.get("for", math.inf)
        stream.begin()
        try:
            while (left := end - desk.clock.seconds()) > 0:
                if not await conversation.pause(min(left, HEARTBEAT)):
                    stream.beat()
            stream.end()
        except Problem as problem:
            stream.fail(problem)
    return None


def _position(asked: Asked) -> int:
    """Behind which message to go on: browsers say so when they come back."""
    last = asked.header("Last-Event-ID")
    if last is None:
        after: int = asked.query.get("after", 0)
        return after
    if not (last.isascii() and last.isdigit() and len(last) < 20 and int(last) <= LARGEST_ID):
        raise bad_parameter("Last-Event-ID", "The header Last-Event-ID is an id that this stream has given.")
    return int(last)


OPERATIONS = (
    Operation(
        "GET",
        "/events",
        "follow",
        "Follow what happens",
        follow,
        query=(
            number(
                "after",
                "Only what came into the mailbox behind this message; it confirms nothing.",
                0,
                LARGEST_ID,
            ),
            span("for", "End after this time; without it, the stream does not end."),
        ),
        headers=(
            number(
                "Last-Event-ID", "As the parameter after, and before it; browsers send it.", 0, LARGEST_ID
            ),
        ),
        answers={HTTPStatus.OK: Answer("Events named message and delivered.", None, "text/event-stream")},
    ),
)
