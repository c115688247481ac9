"""The steps that people take on a server; each can be repeated by a client that got no answer."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, Callable, Protocol, Sequence

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.task import Clock

from chat.accounts import Accounts, Registration
from chat.directory import Directory
from chat.errors import Code, Refusal
from chat.ledger import Account
from chat.mailroom import Mailroom
from chat.messages import Accepted, Failed, Frame, Message, Search
from chat.store import Store
from chat.store.files import DataDirectory, schemas
from chat.store.invitations import make
from chat.store.retention import EVERY, FIRST, Retention
from tests.crash.known import Known
from tests.world import BEGINNING, PASSWORD, RESERVED, Onlooker, World, at_once

Step = Callable[["Stage"], object]
#: The password that people change theirs to.
ANOTHER = "another horse battery"

_SCHEMAS = schemas()


class Pools(Protocol):
    """What the files are opened with."""

    def pool(self, directory: Path) -> ConnectionPool:
        """The one connection to the files in C{directory}, not yet open."""


class Server(World):
    """Starts as L{chat.service} does: opens the directory, finishes what was cut short, begins anew."""

    def __init__(self, directory: Path, clock: Clock, pools: Pools, known: Known) -> None:
        self.path = directory
        self.clock = clock
        self._closed = False
        self._known = known
        self.data = DataDirectory(directory, _SCHEMAS)
        self.data.open()
        self.directory = Directory()
        self.store = self._store(pools, lambda account: False)
        self._build(Registration.CLOSED)
        self.result(self.accounts.finish())
        self.result(self.store.close())
        self.store = self._store(pools, self.directory.live)
        self._build(Registration.OPEN)

    def sql(self, statement: str, *arguments: object) -> list[Any]:
        """Rows of the files as the server sees them, on its own connection.

        There may be two libraries of SQLite in this process, which do not see each other's locks: the
        other one would take itself for the last that uses the files, and tidy them up meanwhile.
        """
        rows: list[Any] = self.result(self._reading.runQuery(statement, arguments))
        return rows

    def change(self, statements: Callable[[Any], object]) -> None:
        """Write to the files, as C{chatctl} does beside the server."""
        self.result(self._reading.runInteraction(statements))

    def _store(self, pools: Pools, live: Callable[[int], bool]) -> Store:
        self._reading = pools.pool(self.path)
        store = Store(
            self._reading,
            self.clock,
            live=live,
            now=self.now,
            reserved=RESERVED,
            in_thread=at_once,
            rounds=self._known.rounds,
            limit=self._known.limit,
        )
        store.indexing.stop()  # which would write in every scenario, whenever a second has passed
        return store

    def _build(self, registration: Registration) -> None:
        self.mailroom = Mailroom(self.store, self.directory, self.now)
        self.accounts = Accounts(
            self.store, self.store.passwords, self.mailroom, self.directory, registration
        )


class _Session(Onlooker):
    """Remembers what it is shown where it outlives the server."""

    def __init__(self, server: World, account: Account, known: Known) -> None:
        super().__init__(server, account)
        self._known = known
        self._seen: set[int] = set()

    def send(self, frames: Sequence[Frame]) -> None:
        """The client is shown messages."""
        super().send(frames)
        for frame in frames:
            assert isinstance(frame, Message)
            self._known.see(self.account.name, frame, self._seen)


class Stage:
    """A running server and its clients.

    Messages are named by their sender and ref: C{"alice/a1"}.
    """

    def __init__(self, directory: Path, known: Known, pools: Pools) -> None:
        """Start a server on what is in C{directory}; whoever was logged in comes back."""
        self.directory = directory
        self.known = known
        self._pools = pools
        self._open()

    def _open(self) -> None:
        clock = Clock()
        clock.advance(BEGINNING + self.known.step)
        self.server = Server(self.directory, clock, self._pools, self.known)
        self._sessions: dict[str, _Session] = {}
        for name in list(self.known.online):
            if name in self.known.leaving and self._find(name) is None:
                self.known.online.remove(name)
            else:
                self._log_in(name)

    def play(self, steps: Sequence[Step]) -> None:
        """Take the steps from the one that was under way, a second each."""
        for number in range(self.known.step, len(steps)):
            self._reach(number)
            steps[number](self)
            self._check()
        self._reach(len(steps))

    def _check(self) -> None:
        assert not self.known.faults, self.known.faults
        for session in self._sessions.values():
            for error in session.errors:
                error.raiseException()

    def _reach(self, number: int) -> None:
        self.server.clock.advance(number - self.known.step)
        self.known.step = number

    def end(self) -> None:
        """Everybody comes, takes what waits and confirms it; then the server stops in order."""
        for name in self.known.names:
            if name not in self.known.leaving:
                session = self._sessions.get(name) or self._log_in(name)
                self.server.confirm(session.account, *session.ids)
        self._check()
        self.server.close()

    # --- the operator ---

    def restart(self, rounds: int | None = None, limit: int | None = None) -> None:
        """Stop in order and start again, perhaps with a new cost of hashes or limit of mailboxes."""
        if rounds is not None:
            self.known.rounds = rounds
        if limit is not None:
            self.known.limit = limit
        self.server.close()
        self._open()

    def tidy(self, expire: int = 0, fold: int = 0) -> None:
        """One round of what is made from time to time.

        @param expire: after how many seconds a message that nobody collected turns round; 0: never.
        @param fold: after how many seconds a settled message is folded; 0: never.
        """
        # While the round takes its time, that of the server stands still: so a second one ends alike.
        clock = Clock()
        retention = Retention(
            self.server.store,
            clock,
            self.server.now,
            self.server.mailroom.returned,
            expire=expire * 1000,
            fold=fold * 1000,
        )
        retention.start()
        clock.advance(FIRST)
        self.server.settle()
        while (pause := clock.getDelayedCalls()[0].getTime() - clock.seconds()) < EVERY:
            clock.advance(pause)
            self.server.settle()
        retention.stop()

    # --- accounts ---

    def sign_up(self, *names: str) -> None:
        """Make accounts. Whoever got no answer finds the name taken, and the password right."""
        for name in names:
            try:
                self.server.result(self.server.accounts.sign_up(name, PASSWORD))
            except Refusal as refusal:
                if refusal.code is not Code.NAME_TAKEN:
                    raise
                self.check_password(name)
            if name not in self.known.names:
                self.known.names.append(name)

    def sign_up_invited(self, name: str) -> None:
        """Make an account with an invitation that is good for one; afterwards it is good for none."""
        invitation = sha256(name.encode()).digest()
        known = self.server.sql("SELECT count(*) FROM users.invitations WHERE digest = ?", invitation)
        if known == [(0,)]:
            end = self.server.now() + RESERVED
            self.server.change(lambda cursor: make(cursor, invitation, self.server.now(), end, 1))
        if self._find(name) is None:
            good = self.server.result(self.server.store.invited(invitation))
            assert good, f"The invitation of {name} is used up, and there is no account."
            self.server.result(self.server.accounts.sign_up(name, PASSWORD, (), invitation))
        uses = self.server.sql("SELECT uses FROM users.invitations WHERE digest = ?", invitation)
        assert uses == [(0,)], f"The invitation of {name} is still good: {uses}"
        self.check_password(name)
        if name not in self.known.names:
            self.known.names.append(name)

    def check_password(self, name: str) -> None:
        """A login, as far as the password goes."""
        password = self.known.passwords.get(name, PASSWORD)
        self.server.result(self.server.accounts.log_in(name, password))

    def change_password(self, name: str) -> None:
        """Change the password. Whoever got no answer finds one of the two right."""
        try:
            self.server.result(self.server.accounts.change_password(self._account(name), PASSWORD, ANOTHER))
        except Refusal as refusal:
            if refusal.code is not Code.WRONG_PASSWORD:
                raise
            self.server.result(self.server.accounts.log_in(name, ANOTHER))
        self.known.passwords[name] = ANOTHER

    def renew_codes(self, name: str) -> None:
        """Ask for recovery codes. Whoever got no answer asks again."""
        password = self.known.passwords.get(name, PASSWORD)
        codes = self.server.accounts.renew_recovery_codes(self._account(name), password)
        self.known.codes[name] = self.server.result(codes)

    def recover(self, name: str) -> None:
        """Choose another password with a code. Without an answer, it is good still, or was used."""
        accounts = self.server.accounts
        code = self.known.codes[name][0]
        try:
            recovering = self.server.result(accounts.recovering(name, code))
            self.server.result(accounts.recover(recovering, ANOTHER))
        except Refusal as refusal:
            if refusal.code is not Code.WRONG_RECOVERY:
                raise
        self.server.result(accounts.log_in(name, ANOTHER))
        self.known.passwords[name] = ANOTHER

    def refuse_code(self, name: str) -> None:
        """The first code was used, and the others are good."""
        accounts = self.server.accounts
        first, *others = self.known.codes[name]
        try:
            self.server.result(accounts.recovering(name, first))
        except Refusal as refusal:
            assert refusal.code is Code.WRONG_RECOVERY, refusal
        else:
            raise AssertionError(f"The code that {name} has used is still good.")
        self.server.result(accounts.recovering(name, others[0]))

    def block(self, name: str, other: str, blocked: bool = True) -> None:
        """Send back what somebody writes, or do not any more."""
        names = self.server.result(self.server.accounts.block(self._account(name), other, blocked))
        assert (other in names) == blocked, names

    def give_token(self, name: str) -> None:
        """Log in with the password, and ask for a token. Whoever got no answer asks for another one."""
        password = self.known.passwords.get(name, PASSWORD)
        admission = self.server.result(self.server.accounts.log_in(name, password))
        self.known.tokens[name] = self.server.result(self.server.accounts.issue(admission)).value

    def use_token(self, name: str) -> None:
        """A login with the token, which was not revoked."""
        self.server.result(self.server.accounts.resume(name, self.known.tokens[name]))

    def refuse_token(self, name: str) -> None:
        """The token was revoked."""
        try:
            self.server.result(self.server.accounts.resume(name, self.known.tokens[name]))
        except Refusal as refusal:
            assert refusal.code is Code.WRONG_TOKEN, refusal
        else:
            raise AssertionError(f"The token of {name} is still good.")

    def revoke_tokens(self, name: str) -> None:
        """Revoke all tokens."""
        account = self._account(name)
        self.server.result(self.server.accounts.revoke_all(account, Onlooker(self.server, account)))

    def delete_account(self, name: str) -> None:
        """Delete the account. Whoever got no answer may find that it is gone."""
        self.known.leaving.add(name)
        account = self._find(name)
        if account is not None:
            session = self._sessions.pop(name, None)
            if session is not None:
                session.leave()
            self.server.delete(account, session)
        if name in self.known.online:
            self.known.online.remove(name)

    def refuse_name(self, name: str, code: Code = Code.NAME_RESERVED) -> None:
        """Nobody can sign up with this name: it is reserved, or looks like another."""
        try:
            self.server.result(self.server.accounts.offer(name))
        except Refusal as refusal:
            assert refusal.code is code, refusal
        else:
            raise AssertionError(f"{name} can be taken over.")

    def _find(self, name: str) -> Account | None:
        return self.server.result(self.server.store.find(name))

    def _account(self, name: str) -> Account:
        account = self._find(name)
        assert account is not None, f"The account {name} is lost."
        return account

    # --- sessions ---

    def enter(self, *names: str) -> None:
        """Log in and look at what waits; from then on messages are shown as they come."""
        for name in names:
            if name not in self.known.online:  # else the client is back already, by itself
                self._log_in(name)
                self.known.online.append(name)

    def _log_in(self, name: str) -> _Session:
        session = _Session(self.server, self._account(name), self.known)
        self._sessions[name] = session
        session.enter()
        return session

    def leave(self, name: str) -> None:
        """Hang up."""
        self._sessions.pop(name).leave()
        self.known.online.remove(name)

    # --- messages ---

    def id(self, key: str) -> int:
        """The id that the sender of this message was told."""
        sender, ref = key.split("/")
        return self.known.accepted[sender, ref][0]

    def send(self, sender: str, *messages: Message, answers: Sequence[str] = ()) -> None:
        """Send these together.

        @param answers: the states or codes that are answered; by default each waits.
        """
        heard: list[str] = []
        broken: list[Exception] = []

        def answer(frames: list[Frame]) -> None:
            for message, frame in zip(messages, frames):
                if isinstance(frame, Accepted):
                    if message.ref is not None:
                        self.known.hear_accepted(sender, message.ref, frame.id, frame.time)
                    heard.append(frame.state)
                else:
                    assert isinstance(frame, Failed), frame
                    heard.append(frame.code)

        self.server.mailroom.accept(self._account(sender), messages, answer, broken.append)
        self.server.settle()
        for error in broken:
            raise error
        expected = list(answers) or ["waiting"] * len(messages)
        assert heard == expected, f"{heard} were answered, not {expected}"

    def send_plain(self, sender: str, recipient: str, subject: str, state: str) -> None:
        """Send one message without a ref. A client that got no answer looks whether it was sent."""
        sent = self._list(sender, "sent")
        if subject not in sent.values():
            self.send(sender, Message(recipient=recipient, subject=subject, body="no ref"), answers=[state])

    def confirm(self, name: str, *keys: str) -> None:
        """Send receipts, and a ping; its answer tells that they are on disk."""
        ids = {self.id(key) for key in keys}
        self.server.confirm(self._account(name), *ids)
        self.known.confirm(name, ids)

    def remove(self, name: str, *keys: str, missing: Sequence[str] = ()) -> None:
        """Remove from the own mailbox, or recall. What was missing is, or has gone before the answer.

        @param missing: those that cannot be removed.
        """
        ids = [self.id(key) for key in keys]
        never = {self.id(key) for key in missing}
        answer = self.server.result(self.server.mailroom.remove(self._account(name), [*ids, *never]))
        assert never <= set(answer.missing), f"{answer} though {never} are not to be removed"
        self.known.gone.update(ids)

    def list_and_read(self, name: str) -> None:
        """Look into both boxes and read everything that has content."""
        inbox = self._list(name, "inbox")
        listed = [*inbox, *self._list(name, "sent")]
        account = self._account(name)
        for id in inbox:
            assert self.server.result(self.server.mailroom.position(account, id)), f"{id} is in no mailbox"
        answer = self.server.result(self.server.mailroom.read(self._account(name), listed))
        assert len(answer.messages) + len(answer.missing) == len(set(listed))
        found = {message.id for message in answer.messages} & self.known.gone
        assert not found, f"{found} were removed and can be read"

    def _list(self, name: str, box: str) -> dict[int, str | None]:
        account, mailroom = self._account(name), self.server.mailroom
        listing = self.server.result(mailroom.listing(account, box, 0, 1000))
        latest = self.server.result(mailroom.listing(account, box, 0, 1000, 0))
        assert listing.messages == latest.messages[::-1], f"{listing} and {latest}"
        return {entry.id: entry.subject for entry in listing.messages}

    def search(self, name: str, word: str) -> None:
        """Whoever searches for a word finds each message of theirs with that word, and no other."""
        account = self._account(name)
        rows = self.server.sql(
            "SELECT id FROM ledger WHERE state < 2 AND (sender = ?1 OR recipient = ?1) AND body LIKE ?2"
            " ORDER BY id DESC",
            account.id,
            f"%{word}%",
        )
        found = self.server.result(self.server.mailroom.search(account, Search(query=word, limit=100)))
        ids = [entry.id for entry in found.messages]
        assert (ids, found.more, found.incomplete) == ([id for (id,) in rows], False, False), (
            f"{found}, {rows}"
        )

    def index(self) -> None:
        """Messages enter the index by and by, without anybody who searches."""
        while (left := self.server.result(self.server.store.extend(True))).last < left.newest:
            pass

    def renew(self) -> None:
        """What has left the index is overwritten in it."""
        while self.server.result(self.server.store.renew(self.server.now() + 1)) is not None:
            pass
