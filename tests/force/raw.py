"""A user without a library: frames on a connection, confirmed when it suits, read when it suits."""

from __future__ import annotations

import random
import socket
from typing import Any, Awaitable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.daemon import password
from tests.force.books import Books, Sent
from tests.force.user import User
from tests.talker import Said, Talker


class RawUser(User):
    """What anybody could write with protocol.rst at hand.

    It repeats what was not answered, in order and under the same refs.  What it has confirmed, and
    heard a later answer, must never come again.

    @ivar slow: whether it reads only now and then.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        books: Books,
        chance: random.Random,
        port: int,
        codec: str,
        slow: bool = False,
    ) -> None:
        super().__init__(reactor, name, books, chance)
        self.codec = codec
        self.slow = slow
        self.unanswered: dict[str, Sent] = {}
        self.settled: set[int] = set()
        self.line: Line | None = None
        self._port = port
        self._closed = False
        self._retry: IDelayedCall | None = None
        self._answered: Deferred[None] | None = None

    def connect(self) -> None:
        """See L{User.connect}."""
        if self._closed:
            return
        factory = Factory.forProtocol(lambda: Line(self))
        factory.noisy = False
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self._port)
        endpoint.connect(factory).addErrback(lambda _: self.lost())

    def lost(self) -> None:
        """There is no connection: try again soon."""
        self.line = None
        if not self._closed:
            self._retry = self.reactor.callLater(self.chance.uniform(0.02, 0.2), self.connect)

    def send(self, burst: list[Sent]) -> Awaitable[object]:
        """See L{User.send}."""
        self.unanswered.update({sent.ref: sent for sent in burst})
        if self.line is not None and self.line.welcome:
            for sent in burst:
                self.line.post(sent)
        self._answered = Deferred()
        return self._answered

    def accepted(self, answer: Said) -> None:
        """One of the sends is safe."""
        self.books.accepted(self.name, answer["ref"], answer["id"], answer["time"])
        self.unanswered.pop(answer["ref"], None)
        if not self.unanswered and self._answered is not None:
            answered, self._answered = self._answered, None
            answered.callback(None)

    def close(self) -> Awaitable[object]:
        """See L{User.close}."""
        self._closed = True
        return succeed(None) if self.line is None else self.line.leave()

    def stop(self) -> None:
        """See L{User.stop}."""
        self._closed = True
        self.talking = False
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self.line is not None:
            self.line.abort()


class Line(Protocol, Talker):
    """One connection of a L{RawUser}.

    @ivar welcome: whether it is logged in.
    """

    def __init__(self, user: RawUser) -> None:
        Talker.__init__(self, user.codec)
        self.welcome = False
        self._user = user
        self._seen: list[int] = []  # here, in order
        self._unconfirmed: list[int] = []
        self._asked: list[list[int]] = []  # what the answers that are due will settle
        self._calls: dict[str, IDelayedCall] = {}
        self._left: Deferred[None] | None = None

    # --- saying ---

    def write(self, data: bytes) -> None:
        """See L{Talker.write}."""
        assert self.transport is not None
        self.transport.write(data)

    def post(self, sent: Sent) -> None:
        """Send a message."""
        self.send(sent.recipient, sent.body, ref=sent.ref)

    def leave(self) -> Deferred[None]:
        """Confirm what came, then hang up."""
        self._left = Deferred()
        self._confirm()
        self.system("quit")
        return self._left

    def abort(self) -> None:
        """Hang up at once."""
        transport: Any = self.transport
        transport.abortConnection()

    def _confirm(self) -> None:
        """Confirm in one way or the other; and ask for something, to know when it is on disk."""
        ids, self._unconfirmed = self._unconfirmed, []
        if ids and self._user.chance.random() < 0.2:
            self.system("delete", ids=ids)
            self._asked.append(ids)
        elif ids:
            self.received(*ids)
            self.system("list", box="inbox", limit=1)
            self._asked.append(ids)

    def _later(self, what: str, longest: float) -> None:
        """Do this soon, unless the connection is lost before."""
        if what not in self._calls and self.transport is not None:
            seconds = self._user.chance.uniform(0, longest)
            self._calls[what] = self._user.reactor.callLater(seconds, self._now, what)

    def _now(self, what: str) -> None:
        del self._calls[what]
        transport: Any = self.transport
        if what == "confirm":
            self._confirm()
        elif what == "pause" and self._left is None and self._user.talking:
            transport.pauseProducing()
            self._later("resume", 0.1)
        elif what == "resume":
            transport.resumeProducing()
            self._later("pause", 0.03)

    # --- hearing ---

    def connectionMade(self) -> None:
        """Make the connection narrow if it is read slowly."""
        transport: Any = self.transport
        self._user.line = self
        if self._user.slow:
            transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)

    def dataReceived(self, data: bytes) -> None:
        """Frames, or parts of them."""
        for said in self.decode(data):
            self._hear(said)

    def _hear(self, said: Said) -> None:
        user = self._user
        word = said.get("keyword")
        if word is None:
            self._take(said)
        elif word == "accepted":
            user.accepted(said)
        elif word in ("listing", "deleted"):
            user.settled.update(self._asked.pop(0))
        elif word == "username":
            self.answer("username", user.name)
        elif word in ("password", "new-password"):
            self.answer("password", password(user.name))
        elif word == "welcome":
            self._begin()
        elif word == "failed" or (word == "fatal" and said["code"] != "shutting-down"):
            user.books.fail(f"{user.name} heard {said}")

    def _begin(self) -> None:
        user = self._user
        self.welcome = True
        user.welcome()
        user.books.figures.repeated += len(user.unanswered)
        for sent in (*user.earlier(3), *user.unanswered.values()):
            self.post(sent)
        if user.slow:
            self._later("pause", 0.03)

    def _take(self, said: Said) -> None:
        user, id = self._user, said["id"]
        user.books.arrives(user.name, id, said["sender"], said["body"], "returned" in said)
        if id in user.settled or (self._seen and id <= self._seen[-1]):
            user.books.twice(user.name, id)
        self._seen.append(id)
        self._unconfirmed.append(id)
        self._later("confirm", 0.2)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """What was under way is repeated over the next connection."""
        self.transport = None
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        if self._left is not None:
            self._left.callback(None)
        self._user.lost()
