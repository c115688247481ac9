"""HTTP for programs: requests and answers in place of the frames of a conversation.

A thin door like the others: each request logs in to a session of the core, says its
frames, and answers with what those are answered with.
"""

from __future__ import annotations

from typing import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from chat.ports import Peer
from chat.session import Session
from chat.web.api import events, mailbox, sending, tokens
from chat.web.api.desk import Desk
from chat.web.api.endpoint import Endpoint, Operation
from chat.web.api.openapi import describing

OPERATIONS: tuple[Operation, ...] = (
    *sending.OPERATIONS,
    *mailbox.OPERATIONS,
    *events.OPERATIONS,
    *tokens.OPERATIONS,
)


class Api:
    """All that programs can call.

    @ivar resources: what is to be mounted, by the first word of the path.
    """

    def __init__(self, clock: IReactorTime, converse: Callable[[Peer], Session]) -> None:
        """Serve with sessions that C{converse} makes."""
        self._desk = Desk(clock, converse)
        by_word: dict[str, list[Operation]] = {}
        for operation in (*OPERATIONS, describing(OPERATIONS)):
            by_word.setdefault(operation.segments[0], []).append(operation)
        self.resources: dict[bytes, IResource] = {
            word.encode(): Endpoint(self._desk, operations) for word, operations in by_word.items()
        }

    @property
    def busy(self) -> int:
        """How many requests are being served."""
        return self._desk.busy

    def shut_down(self) -> None:
        """The server stops: every request is answered now, what is under way first."""
        self._desk.shut_down()
