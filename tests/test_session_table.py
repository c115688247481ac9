"""Tests for what each frame does in each state: the table."""

from __future__ import annotations

from typing import Union, cast

from chat.course import State
from chat.errors import Code
from chat.messages import (
    SYSTEM,
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
from chat.session import Session
from tests.session_case import TIME, Connection, SessionTestCase, Standing, standing
from tests.talker import password


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
