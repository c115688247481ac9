"""Writing at the end of the turn: in one piece, in order, and as Twisted does where that is not enough."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chat.outlet import Outlet


class Reactor(Clock):
    """Time, and which sockets are watched."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """Watch for something to read."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Watch for it no more."""
        if reader in self.readers:
            self.readers.remove(reader)

    def addWriter(self, writer: Any) -> None:
        """Watch for room to write."""
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        """Watch for it no more."""
        if writer in self.writers:
            self.writers.remove(writer)

    def turn(self) -> None:
        """What is due happens, then whatever the watched sockets have room for."""
        self.advance(0)
        for writer in list(self.writers):
            why = writer.doWrite()
            if why is not None:
                self.removeWriter(writer)
                writer.connectionLost(Failure(why))


@implementer(IPushProducer)
class Producer(Protocol):
    """A protocol that writes down when it is to pause."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def pauseProducing(self) -> None:
        """The other side does not read."""
        self.said.append("pause")

    def resumeProducing(self) -> None:
        """It has read."""
        self.said.append("resume")

    def stopProducing(self) -> None:
        """The connection ends."""

    def connectionLost(self, reason: object = None) -> None:
        """The connection is gone."""
        self.said.append("lost")


class OutletTests(SynchronousTestCase):
    """One end of a connection is the transport's, the other one the test's."""

    def setUp(self) -> None:
        """A connection."""
        self.reactor = Reactor()
        port = SimpleNamespace(transport=tcp.Server, _realPortNumber=0)
        self.outlet = Outlet(self.reactor)
        self.outlet.serve(port)
        self.calls: list[bytes] = []
        self.transport, self.client, self.protocol = self.connect(port)

    def connect(self, port: Any) -> tuple[Any, socket.socket, Producer]:
        """A transport, the other end of it, and its protocol."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        theirs.setblocking(False)
        protocol = Producer()
        transport = port.transport(Counting(ours, self.calls), protocol, ("x", 0), port, 1, self.reactor)
        protocol.makeConnection(transport)
        transport.registerProducer(protocol, True)
        return transport, theirs, protocol

    def read(self) -> bytes:
        """What has arrived at the other end."""
        found = b""
        try:
            while piece := self.client.recv(1 << 20):
                found += piece
        except BlockingIOError:
            pass
        return found

    def test_oneTurn(self) -> None:
        """All that is written in one turn goes out at its end, in one piece, and nothing is watched."""
        self.transport.write(b"one ")
        self.transport.writeSequence([b"two ", b"three"])
        self.assertEqual(self.calls, [])
        self.reactor.advance(0)
        self.assertEqual(self.calls, [b"one two three"])
        self.assertEqual(self.read(), b"one two three")
        self.assertEqual(self.reactor.writers, [])
        self.transport.write(b"four")
        self.reactor.advance(0)
        self.assertEqual(self.calls[1:], [b"four"])

    def test_severalConnections(self) -> None:
        """Those that were written to in one turn share one call at its end."""
        others = [self.connect(self.transport.server) for _ in range(3)]
        for transport, _, _ in others:
            transport.write(b"x")
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.advance(0)
        self.assertEqual([client.recv(10) for _, client, _ in others], [b"x"] * 3)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_nothing(self) -> None:
        """To write nothing is no reason to call the kernel."""
        self.transport.write(b"")
        self.reactor.turn()
        self.assertEqual((self.calls, self.reactor.writers), ([], []))

    def test_fullNetwork(self) -> None:
        """What the network does not take waits, the protocol pauses, and all arrives in order."""
        sent = b""
        while not self.protocol.said:
            piece = bytes([len(self.calls) % 251]) * 300_000
            self.transport.write(piece)
            sent += piece
            self.reactor.advance(0)
        self.assertEqual(self.protocol.said, ["pause"])
        self.assertEqual(self.reactor.writers, [self.transport])
        self.transport.write(b"behind")
        sent += b"behind"
        calls = len(self.calls)
        self.reactor.advance(0)
        self.assertEqual(len(self.calls), calls)  # there is no room: that is for the reactor to find out
        got = b""
        while self.reactor.writers:
            got += self.read()
            self.reactor.turn()
        got += self.read()
        self.assertTrue(got == sent)
        self.assertEqual(list(dict.fromkeys(self.protocol.said)), ["pause", "resume"])
        self.transport.write(b"again")
        self.reactor.advance(0)
        self.assertEqual(self.read(), b"again")
        self.assertEqual(self.reactor.writers, [])

    def test_much(self) -> None:
        """More than a buffer holds is not gathered: a protocol that goes on and on is told to pause."""
        for _ in range(1000):
            self.transport.write(b"x" * 65_536)
            if self.protocol.said:
                break
        self.assertEqual(self.protocol.said, ["pause"])

    def test_lastWords(self) -> None:
        """What was written before the connection is closed arrives before its end."""
        for close in ("loseConnection", "loseWriteConnection"):
            self.transport, self.client, self.protocol = self.connect(self.transport.server)
            self.transport.write(b"good")
            self.transport.write(b"bye")
            self.transport.unregisterProducer()
            getattr(self.transport, close)()
            for _ in range(3):
                self.reactor.turn()
            self.assertEqual(self.client.recv(10), b"goodbye")
            self.assertEqual(self.client.recv(10), b"")
            self.transport.write(b"too late")
            self.reactor.turn()

    def test_abort(self) -> None:
        """What was not sent yet when the connection is aborted is not sent."""
        self.transport.write(b"never")
        self.transport.abortConnection()
        self.reactor.turn()
        self.assertEqual(self.calls, [])
        self.assertEqual(self.protocol.said, ["lost"])
        self.transport.write(b"too late")
        self.reactor.turn()
        self.assertEqual(self.calls, [])

    def test_clientGone(self) -> None:
        """A client that hung up is found out as ever, by the reactor, and harms nobody else's connection."""
        other, client, _ = self.connect(self.transport.server)
        self.client.close()
        self.transport.write(b"is anybody there?")
        other.write(b"yes")
        self.reactor.advance(0)
        self.assertEqual(client.recv(10), b"yes")
        self.assertEqual(self.protocol.said, [])
        self.reactor.turn()
        self.assertEqual(self.protocol.said, ["lost"])

    def test_error(self) -> None:
        """An error at one connection is logged and its end; the others get what was written to them."""

        def addWriter(writer: Any) -> None:
            raise ZeroDivisionError

        self.patch(self.reactor, "addWriter", addWriter)
        others = [self.connect(self.transport.server) for _ in range(2)]
        while not (failures := self.flushLoggedErrors(ZeroDivisionError)):
            others[0][0].write(b"x")
            self.transport.write(b"x" * 60_000)
            others[1][0].write(b"x")
            self.reactor.advance(0)
            self.assertEqual([client.recv(10) for _, client, _ in others], [b"x"] * 2)
        self.assertEqual(len(failures), 1)
        self.reactor.turn()
        self.assertEqual(self.protocol.said, ["lost"])

    def test_otherPorts(self) -> None:
        """Ports of other kinds, and what is no port at all, stay as they are."""
        port = SimpleNamespace(transport=Producer)
        self.outlet.serve(port)
        self.assertIs(port.transport, Producer)
        self.outlet.serve(object())


class Counting:
    """A socket that writes down what is sent."""

    def __init__(self, below: socket.socket, calls: list[bytes]) -> None:
        self._below = below
        self._calls = calls

    def send(self, data: Any) -> int:
        """Send it."""
        self._calls.append(bytes(data))
        return self._below.send(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)
