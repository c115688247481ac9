"""Bytes to a session and back: one L{Factory} for each door, time-outs, back-pressure."""

from __future__ import annotations

import socket
from typing import Any, Callable, Coroutine, Mapping, Optional, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
    IUNIXTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from chat.errors import Code, FatalError
from chat.limits.crowd import Crowd, Place
from chat.messages import Answer, Bye, Fatal, Frame
from chat.origin import Origin, origin
from chat.ports import Peer
from chat.session import Session
from chat.wire.translator import REFUSALS_AT_ONCE, Translator

#: Input that waits for the session beyond this is left in the network.
INPUT_BYTES = 64 * 1024
#: How long a connection that was hung up may take to close, in seconds: its last words
#: must reach a client that is still sending.
LINGER = 3.0

#: To a client that stopped in the middle of a frame.
_UNFINISHED = Fatal(
    code=Code.MALFORMED_FRAME.value, reason="The last frame has no end; nothing of it was taken."
)


@implementer(IPushProducer, IHalfCloseableProtocol, IHandshakeListener)
class ChatProtocol(Protocol):
    """One connection: the L{chat.ports.Peer} of its session."""

    _log = Logger()
    transport: Any  # a TCP, UNIX or TLS transport, or a test's

    def __init__(self, factory: ChatFactory, translator: Translator, origin: Origin, place: Place) -> None:
        self._door = factory
        self._translator = translator
        self.origin = origin
        self._place = place
        self._session = factory.converse(self)
        self._timer: Optional[IDelayedCall] = None
        self._open = False
        self._greeted = False
        self._due = False  # more input is to be read in the next turn, after the others' input
        self._stopped = False  # the transport was told to read no more for now
        self._ended = False  # the client has said all it will ever say
        self._late = False  # the time for a login is over; the step under way is the last one
        self.paused = False
        self._unread = 0  # so many bytes were said since the client stopped reading
        self._kept = 0  # so many the session keeps for it

    # --- from the transport ---

    def connectionMade(self) -> None:
        """The server speaks first; where TLS is to be agreed upon, once it is."""
        self._door.connections.add(self)
        # Who comes so late was there before: a proxy had not said yet whom it brings.
        if self._place.unheard or self._door.stopping:
            self.abort()
            return
        self._open = True
        self.transport.registerProducer(self, True)
        keep_alive(self.transport)
        self._timer = self._door.reactor.callLater(self._door.login_timeout, self._login_timed_out)
        if not isinstance(self.transport, TLSMemoryBIOProtocol):
            self._greet()  # if it is TLS below, what is in between does not tell when that is agreed upon

    def handshakeCompleted(self) -> None:
        """TLS is agreed upon, and with it, perhaps, how to talk (ALPN)."""
        if self._open:
            self._translator = self._door.agreed(self.transport.negotiatedProtocol) or self._translator
            self._greet()

    def dataReceived(self, data: bytes = b"") -> None:
        """Bytes from the client, cut anywhere; without any: go on with those that wait."""
        if not self._open:
            return
        session, translator = self._session, self._translator
        if self.paused or self._due or not session.ready:
            translator.feed(data)
        else:
            try:
                self._hand_over(session, translator, data)
            except Exception:
                self._failed(Failure())
        if translator.buffered or self._stopped or self._ended or self._place.weight:
            self._look_after()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, for whatever reason: the only place where a session ends."""
        self._open = False
        self._cancel_timer()
        self._door.connections.discard(self)
        self._place.leave()
        self._session.lost()
        # The transport holds what was never read, and knows us: let it go now, not at some collection.
        self.transport = None
        self._door.ended()

    def readConnectionLost(self) -> None:
        """The client says nothing more, but may still listen: answer what it asked, then hang up."""
        self._ended = True
        if self._open:
            self.dataReceived()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our last words are on their way; what the client still says goes unheard."""

    def pauseProducing(self) -> None:
        """The client does not read as fast as it is written to."""
        self.paused = True

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self.paused = False
        self._unread = 0
        self._weigh()
        if self._open:
            self._guarded(self._session.drained)
            self.dataReceived()

    def stopProducing(self) -> None:
        """The transport is being closed; L{connectionLost} follows."""

    # --- from the session ---

    def send(self, frames: Sequence[Frame]) -> None:
        """See L{chat.ports.Peer.send}."""
        if self._open:
            octets = self._translator.render(frames)
            self.transport.write(octets)
            if self.paused:
                self._unread += len(octets)
                self._weigh()

    def keep(self, size: int) -> None:
        """See L{chat.ports.Peer.keep}."""
        self._kept = size
        self._weigh()

    def close(self) -> None:
        """See L{chat.ports.Peer.close}."""
        if not self._open:
            return
        self._open = False
        self._cancel_timer()
        self.transport.unregisterProducer()
        self._timer = self._door.reactor.callLater(LINGER, self.transport.abortConnection)
        if half_closes(self.transport) and not self._ended:
            # Closing with unread input resets the connection, and our last words with it:
            # say that nothing more comes, and listen (to nothing) until the client hangs up.
            self._resume_transport()
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def resume(self) -> None:
        """See L{chat.ports.Peer.resume}."""
        if self._open:
            self._watch_login()
            self.dataReceived()

    def wait(self, seconds: float) -> Deferred[None]:
        """See L{chat.ports.Peer.wait}."""
        return deferLater(self._door.reactor, seconds)

    def run(self, steps: Coroutine[Any, Any, None]) -> None:
        """See L{chat.ports.Peer.run}."""
        Deferred.fromCoroutine(steps).addErrback(self._failed)

    # --- for the service ---

    def shut_down(self) -> None:
        """The server stops: the session ends after the answers still due."""
        self.end(FatalError(Code.SHUTTING_DOWN, "The server is shutting down."))

    def end(self, error: FatalError) -> None:
        """Let the session end with this last word, after the answers still due."""
        if not self._greeted:
            self.abort()  # in the middle of a handshake nothing can be said
            return
        self._guarded(lambda: self._session.end(error))

    def abort(self) -> None:
        """Waited long enough."""
        self.transport.abortConnection()

    # --- inside ---

    def _hand_over(self, session: Session, translator: Translator, data: bytes) -> None:
        """Hand the session what is there, as far as it can take it."""
        one_by_one = 0
        while True:
            if session.logged_in:
                incoming = translator.take(session.limit, data)
                more = translator.more
            else:
                # Each frame may change how long the next one may be, and what it means.
                translator.feed(data)
                first = translator.next(session.limit)
                incoming = () if first is None else (first,)
                one_by_one += 1  # nearly all of them, if there are many, are refused
                more = one_by_one == REFUSALS_AT_ONCE
            if incoming:
                session.receive(incoming)
                if more:
                    self._due = True
                    self._door.reactor.callLater(0, self._read_on)
            if not (incoming and translator.buffered and self._willing()):
                return
            data = b""

    def _willing(self) -> bool:
        return self._open and self._session.ready and not (self.paused or self._due)

    def _read_on(self) -> None:
        self._due = False
        self.dataReceived()

    def _weigh(self) -> None:
        """Tell how much lies here: what the client does not read, and what it does not complete."""
        self._place.weigh(self._unread + self._kept + self._translator.buffered, self.abort)

    def _look_after(self) -> None:
        """See to what is left: a client that has said its last word, input that must wait in the network."""
        self._weigh()
        willing = self._willing()
        if self._ended and willing:
            last = Answer(_UNFINISHED if self._translator.buffered else Bye())
            self._guarded(lambda: self._session.receive([last]))
        elif self._translator.buffered > INPUT_BYTES and self._open and not willing:
            self._stopped = True
            self.transport.pauseProducing()
        elif self._open:
            self._resume_transport()

    def _resume_transport(self) -> None:
        if self._stopped:
            self._stopped = False
            self.transport.resumeProducing()

    def _greet(self) -> None:
        self._greeted = True
        self._guarded(self._session.start)
        if self._place.refusal is not None:
            self.end(self._place.refusal)

    def _guarded(self, step: Callable[[], None]) -> None:
        """An error in this session is this session's end, and no more."""
        try:
            step()
        except Exception:
            self._failed(Failure())

    def _failed(self, failure: Failure) -> None:
        self._log.failure("A session failed", failure)
        try:
            self._session.fail()
        except Exception:
            self._log.failure("It failed at ending, too")
            self.transport.abortConnection()

    def _watch_login(self) -> None:
        """The time for a login runs whenever nobody is logged in."""
        if self._session.logged_in:
            self._late = False
            self._cancel_timer()
        elif self._late and self._session.ready:
            self._login_timed_out()
        elif self._timer is None:
            self._timer = self._door.reactor.callLater(self._door.login_timeout, self._login_timed_out)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _login_timed_out(self) -> None:
        if not self._session.ready:
            # It is the server that takes its time: the step under way may still log the client in.
            self._late = True
            return
        self._timer = None
        reason = f"No complete login within {self._door.login_timeout:g} seconds. Connect again."
        self.end(FatalError(Code.LOGIN_TIMEOUT, reason))


class ChatFactory(Factory):
    """A door: builds the protocol of each connection, and knows those that are open.

    @ivar stopping: whether nobody is let in any more.
    """

    noisy = False

    def __init__(
        self,
        reactor: IReactorTime,
        translator: Callable[[], Translator],
        converse: Callable[[Peer], Session],
        login_timeout: float,
        by_protocol: Mapping[bytes, Callable[[], Translator]] | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        """Open a door.

        @param translator: makes the translator of one connection.
        @param converse: makes the session of one connection.
        @param login_timeout: how long a login may take, in seconds.
        @param by_protocol: what makes it instead where TLS agrees upon one of these protocols.
        @param crowd: counts the connections of all doors; without it there may be any number.
        """
        self.reactor = reactor
        self.converse = converse
        self.login_timeout = login_timeout
        self.connections: set[ChatProtocol] = set()
        self._translator = translator
        self._by_protocol = by_protocol or {}
        self._crowd = crowd or Crowd()
        self.stopping = False
        self._emptied: Optional[Deferred[None]] = None

    def buildProtocol(self, addr: IAddress | None) -> ChatProtocol:
        """The protocol of a new connection."""
        came_from = origin(addr)
        return ChatProtocol(self, self._translator(), came_from, self._crowd.enter(came_from))

    def agreed(self, protocol: bytes | None) -> Translator | None:
        """The translator for what TLS has agreed upon; C{None}: this door's own will do."""
        made = None if protocol is None else self._by_protocol.get(protocol)
        return None if made is None else made()

    def ended(self) -> None:
        """A connection was lost."""
        if self._emptied is not None and not self.connections:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def shut_down(self) -> Deferred[None]:
        """Tell every client that the server stops; fires when all connections are closed."""
        self.stopping = True
        emptied: Deferred[None] = Deferred()
        self._emptied = emptied
        for connection in list(self.connections):
            connection.shut_down()
        self.ended()
        return emptied

    def abort(self) -> None:
        """Close what is still open, at once."""
        for connection in list(self.connections):
            connection.abort()


def half_closes(transport: object) -> bool:
    """Whether it can be said there that nothing more comes, and still be listened."""
    plain = ITCPTransport.providedBy(transport) or IUNIXTransport.providedBy(transport)
    return plain and not ISSLTransport.providedBy(transport)


def keep_alive(transport: Any) -> None:
    """Let the kernel find out that a silent peer is gone: after about two minutes."""
    if not ITCPTransport.providedBy(transport) or IUNIXTransport.providedBy(transport):
        return  # Twisted's UNIX sockets claim to be both
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    below = getattr(transport, "transport", transport)  # TLS hides the socket
    handle = getattr(below, "getHandle", lambda: None)()
    if isinstance(handle, socket.socket):
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
