"""A whole server in memory, on real files: no sockets, no threads, and time stands still.

Every part but the edges is the real one: factory, translator, session, rules and
SQLite store.  The edges are a L{Clock}, a L{Wire} that is as narrow as a test
wants it, and passwords that are hashed at once or when a test says so.

Nothing is committed before L{Network.settle} (or L{Client.hear}, which settles
first), so what a test says before that is under way together::

    network = Network(Path(self.mktemp()))
    alice = network.user("alice")
    bob = network.user("bob")
    alice.send("bob", "hi", ref="c1")
    self.assertEqual(keywords(bob.hear()), ["message"])
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any, Callable, Iterable, Optional

from twisted.internet.defer import Deferred, execute
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chat.accounts import Accounts, Registration
from chat.directory import Directory
from chat.mailroom import Mailroom
from chat.ports import Peer
from chat.protocol import ChatFactory, ChatProtocol
from chat.session import Session
from chat.store import Store
from chat.store.files import DataDirectory, schemas
from chat.store.opener import PLAIN, Opener
from chat.store.pool import DirectPool
from chat.wire import Codec, deserialize, framing, serialize
from chat.wire.text import TextTranslator
from chat.wire.translator import FrameTranslator

#: The moment at which every test begins: 2026-11-22T21:07:00.123Z.
START = 1_795_381_620.123
#: The software's name and version in the greeting.
SERVER = "chat test"
DAY = 24 * 60 * 60 * 1000

#: What stands under C{data} in one frame; a message is told from the rest by having no keyword.
Said = dict[str, Any]


def keywords(frames: list[Said]) -> list[str]:
    """The frames' keywords, C{"message"} for a message, and with their code those that refuse."""
    return [" ".join(filter(None, (frame.get("keyword", "message"), frame.get("code")))) for frame in frames]


def password(name: str) -> str:
    """The password of a user that tests make."""
    return f"password of {name}"


class Talker:
    """What a client says and hears, in JSON or in DER; a subclass has the connection.

    Everything is a C{dict} of the names that protocol.md gives, whatever the codec,
    so that one test can speak both.
    """

    def __init__(self, codec: Codec | str) -> None:
        self.codec = Codec(codec)
        self._framing = framing(self.codec)

    def write(self, data: bytes) -> None:
        """Send these bytes."""
        raise NotImplementedError

    def hear(self) -> list[Said]:
        """What the server has said since this was last asked."""
        raise NotImplementedError

    # --- saying ---

    def encoded(self, kind: str, **data: Any) -> bytes:
        """The bytes of a frame of this type."""
        line = json.dumps({"type": kind, "data": data}, ensure_ascii=False).encode() + b"\n"
        if self.codec is Codec.JSON:
            return line
        return serialize(deserialize(line, Codec.JSON), Codec.DER)

    def system(self, keyword: str, **data: Any) -> None:
        """Say a system frame."""
        self.write(self.encoded("system", keyword=keyword, **data))

    def answer(self, field: str, value: str, **more: Any) -> None:
        """Say a login frame."""
        self.write(self.encoded("login", field=field, value=value, **more))

    def send(self, recipient: str, body: str, **more: Any) -> None:
        """Say a message."""
        self.write(self.encoded("message", recipient=recipient, body=body, **more))

    def received(self, *ids: int) -> None:
        """Confirm messages."""
        self.system("received", ids=list(ids))

    def say_login(self, name: str, secret: str | None = None) -> None:
        """Say user name and password, at once."""
        self.answer("username", name)
        self.answer("password", password(name) if secret is None else secret)

    def log_in(self, name: str, secret: str | None = None) -> list[Said]:
        """Log in and tell what was heard from C{welcome} on; fails when not welcome."""
        self.say_login(name, secret)
        heard = self.hear()
        while heard and heard[0].get("keyword") != "welcome":
            if heard[0].get("keyword") in ("failed", "fatal"):
                raise AssertionError(heard[0])
            del heard[0]
        if not heard:
            raise AssertionError(f"{name} was not welcome")
        return heard

    # --- hearing ---

    def decode(self, data: bytes) -> list[Said]:
        """The frames that these bytes complete."""
        self._framing.feed(data)
        heard = []
        while (wire := self._framing.next(1 << 40)) is not None:
            if self.codec is Codec.DER:
                wire = serialize(deserialize(wire, Codec.DER), Codec.JSON)
            heard.append(json.loads(wire)["data"])
        return heard

    @property
    def undecoded(self) -> int:
        """How many bytes of an unfinished frame there are."""
        return self._framing.buffered


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


class Client(Talker):
    """A client of a L{Network}.

    It reads whenever it hears; with C{reads = False} it lets everything lie, and the
    wire becomes full.  It hangs up when the server has, unless C{clings} is set.
    """

    def __init__(self, network: Network, codec: Codec | str = Codec.JSON) -> None:
        super().__init__(codec)
        self._network = network
        self._heard: list[Said] = []
        self.clings = False
        self.protocol = network.doors[self.codec.value].buildProtocol(None)
        self.wire = Wire(self.protocol)
        self.protocol.makeConnection(self.wire)

    def write(self, data: bytes) -> None:
        """Send these bytes; nothing is committed yet."""
        self.wire.arrive(data)

    def hear(self) -> list[Said]:
        """Let everything under way be done, then tell what was said since this was last asked."""
        self._network.settle()
        heard, self._heard = self._heard, []
        return heard

    @property
    def reads(self) -> bool:
        """Whether it reads what it is sent."""
        return self.wire.reads

    @reads.setter
    def reads(self, reads: bool) -> None:
        self.wire.reads = reads

    def read(self, most: int = 1 << 40) -> bool:
        """Take what waits; whether there was anything."""
        if not self.reads:
            return False
        data = self.wire.read(most)
        self._heard += self.decode(data)
        if (self.wire.half_closed or self.wire.disconnecting) and not self.wire.unread and not self.clings:
            self.hang_up()
        return bool(data)

    def hang_up(self) -> None:
        """Close the connection from this side, now, and read no more."""
        self.reads = False
        self.wire.lose()

    @property
    def ended(self) -> bool:
        """Whether the server has hung up."""
        return self.wire.half_closed or self.wire.disconnecting or self.wire.lost


class Hashing:
    """The thread pool of the passwords: does its work at once, or when told to."""

    def __init__(self) -> None:
        self.slow = False
        self._waiting: deque[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = deque()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run C{function} in the pool."""
        if not self.slow:
            return execute(function, *arguments)
        result: Deferred[Any] = Deferred()
        self._waiting.append((result, function, arguments))
        return result

    @property
    def waiting(self) -> int:
        """How many hashes are being computed."""
        return len(self._waiting)

    def finish(self) -> None:
        """The hash begun first is there."""
        result, function, arguments = self._waiting.popleft()
        execute(function, *arguments).chainDeferred(result)


class Disk(DirectPool):
    """The one connection to the database; each transaction takes as long as a test wants.

    @ivar seconds: how long, from the moment it begins to the moment its end is known.
    """

    def __init__(self, directory: Path, clock: Clock, opener: Opener) -> None:
        super().__init__(directory, opener)
        self._clock = clock
        self.seconds = 0.0
        for name in ("main", "users", "passwords"):
            # No power fails here, and waiting for the disk is most of what a test would do.
            self.connect().execute(f"PRAGMA {name}.synchronous = OFF")

    def runInteraction(self, interaction: Callable[..., Any], *args: Any, **kw: Any) -> Deferred[Any]:
        """See L{DirectPool.runInteraction}."""
        done = super().runInteraction(interaction, *args, **kw)
        if self.seconds:
            return deferLater(self._clock, self.seconds, lambda: done)
        return done


#: The files of a server that was never used, by their names.
_blank: dict[str, bytes] = {}


def open_data(directory: Path, opener: Opener = PLAIN) -> DataDirectory:
    """Open a data directory; a new one is a copy of one made before, which spares the disk."""
    if opener is PLAIN and not directory.exists():
        directory.mkdir()
        for name, content in _blank.items():
            (directory / name).write_bytes(content)
    held = DataDirectory(directory, schemas(), None, opener)
    held.open()
    if opener is PLAIN and not _blank:
        DirectPool(directory).connect().close()  # changes the journal mode, as every start does
        _blank.update({file.name: file.read_bytes() for file in directory.glob("*.db")})
    return held


class Network:
    """A server, and the clients that are connected to it."""

    def __init__(
        self,
        data: Path,
        *,
        registration: Registration = Registration.OPEN,
        login_timeout: float = 60.0,
        clock: Optional[Clock] = None,
        hashing: Optional[Hashing] = None,
        opener: Opener = PLAIN,
    ) -> None:
        """Start a server on the data directory C{data}, which is made if need be."""
        self.data = data
        self.running = True
        if clock is None:
            clock = Clock()
            clock.advance(START)
        self.clock = clock
        self.clients: list[Client] = []
        self.hashing = Hashing() if hashing is None else hashing
        self.directory = Directory()
        self._held = open_data(data, opener)
        self.disk = Disk(data, self.clock, opener)
        self.store = Store(
            self.disk,
            self.clock,
            live=self.directory.live,
            now=self.now,
            reserved=90 * DAY,
            in_thread=self.hashing,
            rounds=4,
        )
        self.mailroom = Mailroom(self.store, self.directory, self.now)
        self.accounts = Accounts(
            self.store, self.store.passwords, self.mailroom, self.directory, registration
        )
        self.doors = {
            "json": self._door(lambda: FrameTranslator(Codec.JSON), login_timeout),
            "der": self._door(lambda: FrameTranslator(Codec.DER), login_timeout),
            "text": self._door(TextTranslator, login_timeout),
        }

    def _door(self, translator: Callable[[], Any], login_timeout: float) -> ChatFactory:
        return ChatFactory(self.clock, translator, self.converse, login_timeout)

    def converse(self, peer: Peer) -> Session:
        """The session of a new connection."""
        return Session(peer, self.accounts, self.mailroom, SERVER)

    def now(self) -> int:
        """The time in milliseconds since 1970-01-01 UTC."""
        return round(self.clock.seconds() * 1000)

    def client(self, codec: Codec | str = Codec.JSON) -> Client:
        """A client that has heard nothing yet."""
        client = Client(self, codec)
        self.clients.append(client)
        return client

    def connect(self, codec: Codec | str = Codec.JSON) -> Client:
        """A client that has heard the greeting."""
        client = self.client(codec)
        client.hear()
        return client

    def user(self, name: str, codec: Codec | str = Codec.JSON) -> Client:
        """A client that is logged in, as a new user if there was none of that name."""
        client = self.connect(codec)
        client.say_login(name)
        if "welcome" not in keywords(client.hear()):
            client.log_in(name)
        return client

    def settle(self) -> None:
        """Let everything be done that can be done now, and let the clients read."""
        moved = True
        while moved:
            self.clock.advance(0)
            moved = sum(client.read() for client in self.clients) > 0
        self.clients = [client for client in self.clients if not client.wire.lost]

    def pass_time(self, seconds: float) -> None:
        """Let time pass, to the last moment of it."""
        self.clock.advance(seconds)
        self.settle()

    def planned(self) -> list[IDelayedCall]:
        """What somebody has left to be done later; not what the store does by itself in quiet moments."""
        self.store.indexing.stop()
        return list(self.clock.getDelayedCalls())

    def kill(self) -> None:
        """The process ends here: what is not on disk is gone."""
        for call in self.clock.getDelayedCalls():
            call.cancel()
        self.disk.close()
        self._held.close()
        self.running = False

    def close(self) -> None:
        """Stop as the service does: the connections, then the store, then the files."""
        if not self.running:
            return
        self.running = False
        for door in self.doors.values():
            door.abort()
        self.store.close()
        self.clock.advance(0)
        self._held.close()


class NetworkTestCase(SynchronousTestCase):
    """A test with a server in memory, C{self.network}."""

    network: Network

    def setUp(self) -> None:
        """Start it."""
        self.start()

    def start(self, **settings: Any) -> None:
        """Start a server that was never used, with these settings."""
        self.network = Network(Path(self.mktemp()), **settings)
        self.addCleanup(lambda network: network.close(), self.network)

    def assertHears(self, client: Client, *expected: str) -> list[Said]:
        """What this client has been told is this, as L{keywords} writes it; returns it whole."""
        heard = client.hear()
        self.assertEqual(keywords(heard), list(expected))
        return heard
