"""Tests for the store: long walks beside a model, and threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Callable, Sequence

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chat.errors import Code, FatalError, Refusal
from chat.ledger import LAWFUL, RECEIPT, Acceptance, Account, AccountState, Arrival, Draft, State
from chat.ports import Outcome
from chat.store import Store, stretches
from chat.store.files import DataDirectory, schemas
from chat.store.hashing import HashingPool
from chat.store.pool import threaded_pool
from tests.store_case import Asked, draft
from tests.world import RESERVED, World

NAMES = ("alice", "bob", "carol")


@dataclass
class Row:
    """A message as it should be in the ledger."""

    id: int
    sender: int
    owner: int
    position: int
    time: int
    sent: Draft
    code: str | None = None
    state: int = 0
    settled: int | None = None
    addressee: str | None = None
    content: bool = True

    @property
    def boxed(self) -> bool:
        """Whether it is in a mailbox."""
        return self.state < 2

    def columns(self) -> tuple[object, ...]:
        """As SQL finds it."""
        return (
            self.id,
            self.sender,
            self.owner,
            self.position,
            self.time,
            self.time if self.settled is None else self.settled,
            self.state,
            self.sent.options,
            self.sent.ref,
            self.code,
            self.addressee,
            self.sent.body if self.content else None,
        )


@dataclass
class Person:
    """An account as it should be."""

    account: Account
    state: AccountState
    freed: int = 0

    def keeps_name(self, now: int) -> bool:
        """Whether the account is gone, but not long enough for somebody else to have its name."""
        if self.state == AccountState.DELETED:
            return now - self.freed < RESERVED
        return self.state == AccountState.LEAVING


@dataclass
class Model:
    """What the ledger should be, told in the plainest way there is."""

    people: list[Person] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    offered: dict[int, int] = field(default_factory=dict)
    online: set[int] = field(default_factory=set)
    position: int = 0

    def waiting(self, account: int) -> list[Row]:
        """What waits for the account, in order."""
        found = [row for row in self.rows if row.owner == account and row.state == 0]
        return sorted(found, key=lambda row: row.position)

    def person(self, id: int) -> Person:
        """Who has this id."""
        return next(each for each in self.people if each.account.id == id)

    def named(self, name: str | None) -> Person | None:
        """Who has the name, or else had it last."""
        having = [each for each in self.people if each.account.name == name]
        return having[-1] if having else None

    def arrive(self, row: Row) -> None:
        """It is in a mailbox now."""
        self.position += 1
        row.position = self.position
        if row.owner in self.online:
            self.offered[row.owner] = self.position

    def accept(self, person: Person, sent: Draft, now: int) -> tuple[object, ...]:
        """What the answer should be: id, time, state, code, whose mailbox, whether it is new."""
        sender = person.account.id
        if person.state != AccountState.ACTIVE:
            return ("gone",)
        for row in self.rows:
            if row.sender == sender and sent.ref is not None and row.sent.ref == sent.ref:
                if (row.sent.addressee, row.sent.body) != (sent.addressee, sent.body):
                    return ("reused",)
                return (row.id, row.time, row.state, row.code, row.owner, False)
        found = self.named(sent.recipient)
        row = Row(len(self.rows) + 1, sender, sender, 0, now, sent)
        if found is not None and found.state == AccountState.ACTIVE:
            row.owner = found.account.id
        elif found is not None and found.keeps_name(now):
            row.code = "account-deleted"
        else:
            row.code = "unknown-recipient"
        if row.code is not None:
            row.addressee = sent.addressee
        self.rows.append(row)
        self.arrive(row)
        return (row.id, now, 0, row.code, row.owner, True)

    def settle(self, row: Row, state: State, now: int) -> None:
        """The message leaves its state."""
        row.state = state
        row.settled = row.settled or now
        row.content = state in (State.DELIVERED, State.DEAD)

    def confirm(self, account: int, ids: Sequence[int], now: int) -> set[tuple[int, int]]:
        """Which senders should hear of which ids."""
        told = set()
        for row in self.rows:
            if row.id in ids and row.owner == account and row.state == 0:
                self.settle(row, State.DELIVERED, now)
                if row.sent.options & RECEIPT and row.code is None:
                    told.add((row.id, row.sender))
        return told

    def remove(self, account: int, ids: Sequence[int], now: int) -> tuple[set[int], set[tuple[int, int]]]:
        """Which ids should be gone, and which senders should hear of which."""
        told = self.confirm(account, ids, now)
        gone = set()
        for row in self.rows:
            if row.id in ids and row.owner == account and row.state == State.DELIVERED:
                self.settle(row, State.REMOVED, now)
                gone.add(row.id)
            elif row.id in ids and row.sender == account and row.state == 0 and row.code is None:
                self.settle(row, State.RECALLED, now)
                gone.add(row.id)
        return gone, told

    def turn_round(self, person: Person, now: int) -> None:
        """The leaving account's mailbox is emptied."""
        for row in self.waiting(person.account.id):
            sender_there = self.person(row.sender).state == AccountState.ACTIVE
            back = row.code is not None
            row.owner = row.sender
            row.code = row.code or "account-deleted"
            row.addressee = row.addressee or person.account.name
            if sender_there and not back:
                online, self.online = self.online, set()  # it is read from the store, not pushed
                self.arrive(row)
                self.online = online
            else:
                self.settle(row, State.DEAD, now)
        for row in self.rows:
            if row.owner == person.account.id and row.state == State.DELIVERED:
                self.settle(row, State.REMOVED, now)


class Loud:
    """A session that is live and only counts what it is pushed."""

    live = True

    def __init__(self) -> None:
        self.ids: list[int] = []

    def push(self, arrivals: Sequence[Arrival]) -> None:
        """Remember the ids."""
        self.ids.extend(message.id for _, message in arrivals)

    def more(self) -> None:
        """Nothing is read."""

    def notify(self, frame: object) -> None:
        """Nothing is told."""

    def expel(self, error: FatalError) -> None:
        """Nobody is told."""


class Walk:
    """Anything in any order, beside the model; after each step the files are what the model says."""

    def __init__(self, place: Callable[[], str], seed: int) -> None:
        """Start with two people.

        @param place: names a directory that is not there yet.
        """
        self.place = place
        self.random = Random(seed)
        self.world = World(place())
        self.model = Model()
        self.steps: list[str] = []
        self.met: set[tuple[int, bool]] = set()
        for name in NAMES[:2]:
            self.join(name, complete=True)

    def close(self) -> None:
        """The walk is over."""
        self.world.close()

    def run(self, count: int) -> None:
        """Take so many steps."""
        kinds = {
            self.send: 12,
            self.confirm: 6,
            self.remove: 6,
            self.page: 3,
            self.come_or_go: 3,
            self.sign_up: 5,
            self.leave: 2,
            self.wait: 3,
            self.again: 2,
        }
        for step in self.random.choices(list(kinds), list(kinds.values()), k=count):
            self.steps.append(step.__name__)
            step()
            self.compare()

    def person(self) -> Person:
        """One of those who are or were there; mostly one who is."""
        active = [each for each in self.model.people if each.state == AccountState.ACTIVE]
        return self.random.choice(active if active and self.random.random() < 0.9 else self.model.people)

    def ids(self) -> list[int]:
        """A few ids, not all of which exist."""
        highest = len(self.model.rows) + 1
        return [self.random.randint(max(0, highest - 25), highest) for _ in range(self.random.randrange(9))]

    def drafts(self, sender: Person) -> list[Draft]:
        """A few messages, some of them sent before."""
        pick = self.random.choice
        sent = [row.sent for row in self.model.rows[-20:] if row.sender == sender.account.id]
        return [
            pick(sent)
            if sent and self.random.random() < 0.2
            else draft(
                pick([*NAMES, *NAMES, "nobody", None]),
                pick(["one", "two"]),
                ref=pick([None, None, f"r{len(self.model.rows) // 4}", f"r{self.random.randrange(20)}"]),
                receipt=pick([True, False]),
            )
            for _ in range(self.random.randrange(1, 5))
        ]

    # --- the steps ---

    def sign_up(self) -> None:
        """Somebody signs up, if the name can be had."""
        self.join(self.random.choice(NAMES), complete=self.random.random() < 0.8)

    def join(self, name: str, *, complete: bool) -> None:
        """Somebody signs up, or begins to."""
        there = self.model.named(name)
        free = there is None or (
            there.state == AccountState.DELETED and not there.keeps_name(self.world.now())
        )
        try:
            account = self.world.result(self.world.store.join(name))
        except Refusal:
            assert not free
            return
        assert free
        assert account.id > max((each.account.id for each in self.model.people), default=0)
        if complete:
            self.world.result(self.world.store.activate(account))
        self.model.people.append(Person(account, AccountState.ACTIVE if complete else AccountState.JOINING))

    def send(self) -> None:
        """Two senders send in one group; sometimes there is no room for any of it."""
        asked = Asked()
        posts = [(person, self.drafts(person)) for person in (self.person(), self.person())]
        full = self.random.random() < 0.1
        self.world.pool.room = 0 if full else None
        for person, sent in posts:
            self.world.store.accept(person.account.id, sent, asked.done, asked.failed)
        self.world.settle()
        self.world.pool.room = None
        assert len(asked.told) == 2
        for (person, sent), told in zip(posts, asked.told):
            if isinstance(told, Refusal):
                assert (full, told.code) == (True, Code.STORAGE_FULL)
                continue
            before = len(self.model.rows)
            expected = [self.model.accept(person, each, self.world.now()) for each in sent]
            assert [self.shown(outcome) for outcome in told] == expected
            assert not full or len(self.model.rows) == before

    @staticmethod
    def shown(outcome: Outcome) -> tuple[object, ...]:
        """An outcome as the model tells it."""
        if outcome is None:
            return ("gone",)
        if isinstance(outcome, Refusal):
            assert outcome.code == Code.REF_REUSED
            return ("reused",)
        return (outcome.id, outcome.time, outcome.state, outcome.code, outcome.mailbox, outcome.fresh)

    def confirm(self) -> None:
        """Somebody confirms what may or may not be theirs."""
        asked = Asked()
        account, ids = self.person().account.id, self.ids()
        self.world.store.confirm(account, ids, asked.done, asked.failed)
        self.world.settle()
        assert set(asked.told[0]) == self.model.confirm(account, ids, self.world.now())

    def remove(self) -> None:
        """Somebody removes, or recalls, what may or may not be theirs."""
        account, ids = self.person().account.id, self.ids()
        removal = self.world.result(self.world.store.remove(account, ids))
        gone, told = self.model.remove(account, ids, self.world.now())
        assert set(removal.confirmations) == told
        assert removal.ids == [id for id in dict.fromkeys(ids) if id in gone]
        assert removal.missing == [id for id in dict.fromkeys(ids) if id not in gone]

    def page(self) -> None:
        """Somebody reads what waits."""
        account = self.person().account
        letters = self.world.waiting(account)
        expected = self.model.waiting(account.id)
        assert [letter.id for letter in letters] == [row.id for row in expected]
        if expected:
            last = expected[-1].position
            self.model.offered[account.id] = max(last, self.model.offered.get(account.id, 0))

    def come_or_go(self) -> None:
        """Somebody comes online or goes."""
        account = self.person().account.id
        sessions = self.world.directory.sessions(account)
        if sessions:
            self.model.online.discard(account)
            self.world.directory.discard(account, sessions[0])
        else:
            self.model.online.add(account)
            self.world.directory.add(account, Loud())

    def leave(self) -> None:
        """Somebody deletes the account, or begins to."""
        person = self.person()
        left = self.world.result(self.world.store.leave(person.account))
        assert left == (person.state == AccountState.ACTIVE)
        if left:
            person.state = AccountState.LEAVING
        if person.state == AccountState.LEAVING and self.random.random() < 0.8:
            self.world.result(self.world.mailroom.turn_round(person.account))
            self.model.turn_round(person, self.world.now())
            if self.random.random() < 0.8:
                self.world.result(self.world.store.free(person.account))
                person.state, person.freed = AccountState.DELETED, self.world.now()

    def wait(self) -> None:
        """Time passes."""
        self.world.clock.advance(
            self.random.choice([0.001, RESERVED / 2000, RESERVED / 1000, RESERVED / 1000])
        )

    def again(self) -> None:
        """The server is stopped or killed, and starts again; nobody is online, nothing half done."""
        if self.random.random() < 0.5:
            self.world = self.world.reopen()
        else:
            self.world = self.world.crash(self.place())
        self.model.online.clear()
        self.world.result(self.world.accounts.finish())
        for person in list(self.model.people):
            if person.state == AccountState.LEAVING:
                self.model.turn_round(person, self.world.now())
                person.state, person.freed = AccountState.DELETED, self.world.now()
            elif person.state == AccountState.JOINING:
                self.model.people.remove(person)

    def compare(self) -> None:
        """The files hold what the model holds."""
        sql, model = self.world.sql, self.model
        self.met |= {(row.state, row.code is not None) for row in model.rows}
        rows = sql(
            "SELECT id, sender, recipient, position, time, settled, state, options, ref, code,"
            " addressee, body FROM ledger ORDER BY id"
        )
        assert rows == [row.columns() for row in model.rows]
        assert sql("SELECT id, position FROM counters") == [(len(model.rows), model.position)]
        due = {(row.owner, 0, row.id // 4) for row in model.rows if row.boxed}
        due |= {(row.sender, 1, row.id // 4) for row in model.rows}
        assert set(sql("SELECT account, box, stretch FROM stretches")) == due
        counts = {account: rest for account, *rest in sql("SELECT account, waiting, offered FROM mailboxes")}
        for person in model.people:
            id = person.account.id
            expected = [len(model.waiting(id)), model.offered.get(id, 0)]
            assert counts.pop(id, [0, 0]) == expected, person
        assert counts == {}


class WalkTests(SynchronousTestCase):
    """Hundreds of steps that nobody thought of."""

    def test_walk(self) -> None:
        """Whatever happens in whatever order, the files are what the plainest model says."""
        met: set[tuple[int, bool]] = set()
        self.patch(stretches, "STRETCH", 4)
        for seed in range(4):
            walk = Walk(self.mktemp, seed)
            self.addCleanup(walk.close)
            try:
                walk.run(200)
            except AssertionError as error:
                self.fail(f"seed {seed}, after {len(walk.steps)} steps: {walk.steps[-8:]}: {error}")
            met |= walk.met
        self.assertEqual(met, LAWFUL)  # or else the walk would have missed something


class ThreadTests(TestCase):
    """The store as the daemon runs it: a database thread and hashing threads."""

    def setUp(self) -> None:
        """Open it."""
        self.path = Path(self.mktemp())
        data = DataDirectory(self.path, schemas())
        data.open()
        self.addCleanup(data.close)
        self.hashing = HashingPool()
        self.hashing.start()
        self.addCleanup(self.hashing.stop)
        self.store = self.open()

    def open(self) -> Store:
        """A store on the files."""
        return Store(
            threaded_pool(reactor, self.path),
            reactor,
            live=lambda account: False,
            now=lambda: 1000,
            reserved=RESERVED,
            in_thread=self.in_thread,
            rounds=4,
        )

    def in_thread(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        """Call in a hashing thread."""
        return deferToThreadPool(reactor, self.hashing, function, *arguments)  # type: ignore[arg-type]

    def accept(self, sender: Account, drafts: Sequence[Draft]) -> Deferred[Sequence[Outcome]]:
        """Send these together."""
        result: Deferred[Sequence[Outcome]] = Deferred()
        self.store.accept(sender.id, drafts, result.callback, result.errback)
        return result

    async def account(self, name: str) -> Account:
        """An account that exists."""
        account = await self.store.join(name)
        await self.store.activate(account)
        return account

    async def test_traffic(self) -> None:
        """A few hundred messages from several senders: each is accepted once, in order, and on disk."""
        people = [await self.account(name) for name in ("alice", "bob", "carol")]
        results = await gatherResults(
            [
                self.accept(people[n % 3], [draft("alice", f"{n}", ref=f"r{n}"), draft("bob", f"{n}")])
                for n in range(150)
            ]
        )
        ids = [outcome.id for outcomes in results for outcome in outcomes if isinstance(outcome, Acceptance)]
        self.assertEqual(ids, list(range(1, 301)))
        await self.store.close()
        self.store = self.open()
        self.assertEqual((await self.store.mailbox(people[0].id)).waiting, 150)
        await self.store.close()

    async def test_passwords(self) -> None:
        """Many passwords are compared at once, each with its own answer."""
        alice = await self.account("alice")
        passwords = self.store.passwords
        await passwords.set(alice.id, b"correct horse")
        tries = [(alice.id, b"correct horse"), (alice.id, b"wrong"), (None, b"correct horse")] * 10
        answers = await gatherResults(
            [Deferred.fromCoroutine(passwords.verify(account, password)) for account, password in tries]
        )
        self.assertEqual(answers, [True, False, False] * 10)
        await self.store.close()

    async def test_closeWaits(self) -> None:
        """What was asked before the end is on disk, and told; what is asked after it is refused."""
        alice = await self.account("alice")
        last = self.accept(alice, [draft("alice")])
        closed = self.store.close()
        late = self.accept(alice, [draft("alice")])
        refusal: Any = await self.assertFailure(late, Refusal)
        self.assertEqual(refusal.code, Code.SHUTTING_DOWN)
        await closed
        (outcome,) = self.successResultOf(last)
        assert isinstance(outcome, Acceptance)
        self.assertEqual(outcome.id, 1)
