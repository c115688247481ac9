"""Tests for the store: ids, refs and recipients."""

from __future__ import annotations

from typing import Callable, Optional

from chat.errors import Code, Refusal
from chat.ledger import Acceptance, Account, Draft, State
from tests.store_case import Asked, StoreCase, draft
from tests.world import RESERVED


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
