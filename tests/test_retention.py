"""Tests for retention: the old goes back or is folded, and the promise holds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.admin.audit import Report, audit
from chat.errors import Code, Refusal
from chat.ledger import State
from chat.messages import Accepted, Message
from chat.store import folding, returns
from tests.retention_case import DAY, MS, Limited
from tests.town import called, names
from tests.world import Onlooker


class RetentionCase(SynchronousTestCase):
    """A world with three people in it."""

    limit = 0

    def setUp(self) -> None:
        """Alice, bob and carol."""
        self.world = Limited(self.mktemp(), limit=self.limit)
        self.addCleanup(self.world.close)
        self.alice, self.bob, self.carol = self.world.sign_up("alice", "bob", "carol")

    def expire(self, days: float) -> set[int]:
        """Let everything expire that is older; to whose mailboxes messages came back."""
        before = self.world.now() - int(days * DAY * MS)
        senders: set[int] = set()
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            after, some = self.world.result(self.world.store.expire(before, after))
            self.world.mailroom.returned(some)
            senders |= some
        self.world.settle()
        return senders

    def fold(self, days: float) -> int:
        """Fold everything that is older; in how many transactions."""
        times = 1
        while self.world.result(self.world.store.fold(self.world.now() - int(days * DAY * MS))):
            times += 1
        return times

    def row(self, id: int) -> tuple[Any, ...]:
        """What the ledger says of a message: mailbox, state, code, addressee, body."""
        (found,) = self.world.sql(
            "SELECT recipient, state, code, addressee, body FROM ledger WHERE id = ?", id
        )
        return tuple(found)

    def assertClean(self) -> Report:
        """The audit finds nothing."""
        report = audit(self.world.path, deep=True)
        self.assertEqual(names(report), [])
        return report


class ExpireTests(RetentionCase):
    """What nobody collects for so long turns round to its sender."""

    def test_turnsRound(self) -> None:
        """The old one goes back with its code, the younger one stays; the audit is clean."""
        old = self.world.send(self.alice, "bob", "old", subject="hi").id
        self.world.clock.advance(2 * DAY)
        young = self.world.send(self.alice, "bob", "young").id
        self.assertEqual(self.expire(1), {self.alice.id})
        self.assertEqual(self.row(old), (self.alice.id, State.WAITING, "expired", "bob", "old"))
        self.assertEqual(self.row(young), (self.bob.id, State.WAITING, None, None, "young"))
        self.assertEqual([letter.id for letter in self.world.waiting(self.bob)], [young])
        self.assertEqual([letter.id for letter in self.world.waiting(self.alice)], [old])
        self.assertClean()

    def test_exactAge(self) -> None:
        """Not a moment before its time."""
        self.world.send(self.alice, "bob")
        self.world.clock.advance(DAY)
        self.assertEqual(self.expire(1), set())
        self.world.clock.advance(0.001)
        self.assertEqual(self.expire(1), {self.alice.id})

    def test_online(self) -> None:
        """A sender who is there is shown it at once, with the reason."""
        onlooker = Onlooker(self.world, self.alice).enter()
        id = self.world.send(self.alice, "bob", "hello").id
        self.world.clock.advance(2 * DAY)
        self.expire(1)
        (shown,) = onlooker.shown
        self.assertEqual((shown.id, shown.recipient, shown.body), (id, "alice", "hello"))
        assert shown.returned is not None
        self.assertEqual((shown.returned.code, shown.returned.recipient), ("expired", "bob"))
        self.assertIn("Nobody collected", shown.returned.note)

    def test_returnsNever(self) -> None:
        """What came back already stays until it is collected, however long that takes."""
        back = self.world.send(self.alice, "nobody").id
        once = self.world.send(self.alice, "bob").id
        self.world.clock.advance(2 * DAY)
        self.expire(1)
        before = [self.row(id) for id in (back, once)]
        self.world.clock.advance(2000 * DAY)
        self.assertEqual(self.expire(1), set())
        self.assertEqual([self.row(id) for id in (back, once)], before)

    def test_toOneself(self) -> None:
        """What somebody sent to themselves is with its sender already: no session gets it twice."""
        onlooker = Onlooker(self.world, self.alice).enter()
        id = self.world.send(self.alice, "alice").id
        self.world.clock.advance(2 * DAY)
        self.assertEqual(self.expire(1), set())
        self.assertEqual(onlooker.ids, [id])
        self.assertEqual(self.row(id)[2], None)

    def test_confirmedNever(self) -> None:
        """What was collected stays in its mailbox; a receipt that comes too late is passed over."""
        kept = self.world.send(self.alice, "bob").id
        late = self.world.send(self.alice, "bob").id
        self.world.confirm(self.bob, kept)
        self.world.clock.advance(2 * DAY)
        self.assertEqual(self.expire(1), {self.alice.id})
        self.world.confirm(self.bob, late)
        self.assertEqual(self.row(kept)[:3], (self.bob.id, State.DELIVERED, None))
        self.assertEqual(self.row(late)[:3], (self.alice.id, State.WAITING, "expired"))
        self.assertClean()

    def test_senderGone(self) -> None:
        """With a sender who is gone it is a dead letter, as at the deletion of an account."""
        id = self.world.send(self.alice, "bob").id
        self.world.delete(self.alice)
        self.world.clock.advance(2 * DAY)
        self.assertEqual(self.expire(1), set())
        self.assertEqual(self.row(id), (self.alice.id, State.DEAD, "expired", "bob", "hello"))
        self.assertClean()

    def test_repeated(self) -> None:
        """A repeated ref is told that it came back, and makes no copy."""
        first = self.world.send(self.alice, "bob", ref="r")
        self.world.clock.advance(2 * DAY)
        self.expire(1)
        again = self.world.send(self.alice, "bob", ref="r")
        self.assertEqual((again.id, again.time, again.state), (first.id, first.time, "returned"))

    def test_chunks(self) -> None:
        """Many mailboxes in small transactions: all that is due, nothing else, whatever the clock did."""
        self.patch(returns, "AGED_AT_ONCE", 3)
        chance = random.Random(7)
        people = [self.alice, self.bob, self.carol]
        due = set()
        sent: list[int] = []
        for number in range(40):
            old = chance.random() < 0.5
            sender, recipient = chance.sample(people, 2)
            id = self.world.send(sender, recipient.name, str(number)).id
            sent.append(id)
            if old:
                due.add(id)
        self.world.sql(
            "UPDATE ledger SET time = time - ?1, settled = settled - ?1"
            " WHERE id IN (SELECT value FROM json_each(?2))",
            2 * DAY * MS,
            str(sorted(due)),
        )
        self.expire(1)
        expired = {id for (id,) in self.world.sql("SELECT id FROM ledger WHERE code = 'expired'")}
        self.assertEqual(expired, due)
        self.assertClean()

    def test_bytes(self) -> None:
        """A transaction turns round so many bytes and no more; what stays does not count."""
        self.patch(returns, "TURNED_BYTES", 2000)
        kept = [self.world.send(self.bob, "bob", "x" * 1500).id for _ in range(3)]
        old = [self.world.send(self.alice, "bob", "x" * 900).id for _ in range(7)]
        self.world.clock.advance(2 * DAY)
        before = self.world.now() - DAY * MS
        after: tuple[int, int] | None = (0, 0)
        turned = [0]
        while after is not None:
            after, _ = self.world.result(self.world.store.expire(before, after))
            ((count,),) = self.world.sql("SELECT count(*) FROM ledger WHERE code = 'expired'")
            turned.append(count)
        self.assertEqual(turned, [0, 3, 6, 7])
        self.assertEqual([letter.id for letter in self.world.waiting(self.alice)], old)
        self.assertEqual([letter.id for letter in self.world.waiting(self.bob)], kept)
        self.assertClean()

    def test_bytesOfAll(self) -> None:
        """They are counted to the end of a message, though for SQLite a text may end at a NUL."""
        self.patch(returns, "TURNED_BYTES", 2000)
        for _ in range(4):
            self.world.send(self.alice, "bob", "\0" + "x" * 999)
        self.world.clock.advance(2 * DAY)
        self.world.result(self.world.store.expire(self.world.now() - DAY * MS, (0, 0)))
        self.assertEqual(self.world.sql("SELECT count(*) FROM ledger WHERE code = 'expired'"), [(2,)])

    def test_lastPortion(self) -> None:
        """When the last portion is as large as may be, that was all."""
        self.patch(returns, "TURNED_BYTES", 10)
        self.world.send(self.alice, "bob", "x" * 10)
        self.world.clock.advance(2 * DAY)
        expiry = self.world.result(self.world.store.expire(self.world.now() - DAY * MS, (0, 0)))
        self.assertEqual(expiry, (None, {self.alice.id}))

    def test_crashBetween(self) -> None:
        """Killed after any of the transactions: nothing is lost, and the next round goes on."""
        self.patch(returns, "AGED_AT_ONCE", 2)
        ids = [self.world.send(self.alice, "bob").id for _ in range(5)]
        self.world.clock.advance(2 * DAY)
        self.world.pool.left = 2
        self.world.start(self.world.store.expire(self.world.now() - DAY * MS, (0, 0)))
        self.world.settle()
        copy = Path(self.mktemp())
        self.world.kill(copy)
        self.world = Limited(copy, clock=self.world.clock)
        self.addCleanup(self.world.close)
        self.assertClean()
        self.expire(1)
        self.assertEqual([letter.id for letter in self.world.waiting(self.alice)], ids)
        self.assertClean()


class LimitTests(RetentionCase):
    """Beyond so many waiting messages new ones turn round; what is stored is never touched."""

    limit = 2

    def states(self, *bodies: str, to: str = "bob") -> list[str]:
        """Send all of these at once; what each is told."""
        answers = self.world.accept(self.alice, *(Message(recipient=to, body=body) for body in bodies))
        return [answer.state for answer in answers if isinstance(answer, Accepted)]

    def test_oneByOne(self) -> None:
        """Two are taken in, the third comes back with its code."""
        self.assertEqual([self.states("x")[0] for _ in range(3)], ["waiting", "waiting", "returned"])
        self.assertEqual(self.row(3), (self.alice.id, State.WAITING, "mailbox-full", "bob", "x"))
        self.assertEqual(len(self.world.waiting(self.bob)), 2)
        self.assertClean()

    def test_together(self) -> None:
        """The same in one transaction, also with refs that are known."""
        self.assertEqual(self.states("1", "2", "3", "4"), ["waiting", "waiting", "returned", "returned"])
        self.world.send(self.alice, "carol", "a", ref="a")
        answers = self.world.accept(
            self.alice,
            Message(recipient="carol", body="a", ref="a"),
            Message(recipient="carol", body="b", ref="b"),
            Message(recipient="carol", body="c", ref="c"),
        )
        self.assertEqual(
            [answer.state for answer in answers if isinstance(answer, Accepted)],
            ["waiting", "waiting", "returned"],
        )
        self.assertClean()

    def test_roomAgain(self) -> None:
        """What is collected makes room, in the same transaction, too."""
        self.states("1", "2")
        self.world.mailroom.confirm(self.bob, [1], lambda: None, lambda error: None)
        self.assertEqual(self.states("3", "4"), ["waiting", "returned"])
        self.assertClean()

    def test_returnsGetIn(self) -> None:
        """Returns come in however many wait; they count when others write."""
        self.assertEqual(self.states("1", "2", "3", to="nobody"), ["returned"] * 3)
        self.assertEqual(len(self.world.waiting(self.alice)), 3)
        back = self.world.send(self.bob, "alice")
        self.assertEqual(back.state, "returned")
        self.assertEqual(self.row(back.id)[2], "mailbox-full")
        self.assertClean()

    def test_countedTogether(self) -> None:
        """A return counts for those behind it in the same transaction."""
        self.assertEqual(
            [
                *self.states("1", "2", to="nobody"),
                *self.states("to myself", to="alice"),
            ],
            ["returned"] * 3,
        )
        answers = self.world.accept(
            self.bob,
            *(Message(recipient=name, body="x") for name in ("nobody", "bob", "nobody", "bob")),
        )
        states = [answer.state for answer in answers if isinstance(answer, Accepted)]
        self.assertEqual(states, ["returned", "waiting", "returned", "returned"])
        self.assertEqual(self.row(7)[2], "mailbox-full")
        self.assertClean()

    def test_lowered(self) -> None:
        """A limit that is set later touches nothing of what waits."""
        self.world.close()
        self.world = Limited(self.mktemp())
        alice, bob = self.world.sign_up("alice", "bob")
        for _ in range(5):
            self.world.send(alice, "bob")
        self.world.close()
        self.world = Limited(self.world.path, limit=2, clock=self.world.clock)
        self.addCleanup(self.world.close)
        self.assertEqual(self.world.send(alice, "bob").state, "returned")
        self.assertEqual(len(self.world.waiting(bob)), 5)
        self.assertClean()


class FoldTests(RetentionCase):
    """Of what was settled long ago only runs of ids remain, and the sums stay true."""

    def folded(self) -> list[tuple[int, ...]]:
        """The runs."""
        return [tuple(row) for row in self.world.sql("SELECT * FROM folded ORDER BY first")]

    def removed(self, *recipients: str) -> list[int]:
        """Messages of alice, each removed by its recipient, or by alice where it came back."""
        ids = []
        for name in recipients:
            id = self.world.send(self.alice, name, "x" * 100, ref=f"r{name}{self.world.now()}").id
            owner = {"bob": self.bob, "carol": self.carol}.get(name, self.alice)
            self.world.result(self.world.mailroom.remove(owner, [id]))
            ids.append(id)
            self.world.clock.advance(1)
        return ids

    def test_everyFate(self) -> None:
        """Removed, returned and recalled ones are counted; what is in a mailbox, or dead, stays."""
        self.removed("bob", "nobody")
        recalled = self.world.send(self.alice, "bob").id
        self.world.result(self.world.mailroom.remove(self.alice, [recalled]))
        waiting = self.world.send(self.alice, "bob").id
        delivered = self.world.send(self.alice, "bob").id
        self.world.confirm(self.bob, delivered)
        self.removed("carol")
        dead = self.world.send(self.carol, "bob").id
        self.world.delete(self.carol)
        self.world.clock.advance(10 * DAY)
        self.fold(5)
        self.assertEqual(self.folded(), [(1, 3, 1, 1, 1, 0), (6, 6, 1, 0, 0, 0)])
        left = self.world.sql("SELECT id, state FROM ledger ORDER BY id")
        self.assertEqual(left, [(waiting, 0), (delivered, 1), (dead, 0)])
        self.world.delete(self.bob)
        self.assertEqual(self.row(dead)[1], State.DEAD)
        self.world.clock.advance(10 * DAY)
        self.fold(5)
        self.assertEqual(self.row(dead)[1], State.DEAD)
        totals = self.assertClean().totals
        assert totals is not None
        self.assertEqual(sum(totals.folded.values()) + totals.number, 7)

    def test_notYet(self) -> None:
        """What was settled a moment later stays."""
        self.removed("bob", "bob")
        self.world.clock.advance(DAY - 1)
        self.fold(1)
        self.assertEqual(self.folded(), [(1, 1, 1, 0, 0, 0)])
        self.assertClean()

    def test_runsJoin(self) -> None:
        """Runs that touch become one, from below, from above, and from both sides."""
        ids = self.removed(*["bob"] * 7)
        for chosen in ([2], [4], [3], [1], [7], [5, 6]):
            self.world.sql(
                "UPDATE ledger SET settled = 0 WHERE id IN (SELECT value FROM json_each(?))", str(chosen)
            )
            self.fold(1)
            self.assertClean()
        self.assertEqual(self.folded(), [(ids[0], ids[-1], 7, 0, 0, 0)])
        self.assertEqual(self.world.sql("SELECT count(*) FROM ledger"), [(0,)])

    def test_chunks(self) -> None:
        """In small transactions, settled in any order: the same in the end; clean after each."""
        self.patch(folding, "FOLDED_AT_ONCE", 4)
        chance = random.Random(3)
        ids = self.removed(*[chance.choice(["bob", "carol", "nobody"]) for _ in range(30)])
        for id in chance.sample(ids, 30):
            self.world.sql("UPDATE ledger SET settled = ? WHERE id = ?", chance.randrange(1000), id)
        left = True
        while left:
            left = self.world.result(self.world.store.fold(self.world.now()))
            self.assertClean()
        self.assertEqual([run[:2] for run in self.folded()], [(1, 30)])

    def test_goesOn(self) -> None:
        """Ids go on where they were, though the last one is folded, and a start changes nothing."""
        self.removed("bob", "bob")
        self.world.clock.advance(2 * DAY)
        self.fold(1)
        self.world.close()
        self.world = Limited(self.world.path, clock=self.world.clock)
        self.addCleanup(self.world.close)
        self.assertEqual(self.world.send(self.alice, "bob").id, 3)
        self.assertClean()

    def test_refForgotten(self) -> None:
        """The ref of a folded message is free: the ledger does not know the message any more."""
        first = self.world.send(self.alice, "bob", ref="r").id
        self.world.result(self.world.mailroom.remove(self.bob, [first]))
        self.assertEqual(self.world.send(self.alice, "bob", ref="r").id, first)
        self.world.clock.advance(2 * DAY)
        self.fold(1)
        self.assertNotEqual(self.world.send(self.alice, "bob", ref="r").id, first)
        self.assertClean()

    def test_crash(self) -> None:
        """No room for it, or killed at it: it did not happen."""
        self.removed("bob", "bob")
        self.world.clock.advance(2 * DAY)
        self.world.pool.room = 0
        refusal = self.assertRaises(Refusal, self.fold, 1)
        self.assertEqual(refusal.code, Code.STORAGE_FULL)
        self.assertEqual(self.folded(), [])
        self.world.pool.room = None
        self.fold(1)
        self.assertEqual(self.folded(), [(1, 2, 2, 0, 0, 0)])
        self.assertClean()

    def test_fileDoesNotGrow(self) -> None:
        """Round after round of the same mail: the pages of what was folded are used again."""
        sizes = []
        for _ in range(6):
            for _ in range(3):
                self.world.accept(
                    self.alice, *(Message(recipient="bob", body="x" * 300, ref=None) for _ in range(200))
                )
            ids = [letter.id for letter in self.world.waiting(self.bob)]
            while ids:
                self.world.result(self.world.mailroom.remove(self.bob, ids))
                ids = [letter.id for letter in self.world.waiting(self.bob)]
            self.world.clock.advance(2 * DAY)
            self.fold(1)
            sizes.append(self.world.sql("PRAGMA page_count")[0][0])
        self.assertEqual(sizes[1:], [sizes[1]] * 5)
        self.assertEqual(self.folded(), [(1, 3600, 3600, 0, 0, 0)])
        self.assertClean()

    def test_usesTheIndex(self) -> None:
        """A round in which nothing is due does not read the ledger."""
        plan = self.world.sql(
            "EXPLAIN QUERY PLAN SELECT id, state, code IS NOT NULL FROM ledger"
            " WHERE state IN (2, 3) AND settled < ? ORDER BY settled LIMIT ?",
            1,
            1,
        )
        self.assertIn("USING INDEX ledger_settled (settled<?)", str(plan))
        plan = self.world.sql(
            "EXPLAIN QUERY PLAN SELECT recipient, position, id, sender, code, time FROM ledger"
            " WHERE state = 0 AND (recipient, position) > (?, ?) ORDER BY recipient, position LIMIT ?",
            1,
            1,
            1,
        )
        self.assertIn("ledger_waiting", str(plan))
        self.assertNotIn("TEMP B-TREE", str(plan))

    def test_summary(self) -> None:
        """A clean audit says how many were folded, and counts them among the accepted."""
        self.removed("bob", "nobody")
        self.world.send(self.alice, "bob")
        self.world.clock.advance(2 * DAY)
        self.fold(1)
        status, out, _ = called("audit", "--data", str(self.world.path))
        self.assertEqual(status, 0)
        self.assertIn("3 messages accepted\n", out)
        self.assertIn("folded                 2: 1 removed, 1 returned\n", out)


class BooksTests(RetentionCase):
    """The audit sees whatever is wrong with folded runs."""

    def setUp(self) -> None:
        """Messages 1 to 6, of which 2, 3 and 5 are folded."""
        super().setUp()
        for _ in range(6):
            self.world.send(self.alice, "bob")
        self.world.result(self.world.mailroom.remove(self.bob, [2, 3, 5]))
        self.world.clock.advance(2 * DAY)
        self.fold(1)
        self.assertClean()

    def assertFindings(self, statement: str, *findings: str) -> None:
        """After this change the audit finds just this."""
        self.world.sql(statement)
        self.assertEqual(names(audit(self.world.path)), list(findings))

    def test_gone(self) -> None:
        """A run that is gone leaves a gap."""
        self.assertFindings(
            "DELETE FROM folded WHERE first = 2",
            "message 2: missing: it should be in the ledger, whatever became of it",
            "message 3: missing: it should be in the ledger, whatever became of it",
        )

    def test_short(self) -> None:
        """A run that ends too early leaves a gap, and does not add up."""
        self.assertFindings(
            "UPDATE folded SET last = 2 WHERE first = 2",
            "message 3: missing: it should be in the ledger, whatever became of it",
            "messages 2 to 2: folded, but there are fates for 2: there should be one for each of 1",
        )

    def test_inTheLedger(self) -> None:
        """A run that goes too far covers a message that is there."""
        self.assertFindings(
            "UPDATE folded SET last = 4, removed = 3 WHERE first = 2",
            "message 4: folded, but in the ledger, too: it should be in one of them",
        )

    def test_gapHidden(self) -> None:
        """A gap is found though an overlap makes the number come out."""
        self.assertFindings(
            "UPDATE folded SET first = 3, last = 4 WHERE first = 2",
            "message 2: missing: it should be in the ledger, whatever became of it",
            "message 4: folded, but in the ledger, too: it should be in one of them",
        )

    def test_twice(self) -> None:
        """Two runs that overlap."""
        self.assertFindings(
            "INSERT INTO folded VALUES (3, 3, 1, 0, 0, 0)",
            "messages 3 to 3: folded, but so are those up to 3 before them:"
            " no message should be folded twice",
        )

    def test_fates(self) -> None:
        """Counts that do not make up the run, or that no count can be."""
        self.assertFindings(
            "UPDATE folded SET recalled = 1 WHERE first = 2",
            "messages 2 to 3: folded, but there are fates for 3: there should be one for each of 2",
        )
        self.assertFindings(
            "UPDATE folded SET recalled = -1, removed = 3 WHERE first = 2",
            "messages 2 to 3: folded, but there are fates for 2: there should be one for each of 2",
        )

    def test_neverGivenOut(self) -> None:
        """A run behind the last id, before the first, or with its ends the wrong way round."""
        for run in ("(7, 7, 1, 0, 0, 0)", "(0, 0, 1, 0, 0, 0)"):
            self.world.sql(f"INSERT INTO folded VALUES {run}")
            (line,) = names(audit(self.world.path))
            self.assertIn("folded, but never given out: they should be 1 to 6", line)
            self.world.sql("DELETE FROM folded WHERE first IN (0, 7)")
