"""The store as the rules see it: L{chat.ports.MessageStore} and L{chat.ports.UserStore}, on SQLite."""

from __future__ import annotations

from functools import partial
from typing import Awaitable, Callable, Sequence, TypeVar

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chat.errors import Code, Refusal, account_gone, looks_taken, name_reserved, storage_full
from chat.health.gauges import Census, Gauges
from chat.ledger import (
    Account,
    AccountState,
    Confirmation,
    Discovery,
    Draft,
    Hit,
    Letter,
    Line,
    Mailbox,
    Removal,
)
from chat.ports import Outcome
from chat.query import Query
from chat.store import blocks, invitations, skeletons
from chat.store.books import Books
from chat.store.commit import Cursor, GroupCommit, Procedure
from chat.store.fates import Count, Counted
from chat.store.folding import fold
from chat.store.indexing import Indexing
from chat.store.intake import Intake, Post
from chat.store.mailboxes import Mailboxes, Page
from chat.store.passwords import Passwords
from chat.store.reception import InThread
from chat.store.returns import Aged, Expiry, Returns
from chat.store.searches import Searches
from chat.store.searching import Portion, Wanted, search
from chat.store.settlement import Receipt, Settlement
from chat.store.users import Users
from chat.store.volumes import Left, left

A = TypeVar("A")
R = TypeVar("R")

#: For how many milliseconds a token stands for a password, unless the operator says otherwise: 30 days.
TOKEN_LIFE = 30 * 24 * 60 * 60 * 1000
#: What confirming one message weighs in a transaction, beside the bytes of messages.
RECEIPT_WEIGHT = 200


class Store:
    """The ledger, the accounts and the passwords, behind one queue.

    @ivar indexing: lets messages enter the index, at a pace of its own.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        reactor: IReactorTime,
        *,
        live: Callable[[int], bool],
        now: Callable[[], int],
        reserved: int,
        in_thread: InThread,
        rounds: int,
        tokens: int = TOKEN_LIFE,
        room: Callable[[int], bool] = lambda inside: True,
        limit: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Serve from the connection of C{pool}.

        @param live: whether an account is shown a message the moment it is committed.
        @param now: the time in milliseconds since 1970-01-01 UTC.
        @param reserved: for how many milliseconds the name of a deleted account is kept reserved.
        @param in_thread: see L{Passwords}.
        @param rounds: see L{Passwords}.
        @param tokens: for how many milliseconds a token stands for a password.
        @param room: whether there is room on the disk for new messages and accounts.
        @param limit: how many messages may wait in a mailbox before new ones come back; 0: any number.
        @param clock: a time in seconds that only grows; without it, the reactor's.
        """
        self._pool = pool
        self._now = now
        self._reserved = reserved
        self._room = room
        self._reactor = reactor
        self._users = Users()
        self._books = books = Books(self._users, now)
        self._intake = intake = Intake(self._users, books, now, live, reserved, room, limit)
        self._settlement = settlement = Settlement(books, now)
        mailboxes = Mailboxes(self._users, books)
        returns = Returns(self._users, books, settlement, now)
        self._commit = GroupCommit(pool, reactor, self._begin, books.end, self._forget)
        self.passwords = Passwords(self._commit, in_thread, rounds, now, tokens, clock or reactor.seconds)
        users = self._users
        # Receipts before acceptances: a receipt is for what was committed before, and a
        # repeated ref is told the state that the receipts arriving with it make.
        self._confirm: Procedure[Receipt, list[Confirmation]] = Procedure(
            settlement.confirm,
            "messages",
            0,
            insists=True,
            weigh=lambda receipt: len(receipt.ids) * RECEIPT_WEIGHT,
        )
        self._accept: Procedure[Post, list[Outcome]] = Procedure(intake.accept, "messages", 1, weigh=_weight)
        self._mailbox = _single(books.mailbox, None)
        self._position = _single(mailboxes.position, None)
        self._waiting = _single(mailboxes.waiting, "messages")
        self._waiting_unnoted = _single(mailboxes.waiting_unnoted, None)
        self._offer: Procedure[int, None] = _single(
            lambda cursor, account: mailboxes.offer(cursor, (account, books.unnoted[account])),
            "messages",
            insists=True,
        )
        self._offering: set[int] = set()  # whose offer is to be noted once there is room
        self._listing = _single(mailboxes.listing, None)
        self._read = _single(mailboxes.read, None)
        self._remove = _single(settlement.remove, "messages")
        self._turn_round = _single(returns.turn_round, "messages")
        self._expire = _single(returns.expire, "messages")
        self._census: Procedure[None, Census | None] = _single(
            lambda cursor, _: books.fates.census(cursor), None
        )
        self._hold: Procedure[Count, None] = _single(
            lambda cursor, count: books.fates.hold(count, now()), None
        )
        self._adopt: Procedure[Counted, None] = _single(
            lambda cursor, counted: books.fates.adopt(counted), None
        )
        self._fold: Procedure[int, bool] = _single(
            lambda cursor, before: fold(cursor, before, books.stretches), "messages"
        )
        volumes = books.volumes
        self._search: Procedure[Wanted, Portion] = _single(
            lambda cursor, wanted: search(cursor, users, wanted), None
        )
        self._extend: Procedure[bool, Left] = _single(
            lambda cursor, older: volumes.extend(cursor, older) if self._room(0) else left(cursor),
            "messages",
        )
        self._renew = _single(volumes.renew, "messages")
        asked: Procedure[None, None] = _single(lambda cursor, _: None, None)
        self._searches = Searches(lambda: self._commit.waiting > 0, lambda: self._commit.call(asked, None))
        self.indexing = Indexing(
            reactor,
            self.extend,
            self.renew,
            now,
        )
        self._find = _single(users.named, None)
        self._unfinished: Procedure[None, tuple[list[Account], list[Account]]] = _single(
            lambda cursor, _: users.unfinished(cursor), None
        )
        self._join = _single(self._join_under, "users")
        self._alike = _single(self._looks_taken, None)
        self._compare_names: Procedure[None, bool] = _single(
            lambda cursor, _: skeletons.compare(cursor), "users"
        )
        self._invited: Procedure[bytes, bool] = _single(
            lambda cursor, digest: invitations.good(cursor, digest, now()), None
        )
        self._activate: Procedure[tuple[int, bytes | None], bool] = _single(
            lambda cursor, each: users.activate(cursor, *each, now()), "users"
        )
        self._abandon = _single(users.abandon, "users")
        self._leave = _single(users.leave, "users")
        self._free: Procedure[int, None] = _single(lambda cursor, id: users.free(cursor, id, now()), "users")
        self._block: Procedure[blocks.Change, blocks.Names] = _single(
            lambda cursor, wanted: blocks.change(cursor, users, wanted, now()), "users"
        )

    def close(self) -> Deferred[None]:
        """Fires when everything asked is on disk and the files are closed."""
        self.indexing.stop()
        closed = self._commit.close()
        closed.addCallback(lambda _: self._pool.close())
        return closed

    def _begin(self, cursor: Cursor) -> None:
        self._users.begin(cursor)
        self._books.begin(cursor)

    def _forget(self) -> None:
        self._users.forget()
        self._books.forget()

    # --- the ledger ---

    @property
    def waits_for_room(self) -> bool:
        """See L{chat.ports.MessageStore.waits_for_room}."""
        return self._commit.postponing

    def accept(
        self,
        sender: int,
        drafts: Sequence[Draft],
        done: Callable[[Sequence[Outcome]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """See L{chat.ports.MessageStore.accept}."""
        self.indexing.wake(len(drafts))
        self._commit.submit(self._accept, Post(sender, drafts), done, failed)

    def confirm(
        self,
        account: int,
        ids: Sequence[int],
        done: Callable[[Sequence[Confirmation]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """See L{chat.ports.MessageStore.confirm}."""
        self._commit.submit(self._confirm, Receipt(account, ids), done, failed)

    def mailbox(self, account: int) -> Awaitable[Mailbox]:
        """See L{chat.ports.MessageStore.mailbox}."""
        self.indexing.wake()  # somebody is here for whom older messages may have to be indexed
        return self._commit.call(self._mailbox, account)

    def position(self, account: int, id: int) -> Awaitable[int]:
        """See L{chat.ports.MessageStore.position}."""
        return self._commit.call(self._position, (account, id))

    async def waiting(self, account: int, after: int) -> tuple[list[Letter], bool]:
        """See L{chat.ports.MessageStore.waiting}.

        Where there is no room even to note that the page was offered, it is given all the same.
        """
        try:
            return await self._commit.call(self._waiting, (account, after))
        except Refusal as refusal:
            if refusal.code is not Code.STORAGE_FULL:
                raise
        letters, more = await self._commit.call(self._waiting_unnoted, (account, after))
        if letters and account not in self._offering:
            self._offering.add(account)
            noted = partial(self._noted, account)
            self._commit.submit(self._offer, account, noted, noted)
        return letters, more

    def _noted(self, account: int, _: object) -> None:
        """What the account was offered is noted, or cannot be."""
        self._offering.discard(account)

    def listing(self, account: int, sent: bool, after: int, limit: int) -> Awaitable[tuple[list[Line], bool]]:
        """See L{chat.ports.MessageStore.listing}."""
        return self._commit.call(self._listing, Page(account, sent, after, limit))

    def latest(self, account: int, sent: bool, before: int, limit: int) -> Awaitable[tuple[list[Line], bool]]:
        """See L{chat.ports.MessageStore.latest}."""
        return self._commit.call(self._listing, Page(account, sent, 0, limit, before))

    async def search(
        self,
        account: Account,
        query: Query,
        boxes: Sequence[bool],
        before: int,
        limit: int,
        awaited: Callable[[], bool],
    ) -> Discovery:
        """See L{chat.ports.MessageStore.search}.

        In short looks with pauses between them, see L{chat.store.searches}.
        """
        look = self._searches.look
        with self._searches.one(account.id):
            indexed = await self.indexing.catch_up(lambda: look(account.id, lambda: self.extend(False)))
            hits: list[Hit] = []
            while awaited():
                most = limit + 1 - len(hits)
                portion = await look(account.id, partial(self._look, account, query, boxes, before, most))
                hits += portion.hits
                if portion.before is None:
                    break
                before = portion.before
            else:
                return Discovery([], False, True)
        more = len(hits) > limit
        return Discovery(hits[:limit], more, not indexed or (portion.incomplete and not more))

    def _look(
        self, account: Account, query: Query, boxes: Sequence[bool], before: int, most: int
    ) -> Awaitable[Portion]:
        wanted = Wanted(account, query, boxes, before, most, self._searches.seconds)
        return self._commit.call(self._search, wanted)

    def read(self, account: int, ids: Sequence[int]) -> Awaitable[list[Letter]]:
        """See L{chat.ports.MessageStore.read}."""
        return self._commit.call(self._read, Receipt(account, ids))

    def remove(self, account: int, ids: Sequence[int]) -> Awaitable[Removal]:
        """See L{chat.ports.MessageStore.remove}."""
        self.indexing.wake()
        return self._commit.call(self._remove, Receipt(account, ids))

    def turn_round(self, account: Account) -> Awaitable[tuple[bool, set[int]]]:
        """See L{chat.ports.MessageStore.turn_round}."""
        self.indexing.wake()
        return self._commit.call(self._turn_round, account)

    def expire(self, before: int, after: tuple[int, int]) -> Awaitable[Expiry]:
        """Turn round some of the messages that were accepted before a moment and wait still.

        @param after: where to go on, as the L{Expiry} before said; C{(0, 0)}: at the beginning.
        """
        return self._commit.call(self._expire, Aged(after, before))

    def fold(self, before: int) -> Awaitable[bool]:
        """Fold some of the messages that were settled before a moment, see L{chat.store.folding}.

        Whether there may be more.
        """
        return self._commit.call(self._fold, before)

    def extend(self, older: bool) -> Awaitable[Left]:
        """Let some messages enter the index, see L{chat.store.volumes.Volumes.extend}."""
        return self._commit.call(self._extend, older)

    def renew(self, before: int) -> Awaitable[int | None]:
        """Write a part of the index anew, see L{chat.store.volumes.Volumes.renew}."""
        return self._commit.call(self._renew, before)

    # --- for whoever looks after the server ---

    @property
    def gauges(self) -> Gauges:
        """How much is being done, and waits to be done."""
        commit = self._commit
        return Gauges(commit.waiting, self.passwords.busy, self.indexing.lag, commit.sizes, commit.seconds)

    def census(self) -> Awaitable[Census | None]:
        """Where every message is; C{None}: nobody has counted yet, see L{recount}."""
        return self._commit.call(self._census, None)

    async def recount(self, count: Count, in_thread: InThread) -> None:
        """Look at every message anew.

        @param in_thread: C{in_thread(function, *arguments)} calls it where it may take its time.
        """
        try:
            await self._commit.call(self._hold, count)
            await self._commit.call(self._adopt, await in_thread(count.perform))
        finally:
            count.give_up()  # the thread goes on when nobody waits for it any more

    # --- the accounts ---

    async def find(self, name: str) -> Account | None:
        """See L{chat.ports.UserStore.find}."""
        entry = await self._commit.call(self._find, name)
        if entry is None or entry.state != AccountState.ACTIVE:
            return None
        return Account(entry.id, entry.name)

    async def reserved(self, name: str) -> bool:
        """See L{chat.ports.UserStore.reserved}."""
        entry = await self._commit.call(self._find, name)
        if entry is None or entry.state not in (AccountState.LEAVING, AccountState.DELETED):
            return False
        return self._users.holds(entry, self._now(), self._reserved)

    def alike(self, name: str) -> Awaitable[bool]:
        """See L{chat.ports.UserStore.alike}."""
        return self._commit.call(self._alike, name)

    def compare_names(self) -> Awaitable[bool]:
        """See L{chat.ports.UserStore.compare_names}."""
        return self._commit.call(self._compare_names, None)

    async def join(self, name: str) -> Account:
        """See L{chat.ports.UserStore.join}."""
        joined = await self._commit.call(self._join, name)
        if isinstance(joined, Refusal):
            raise joined
        return joined

    async def block(self, account: int, name: str | None, blocked: bool) -> list[str]:
        """See L{chat.ports.UserStore.block}."""
        names = await self._commit.call(self._block, blocks.Change(account, name, blocked))
        if isinstance(names, Refusal):
            raise names
        if names is None:
            raise account_gone()
        return names

    def invited(self, invitation: bytes) -> Awaitable[bool]:
        """See L{chat.ports.UserStore.invited}."""
        return self._commit.call(self._invited, invitation)

    def activate(self, account: Account, invitation: bytes | None = None) -> Awaitable[bool]:
        """See L{chat.ports.UserStore.activate}."""
        return self._commit.call(self._activate, (account.id, invitation))

    def abandon(self, account: Account) -> Awaitable[None]:
        """See L{chat.ports.UserStore.abandon}."""
        return self._commit.call(self._abandon, account.id)

    def leave(self, account: Account) -> Awaitable[bool]:
        """See L{chat.ports.UserStore.leave}."""
        return self._commit.call(self._leave, account.id)

    def free(self, account: Account) -> Awaitable[None]:
        """See L{chat.ports.UserStore.free}."""
        return self._commit.call(self._free, account.id)

    def unfinished(self) -> Awaitable[tuple[list[Account], list[Account]]]:
        """See L{chat.ports.UserStore.unfinished}."""
        return self._commit.call(self._unfinished, None)

    def _looks_taken(self, cursor: Cursor, name: str) -> bool:
        return self._users.alike(cursor, name, self._now(), self._reserved)

    def _join_under(self, cursor: Cursor, name: str) -> Account | Refusal:
        entry = self._users.named(cursor, name)
        if not self._room(0):
            return storage_full()
        if entry is None or not self._users.holds(entry, self._now(), self._reserved):
            if self._looks_taken(cursor, name):
                return looks_taken()
            return self._users.join(cursor, name, self._now())
        if entry.state in (AccountState.ACTIVE, AccountState.JOINING):
            reason = f"Somebody has just signed up as {name}. Choose another name, or log in."
            return Refusal(Code.NAME_TAKEN, reason)
        return name_reserved(name)


def _single(perform: Callable[[Cursor, A], R], file: str | None, *, insists: bool = False) -> Procedure[A, R]:
    """A procedure that serves one operation at a time and keeps its place."""
    return Procedure(
        lambda cursor, arguments: [perform(cursor, each) for each in arguments], file, insists=insists
    )


def _weight(post: Post) -> int:
    """The most bytes that the bodies of these messages can have."""
    return sum([len(body) if (body := draft.body).isascii() else 4 * len(body) for draft in post.drafts])
