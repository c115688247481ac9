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

from collections import deque
from pathlib import Path
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from chat.accounts import Accounts, Registration
from chat.directory import Directory
from chat.mailroom import Mailroom
from chat.ports import Peer
from chat.protocol import ChatFactory
from chat.session import Session
from chat.store import Store
from chat.store.files import DataDirectory, schemas
from chat.store.opener import PLAIN, Opener
from chat.store.pool import DirectPool
from chat.wire import Codec
from chat.wire.text import TextTranslator
from chat.wire.translator import FrameTranslator
from tests.talker import Said, Talker, keywords
from tests.wire import Wire

#: The moment at which every test begins: 2026-11-22T21:07:00.123Z.
START = 1_795_381_620.123
#: The software's name and version in the greeting.
SERVER = "chat test"
DAY = 24 * 60 * 60 * 1000


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
