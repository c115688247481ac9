"""Tests for the store: pages, a full disk, and the files."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from twisted.internet.defer import Deferred

from chat.errors import Code, Refusal
from chat.ledger import Acceptance, Letter
from chat.store import mailboxes
from chat.store.commit import RETRY_SECONDS, Procedure
from tests.store_case import Asked, StoreCase, draft


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
