"""Tests for L{chat.store.store} and those whom it asks: the ledger is right after every operation."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Callable, Optional, Sequence

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chat.errors import Code, FatalError, Refusal
from chat.ledger import LAWFUL, RECEIPT, Acceptance, Account, AccountState, Arrival, Draft, Letter, State
from chat.ports import Outcome
from chat.store import Store, mailboxes, stretches
from chat.store.commit import RETRY_SECONDS, Procedure
from chat.store.files import DataDirectory, schemas
from chat.store.hashing import HashingPool
from chat.store.pool import threaded_pool
from tests.world import RESERVED, World, open_world


def draft(
    recipient: Optional[str],
    body: str = "hello",
    *,
    ref: str | None = None,
    subject: str | None = None,
    receipt: bool = False,
) -> Draft:
    """A message on its way; C{None} is a recipient that no account could be called."""
    return Draft(
        recipient=recipient,
        addressee="?" if recipient is None else recipient,
        subject=subject,
        body=body,
        ref=ref,
        options=RECEIPT if receipt else 0,
    )


class Asked:
    """What the store told, in the order in which it told it."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def done(self, result: object) -> None:
        """It was done."""
        self.told.append(result)

    def failed(self, error: Exception) -> None:
        """It was not."""
        self.told.append(error)


class StoreCase(SynchronousTestCase):
    """Alice, Bob and Carol on real files."""

    def setUp(self) -> None:
        """Sign them up."""
        self.world = open_world(self)
        self.store = self.world.store
        self.alice, self.bob, self.carol = self.world.sign_up("alice", "bob", "carol")

    def accept(self, sender: Account, *drafts: Draft) -> list[Outcome]:
        """What becomes of these drafts, sent together."""
        asked = Asked()
        self.store.accept(sender.id, drafts, asked.done, asked.failed)
        self.world.settle()
        (outcomes,) = asked.told
        if isinstance(outcomes, Exception):
            raise outcomes
        return list(outcomes)

    def ids(self, sender: Account, *drafts: Draft) -> list[int]:
        """The ids of these drafts, which are all accepted."""
        found = []
        for outcome in self.accept(sender, *drafts):
            assert isinstance(outcome, Acceptance), outcome
            found.append(outcome.id)
        return found

    def restarted(self, how: str) -> None:
        """Go on with the same files after a restart or a crash."""
        if how == "restart":
            self.world = self.world.reopen()
        else:
            self.world = self.world.crash(self.mktemp())
        self.addCleanup(self.world.close)
        self.store = self.world.store


class IdTests(StoreCase):
    """Ids from 1, in the order of acceptance, without a gap."""

    def test_inOrder(self) -> None:
        """Each message has the next id, whoever sends it and wherever it goes."""
        self.assertEqual(self.ids(self.alice, draft("bob"), draft("alice"), draft("nobody")), [1, 2, 3])
        self.assertEqual(self.ids(self.bob, draft(None)), [4])

    def test_oneGroup(self) -> None:
        """In one group the ids follow the order in which the sends were asked."""
        asked = Asked()
        for sender in (self.alice, self.bob, self.alice):
            drafts = [draft("carol"), draft("carol")]
            self.store.accept(sender.id, drafts, asked.done, asked.failed)
        self.world.settle()
        self.assertEqual([[each.id for each in told] for told in asked.told], [[1, 2], [3, 4], [5, 6]])
        self.assertEqual(
            self.world.sql("SELECT id, sender FROM ledger ORDER BY id"),
            [(1, 1), (2, 1), (3, 2), (4, 2), (5, 1), (6, 1)],
        )

    def test_refused(self) -> None:
        """What is refused takes no id, wherever it stands among the others."""
        self.ids(self.alice, draft("bob", "a", ref="r"))
        outcomes = self.accept(
            self.alice,
            draft("bob", "b", ref="s"),
            draft("bob", "changed", ref="r"),
            draft("bob", "c"),
            draft("bob", "a", ref="r"),
            draft("bob", "d", ref="t"),
        )
        self.assertEqual(
            [each.id if isinstance(each, Acceptance) else None for each in outcomes],
            [2, None, 3, 1, 4],
        )

    def test_rollback(self) -> None:
        """What was rolled back takes no id."""
        for drafts in ([draft("bob")], [draft("bob", ref="r"), draft("bob")]):
            self.world.pool.room = 0
            self.assertRaises(Refusal, self.accept, self.alice, *drafts)
            self.world.pool.room = None
        self.assertEqual(self.ids(self.alice, draft("bob"), draft("bob")), [1, 2])

    def test_removed(self) -> None:
        """The id of a removed or recalled message, even the last one, is never given again."""
        for how in ("", "restart", "crash"):
            if how:
                self.restarted(how)
            (mine,) = self.ids(self.alice, draft("alice"))
            (recalled,) = self.ids(self.alice, draft("bob"))
            removal = self.world.result(self.store.remove(self.alice.id, [mine, recalled]))
            self.assertEqual(removal.ids, [mine, recalled])
        self.assertEqual(self.ids(self.alice, draft("bob")), [7])

    def test_goneSender(self) -> None:
        """Nothing is accepted from an account that is leaving, or never was."""
        self.world.result(self.store.leave(self.alice))
        self.assertEqual(self.accept(self.alice, draft("bob"), draft("bob", ref="r")), [None, None])
        self.assertEqual(self.accept(Account(99, "nobody"), draft("bob")), [None])
        asked = Asked()
        for sender in (self.alice, self.bob):
            self.store.accept(sender.id, [draft("carol", ref="x")], asked.done, asked.failed)
        self.world.settle()
        self.assertEqual(asked.told[0], [None])
        self.assertEqual(asked.told[1][0].id, 1)

    def test_goneSenderAmongRepetitions(self) -> None:
        """The same where the drafts have to be looked at one by one."""
        self.ids(self.bob, draft("carol", ref="x"))
        self.world.result(self.store.leave(self.alice))
        asked = Asked()
        for sender in (self.alice, self.bob):
            self.store.accept(sender.id, [draft("carol", ref="x")], asked.done, asked.failed)
        self.world.settle()
        self.assertEqual(asked.told[0], [None])
        self.assertEqual((asked.told[1][0].id, asked.told[1][0].fresh), (1, False))


class RefTests(StoreCase):
    """The same sender and ref again: the same message."""

    def one(self, sender: Account, sent: Draft) -> Acceptance:
        """The acceptance of one draft."""
        (outcome,) = self.accept(sender, sent)
        assert isinstance(outcome, Acceptance), outcome
        return outcome

    def assertReused(self, sent: Draft) -> None:
        """This ref was used by Alice for something else."""
        (outcome,) = self.accept(self.alice, sent)
        assert isinstance(outcome, Refusal)
        self.assertEqual((outcome.code, outcome.ref), (Code.REF_REUSED, sent.ref))
        self.assertNotIn(sent.body, outcome.reason)

    def test_repeated(self) -> None:
        """In one batch, in one group, in a later one, after a restart or a crash: one message."""
        sent = draft("bob", "text", ref="r", subject="s")
        first, second = self.accept(self.alice, sent, sent)
        assert isinstance(first, Acceptance) and isinstance(second, Acceptance)
        self.assertEqual((first.fresh, second.fresh), (True, False))
        self.world.clock.advance(1000)
        asked = Asked()
        for _ in range(2):
            self.store.accept(self.alice.id, [sent], asked.done, asked.failed)
        self.world.settle()
        later = [self.one(self.alice, sent)]
        for how in ("restart", "crash"):
            self.restarted(how)
            later.append(self.one(self.alice, sent))
        for again in (second, asked.told[0][0], asked.told[1][0], *later):
            self.assertEqual((again.id, again.time, again.fresh), (first.id, first.time, False))
        self.assertEqual(self.world.sql("SELECT count(*) FROM ledger"), [(1,)])
        self.assertEqual(len(self.world.waiting(self.bob)), 1)

    def test_reused(self) -> None:
        """Other contents or another recipient under the same ref are refused; another receipt is not."""
        self.one(self.alice, draft("bob", "text", ref="r", subject="s"))
        for sent in (
            draft("bob", "text, changed", ref="r", subject="s"),
            draft("bob", "text", ref="r", subject="t"),
            draft("bob", "text", ref="r", subject=""),
            draft("bob", "text", ref="r"),
            draft("bob", "stext", ref="r", subject=""),
            draft("carol", "text", ref="r", subject="s"),
            draft("nobody", "text", ref="r", subject="s"),
        ):
            self.assertReused(sent)
        self.assertFalse(self.one(self.alice, draft("bob", "text", ref="r", subject="s")).fresh)
        self.assertFalse(self.one(self.alice, draft("bob", "text", ref="r", subject="s", receipt=True)).fresh)

    def test_reusedInOneBatch(self) -> None:
        """The same in one batch with the first use of the ref, where only the second is refused."""
        outcomes = self.accept(self.alice, draft("bob", "a", ref="r"), draft("bob", "b", ref="r"))
        self.assertIsInstance(outcomes[0], Acceptance)
        assert isinstance(outcomes[1], Refusal)
        self.assertEqual(outcomes[1].code, Code.REF_REUSED)
        self.assertEqual([letter.body for letter in self.world.waiting(self.bob)], ["a"])

    def test_zeroIsNotAbsent(self) -> None:
        """A text that says 0 is kept as it is, whatever stands for an absent one on its way into the file."""
        (id,) = self.ids(self.alice, draft("bob", "0", ref="0", subject="0"))
        (back,) = self.ids(self.alice, draft("0", ""))
        self.assertEqual(
            self.world.sql("SELECT id, ref, code, addressee, subject, body FROM ledger ORDER BY id"),
            [(id, "0", None, None, "0", "0"), (back, None, "unknown-recipient", "0", None, "")],
        )

    def test_emptyIsNotAbsent(self) -> None:
        """An absent subject is another one than an empty one; an empty ref is a ref."""
        self.one(self.alice, draft("bob", "text", ref=""))
        self.assertReused(draft("bob", "text", ref="", subject=""))
        self.assertFalse(self.one(self.alice, draft("bob", "text", ref="")).fresh)

    def test_twoSenders(self) -> None:
        """Each sender has refs of their own."""
        mine = self.one(self.alice, draft("carol", "mine", ref="r"))
        theirs = self.one(self.bob, draft("carol", "theirs", ref="r"))
        self.assertTrue(mine.fresh and theirs.fresh)
        self.assertEqual(self.one(self.alice, draft("carol", "mine", ref="r")).id, mine.id)
        self.assertEqual(self.one(self.bob, draft("carol", "theirs", ref="r")).id, theirs.id)

    def test_stateNow(self) -> None:
        """A repetition is told what has become of the message, long after its content has gone."""
        sent = draft("bob", "text", ref="r")
        id = self.one(self.alice, sent).id
        steps: list[tuple[Callable[[], object], tuple[State, Optional[str]]]] = [
            (lambda: None, (State.WAITING, None)),
            (lambda: self.world.confirm(self.bob, id), (State.DELIVERED, None)),
            (lambda: self.world.result(self.store.remove(self.bob.id, [id])), (State.REMOVED, None)),
        ]
        for step, expected in steps:
            step()
            again = self.one(self.alice, sent)
            self.assertEqual((again.id, (again.state, again.code)), (id, expected))
        self.assertReused(draft("bob", "changed", ref="r"))

    def test_recalled(self) -> None:
        """A recalled message stays recalled, however often it is repeated."""
        sent = draft("bob", "text", ref="r")
        id = self.one(self.alice, sent).id
        self.world.result(self.store.remove(self.alice.id, [id]))
        again = self.one(self.alice, sent)
        self.assertEqual((again.id, again.state, again.fresh), (id, State.RECALLED, False))
        self.assertEqual(self.world.waiting(self.bob), [])

    def test_returned(self) -> None:
        """A message that came back is not sent again, even where the name has an account by now."""
        sent = draft("dave", "text", ref="r")
        first = self.one(self.alice, sent)
        self.assertEqual(first.code, "unknown-recipient")
        (dave,) = self.world.sign_up("dave")
        again = self.one(self.alice, sent)
        self.assertEqual((again.id, again.code, again.fresh), (first.id, "unknown-recipient", False))
        self.assertEqual(self.world.waiting(dave), [])

    def test_everyFate(self) -> None:
        """Whatever has become of a message, its ref is known, and no other message gets in under it."""
        for fate, recipient in (
            ("", "bob"),
            ("confirm", "bob"),
            ("confirm remove", "bob"),
            ("remove", "bob"),
            ("recall", "bob"),
            ("expire", "bob"),
            ("expire recall", "bob"),
            ("", "nobody"),
            ("collect", "nobody"),
            ("collect recall", "nobody"),
            ("confirm delete", "bob"),
        ):
            ref = f"{fate} {recipient}"
            sent = draft(recipient, "text", ref=ref, subject="s")
            first = self.one(self.alice, sent)
            for step in ["", *fate.split()]:
                self.take(step, first.id)
                again = self.one(self.alice, sent)
                self.assertEqual((again.id, again.time, again.fresh), (first.id, first.time, False), ref)
                for other in (
                    draft(recipient, "texts", ref=ref, subject="s"),
                    draft(recipient, "text", ref=ref, subject="t"),
                    draft(recipient, "text", ref=ref),
                    draft("carol", "text", ref=ref, subject="s"),
                    draft("alice", "text", ref=ref, subject="s"),
                ):
                    self.assertReused(other)

    def take(self, step: str, id: int) -> None:
        """Let this happen to a message that alice has sent to bob, or that came back to her."""
        if step in ("confirm", "collect"):
            self.world.confirm(self.bob if step == "confirm" else self.alice, id)
        elif step in ("remove", "recall"):
            account = self.bob if step == "remove" else self.alice
            self.assertEqual(self.world.result(self.store.remove(account.id, [id])).ids, [id])
        elif step == "expire":
            self.world.clock.advance(1)
            self.world.result(self.store.expire(self.world.now(), (0, 0)))
        elif step == "delete":
            self.world.delete(self.bob)

    def test_digest(self) -> None:
        """What the contents were is noted when they go, and not before."""
        kept, removed, recalled, plain = self.ids(
            self.alice, *(draft("bob", ref=ref) for ref in ("a", "b", "c")), draft("bob")
        )
        self.world.result(self.store.remove(self.bob.id, [removed, plain]))
        self.world.result(self.store.remove(self.alice.id, [recalled]))
        noted = self.world.sql("SELECT id FROM ledger WHERE digest IS NOT NULL ORDER BY id")
        self.assertEqual(noted, [(removed,), (recalled,)])
        self.assertEqual(self.world.sql("SELECT id FROM ledger WHERE body IS NOT NULL"), [(kept,)])

    def test_receiptsFirst(self) -> None:
        """Of a receipt and a repetition that arrive together, the repetition knows of the receipt."""
        sent = draft("bob", "text", ref="r")
        id = self.one(self.alice, sent).id
        asked = Asked()
        self.store.accept(self.alice.id, [sent], asked.done, asked.failed)
        self.store.confirm(self.bob.id, [id], asked.done, asked.failed)
        self.world.settle()
        ((again,), confirmations) = asked.told
        self.assertEqual((again.state, confirmations), (State.DELIVERED, []))


class RecipientTests(StoreCase):
    """Where a message goes at each time of its recipient's life."""

    def where(self, name: str | None) -> tuple[int, str | None]:
        """Whose mailbox a message of Alice's goes to, and why it came back."""
        (outcome,) = self.accept(self.alice, draft(name))
        assert isinstance(outcome, Acceptance)
        return outcome.mailbox, outcome.code

    def test_life(self) -> None:
        """Unknown, joining, active, leaving, reserved, free, taken by somebody new."""
        unknown = (self.alice.id, "unknown-recipient")
        deleted = (self.alice.id, "account-deleted")
        self.assertEqual(self.where(None), unknown)
        self.assertEqual(self.where("dave"), unknown)
        dave = self.world.result(self.store.join("dave"))
        self.assertEqual(self.where("dave"), unknown)
        self.world.result(self.store.activate(dave))
        self.assertEqual(self.where("dave"), (dave.id, None))
        self.world.result(self.store.leave(dave))
        self.assertEqual(self.where("dave"), deleted)
        self.world.result(self.world.mailroom.turn_round(dave))
        self.world.result(self.store.free(dave))
        self.assertEqual(self.where("dave"), deleted)
        self.world.clock.advance((RESERVED - 1) / 1000)
        self.assertEqual(self.where("dave"), deleted)
        self.world.clock.advance(0.001)
        self.assertEqual(self.where("dave"), unknown)
        again = self.world.result(self.store.join("dave"))
        self.assertEqual(self.where("dave"), unknown)
        self.world.result(self.store.activate(again))
        self.assertEqual(self.where("dave"), (again.id, None))
        self.assertEqual(len(self.world.waiting(again)), 1)

    def test_joiningAtOnce(self) -> None:
        """Mail in one group with the steps of a sign-up goes where the account stands at that step."""
        asked = Asked()
        self.world.start(self.world.accounts.sign_up("dave", "correct horse")).addCallback(asked.done)
        self.store.accept(self.alice.id, [draft("dave")], asked.done, asked.failed)
        self.world.settle()
        outcome, dave = asked.told[0][0], asked.told[1]
        self.assertEqual((outcome.mailbox, outcome.code), (self.alice.id, "unknown-recipient"))
        self.assertEqual(self.world.waiting(dave), [])


class PageTests(StoreCase):
    """What a session reads at a time is bounded."""

    def pages(self) -> list[list[Letter]]:
        """All pages of Bob's waiting messages."""
        found, position, more = [], 0, True
        while more:
            letters, more = self.world.result(self.store.waiting(self.bob.id, position))
            found.append(letters)
            if letters:
                position = letters[-1].position
        return found

    def test_empty(self) -> None:
        """With nothing waiting there is one page, and it is empty."""
        self.assertEqual(self.pages(), [[]])

    def test_count(self) -> None:
        """A page has a bounded number of messages; nothing is left out or comes twice."""
        self.patch(mailboxes, "PAGE_MESSAGES", 3)
        for count, sizes in ((2, [2]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (7, [3, 3, 1])):
            waiting = len(self.world.waiting(self.bob))
            total = self.world.result(self.store.mailbox(self.bob.id)).waiting
            self.assertLessEqual(waiting, 3)
            self.ids(self.alice, *[draft("bob")] * (count - total))
            pages = self.pages()
            self.assertEqual([len(page) for page in pages], sizes)
            self.assertEqual([each.id for page in pages for each in page], list(range(1, count + 1)))

    def test_bytes(self) -> None:
        """A page ends behind the message that fills it, whatever alphabet that is written in."""
        self.patch(mailboxes, "PAGE_BYTES", 1000)
        for body in ("x" * 400, "\u20ac" * 133 + "x"):
            self.ids(self.alice, *[draft("bob", body)] * 7)
            self.assertEqual([len(page) for page in self.pages()], [3, 3, 1])
            self.world.confirm(self.bob, *range(1, 20))

    def test_large(self) -> None:
        """A message larger than a page is a page of its own."""
        self.patch(mailboxes, "PAGE_BYTES", 1000)
        self.ids(self.alice, draft("bob", "x" * 5000), draft("bob", "x"), draft("bob", "x" * 5000))
        self.assertEqual([len(page) for page in self.pages()], [1, 2])

    def test_offered(self) -> None:
        """What was on a page counts as offered; what was not does not."""
        self.patch(mailboxes, "PAGE_MESSAGES", 2)
        self.ids(self.alice, *[draft("bob")] * 3)
        self.assertEqual(self.world.result(self.store.mailbox(self.bob.id)), (3, 0))
        letters = self.world.waiting(self.bob)
        self.assertEqual(self.world.result(self.store.mailbox(self.bob.id)), (3, letters[-1].position))

    def test_mailboxInOneGroup(self) -> None:
        """What a login is told is true at its place, with what the same transaction has not written yet."""
        asked = Asked()
        self.store.accept(self.alice.id, [draft("bob")] * 2, asked.done, asked.failed)
        mailbox = self.world.start(self.store.mailbox(self.bob.id))
        page = self.world.start(self.store.waiting(self.bob.id, 0))
        again = self.world.start(self.store.mailbox(self.bob.id))
        nobody = self.world.start(self.store.mailbox(self.carol.id))
        self.world.settle()
        letters, _ = self.successResultOf(page)
        self.assertEqual(self.successResultOf(mailbox), (2, 0))
        self.assertEqual(self.successResultOf(again), (2, letters[-1].position))
        self.assertEqual(self.successResultOf(nobody), (0, 0))


class ListingTests(StoreCase):
    """Listings."""

    def test_bytes(self) -> None:
        """A listing of long names and subjects is bounded; it says that there is more."""
        self.patch(mailboxes, "PAGE_BYTES", 250)
        ids = self.ids(self.alice, *[draft("bob", subject="s" * 100)] * 5)
        lines, more = self.world.result(self.store.listing(self.bob.id, False, 0, 100))
        self.assertEqual(([line.id for line in lines], more), (ids[:3], True))
        lines, more = self.world.result(self.store.listing(self.bob.id, False, ids[2], 2))
        self.assertEqual(([line.id for line in lines], more), (ids[3:], False))


class NoRoomTests(StoreCase):
    """SQLite has no room left: nothing is half done, and all is well when there is room again."""

    def limit(self, pages: int) -> None:
        """Let messages.db grow by so many pages and no more."""
        connection = next(iter(self.world.pool.connections.values()))
        (count,) = connection.execute("PRAGMA main.page_count").fetchone()
        connection.execute(f"PRAGMA main.max_page_count = {count + pages}")

    def test_eachSend(self) -> None:
        """Each send that does not fit is refused, each that fits is accepted; ids leave no gap."""
        self.limit(20)
        large, small = Asked(), Asked()
        drafts = [draft("bob", f"{n:05d}" * 1000, ref=f"r{n}") for n in range(40)]
        for each in drafts:
            self.store.accept(self.alice.id, [each], large.done, large.failed)
            self.store.accept(self.carol.id, [draft("bob", "small")], small.done, small.failed)
        self.world.settle()
        refused = [each for each in large.told if isinstance(each, Refusal)]
        self.assertEqual({each.code for each in refused}, {Code.STORAGE_FULL})
        self.assertTrue(0 < len(refused) < 40)
        self.assertFalse(isinstance(small.told[0], Refusal))
        accepted = [each[0].id for told in zip(large.told, small.told) for each in told if type(each) is list]
        ids = list(range(1, len(accepted) + 1))
        self.assertEqual(accepted, ids)
        self.assertEqual(self.world.sql("SELECT id FROM ledger ORDER BY id"), [(id,) for id in ids])
        self.assertEqual(self.world.sql("SELECT account, waiting FROM mailboxes"), [(self.bob.id, len(ids))])
        self.limit(1000)
        outcomes = self.accept(self.alice, *drafts)
        self.assertEqual(
            [each.fresh for each in outcomes if isinstance(each, Acceptance)],
            [isinstance(each, Refusal) for each in large.told],
        )
        ((highest, count),) = self.world.sql("SELECT max(id), count(*) FROM ledger")
        self.assertEqual((highest, count), (len(ids) + len(refused),) * 2)

    def test_books(self) -> None:
        """A receipt that was rolled back because of a send beside it, and then repeated, counts once."""
        first, second = self.ids(self.alice, draft("bob"), draft("bob"))
        self.limit(0)
        asked = Asked()
        self.store.confirm(self.bob.id, [first], asked.done, asked.failed)
        self.store.accept(self.alice.id, [draft("bob", "x" * 60_000)], asked.done, asked.failed)
        self.world.settle()
        self.assertEqual([type(each) for each in asked.told], [list, Refusal])
        self.assertEqual([letter.id for letter in self.world.waiting(self.bob)], [second])
        self.assertEqual(self.world.result(self.store.mailbox(self.bob.id)).waiting, 1)

    def test_reading(self) -> None:
        """What there is can be read, confirmed and removed without any room for more."""
        ids = self.ids(self.alice, *[draft("bob", "x" * 500)] * 3)
        self.limit(0)
        self.assertEqual([each.id for each in self.world.waiting(self.bob)], ids)
        self.world.confirm(self.bob, *ids)
        removal = self.world.result(self.store.remove(self.bob.id, ids))
        self.assertEqual(removal.ids, ids)

    def test_readingUnnoted(self) -> None:
        """Mail is shown even where there is no room to note that it was; any other trouble is told."""
        ids = self.ids(self.alice, draft("bob"), draft("bob"))
        self.world.pool.room = 0
        self.assertEqual([each.id for each in self.world.waiting(self.bob)], ids)
        self.assertEqual(self.world.result(self.store.mailbox(self.bob.id)).offered, 2)
        self.assertEqual(self.world.sql("SELECT offered FROM mailboxes"), [(0,)])
        self.world.pool.room = None
        self.world.clock.advance(RETRY_SECONDS)
        self.world.settle()
        self.assertEqual(self.world.sql("SELECT offered FROM mailboxes"), [(2,)])

    def test_readingTwiceUnnoted(self) -> None:
        """A second session that has seen less makes nobody forget what the first one has seen."""
        self.ids(self.alice, draft("bob"), draft("bob"))
        self.world.pool.room = 0
        self.world.waiting(self.bob)
        self.patch(mailboxes, "PAGE_MESSAGES", 1)
        self.world.result(self.store.waiting(self.bob.id, 0))
        self.assertEqual(self.world.result(self.store.mailbox(self.bob.id)).offered, 2)

    def test_readingNothingUnnoted(self) -> None:
        """Where the mail was taken meanwhile, there is nothing to note."""

        def full(cursor: object, pages: object) -> list[Any]:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(self.store, "_waiting", Procedure(full, "messages"))
        self.assertEqual(self.world.waiting(self.bob), [])
        self.assertEqual(self.world.result(self.store.mailbox(self.bob.id)).offered, 0)

    def test_readingAfterTheEnd(self) -> None:
        """Only a lack of room is made light of."""
        self.world.close()
        self.failureResultOf(Deferred.fromCoroutine(self.store.waiting(self.bob.id, 0)), Refusal)


class FileTests(StoreCase):
    """Three files, one truth."""

    def test_oneFileATransaction(self) -> None:
        """Whatever is asked at the same time, no transaction writes more than one of the files."""
        statements: list[str] = []
        connection = next(iter(self.world.pool.connections.values()))
        connection.set_trace_callback(statements.append)
        (dave,) = self.world.sign_up("dave")
        asked, store, erin_joins = Asked(), self.store, self.world.accounts.sign_up("erin", "correct horse")
        for account in (self.alice, self.bob):
            store.accept(account.id, [draft("bob", ref="r"), draft("nobody")], asked.done, asked.failed)
            for awaitable in (
                store.waiting(account.id, 0),
                store.remove(account.id, [2]),
                store.leave(account),
                store.turn_round(account),
                store.passwords.remove(account.id),
                store.free(account),
            ):
                self.world.start(awaitable)
            store.confirm(self.bob.id, [1], asked.done, asked.failed)
        self.world.start(erin_joins)
        self.world.start(self.world.accounts.change_password(dave, "correct horse battery", "another one"))
        self.world.settle()
        connection.set_trace_callback(None)
        self.assertEqual(len(asked.told), 4)
        written: list[set[str]] = []
        for statement in statements:
            if statement == "BEGIN":
                written.append(set())
            elif statement.startswith(("INSERT", "UPDATE", "DELETE")):
                target = re.match(r"(?:INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM) (?:(\w+)\.)?", statement)
                assert target is not None, statement
                written[-1].add(target[1] or "messages")
        self.assertEqual({len(files) for files in written}, {0, 1})
        self.assertEqual(set().union(*written), {"messages", "users", "passwords"})


# --- a long random walk beside a model ---

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
