"""Tests of the search: what the index has, L{chat.store.volumes}."""

from __future__ import annotations

import sqlite3
from typing import Any

from chat.admin.audit import audit
from chat.errors import Refusal
from chat.store import indexing, returns, searches, searching, store, volumes
from chat.store.indexing import PAUSE, SOON, STALE
from chat.store.volumes import Left
from tests.search_case import DAY, SearchCase
from tests.town import names
from tests.world import BEGINNING


class InAndOutTests(SearchCase):
    """Messages are in the index as long as they are in a mailbox, with what they are there."""

    def test_removed(self) -> None:
        """What is removed or recalled has left the index when that is on disk."""
        kept = self.send(self.alice, "bob", "kept words")
        removed = self.send(self.alice, "bob", "removed words", subject="removed")
        recalled = self.send(self.alice, "bob", "recalled words")
        self.assertFinds(self.bob, "words", recalled, removed, kept)
        self.remove(self.bob, removed)
        self.remove(self.alice, recalled)
        self.assertEqual({id for _, id in self.held(0)}, {kept})
        for account in (self.alice, self.bob):
            self.assertFinds(account, "words", kept)
        self.assertClean()

    def test_notIndexedYet(self) -> None:
        """What is removed before it was indexed never gets there."""
        removed = self.send(self.alice, "bob", "removed words")
        self.remove(self.bob, removed)
        self.assertFinds(self.bob, "words")
        self.assertEqual(self.volumes(), [])
        self.assertClean()

    def test_returned(self) -> None:
        """What comes back is found by its sender alone, as sent and as come back."""
        id = self.send(self.alice, "bob", "words for bob")
        self.assertFinds(self.bob, "words", id)
        self.world.delete(self.bob)
        (entry,) = self.assertFinds(self.alice, "words", id, box="inbox")
        assert entry.returned is not None
        self.assertEqual(entry.returned.recipient, "bob")
        for query in ("words", "with:bob", "to:bob", "bob", "from:alice"):
            self.assertFinds(self.alice, query, id)
        self.assertEqual(
            {term for term, _ in self.held(0) if term.startswith("\ue000")},
            {f"\ue000{self.alice.id}{mark}" for mark in ("i", "s", "fbob", "tbob")},
        )
        self.assertClean()

    def test_dead(self) -> None:
        """What nobody has any more has left the index."""
        self.send(self.alice, "bob", "words of alice")
        self.assertFinds(self.bob, "words", 1)
        self.world.delete(self.alice)
        self.world.delete(self.bob)
        self.assertEqual(self.world.sql("SELECT state FROM ledger"), [(4,)])
        self.assertEqual(self.held(0), [])
        self.assertClean()

    def test_deletedAccount(self) -> None:
        """With an account, all that is in its mailbox leaves the index."""
        self.patch(returns, "TURNED_AT_ONCE", 2)
        ids = [self.send(self.alice, "bob", "words") for _ in range(5)]
        self.world.confirm(self.bob, *ids)
        self.assertFinds(self.bob, "words", *reversed(ids))
        self.world.delete(self.bob)
        self.assertEqual(self.held(0), [])
        self.assertFinds(self.alice, "words")
        self.assertClean()

    def test_expired(self) -> None:
        """What nobody collected is found by its sender from then on."""
        id = self.send(self.alice, "bob", "words")
        self.assertFinds(self.bob, "words", id)
        self.world.clock.advance(1)
        self.world.result(self.world.store.expire(self.world.now(), (0, 0)))
        self.assertFinds(self.bob, "words")
        self.assertFinds(self.alice, "words", id, box="inbox")
        self.assertClean()

    def test_folded(self) -> None:
        """What is folded was not in the index any more; ids that are gone are passed over."""
        ids = [self.send(self.alice, "bob", "words") for _ in range(9)]
        self.remove(self.bob, *ids[:4], *ids[6:])
        self.world.clock.advance(1)
        self.world.store.indexing.stop()
        self.world.result(self.world.store.fold(self.world.now()))
        self.assertFinds(self.bob, "words", ids[5], ids[4])
        self.assertEqual(self.indexed(), (1, 9))
        self.assertClean()

    def test_sameNameAgain(self) -> None:
        """Mail of somebody who had the name before is found under that name."""
        first = self.send(self.bob, "alice", "words")
        self.world.delete(self.bob)
        self.world.clock.advance(100 * 24 * 60 * 60)
        (bob,) = self.world.sign_up("bob")
        second = self.send(bob, "alice", "words")
        self.assertFinds(self.alice, "from:bob", second, first)
        self.assertFinds(bob, "words", second)

    def test_rolledBack(self) -> None:
        """A volume whose making was rolled back is made again."""
        id = self.send(self.alice, "bob", "words")
        self.world.pool.room = 0
        self.assertRaises(Refusal, self.world.result, self.world.store.extend(False))
        self.world.pool.room = None
        self.assertFinds(self.bob, "words", id)
        self.assertClean()

    def test_crash(self) -> None:
        """A server that is killed goes on where the files are."""
        ids = [self.send(self.alice, "bob", "words") for _ in range(3)]
        self.assertFinds(self.bob, "words", *reversed(ids))
        ids.append(self.send(self.alice, "bob", "words"))
        self.world = self.world.crash(self.mktemp())
        self.addCleanup(self.world.close)
        self.assertFinds(self.bob, "words", *reversed(ids))
        self.assertClean()


class VolumeTests(SearchCase):
    """However many volumes there are."""

    def fill(self) -> list[int]:
        """The ids of messages in four volumes, those with an odd number removed."""
        ids = [self.send(self.alice, "bob", f"word{number} words") for number in range(50)]
        self.remove(self.bob, *[id for id in ids if id % 2])
        return [id for id in ids if id % 2 == 0]

    def test_batches(self) -> None:
        """However small the batches are in which messages enter."""
        ids = self.fill()[::-1]
        for name, most in (("BATCH_MESSAGES", 3), ("BATCH_CHARACTERS", 30), ("BATCH_CHARACTERS", 1)):
            self.patch(volumes, name, most)
            self.patch(indexing, "BATCHES", 1000)
            self.world.result(self.again())
            self.assertFinds(self.bob, "words", *ids, limit=100)
            self.assertFinds(self.alice, "word33", 34)
            self.assertFinds(self.alice, "word34")
            self.assertEqual(self.volumes(), [0, 1, 2, 3])
            self.assertEqual(self.indexed(), (1, 50))
        self.assertClean()

    async def again(self) -> None:
        """Forget the index, and begin it anew as after an upgrade."""
        connection = sqlite3.connect(self.world.path / "messages.db")
        for volume in self.volumes():
            connection.execute(f"DROP TABLE words_{volume}")
        connection.execute("DELETE FROM volumes")
        connection.execute("DELETE FROM moments")
        connection.execute("UPDATE indexed SET first = 1, last = 0")
        connection.commit()
        connection.close()
        self.world.store._books.forget()

    def test_older(self) -> None:
        """What was there before there was an index enters it from the newest to the oldest."""
        ids = self.fill()
        connection = sqlite3.connect(self.world.path / "messages.db")
        self.assertEqual(len(self.found(self.bob, "words").messages), 20)
        volumes.begin_anew(connection.cursor())
        connection.commit()
        connection.close()
        self.world.store._books.forget()
        self.assertEqual((self.volumes(), self.indexed()), ([], (51, 50)))
        self.assertClean()
        self.patch(volumes, "BATCH_MESSAGES", 5)
        found = self.found(self.bob, "words")
        self.assertEqual((found.messages, found.more, found.incomplete), ([], False, True))
        self.assertFinds(self.carol, "words")
        new = self.send(self.alice, "bob", "new words")
        found = self.found(self.bob, "words")
        self.assertEqual(([each.id for each in found.messages], found.incomplete), ([new], True))
        sizes = []
        while self.indexed()[0] > 1:
            self.world.result(self.world.store.extend(True))
            found = self.found(self.bob, "words", limit=100)
            done = [id for id in ids if id >= self.indexed()[0]]
            self.assertEqual([each.id for each in found.messages], [new, *reversed(done)])
            self.assertEqual(found.incomplete, self.indexed()[0] > 1)
            self.assertFalse(self.found(self.bob, "words", limit=1).incomplete)
            sizes.append(len(done))
        self.assertEqual(sizes[-1], len(ids))
        self.assertClean()
        self.assertEqual(self.world.result(self.world.store.extend(True)), Left(1, 51, 51))

    def test_turns(self) -> None:
        """A search that takes long lets others have their turn, and loses its place to nobody."""
        ids = self.fill()[::-1]
        self.patch(searches, "LONG", 0.0)
        self.patch(searching, "FEW", 1)
        asked: list[searching.Wanted] = []

        def noting(cursor: Any, users: Any, wanted: searching.Wanted) -> searching.Portion:
            asked.append(wanted)
            return searching.search(cursor, users, wanted)

        self.patch(store, "search", noting)
        self.assertFinds(self.bob, "words", *ids, limit=100)
        self.assertGreater(len(asked), len(ids))
        self.assertEqual(asked, sorted(asked, key=lambda each: -(each.before or 2**63)))
        found = self.found(self.bob, "words", limit=3)
        self.assertEqual(([each.id for each in found.messages], found.more), (ids[:3], True))
        self.assertFinds(self.bob, "xyz")

    def test_nothingThere(self) -> None:
        """Volumes in which an account has nothing are passed over."""
        self.fill()
        id = self.send(self.carol, "carol", "words")
        self.assertFinds(self.carol, "words", id)
        self.assertFinds(self.carol, "words", box="sent", before=id)

    def test_days(self) -> None:
        """Of the times of messages, enough is known of each stretch to find the days."""
        days: list[list[int]] = []
        for _ in range(5):
            days.append([self.send(self.alice, "bob", "words") for _ in range(11)])
            self.world.clock.advance(24 * 60 * 60)
        for number, ids in enumerate(days):
            day = f"2026-11-{22 + number}"
            self.assertFinds(self.bob, f"since:{day} until:{day}", *reversed(ids))
        self.world.clock.rightNow = float(BEGINNING)  # the clock was set back
        back = self.send(self.alice, "bob", "words")
        self.assertFinds(self.bob, f"until:{DAY}", back, *reversed(days[0]))
        self.assertClean()

    def test_renewed(self) -> None:
        """A volume is written anew some time after something has left it: that does not stay in the file."""
        self.send(self.alice, "bob", "ephemeral words")
        self.send(self.alice, "bob", "kept words")
        self.assertFinds(self.bob, "words", 2, 1)
        self.remove(self.bob, 1)
        self.world.clock.advance(SOON)
        self.world.settle()
        self.assertIn(b"ephemeral", self.blocks(0))
        self.world.clock.advance(STALE / 1000 - SOON)
        for _ in range(20):
            self.world.clock.advance(PAUSE)
            self.world.settle()
        self.assertNotIn(b"ephemeral", self.blocks(0))
        self.assertIn(b"kept", self.blocks(0))
        self.assertEqual(self.world.sql("SELECT stale FROM volumes"), [(None,)])
        self.assertFinds(self.bob, "words", 2)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def blocks(self, volume: int) -> bytes:
        """What is written of a volume."""
        return b"".join(block for (block,) in self.world.sql(f"SELECT block FROM words_{volume}_data"))

    def test_renewedClockSetBack(self) -> None:
        """As soon as that, too, where the clock was set back meanwhile."""
        self.send(self.alice, "bob", "ephemeral words")
        self.assertFinds(self.bob, "words", 1)
        self.remove(self.bob, 1)
        self.world.clock.rightNow -= 86_400
        for _ in range(5):
            self.world.result(self.world.store.renew(self.world.now() - STALE))
        self.assertNotIn(b"ephemeral", self.blocks(0))
        self.assertEqual(self.world.sql("SELECT stale FROM volumes"), [(None,)])

    def test_complete(self) -> None:
        """A volume that nothing more comes into is brought together, once."""
        for _ in range(20):
            self.send(self.alice, "bob", "words")
            self.assertEqual(len(self.found(self.bob, "words", limit=1).messages), 1)
        self.assertEqual(len(self.world.sql("SELECT 1 FROM volumes WHERE stale NOT NULL")), 1)
        self.world.clock.advance(SOON)
        self.world.clock.advance(STALE / 1000 + 1)
        for _ in range(20):
            self.world.clock.advance(PAUSE)
            self.world.settle()
        self.assertEqual(len(self.world.sql("SELECT 1 FROM volumes WHERE stale NOT NULL")), 0)
        self.assertEqual(len(self.world.sql("SELECT DISTINCT segid FROM words_0_idx")), 1)
        self.assertEqual(len(self.found(self.bob, "words").messages), 20)

    def test_broughtTogether(self) -> None:
        """However many times little enters, a volume does not fall to pieces."""
        self.patch(volumes, "PIECES", 3)
        for _ in range(15):
            self.send(self.alice, "bob", "words")
            self.found(self.bob, "words")
        pieces = self.world.sql("SELECT count(DISTINCT segid) FROM words_0_idx")
        self.assertLess(pieces[0][0], 5)


class AuditTests(SearchCase):
    """The audit holds index and ledger against each other."""

    def setUp(self) -> None:
        """Some mail, of which all is indexed."""
        super().setUp()
        for number in range(1, 20):
            self.assertFinds(self.bob, f"w{number}", self.send(self.alice, "bob", f"w{number}"))
        self.assertClean()

    def assertFound(self, statement: str, *expected: str) -> None:
        """After this was done to the files, the audit finds that."""
        self.world.close()
        connection = sqlite3.connect(self.world.path / "messages.db")
        connection.executescript(statement)
        connection.close()
        self.assertEqual(names(audit(self.world.path)), list(expected))

    def test_missing(self) -> None:
        """A message that is not in the index."""
        self.assertFound(
            "INSERT INTO words_1 (words_1, rowid, text) VALUES ('delete', 17, '\ue0001s \ue0002i')",
            "message 17: in the mailbox of account 2, but not indexed as such: it should be",
            "message 17: sent by account 1, but not indexed as such: it should be",
        )

    def test_tooMuch(self) -> None:
        """One that is in it as it should not be, or not at all."""
        self.assertFound(
            "INSERT INTO words_0 (rowid, text) VALUES (3, '\ue0003i'), (99, '\ue0001s')",
            "message 99: indexed as sent by account 1: it should not be",
            "message 3: indexed as in the mailbox of account 3: it should not be",
        )

    def test_removed(self) -> None:
        """One that has been removed."""
        self.assertFound(
            "UPDATE ledger SET state = 2, body = NULL WHERE id = 3; DELETE FROM stretches WHERE account = 9;"
            "UPDATE mailboxes SET waiting = waiting - 1 WHERE account = 2",
            "message 3: indexed as sent by account 1: it should not be",
            "message 3: indexed as in the mailbox of account 2: it should not be",
        )

    def test_range(self) -> None:
        """What the index is said to have."""
        self.assertFound(
            "UPDATE indexed SET last = 20",
            "index: of messages 1 to 20: it should be within those given out, 1 to 19",
        )

    def test_rows(self) -> None:
        """Or is not said."""
        self.assertFound("DELETE FROM indexed", "messages.db: table indexed has no rows: it should have one")

    def test_volume(self) -> None:
        """A volume that is missing, and one that nobody knows of."""
        self.assertFound(
            "DELETE FROM volumes WHERE number = 1",
            "messages.db: table words_1 is unknown: it should not be there",
            "messages.db: table words_1_config is unknown: it should not be there",
            "messages.db: table words_1_data is unknown: it should not be there",
            "messages.db: table words_1_idx is unknown: it should not be there",
            "index: volume 1 is missing: it should be there, for there are messages in it",
        )

    def test_moments(self) -> None:
        """Times of which a search for days would not know."""
        now = self.world.now()
        self.assertFound(
            "UPDATE moments SET latest = latest - 1 WHERE stretch = 2",
            f"messages 8 to 11: accepted from {now} to {now},"
            " but moments says otherwise: it should have all of that",
        )


class FullTests(SearchCase):
    """On a full disk."""

    def test_incomplete(self) -> None:
        """What is indexed is found, and the answer says that there is more; then all is found."""
        first = self.send(self.alice, "bob", "words")
        self.assertFinds(self.bob, "words", first)
        second = self.send(self.alice, "bob", "words")
        self.world.store._room = lambda inside: False
        found = self.found(self.bob, "words")
        self.assertEqual(([each.id for each in found.messages], found.incomplete), ([first], True))
        self.remove(self.bob, first)
        self.assertEqual(self.found(self.bob, "words").messages, [])
        self.world.store._room = lambda inside: True
        self.assertFinds(self.bob, "words", second)
