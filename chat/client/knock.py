"""Is there a server, and does it know a name?  Asked before a person types a password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from chat.client.connection import Connection, ConnectionFactory
from chat.client.errors import Disconnected, Ended, NotChat, Refused, unreachable
from chat.messages import (
    PROTOCOL_VERSION,
    Failed,
    Fatal,
    Frame,
    Login,
    NewPassword,
    Password,
    Username,
    Version,
)
from chat.wire import Codec


@dataclass(frozen=True)
class Welcoming:
    """What a server says at its door.

    @ivar server: its software, as it names itself.
    @ivar new: whether the name is free and may be signed up; C{None} when no name was
        given.
    """

    server: str
    new: Optional[bool]


def knock(
    reactor: Any,
    endpoint: IStreamClientEndpoint,
    codec: Codec,
    username: str | None = None,
    invite: str | None = None,
    timeout: float = 20.0,
) -> Deferred[Welcoming]:
    """Connect, give the name if there is one, and leave without giving a password.

    So that nobody holds a connection while a person thinks: the server would end it.

    @param invite: the code of an invitation, shown before the name.
    @return: fails with L{Refused} when the server does not take the name or the
        invitation, with L{Disconnected} when it cannot be reached, and with L{Distrust} when
        it must not be.
    """
    return _Knock(reactor, codec, username, invite, timeout).go(endpoint)


class _Knock:
    """One visit at the door; a L{chat.client.connection.Listener}."""

    def __init__(
        self, reactor: Any, codec: Codec, username: str | None, invite: str | None, timeout: float
    ) -> None:
        self._reactor = reactor
        self._codec = codec
        self._username = username
        self._invite = invite
        self._timeout = timeout
        self._server = ""
        self._outcome: Deferred[Welcoming] = Deferred()
        self._result: Welcoming | Exception | None = None

    def go(self, endpoint: IStreamClientEndpoint) -> Deferred[Welcoming]:
        """Begin."""
        attempt = endpoint.connect(ConnectionFactory(self._connection, self._codec))
        attempt.addTimeout(self._timeout, self._reactor)
        attempt.addCallbacks(lambda _: None, self._unreachable)
        return self._outcome

    def _connection(self) -> Connection:
        return Connection(self._reactor, self, self._codec, self._timeout)

    def _unreachable(self, failure: Failure) -> None:
        self._outcome.errback(unreachable(failure))

    def opened(self, connection: Connection) -> None:
        """See L{Listener.opened<chat.client.connection.Listener.opened>}."""

    def heard(self, connection: Connection, frame: Frame) -> None:
        """See L{Listener.heard<chat.client.connection.Listener.heard>}."""
        if isinstance(frame, Version):
            self._server = frame.server
            if frame.protocol != PROTOCOL_VERSION:
                self._leave(connection, NotChat.of_version(frame.protocol))
        elif isinstance(frame, Username) and self._username is not None and self._invite is not None:
            invite, self._invite = self._invite, None
            connection.tell(Login(field="invite", value=invite))
        elif isinstance(frame, Username) and self._username is not None:
            connection.tell(Login(field="username", value=self._username))
        elif isinstance(frame, Username):
            self._leave(connection, Welcoming(self._server, None))
        elif isinstance(frame, (Password, NewPassword)):
            self._leave(connection, Welcoming(self._server, isinstance(frame, NewPassword)))
        elif isinstance(frame, Failed):
            self._leave(connection, Refused.by(frame))
        elif isinstance(frame, Fatal):
            self._leave(connection, Ended.by(frame))
        else:
            self._leave(connection, NotChat.by(frame))

    def paused(self, connection: Connection) -> None:
        """See L{Listener.paused<chat.client.connection.Listener.paused>}."""

    def lost(self, connection: Connection, error: Exception) -> None:
        """See L{Listener.lost<chat.client.connection.Listener.lost>}."""
        result = self._result or error
        if isinstance(result, Exception):
            self._outcome.errback(result)
        else:
            self._outcome.callback(result)

    def _leave(self, connection: Connection, result: Welcoming | Exception) -> None:
        self._result = result
        connection.leave(Disconnected("The visit is over."))
