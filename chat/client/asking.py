"""The questions to the server that have one answer, and change nothing in the client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred

from chat.messages import (
    Block,
    Blocked,
    Blocks,
    Found,
    List,
    Listing,
    Messages,
    Ping,
    Pong,
    Read,
    Recovery,
    RecoveryCodes,
    Search,
    Token,
    TokenIssued,
    Unblock,
)


class Asking(ABC):
    """Asks; each answer may also be L{Refused<chat.client.errors.Refused>}, or
    L{Disconnected<chat.client.errors.Disconnected>} when there is no connection or it is lost.
    """

    @abstractmethod
    def _ask(self, question: Any, kind: type[Any]) -> Deferred[Any]:
        """Ask the server."""

    def listing(
        self, box: str = "inbox", after: int = 0, limit: int = 100, before: int | None = None
    ) -> Deferred[Listing]:
        """List the C{inbox} or what was C{sent}, by ascending id, C{after} excluded.

        @param before: instead, list what has a lower id than this, newest first; 0 begins with the newest.
        """
        return self._ask(List(box=box, after=after, limit=limit, before=before), Listing)

    def read(self, ids: Iterable[int]) -> Deferred[Messages]:
        """Fetch whole messages, at most 100; this does not confirm them."""
        return self._ask(Read(ids=list(ids)), Messages)

    def search(self, query: str, box: str | None = None, before: int = 0, limit: int = 20) -> Deferred[Found]:
        """Find messages in the mailbox and of those sent, newest first; see docs/protocol.rst for queries.

        @param box: C{inbox} or C{sent}: look only there.
        @param before: only messages with a lower id; 0 begins with the newest.
        """
        return self._ask(Search(query=query, box=box, before=before, limit=limit), Found)

    def ping(self) -> Deferred[Pong]:
        """Fires once the server has answered everything asked before."""
        return self._ask(Ping(), Pong)

    def block(self, username: str) -> Deferred[Blocked]:
        """Let what this account sends go back to it from now on; tells the names of all who are blocked."""
        return self._ask(Block(username=username), Blocked)

    def unblock(self, username: str) -> Deferred[Blocked]:
        """Take messages from this account again; tells who else is blocked."""
        return self._ask(Unblock(username=username), Blocked)

    def blocked(self) -> Deferred[Blocked]:
        """Ask who is blocked."""
        return self._ask(Blocks(), Blocked)

    def new_token(self) -> Deferred[TokenIssued]:
        """Ask for a further token, for another program of the same user, say."""
        return self._ask(Token(), TokenIssued)

    def recovery_codes(self, password: str) -> Deferred[RecoveryCodes]:
        """Ask for new recovery codes, in place of all that this account had."""
        return self._ask(Recovery(password=password), RecoveryCodes)
