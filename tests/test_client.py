"""The client library, against a small server in memory that can be cut off at any frame."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Iterator, Sequence

import msgspec
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chat.client import (
    Backoff,
    Client,
    Disconnected,
    Ended,
    Fate,
    NoSuchAccount,
    NotChat,
    OutboxFull,
    Refused,
    Silent,
    Stopped,
    Unanswerable,
    UnknownMessage,
    connection,
    endpoint_from,
)
from chat.client.inbox import Inbox
from chat.client.seen import Seen
from chat.errors import Code
from chat.messages import (
    Accepted,
    AccountDeleted,
    Answer,
    Block,
    Blocked,
    Blocks,
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
    Unblock,
    Username,
    Version,
    Welcome,
)
from chat.times import milliseconds
from chat.wire import Codec
from chat.wire.translator import FrameTranslator

DAY = 24 * 60 * 60
TIME = "2026-11-22T21:07:00.123Z"
LATER = "2026-11-22T21:07:00.124Z"


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


class LoginTests(ClientTests):
    """Connecting and logging in."""

    def test_welcome(self) -> None:
        """After the login the client knows its prepared name and the server's."""
        welcomes: list[Welcome] = []
        client = self.client("Alice", on_connected=welcomes.append)
        started = client.start()
        self.assertFalse(client.connected)
        self.flush()
        self.assertEqual(self.successResultOf(started), Welcome(username="alice", waiting=0))
        self.assertEqual(welcomes, [Welcome(username="alice", waiting=0)])
        self.assertEqual((client.username, client.server), ("alice", "memory 1"))
        self.assertTrue(client.connected)

    def test_no_text(self) -> None:
        """What cannot be written in UTF-8 is refused at once, and not repeated: it may be a secret."""
        for more in (
            {"name": "al\udcff"},
            {"password": "won\udcff"},
            {"invite": "\udcff"},
            {"recovery": "\udcff"},
        ):
            error = self.assertRaises(ValueError, self.client, **more)
            self.assertNotIn("\udcff", repr(error) + repr(vars(error)))
            self.assertIsNone(error.__context__)

    def test_welcome_unasked(self) -> None:
        """A server that lets in whoever comes does no harm to who has no password."""
        self.server.greeting = Welcome(username="alice", waiting=0)
        token = TokenIssued(value="token 1", expires="2026-12-22T21:07:00.000Z")
        client = self.client(password=None, token=token)
        started = client.start()
        self.flush()
        self.assertEqual(self.successResultOf(started).username, "alice")

    def test_password_waits_for_its_prompt(self) -> None:
        """For a name that is free, the password is not sent, so that no account is made."""
        client = self.client("carol", "secret word")
        started = client.start()
        self.flush()
        self.failureResultOf(started, NoSuchAccount)
        self.assertEqual(self.server.frames(Login), [Login(field="username", value="carol")])
        self.assertNotIn("carol", self.server.accounts)
        self.assertIsInstance(self.stopped[0], NoSuchAccount)
        self.run_for(300)
        self.assertEqual(self.line.attempts, 1)

    def test_sign_up(self) -> None:
        """With C{create} an account is made and logged in to."""
        self.connect("carol", "secret word", create=True)
        self.assertEqual(self.server.accounts["carol"], "secret word")

    def test_sign_up_once(self) -> None:
        """An account that has vanished is not made again by a client that had logged in."""
        self.connect("carol", "secret word", create=True)
        del self.server.accounts["carol"]
        self.session().cut()
        self.run_for(5)
        self.assertIsInstance(self.stopped[0], NoSuchAccount)
        self.assertNotIn("carol", self.server.accounts)

    def test_sign_up_cut_anywhere(self) -> None:
        """A connection that breaks at any frame of the sign-up ends in a login all the same."""
        for cut in range(1, 20):
            self.setUp()
            self.server.cuts = {cut}
            started = self.client("carol", "secret word", create=True).start()
            self.run_for(5)
            self.assertEqual(self.successResultOf(started).username, "carol", cut)

    def test_invited(self) -> None:
        """With the code of an invitation an account is made where not everybody may."""
        self.server.invites = {"7q2m"}
        self.connect("carol", "secret word", create=True, invite="7q2m")
        fields = [(frame.field, frame.value) for frame in self.server.frames(Login)]
        self.assertEqual(fields[:3], [("invite", "7q2m"), ("username", "carol"), ("password", "secret word")])
        self.assertEqual([field for field, _ in fields[3:]], ["username", "password"])
        self.assertEqual(self.server.accounts["carol"], "secret word")
        self.assertEqual(self.server.invites, set())

    def test_invited_cut_anywhere(self) -> None:
        """Nor is an account lost that was made with a code just before the connection broke."""
        for cut in range(1, 24):
            self.setUp()
            self.server.cuts = {cut}
            self.server.invites = {"7q2m"}
            started = self.client("carol", "secret word", create=True, invite="7q2m").start()
            self.run_for(5)
            self.assertEqual(self.successResultOf(started).username, "carol", cut)

    def test_wrong_invitation(self) -> None:
        """A code that is not good stops the client before a name or a password is said."""
        self.server.invites = {"7q2m"}
        started = self.client("carol", "secret word", create=True, invite="x0vd").start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-invite")
        self.assertEqual([frame.field for frame in self.server.frames(Login)], ["invite"])

    def test_code_lost_to_another(self) -> None:
        """Who is too late with a code is told so, though the name was asked and the password sent."""
        self.server.invites = {"7q2m"}

        def too_late(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, Login) or frame.field != "password":
                return False
            return session.say(Failed(code="wrong-invite", reason="It is used up."), Username())

        self.server.answers.append(too_late)
        started = self.client("carol", "secret word", create=True, invite="7q2m").start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-invite")

    def test_recovery_codes_of_a_new_account(self) -> None:
        """Who signs up is told the recovery codes."""
        self.server.recovery_codes = ["f3x9", "0k2m"]
        created: list[Created] = []
        self.connect("carol", "secret word", create=True, on_created=created.append)
        self.assertEqual([frame.recovery for frame in created], [["f3x9", "0k2m"]])

    def test_recovered(self) -> None:
        """With a recovery code the password is replaced, and logged in with."""
        self.server.recoveries = {"f3x9": "alice"}
        self.connect("alice", "looking glass", recovery="f3x9")
        self.assertEqual(self.server.accounts["alice"], "looking glass")
        self.assertEqual(self.server.recoveries, {})
        self.session().cut()
        self.run_for(5)  # and again, without the code
        self.assertEqual(len(self.server.online("alice")), 1)

    def test_recovered_cut_anywhere(self) -> None:
        """Wherever the connection breaks, the new password is in force in the end."""
        for cut in range(1, 24):
            self.setUp()
            self.server.cuts = {cut}
            self.server.recoveries = {"f3x9": "alice"}
            started = self.client("alice", "looking glass", recovery="f3x9").start()
            self.run_for(5)
            self.assertEqual(self.successResultOf(started).username, "alice", cut)
            self.assertEqual(self.server.accounts["alice"], "looking glass", cut)

    def test_wrong_recovery_code(self) -> None:
        """A recovery code that is not good stops the client, and the password is not said."""
        started = self.client("alice", "looking glass", recovery="f3x9").start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-recovery")
        self.assertNotIn("password", [frame.field for frame in self.server.frames(Login)])

    def test_recover_nobody(self) -> None:
        """Where the name is free, there is nothing to recover, and no account is made."""
        started = self.client("carol", "looking glass", recovery="f3x9").start()
        self.flush()
        self.failureResultOf(started, NoSuchAccount)
        self.assertNotIn("carol", self.server.accounts)

    def test_no_answer_before_the_login(self) -> None:
        """A server that says a password is changed that nobody asked to change speaks something else."""
        self.server.greeting = PasswordChanged()
        started = self.client().start()
        self.flush()
        self.failureResultOf(started, NotChat)

    def test_wrong_password(self) -> None:
        """A wrong password stops the client; it does not try for ever."""
        started = self.client("alice", "looking glass").start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-password")
        self.assertEqual([type(error) for error in self.stopped], [Refused])
        self.run_for(300)
        self.assertEqual(self.line.attempts, 1)

    def test_no_secret_in_an_error(self) -> None:
        """What a refused login says does not hold the password."""
        started = self.client("alice", "looking glass").start()
        self.flush()
        self.assertNotIn("looking", str(self.failureResultOf(started, Refused).value))

    def test_slow_down(self) -> None:
        """A server that is busy with logins is left alone for as long as it says."""
        answers = [Failed(code="slow-down", reason="Busy.", seconds=20)]

        def busy(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, Login) and frame.field == "password" and answers:
                session.say(answers.pop(), Username())
                return True
            return False

        self.server.answers.append(busy)
        started = self.client().start()
        self.run_for(19.5)
        self.assertNoResult(started)
        self.assertEqual(self.line.attempts, 1)
        self.run_for(1)
        self.successResultOf(started)

    def test_other_version(self) -> None:
        """A server of another protocol version is not talked to."""
        self.server.greeting = Version(protocol=2, server="memory 2")
        started = self.client().start()
        self.flush()
        self.failureResultOf(started, NotChat)

    def test_other_codec(self) -> None:
        """A server that speaks another codec is told apart at once, not after a time-out."""
        for mine, other in ((Codec.JSON, Codec.DER), (Codec.DER, Codec.JSON)):
            self.setUp()
            started = self.client(line=self.line, codec=mine)
            self.line.codec = other
            outcome = started.start()
            self.flush()
            self.failureResultOf(outcome, NotChat)

    def test_account_gone(self) -> None:
        """When the account is deleted elsewhere, the client stops and says so."""
        client = self.connect()
        waiting = client.delivered(1)
        self.session().end("account-gone")
        self.flush()
        self.assertEqual(self.stopped[0].code, "account-gone")  # type: ignore[union-attr]
        self.failureResultOf(waiting)
        self.failureResultOf(client.send("bob", "hello"), Stopped)
        self.run_for(300)
        self.assertEqual(self.line.attempts, 1)

    def test_started_once(self) -> None:
        """A client is started once."""
        client = self.connect()
        self.assertRaises(RuntimeError, client.start)

    def test_start_cancelled(self) -> None:
        """Who no longer waits for the login stops the client."""
        client = self.client()
        started = client.start()
        started.cancel()
        self.failureResultOf(started, Stopped)
        self.run_for(100)
        self.assertTrue(client.stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ReconnectTests(ClientTests):
    """Coming back after a lost connection."""

    def test_backoff(self) -> None:
        """The delays double from one second to a minute, and start again after a login."""
        self.line.broken = True
        self.client().start()
        self.run_for(400)
        delays = [delay for _, delay in self.disconnected]
        self.assertEqual(delays[:9], [1, 2, 4, 8, 16, 32, 60, 60, 60])
        self.line.broken = False
        self.run_for(61)
        self.assertEqual(self.server.online("alice"), [self.session()])
        self.session().cut()
        self.flush()
        self.assertEqual(self.disconnected[-1][1], 1)

    def test_jitter(self) -> None:
        """Chance shortens each delay by up to a half, so that clients do not come at once."""
        chances = iter([0.0, 0.5, 1.0])
        backoff = Backoff(chance=lambda: next(chances))
        self.assertEqual([backoff.next(), backoff.next(), backoff.next()], [0.5, 1.5, 4.0])

    def test_reason(self) -> None:
        """The application is told why there is no connection."""
        self.line.broken = True
        self.client().start()
        self.assertIsInstance(self.disconnected[0][0], Disconnected)
        self.assertIn("refused", str(self.disconnected[0][0]))

    def test_shutting_down(self) -> None:
        """A server that shuts down is expected back."""
        self.connect()
        self.session().end("shutting-down")
        self.flush()
        self.assertEqual(self.disconnected[0][0].code, "shutting-down")  # type: ignore[attr-defined]
        self.run_for(2)
        self.assertTrue(self.server.online("alice"))

    def test_silent_connect(self) -> None:
        """A connection that never comes about is given up."""
        self.line.stuck = True
        self.client(timeout=10).start()
        self.run_for(9.5)
        self.assertEqual(self.disconnected, [])
        self.run_for(1)
        self.assertEqual(len(self.disconnected), 1)

    def test_silent_greeting(self) -> None:
        """A server that accepts the connection and says nothing is given up."""
        self.server.mute = True
        self.client(timeout=10).start()
        self.run_for(9.5)
        self.assertEqual(self.disconnected, [])
        self.run_for(1)
        self.assertIsInstance(self.disconnected[0][0], Silent)
        self.assertIn("TLS", str(self.disconnected[0][0]))  # which is why it may wait

    def test_silent_answer(self) -> None:
        """A server that does not answer is given up, and the question fails."""
        client = self.connect(timeout=10)
        self.run_for(50)
        self.server.mute = True
        read = client.read([1])
        self.run_for(9.5)
        self.assertNoResult(read)
        self.run_for(1)
        self.failureResultOf(read, Silent)

    def test_idle_ping(self) -> None:
        """An idle server is asked whether it is there, and left when it does not answer."""
        self.connect(timeout=10, idle=60)
        self.run_for(59)
        self.assertEqual(self.server.frames(Ping), [])
        self.run_for(2)
        self.assertEqual(len(self.server.frames(Ping)), 1)
        self.run_for(300)
        self.assertEqual(self.disconnected, [])
        self.assertEqual(len(self.server.frames(Ping)), 6)
        self.server.mute = True
        self.run_for(71)
        self.assertIsInstance(self.disconnected[0][0], Silent)

    def test_rests_of_seconds(self) -> None:
        """Where the steps of a clock do not add up to the second, it does not look again and again."""
        looked: list[float] = []
        call_later = self.clock.callLater

        def counted(seconds: float, *what: Any) -> Any:
            looked.append(seconds)
            self.assertLess(len(looked), 100)
            return call_later(seconds, *what)

        self.patch(self.clock, "callLater", counted)
        self.clock.advance(0.01)
        self.connect(idle=60)
        self.run_for(400, 1)
        self.assertEqual(len(self.server.frames(Ping)), 6)

    def test_often_asked(self) -> None:
        """An application may want to know sooner than the server may be slow."""
        self.connect(timeout=60, idle=10)
        self.run_for(11)
        self.assertEqual(len(self.server.frames(Ping)), 1)

    def test_slow_answers_are_no_silence(self) -> None:
        """A server that keeps talking is not given up, although an answer takes long."""
        client = self.connect(timeout=10, on_message=lambda message: None)
        self.server.answers.append(lambda session, frame: isinstance(frame, Read))
        read = client.read([1])
        for _ in range(10):
            self.run_for(8)
            self.session().say(Delivered(ids=[1], time=TIME))
        self.assertNoResult(read)
        self.assertEqual(self.disconnected, [])

    def test_token_without_an_end(self) -> None:
        """A token whose end is no moment is used, and replaced at the next login."""
        self.server.expires = "2026-13-45T99:99:99.000Z"
        client = self.connect()
        self.session().cut()
        self.run_for(2)
        self.assertTrue(client.connected)
        self.assertEqual([frame.field for frame in self.server.frames(Login)][-1], "token")
        self.assertEqual(self.server.issued, 2)

    def test_questions_fail(self) -> None:
        """What was asked before a connection broke fails, each with the reason."""
        client = self.connect()
        self.server.answers.append(lambda session, frame: isinstance(frame, (Read, List)))
        asked = [client.read([1]), client.listing()]
        self.flush()
        self.session().cut()
        self.flush()
        for question in asked:
            self.failureResultOf(question, Disconnected)
        self.failureResultOf(client.ping(), Disconnected)

    def test_wrong_answer(self) -> None:
        """A server that answers something else is not believed any more."""
        client = self.connect()
        self.server.answers.append(lambda session, frame: isinstance(frame, Read) and session.say(Pong()))
        read = client.read([1])
        self.flush()
        self.failureResultOf(read, NotChat)
        self.assertFalse(client.stopped)
        self.run_for(2)
        self.assertTrue(client.connected)

    def test_unasked_answer(self) -> None:
        """An answer to no question ends the connection."""
        self.connect()
        self.session().say(Pong())
        self.flush()
        self.assertIsInstance(self.disconnected[0][0], NotChat)

    def test_unknown_frame(self) -> None:
        """News that this client does not know are passed over."""
        client = self.connect()
        self.session().transport.write(b'{"type":"system","data":{"keyword":"weather"}}\n')
        pong = client.ping()
        self.flush()
        self.successResultOf(pong)

    def test_endless_frame(self) -> None:
        """A frame without end does not fill the memory."""
        self.patch(connection, "SERVER_FRAME_BYTES", 100_000)
        self.connect()
        self.session().transport.write(b'{"' + b"x" * 99_000)
        self.flush()
        self.assertEqual(self.disconnected, [])
        self.session().transport.write(b"x" * 2000)
        self.flush()
        self.assertIsInstance(self.disconnected[0][0], NotChat)

    def test_cancelled_question(self) -> None:
        """Who cancels a question does not disturb the answers to the others."""
        client = self.connect()
        first, second = client.read([1]), client.ping()
        first.cancel()
        self.failureResultOf(first)
        self.flush()
        self.successResultOf(second)

    def test_callback_that_fails(self) -> None:
        """A mistake in the application's callback is logged and disturbs nothing."""

        def broken(welcome: Welcome) -> None:
            raise RuntimeError("the application's own")

        client = self.connect(on_connected=broken)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(client.connected)

    def test_nothing_left(self) -> None:
        """A closed client leaves no timer behind."""
        client = self.connect()
        client.delivered(1).addErrback(lambda failure: None)
        closed = client.close()
        self.flush()
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.stopped, [None])

    def test_close_without_connection(self) -> None:
        """A client that waits to try again can be closed."""
        self.line.broken = True
        client = self.client()
        started = client.start()
        self.successResultOf(client.close())
        self.failureResultOf(started, Stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_answers_first(self) -> None:
        """What was sent before closing is accepted before the connection closes."""
        client = self.connect()
        sent = client.send("bob", "last words")
        closed, again = client.close(), client.close()
        self.flush()
        self.successResultOf(sent)
        self.successResultOf(closed)
        self.successResultOf(again)

    def test_close_in_the_callback(self) -> None:
        """A client closed by its own callback confirms that message first."""
        clients: list[Client] = [self.client(on_message=lambda message: clients[0].close() and None)]
        clients[0].start()
        self.flush()
        self.server.deliver(self.server.accept("bob", Message(recipient="alice", body="bye")))
        self.flush()
        self.assertEqual(self.server.ledger[1].state, "delivered")
        self.assertEqual(self.stopped, [None])

    def test_message_at_the_goodbye(self) -> None:
        """What comes with the last answer is confirmed; what comes later is not taken, but left waiting."""
        got: list[Message] = []
        client = self.connect(on_message=got.append)
        bodies = iter("abc")

        def speak_first(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, (Ping, Quit)):
                session.say(self.server.accept("bob", Message(recipient="alice", body=next(bodies))).message)
            return False

        self.server.answers.append(speak_first)
        closed = client.close()
        self.flush()
        self.successResultOf(closed)
        self.assertEqual([message.body for message in got], ["a"])
        self.assertEqual([each.state for each in self.server.ledger.values()], ["delivered", "waiting"])

    def test_server_that_does_not_let_go(self) -> None:
        """A connection that the server does not close is closed by force."""
        client = self.connect()
        self.server.answers.append(lambda session, frame: isinstance(frame, Quit) and session.say(Bye()))
        transport: Any = client._connection and client._connection.transport
        forced: list[bool] = []
        transport.loseConnection = lambda: None
        transport.abortConnection = lambda: forced.append(True)
        client.close()
        self.run_for(4)
        self.assertEqual(forced, [])
        self.run_for(2)
        self.assertEqual(forced, [True])


class SendTests(ClientTests):
    """Sending, and knowing what became of it."""

    def test_accepted(self) -> None:
        """A send fires once the server has accepted it."""
        client = self.connect()
        sent = client.send("bob", "Dinner at eight?", "tonight")
        self.assertNoResult(sent)
        self.flush()
        self.assertEqual(self.successResultOf(sent).id, 1)
        message = self.server.ledger[1].message
        self.assertEqual((message.subject, message.body), ("tonight", "Dinner at eight?"))

    def test_before_the_login(self) -> None:
        """What is sent before there is a connection goes out in order after the login."""
        client = self.client()
        sent = [client.send("bob", str(number)) for number in range(5)]
        client.start()
        self.flush()
        self.assertEqual([self.successResultOf(each).id for each in sent], [1, 2, 3, 4, 5])
        self.assertEqual([stored.message.body for stored in self.server.ledger.values()], list("01234"))

    def test_refs(self) -> None:
        """Each message has a C{ref} of its own, of at most 64 bytes, that others cannot guess."""
        for _ in range(2):
            client = self.connect()
            client.send("bob", "one")
            client.send("bob", "two")
        self.flush()
        refs = {message.ref for message in self.server.frames(Message)}
        self.assertEqual(len(refs), 4)
        self.assertTrue(all(32 < len(ref) <= 64 for ref in refs))

    def test_own_ref(self) -> None:
        """An application that keeps its own C{ref} may send again after it was restarted."""
        for _ in range(2):
            sent = self.connect().send("bob", "once", ref="order-66")
            self.flush()
            self.assertEqual(self.successResultOf(sent).id, 1)
        client = self.connect()
        client.send("bob", "x", ref="order-67")
        self.assertRaises(ValueError, client.send, "bob", "x", ref="order-67")

    def test_refused(self) -> None:
        """A refusal fails this send with code and reason, and no other."""

        def full(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, Message) and frame.body == "two":
                session.say(Failed(code="storage-full", reason="The disk is full.", ref=frame.ref))
                return True
            return False

        self.server.answers.append(full)
        client = self.connect()
        one, two, three = [client.send("bob", body) for body in ("one", "two", "three")]
        self.flush()
        self.assertEqual(self.successResultOf(one).id, 1)
        refused = self.failureResultOf(two, Refused).value
        self.assertEqual((refused.code, refused.reason), ("storage-full", "The disk is full."))
        self.assertEqual(self.successResultOf(three).id, 2)
        self.assertEqual(client.unaccepted, 0)

    def test_too_large_for_a_frame(self) -> None:
        """What would make the server close the connection is refused here."""
        client = self.connect()
        refused = self.failureResultOf(client.send("bob", "x" * 600_000), Refused).value
        self.assertEqual(refused.code, "too-large")
        self.assertEqual(client.unaccepted, 0)

    def test_lone_surrogate(self) -> None:
        """Text that UTF-8 cannot carry is a mistake of the caller."""
        client = self.connect()
        self.assertRaises(ValueError, client.send, "bob", "\ud800")
        self.assertEqual(client.unaccepted, 0)

    def test_slow_down(self) -> None:
        """After C{slow-down} nothing is written for so long, then everything in order."""
        left = [1]

        def busy(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, Message) and left:
                left.pop()
                session.say(Failed(code="slow-down", reason="Slow.", ref=frame.ref, seconds=7))
                return True
            return False

        self.server.answers.append(busy)
        client = self.connect()
        one = client.send("bob", "one")
        self.flush()
        two = client.send("bob", "two")
        self.run_for(6.5)
        self.assertNoResult(one)
        self.assertNoResult(two)
        self.run_for(1)
        self.assertEqual((self.successResultOf(one).id, self.successResultOf(two).id), (1, 2))

    def test_outbox_is_bounded(self) -> None:
        """When too much waits to be accepted, a send is refused clearly and keeps nothing."""
        client = self.client(most_unaccepted=2)
        client.send("bob", "one")
        client.send("bob", "two")
        self.assertRaises(OutboxFull, client.send, "bob", "three")
        self.assertEqual(client.unaccepted, 2)
        client.start()
        self.flush()
        client.send("bob", "three")
        self.flush()
        self.assertEqual(len(self.server.ledger), 3)

    def test_outbox_is_bounded_in_bytes(self) -> None:
        """The bytes of what waits are bounded, and given back."""
        client = self.connect(most_unaccepted_bytes=1000)
        for _ in range(3):
            client.send("bob", "x" * 700)
            self.assertRaises(OutboxFull, client.send, "bob", "y" * 700)
            self.flush()
        self.assertEqual(len(self.server.ledger), 3)

    def test_cancelled(self) -> None:
        """A send that is cancelled before it was written is never sent."""
        client = self.client()
        sent = client.send("bob", "never mind")
        sent.cancel()
        self.failureResultOf(sent)
        other = client.send("bob", "this")
        client.start()
        self.flush()
        self.successResultOf(other)
        self.assertEqual([frame.body for frame in self.server.frames(Message)], ["this"])

    def test_cancelled_under_way(self) -> None:
        """A send cancelled under way is not repeated, and its answer disturbs nothing."""
        client = self.connect()
        sent, other = client.send("bob", "never mind"), client.send("bob", "this")
        sent.cancel()
        self.failureResultOf(sent)
        self.flush()
        self.assertEqual(self.successResultOf(other).id, 2)

    def test_stopped(self) -> None:
        """What is not accepted when the client stops fails, and so does what is sent later."""
        client = self.client()
        sent = client.send("bob", "too late")
        client.close()
        self.failureResultOf(sent, Stopped)
        self.failureResultOf(client.send("bob", "later"), Stopped)
        self.failureResultOf(client.delivered(1), Stopped)
        self.failureResultOf(client.ping(), Stopped)

    def test_poison(self) -> None:
        """A message at which the server fails again and again is given back; others go on."""

        def fails(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, Message) and frame.body == "poison":
                session.end("internal-error")
                return True
            return False

        self.server.answers.append(fails)
        client = self.connect()
        sent = [client.send("bob", body) for body in ("one", "poison", "two", "three")]
        self.run_for(30)
        self.assertEqual(self.failureResultOf(sent.pop(1), Ended).value.code, "internal-error")
        self.assertEqual([self.successResultOf(each).id for each in sent], [1, 2, 3])
        under_way: list[Frame] = []

        def held(session: MemorySession, frame: Frame) -> bool:
            under_way.append(frame)
            return True

        self.server.answers[:] = [held]
        client.send("bob", "four")
        client.send("bob", "five")
        self.flush()
        self.assertEqual(len(under_way), 2)


class FateTests(ClientTests):
    """Waiting for what becomes of a message."""

    def accepted(self, client: Client, recipient: str = "bob", **more: Any) -> int:
        """Send something; its id."""
        sent = client.send(recipient, "hello", **more)
        self.flush()
        return self.successResultOf(sent).id

    def test_delivered(self) -> None:
        """The sender who waits is told when the recipient has confirmed."""
        client = self.connect()
        fate = client.delivered(self.accepted(client, receipt=True))
        self.flush()
        self.assertNoResult(fate)
        self.bob()
        self.assertEqual(self.successResultOf(fate), Fate(1, "delivered", time=TIME))

    def test_delivered_before_asking(self) -> None:
        """It does not matter that the delivery was told before anyone asked."""
        client = self.connect()
        self.bob()
        fate = client.delivered(self.accepted(client, receipt=True))
        self.flush()
        self.assertEqual(self.successResultOf(fate).state, "delivered")

    def test_without_receipt(self) -> None:
        """Of a message sent without a receipt the fate is learnt too, if later."""
        client = self.connect(idle=60)
        fate = client.delivered(self.accepted(client))
        self.flush()
        self.bob()
        self.assertNoResult(fate)
        self.run_for(61)
        self.assertEqual(self.successResultOf(fate).state, "delivered")

    def test_while_away(self) -> None:
        """What was delivered while the sender was away is asked for after the next login."""
        client = self.connect()
        fate = client.delivered(self.accepted(client, receipt=True))
        self.flush()
        self.session().cut()
        self.line.broken = True
        self.flush()
        line = Line(self.server)
        self.lines.append(line)
        self.bob(line=line)
        self.assertNoResult(fate)
        self.line.broken = False
        self.run_for(4)
        self.assertEqual(self.successResultOf(fate).state, "delivered")

    def test_unknown_recipient(self) -> None:
        """A message that comes back settles the wait, with the reason."""
        got: list[Message] = []
        client = self.connect(on_message=got.append)
        fate = client.delivered(self.accepted(client, "nobody"))
        self.flush()
        returned = Returned(code="unknown-recipient", recipient="nobody", note="No such account.")
        self.assertEqual(self.successResultOf(fate), Fate(1, "returned", returned))
        self.assertEqual([message.returned for message in got], [returned])

    def test_comes_back_later(self) -> None:
        """A message that turns round while its sender waits settles the wait."""
        client = self.connect()
        fate = client.delivered(self.accepted(client))
        self.flush()
        self.server.turn_back(1)
        self.flush()
        self.assertEqual(self.successResultOf(fate).returned.code, "account-deleted")  # type: ignore[union-attr]

    def test_recalled(self) -> None:
        """A message that the sender recalls settles the wait."""
        client = self.connect()
        fate = client.delivered(self.accepted(client))
        self.flush()
        deleted = client.delete([1, 2])
        self.flush()
        self.assertEqual(self.successResultOf(deleted), Deleted(ids=[1], missing=[2]))
        self.assertEqual(self.successResultOf(fate).state, "recalled")

    def test_unknown_message(self) -> None:
        """Waiting for a message that was never sent fails."""
        client = self.connect()
        self.accepted(client)
        unknown = client.delivered(7)
        self.flush()
        self.failureResultOf(unknown, UnknownMessage)

    def test_asked_meanwhile(self) -> None:
        """Who begins to wait while others' fates are being looked up is not forgotten."""
        client = self.connect()
        self.bob()
        for _ in range(5):
            self.accepted(client)
        later, earlier = client.delivered(5), client.delivered(1)
        self.flush()
        self.assertEqual(self.successResultOf(later).state, "delivered")
        self.assertEqual(self.successResultOf(earlier).state, "delivered")

    def test_many(self) -> None:
        """Many waits are looked up with few questions."""
        client = self.connect()
        for _ in range(250):
            client.send("bob", "hello", receipt=True)
        self.flush()
        fates = [client.delivered(id) for id in range(1, 251)]
        self.flush()
        self.session().cut()
        self.line.broken = True
        self.flush()
        line = Line(self.server)
        self.lines.append(line)
        self.bob(line=line)
        self.server.heard.clear()
        self.line.broken = False
        self.run_for(4)
        for fate in fates:
            self.assertEqual(self.successResultOf(fate).state, "delivered")
        self.assertEqual(len(self.server.frames(List)), 3)

    def test_one_after_another(self) -> None:
        """However many wait, one more costs one question; the others are looked up at intervals."""
        client = self.connect(idle=60)
        fates = []
        for _ in range(12):
            self.run_for(5)
            fates.append(client.delivered(self.accepted(client)))
            self.flush()
        asked = self.server.frames(List)
        self.assertEqual([(each.after, each.limit) for each in asked], [(number, 1) for number in range(12)])
        self.bob()
        self.run_for(6)
        self.assertEqual({self.successResultOf(fate).state for fate in fates}, {"delivered"})

    def test_cancelled(self) -> None:
        """Who waits no longer is forgotten; others are told."""
        client = self.connect()
        id = self.accepted(client, receipt=True)
        first, second = client.delivered(id), client.delivered(id)
        first.cancel()
        self.failureResultOf(first)
        self.flush()
        self.bob()
        self.successResultOf(second)


class ReceiveTests(ClientTests):
    """Receiving each message once."""

    def given(self, *bodies: str) -> None:
        """Messages from Bob that wait for Alice."""
        for body in bodies:
            self.server.deliver(self.server.accept("bob", Message(recipient="alice", body=body)))
        self.flush()

    def states(self) -> str:
        """The first letters of the states of all messages."""
        return "".join(stored.state[0] for stored in self.server.ledger.values())

    def test_in_order(self) -> None:
        """What waited and what comes later is given to the callback in order, and confirmed."""
        self.given("one", "two")
        got: list[str] = []
        self.connect(on_message=lambda message: got.append(message.body))
        self.given("three")
        self.assertEqual(got, ["one", "two", "three"])
        self.assertEqual(self.states(), "ddd")

    def test_confirmed_together(self) -> None:
        """Messages that come together are confirmed with one frame."""
        self.given(*"abcdefgh")
        self.connect(on_message=lambda message: None)
        self.assertEqual(self.server.frames(Received), [Received(ids=list(range(1, 9)))])

    def test_without_callback(self) -> None:
        """A client that only sends leaves the mailbox as it is."""
        self.given("one")
        self.connect()
        self.assertEqual(self.states(), "w")

    def test_after_the_callback(self) -> None:
        """A message is confirmed after the callback's Deferred has fired, and they take turns."""
        turns: list[tuple[str, Deferred[None]]] = []

        def slowly(message: Message) -> Deferred[None]:
            turns.append((message.body, Deferred()))
            return turns[-1][1]

        self.connect(on_message=slowly)
        self.given("one", "two")
        self.assertEqual([body for body, _ in turns], ["one"])
        self.assertEqual(self.states(), "ww")
        turns[0][1].callback(None)
        self.flush()
        self.assertEqual([body for body, _ in turns], ["one", "two"])
        self.assertEqual(self.states(), "dw")

    def test_coroutine(self) -> None:
        """The callback may be a coroutine, and may itself send and wait."""

        async def echo(message: Message) -> None:
            await client.send(message.sender, message.body.upper())

        client = self.connect(on_message=echo)
        self.given("one", "two")
        self.assertEqual(
            [stored.message.body for stored in self.server.ledger.values()],
            ["one", "two", "ONE", "TWO"],
        )
        self.assertEqual(self.states(), "ddww")

    def test_callback_that_fails(self) -> None:
        """A message whose callback fails stays waiting and comes again; the next ones go on."""
        got: list[str] = []

        def once_bad(message: Message) -> None:
            got.append(message.body)
            if got == ["one"]:
                raise RuntimeError("the application's own")

        self.connect(on_message=once_bad)
        self.given("one", "two")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.states(), "wd")
        self.session().cut()
        self.run_for(2)
        self.assertEqual(got, ["one", "two", "one"])
        self.assertEqual(self.states(), "dd")

    def test_confirmation_lost(self) -> None:
        """A message confirmed over a dying connection is confirmed again, and not shown again."""
        got: list[str] = []
        self.server.answers.append(lambda session, frame: session.number == 0 and isinstance(frame, Received))
        self.connect(on_message=lambda message: got.append(message.body))
        self.given("one")
        self.assertEqual(self.states(), "w")
        self.session().cut()
        self.run_for(2)
        self.assertEqual(got, ["one"])
        self.assertEqual(self.states(), "d")

    def test_callback_over_a_reconnect(self) -> None:
        """A message is not given again while the callback still has it from before."""
        got: list[str] = []
        done: Deferred[None] = Deferred()

        def slowly(message: Message) -> Deferred[None]:
            got.append(message.body)
            return done

        self.connect(on_message=slowly)
        self.given("one")
        self.session().cut()
        self.run_for(2)
        done.callback(None)
        self.flush()
        self.assertEqual(got, ["one"])
        self.assertEqual(self.states(), "d")

    def test_slow_callback_is_bounded(self) -> None:
        """What a slow callback cannot hold is forgotten, fetched later, and given once, in order."""
        got: list[str] = []
        done: Deferred[None] = Deferred()

        def slowly(message: Message) -> Deferred[None] | None:
            got.append(message.body)
            return done if len(got) == 1 else None

        bodies = [str(number) for number in range(300)]
        self.given(*bodies[:250])
        client = self.client(on_message=slowly)
        client._inbox = inbox = Inbox(slowly, most=10)
        client.start()
        self.flush()
        self.given(*bodies[250:])
        self.assertEqual(got, ["0"])
        self.assertLessEqual(len(inbox._backlog), 10)
        done.callback(None)
        self.flush()
        self.assertEqual(got, bodies)
        self.assertEqual(set(self.states()), {"d"})
        self.given("at last")
        self.assertEqual(got[-1], "at last")
        self.assertEqual(len(self.server.frames(List)), 3)

    def slow(self, first: Deferred[None], most: int) -> list[str]:
        """A client whose callback is busy with the first message; what it has been given."""
        got: list[str] = []

        def slowly(message: Message) -> Deferred[None] | None:
            got.append(message.body)
            return first if len(got) == 1 else None

        client = self.client(on_message=slowly)
        client._inbox = Inbox(slowly, most=most)
        client.start()
        self.flush()
        return got

    def test_news_while_fetching(self) -> None:
        """What comes while forgotten messages are being fetched takes its turn behind them."""
        self.given(*"abcdef")
        done: Deferred[None] = Deferred()
        got = self.slow(done, most=2)

        def news(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, List) and len(self.server.ledger) == 6:
                session._answer(frame)
                self.server.deliver(self.server.accept("bob", Message(recipient="alice", body="g")))
                return True
            return False

        self.server.answers.append(news)
        done.callback(None)
        self.flush()
        self.assertEqual("".join(got), "abcdefg")

    def test_strange_id(self) -> None:
        """Whatever id a server gives a message, nothing impossible is asked for it."""
        self.given("a", "b")
        done: Deferred[None] = Deferred()
        got = self.slow(done, most=1)
        self.session().say(Message(id=0, sender="bob", recipient="alice", time=TIME, body="zero"))
        self.flush()
        done.callback(None)
        self.flush()
        self.assertEqual(got, ["a", "b"])

    def test_fetching_what_is_not_yet_confirmed(self) -> None:
        """What the callback has had is not fetched, though the server has yet to note that."""
        self.server.accept("alice", Message(recipient="bob", body="to bob"))
        self.given(*"abcdef")
        self.server.answers.append(lambda session, frame: isinstance(frame, Received))
        done: Deferred[None] = Deferred()
        got = self.slow(done, most=2)
        self.server.turn_back(1)
        self.flush()
        done.callback(None)
        self.flush()
        self.assertEqual(got, ["a", "b", "to bob", "c", "d", "e", "f"])

    def test_fetching_over_a_reconnect(self) -> None:
        """A connection that breaks at any step of the fetching loses and doubles nothing."""
        for cut in range(1, 90):
            self.setUp()
            got: list[str] = []
            done: Deferred[None] = Deferred()

            def slowly(
                message: Message, got: list[str] = got, done: Deferred[None] = done
            ) -> Deferred[None] | None:
                got.append(message.body)
                return done if len(got) == 1 else None

            bodies = [str(number) for number in range(30)]
            self.given(*bodies)
            client = self.client(on_message=slowly)
            client._inbox = Inbox(slowly, most=4)
            self.server.cuts = {cut}
            client.start()
            self.flush()
            done.callback(None)
            self.run_for(4)
            self.assertEqual(got, bodies, cut)
            self.assertEqual(set(self.states()), {"d"}, cut)

    def test_seen(self) -> None:
        """The memory of messages holds what was added, in any order, and nothing else."""
        seen = Seen()
        for id in (5, 3, 9, 5, 2**62, 1):
            seen.add(id, TIME)
        there = [id for id in (0, 1, 2, 3, 4, 5, 9, 2**62) if seen.holds(id, TIME)]
        self.assertEqual(there, [1, 3, 5, 9, 2**62])
        self.assertEqual(len(seen), 5)
        self.assertFalse(seen.holds(5, LATER))
        seen.add(5, LATER)
        self.assertEqual([seen.holds(5, time) for time in (TIME, LATER)], [False, True])
        self.assertEqual(len(seen), 5)

    def put_back(self, *bodies: str) -> None:
        """The server's files are put back as they once were, and then other messages get the same ids."""
        self.server.ledger.clear()
        for body in bodies:
            stored = self.server.accept("bob", Message(recipient="alice", body=body))
            stored.message = msgspec.structs.replace(stored.message, time=LATER)
            self.server.deliver(stored)
        self.flush()

    def test_ids_again(self) -> None:
        """After the server's files were put back, another message with an id that was seen is a new one."""
        got: list[str] = []
        self.connect(on_message=lambda message: got.append(message.body))
        self.given("one", "two")
        self.session().cut()
        self.flush()
        self.put_back("other one", "other two")
        self.assertEqual(self.states(), "ww")
        self.run_for(2)
        self.assertEqual(got, ["one", "two", "other one", "other two"])
        self.assertEqual(self.states(), "dd")

    def test_ids_again_while_busy(self) -> None:
        """The same while the callback still has the message that had the id before."""
        got: list[str] = []
        done: Deferred[None] = Deferred()

        def slowly(message: Message) -> Deferred[None] | None:
            got.append(message.body)
            return done if len(got) == 1 else None

        self.connect(on_message=slowly)
        self.given("one")
        self.session().cut()
        self.flush()
        self.put_back("other one")
        self.run_for(2)
        self.assertEqual((got, self.states()), (["one"], "w"))
        done.callback(None)
        self.flush()
        self.assertEqual((got, self.states()), (["one", "other one"], "d"))


class CommandTests(ClientTests):
    """The other things that an application can ask."""

    def test_boxes(self) -> None:
        """Listing and reading tell what the server tells."""
        client = self.connect()
        client.send("bob", "hello", "hi")
        listing, read = client.listing("sent", limit=5), client.read([1])
        self.flush()
        self.assertEqual([entry.subject for entry in self.successResultOf(listing).messages], ["hi"])
        self.assertEqual(self.successResultOf(read).missing, [1])

    def test_answer(self) -> None:
        """A program's answer is automatic, goes to the sender, and once for each message."""
        client = self.connect()
        message = Message(id=7, sender="bob", recipient="alice", time=TIME, body="Are you there?")
        for _ in range(2):
            answered = client.answer(message, "I am away.", "Away")
            self.flush()
            self.assertEqual(self.successResultOf(answered).id, 1)
        (sent,) = [each.message for each in self.server.ledger.values()]
        self.assertEqual(
            (sent.recipient, sent.subject, sent.body, sent.automatic, sent.answers),
            ("bob", "Away", "I am away.", True, message.id),
        )

    def test_no_answer_to_a_program(self) -> None:
        """What is automatic, or came back, is not answered: two programs cannot go on for ever."""
        client = self.connect()
        back = Returned(code="unknown-recipient", recipient="bbo", note="No.")
        for more in ({"automatic": True}, {"returned": back}):
            message = Message(id=7, sender="bob", recipient="alice", time=TIME, body="x", **more)
            self.failureResultOf(client.answer(message, "I am away."), Unanswerable)
        self.flush()
        self.assertEqual(self.server.ledger, {})

    def test_blocks(self) -> None:
        """Blocking, unblocking and asking are told whom the server tells."""
        client = self.connect()
        asked: list[Frame] = []
        names = ["mallory"]

        def answer(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, (Block, Unblock, Blocks)):
                return False
            asked.append(frame)
            return session.say(Blocked(usernames=names))

        self.server.answers.append(answer)
        for ask in (lambda: client.block("mallory"), lambda: client.unblock("eve"), client.blocked):
            told = ask()
            self.flush()
            self.assertEqual(self.successResultOf(told).usernames, names)
        self.assertEqual(asked, [Block(username="mallory"), Unblock(username="eve"), Blocks()])

    def test_change_password(self) -> None:
        """After a change the client logs in with the new password."""
        client = self.connect(tokens=False)
        changed = client.change_password("wonderland", "looking glass")
        self.flush()
        self.successResultOf(changed)
        self.session().cut()
        self.run_for(2)
        self.assertTrue(client.connected)

    def test_change_password_refused(self) -> None:
        """A change that is refused leaves the old password in use."""
        client = self.connect(tokens=False)
        changed = client.change_password("wrong", "looking glass")
        self.flush()
        self.assertEqual(self.failureResultOf(changed, Refused).value.code, "wrong-password")
        self.session().cut()
        self.run_for(2)
        self.assertTrue(client.connected)

    def test_change_password_cut_anywhere(self) -> None:
        """When the connection breaks during the change, the client finds the right password."""
        for cut, tokens in ((1, False), (2, False), (1, True), (2, True)):
            self.setUp()
            client = self.connect(tokens=tokens)
            self.server.cuts = {self.server.step + cut}
            changed = client.change_password("wonderland", "looking glass")
            self.flush()
            self.failureResultOf(changed, Disconnected)
            self.run_for(2)
            self.assertTrue(client.connected, cut)
            self.session().cut()
            self.run_for(2)
            self.assertTrue(client.connected, cut)

    def test_too_large(self) -> None:
        """What the server would take for an attack is not asked; the conversation goes on."""
        client = self.connect()
        failure = self.failureResultOf(client.search("x" * 600_000), Refused)
        self.assertEqual(failure.value.code, "too-large")
        pong = client.ping()
        self.flush()
        self.successResultOf(pong)

    def test_delete_account(self) -> None:
        """After its account is deleted, the client stops without an error."""
        client = self.connect()
        deleted = client.delete_account("wonderland")
        self.flush()
        self.successResultOf(deleted)
        self.assertEqual(self.stopped, [None])
        self.run_for(100)
        self.assertEqual(self.line.attempts, 1)
        self.assertNotIn("alice", self.server.accounts)


class TokenTests(ClientTests):
    """After the first login, a token stands for the password."""

    def setUp(self) -> None:
        """Remember what the application is told."""
        super().setUp()
        self.told: list[TokenIssued | None] = []
        self.clock.advance(milliseconds(TIME) / 1000)

    def fields(self) -> list[str]:
        """What was said at the prompts since this was last asked."""
        said = [frame.field for frame in self.server.frames(Login)]
        del self.server.heard[:]
        return said

    def again(self) -> list[str]:
        """Break the connection, and tell what is said at the next login."""
        self.session().cut()
        self.run_for(2)
        return self.fields()

    def test_resumed(self) -> None:
        """The password is said once; after that each connection is entered with the same token."""
        client = self.connect(on_token=self.told.append)
        self.assertEqual(self.fields(), ["username", "password"])
        for _ in range(2):
            self.assertEqual(self.again(), ["username", "token"])
            self.assertTrue(client.connected)
        self.assertEqual(self.server.issued, 1)
        self.assertEqual(self.told, [TokenIssued(value="token 1", expires=self.server.expires)])

    def test_not_taken(self) -> None:
        """A token that is not taken makes room for the password, and for another token."""
        client = self.connect(on_token=self.told.append)
        self.server.tokens = {}
        self.fields()
        self.assertEqual(self.again(), ["username", "token", "username", "password"])
        self.assertTrue(client.connected)
        self.assertEqual([each and each.value for each in self.told], ["token 1", None, "token 2"])
        self.assertEqual(self.again(), ["username", "token"])

    def test_server_without_tokens(self) -> None:
        """A server that knows none gets the password each time, also one that has taken tokens before."""
        client = self.connect()
        self.server.tokens = None
        self.fields()
        self.assertEqual(self.again(), ["username", "token", "password"])
        self.assertEqual(self.again(), ["username", "password"])
        self.assertTrue(client.connected)
        self.assertEqual(self.stopped, [])

    def test_not_wanted(self) -> None:
        """A client that is told not to does not ask for a token."""
        self.connect(tokens=False)
        self.fields()
        self.assertEqual(self.again(), ["username", "password"])
        self.assertEqual(self.server.frames(Token), [])

    def test_kept(self) -> None:
        """An application can keep the token and needs no password at the next start."""
        self.connect(on_token=self.told.append)
        (token,) = self.told
        self.fields()
        client = self.connect("alice", None, token=token, on_token=self.told.append)
        self.assertEqual(self.fields(), ["username", "token"])
        self.assertTrue(client.connected)
        self.assertEqual((self.told, self.server.issued), ([token], 1))

    def test_no_password(self) -> None:
        """Without a password, a token that is not taken is the end."""
        token = TokenIssued(value="old", expires=self.server.expires)
        client = self.client(password=None, token=token, on_token=self.told.append)
        started = client.start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-token")
        self.assertEqual(self.told, [None])
        self.assertEqual(len(self.stopped), 1)

    def test_new_password_without_one(self) -> None:
        """A client that came with a token only knows the password once it has set it."""
        self.server.tokens = {"kept": "alice"}
        token = TokenIssued(value="kept", expires=self.server.expires)
        client = self.connect("alice", None, token=token)
        refused = client.change_password("wrong", "looking glass")
        self.flush()
        self.failureResultOf(refused, Refused)
        self.successResultOf(self.flushed(client.change_password("wonderland", "looking glass")))
        self.server.tokens = {}
        self.fields()
        self.assertEqual(self.again(), ["username", "token", "username", "password"])
        self.assertTrue(client.connected)

    def flushed(self, deferred: Deferred[Any]) -> Deferred[Any]:
        """What was asked has been answered."""
        self.flush()
        return deferred

    def test_password_changed(self) -> None:
        """After a new password the old token is forgotten, and a new one is asked for."""
        client = self.connect(on_token=self.told.append)
        self.successResultOf(self.flushed(client.change_password("wonderland", "looking glass")))
        self.assertEqual([each and each.value for each in self.told], ["token 1", None, "token 2"])
        self.fields()
        self.assertEqual(self.again(), ["username", "token"])

    def test_renewed(self) -> None:
        """A day before its end it is replaced, on the connection there is."""
        client = self.connect(on_token=self.told.append)
        self.server.expires = "2027-01-21T21:07:00.000Z"
        self.run_for(29 * DAY - 60, 50)
        self.assertEqual(self.server.issued, 1)
        self.run_for(120, 50)
        self.assertEqual([each and each.value for each in self.told], ["token 1", "token 2"])
        self.assertTrue(client.connected)
        self.fields()
        self.assertEqual(self.again(), ["username", "token"])
        self.assertEqual(self.server.issued, 2)

    def test_renewed_after_the_login(self) -> None:
        """When that day comes without a connection, it is replaced at the next login."""
        self.connect(backoff=Backoff(first=40 * DAY, cap=40 * DAY, chance=lambda: 1.0))
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.clock.pump([DAY] * 29 + [DAY / 2])
        self.line.broken = False
        self.assertEqual(self.server.issued, 1)
        self.server.expires = "2028-01-21T21:07:00.000Z"
        self.fields()
        self.run_for(40 * DAY, DAY)
        self.assertEqual(self.fields()[:2], ["username", "token"])
        self.assertEqual(self.server.issued, 2)

    def test_short(self) -> None:
        """One that lives for an hour only is replaced after half of it."""
        self.server.expires = "2026-11-22T22:07:00.123Z"
        self.connect()
        self.run_for(29 * 60, 20)
        self.assertEqual(self.server.issued, 1)
        self.run_for(2 * 60, 20)
        self.assertGreater(self.server.issued, 1)

    def test_clocks_differ(self) -> None:
        """When it has ended by this clock, it is tried all the same, and asked for once at each login."""
        self.server.expires = "2026-11-22T20:00:00.000Z"
        self.connect()
        self.run_for(3600, 20)
        self.assertEqual(self.server.issued, 1)
        self.fields()
        self.assertEqual(self.again(), ["username", "token"])
        self.assertEqual(self.server.issued, 2)

    def test_cut_while_showing_it(self) -> None:
        """A connection that breaks behind the token proves nothing against it."""
        client = self.connect(on_token=self.told.append)
        self.fields()
        self.server.cuts = {self.server.step + 5}  # version, username, our name, password, and the token
        self.again()
        self.run_for(10)
        self.assertEqual(self.fields(), ["username", "token"])
        self.assertTrue(client.connected)
        self.assertEqual(len(self.told), 1)

    def test_other_refusals(self) -> None:
        """Whatever else the server refuses before the login is not blamed on the token."""
        client = self.connect(on_token=self.told.append)

        def busy(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, Login) or frame.field != "token":
                return False
            self.server.answers.remove(busy)
            return session.say(Failed(code="slow-down", reason="Later.", seconds=1), Username())

        self.server.answers.append(busy)
        self.fields()
        self.assertEqual(self.again(), ["username", "token"])
        self.run_for(10)
        self.assertEqual(self.fields(), ["username", "token"])
        self.assertTrue(client.connected)
        self.assertEqual(len(self.told), 1)

    def test_callback_fails(self) -> None:
        """A mistake in the application's callback does not disturb the client."""

        def broken(_: object) -> None:
            raise ZeroDivisionError

        client = self.connect(on_token=broken)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(client.connected)

    def test_further_token(self) -> None:
        """An application can ask for tokens to give away; the client's own stays."""
        client = self.connect(on_token=self.told.append)
        token = self.successResultOf(self.flushed(client.new_token()))
        self.assertEqual(token.value, "token 2")
        self.assertEqual(len(self.told), 1)
        self.failureResultOf(self.client().new_token(), Disconnected)

    def test_log_out(self) -> None:
        """After logging out the token is worth nothing, and the client has stopped."""
        for everywhere in (False, True):
            del self.stopped[:]
            client = self.connect(on_token=self.told.append)
            self.successResultOf(self.flushed(client.log_out(everywhere)))
            self.assertEqual(self.server.frames(Logout)[-1].all, everywhere)
            self.assertIs(self.told[-1], None)
            self.assertEqual(self.server.tokens, {})
            self.assertEqual(self.stopped, [None])
            self.failureResultOf(client.log_out(), Stopped)

    def test_deleted(self) -> None:
        """A deleted account leaves no token to keep."""
        client = self.connect(on_token=self.told.append)
        self.successResultOf(self.flushed(client.delete_account("wonderland")))
        self.assertIs(self.told[-1], None)

    def test_secret(self) -> None:
        """A token is not in what a log could show."""
        client = self.connect(on_token=self.told.append)
        shown = [*self.told, *self.server.heard, client._token, vars(client._entrance)]
        self.assertNotIn("token 1", repr(shown))


class TokenDerTests(TokenTests):
    """The same in DER."""

    codec = Codec.DER


class CutTests(ClientTests):
    """The promise: whatever breaks, nothing is lost and nothing is doubled."""

    def conversation(self, cuts: set[int]) -> int:
        """Two clients write to each other while connections break; the steps it took."""
        self.setUp()
        self.server.cuts = cuts
        got: dict[str, list[str]] = {"alice": [], "bob": []}
        clients = {
            name: self.client(
                name,
                password,
                on_message=lambda message, name=name: got[name].append(message.body),
            )
            for name, password in self.server.accounts.items()
        }
        sent: dict[str, list[Deferred[Accepted]]] = {"alice": [], "bob": []}
        fates: list[Deferred[Fate]] = []

        def accepted(client: Client, answer: Accepted) -> Accepted:
            fates.append(client.delivered(answer.id))
            return answer

        for number in range(3):
            for name, other in (("alice", "bob"), ("bob", "alice")):
                client = clients[name]
                each = client.send(other, f"{name} {number}", receipt=True)
                each.addCallback(partial(accepted, client))
                sent[name].append(each)
            if number == 0:
                for client in clients.values():
                    client.start()
            self.flush()
        nowhere = clients["alice"].send("nobody", "alice lost")
        nowhere.addCallback(partial(accepted, clients["alice"]))
        self.run_for(90, 1)
        context = f"cuts at {sorted(cuts)}"
        self.assertEqual(got["bob"], ["alice 0", "alice 1", "alice 2"], context)
        self.assertEqual(sorted(got["alice"]), ["alice lost", "bob 0", "bob 1", "bob 2"], context)
        self.assertEqual(len(self.server.ledger), 7, context)
        ids = [self.successResultOf(each).id for name in sent for each in sent[name]]
        ids.append(self.successResultOf(nowhere).id)
        self.assertEqual(sorted(ids), [1, 2, 3, 4, 5, 6, 7], context)
        states = [self.successResultOf(fate).state for fate in fates]
        self.assertEqual(sorted(states), ["delivered"] * 6 + ["returned"], context)
        self.assertTrue(all(s.gone or s.state == "delivered" for s in self.server.ledger.values()), context)
        self.assertEqual([client.unaccepted for client in clients.values()], [0, 0], context)
        return self.server.step

    def every_cut(self) -> Iterator[set[int]]:
        """One cut at each step, and pairs of cuts close together and far apart."""
        steps = self.conversation(set())
        self.assertGreater(steps, 40)
        for step in range(1, steps + 1):
            yield {step}
            yield {step, step + 1, step + 2}
            yield {step, step + 7, step + 19}

    def test_cut_anywhere(self) -> None:
        """Connections that break at any frame lose nothing and double nothing."""
        for cuts in self.every_cut():
            self.conversation(cuts)


class CutDerTests(CutTests):
    """The same over the other codec."""

    codec = Codec.DER


class AddressTests(SynchronousTestCase):
    """Where the server is, in a person's words."""

    def target(self, address: str) -> tuple[str, object]:
        """What a connection to this address would open."""
        reactor = MemoryReactorClock()
        endpoint = endpoint_from(reactor, address)
        return type(endpoint).__name__, vars(endpoint)

    def test_host_and_port(self) -> None:
        """HOST:PORT is a host's name or address and a port."""
        for address, host in (
            ("localhost:5311", "localhost"),
            ("127.0.0.1:5311", "127.0.0.1"),
            ("[::1]:5311", "::1"),
        ):
            name, parts = self.target(address)
            self.assertEqual(name, "HostnameEndpoint")
            self.assertEqual(parts["_port"], 5311)  # type: ignore[index]
            self.assertIn(host, parts["_hostText"])  # type: ignore[index]

    def test_unix(self) -> None:
        """What follows C{unix:} is the path as it is."""
        name, parts = self.target("unix:/var/run/chat:1.sock")
        self.assertEqual((name, parts["_path"]), ("UNIXClientEndpoint", "/var/run/chat:1.sock"))  # type: ignore[index]

    def test_twisted(self) -> None:
        """Twisted's own endpoint strings are taken, too."""
        self.assertEqual(self.target("tcp:localhost:5311")[0], "TCP4ClientEndpoint")
        self.assertEqual(self.target("unix:path=/x:timeout=5")[0], "UNIXClientEndpoint")

    def test_refused(self) -> None:
        """What is no address is refused with the reason."""
        for address in ("", "somewhere", "host:0", "host:70000", "unix:", "a b:1", "nonsense:1:2", "tls://"):
            with self.assertRaises(ValueError, msg=address) as caught:
                endpoint_from(MemoryReactorClock(), address)
            self.assertIn(repr(address), str(caught.exception))


class CodeTests(SynchronousTestCase):
    """The client's errors."""

    def test_codes_are_plain_text(self) -> None:
        """A code reads like the code on the wire, whichever side made it."""
        self.assertEqual(Refused(Code.TOO_LARGE.value, "Too large.").code, "too-large")
        self.assertEqual(str(Refused("too-large", "Too large.")), "Too large. (too-large)")
