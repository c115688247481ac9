"""A connection in memory, the server's end of it."""

from __future__ import annotations

from collections import deque
from typing import Iterable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from chat.protocol import ChatProtocol


@implementer(ITCPTransport)
class Wire(StringTransport):
    """The server's end of a connection, as narrow as the client's reading makes it.

    Like a real one it calls C{pauseProducing} when more than C{window} bytes wait for
    a client that does not read, and C{resumeProducing} when it has caught up.
    """

    window = 64 * 1024

    def __init__(self, protocol: ChatProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.unread = bytearray()
        self.most_unread = 0
        self.unsent: deque[bytes] = deque()  # what the client said while the server did not read
        self.reads = True  # whether the client reads
        self.half_closed = False
        self.aborted = False
        self.lost = False
        self.options: list[str] = []
        self._paused = False

    # --- the server's side ---

    def write(self, data: bytes) -> None:
        """See C{ITransport.write}."""
        if self.half_closed or self.disconnecting or self.lost:
            return
        self.unread += data
        self.most_unread = max(self.most_unread, len(self.unread))
        if len(self.unread) > self.window and not self._paused and self.producer:
            self._paused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See C{ITransport.writeSequence}."""
        self.write(b"".join(data))

    def unregisterProducer(self) -> None:
        """See C{IConsumer.unregisterProducer}."""
        if self.producer is not None:
            super().unregisterProducer()

    def loseWriteConnection(self) -> None:
        """See C{ITCPTransport.loseWriteConnection}."""
        self.half_closed = True

    def abortConnection(self) -> None:
        """See C{ITCPTransport.abortConnection}."""
        self.aborted = True
        self.lose()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See C{ITCPTransport.setTcpNoDelay}."""
        self.options.append("no delay")

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See C{ITCPTransport.setTcpKeepAlive}."""
        self.options.append("keep alive")

    def getTcpNoDelay(self) -> bool:
        """See C{ITCPTransport.getTcpNoDelay}."""
        return "no delay" in self.options

    def getTcpKeepAlive(self) -> bool:
        """See C{ITCPTransport.getTcpKeepAlive}."""
        return "keep alive" in self.options

    def resumeProducing(self) -> None:
        """See C{IPushProducer.resumeProducing}."""
        super().resumeProducing()
        while self.unsent and self.producerState == "producing" and not self.lost:
            self.protocol.dataReceived(self.unsent.popleft())

    # --- the client's side ---

    def arrive(self, data: bytes) -> None:
        """The client sends bytes; they stay in the network while the server does not read."""
        if self.lost:
            return
        if self.producerState == "producing":
            self.protocol.dataReceived(data)
        else:
            self.unsent.append(data)

    def read(self, most: int = 1 << 40) -> bytes:
        """The client takes what waits for it."""
        data = bytes(self.unread[:most])
        del self.unread[:most]
        if self._paused and not self.unread:
            self._paused = False
            if self.producer is not None and not self.lost:
                self.producer.resumeProducing()
        return data

    def lose(self) -> None:
        """The connection is gone, whoever ended it."""
        if not self.lost:
            self.lost = True
            self.connected = False
            self.protocol.connectionLost(Failure(ConnectionDone()))
