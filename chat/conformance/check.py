"""What a check is, and the room in which it is made: a server, and accounts that nobody else has."""

from __future__ import annotations

import time
from secrets import token_hex
from typing import Callable, NamedTuple, Optional

from chat.conformance.codecs import Codec, Plain
from chat.conformance.talk import Connection, Failure, match
from chat.conformance.wires import Address

#: What a server must be like for some checks; the command line tells that it is.
OPEN = "open"  # anyone may sign up
CLOSED = "closed"  # nobody may
INVITED = "invited"  # nobody may without an invitation, and we have one
TIMEOUT = "timeout"  # a login may take so few seconds that one can wait for it
TERMINATE = "terminate"  # we may end it


class NotThere(Exception):
    """The server lacks what a check is about, and is free to."""


class Account(NamedTuple):
    """An account on the server under test."""

    name: str
    password: str


class Server(NamedTuple):
    """What is known of the server under test.

    @ivar login_timeout: how long a login may take there, if that may be tried.
    @ivar known: the name of an account, on a server where nobody can sign up.
    @ivar invitation: the code of one that is good for an account there.
    @ivar process: its process id, if it may be ended.
    """

    address: Address
    codec: Codec
    patience: float = 10.0
    quiet: float = 0.2
    closed: bool = False
    login_timeout: Optional[float] = None
    known: Optional[str] = None
    process: Optional[int] = None
    invitation: Optional[str] = None


class Room:
    """One check's own conversations with the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.codec = server.codec
        self._to_close: list[Callable[[], None]] = []

    def close(self) -> None:
        """Hang up on every connection."""
        for close in self._to_close:
            close()

    def closes(self, close: Callable[[], None]) -> None:
        """Have this called at the end of the check, too."""
        self._to_close.append(close)

    def connect(self, patience: float | None = None) -> Connection:
        """A connection on which nothing was heard yet."""
        server = self.server
        connection = Connection(
            server.address, server.codec, server.patience if patience is None else patience, server.quiet
        )
        self.closes(connection.close)
        return connection

    def stranger(self) -> Connection:
        """A connection that has heard the greeting."""
        connection = self.connect()
        connection.answer("version", protocol=1)
        connection.answer("username")
        return connection

    def fresh(self) -> Account:
        """A name that nobody has, and a password."""
        return Account(f"cf{token_hex(8)}", token_hex(10))

    def account(self) -> Account:
        """A new account."""
        account = self.fresh()
        sign_up(self.stranger(), account)
        return account

    def enter(self, account: Account) -> Connection:
        """A session of this account."""
        connection = self.stranger()
        log_in(connection, account)
        return connection

    def user(self) -> Connection:
        """A session of a new account."""
        account = self.fresh()
        connection = self.stranger()
        sign_up(connection, account)
        log_in(connection, account)
        return connection

    def couple(self) -> tuple[Connection, Connection]:
        """Two sessions of two new accounts."""
        return self.user(), self.user()


def sign_up(connection: Connection, account: Account) -> None:
    """Create this account at the C{username} prompt."""
    connection.login("username", account.name)
    connection.answer("new-password")
    connection.login("password", account.password)
    connection.answer("created", username=account.name)
    connection.answer("username")


def log_in(connection: Connection, account: Account) -> int:
    """Log in at the C{username} prompt; how many messages wait."""
    connection.login("username", account.name)
    connection.answer("password")
    connection.login("password", account.password)
    welcome = connection.answer("welcome", username=account.name)
    connection.name = account.name
    waiting: int = welcome["waiting"]
    return waiting


def send(sender: Connection, recipient: str, body: str = "hello", **more: object) -> int:
    """Send a message that is accepted; its id."""
    sender.message(recipient, body, **more)
    accepted = sender.answer("accepted", ref=more.get("ref"))
    id: int = accepted["id"]
    return id


def confirm(recipient: Connection, *ids: int) -> None:
    """Say C{received}, and wait until the recipient's own listing shows it."""
    recipient.system("received", ids=list(ids))
    until = time.monotonic() + recipient.patience
    while entry(recipient, "inbox", max(ids))["state"] != "delivered":
        if time.monotonic() > until:
            raise Failure("a message that was confirmed with received is never listed as delivered")


def listed(connection: Connection, box: str, **more: object) -> list[Plain]:
    """The entries that C{list} gives."""
    connection.system("list", box=box, **more)
    entries: list[Plain] = connection.answer("listing", box=box)["messages"]
    return entries


def entry(connection: Connection, box: str, id: int) -> Plain:
    """The entry of this message in a box."""
    for each in listed(connection, box, after=id - 1, limit=1):
        if each["id"] == id:
            return each
    raise Failure(f"message {id} is not in the box {box}")


def read(connection: Connection, id: int) -> Plain:
    """One message, whole."""
    connection.system("read", ids=[id])
    messages: list[Plain] = connection.answer("messages", missing=[])["messages"]
    same("the ids that were read", [message["id"] for message in messages], [id])
    return messages[0]


def returned(message: Plain) -> Plain:
    """Why a message came back, and whom it was meant for."""
    holds(f"message {message.get('id')} came back without its returned object", "returned" in message)
    why: Plain = message["returned"]
    return why


def optional(connection: Connection, keyword: str, answer: str, what: str, **data: object) -> Plain:
    """What is answered to a word that a server may do without.

    @param what: what the word is about, in the plural.
    @raise NotThere: the server refuses the word as one that it does not know.
    """
    connection.system(keyword, **data)
    said = connection.any_answer(answer)
    if said.keyword == "failed" and said.data["code"] == "bad-frame":
        raise NotThere(f"the server does not know {what}, which are optional")
    match(said, answer)
    return said.data


def same(what: str, got: object, wanted: object) -> None:
    """Fail unless these are equal."""
    if got != wanted:
        raise Failure(f"{what}: {str(got)[:200]}, but it should be {str(wanted)[:200]}")


def holds(sentence: str, true: bool) -> None:
    """Fail with this sentence, which tells what is wrong, unless it is true."""
    if not true:
        raise Failure(sentence)


class Check(NamedTuple):
    """One check.

    @ivar sentence: what a server that passes does.
    @ivar section: the section of docs/protocol.rst that says so.
    @ivar needs: what the server must be like.
    @ivar codec: the only encoding in which it makes sense, if so.
    """

    name: str
    sentence: str
    section: str
    needs: str
    codec: Optional[str]
    run: Callable[[Room], None]


#: All checks, in the order in which they are made.
CHECKS: dict[str, Check] = {}


def check(
    section: str, *, needs: str = OPEN, codec: str | None = None
) -> Callable[[Callable[[Room], None]], Callable[[Room], None]]:
    """Make a function a check: its name is the check's, and its docstring the sentence."""

    def register(run: Callable[[Room], None]) -> Callable[[Room], None]:
        name = run.__name__.replace("_", "-")
        if name in CHECKS:
            raise ValueError(f"two checks are called {name}")
        sentence = " ".join((run.__doc__ or "").split())
        CHECKS[name] = Check(name, sentence, section, needs, codec, run)
        return run

    return register
