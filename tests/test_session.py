"""The session alone: what it says to every frame in every state, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Coroutine, Sequence, Union, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chat.codes import RECOVERY_CODES
from chat.course import BYTES_UNDER_WAY, ID_BYTES, SENDS_UNDER_WAY, State
from chat.errors import Code, FatalError, Refusal, account_gone
from chat.limits.allowance import UNLIMITED, Allowance, Rate
from chat.messages import (
    LOGIN_FRAME_BYTES,
    SYSTEM,
    USER_FRAME_BYTES,
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
    Failed,
    Fatal,
    Found,
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
    Recovery,
    RecoveryCodes,
    Search,
    System,
    Token,
    TokenIssued,
    Unblock,
    Username,
    Version,
    Welcome,
    keyword,
)
from chat.notices import NOTICE_BYTES, NOTICED_BYTES, NOTICES_KEPT
from chat.origin import LOCAL
from chat.session import Session
from tests.network import SERVER, Network
from tests.talker import password

#: A prompt of the login, or a state.
Standing = Union[type[System], State]

TIME = "2026-11-22T21:07:00.123Z"


class Connection:
    """The peer of a session, which writes down what it is told."""

    def __init__(self) -> None:
        self.origin = LOCAL
        self.paused = False
        self.frames: list[Frame] = []
        self.closed = False
        self.kept = 0
        self.failures: list[Failure] = []
        self.when_resumed: Callable[[], None] = lambda: None

    def send(self, frames: Sequence[Frame]) -> None:
        """See L{chat.ports.Peer.send}."""
        if not self.closed:
            self.frames += frames

    def keep(self, size: int) -> None:
        """See L{chat.ports.Peer.keep}."""
        self.kept = size

    def close(self) -> None:
        """See L{chat.ports.Peer.close}."""
        self.closed = True

    def resume(self) -> None:
        """See L{chat.ports.Peer.resume}."""
        self.when_resumed()

    def wait(self, seconds: float) -> Deferred[None]:
        """See L{chat.ports.Peer.wait}: no time passes here."""
        return Deferred()

    def run(self, steps: Coroutine[Any, Any, None]) -> None:
        """See L{chat.ports.Peer.run}."""
        Deferred.fromCoroutine(steps).addErrback(self.failures.append)

    def heard(self) -> str:
        """What was said since this was last asked, as L{spell} writes it."""
        frames, self.frames = self.frames, []
        return spell(frames)


def spell(frames: Sequence[Frame]) -> str:
    """Frames by their keywords, with the code of those that have one: C{"failed bad-state, username"}."""
    words = []
    for frame in frames:
        word = keyword(frame) if isinstance(frame, System) else type(frame).__name__.lower()
        words.append(f"{word} {frame.code}" if isinstance(frame, (Failed, Fatal)) else word)
    return ", ".join(words)


class SessionTestCase(SynchronousTestCase):
    """A server without connections: the sessions are driven by hand."""

    def setUp(self) -> None:
        """Start it."""
        self.names = 0
        self.begin()

    def begin(self) -> None:
        """Start a server that was never used."""
        self.network = Network(Path(self.mktemp()))
        self.addCleanup(self.network.close)

    def settle(self) -> None:
        """Let the store do what it was asked."""
        self.network.clock.advance(0)

    def session(self) -> tuple[Session, Connection]:
        """A session that has said its greeting."""
        connection = Connection()
        session = self.network.converse(connection)
        session.start()
        connection.frames.clear()
        return session, connection

    def tell(self, session: Session, *incoming: Incoming) -> None:
        """Hand in frames one by one, as a door does before the login, and settle."""
        for frame in incoming:
            session.receive([frame])
            self.settle()

    def user(self, name: str = "", secret: str = "") -> tuple[Session, Connection]:
        """A session that is logged in, as a new user if there was none of that name."""
        if not name:
            self.names += 1
            name = f"user{self.names}"
        session, connection = self.session()
        while session.state is not State.USER:
            self.tell(session, Login(field="username", value=name))
            self.tell(session, Login(field="password", value=secret or password(name)))
        connection.frames.clear()
        return session, connection


def examples(known: str) -> dict[str, Incoming]:
    """What is handed to the session for each row of the table; C{known} has an account."""
    return {
        "login username": Login(field="username", value=known),
        "login password": Login(field="password", value=password(known)),
        "login token": Login(field="token", value="no token"),
        "login invite": Login(field="invite", value="no code"),
        "login recovery": Login(field="recovery", value="no code"),
        "login other": Login(field="nickname", value=known),
        "message": Message(recipient=known, body="hi"),
        "version": Version(protocol=1, server="me"),
        "username": Username(),
        "password": Password(),
        "new-password": NewPassword(),
        "created": Created(username=known),
        "welcome": Welcome(username=known, waiting=0),
        "failed": Failed(code="bad-frame", reason="Yours."),
        "fatal": Fatal(code="shutting-down", reason="Me, too."),
        "accepted": Accepted(id=1, time=TIME, state="waiting"),
        "received": Received(ids=[1]),
        "delivered": Delivered(ids=[1], time=TIME),
        "delete": Delete(ids=[1]),
        "deleted": Deleted(ids=[1], missing=[]),
        "list": List(box="inbox"),
        "list other": List(box="attic"),
        "list both": List(box="inbox", after=1, before=0),
        "listing": Listing(box="inbox", messages=[], more=False),
        "read": Read(ids=[1]),
        "read 101": Read(ids=list(range(101))),
        "messages": Messages(messages=[], missing=[]),
        "delete-account": DeleteAccount(password=password(known)),
        "delete-account bad": DeleteAccount(password="not the password"),
        "account-deleted": AccountDeleted(),
        "ping": Ping(),
        "pong": Pong(),
        "quit": Quit(),
        "bye": Bye(),
        "change-password": ChangePassword(password=password(known), new="another password"),
        "change-password short": ChangePassword(password=password(known), new="short"),
        "change-password bad": ChangePassword(password="not the password", new="another password"),
        "password-changed": PasswordChanged(),
        "token": Token(),
        "token-issued": TokenIssued(value="a token", expires=TIME),
        "logout": Logout(),
        "logout all": Logout(all=True),
        "logged-out": LoggedOut(),
        "recovery": Recovery(password=password(known)),
        "recovery bad": Recovery(password="not the password"),
        "recovery-codes": RecoveryCodes(codes=[]),
        "block": Block(username="nobody"),
        "unblock": Unblock(username=known),
        "blocks": Blocks(),
        "blocked": Blocked(usernames=[]),
        "search": Search(query="x"),
        "search bad": Search(query=""),
        "found": Found(messages=[], more=False),
        "Answer failed": Answer(Failed(code="bad-frame", reason="No frame.")),
        "Answer fatal": Answer(Fatal(code="malformed-frame", reason="No JSON.")),
        "Answer bye": Answer(Bye()),
        "Answer other": Answer(Pong()),
    }


#: What is said to each frame in each state.  C{+} is the prompt of the state, said again.
#: C{later}: nothing before the command under way is answered, then what C{user} says;
#: C{-}: nothing at all.  The connection is closed after C{fatal} and C{bye}.
TABLE = """
                      | username   | password     | new-password | user             | busy  | closed
login username        | password   | bad-state+   | bad-state+   | bad-state        | later | -
login password        | bad-state+ | welcome      | created+     | bad-state        | later | -
login token           | bad-state+ | wrong-token+ | wrong-token+ | bad-state        | later | -
login invite          | username   | bad-state+   | bad-state+   | bad-state        | later | -
login recovery        | bad-state+ | wrong-recovery+ | wrong-recovery+ | bad-state  | later | -
login other           | bad-frame+ | bad-frame+   | bad-frame+   | bad-state        | later | -
message               | bad-state+ | bad-state+   | bad-state+   | accepted         | later | -
version               | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
username              | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
password              | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
new-password          | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
created               | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
welcome               | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
failed                | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
fatal                 | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
accepted              | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
received              | bad-state+ | bad-state+   | bad-state+   | -                | later | -
delivered             | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
delete                | bad-state+ | bad-state+   | bad-state+   | deleted          | later | -
deleted               | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
list                  | bad-state+ | bad-state+   | bad-state+   | listing          | later | -
list other            | bad-state+ | bad-state+   | bad-state+   | bad-frame        | later | -
list both             | bad-state+ | bad-state+   | bad-state+   | bad-frame        | later | -
listing               | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
read                  | bad-state+ | bad-state+   | bad-state+   | messages         | later | -
read 101              | bad-state+ | bad-state+   | bad-state+   | too-large        | later | -
messages              | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
delete-account        | bad-state+ | bad-state+   | bad-state+   | account-deleted+ | later | -
delete-account bad    | bad-state+ | bad-state+   | bad-state+   | wrong-password   | later | -
account-deleted       | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
ping                  | bad-state+ | bad-state+   | bad-state+   | pong             | later | -
pong                  | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
quit                  | bad-state+ | bad-state+   | bad-state+   | bye              | later | -
bye                   | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
change-password       | bad-state+ | bad-state+   | bad-state+   | password-changed | later | -
change-password short | bad-state+ | bad-state+   | bad-state+   | bad-password     | later | -
change-password bad   | bad-state+ | bad-state+   | bad-state+   | wrong-password   | later | -
password-changed      | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
token                 | bad-state+ | bad-state+   | bad-state+   | token-issued     | later | -
token-issued          | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
logout                | bad-state+ | bad-state+   | bad-state+   | logged-out+      | later | -
logout all            | bad-state+ | bad-state+   | bad-state+   | logged-out+      | later | -
logged-out            | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
recovery              | bad-state+ | bad-state+   | bad-state+   | recovery-codes   | later | -
recovery bad          | bad-state+ | bad-state+   | bad-state+   | wrong-password   | later | -
recovery-codes        | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
block                 | bad-state+ | bad-state+   | bad-state+   | unknown-recipient| later | -
unblock               | bad-state+ | bad-state+   | bad-state+   | bad-frame        | later | -
blocks                | bad-state+ | bad-state+   | bad-state+   | blocked          | later | -
blocked               | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
search                | bad-state+ | bad-state+   | bad-state+   | found            | later | -
search bad            | bad-state+ | bad-state+   | bad-state+   | bad-query        | later | -
found                 | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
Answer failed         | bad-frame+ | bad-frame+   | bad-frame+   | bad-frame        | later | -
Answer fatal          | fatal      | fatal        | fatal        | fatal            | later | -
Answer bye            | bye        | bye          | bye          | bye              | later | -
Answer other          | pong       | pong         | pong         | pong             | later | -
"""


def parse(table: str) -> tuple[list[str], dict[str, list[str]]]:
    """The names of the columns, and the cells of each row by its name."""
    lines = [[cell.strip() for cell in line.split("|")] for line in table.strip("\n").splitlines()]
    return lines[0][1:], {row[0]: row[1:] for row in lines[1:]}


COLUMNS, ROWS = parse(TABLE)
#: Where each column begins: the prompt, or the state; C{busy} is logged in, too.
STANDINGS: dict[str, Standing] = dict(
    zip(COLUMNS, [Username, Password, NewPassword, State.USER, State.USER, State.CLOSED])
)
#: After these the user name is asked for, whatever was before.
_BEGINNING_AGAIN = ("created", "wrong-token", "wrong-recovery", "account-deleted", "logged-out")
REFUSALS = frozenset(code.value for code in Code) - {"account-deleted", "blocked"}


def standing(session: Session) -> Standing:
    """The prompt a session awaits the answer to, or its state when it is past the login."""
    return type(session.prompt) if session.state is State.LOGIN else session.state


def expand(cell: str, standing: Standing) -> str:
    """A cell as L{spell} would write what it stands for."""
    if cell == "-":
        return ""
    word = cell.rstrip("+")
    if word == "fatal":
        return "fatal malformed-frame"
    said = f"failed {word}" if word in REFUSALS else word
    begins = standing in tuple(State) or word in _BEGINNING_AGAIN
    again = "username" if begins else keyword(cast("type[System]", standing))
    return f"{said}, {again}" if cell.endswith("+") else said


class TableTests(SessionTestCase):
    """Every frame in every state has an outcome, and it is the one that is written down."""

    def test_everyFrame(self) -> None:
        """The table has a row for every type of frame, those that only servers say included."""
        rows = examples("somebody")
        self.assertEqual(list(ROWS), list(rows))
        kinds = {type(incoming) for incoming in rows.values()}
        self.assertEqual(kinds, {Login, Message, Answer, *SYSTEM})
        self.assertEqual(set(Union[SYSTEM].__args__), set(SYSTEM))  # type: ignore[attr-defined]

    def test_everyState(self) -> None:
        """The table has a column for every state, and for every prompt of the login."""
        expected = {*State, Username, Password, NewPassword} - {State.LOGIN}
        self.assertEqual(set(STANDINGS.values()), expected)
        self.assertEqual({len(cells) for cells in ROWS.values()}, {len(COLUMNS)})

    def stand(self, column: str, known: str) -> tuple[Session, Connection]:
        """A session in the state of this column; C{busy} is answering a C{list}."""
        if column in ("user", "busy"):
            session, connection = self.user(known)
            if column == "busy":
                session.receive([List(box="inbox")])
            return session, connection
        session, connection = self.session()
        if column == "password":
            self.tell(session, Login(field="username", value=known))
        elif column == "new-password":
            self.tell(session, Login(field="username", value=f"not-{known}"))
        elif column == "closed":
            session.lost()
        connection.frames.clear()
        return session, connection

    def check(self, column: str) -> None:
        """Try every row of this column, each with an account of its own."""
        begin = STANDINGS[column]
        for number, (name, cells) in enumerate(ROWS.items()):
            known = f"known{number}"
            self.user(known)[0].lost()
            session, connection = self.stand(column, known)
            self.assertIs(standing(session), begin, name)
            cell = cells[COLUMNS.index(column)]
            session.receive([examples(known)[name]])
            if cell == "later":
                self.assertEqual(connection.heard(), "", name)
                self.assertFalse(session.ready)
                cell = cells[COLUMNS.index("user")]
                expected = ", ".join(filter(None, ["listing", expand(cell, begin)]))
            else:
                expected = expand(cell, begin)
            self.settle()
            if name == "message" and cell == "accepted":
                self.assertIsInstance(connection.frames.pop(), Message)  # it wrote to itself
            self.assertEqual(connection.heard(), expected, name)
            self.assertEqual(connection.closed, cell in ("fatal", "bye"), name)
            if cell.startswith(("bad-state", "bad-frame")):
                self.assertIs(standing(session), begin, name)
            self.assertEqual(connection.failures, [], name)

    def test_username(self) -> None:
        """A session that waits for the user name."""
        self.check("username")

    def test_password(self) -> None:
        """A session that waits for the password."""
        self.check("password")

    def test_newPassword(self) -> None:
        """A session that waits for a new password."""
        self.check("new-password")

    def test_user(self) -> None:
        """A session that is logged in."""
        self.check("user")

    def test_busy(self) -> None:
        """A session that is logged in and carries out a command."""
        self.check("busy")

    def test_closed(self) -> None:
        """A session that is over."""
        self.check("closed")


class GreetingTests(SessionTestCase):
    """What a session says before it is asked."""

    def test_greeting(self) -> None:
        """The server speaks first: its version, then the prompt."""
        connection = Connection()
        self.network.converse(connection).start()
        self.assertEqual(connection.frames, [Version(protocol=1, server=SERVER), Username()])

    def test_limits(self) -> None:
        """A frame may have 4 KiB before the login, and 512 KiB after it."""
        session, _ = self.session()
        self.assertEqual((session.limit, session.logged_in), (4096, False))
        self.assertEqual(LOGIN_FRAME_BYTES, 4096)
        session, _ = self.user()
        self.assertEqual((session.limit, session.logged_in), (524288, True))
        self.assertEqual(USER_FRAME_BYTES, 524288)


class LoginTests(SessionTestCase):
    """From the first prompt to the welcome."""

    def test_recoveryCodes(self) -> None:
        """Who asks for them with the password of a new account is told its recovery codes."""
        session, connection = self.session()
        self.tell(session, Login(field="username", value="newcomer"))
        self.tell(session, Login(field="password", value="long enough", codes=True))
        created = connection.frames[1]
        assert isinstance(created, Created)
        self.assertEqual(len(set(created.recovery)), RECOVERY_CODES)

    def test_createdThenUsername(self) -> None:
        """A new account is not logged in: the user name is asked again, and the new name is known."""
        session, connection = self.session()
        self.tell(session, Login(field="username", value="Newcomer"))
        self.assertEqual(connection.heard(), "new-password")
        self.tell(session, Login(field="password", value="long enough"))
        self.assertEqual(connection.frames, [Created(username="newcomer"), Username()])
        connection.frames.clear()
        self.tell(session, Login(field="username", value="NEWCOMER"))
        self.assertEqual(connection.heard(), "password")

    def test_refusals(self) -> None:
        """A name that can be none, a wrong or a bad password: the reason, then the user name again."""
        self.user("known")
        session, connection = self.session()
        for name in ("", "two words", "x" * 65, "nul\0", "a/\u2028b", "\ud800"):
            self.tell(session, Login(field="username", value=name))
            self.assertEqual(connection.heard(), "failed bad-name, username", repr(name))
        for name, chosen, refusal in (
            ("known", "wrong password", "wrong-password"),
            ("known", "", "wrong-password"),
            ("known", "x" * 1025, "wrong-password"),
            ("unknown", "1234567", "bad-password"),
            ("unknown", "x" * 1025, "bad-password"),
            ("unknown", "bell\a and whistle", "bad-password"),
        ):
            self.tell(session, Login(field="username", value=name))
            connection.frames.clear()
            self.tell(session, Login(field="password", value=chosen))
            self.assertEqual(connection.heard(), f"failed {refusal}, username", repr(chosen))
            self.assertIs(standing(session), Username)

    def test_recoveryForgotten(self) -> None:
        """Whoever has shown a recovery code and begins again with a new name makes an account of that."""
        session, connection = self.session()
        self.tell(session, Login(field="username", value="known"))
        self.tell(session, Login(field="password", value=password("known"), codes=True))
        created = connection.frames[1]
        assert isinstance(created, Created)
        connection.frames.clear()
        self.tell(session, Login(field="username", value="known"))
        self.tell(session, Login(field="recovery", value=created.recovery[0]))
        self.tell(session, Login(field="password", value="short"))
        self.assertEqual(connection.heard(), "password, new-password, failed bad-password, username")
        self.tell(session, Login(field="username", value="newcomer"))
        self.tell(session, Login(field="password", value="long enough"))
        self.assertEqual(connection.heard(), "new-password, created, username")
        self.user("known")

    def test_slowDown(self) -> None:
        """When too many log in at once, the session says when to come back."""

        async def offer(name: str, invitation: bytes | None, network: str | None) -> bool:
            raise Refusal(Code.SLOW_DOWN, "Too many.", seconds=7)

        self.patch(self.network.accounts, "offer", offer)
        session, connection = self.session()
        self.tell(session, Login(field="username", value="known"))
        self.assertEqual(
            connection.frames, [Failed(code="slow-down", reason="Too many.", seconds=7), Username()]
        )

    def test_goneWhileHashing(self) -> None:
        """An account that is deleted while its password is checked lets nobody in."""
        other, _ = self.user("known")
        session, connection = self.session()
        self.tell(session, Login(field="username", value="known"))
        connection.frames.clear()
        self.network.hashing.slow = True
        self.tell(session, Login(field="password", value=password("known")))
        self.network.hashing.slow = False
        self.tell(other, DeleteAccount(password=password("known")))
        self.network.hashing.finish()
        self.settle()
        self.assertEqual(connection.heard(), "failed wrong-password, username")

    def test_goneWhileEntering(self) -> None:
        """An account that is deleted between the password and the welcome ends the session."""
        session, connection = self.session()
        self.user("known")
        self.tell(session, Login(field="username", value="known"))
        connection.frames.clear()
        waiting: Deferred[Any] = Deferred()

        async def mailbox(account: object) -> Any:
            return await waiting

        self.patch(self.network.mailroom, "mailbox", mailbox)
        self.tell(session, Login(field="password", value=password("known")))
        session.expel(account_gone())
        self.assertEqual(connection.heard(), "")
        waiting.callback(None)
        self.assertEqual(connection.heard(), "fatal account-gone")
        self.assertTrue(connection.closed)

    def test_noticeBeforeWelcome(self) -> None:
        """A session is told of no delivery before it is welcome."""
        self.user("known")
        session, connection = self.session()
        self.tell(session, Login(field="username", value="known"))
        connection.frames.clear()
        waiting: Deferred[Any] = Deferred()
        mailbox = self.network.mailroom.mailbox

        async def slow(account: Any) -> Any:
            await waiting
            return await mailbox(account)

        self.patch(self.network.mailroom, "mailbox", slow)
        self.tell(session, Login(field="password", value=password("known")))
        session.notify(Delivered(ids=[1], time=TIME))
        session.push([])
        session.more()
        self.assertFalse(session.live)
        self.assertEqual(connection.heard(), "")
        waiting.callback(None)
        self.settle()
        self.assertEqual(connection.heard(), "welcome")


class OrderTests(SessionTestCase):
    """Answers come in the order of the frames, whatever each of them takes."""

    def test_mixed(self) -> None:
        """Sends, refused sends, pings, lists, deletes and bad frames, all in one go."""
        session, connection = self.user()
        good = Message(recipient="nobody", body="hi")
        long = Message(recipient="nobody", body="x" * 65537)
        frames: list[Incoming] = [
            good,
            good,
            long,
            Ping(),
            long,
            List(box="sent"),
            Answer(Failed(code="bad-frame", reason="No frame.")),
            List(box="attic"),
            good,
            Received(ids=[5]),
            Delete(ids=[99]),
            Read(ids=[99]),
            long,
            Ping(),
        ]
        session.receive(frames)
        self.settle()
        connection.frames = [frame for frame in connection.frames if not isinstance(frame, Message)]
        self.assertEqual(
            connection.heard(),
            "accepted, accepted, failed too-large, pong, failed too-large, listing, failed bad-frame,"
            " failed bad-frame, accepted, deleted, messages, failed too-large, pong",
        )
        self.assertEqual(connection.failures, [])

    def test_manyRefusedCommands(self) -> None:
        """As many commands as one read can hold, each refused without asking the store."""
        session, connection = self.user()
        session.receive([List(box="attic")] * 2000)
        self.settle()
        self.assertEqual(connection.failures, [])
        self.assertEqual(connection.heard(), ", ".join(["failed bad-frame"] * 2000))

    def test_answeredAtOnce(self) -> None:
        """What the connection hands in while a refusal is said comes after what came before it."""
        session, connection = self.user()
        session.receive([List(box="inbox")])
        session.receive([Message(recipient="nobody", body="x" * 65537), Ping()])
        more: list[Incoming] = [List(box="attic")]

        def hand_in() -> None:
            if more and session.ready:
                session.receive([more.pop()])

        connection.when_resumed = hand_in
        self.settle()
        self.assertEqual(connection.heard(), "listing, failed too-large, pong, failed bad-frame")

    def test_lastMessagesAnsweredAtOnce(self) -> None:
        """What is handed in while the last frame is refused is not forgotten."""
        session, connection = self.user()
        more: list[Incoming] = [Ping()]

        def hand_in() -> None:
            if more:
                session.receive([more.pop()])

        connection.when_resumed = hand_in
        many = 17  # bodies that are more together than may be under way: the session asks for more after them
        session.receive([Message(recipient="nobody", body="x" * 65537)] * many)
        self.assertEqual(connection.heard(), "failed too-large, " * many + "pong")

    def test_oneKind(self) -> None:
        """Messages that arrive together go to the mailroom together, be they alone or among others."""
        session, connection = self.user()
        sizes: list[int] = []
        accept = self.network.mailroom.accept

        def counted(sender: Any, messages: Sequence[Message], *rest: Any) -> None:
            sizes.append(len(messages))
            accept(sender, messages, *rest)

        self.patch(self.network.mailroom, "accept", counted)
        message = Message(recipient="nobody", body="hi")
        for batch in ([message], [message] * 3, [message] * 2 + [Ping()] + [message]):
            session.receive(batch)
            self.settle()
        self.assertEqual(sizes, [1, 3, 2, 1])
        connection.frames = [frame for frame in connection.frames if not isinstance(frame, Message)]
        self.assertEqual(connection.heard(), "accepted, " * 6 + "pong, accepted")

    def test_behindReceipt(self) -> None:
        """What arrives together with a receipt is answered."""
        session, connection = self.user()
        session.receive([Received(ids=[1]), Ping(), Received(ids=[2])])
        self.assertEqual(connection.heard(), "pong")

    def test_behindDeletion(self) -> None:
        """What arrives while the account is being deleted is taken once it is gone."""
        session, connection = self.user("alice")
        session.receive([DeleteAccount(password=password("alice"))])
        session.receive([Message(recipient="nobody", body="hi")])
        self.settle()
        self.assertEqual(connection.heard(), "account-deleted, username, failed bad-state, username")

    def test_behindOthers(self) -> None:
        """What arrives is taken behind what waits, and only once the client reads what it is told."""
        session, connection = self.user()
        refused = Message(recipient="nobody", body="x" * 65537)
        for held in (List(box="sent"), None):
            if held is not None:
                session.receive([held])
            connection.paused = held is None
            session.receive([refused])
            session.receive([Received(ids=[1])])
            session.receive([refused, refused])
            session.receive([Ping()])
            self.assertEqual(connection.heard(), "")
            connection.paused = False
            session.drained()
            self.settle()
            first = "" if held is None else "listing, "
            self.assertEqual(connection.heard(), first + "failed too-large, " * 3 + "pong")
        session.receive([refused])
        self.assertEqual(connection.heard(), "failed too-large")

    def test_malformedAfterGood(self) -> None:
        """What came before a malformed frame is answered, then the session ends; what follows is nothing."""
        session, connection = self.user()
        session.receive(
            [
                Message(recipient="nobody", body="hi"),
                List(box="sent"),
                Ping(),
                Answer(Fatal(code="malformed-frame", reason="No JSON.")),
                Ping(),
            ]
        )
        self.assertFalse(connection.closed)
        self.settle()
        self.assertEqual(connection.heard(), "accepted, message, listing, pong, fatal malformed-frame")
        self.assertTrue(connection.closed)

    def test_byeAfterAll(self) -> None:
        """C{bye} comes after the answers to everything asked before it, and nothing after it."""
        session, connection = self.user()
        session.receive([Message(recipient="nobody", body="hi"), Quit(), Ping()])
        session.receive([Ping()])
        self.assertEqual(connection.heard(), "")
        self.settle()
        self.assertEqual(connection.heard(), "accepted, bye")
        self.assertTrue(connection.closed)
        self.assertIs(session.state, State.CLOSED)

    def test_pipelinedLogin(self) -> None:
        """Frames behind the password wait for the welcome."""
        self.user("known")
        session, connection = self.session()
        session.receive(
            [
                Login(field="username", value="known"),
                Login(field="password", value=password("known")),
                Message(recipient="nobody", body="hi"),
                Ping(),
            ]
        )
        self.settle()
        self.assertEqual(connection.heard(), "password, welcome, accepted, pong, message")

    def test_pipelinedLogout(self) -> None:
        """Whoever logs out while the mailbox is being read is shown nothing of it any more."""
        known, _ = self.user("known")
        known.receive([Message(recipient="known", body="hi")])
        self.settle()
        session, connection = self.session()
        session.receive(
            [
                Login(field="username", value="known"),
                Login(field="password", value=password("known")),
                Logout(),
            ]
        )
        self.settle()
        self.assertEqual(connection.heard(), "password, welcome, logged-out, username")

    def test_pipelinedBehindWrongPassword(self) -> None:
        """Frames behind a password that is wrong are refused, each with the prompt."""
        self.user("known")
        session, connection = self.session()
        session.receive(
            [
                Login(field="username", value="known"),
                Login(field="password", value="not the password"),
                Message(recipient="nobody", body="hi", ref="c1"),
                Ping(),
            ]
        )
        self.settle()
        self.assertEqual(connection.frames[3].ref, "c1")  # type: ignore[attr-defined]
        self.assertEqual(
            connection.heard(),
            "password, failed wrong-password, username, failed bad-state, username,"
            " failed bad-state, username",
        )


class BoundTests(SessionTestCase):
    """What one session may have under way."""

    def test_sends(self) -> None:
        """So many sends, and no more frames are taken until some are answered."""
        session, _ = self.user()
        message = Message(recipient="nobody", body="")
        session.receive([message] * (SENDS_UNDER_WAY - 1))
        self.assertTrue(session.ready)
        session.receive([message])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)

    def test_bytes(self) -> None:
        """The same for the bytes of their bodies."""
        session, _ = self.user()
        message = Message(recipient="nobody", body="x" * 65536)
        session.receive([message] * (BYTES_UNDER_WAY // 65536 - 1))
        self.assertTrue(session.ready)
        session.receive([message])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)

    def test_receipts(self) -> None:
        """The same for receipts, by the number of their ids."""
        session, _ = self.user()
        for _ in range(BYTES_UNDER_WAY // ID_BYTES // 1000):
            self.assertTrue(session.ready)
            session.receive([Received(ids=list(range(1000)))])
        session.receive([Received(ids=list(range(1000)))])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)

    def test_sendsAndCommand(self) -> None:
        """When the sends are answered and a command is not, frames wait still; nobody is told otherwise."""
        session, connection = self.user()
        resumed: list[bool] = []
        connection.when_resumed = lambda: resumed.append(session.ready)
        message = Message(recipient="nobody", body="x" * 65536)
        session.receive([message] * (BYTES_UNDER_WAY // 65536) + [Read(ids=[1])])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)
        self.assertEqual(set(resumed), {True})

    def test_command(self) -> None:
        """While a command is carried out no more frames are taken."""
        session, _ = self.user()
        session.receive([List(box="inbox")])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)

    def test_rests(self) -> None:
        """Who sends far too much in one go rests for as long as all of it asks for."""
        clock = self.network.clock
        self.network.mailroom._allowance = Allowance(clock.seconds, Rate(1000, 1), UNLIMITED)
        session, connection = self.user()
        refused = Message(recipient="nobody", body="", ref="x" * 65)
        more: list[list[Incoming]] = [[refused] * SENDS_UNDER_WAY, [refused] * SENDS_UNDER_WAY]

        def hand_in() -> None:
            if more and session.ready:
                session.receive(more.pop())

        connection.when_resumed = hand_in
        self.patch(connection, "wait", lambda seconds: deferLater(clock, seconds))
        session.receive([refused] * SENDS_UNDER_WAY)
        clock.pump([0.1] * 14)
        self.assertEqual((more, session.ready), ([], False))
        clock.pump([0.1] * 2)
        self.assertTrue(session.ready)


class NoticeTests(SessionTestCase):
    """Who is told that a message was delivered, and when."""

    def test_atOnce(self) -> None:
        """A client that reads is told at once."""
        session, connection = self.user()
        session.notify(Delivered(ids=[1, 2], time=TIME))
        self.assertEqual(connection.frames, [Delivered(ids=[1, 2], time=TIME)])

    def test_kept(self) -> None:
        """For one that does not read, notices are kept and said when it does, as far as it does."""
        session, connection = self.user()
        connection.paused = True
        later = TIME.replace("123", "124")
        session.notify(Delivered(ids=[1], time=TIME))
        session.notify(Delivered(ids=[2], time=TIME))
        session.notify(Delivered(ids=[3], time=later))
        session.drained()
        self.assertEqual(connection.frames, [])
        self.assertEqual(connection.kept, 2 * NOTICE_BYTES + 3 * NOTICED_BYTES)
        connection.paused = False
        send = connection.send

        def full(frames: Sequence[Frame]) -> None:
            send(frames)
            connection.paused = True

        self.patch(connection, "send", full)
        session.drained()
        self.assertEqual(connection.frames, [Delivered(ids=[1, 2], time=TIME)])
        connection.paused = False
        session.drained()
        self.assertEqual(connection.frames[1:], [Delivered(ids=[3], time=later)])
        self.assertEqual(connection.kept, 0)
        connection.paused = False
        session.drained()
        self.assertEqual(len(connection.frames), 2)

    def test_bounded(self) -> None:
        """One that never reads is hung up when there is too much to keep."""
        session, connection = self.user()
        connection.paused = True
        most = (NOTICES_KEPT - NOTICE_BYTES) // NOTICED_BYTES
        session.notify(Delivered(ids=list(range(most)), time=TIME))
        self.assertFalse(connection.closed)
        self.assertEqual(connection.kept, NOTICE_BYTES + most * NOTICED_BYTES)
        session.notify(Delivered(ids=[1], time=TIME))
        self.assertEqual(connection.heard(), "fatal slow-down")
        self.assertTrue(connection.closed)

    def test_forgotten(self) -> None:
        """A session that is gone keeps nothing."""
        session, connection = self.user()
        connection.paused = True
        session.notify(Delivered(ids=[1], time=TIME))
        session.lost()
        connection.paused = False
        session.drained()
        self.assertEqual(connection.heard(), "")


class EndTests(SessionTestCase):
    """How a session ends."""

    STOP = FatalError(Code.SHUTTING_DOWN, "The server is shutting down.")

    def test_afterAnswersDue(self) -> None:
        """The last word comes after the answers to what was asked; what is asked later has none."""
        session, connection = self.user()
        session.receive([Message(recipient="nobody", body="hi")])
        session.end(self.STOP)
        session.receive([Ping()])
        self.assertEqual(connection.heard(), "")
        self.settle()
        self.assertEqual(connection.heard(), "accepted, fatal shutting-down")
        self.assertTrue(connection.closed)

    def test_once(self) -> None:
        """It ends once: the first reason counts."""
        session, connection = self.user()
        session.end(self.STOP)
        session.expel(account_gone())
        self.assertEqual(connection.heard(), "fatal shutting-down")

    def test_whileHashing(self) -> None:
        """A login under way is answered first, and leaves no session behind."""
        for secret, said in (
            (password("known"), "fatal shutting-down"),
            ("not the password", "failed wrong-password, username, fatal shutting-down"),
        ):
            self.user("known")[0].lost()
            session, connection = self.session()
            self.tell(session, Login(field="username", value="known"))
            connection.frames.clear()
            self.network.hashing.slow = True
            self.tell(session, Login(field="password", value=secret))
            session.end(self.STOP)
            self.assertEqual(connection.heard(), "")
            self.network.hashing.finish()
            self.network.hashing.slow = False
            self.settle()
            self.assertEqual(connection.heard(), said)
            self.assertIs(session.state, State.CLOSED)
            self.assertEqual(self.network.directory.sessions(1), ())

    def test_whileSigningUp(self) -> None:
        """A sign-up under way is completed and told, and then the session ends."""
        session, connection = self.session()
        self.tell(session, Login(field="username", value="newcomer"))
        session.receive([Login(field="password", value="long enough")])
        session.end(self.STOP)
        self.settle()
        self.assertEqual(connection.heard(), "new-password, created, username, fatal shutting-down")
        self.assertTrue(connection.closed)

    def test_whileDeletingAccount(self) -> None:
        """A deletion under way is completed and told, and then the session ends."""
        session, connection = self.user("known")
        session.receive([DeleteAccount(password=password("known"))])
        session.end(self.STOP)
        self.settle()
        self.assertEqual(connection.heard(), "account-deleted, username, fatal shutting-down")
        self.assertIs(session.state, State.CLOSED)

    def test_whileLoggingOut(self) -> None:
        """A logout under way is completed and told, and then the session ends."""
        session, connection = self.user("known")
        self.tell(session, Token())
        session.receive([Logout()])
        session.end(self.STOP)
        self.settle()
        self.assertEqual(connection.heard(), "token-issued, logged-out, username, fatal shutting-down")
        self.assertIs(session.state, State.CLOSED)

    def test_noRoomToLogOut(self) -> None:
        """Tokens that cannot be revoked are not called revoked: the session stays logged in."""
        session, connection = self.user("known")
        self.tell(session, Token())
        disk = self.network.disk.connect()
        disk.execute(
            "CREATE TEMP TRIGGER full BEFORE DELETE ON passwords.tokens BEGIN"
            " SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        self.tell(session, Logout(), Ping())
        self.assertEqual(connection.heard(), "token-issued, failed storage-full, pong")
        disk.execute("DROP TRIGGER full")
        self.tell(session, Logout())
        self.assertEqual(connection.heard(), "logged-out, username")

    def test_lostWhileIssuing(self) -> None:
        """A connection that is lost while a token is made for it harms nobody."""
        session, connection = self.user("known")
        session.receive([Token()])
        session.lost()
        self.settle()
        self.assertEqual(connection.failures, [])
        self.assertEqual(self.network.directory.sessions(1), ())

    def test_twoDeleteTheAccount(self) -> None:
        """Of two sessions that delete their account at once, one does, and the other is told it is gone."""
        first, first_connection = self.user("known")
        second, second_connection = self.user("known")
        first.receive([DeleteAccount(password=password("known"))])
        second.receive([DeleteAccount(password=password("known")), Ping()])
        self.settle()
        self.assertEqual(first_connection.heard(), "account-deleted, username")
        self.assertEqual(second_connection.heard(), "fatal account-gone")
        self.assertTrue(second_connection.closed)

    def test_accountGoneUnderSends(self) -> None:
        """A send of an account that is gone by the time it would be stored ends the session."""
        self.user("other")
        session, connection = self.user("known")
        session.receive([Message(recipient="other", body="before")])
        account = session.account
        assert account is not None
        self.network.store.leave(account)
        session.receive([Message(recipient="other", body="after"), Ping()])
        self.settle()
        self.assertEqual(connection.heard(), "accepted, fatal account-gone")
        self.assertTrue(connection.closed)
        self.assertEqual(self.network.directory.sessions(account.id), ())

    def test_lost(self) -> None:
        """A connection that is lost at any moment of anything: late answers are harmless."""
        known, new = Login(field="username", value="known"), Login(field="username", value="new")
        right = Login(field="password", value="the password")
        cases: list[tuple[bool, list[Incoming]]] = [
            (False, [known]),
            (False, [known, Login(field="password", value="no, it is not")]),
            (False, [known, right]),
            (False, [new, right]),
            (True, [Message(recipient="known", body="hi"), List(box="sent"), Ping()]),
            (True, [Message(recipient="nobody", body="hi"), Read(ids=[1])]),
            (True, [Delete(ids=[1]), Received(ids=[1])]),
            (True, [ChangePassword(password="the password", new="the password")]),
            (True, [DeleteAccount(password="the password")]),
        ]
        for number, (logged_in, frames) in enumerate(cases):
            for milliseconds in range(0, 15, 2):
                self.begin()
                self.user("known", "the password")[0].lost()
                session, connection = self.user("user", "the password") if logged_in else self.session()
                self.network.disk.seconds = 0.002
                session.receive(frames)
                self.network.clock.advance(0)
                self.network.clock.pump([0.001] * milliseconds)
                session.lost()
                connection.closed = True
                for _ in range(30):
                    self.network.clock.advance(0.001)
                case = f"{number} after {milliseconds} ms"
                self.assertEqual(connection.failures, [], case)
                self.assertIsNone(session.account)
                self.assertEqual(self.network.directory.sessions(2), (), case)
                self.assertFalse(session.live)
                self.assertFalse(session.ready, case)
                self.assertIs(session.state, State.CLOSED, case)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_fail(self) -> None:
        """After an error of the server's own the client is told so, at once, and the session ends."""
        session, connection = self.user()
        session.receive([Message(recipient="nobody", body="hi"), List(box="sent")])
        session.fail()
        self.assertEqual(connection.heard(), "fatal internal-error")
        self.assertTrue(connection.closed)
        self.settle()
        self.assertEqual(connection.heard(), "")
        self.assertEqual(connection.failures, [])

    def test_failAtTheEnd(self) -> None:
        """Even when the session was about to end for another reason, there is a last word."""
        session, connection = self.user()
        session.receive([List(box="sent"), Quit()])
        session.fail()
        self.assertEqual(connection.heard(), "fatal internal-error")
        self.assertTrue(connection.closed)


class AloneTests(SessionTestCase):
    """An error in one session is its own end, and nobody else's."""

    def setUp(self) -> None:
        """Two who talk, and one whose connection cannot say anything any more."""
        super().setUp()
        self.alice, self.alice_hears = self.user("alice")
        self.bob, self.bob_hears = self.user("bob")
        self.broken, self.broken_hears = self.user("bob")

        def send(frames: Sequence[Frame]) -> None:
            raise ZeroDivisionError

        self.broken_hears.send = send  # type: ignore[method-assign]

    def assertBroke(self) -> None:
        """The broken session failed, once, where its connection logs it."""
        self.assertEqual([failure.type for failure in self.broken_hears.failures], [ZeroDivisionError])

    def test_push(self) -> None:
        """A message that one session of the recipient cannot show is shown to the other one."""
        self.network.directory.discard(2, self.bob)
        self.network.directory.add(2, self.bob)  # behind the broken one
        self.alice.receive([Message(recipient="bob", body="hi")])
        self.settle()
        self.assertEqual(self.alice_hears.heard(), "accepted")
        self.assertEqual(self.bob_hears.heard(), "message")
        self.assertBroke()

    def test_answer(self) -> None:
        """A message whose acceptance cannot be told to its sender reaches its recipient."""
        self.broken.receive([Message(recipient="alice", body="hi")])
        self.settle()
        self.assertEqual(self.alice_hears.heard(), "message")
        self.assertBroke()

    def test_notify(self) -> None:
        """A delivery that one session of the sender cannot be told of is told to the other."""
        self.network.directory.discard(2, self.bob)
        self.network.directory.add(2, self.bob)
        self.bob.receive([Message(recipient="alice", body="hi", receipt=True)])
        self.settle()
        self.alice.receive([Received(ids=[1])])
        self.settle()
        self.assertEqual(self.bob_hears.heard(), "accepted, delivered")
        self.assertBroke()

    def test_accountGone(self) -> None:
        """A session that cannot be told that its account is gone does not stop the deletion."""
        self.bob.receive([DeleteAccount(password=password("bob"))])
        self.settle()
        self.assertEqual(self.bob_hears.heard(), "account-deleted, username")
        self.assertBroke()

    def test_more(self) -> None:
        """A session that cannot be shown what came back does not stop the deletion, either."""
        feed = self.broken._feed
        assert feed is not None

        def more() -> None:
            raise ZeroDivisionError

        self.patch(type(feed), "more", lambda _: more())
        for session in (self.bob, self.broken):
            session.receive([Message(recipient="alice", body="hi")])
        self.settle()
        self.alice.receive([DeleteAccount(password=password("alice"))])
        self.settle()
        self.assertIn("account-deleted, username", self.alice_hears.heard())

    def test_storeBroken(self) -> None:
        """What the store cannot do ends the session that asked, with nothing accepted."""

        def accept(*arguments: Any) -> None:
            arguments[-1](ZeroDivisionError())

        self.patch(self.network.store, "accept", accept)
        self.alice.receive([Message(recipient="bob", body="hi"), Ping()])
        self.assertEqual(self.alice_hears.heard(), "fatal internal-error")
        self.assertTrue(self.alice_hears.closed)

    def test_commandBroken(self) -> None:
        """A command that goes wrong is handed to the connection, to be logged."""

        async def listing(*arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(self.network.mailroom, "listing", listing)
        self.alice.receive([List(box="inbox"), Ping()])
        self.settle()
        self.assertEqual([failure.type for failure in self.alice_hears.failures], [ZeroDivisionError])
