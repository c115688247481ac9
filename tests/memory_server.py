"""A server in memory, and clients of the library that talk to it, for tests."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chat.client import (
    Backoff,
    Client,
)
from chat.messages import (
    Accepted,
    AccountDeleted,
    Answer,
    Bye,
    ChangePassword,
    Created,
    Delete,
    DeleteAccount,
    Deleted,
    Delivered,
    Entry,
    Failed,
    Fatal,
    Frame,
    Incoming,
    List,
    Listing,
    LoggedOut,
    Login,
    Logout,
    Message,
    Messages,
    NewPassword,
    Password,
    PasswordChanged,
    Ping,
    Pong,
    Quit,
    Read,
    Received,
    Returned,
    Token,
    TokenIssued,
    Username,
    Version,
    Welcome,
)
from chat.wire import Codec
from chat.wire.translator import FrameTranslator

TIME = "2026-11-22T21:07:00.123Z"


class Stored:
    """One message in the ledger of the server in memory."""

    def __init__(self, message: Message, owner: str, state: str) -> None:
        self.message = message
        self.owner = owner
        self.state = state
        self.gone = False


class MemoryServer:
    """What the protocol promises, without disk and network.

    @ivar step: how many frames have come or gone, over all connections.
    @ivar cuts: the steps at which the connection breaks instead.
    @ivar heard: every frame that came, as (session number, frame).
    """

    def __init__(self, **accounts: str) -> None:
        self.accounts = dict(accounts)
        self.ledger: dict[int, Stored] = {}
        self.refs: dict[tuple[str, str], int] = {}
        self.sessions: list[MemorySession] = []
        self.step = 0
        self.cuts: set[int] = set()
        self.heard: list[tuple[int, Frame]] = []
        #: The tokens in force, and whose they are; None: a server that knows no tokens.
        self.tokens: dict[str, str] | None = {}
        self.issued = 0
        self.expires = "2026-12-22T21:07:00.000Z"
        #: The codes of invitations that are good for an account; None: everybody may sign up.
        self.invites: set[str] | None = None
        #: The recovery codes, and whose they are; and those that a new account is given.
        self.recoveries: dict[str, str] = {}
        self.recovery_codes: list[str] = []
        self.answers: list[Callable[[MemorySession, Frame], bool]] = []
        self.mute = False
        self.greeting: Frame = Version(protocol=1, server="memory 1")

    def online(self, name: str) -> list[MemorySession]:
        """The sessions of an account that are logged in."""
        return [session for session in self.sessions if session.name == name]

    def frames(self, kind: type[Frame]) -> list[Any]:
        """Every frame of one kind that came."""
        return [frame for _, frame in self.heard if isinstance(frame, kind)]

    def accept(self, sender: str, message: Message) -> Stored:
        """Keep a message, or find it again by its C{ref}."""
        ref = message.ref or ""
        if ref and (sender, ref) in self.refs:
            return self.ledger[self.refs[sender, ref]]
        id = len(self.ledger) + 1
        owner, returned = message.recipient, None
        if owner not in self.accounts:
            returned = Returned(code="unknown-recipient", recipient=owner, note="No such account.")
            owner = sender
        kept = Message(
            id=id,
            sender=sender,
            recipient=owner,
            time=TIME,
            subject=message.subject,
            body=message.body,
            receipt=message.receipt,
            returned=returned,
            automatic=message.automatic,
            answers=message.answers,
        )
        stored = self.ledger[id] = Stored(kept, owner, "returned" if returned else "waiting")
        if ref:
            self.refs[sender, ref] = id
        return stored

    def deliver(self, stored: Stored) -> None:
        """Send a message to the sessions of its owner."""
        for session in self.online(stored.owner):
            session.say(stored.message)

    def revoke(self, name: str) -> None:
        """No token of this account is in force any more."""
        if self.tokens is not None:
            self.tokens = {token: owner for token, owner in self.tokens.items() if owner != name}

    def turn_back(self, id: int, code: str = "account-deleted") -> None:
        """Return a waiting message to its sender."""
        stored = self.ledger[id]
        message = stored.message
        stored.state, stored.owner = "returned", message.sender
        stored.message = Message(
            id=id,
            sender=message.sender,
            recipient=message.sender,
            time=TIME,
            subject=message.subject,
            body=message.body,
            returned=Returned(code=code, recipient=message.recipient, note="It came back."),
        )
        self.deliver(stored)


class MemorySession(Protocol):
    """One connection to a L{MemoryServer}."""

    def __init__(self, server: MemoryServer, codec: Codec) -> None:
        self.transport: Any
        self.server = server
        self.number = len(server.sessions)
        self.name = ""
        self._wanted = ""
        self._invite = ""
        self._recovery = ""
        self._translator = FrameTranslator(codec)
        self._over = False
        server.sessions.append(self)

    def connectionMade(self) -> None:
        """Speak first."""
        if not self.server.mute:
            self.say(self.server.greeting)
            self.say(Username())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave the directory."""
        self._over = True
        self.name = ""

    def dataReceived(self, data: bytes) -> None:
        """Answer each frame, unless the connection breaks at it."""
        self._translator.feed(data)
        while frames := self._translator.take(1 << 20):
            self._hear(frames)

    def _hear(self, frames: Sequence[Incoming]) -> None:
        for frame in frames:
            if self._over or self.server.mute:
                return
            assert not isinstance(frame, Answer), frame
            if not self._breaks():
                self.server.heard.append((self.number, frame))
                if not any(answer(self, frame) for answer in self.server.answers):
                    self._answer(frame)

    def say(self, *frames: Frame) -> bool:
        """Send frames, unless the connection breaks at one."""
        for frame in frames:
            if not self._over and not self._breaks():
                self.transport.write(self._translator.render([frame]))
        return True

    def cut(self) -> None:
        """Break the connection."""
        self._over = True
        self.name = ""
        self.transport.loseConnection()

    def end(self, code: str) -> None:
        """Say C{fatal} and close."""
        self.say(Fatal(code=code, reason="It is over."))
        self.cut()

    def _breaks(self) -> bool:
        self.server.step += 1
        if self.server.step in self.server.cuts:
            self.cut()
        return self._over

    def _answer(self, frame: Frame) -> None:
        server = self.server
        if isinstance(frame, Login):
            self._log_in(frame)
        elif isinstance(frame, Message):
            new = (self.name, frame.ref) not in server.refs
            stored = server.accept(self.name, frame)
            self.say(Accepted(ref=frame.ref, id=stored.message.id, time=TIME, state=stored.state))
            if new:
                server.deliver(stored)
        elif isinstance(frame, Received):
            for id in frame.ids:
                self._received(id)
        elif isinstance(frame, Delete):
            ids = [id for id in frame.ids if self._removes(id)]
            self.say(Deleted(ids=ids, missing=[id for id in frame.ids if id not in ids]))
        elif isinstance(frame, List):
            self._list(frame)
        elif isinstance(frame, Read):
            found = [server.ledger[id].message for id in frame.ids if self._reads(id)]
            missing = [id for id in frame.ids if not self._reads(id)]
            self.say(Messages(messages=found, missing=missing))
        elif isinstance(frame, ChangePassword):
            if server.accounts[self.name] != frame.password:
                self.say(Failed(code="wrong-password", reason="Not this one."))
            else:
                server.accounts[self.name] = frame.new
                server.revoke(self.name)
                self.say(PasswordChanged())
        elif isinstance(frame, (Token, Logout)):
            self._token(frame)
        elif isinstance(frame, DeleteAccount):
            if server.accounts[self.name] != frame.password:
                self.say(Failed(code="wrong-password", reason="Not this one."))
            else:
                del server.accounts[self.name]
                server.revoke(self.name)
                self.name = ""
                self.say(AccountDeleted(), Username())
        elif isinstance(frame, Ping):
            self.say(Pong())
        elif isinstance(frame, Quit):
            self.say(Bye())
            self.cut()
        else:
            raise AssertionError(f"the client said {frame!r}")

    def _log_in(self, login: Login) -> None:
        server, value = self.server, login.value
        if login.field == "username":
            self._wanted = value.lower()
            free = self._wanted not in server.accounts and (server.invites is None or self._invite != "")
            self.say(NewPassword() if free else Password())
        elif login.field == "invite":
            self._take_invite(value)
        elif login.field == "recovery":
            if server.recoveries.get(value) == self._wanted:
                self._recovery = value
                self.say(NewPassword())
            else:
                self.say(Failed(code="wrong-recovery", reason="Not this one."), Username())
        elif login.field == "token" and server.tokens is None:
            self.say(Failed(code="bad-frame", reason="What is a token?"), Password())
        elif login.field == "token":
            if (server.tokens or {}).get(value) == self._wanted:
                self._welcome()
            else:
                self.say(Failed(code="wrong-token", reason="Not this one."), Username())
        elif self._recovery:
            server.accounts[self._wanted] = value
            del server.recoveries[self._recovery]
            self._recovery = ""
            self.say(PasswordChanged(), Username())
        elif self._wanted not in server.accounts and (server.invites is None or self._invite):
            self._sign_up(value, login.codes)
        elif server.accounts.get(self._wanted) != value:
            self.say(Failed(code="wrong-password", reason="Not this one."), Username())
        else:
            self._welcome()

    def _take_invite(self, value: str) -> None:
        if self.server.invites is None or value in self.server.invites:
            self._invite = value
            self.say(Username())
        else:
            self.say(Failed(code="wrong-invite", reason="Not this one."), Username())

    def _sign_up(self, password: str, codes: bool) -> None:
        server = self.server
        if server.invites is not None:
            server.invites.discard(self._invite)
        self._invite = ""
        server.accounts[self._wanted] = password
        recovery = server.recovery_codes if codes else []
        self.say(Created(username=self._wanted, recovery=recovery), Username())

    def _welcome(self) -> None:
        waiting = [
            stored
            for stored in self.server.ledger.values()
            if stored.owner == self._wanted and not stored.gone and stored.state != "delivered"
        ]
        self.say(Welcome(username=self._wanted, waiting=len(waiting)))
        if not self._over:
            self.name = self._wanted
        for stored in waiting:
            self.say(stored.message)

    def _token(self, frame: Token | Logout) -> None:
        server = self.server
        if server.tokens is None:
            self.say(Failed(code="bad-frame", reason="What is a token?"))
        elif isinstance(frame, Token):
            server.issued += 1
            value = f"token {server.issued}"
            server.tokens[value] = self.name
            self.say(TokenIssued(value=value, expires=server.expires))
        else:
            server.revoke(self.name)
            self.name = ""
            self.say(LoggedOut(), Username())

    def _received(self, id: int) -> None:
        stored = self.server.ledger.get(id)
        if stored is None or stored.owner != self.name or stored.gone:
            return
        if stored.state == "returned":
            stored.gone = True
        elif stored.state == "waiting":
            stored.state = "delivered"
            if stored.message.receipt:
                for session in self.server.online(stored.message.sender):
                    session.say(Delivered(ids=[id], time=TIME))

    def _removes(self, id: int) -> bool:
        stored = self.server.ledger.get(id)
        if stored is None or stored.message.sender != self.name or stored.state != "waiting":
            return False
        stored.state, stored.gone = "recalled", True
        return True

    def _reads(self, id: int) -> bool:
        stored = self.server.ledger.get(id)
        return stored is not None and stored.owner == self.name

    def _list(self, question: List) -> None:
        sent = question.box == "sent"
        entries = [
            Entry(
                id=id,
                sender=stored.message.sender,
                recipient=stored.message.recipient,
                time=stored.message.time,
                subject=stored.message.subject,
                state=stored.state if sent or stored.state != "returned" else "waiting",
            )
            for id, stored in sorted(self.server.ledger.items())
            if id > question.after
            and (stored.message.sender if sent else stored.owner) == self.name
            and (sent or not stored.gone)
        ]
        page = entries[: question.limit]
        self.say(Listing(box=question.box, messages=page, more=len(page) < len(entries)))


@implementer(IStreamClientEndpoint)
class Line:
    """The way to a L{MemoryServer}; each connection is a pair of transports in memory."""

    def __init__(self, server: MemoryServer, codec: Codec = Codec.JSON) -> None:
        self.server = server
        self.codec = codec
        self.broken = False
        self.stuck = False
        self.attempts = 0
        self.pumps: list[iosim.IOPump] = []

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint.connect}."""
        self.attempts += 1
        if self.stuck:
            return Deferred()
        if self.broken:
            return fail(error.ConnectionRefusedError())
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5311))
        assert protocol is not None
        session = MemorySession(self.server, self.codec)
        # As over a real network, the far side speaks after this side is ready.
        client = iosim.FakeTransport(protocol, isServer=False)
        server = iosim.FakeTransport(session, isServer=True)
        protocol.makeConnection(client)
        session.makeConnection(server)
        self.pumps.append(iosim.IOPump(protocol, session, client, server, False))
        return succeed(protocol)


class ClientTests(SynchronousTestCase):
    """What all tests of the client start from."""

    codec = Codec.JSON

    def setUp(self) -> None:
        """A server with two accounts, and a clock."""
        self.clock = Clock()
        self.server = MemoryServer(alice="wonderland", bob="correct horse")
        self.line = Line(self.server, self.codec)
        self.lines = [self.line]
        self.disconnected: list[tuple[Exception, float]] = []
        self.stopped: list[Exception | None] = []

    def client(self, name: str = "alice", password: str | None = "wonderland", **more: Any) -> Client:
        """A client that is not started."""
        more.setdefault("backoff", Backoff(chance=lambda: 1.0))
        more.setdefault("codec", self.codec)
        more.setdefault("on_disconnected", lambda *what: self.disconnected.append(what))
        more.setdefault("on_stopped", self.stopped.append)
        return Client(self.clock, more.pop("line", self.line), name, password, **more)

    def connect(self, *what: Any, **more: Any) -> Client:
        """A client that has logged in."""
        client = self.client(*what, **more)
        started = client.start()
        self.flush()
        self.successResultOf(started)
        return client

    def bob(self, **more: Any) -> tuple[Client, list[Message]]:
        """The other account's client, and what it has received."""
        got: list[Message] = []
        return self.connect("bob", "correct horse", on_message=got.append, **more), got

    def flush(self) -> None:
        """Carry all bytes to where they go."""
        busy = True
        while busy:
            pumped = [pump.pump() for line in self.lines for pump in list(line.pumps)]
            busy = any(pumped)

    def run_for(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass."""
        self.flush()
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step
            self.flush()

    def session(self) -> MemorySession:
        """The newest connection, as the server sees it."""
        return self.server.sessions[-1]
