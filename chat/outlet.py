"""Sockets that are written to without asking first: what one turn of the reactor says goes out at its end.

Twisted's transports have the kernel watch whether a socket takes bytes, write when it says
so, and have it watch no more: two calls of the kernel and a turn of the reactor for each
write, though a socket nearly always takes what it is given.  Where it does not, and
for all that is not plain writing, these are Twisted's transports.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Iterable, Optional

from twisted.internet import tcp
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger


class Outlet:
    """The transports that were written to in this turn of the reactor."""

    _log = Logger()

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._waiting: list[PromptServer] = []

    def serve(self, port: object) -> None:
        """Let the connections that this port will accept write through here, if they are of TCP."""
        if getattr(port, "transport", None) is tcp.Server:
            port.transport = partial(PromptServer, self)  # type: ignore[attr-defined]

    def add(self, transport: PromptServer) -> None:
        """Something was written that is to go out at the end of this turn."""
        if not self._waiting:
            self._reactor.callLater(0, self._send)
        self._waiting.append(transport)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            try:
                transport.send_gathered()
            except Exception:
                # Of whoever is behind it: the others' connections are not to wait for ever.
                self._log.failure("A connection could not be written to")
                transport.abortConnection()  # type: ignore[no-untyped-call]


class PromptServer(tcp.Server):
    """The server's side of a TCP connection: what is written in one turn is sent in one piece."""

    _gathered: Optional[list[bytes]] = None
    _size = 0
    _watched = False  # as long as Twisted's own buffer is used: what is written now goes behind that

    def __init__(self, outlet: Outlet, *arguments: Any) -> None:
        """Write through C{outlet}; the rest is as for L{tcp.Server}."""
        self._outlet = outlet
        super().__init__(*arguments)

    def write(self, data: bytes) -> None:
        """See L{twisted.internet.interfaces.ITransport.write}."""
        if self._watched or not self.connected:
            super().write(data)  # type: ignore[no-untyped-call]
            return
        if not data:
            return
        if self._gathered is None:
            self._gathered = [data]
            self._size = len(data)
            self._outlet.add(self)
        else:
            self._gathered.append(data)
            self._size += len(data)
        if self._size > self.bufferSize:
            self.send_gathered()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See L{twisted.internet.interfaces.ITransport.writeSequence}."""
        self.write(b"".join(iovec))

    def send_gathered(self) -> None:
        """Send what was written; what the network does not take now is left to Twisted, errors too."""
        gathered, self._gathered = self._gathered, None
        if gathered is None:
            return
        data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            super().write(data[sent:])  # type: ignore[no-untyped-call]

    def startWriting(self) -> None:
        """See L{twisted.internet.abstract.FileDescriptor.startWriting}."""
        self._watched = True
        gathered, self._gathered = self._gathered, None
        if gathered is None:
            super().startWriting()  # type: ignore[no-untyped-call]
        else:
            super().write(b"".join(gathered))  # type: ignore[no-untyped-call] # calls this again

    def stopWriting(self) -> None:
        """See L{twisted.internet.abstract.FileDescriptor.stopWriting}."""
        self._gathered = None
        self._watched = False
        super().stopWriting()  # type: ignore[no-untyped-call]
