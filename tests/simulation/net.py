"""The network: each connection is two streams of bytes that arrive late, in pieces, or not at all.

What was written is I{in flight} until the world delivers it.  A connection that is cut
still brings a random part of what was in flight, and each side learns of the cut in its
own time, or (half open) not before the world is healed.
"""

from __future__ import annotations

from random import Random
from typing import Any, Callable, Optional, Protocol

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import directlyProvides


class ClientSide(Protocol):
    """Whoever is at the client's end of a link."""

    def arrived(self, data: bytes) -> None:
        """Bytes from the server, cut anywhere."""

    def closed(self) -> None:
        """The connection is gone."""


class Stream:
    """One direction: bytes in flight, in order.

    @ivar reach: how many of the bytes in flight can still arrive; C{None}: all, and what follows.
    @ivar ended: its writer has said that nothing follows.
    """

    def __init__(self) -> None:
        self.flight = bytearray()
        self.reach: Optional[int] = None
        self.ended = False
        self.end_told = False

    @property
    def deliverable(self) -> int:
        """How many bytes can arrive now."""
        return len(self.flight) if self.reach is None else min(self.reach, len(self.flight))

    def take(self, count: int) -> bytes:
        """So many bytes arrive."""
        data = bytes(self.flight[:count])
        del self.flight[:count]
        if self.reach is not None:
            self.reach -= len(data)
        return data

    def sever(self, random: Random) -> None:
        """Of what is in flight only a part will arrive, and nothing that follows."""
        if self.reach is None:
            self.reach = random.choice([0, len(self.flight), random.randint(0, len(self.flight))])

    def last(self) -> None:
        """What is in flight arrives, but nothing that follows."""
        if self.reach is None:
            self.reach = len(self.flight)


class Link:
    """One connection.

    @ivar server: the server's transport; C{None} when its process has died.
    @ivar broken: the network between the two no longer carries anything.
    @ivar hidden: neither side can notice that (half open), until the world is healed.
    @ivar stalled: the client does not read.
    @ivar on_write: told of what the server says, as it says it.
    @ivar on_leave: told when the client is gone, or knows that the server is.
    """

    def __init__(
        self, number: int, door: str, random: Random, clock: Clock, window: int, plain: bool
    ) -> None:
        self.number = number
        self.door = door
        self.random = random
        self.up = Stream()
        self.down = Stream()
        self.window = window
        self.broken = False
        self.hidden = False
        self.stalled = False
        self.client_open = True
        self.client_closing = False
        self.client: Optional[ClientSide] = None
        self.on_write: Callable[[bytes], None] = lambda data: None
        self.on_leave: Callable[[], None] = lambda: None
        self.server: Optional[Transport] = Transport(self, clock)
        directlyProvides(self.server, IPushProducer, *([ITCPTransport] if plain else []))
        self.plain = plain

    # --- the client's end ---

    def write(self, data: bytes) -> None:
        """The client says this."""
        if self.client_open and not self.up.ended:
            self.up.flight += data

    def half_close(self) -> None:
        """The client will say nothing more, but listens."""
        self.up.ended = True

    def leave(self) -> None:
        """The client closes in good order: what it said arrives."""
        self.up.ended = True
        self._client_leaves()

    def reset(self) -> None:
        """The client is gone at once: what it said may not arrive."""
        self.up.sever(self.random)
        self._client_leaves()

    def _client_leaves(self) -> None:
        if self.client_open:
            self.client_open = False
            self.up.last()
            self.down.flight.clear()
            self.down.last()
            self.on_leave()

    # --- what the world does ---

    def cut(self, hidden: bool) -> None:
        """The network carries nothing more between the two."""
        self.broken = True
        self.hidden = hidden
        self.up.sever(self.random)
        self.down.sever(self.random)

    def die(self) -> None:
        """The server's process is gone; the kernel may still send a part of what it was given."""
        self.server = None
        self.down.sever(self.random)

    @property
    def over(self) -> bool:
        """Whether neither side has anything to do with it any more."""
        return not self.client_open and (self.server is None or self.server.lost)

    @property
    def whole(self) -> bool:
        """Whether both sides believe in it, and they are right."""
        return self.client_open and self.server is not None and not self.server.lost and not self.broken

    def can(self) -> list[str]:
        """What can happen to this link now."""
        found = []
        server, up, down = self.server, self.up, self.down
        if server is not None and not server.lost:
            if up.deliverable:
                if server.reading:
                    found.append("up")
            elif up.ended and not up.end_told and not self.broken and server.reading:
                found.append("up end")
            if server.closing or (not up.deliverable and self._server_may_notice()):
                found.append("server notices")
        if self.client_open:
            if down.deliverable:
                if not self.stalled:
                    found.append("down")
            elif self._client_may_notice():
                found.append("client notices")
        return found

    def _client_may_notice(self) -> bool:
        if self.server is None or self.server.lost:
            return True
        return not self.hidden if self.broken else self.down.ended and not self.down.flight

    def _server_may_notice(self) -> bool:
        if self.broken:
            return not self.hidden
        return not self.client_open and (self.up.end_told or not self.up.ended)

    def happen(self, what: str, count: int = 1 << 40) -> None:
        """One of the things that L{can} happen; C{count}: at most so many bytes."""
        server = self.server
        if what == "up":
            assert server is not None
            server.protocol.dataReceived(self.up.take(min(count, self.up.deliverable)))
        elif what == "up end":
            assert server is not None
            self.up.end_told = True
            if self.plain and IHalfCloseableProtocol.providedBy(server.protocol):
                server.protocol.readConnectionLost()
            else:
                server.lose(ConnectionDone())
        elif what == "server notices":
            assert server is not None
            server.lose(ConnectionDone() if server.closing else ConnectionLost())
        elif what == "down":
            data = self.down.take(min(count, self.down.deliverable))
            assert self.client is not None
            self.client.arrived(data)
            if server is not None and self.server is server:
                server.drained()
        elif what == "client notices":
            self._client_leaves()
            assert self.client is not None
            self.client.closed()


class Transport:
    """The server's end of a link, as Twisted's transports behave."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self.link = link
        self.protocol: Any = None
        self.reading = True
        self.lost = False
        self.closing = False
        self._clock = clock
        self._producer: Any = None
        self._paused = False

    @property
    def disconnecting(self) -> bool:
        """Whether it was told to close."""
        return self.closing

    def write(self, data: bytes) -> None:
        """See C{ITransport.write}."""
        link = self.link
        if self.lost or link.down.ended or link.server is not self:
            return
        link.on_write(data)
        if link.client_open:
            link.down.flight += data
        if len(link.down.flight) > link.window and self._producer is not None and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, pieces: list[bytes]) -> None:
        """See C{ITransport.writeSequence}."""
        self.write(b"".join(pieces))

    def drained(self) -> None:
        """The client has read something."""
        if self._paused and not self.link.down.flight:
            self._paused = False
            if self._producer is not None and not self.lost:
                self._producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See C{IConsumer.registerProducer}."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """See C{IConsumer.unregisterProducer}."""
        self._producer = None

    def pauseProducing(self) -> None:
        """See C{IPushProducer.pauseProducing}."""
        self.reading = False

    def resumeProducing(self) -> None:
        """See C{IPushProducer.resumeProducing}."""
        self.reading = True

    def loseConnection(self) -> None:
        """See C{ITransport.loseConnection}."""
        self.link.down.ended = True
        self.closing = True

    def loseWriteConnection(self) -> None:
        """See C{ITCPTransport.loseWriteConnection}."""
        self.link.down.ended = True

    def abortConnection(self) -> None:
        """See C{ITCPTransport.abortConnection}."""
        self.link.down.sever(self.link.random)
        self._clock.callLater(0, self.lose, ConnectionLost())

    def lose(self, reason: Exception) -> None:
        """The connection is gone, as far as the server knows."""
        if not self.lost:
            self.lost = True
            self.link.down.last()
            self.protocol.connectionLost(Failure(reason))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See C{ITCPTransport.setTcpNoDelay}."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See C{ITCPTransport.setTcpKeepAlive}."""

    def getPeer(self) -> None:
        """See C{ITransport.getPeer}."""

    def getHost(self) -> None:
        """See C{ITransport.getHost}."""


class ProtocolSide:
    """A Twisted protocol at the client's end, and its transport.

    @ivar tap: told of all bytes, C{tap(said, data)}, before they go on.
    """

    def __init__(self, link: Link, protocol: TwistedProtocol, clock: Clock) -> None:
        self.link = link
        self.protocol = protocol
        self.tap: Callable[[bool, bytes], None] = lambda said, data: None
        self._clock = clock
        self._lost = False
        self._closing = False

    def arrived(self, data: bytes) -> None:
        """See L{ClientSide.arrived}."""
        self.tap(False, data)
        if not self._closing:
            self.protocol.dataReceived(data)

    def closed(self) -> None:
        """See L{ClientSide.closed}."""
        self._lose(ConnectionDone())

    def write(self, data: bytes) -> None:
        """See C{ITransport.write}."""
        if not self._closing and not self._lost:
            self.tap(True, data)
            self.link.write(data)

    def loseConnection(self) -> None:
        """See C{ITransport.loseConnection}."""
        if not self._closing and not self._lost:
            self._closing = True
            self.link.leave()
            self._clock.callLater(0, self._lose, ConnectionDone())

    def abortConnection(self) -> None:
        """See C{ITCPTransport.abortConnection}."""
        if not self._lost:
            self._closing = True
            self.link.reset()
            self._clock.callLater(0, self._lose, ConnectionLost())

    def _lose(self, reason: Exception) -> None:
        if not self._lost:
            self._lost = True
            self.protocol.connectionLost(Failure(reason))
