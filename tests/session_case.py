"""A session whose peer is a list, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Coroutine, Sequence, Union

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chat.course import State
from chat.messages import (
    Failed,
    Fatal,
    Frame,
    Incoming,
    Login,
    System,
    keyword,
)
from chat.origin import LOCAL
from chat.session import Session
from tests.network import Network
from tests.talker import password

#: A prompt of the login, or a state.
Standing = Union[type[System], State]


TIME = "2026-11-22T21:07:00.123Z"


class Connection:
    """The peer of a session, which writes down what it is told."""

    def __init__(self) -> None:
        self.origin = LOCAL
        self.paused = False
        self.frames: list[Frame] = []
        self.closed = False
        self.kept = 0
        self.failures: list[Failure] = []
        self.when_resumed: Callable[[], None] = lambda: None

    def send(self, frames: Sequence[Frame]) -> None:
        """See L{chat.ports.Peer.send}."""
        if not self.closed:
            self.frames += frames

    def keep(self, size: int) -> None:
        """See L{chat.ports.Peer.keep}."""
        self.kept = size

    def close(self) -> None:
        """See L{chat.ports.Peer.close}."""
        self.closed = True

    def resume(self) -> None:
        """See L{chat.ports.Peer.resume}."""
        self.when_resumed()

    def wait(self, seconds: float) -> Deferred[None]:
        """See L{chat.ports.Peer.wait}: no time passes here."""
        return Deferred()

    def run(self, steps: Coroutine[Any, Any, None]) -> None:
        """See L{chat.ports.Peer.run}."""
        Deferred.fromCoroutine(steps).addErrback(self.failures.append)

    def heard(self) -> str:
        """What was said since this was last asked, as L{spell} writes it."""
        frames, self.frames = self.frames, []
        return spell(frames)


def spell(frames: Sequence[Frame]) -> str:
    """Frames by their keywords, with the code of those that have one: C{"failed bad-state, username"}."""
    words = []
    for frame in frames:
        word = keyword(frame) if isinstance(frame, System) else type(frame).__name__.lower()
        words.append(f"{word} {frame.code}" if isinstance(frame, (Failed, Fatal)) else word)
    return ", ".join(words)


class SessionTestCase(SynchronousTestCase):
    """A server without connections: the sessions are driven by hand."""

    def setUp(self) -> None:
        """Start it."""
        self.names = 0
        self.begin()

    def begin(self) -> None:
        """Start a server that was never used."""
        self.network = Network(Path(self.mktemp()))
        self.addCleanup(self.network.close)

    def settle(self) -> None:
        """Let the store do what it was asked."""
        self.network.clock.advance(0)

    def session(self) -> tuple[Session, Connection]:
        """A session that has said its greeting."""
        connection = Connection()
        session = self.network.converse(connection)
        session.start()
        connection.frames.clear()
        return session, connection

    def tell(self, session: Session, *incoming: Incoming) -> None:
        """Hand in frames one by one, as a door does before the login, and settle."""
        for frame in incoming:
            session.receive([frame])
            self.settle()

    def user(self, name: str = "", secret: str = "") -> tuple[Session, Connection]:
        """A session that is logged in, as a new user if there was none of that name."""
        if not name:
            self.names += 1
            name = f"user{self.names}"
        session, connection = self.session()
        while session.state is not State.USER:
            self.tell(session, Login(field="username", value=name))
            self.tell(session, Login(field="password", value=secret or password(name)))
        connection.frames.clear()
        return session, connection


def standing(session: Session) -> Standing:
    """The prompt a session awaits the answer to, or its state when it is past the login."""
    return type(session.prompt) if session.state is State.LOGIN else session.state
