"""Whom an account does not want to hear from: L{chat.store.blocks} and what becomes of their mail."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code, FatalError, Refusal
from chat.ledger import Account
from chat.messages import Message, Returned
from chat.store import blocks
from chat.store.files import path
from tests.world import Onlooker, open_world


class BlocksCase(SynchronousTestCase):
    """Alice, Bob and Mallory."""

    def setUp(self) -> None:
        """Nobody has blocked anybody yet."""
        self.world = open_world(self)
        self.alice, self.bob, self.mallory = self.world.sign_up("alice", "bob", "mallory")

    def block(self, account: Account, name: str) -> list[str]:
        """Whom the account blocks, with this name."""
        return self.world.result(self.world.accounts.block(account, name, True))

    def unblock(self, account: Account, name: str) -> list[str]:
        """Whom the account blocks, without this name."""
        return self.world.result(self.world.accounts.block(account, name, False))

    def blocked(self, account: Account) -> list[str]:
        """Whom the account blocks."""
        return self.world.result(self.world.accounts.blocked(account))

    def assertRefused(self, code: Code, name: str) -> None:
        """Alice cannot block this."""
        refusal = self.assertRaises(Refusal, self.block, self.alice, name)
        self.assertEqual(refusal.code, code)


class ListTests(BlocksCase):
    """Who is on the list."""

    def test_changes(self) -> None:
        """Each change is answered by all names, prepared and in order; repeating one is harmless."""
        self.assertEqual(self.blocked(self.alice), [])
        self.assertEqual(self.block(self.alice, "Mallory"), ["mallory"])
        self.assertEqual(self.block(self.alice, "bob"), ["bob", "mallory"])
        self.assertEqual(self.block(self.alice, "bob"), ["bob", "mallory"])
        self.assertEqual(self.unblock(self.alice, "mallory"), ["bob"])
        self.assertEqual(self.unblock(self.alice, "mallory"), ["bob"])
        self.assertEqual(self.blocked(self.bob), [])

    def test_after_a_restart(self) -> None:
        """It is kept on disk."""
        self.block(self.alice, "mallory")
        self.world = self.world.reopen()
        self.addCleanup(self.world.close)
        self.assertEqual(self.blocked(self.alice), ["mallory"])
        self.assertEqual(self.world.send(self.mallory, "alice").state, "returned")

    def test_refused(self) -> None:
        """Nobody of that name, no name at all, and oneself."""
        self.assertRefused(Code.UNKNOWN_RECIPIENT, "nobody")
        self.assertRefused(Code.BAD_NAME, "no body")
        self.assertRefused(Code.BAD_FRAME, "alice")
        self.assertEqual(self.blocked(self.alice), [])

    def test_limit(self) -> None:
        """So many and no more; those whose account is gone do not count."""
        self.patch(blocks, "MOST", 1)
        self.block(self.alice, "bob")
        self.assertRefused(Code.TOO_LARGE, "mallory")
        self.assertEqual(self.block(self.alice, "bob"), ["bob"])
        self.world.delete(self.bob)
        self.assertEqual(self.block(self.alice, "mallory"), ["mallory"])

    def test_account_gone(self) -> None:
        """Who does not exist any more is told so."""
        self.world.delete(self.alice)
        gone = self.assertRaises(FatalError, self.block, self.alice, "bob")
        self.assertEqual(gone.code, Code.ACCOUNT_GONE)

    def test_deleted_accounts_leave_nothing_behind(self) -> None:
        """Their list goes with them, and so do they from others' lists."""
        self.block(self.alice, "bob")
        self.block(self.bob, "mallory")
        self.block(self.bob, "alice")
        self.world.delete(self.alice)
        self.assertEqual(
            self.world.sql("SELECT account, blocked FROM users.blocks"), [(self.bob.id, self.mallory.id)]
        )


class MailTests(BlocksCase):
    """What becomes of their mail."""

    def setUp(self) -> None:
        """Alice has blocked Mallory."""
        super().setUp()
        self.block(self.alice, "mallory")

    def test_goes_back(self) -> None:
        """It comes back to who sent it, with the reason, like any mail that comes back."""
        mallory = Onlooker(self.world, self.mallory).enter()
        accepted = self.world.send(self.mallory, "alice", "psst")
        self.assertEqual(accepted.state, "returned")
        (message,) = mallory.shown
        assert message.returned is not None
        self.assertEqual(
            (message.id, message.body, message.recipient, message.returned),
            (
                accepted.id,
                "psst",
                "mallory",
                Returned(
                    code="blocked", recipient="alice", note="The recipient does not take messages from you."
                ),
            ),
        )
        self.assertEqual(self.world.waiting(self.alice), [])

    def test_only_theirs_and_only_there(self) -> None:
        """Others reach Alice, Mallory reaches others, and Alice reaches Mallory; in one batch, too."""
        answers = [
            self.world.accept(sender, *[Message(recipient=name, body="x") for name in names])
            for sender, names in (
                (self.bob, ["alice", "mallory"]),
                (self.mallory, ["bob", "alice", "bob"]),
                (self.alice, ["mallory", "alice"]),
            )
        ]
        states = [[getattr(answer, "state", answer) for answer in each] for each in answers]
        self.assertEqual(
            states, [["waiting", "waiting"], ["waiting", "returned", "waiting"], ["waiting", "waiting"]]
        )

    def test_in_one_commit(self) -> None:
        """Whoever of a group of senders comes first, each gets what is theirs."""
        for order in ([self.bob, self.mallory], [self.mallory, self.bob]):
            answers: list[object] = []
            for sender in order:
                self.world.mailroom.accept(
                    sender, [Message(recipient="alice", body="x")], answers.extend, answers.append
                )
            self.world.settle()
            states = {sender.name: answer.state for sender, answer in zip(order, answers)}  # type: ignore[attr-defined]
            self.assertEqual(states, {"bob": "waiting", "mallory": "returned"})

    def test_what_was_sent_before_stays(self) -> None:
        """A block is for what comes."""
        self.world.send(self.bob, "alice", "before")
        self.block(self.alice, "bob")
        self.world.send(self.bob, "alice", "after")
        self.assertEqual([letter.body for letter in self.world.waiting(self.alice)], ["before"])

    def test_unblocked(self) -> None:
        """From then on it arrives."""
        self.unblock(self.alice, "mallory")
        self.assertEqual(self.world.send(self.mallory, "alice").state, "waiting")

    def test_of_an_account_not_of_a_name(self) -> None:
        """Who has the name later has done nothing."""
        self.world.delete(self.mallory)
        self.world.clock.advance(91 * 24 * 60 * 60)
        (another,) = self.world.sign_up("mallory")
        self.assertEqual(self.world.send(another, "alice").state, "waiting")
        self.assertEqual(self.blocked(self.alice), [])

    def test_with_a_limit_of_the_mailbox(self) -> None:
        """A block goes before a full mailbox: its code says what will not pass by itself."""
        self.world.store._intake._limit = 1
        self.world.send(self.bob, "alice")
        for sender, code in ((self.mallory, "blocked"), (self.bob, "mailbox-full")):
            self.world.send(sender, "alice")
            (letter,) = self.world.waiting(sender)
            self.assertEqual(letter.code, code)

    def test_changed_by_another_program(self) -> None:
        """What somebody else writes to the file counts at once."""
        self.assertEqual(self.world.send(self.bob, "alice").state, "waiting")
        connection = sqlite3.connect(path(self.world.path, "users"), isolation_level=None)
        connection.execute("INSERT INTO blocks VALUES (?, ?, 0)", (self.alice.id, self.bob.id))
        connection.close()
        self.assertEqual(self.world.send(self.bob, "alice").state, "returned")
