"""The world: one thing happens in each step, and the random numbers say which."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Callable, Optional

from twisted.internet.task import Clock

from tests.network import START
from tests.simulation import storage
from tests.simulation.actors import Actor, Program, brief
from tests.simulation.asking import Asker
from tests.simulation.books import Books, Violation
from tests.simulation.browsing import Page
from tests.simulation.following import Follower
from tests.simulation.library import LibraryUser
from tests.simulation.mail import Said
from tests.simulation.model import Model
from tests.simulation.net import Link
from tests.simulation.plan import EVENTS, HTTP, WEB, Plan, weighted
from tests.simulation.server import NotStarted, Server
from tests.simulation.texting import Person

#: Which worlds the seeds make.  A seed that is kept says its edition, as a later one may draw more:
#: in half of the worlds of edition 2 an operator sets limits, in half of those of edition 3 tokens are
#: used, in half of those of edition 4 some come by the WebSocket, in half of those of edition 5 some ask
#: over HTTP, in half of those of edition 6 some search, in half of those of edition 7 some follow a stream of
#: events; the others are the same as in the edition before.
EDITION = 7
#: More steps than this without coming to rest are a fault.
RESTLESS = 100_000


class World:
    """Everything there is.

    @ivar found: a violation that was met where it could not be raised.
    @ivar healing: nothing fails any more; the end is near.
    """

    def __init__(
        self, seed: int, data: Path, log: Optional[Callable[[str], object]], edition: int = EDITION
    ) -> None:
        self.random = Random(seed)
        self.plan = Plan(self.random)
        if edition > 1:
            more = Random(f"edition 2, seed {seed}")  # what it draws leaves all else as it was
            if more.random() < 0.5:
                self.plan.age(more)
        if edition > 2:
            more = Random(f"edition 3, seed {seed}")
            if more.random() < 0.5:
                self.plan.carry_tokens(more)
        if edition > 3:
            more = Random(f"edition 4, seed {seed}")
            if more.random() < 0.5:
                self.plan.browse(more)
        if edition > 4:
            more = Random(f"edition 5, seed {seed}")
            if more.random() < 0.5:
                self.plan.ask(more)
        if edition > 5:
            more = Random(f"edition 6, seed {seed}")
            if more.random() < 0.5:
                self.plan.search(more)
        if edition > 6:
            more = Random(f"edition 7, seed {seed}")
            if more.random() < 0.5:
                self.plan.follow(more)
        self._write = log
        self.found: Optional[BaseException] = None
        self.healing = False
        self.client_time = START
        self._data = data
        self._server_time = START
        self._set_back = 0.0
        self._count = 0
        self._links = 0
        self.links: list[Link] = []
        self.actors: list[Actor] = []
        self.disk = storage.Disk(self.random)
        keeping = self.plan.keeping()
        life = self.plan.token_life
        self.server: Optional[Server] = Server(data, self._new_clock(), self.disk, 4, keeping, life)
        self.disk.fates = self.plan.fates
        self.books = Books(data)
        self.model = Model(self.books, self.disk)
        self.model.starts(self._now(), keeping)
        self.users = [
            LibraryUser(self, name, self.random)
            for name, kinds in self.plan.kinds.items()
            if "library" in kinds
        ]

    def close(self) -> None:
        """Let the files go."""
        if self.server is not None and not self.server.gone:
            self.server.crash()
        self.books.close()

    # --- what others need ---

    def log(self, words: str) -> None:
        """Write down what happens."""
        if self._write is not None:
            self._write(f"{self.model.step} {words}")

    def log_frame(self, link: Link, said: bool, frame: Said) -> None:
        """Write down what a client says or hears."""
        if self._write is not None:
            self._write(f"{self.model.step} #{link.number} {'>' if said else '<'} {brief(frame)}")

    @property
    def up(self) -> bool:
        """Whether the server takes connections."""
        return self.server is not None and not self.server.gone and not self.server.stopping

    def count(self) -> int:
        """A number that was not given before."""
        self._count += 1
        return self._count

    def new_link(self, door: str) -> Link:
        """A new connection to a door of the server."""
        assert self.server is not None
        self._links += 1
        plain = self.random.random() < 0.6
        link = Link(self._links, door, self.random, self.server.clock, self.plan.window, plain)
        self.links.append(link)
        return link

    # --- steps ---

    def _look(self) -> None:
        if self.disk.touched:
            self.disk.touched = False
            self.model.look()
        if self.found is not None:
            raise self.found

    def _happen(self) -> None:
        """One of the things that can happen does."""
        server = self.server
        alive = server is not None and not server.gone
        possible = [(link, what) for link in self.links for what in link.can()]
        cannot = {
            "network": not possible,
            "act": not self.actors,
            "library": not self.users,
            "turn": not self._due(0),
            "transaction": server is None or not alive or server.pool.waiting is None,
            "answer": server is None or not alive or server.pool.done is None,
            "hash": server is None or not alive or not server.hashing.waiting,
            "crash": not alive,
            "stop": not self.up,
            "start": alive,
            "connect": not self.up or len(self.actors) >= self.plan.sessions,
        }
        event = weighted(self.random, {k: w for k, w in self.plan.events.items() if not cannot.get(k)})
        if event == "network":
            self._network(*self.random.choice(possible))
        else:
            getattr(self, "_" + event)()

    def _network(self, link: Link, what: str) -> None:
        """Something arrives somewhere."""
        count = self.random.choice([1, 17, 100, 1000, 1 << 40, 1 << 40, 1 << 40])
        self.log(f"#{link.number} {what}")
        link.happen(what, count)

    def _act(self) -> None:
        """Somebody does something."""
        self.random.choice(self.actors).act(self.random)

    def _library(self) -> None:
        """A program does something with the library, or the network answers it."""
        user = self.random.choice(self.users)
        if user.attempts and self.random.random() < 0.5:
            user.answer_attempt()
        else:
            user.act(self.random)

    def _turn(self) -> None:
        """The reactors have their turn."""
        self._pass_time(0)

    def _transaction(self) -> None:
        """A transaction runs."""
        server = self.server
        assert server is not None
        fate = self.disk.draw()
        self.log(f"transaction: {fate}")
        try:
            server.pool.work(fate)
        except storage.Crash:
            self._crash()

    def _answer(self) -> None:
        """What a transaction has found, or that it failed, reaches those who wait for it."""
        assert self.server is not None
        self.log("answer of the disk")
        self.server.pool.answer()

    def _hash(self) -> None:
        """A password is hashed."""
        assert self.server is not None
        self.server.hashing.finish(self.random.randrange(len(self.server.hashing.waiting)))

    def _time(self) -> None:
        """Time passes."""
        self._pass_time(self.random.choice([0.01, 0.1, 0.1, 1, 1, 5, 5, 20, 20, 65]))

    def _age(self) -> None:
        """Much time passes."""
        self._pass_time(self.random.choice([30, 200, 700, 700, 3 * 3600]))

    def _jump(self) -> None:
        """A clock is set: the server's, or all others."""
        hours = self.random.choice([-2.0, -0.1, -0.001, 0.1, 2.0, 50.0])
        self._pass_time(0)
        self._set_back += max(0.0, -hours * 3600)
        self.log(f"a clock jumps by {hours} hours")
        if self.random.random() < 0.7:
            self._server_time += hours * 3600
            if self.server is not None:
                _set(self.server.clock, hours * 3600)
            self.model.clock(self._now())
        else:
            self.client_time += hours * 3600
            for user in self.users:
                _set(user.clock, hours * 3600)

    def _connect(self) -> None:
        """Somebody connects."""
        name = self.random.choice(self.plan.names)
        kinds = [each for each in self.plan.kinds[name] if each != "library"]
        if kinds:
            self.connect(name, self.random.choice(kinds))

    def connect(self, name: str, kind: str) -> Actor:
        """A new connection of somebody."""
        door = {"telnet": "text", "nc": "text", HTTP: WEB, EVENTS: WEB}.get(kind, kind)
        link = self.new_link(door)
        self.log(f"#{link.number} is {name}'s, {kind}")
        actor: Actor
        if door == "text":
            actor = Person(self, link, name, kind)
        elif kind == HTTP:
            actor = Asker(self, link, name)
        elif kind == EVENTS:
            actor = Follower(self, link, name)
        elif door == WEB:
            actor = Page(self, link, name)
        else:
            actor = Program(self, link, name, door)
        self.actors.append(actor)
        assert self.server is not None
        self.server.connect(link)
        return actor

    def _cut(self) -> None:
        """A connection breaks, or somebody hangs up."""
        if self.random.random() < 0.4 and self.actors:
            actor = self.random.choice(self.actors)
            self.log(f"#{actor.link.number} is left")
            actor.leave(self.random)
        elif self.links:
            link = self.random.choice(self.links)
            link.cut(hidden=self.random.random() < 0.4)
            self.log(f"#{link.number} is cut")

    def _stall(self) -> None:
        """A client stops reading, or goes on."""
        if self.links:
            link = self.random.choice(self.links)
            link.stalled = not link.stalled

    def _crash(self) -> None:
        """The server's process is killed."""
        self.log("the server crashes")
        assert self.server is not None
        self.server.crash()

    def _stop(self) -> None:
        """The server is told to stop."""
        self.log("the server is told to stop")
        assert self.server is not None
        for conversation in self.model.conversations:
            conversation.stopping = True
        self.server.stop()

    def _start(self) -> None:
        """The server is started, unless it runs."""
        if self.server is not None and not self.server.gone:
            return
        self.server = None
        rounds, keeping = self.random.choice([4, 4, 4, 5]), self.plan.keeping()
        try:
            life = self.plan.token_life
            self.server = Server(self._data, self._new_clock(), self.disk, rounds, keeping, life)
            self.model.starts(self._now(), keeping)
            self.log(f"the server starts{f', {keeping}' if any(keeping) else ''}")
        except (NotStarted, storage.Crash) as error:
            self.log(f"the server cannot start: {type(error).__name__}")

    def _weather(self) -> None:
        """The disk fills, or somebody makes room."""
        disk = self.disk
        disk.full, disk.scarce = self.random.choice(
            [(False, False), (False, True), (True, True), (True, False)]
        )
        disk.was_full = disk.was_full or disk.scarce
        self.log(f"the disk is {'full' if disk.full else 'nearly full' if disk.scarce else 'not full'}")

    def _calm(self) -> None:
        """Nothing new happens until all that is under way is done; then much must be true."""
        self.log("calm")
        for _ in range(RESTLESS):
            if not self._settle_one():
                break
            self._look()
        else:
            raise Violation("the world does not come to rest")
        self._sweep()
        if self.up:
            self.model.at_rest()

    # --- inside ---

    def _settle_one(self) -> bool:
        """Let one thing happen that can happen by itself, without a fault; whether there was any."""
        server = self.server
        if server is not None and not server.gone:
            if server.pool.done is not None:
                server.pool.answer()
                return True
            if server.pool.waiting is not None:
                server.pool.work(storage.FINE)
                return True
            if server.hashing.waiting:
                server.hashing.finish(0)
                return True
        for link in self.links:
            for what in link.can():
                link.happen(what)
                return True
        for user in self.users:
            if user.attempts and self.up:
                user.answer_attempt()
                return True
        return self._pass_time(0)

    def _pass_time(self, seconds: float) -> bool:
        """Time passes; whether anything was due."""
        self.client_time += seconds
        self._server_time += seconds
        due = self._due(seconds)
        for clock in self._clocks():
            clock.advance(seconds)
        self.model.clock(self._now())
        self._sweep()
        return due

    def _clocks(self) -> list[Clock]:
        clocks = [user.clock for user in self.users]
        if self.server is not None and not self.server.gone:
            clocks.append(self.server.clock)
        return clocks

    def _due(self, seconds: float) -> bool:
        """Whether any timer runs out in so many seconds."""
        return any(
            call.getTime() <= clock.seconds() + seconds
            for clock in self._clocks()
            for call in clock.getDelayedCalls()[:1]
        )

    def _sweep(self) -> None:
        """Forget connections that nobody believes in any more."""
        self.links = [link for link in self.links if not link.over or link.can()]
        self.actors = [actor for actor in self.actors if actor.link.client_open]
        self.model.conversations = [each for each in self.model.conversations if not each.over]

    def _now(self) -> int:
        return int(self._server_time * 1000)

    def _new_clock(self) -> Clock:
        clock = Clock()
        clock.rightNow = self._server_time
        return clock


def _set(clock: Clock, seconds: float) -> None:
    if seconds > 0:
        clock.advance(seconds)
    else:
        clock.rightNow += seconds
