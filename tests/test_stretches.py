"""Tests for L{chat.store.stretches}: a listing finds each message of a box, and looks at few others."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from random import Random
from typing import Any, Callable, Iterator

from twisted.trial.unittest import SynchronousTestCase

from chat.admin.audit import audit
from chat.admin.books import places
from chat.admin.exporting import export
from chat.errors import Refusal
from chat.ledger import Account
from chat.messages import Failed, Message
from chat.store import mailboxes, returns, stretches
from chat.store.stretches import INBOX, SENT
from tests.town import called, names
from tests.world import World, open_world

#: What belongs in each box, in SQL.
BOXES = {False: "recipient = ? AND state < 2", True: "sender = ?"}


class StretchesCase(SynchronousTestCase):
    """Alice, Bob and Carol, in a ledger of which each four ids are a stretch: 1 to 3, 4 to 7, 8 to 11..."""

    def setUp(self) -> None:
        """Sign them up."""
        self.patch(stretches, "STRETCH", 4)
        self.patch(places, "STRETCH", 4)
        self.world = open_world(self)
        self.people = self.alice, self.bob, self.carol = self.world.sign_up("alice", "bob", "carol")

    def send(self, sender: Account, recipient: str, count: int = 1, **fields: Any) -> list[int]:
        """The ids of so many messages."""
        return [self.world.send(sender, recipient, **fields).id for _ in range(count)]

    def remove(self, account: Account, *ids: int) -> None:
        """Remove these from the mailbox of the account, or recall them."""
        self.assertEqual(self.world.result(self.world.mailroom.remove(account, ids)).missing, [])

    def listed(self, account: Account, sent: bool, after: int, limit: int) -> tuple[list[int], bool]:
        """The ids on a page of a box, and whether more follow."""
        lines, more = self.world.result(self.world.store.listing(account.id, sent, after, limit))
        return [line.id for line in lines], more

    def listed_back(self, account: Account, sent: bool, before: int, limit: int) -> tuple[list[int], bool]:
        """The same from the newest message back."""
        lines, more = self.world.result(self.world.store.latest(account.id, sent, before, limit))
        return [line.id for line in lines], more

    def noted(self, account: Account, box: int) -> list[int]:
        """The stretches noted for a box."""
        return [
            stretch
            for (stretch,) in self.world.sql(
                "SELECT stretch FROM stretches WHERE account = ? AND box = ? ORDER BY stretch",
                account.id,
                box,
            )
        ]

    def assertClean(self) -> None:
        """The audit finds nothing: the notes are exact."""
        self.assertEqual(names(audit(self.world.path)), [])


class ListingTests(StretchesCase):
    """Every entry once, in order, however the box lies in the ledger."""

    def fill(self, count: int) -> None:
        """Let everybody write, remove and recall at random, so that boxes have long gaps."""
        chance = Random(11)
        for _ in range(count):
            sender = chance.choice(self.people[: chance.choice((1, 2, 3))])
            (id,) = self.send(
                sender, chance.choice(("alice", "bob", "carol", "carol", "nobody")), subject="s"
            )
            fate = chance.random()
            ((owner,),) = self.world.sql("SELECT recipient FROM ledger WHERE id = ?", id)
            if fate < 0.3:
                self.world.confirm(self.people[owner - 1], id)
            if fate < 0.6:
                self.remove(self.people[owner - 1], id)
            elif fate < 0.7:
                self.remove(sender, id)

    def boxes(self) -> Iterator[tuple[Account, bool, list[int]]]:
        """Each box, and what the ledger has for it."""
        for account in self.people:
            for sent, condition in BOXES.items():
                rows = self.world.sql(f"SELECT id FROM ledger WHERE {condition} ORDER BY id", account.id)
                yield account, sent, [id for (id,) in rows]

    def assertListed(self) -> None:
        """Page by page and from anywhere, what is listed is what the ledger has."""
        (last,) = self.world.sql("SELECT max(id) FROM ledger")[0]
        for account, sent, ids in self.boxes():
            for limit in (1, 3, 100):
                found: list[int] = []
                more = True
                while more:
                    page, more = self.listed(account, sent, found[-1] if found else 0, limit)
                    self.assertLessEqual(len(page), limit)
                    self.assertTrue(page or not more)
                    found += page
                    self.assertEqual(more, len(found) < len(ids))
                self.assertEqual(found, ids)
            for limit in (1, 3, 100):
                back: list[int] = []
                more = True
                while more:
                    page, more = self.listed_back(account, sent, back[-1] if back else 0, limit)
                    self.assertTrue(page or not more)
                    back += page
                    self.assertEqual(more, len(back) < len(ids))
                self.assertEqual(back, ids[::-1])
            for before in range(1, last + 9):
                ahead = [id for id in reversed(ids) if id < before]
                page, more = self.listed_back(account, sent, before, 2)
                self.assertEqual(page, ahead[: len(page)])
            for after in range(-3, last + 9):
                behind = [id for id in ids if id > after]
                page, more = self.listed(account, sent, after, 2)
                self.assertEqual(page, behind[: len(page)])
                self.assertEqual(bool(page), bool(behind))
                self.assertEqual(more, len(page) < len(behind))

    def test_everyEntry(self) -> None:
        """Boxes over many stretches, with gaps, however few stretches a page looks through."""
        self.fill(60)
        self.assertClean()
        for looked_through in (1, 2, 50):
            self.patch(mailboxes, "LOOKED_THROUGH", looked_through)
            self.assertListed()

    def test_bytes(self) -> None:
        """The same where a page is full after a few subjects."""
        self.patch(mailboxes, "PAGE_BYTES", 2)
        self.fill(30)
        self.assertListed()

    def test_lookedThrough(self) -> None:
        """A page ends when it has looked through so many stretches, if there is anything on it."""
        self.patch(mailboxes, "LOOKED_THROUGH", 3)
        mine = []
        for _ in range(5):
            mine += self.send(self.alice, "bob")
            self.send(self.carol, "carol", 3)
        self.assertEqual(self.noted(self.bob, INBOX), [0, 1, 2, 3, 4])
        self.assertEqual(self.listed(self.bob, False, 0, 100), (mine[:3], True))
        self.assertEqual(self.listed(self.bob, False, mine[2], 100), (mine[3:], False))

    def test_nothing(self) -> None:
        """An empty box is listed as such, whatever is asked for."""
        self.send(self.carol, "carol", 9)
        for sent in BOXES:
            for after in (0, 3, 2**53 - 1):
                self.assertEqual(self.listed(self.bob, sent, after, 100), ([], False))

    def test_plan(self) -> None:
        """A listing searches by the primary keys only, and reads no stretch but those noted."""
        self.send(self.carol, "carol", 20)
        self.send(self.alice, "bob")
        self.send(self.carol, "carol", 20)
        plans = self.plans(lambda: self.listed(self.bob, False, 0, 100))
        plans += self.plans(lambda: self.listed(self.alice, True, 0, 100))
        notes = "SEARCH stretches USING PRIMARY KEY (account=? AND box=? AND stretch>?)"
        self.assertEqual(plans, [[notes], [IN_STRETCH]] * 2)

    def test_planOfLeaving(self) -> None:
        """Whether anything is left in a stretch is looked up in that stretch only."""
        (id,) = self.send(self.alice, "bob")
        plans = self.plans(lambda: self.remove(self.bob, id), "SELECT 1 FROM ledger")
        self.assertEqual(plans, [[IN_STRETCH]])
        self.world.clock.advance(1)
        fold = self.world.store.fold
        plans = self.plans(lambda: self.world.result(fold(self.world.now())), "SELECT 1 FROM ledger")
        self.assertEqual(plans, [[IN_STRETCH]])

    def plans(self, step: Callable[[], object], beginning: str = "SELECT") -> list[list[str]]:
        """How SQLite carries out each statement of this step on ledger and stretches."""
        connection = next(iter(self.world.pool.connections.values()))
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        step()
        connection.set_trace_callback(None)
        return [
            [row[-1] for row in self.world.sql(f"EXPLAIN QUERY PLAN {statement}")]
            for statement in statements
            if statement.startswith(beginning) and "users." not in statement
        ]


#: How SQLite finds what is in a stretch.
IN_STRETCH = "SEARCH ledger USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"


class NoteTests(StretchesCase):
    """A note for each stretch with a message of the box, and none without."""

    def test_accepted(self) -> None:
        """Mail is noted for both sides, where it lies; what came back for its sender alone."""
        self.send(self.alice, "bob", 5)
        self.send(self.carol, "nobody", 3)
        self.assertEqual([self.noted(each, INBOX) for each in self.people], [[], [0, 1], [1, 2]])
        self.assertEqual([self.noted(each, SENT) for each in self.people], [[0, 1], [], [1, 2]])
        self.assertClean()

    def test_together(self) -> None:
        """The same when all of it comes at once, with a ref that is known already among it."""
        self.send(self.alice, "bob", ref="r", body="x")
        sent = [Message(recipient=name, body="x") for name in ("carol", "bob", "nobody", "carol")]
        self.world.accept(self.alice, *sent, Message(recipient="bob", body="x", ref="r"), *sent)
        self.assertEqual(self.world.sql("SELECT max(id) FROM ledger"), [(9,)])
        self.assertEqual([self.noted(each, INBOX) for each in self.people], [[1, 2], [0, 1], [0, 1, 2]])
        self.assertClean()

    def test_removed(self) -> None:
        """The last one that is removed from a stretch takes the note with it; the sender's stays."""
        ids = self.send(self.alice, "bob", 7)
        self.world.confirm(self.bob, *ids)
        self.assertEqual(self.noted(self.bob, INBOX), [0, 1])
        self.remove(self.bob, 1, 2, 4)
        self.assertEqual(self.noted(self.bob, INBOX), [0, 1])
        self.remove(self.bob, 3)
        self.assertEqual(self.noted(self.bob, INBOX), [1])
        self.assertClean()
        self.send(self.alice, "bob")
        self.remove(self.bob, 5, 6, 7)
        self.assertEqual(self.noted(self.bob, INBOX), [2])
        self.assertEqual(self.noted(self.alice, SENT), [0, 1, 2])
        self.assertClean()

    def test_again(self) -> None:
        """A note that was struck out is made again when something new comes into the stretch."""
        (first,) = self.send(self.alice, "bob")
        self.remove(self.bob, first)
        self.assertEqual(self.noted(self.bob, INBOX), [])
        self.send(self.alice, "bob")
        self.assertEqual(self.noted(self.bob, INBOX), [0])
        self.assertClean()

    def test_recalled(self) -> None:
        """What is recalled is out of the mailbox of the one it was for."""
        ids = self.send(self.alice, "bob", 4)
        self.remove(self.alice, *ids[:3])
        self.assertEqual((self.noted(self.bob, INBOX), self.noted(self.alice, SENT)), ([1], [0, 1]))
        self.assertClean()

    def test_deletedAccount(self) -> None:
        """What waits for a leaving account moves to its senders; what it had read is erased, all of it."""
        self.patch(returns, "TURNED_AT_ONCE", 3)
        read = self.send(self.alice, "bob", 9)
        self.world.confirm(self.bob, *read)
        self.send(self.carol, "bob", 9)
        self.send(self.bob, "bob", 2)
        self.world.delete(self.bob)
        self.assertEqual([self.noted(each, INBOX) for each in self.people], [[], [], [2, 3, 4]])
        self.assertEqual(self.noted(self.bob, SENT), [4, 5])
        self.assertEqual(self.world.sql("SELECT id FROM ledger WHERE recipient = 2 AND state < 2"), [])
        self.assertClean()

    def scatter(self) -> list[int]:
        """The ids of messages to Bob, each in another stretch; two stretches are enough for a transaction."""
        self.patch(returns, "LOOKED_THROUGH", 2)
        ids = []
        for _ in range(5):
            ids += self.send(self.alice, "bob")
            self.send(self.carol, "carol", 3)
        return ids

    def left(self) -> list[list[int]]:
        """The stretches noted for Bob, who is leaving, after each step of that."""
        self.world.result(self.world.store.leave(self.bob))
        noted = []
        more = True
        while more:
            more, _ = self.world.result(self.world.store.turn_round(self.bob))
            noted.append(self.noted(self.bob, INBOX))
        return noted

    def test_erasedByAndBy(self) -> None:
        """A mailbox that lies scattered in the ledger is erased a few stretches at a time."""
        self.world.confirm(self.bob, *self.scatter())
        self.assertEqual(self.left(), [[2, 3, 4], [4], [], []])

    def test_returnedByAndBy(self) -> None:
        """What waits in it goes back as few at a time."""
        ids = self.scatter()
        self.assertEqual(self.left(), [[2, 3, 4], [4], [], []])
        self.assertEqual([letter.id for letter in self.world.waiting(self.alice)], ids)

    def test_expiredByAndBy(self) -> None:
        """What expires, too; what is only looked at is no work."""
        self.scatter()
        self.world.clock.advance(10)
        self.send(self.alice, "bob", 9)
        after: tuple[int, int] | None = (0, 0)
        noted = []
        while after is not None:
            after, _ = self.world.result(self.world.store.expire(self.world.now() - 1000, after))
            noted.append(self.noted(self.bob, INBOX))
        self.assertEqual(noted, [[2, 3, 4, 5, 6, 7], [4, 5, 6, 7], [5, 6, 7]])

    def test_dead(self) -> None:
        """A dead letter is in nobody's inbox."""
        self.send(self.carol, "bob", 5)
        self.world.delete(self.carol)
        self.world.delete(self.bob)
        self.assertEqual([self.noted(each, INBOX) for each in self.people], [[], [], []])
        self.assertEqual(self.noted(self.carol, SENT), [0, 1])
        self.assertClean()

    def test_expired(self) -> None:
        """What expires leaves one inbox and comes into another."""
        self.send(self.alice, "bob", 5)
        self.world.clock.advance(10)
        self.send(self.carol, "bob")
        self.world.result(self.world.store.expire(self.world.now() - 1000, (0, 0)))
        self.assertEqual([self.noted(each, INBOX) for each in self.people], [[0, 1], [1], []])
        self.assertClean()

    def test_folded(self) -> None:
        """What is folded is in the box of what was sent no more."""
        ids = self.send(self.alice, "bob", 9)
        self.send(self.carol, "bob")
        self.remove(self.bob, *ids[:8])
        self.world.clock.advance(1)
        self.world.result(self.world.store.fold(self.world.now()))
        self.assertEqual([self.noted(each, SENT) for each in self.people], [[2], [], [2]])
        self.assertEqual(self.listed(self.alice, True, 0, 100), ([9], False))
        self.assertClean()

    def test_imported(self) -> None:
        """What an import brings back or adds is noted, in the place of its id."""
        self.send(self.alice, "bob", 3)
        ids = self.send(self.bob, "alice", 6)
        self.send(self.carol, "alice")
        self.world.confirm(self.alice, *ids[:3])
        self.world.close()
        with export(self.world.path, "alice", "jsonl") as found:
            content = found.read()
        self.world = self.world.reopen()
        self.remove(self.alice, 1, 2, 3, *ids)
        self.assertEqual((self.noted(self.alice, INBOX), self.noted(self.bob, INBOX)), ([2], []))
        self.world.close()
        self.load(self.world.path, content)
        self.assertEqual((self.noted(self.alice, INBOX), self.noted(self.bob, INBOX)), ([1, 2], [0]))
        self.assertClean()
        self.world = World(self.mktemp())
        self.addCleanup(lambda: self.world.close())
        self.alice, self.bob = self.world.sign_up("alice", "bob")
        self.send(self.bob, "bob", 2)
        self.world.close()
        self.load(self.world.path, content)
        self.assertEqual((self.noted(self.alice, INBOX), self.noted(self.bob, INBOX)), ([1, 2], [0, 2, 3]))
        self.world = self.world.reopen()
        ids = [id for (id,) in self.world.sql("SELECT id FROM ledger WHERE sender = 1 ORDER BY id")]
        self.assertEqual(self.listed(self.alice, True, 0, 100), (ids, False))
        self.assertClean()

    def load(self, directory: Path, content: bytes) -> None:
        """Import this mailbox of Alice's."""
        file = Path(self.mktemp())
        file.write_bytes(content)
        status, out, err = called("import", "--data", str(directory), "alice", str(file))
        self.assertEqual((status, err), (0, ""), out)


class RollbackTests(StretchesCase):
    """What was noted in a transaction that was rolled back is not remembered as noted."""

    def test_noRoom(self) -> None:
        """The next message to the same stretch notes it."""
        self.world.pool.room = 0
        (answer,) = self.world.accept(self.alice, Message(recipient="bob", body="x"))
        self.assertIsInstance(answer, Failed)
        self.world.pool.room = None
        self.assertEqual(self.noted(self.bob, INBOX), [])
        self.assertEqual(self.listed(self.bob, False, 0, 100), ([], False))
        self.send(self.alice, "bob")
        self.assertEqual((self.noted(self.bob, INBOX), self.noted(self.alice, SENT)), ([0], [0]))
        self.assertEqual(self.listed(self.bob, False, 0, 100), ([1], False))
        self.assertClean()

    def test_notRemoved(self) -> None:
        """A note that was struck out in vain is there, and is struck out with the last message."""
        (id,) = self.send(self.alice, "bob")
        self.world.pool.room = 0
        self.assertRaises(Refusal, self.remove, self.bob, id)
        self.world.pool.room = None
        self.assertEqual(self.listed(self.bob, False, 0, 100), ([id], False))
        self.assertClean()
        self.remove(self.bob, id)
        self.assertEqual(self.noted(self.bob, INBOX), [])
        self.assertClean()

    def test_notReturned(self) -> None:
        """The same for what did not come back for want of room."""
        self.send(self.alice, "bob", 5)
        self.world.clock.advance(1)
        before = self.world.now()
        self.world.pool.room = 0
        self.assertRaises(Refusal, lambda: self.world.result(self.world.store.expire(before, (0, 0))))
        self.world.pool.room = None
        self.assertClean()
        self.world.result(self.world.store.expire(before, (0, 0)))
        self.assertEqual((self.noted(self.alice, INBOX), self.noted(self.bob, INBOX)), ([0, 1], []))
        self.assertClean()

    def test_crash(self) -> None:
        """After a crash nothing is remembered, and nothing need be."""
        self.send(self.alice, "bob", 5)
        self.world = self.world.crash(self.mktemp())
        self.addCleanup(self.world.close)
        self.send(self.alice, "bob", 5)
        self.assertEqual(self.noted(self.bob, INBOX), [0, 1, 2])
        self.assertClean()


class MemoryTests(StretchesCase):
    """A note is written once; but what is remembered is bounded."""

    def written(self, step: Callable[[], object]) -> int:
        """How many notes this step tries to write."""
        connection: sqlite3.Connection = next(iter(self.world.pool.connections.values()))
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        step()
        connection.set_trace_callback(None)
        return len([each for each in statements if "INTO stretches" in each])

    def test_once(self) -> None:
        """For another message in the same stretch nothing is written."""
        self.assertEqual(self.written(lambda: self.send(self.alice, "bob")), 2)
        self.assertEqual(self.written(lambda: self.send(self.alice, "bob")), 0)

    def test_bounded(self) -> None:
        """When it is too much it is forgotten, and looked up again."""
        self.patch(stretches, "_REMEMBERED", 3)
        self.send(self.alice, "bob")
        self.assertEqual(self.written(lambda: self.send(self.carol, "carol")), 2)
        self.assertEqual(self.written(lambda: self.send(self.alice, "bob")), 2)
        self.assertEqual(self.noted(self.bob, INBOX), [0])
        self.assertClean()
