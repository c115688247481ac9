"""Tests of the search: what is found, and by whom."""

from __future__ import annotations

import sqlite3
from random import Random
from typing import Iterable

from chat.admin.audit import audit
from chat.errors import Code, Refusal
from chat.query import Query, Words
from tests.search_case import AFTER, BEFORE, DAY, SearchCase
from tests.town import names


class QueryTests(SearchCase):
    """What each condition finds."""

    def setUp(self) -> None:
        """Some mail."""
        super().setUp()
        self.disk = self.send(self.alice, "bob", "Hello Jürgen, the disk is full", subject="Disk trouble")
        self.fine = self.send(self.alice, "bob", "The full disk is fine now; ask alice.smith@example.org")
        self.tower = self.send(
            self.bob, "alice", "thanks for 東京タワー, É bientôt", subject="Grüße aus Tokyo"
        )
        self.lost = self.send(self.alice, "nobody.there", "lost disk")
        self.own = self.send(self.alice, "alice", "note to self: disk")
        self.other = self.send(self.carol, "bob", "disk of Carol")

    def test_words(self) -> None:
        """All of the words must occur, whatever their case and accents, in subject, body or the name."""
        for query, ids in {
            "disk": (self.own, self.lost, self.fine, self.disk),
            "DISK full": (self.fine, self.disk),
            "full disk trouble": (self.disk,),
            "jurgen": (self.disk,),
            "JÜRGEN": (self.disk,),
            "ju\u0308rgen": (self.disk,),
            "grusse": (self.tower,),
            "GRÜSSE": (self.tower,),
            "grüße": (self.tower,),
            "ｇｒüß*": (self.tower,),
            "e bientot": (self.tower,),
            "dis": (),
            "nobody": (self.lost,),
            "nobody.there disk": (self.lost,),
            "there.nobody": (),
            "bob": (self.tower, self.fine, self.disk),
            "carol": (),
            "alice": (self.own, self.fine),
            "\U0001e900": (),  # a letter too new for the index
            "disk \U0001e900": (),
            "disk -\U0001e900": (self.own, self.lost, self.fine, self.disk),
        }.items():
            self.assertFinds(self.alice, query, *ids)

    def test_rows(self) -> None:
        """Words in a row, of whatever scripts the text is; what is not a word separates them."""
        for query, ids in {
            '"disk is full"': (self.disk,),
            '"Disk, is... FULL"': (self.disk,),
            '"full disk"': (self.fine,),
            "full-disk": (self.fine,),
            "alice.smith@example.org": (self.fine,),
            "smith.alice": (),
            '"hello jurgen"': (self.disk,),
            '"hello jur"': (),
            '"nobody there"': (self.lost,),
            '"thanks for 東京"': (self.tower,),
            "東京": (self.tower,),
            "京東": (),
            "タワ": (self.tower,),
            '"trouble hello"': (),
            "disk -is-full": (self.own, self.lost, self.fine),
            "disk -hello-jurgen": (self.own, self.lost, self.fine),
            '-"the full" disk': (self.own, self.lost, self.disk),
        }.items():
            self.assertFinds(self.alice, query, *ids)

    def test_beginnings(self) -> None:
        """What begins a word."""
        for query, ids in {
            "jü*": (self.disk,),
            "dis*": (self.own, self.lost, self.fine, self.disk),
            "nob*": (self.lost,),
            "full.dis*": (self.fine,),
            "hello.jurg*": (self.disk,),
            "fu* -tro*": (self.fine,),
            "di* fi*": (self.fine,),
        }.items():
            self.assertFinds(self.alice, query, *ids)

    def test_subject(self) -> None:
        """Words of the subject are those of the subject alone."""
        for query, ids in {
            "subject:disk": (self.disk,),
            "subject:tro*": (self.disk,),
            'subject:"disk trouble"': (self.disk,),
            'subject:"trouble disk"': (),
            "subject:grüße": (self.tower,),
            "subject:thanks": (),
            "subject:full": (),
            "disk -subject:disk": (self.own, self.lost, self.fine),
            "to* -subject:grüße": (self.own,),
        }.items():
            self.assertFinds(self.alice, query, *ids)

    def test_people(self) -> None:
        """From, to and with somebody: by the whole name, and seen from the one who asks."""
        for query, ids in {
            "from:alice": (self.own, self.lost, self.fine, self.disk),
            "from:BOB": (self.tower,),
            "from:carol": (),
            "to:bob": (self.fine, self.disk),
            "to:alice": (self.own, self.tower),
            "to:nobody.there": (self.lost,),
            "to:nobody": (),
            "with:bob": (self.tower, self.fine, self.disk),
            "with:nobody.there": (self.lost,),
            "with:alice": (self.own,),
            "with:!": (),
            "from:alice to:bob": (self.fine, self.disk),
            "from:bob to:bob": (),
            "-with:bob": (self.own, self.lost),
            "-from:alice": (self.tower,),
            "disk -to:bob": (self.own, self.lost),
            "from:bob disk": (),
            "from:alice disk -full": (self.own, self.lost),
        }.items():
            self.assertFinds(self.alice, query, *ids)
        self.assertFinds(self.bob, "from:alice", self.fine, self.disk)
        self.assertFinds(self.bob, "from:bob", self.tower)
        self.assertFinds(self.bob, "with:carol", self.other)

    def test_days(self) -> None:
        """Since and until a day, each to its end."""
        everything = (self.own, self.lost, self.tower, self.fine, self.disk)
        self.world.clock.advance(24 * 60 * 60)
        later = self.send(self.alice, "alice", "tomorrow")
        for query, ids in {
            f"since:{DAY}": (later, *everything),
            f"until:{DAY}": everything,
            f"since:{DAY} until:{DAY} disk -full": (self.own, self.lost),
            f"since:{AFTER}": (later,),
            f"until:{BEFORE}": (),
            f"since:{AFTER} until:{DAY}": (),
            "until:1969-12-31": (),
        }.items():
            self.assertFinds(self.alice, query, *ids)

    def test_boxes(self) -> None:
        """One box or both: each message once, as it is listed there."""
        self.assertFinds(self.alice, "disk", self.own, self.lost, box="inbox")
        self.assertFinds(self.alice, "disk", self.own, self.lost, self.fine, self.disk, box="sent")
        self.world.confirm(self.bob, self.disk)
        for box, state in (("inbox", "waiting"), ("sent", "returned"), (None, "waiting")):
            (entry,) = self.assertFinds(self.alice, "lost", self.lost, box=box)
            self.assertEqual(entry.state, state)
            assert entry.returned is not None
            self.assertEqual(entry.returned.recipient, "nobody.there")
        (entry,) = self.assertFinds(self.alice, "trouble", self.disk)
        self.assertEqual((entry.sender, entry.recipient, entry.state), ("alice", "bob", "delivered"))
        self.assertEqual((entry.subject, entry.excerpt), ("Disk trouble", "Hello Jürgen, the disk is full"))
        refusal = self.assertRaises(Refusal, self.found, self.alice, "disk", box="drafts")
        self.assertEqual(refusal.code, Code.BAD_FRAME)

    def test_emptyBody(self) -> None:
        """There is no excerpt of nothing."""
        self.send(self.alice, "bob", "", subject="only a subject")
        self.assertEqual([each.excerpt for each in self.found(self.alice, "only").messages], [None])

    def test_pages(self) -> None:
        """The next page begins before the last one of this; more tells whether there is any."""
        ids = [self.own, self.lost, self.fine, self.disk]
        for size in (1, 2, 3, 4):
            seen: list[int] = []
            more, before = True, 0
            while more:
                found = self.found(self.alice, "disk", limit=size, before=before)
                self.assertLessEqual(len(found.messages), size)
                seen += [each.id for each in found.messages]
                more, before = found.more, seen[-1]
            self.assertEqual(seen, ids)
        self.assertFinds(self.alice, "disk", before=self.disk)
        self.assertFinds(self.alice, "disk", *ids, before=2**63 - 1)

    def test_wrong(self) -> None:
        """What cannot be read is refused, and nothing is asked of the store."""
        for query in ("", '"disk', "since:x"):
            refusal = self.assertRaises(Refusal, self.found, self.alice, query)
            self.assertEqual(refusal.code, Code.BAD_QUERY)

    def test_noWord(self) -> None:
        """What has no words in the eyes of the index is nowhere, whatever is asked besides."""
        for words, count in (((Words("!"),), 0), ((Words("!", negated=True),), 5)):
            found = self.world.result(
                self.world.store.search(self.alice, Query(words=words), (False, True), 0, 20, lambda: True)
            )
            self.assertEqual(len(found.hits), count)

    def test_oddities(self) -> None:
        """What looks like the language of the index is text like any other."""
        odd = self.send(self.alice, "bob", "NEAR(a b) AND \"x\" text:y \x00 words_0 'z' {q} ^r \ue0001i")
        for query in (
            "NEAR",
            "and",
            "text:y",
            "words_0",
            "'z'",
            "{q}",
            "^r",
            "NEAR(a",
            "OR -NOT",
            "1i",
            '"a b"',
        ):
            found = [each.id for each in self.found(self.alice, query).messages]
            self.assertEqual(found, [odd] if query != "OR -NOT" else [], query)


class PrivacyTests(SearchCase):
    """Nobody finds what is not theirs."""

    def test_forged(self) -> None:
        """What looks like the mark of somebody's mailbox does not put a message there."""
        forged = f"\ue000{self.carol.id}i \ue000{self.carol.id}s {self.carol.id}i secret"
        id = self.send(self.alice, "bob", forged, subject=forged)
        self.assertFinds(self.carol, "secret")
        self.assertFinds(self.bob, "secret", id)
        self.assertClean()

    def test_index(self) -> None:
        """Whatever the index says, what is in no box of the one who asks is not found."""
        id = self.send(self.alice, "bob", "secret")
        self.assertFinds(self.bob, "secret", id)
        connection = sqlite3.connect(self.world.path / "messages.db")
        connection.execute(
            "INSERT INTO words_0 (rowid, text) VALUES (?, ?)", (id, f"\ue000{self.carol.id}i secret")
        )
        connection.execute("INSERT INTO stretches VALUES (?, 0, 0)", (self.carol.id,))
        connection.commit()
        connection.close()
        self.assertFinds(self.carol, "secret")
        self.assertIn(
            f"message {id}: indexed as in the mailbox of account {self.carol.id}: it should not be",
            names(audit(self.world.path)),
        )

    def test_random(self) -> None:
        """At random: what is found is what the ledger has, whatever was done to it."""
        chance = Random(7)
        words = ["disk", "full", "tea", "café", "東京"]
        for number in range(90):
            sender = chance.choice(self.people)
            recipient = chance.choice(("alice", "bob", "carol", "nobody"))
            self.send(
                sender,
                recipient,
                " ".join(chance.choices(words, k=3)),
                subject=chance.choice([None, *words]),
            )
            if chance.random() < 0.4:
                self.world.clock.advance(chance.choice((0.1, 1.0)))
                self.world.settle()
            id = chance.randint(1, number + 1)
            ((owner, state),) = self.world.sql("SELECT recipient, state FROM ledger WHERE id = ?", id)
            account = chance.choice([self.people[owner - 1], sender])
            if state < 2 and chance.random() < 0.5:
                self.world.result(self.world.mailroom.remove(account, [id]))
            if number % 30 == 29:
                self.assertAllFound(words)
        self.world.delete(self.bob)
        self.assertAllFound(words)
        self.assertClean()

    def assertAllFound(self, words: Iterable[str]) -> None:
        """Each account finds with each word what the ledger has of it, and no more."""
        for account in self.people:
            for word in words:
                due = self.world.sql(
                    "SELECT id FROM ledger WHERE state < 2 AND (sender = ?1 OR recipient = ?1)"
                    " AND (instr(body, ?2) OR instr(coalesce(subject, ''), ?2)) ORDER BY id DESC LIMIT 100",
                    account.id,
                    word,
                )
                self.assertFinds(account, word, *[id for (id,) in due], limit=100)
