"""Users of the client library: programs that leave the connections to it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Optional

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from chat.client.backoff import Backoff
from chat.client.client import Client
from chat.client.errors import ClientError, Ended, Refused, Stopped
from chat.messages import Accepted, Message
from chat.wire import Codec
from tests.simulation.actors import Coder, kind, message
from tests.simulation.books import Violation
from tests.simulation.conversation import Conversation
from tests.simulation.net import Link, ProtocolSide

if TYPE_CHECKING:
    from tests.simulation.world import World


class AppError(Exception):
    """The application could not take a message."""


class Tap:
    """What a library's connection says and hears, for the judge."""

    def __init__(self, world: World, link: Link, door: str, taken: set[int]) -> None:
        self.world = world
        self.link = link
        self._taken = taken
        self.conversation = Conversation(world.model, door)
        self.conversation.watch(link)
        self._coders = Coder(Codec(door)), Coder(Codec(door))

    def __call__(self, said: bool, data: bytes) -> None:
        """These bytes were said, or heard."""
        if said:
            self.conversation.garbage |= len(data) > 4096 and self.conversation.at_login
        try:
            for frame in self._coders[said].decode(data):
                self.world.log_frame(self.link, said, frame)
                early = set(frame.get("ids", ())) - self._taken if frame.get("keyword") == "received" else ()
                if said and early:
                    raise Violation(
                        f"the library confirms {sorted(early)} before the application has taken them"
                    )
                if said:
                    self.conversation.says(kind(frame), frame)
                else:
                    self.conversation.hears(frame)
        except Violation as violation:
            self.world.found = self.world.found or violation
            raise


class LibraryUser:
    """One program that uses the library for one account, and is its C{IStreamClientEndpoint}.

    @ivar attempts: connections that the client has asked for.
    @ivar open: messages that the application has not finished with.
    """

    def __init__(self, world: World, name: str, random: Random) -> None:
        self.world = world
        self.name = name
        self.door = random.choice(["json", "der"])
        self.attempts: list[tuple[Deferred[Any], Factory]] = []
        self.open: list[tuple[int, Deferred[None]]] = []
        self.link: Optional[Link] = None
        self.tap: Optional[Tap] = None
        self.refs: list[str] = []
        self._random = random
        self._taken: set[int] = set()
        self._unsettled: dict[str, None] = {}  # the bodies of what was sent
        self.clock = Clock()
        self.client = self._start(random)

    def _start(self, random: Random) -> Client:
        self._taken = set()
        self.open = []
        self.clock = Clock()
        self.clock.rightNow = self.world.client_time
        possible = list(self.world.model.claims(self.name).passwords) or [f"password of {self.name}"]
        client = Client(
            self.clock,
            self,  # type: ignore[arg-type]
            self.name,
            random.choice(possible),
            codec=self.door,
            create=True,
            tokens=self.world.plan.tokens,
            on_message=self._on_message,
            on_stopped=self._on_stopped,
            backoff=Backoff(chance=random.random),
        )
        client.start().addErrback(lambda failure: failure.trap(ClientError) and None)
        return client

    # --- the endpoint ---

    def connect(self, factory: Factory) -> Deferred[Any]:
        """See C{IStreamClientEndpoint.connect}."""

        def cancelled(attempt: Deferred[Any]) -> None:
            self.attempts = [each for each in self.attempts if each[0] is not attempt]
            attempt.errback(CancelledError())

        attempt: Deferred[Any] = Deferred(cancelled)
        self.attempts.append((attempt, factory))
        return attempt

    def answer_attempt(self) -> None:
        """The network has connected, or refused."""
        attempt, factory = self.attempts.pop(0)
        world = self.world
        if not world.up:
            attempt.errback(ConnectionRefusedError())
            return
        link = self.link = world.new_link(self.door)
        protocol: Any = factory.buildProtocol(None)
        side = ProtocolSide(link, protocol, self.clock)
        self.tap = side.tap = Tap(world, link, self.door, self._taken)
        link.client = side
        world.log(f"#{link.number} is {self.name}'s, library, {self.door}")
        assert world.server is not None
        world.server.connect(link)
        protocol.makeConnection(side)
        attempt.callback(protocol)

    # --- the application ---

    def _on_message(self, message: Message) -> Deferred[None] | None:
        what = self._random.random()
        if self.world.healing:
            what = 1.0
        if what < 0.08:
            raise AppError
        if what < 0.25:
            done: Deferred[None] = Deferred()
            self.open.append((message.id, done))
            return done
        self._take(message.id)
        return None

    def _take(self, id: int) -> None:
        if id in self._taken:
            self._violated(f"message {id} was given to the application twice")
        self._taken.add(id)
        self.world.log(f"{self.name}'s application has taken {id}")

    def finish_one(self, random: Random) -> None:
        """The application is done with a message, or has failed at it."""
        id, done = self.open.pop(0)
        if random.random() < 0.1 and not self.world.healing:
            done.errback(AppError())
        else:
            self._take(id)
            done.callback(None)

    def act(self, random: Random) -> None:
        """Use the library."""
        client = self.client
        if self.open and random.random() < 0.5:
            self.finish_one(random)
        elif client.stopped:
            self._restart(random)
        elif random.random() < 0.03:
            client.close().addErrback(lambda _: None)
        elif random.random() < 0.03:
            self._die(random)
        else:
            self._ask(client, random)

    def _ask(self, client: Client, random: Random) -> None:
        deeds = self.world.plan.deeds
        what = random.choices(
            ["send", "delete", "list", "read", "ping", "delivered", "change", "leave"],
            [10, 1, 1, 1, 1, 2, deeds["change-password"], deeds["delete-account"] / 2],
        )[0]
        ids = [send.id for send in self.world.model.sends.values() if send.sender == self.name and send.id]
        some = random.sample(ids, min(3, len(ids)))
        answer: Deferred[Any]
        if what == "send":
            self._send(client, random)
            return
        if what == "delete":
            answer = client.delete(some)
        elif what == "list":
            answer = client.listing(random.choice(["inbox", "sent"]))
        elif what == "read":
            answer = client.read(some)
        elif what == "ping":
            answer = client.ping()
        elif what == "delivered" and some:
            answer = client.delivered(some[0])
            answer.addCallback(self._fate)
        elif what == "change":
            answer = client.change_password(self._password(), f"secret {random.randint(0, 10**9)}")
        elif what == "leave":
            answer = client.delete_account(self._password())
        else:
            return
        answer.addErrback(lambda failure: failure.trap(ClientError) and None)

    def _password(self) -> str:
        return next(iter(self.world.model.claims(self.name).passwords), "a wrong password")

    def _send(self, client: Client, random: Random) -> None:
        frame = message(self, random)
        body, ref = frame["body"], frame.get("ref")
        if body in self._unsettled:
            return
        try:
            sent = client.send(
                frame["recipient"],
                body,
                frame.get("subject"),
                receipt=frame.get("receipt", False),
                ref=ref or f"lib{self.world.count()}",
            )
        except ValueError:
            return  # one with this ref is on its way
        self._unsettled[body] = None
        sent.addCallbacks(self._accepted, self._refused, callbackArgs=(body,), errbackArgs=(body,))

    def _accepted(self, accepted: Accepted, body: str) -> None:
        self._unsettled.pop(body, None)
        row = self.world.books.rows.get(accepted.id)
        if row is None or row.id not in self.world.model.sends[body].ids:
            self._violated(f"the library says that {body[:8]} was accepted as {accepted.id}: {row}")

    def _refused(self, failure: Failure, body: str) -> None:
        self._unsettled.pop(body, None)
        failure.trap(Refused, Ended, Stopped)

    def _fate(self, fate: Any) -> None:
        row = self.world.books.rows[fate.id]
        if fate.state not in [each.fate for _, each in row.history] or fate.state == "waiting":
            self._violated(f"the library says that {fate.id} is {fate.state}: {row}")

    def _on_stopped(self, error: Exception | None) -> None:
        self.world.log(f"{self.name}'s library has stopped: {type(error).__name__}")

    # --- the program ---

    def _restart(self, random: Random) -> None:
        if self._unsettled:
            self._violated(f"the library has stopped, and {len(self._unsettled)} sends never settled")
        self.world.log(f"{self.name}'s program starts anew")
        self.client = self._start(random)

    def _die(self, random: Random) -> None:
        """The program is killed, and started anew: the old one hears of nothing any more."""
        self.world.log(f"{self.name}'s program is killed")
        self.attempts.clear()
        self._unsettled.clear()
        if self.link is not None:
            self.link.reset()
            self.link = None
        self.client = self._start(random)

    @property
    def settled(self) -> bool:
        """Whether everything given to the library has come to an end."""
        return not self._unsettled

    def check(self) -> None:
        """The world is healed and at rest."""
        if self._unsettled:
            self._violated(f"{len(self._unsettled)} sends never settled")
        account = self.world.books.active(self.name)
        if account is None or self.client.stopped:
            return
        if not self.client.connected:
            self._violated("the library does not connect")
        left = [row.id for row in self.world.books.waiting(account.id)]
        if left:
            self._violated(f"the application was not given {left}, or they were not confirmed")

    def _violated(self, words: str) -> None:
        violation = Violation(f"{self.name}'s library: {words}")
        self.world.found = self.world.found or violation
        raise violation
