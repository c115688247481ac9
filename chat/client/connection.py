"""One connection: frames over a transport, answers matched to questions, silence noticed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    INegotiated,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chat.client.errors import Disconnected, Ended, NotChat, Refused, Silent, too_large
from chat.errors import BadFrame, FatalError
from chat.messages import (
    Accepted,
    AccountDeleted,
    Blocked,
    Bye,
    Deleted,
    Failed,
    Fatal,
    Found,
    Frame,
    Listing,
    LoggedOut,
    Messages,
    PasswordChanged,
    Ping,
    Pong,
    RecoveryCodes,
    TokenIssued,
)
from chat.wire import Codec, deserialize, framing, serialize

#: The most bytes of one frame from the server: the answer to C{read} may hold
#: a hundred bodies of 64 KiB, each six times as long in JSON.
SERVER_FRAME_BYTES = 64 * 1024 * 1024

_PARTING_SECONDS = 5.0

#: What is left of a wait is at least so much: less may be lost in the clock's own steps.
_LEAST_SECONDS = 0.001

#: The frames that are always the answer to something that was asked.
ANSWERS = (
    Accepted,
    Failed,
    Blocked,
    Deleted,
    Listing,
    Found,
    Messages,
    AccountDeleted,
    PasswordChanged,
    RecoveryCodes,
    TokenIssued,
    LoggedOut,
    Pong,
    Bye,
)

Answered = Callable[[Frame | Exception], None]
F = TypeVar("F", bound=Frame)


class Listener(Protocol):
    """Who has a L{Connection}."""

    def opened(self, connection: Connection) -> None:
        """The transport is there; the server speaks first."""

    def heard(self, connection: Connection, frame: Frame) -> None:
        """The server said something that answers no question."""

    def paused(self, connection: Connection) -> None:
        """All frames that came together have been told."""

    def lost(self, connection: Connection, error: Exception) -> None:
        """The connection is no more; what was still asked has failed already."""


class Connection(TwistedProtocol):
    """A client's side of one connection.

    The server answers in order, so each answer belongs to the oldest question.

    @ivar settled: set to C{True} by the listener once it is logged in.  Until then
        it is always the server's turn to speak.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        listener: Listener,
        codec: Codec,
        timeout: float = 60.0,
        idle: float = 60.0,
    ) -> None:
        """
        @param timeout: seconds that the server may be silent when it is its turn.
        @param idle: seconds without a word after which it is asked whether it is there.
        """
        self.settled = False
        self._clock = clock
        self._listener = listener
        self._codec = codec
        self._framing = framing(codec)
        self._timeout = timeout
        self._idle = idle
        self._questions: deque[tuple[tuple[type[Frame], ...], Answered]] = deque()
        self._error: Exception | None = None
        self._connected = False
        self._greeted = False
        self._ended = False
        self._since = 0.0
        self._watch: IDelayedCall | None = None

    # --- speaking ---------------------------------------------------------------------

    def tell(self, *frames: Frame) -> None:
        """Say something that has no answer."""
        self._write(b"".join([serialize(frame, self._codec) for frame in frames]))

    def ask(self, question: Frame, kind: type[F]) -> Deferred[F]:
        """Ask something.

        @return: fires with the answer; fails with L{Refused}, or with
            L{Disconnected} when the connection is lost before it.
        """
        answer: Deferred[F] = Deferred()

        def answered(frame: Frame | Exception) -> None:
            if answer.called:  # cancelled: nobody waits, but the answer took its turn
                return
            if isinstance(frame, Failed):
                answer.errback(Refused.by(frame))
            elif isinstance(frame, Exception):
                answer.errback(frame)
            else:
                answer.callback(cast(F, frame))

        wire = serialize(question, self._codec)
        if (refusal := too_large(wire)) is not None:
            return fail(refusal)
        self.post([(wire, answered)], kind)
        return answer

    def post(self, questions: Sequence[tuple[bytes, Answered]], kind: type[Frame]) -> None:
        """Ask many things of one kind, in their encoded form, in one go.

        @param questions: the bytes of each, and what is called with its answer, a
            L{Failed}, or the reason for which there will be none.
        """
        if self._ended:
            for _, answered in questions:
                answered(self._error or Disconnected("There is no connection."))
            return
        if not self._questions and questions:
            self._wait_from_now()
        kinds = (kind, Failed)
        self._questions.extend([(kinds, answered) for _, answered in questions])
        self._write(b"".join([wire for wire, _ in questions]))

    def drop(self, error: Exception) -> None:
        """Close the connection at once, for this reason."""
        if self._error is None:
            self._error = error
        self._ended = True
        self._unwatch()
        if self.transport is not None:
            # Not every transport can abort: a process's pipes cannot.
            getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    def leave(self, error: Exception) -> None:
        """Close the connection after what was written has gone out, for this reason."""
        if self._error is None:
            self._error = error
        self._ended = True
        self._unwatch()
        if self.transport is not None and self._connected:
            # A server that does not read must not keep the connection for ever.
            self._watch = self._clock.callLater(_PARTING_SECONDS, self._part)
            self.transport.loseConnection()

    def _write(self, wire: bytes) -> None:
        if not self._ended and self.transport is not None:
            self.transport.write(wire)

    # --- hearing ----------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin to wait for the server's first word."""
        self._connected = True
        self._wait_from_now()
        self._listener.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Tell apart answers and news, in the order in which they came."""
        self._since = self._clock.seconds()
        if not self._greeted:
            self._greeted = True
            if self._codec is Codec.JSON and data.strip() and not data.lstrip().startswith(b"{"):
                # The text and DER doors say nothing that would ever end a line.
                self.drop(NotChat("The server does not speak json: is this another door?"))
        self._framing.feed(data)
        while not self._ended:
            try:
                wires = self._framing.take(SERVER_FRAME_BYTES)
            except FatalError as error:
                self.drop(NotChat(f"The server does not speak {self._codec.value}: {error}"))
                break
            if not wires:
                break
            for wire in wires:
                if self._ended:
                    break
                self._decode(wire)
        self._listener.paused(self)

    def _decode(self, wire: bytes) -> None:
        try:
            frame = deserialize(wire, self._codec)
        except BadFrame:
            # A newer server's news.  Were it an answer, the next one would be of the
            # wrong kind, or would not come in time.
            self._log.warn("the server sent a frame that this client does not know")
            return
        except FatalError as error:
            self.drop(NotChat(f"The server does not speak {self._codec.value}: {error}"))
            return
        unasked = not self._questions and isinstance(frame, Failed)
        if not self.settled or unasked or not isinstance(frame, ANSWERS):
            if isinstance(frame, Fatal):
                self._error = Ended.by(frame)
            self._listener.heard(self, frame)
            return
        kinds, answered = self._questions[0] if self._questions else ((), None)
        if answered is None or not isinstance(frame, kinds):
            kind = type(frame).__name__
            self.drop(NotChat(f"The server answered something that was not asked: {kind}."))
            return
        self._questions.popleft()
        answered(frame)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail what was still asked, oldest first, and tell the listener."""
        self._ended = True
        self._connected = False
        self._unwatch()
        if self._error is None:
            self._error = Disconnected(f"The connection was lost: {reason.getErrorMessage()}")
        questions, self._questions = self._questions, deque()
        for _, answered in questions:
            answered(self._error)
        self._listener.lost(self, self._error)

    # --- silence ----------------------------------------------------------------------

    def _wait_from_now(self) -> None:
        """It is the server's turn from this moment on."""
        now = self._since = self._clock.seconds()
        if self._watch is None:
            self._look_in(self._timeout)
        elif self._watch.getTime() > now + self._timeout:
            self._watch.reset(self._timeout)

    def _look_in(self, seconds: float) -> None:
        self._watch = self._clock.callLater(max(_LEAST_SECONDS, min(seconds, self._idle)), self._look)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _part(self) -> None:
        self._watch = None
        self.drop(Silent("The server did not close the connection."))

    def _look(self) -> None:
        """Was the server silent for too long?"""
        self._watch = None
        silent = self._clock.seconds() - self._since
        if not self.settled or self._questions:
            if silent >= self._timeout:
                self.drop(Silent(f"The server has been silent for {self._timeout:g} seconds{self._hint()}."))
                return
            self._look_in(self._timeout - silent)
        elif silent >= self._idle:
            self.post([(serialize(Ping(), self._codec), lambda answer: None)], Pong)
        else:
            self._look_in(self._idle - silent)

    def _hint(self) -> str:
        """Both sides wait for the other one, when only one of them expects TLS."""
        plain = not self._greeted and not INegotiated.providedBy(self.transport)
        return ": perhaps it waits for TLS, as with tls://HOST:PORT" if plain else ""


@implementer(IProtocolNegotiationFactory)
class ConnectionFactory(Factory):
    """Makes one L{Connection} for one attempt."""

    noisy = False

    def __init__(self, make: Callable[[], Connection], codec: Codec) -> None:
        self._make = make
        self._codec = codec

    def acceptableProtocols(self) -> list[bytes]:
        """See L{IProtocolNegotiationFactory}: one TLS door can serve all codecs."""
        return [f"chat/{self._codec.value}".encode()]

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """The connection; see L{Factory.buildProtocol}."""
        return self._make()
