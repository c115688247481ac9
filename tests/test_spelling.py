"""Tests of what a search takes for the same word, and of its answers against a look at every message."""

# ruff: noqa: RUF001 -- the letters that look like others are what this is about

from __future__ import annotations

from random import Random
from unicodedata import normalize

from hypothesis import given, settings
from hypothesis import strategies as st

from chat.spelling import folded
from chat.store import searches, searching, spoken, volumes
from chat.store.spoken import words
from tests.search_case import SearchCase
from tests.strategies import ALWAYS


class SpellingTests(SearchCase):
    """The same word, however it is written; see L{chat.spelling}."""

    def test_forms(self) -> None:
        """Each of these finds all of them, in the body, the subject, a row of words and as a beginning."""
        for forms in (
            ("Straße", "STRASSE", "strasse", "ＳＴＲＡＳＳＥ", "STRA\u1e9eE", "Stra\u00dfe", "ſtraſſe"),
            ("offiziell", "o\ufb03ziell", "OFFIZIELL", "of\u00adfi\u00adziell"),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ", "σίσυφοσ", "σι\u0301συφος"),
            ("İzmir", "izmir", "IZMIR", "i\u0307zmir"),
            ("ガギグ", "ｶﾞｷﾞｸﾞ", "カ\u3099キ\u3099ク\u3099"),
            ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
            ("株式会社", "㍿"),
            ("Ⅷ", "viii", "ⅷ"),
            ("Ⓐbc", "abc"),
            ("Résumé", "resume", "re\u0301sume\u0301", "ＲＥＳＵＭＥ"),
        ):
            ids = []
            for form in forms:
                ids.append(self.send(self.alice, "bob", f"one {form} two", subject=f"three {form}"))
            for form in forms:
                for query in (form, f'"one {form} two"', f"subject:{form}", f"{form}*", f"{form} -{form}x"):
                    self.assertFinds(self.bob, query, *reversed(ids))
                self.assertFinds(self.bob, f"one -{form} {forms[0]}")
            self.remove(self.bob, *ids)
        self.assertEqual(self.held(0), [])
        self.assertClean()

    def test_apart(self) -> None:
        """What differs in more than its form stays apart."""
        ids = [self.send(self.alice, "bob", each) for each in ("ø", "o", "и", "й", "か", "が")]
        for id, query in zip(ids, ("ø", "o", "и", "й", "か", "が")):
            self.assertFinds(self.bob, query, id)

    def test_names(self) -> None:
        """Names are words, too; in from: and to: they are the names that accounts have."""
        (other,) = self.world.sign_up("straße")
        id = self.send(other, "bob", "x")
        self.world.sign_up("東京")
        far = self.send(self.bob, "東京", "y")
        for query in ("strasse", "STRASSE", "from:straße", "from:Straße", "stra*", "straß*"):
            self.assertFinds(self.bob, query, id)
        self.assertFinds(self.bob, "from:strasse")
        for query in ("東京", "to:東京", "京", '"東京"'):
            self.assertFinds(self.bob, query, far)
        self.assertFinds(self.bob, "京東")
        self.assertClean()

    def test_otherRules(self) -> None:
        """What was indexed by other rules is indexed anew while the server runs, and says so until it is."""
        ids = [self.send(self.alice, "bob", f"Straße {number}") for number in range(40)]
        self.assertEqual(len(self.found(self.bob, "strasse").messages), 20)
        self.patch(volumes, "RULES", "others")
        self.patch(volumes, "apart", str)
        self.patch(spoken, "apart", str)
        self.world.store._books.forget()
        self.world.result(self.world.store.extend(False))
        new = self.send(self.alice, "bob", "Straße of today")
        self.remove(self.bob, ids.pop())
        found = self.found(self.bob, "straße")
        self.assertEqual(([each.id for each in found.messages], found.incomplete), ([new], True))
        self.assertEqual(self.volumes(), [2])
        self.assertClean()
        self.remove(self.bob, ids.pop(0))
        while self.indexed()[0] > 1:
            self.world.result(self.world.store.extend(True))
            self.assertClean()
        self.assertFinds(self.bob, "straße", new, *reversed(ids), limit=100)
        self.assertFinds(self.bob, "strasse")
        self.assertEqual(self.volumes(), [0, 1, 2])
        self.assertEqual(self.world.sql("SELECT rules FROM indexed"), [("others",)])

    def test_otherRulesNoRoom(self) -> None:
        """On a full disk nothing of it is trusted, and nothing is changed."""
        self.assertFinds(self.bob, "word", self.send(self.alice, "bob", "word"))
        self.patch(volumes, "RULES", "others")
        self.world.store._room = lambda inside: False
        found = self.found(self.bob, "word")
        self.assertEqual((found.messages, found.incomplete), ([], True))
        self.remove(self.bob, 1)
        self.assertNotEqual(self.world.sql("SELECT rules FROM indexed"), [("others",)])

    def test_nothingLeft(self) -> None:
        """An outdated volume of which nothing is in a mailbox any more goes all the same."""
        self.assertFinds(self.bob, "word", self.send(self.alice, "bob", "word"))
        self.patch(volumes, "RULES", "others")
        self.remove(self.bob, 1)
        self.world.store._books.forget()
        while self.indexed()[0] > 1 or self.volumes():
            self.world.result(self.world.store.extend(True))
        self.assertEqual(self.world.sql("SELECT name FROM sqlite_schema WHERE name LIKE 'words%'"), [])
        self.assertClean()

    def test_volumeGone(self) -> None:
        """Where a volume was lost from the file, the index can be made anew."""
        id = self.send(self.alice, "bob", "word")
        self.assertFinds(self.bob, "word", id)
        self.world.sql("DROP TABLE words_0")
        self.patch(volumes, "RULES", "others")
        self.world.store._books.forget()
        self.world.result(self.world.store.extend(True))
        self.assertEqual(self.indexed(), (1, 1))
        self.assertFinds(self.bob, "word", id)
        self.assertClean()

    def test_anything(self) -> None:
        """Whatever words are written, whoever asks for one of them as it was written finds it."""
        letters = st.characters(whitelist_categories=("L", "N", "M"), blacklist_characters="\ue000")
        texts = st.one_of(
            st.text(letters, min_size=1, max_size=8),
            st.text("ßſΣσςﬁﬃİıｶﾞがÉé\u0301\u0327ǅⅧ한", min_size=1, max_size=6),
        )

        @settings(ALWAYS, max_examples=60)
        @given(st.lists(texts, min_size=1, max_size=4))
        def found(words: list[str]) -> None:
            id = self.send(self.alice, "bob", " ".join(words))
            for word in words:
                for form in (word, normalize("NFD", word), normalize("NFKC", word)):
                    if not self.has_word(form):
                        continue
                    ids = [each.id for each in self.found(self.bob, f'"{form}"').messages]
                    self.assertEqual(ids[:1], [id], (words, form))
            self.remove(self.bob, id)
            self.assertEqual(self.found(self.bob, "with:alice").messages, [])

        found()
        self.assertEqual(self.held(0), [])

    def has_word(self, text: str) -> bool:
        """Whether a text has anything in it that the index takes for a word."""
        connection = self.world.pool.connect()
        return bool(words(connection.cursor(), text)) and any(map(str.isalnum, folded(text)))


class NaiveTests(SearchCase):
    """Whatever the index does to be quick, what is found is what a look at every message finds."""

    WORDS = ("disk", "full", "tea", "Straße", "strasse", "東京", "a", "b")

    def setUp(self) -> None:
        """Mail between all, much of it between the same two, so that some volumes are full of one mailbox."""
        super().setUp()
        self.patch(searching, "SAMPLE", 3)
        self.patch(searching, "FEW", 2)
        chance = Random(11)
        self.rows: dict[int, tuple[str, str, str | None, str]] = {}
        for number in range(160):
            busy = number // 40 % 2
            sender = self.alice if busy else chance.choice(self.people)
            recipient = "bob" if busy else chance.choice(("alice", "bob", "carol"))
            subject = chance.choice((None, *self.WORDS))
            body = " ".join(chance.choices(self.WORDS, k=chance.randint(1, 5)))
            id = self.send(sender, recipient, body, subject=subject)
            self.rows[id] = (sender.name, recipient, subject, body)
        self.chance = chance

    def naive(self, name: str, words: list[tuple[str, bool]]) -> list[int]:
        """The ids of the messages of somebody that have all of these rows of words, or have them not."""

        def spelled(text: str) -> str:
            plain = text.casefold()
            for each in "東京":
                plain = plain.replace(each, f" {each} ")
            return f" {' '.join(plain.split())} "

        found = []
        for id, (sender, recipient, subject, body) in self.rows.items():
            texts = [spelled(body), spelled(subject or "")]
            if name in (sender, recipient) and all(
                any(spelled(row) in text for text in texts) is not negated for row, negated in words
            ):
                found.append(id)
        return found[::-1]

    def test_words(self) -> None:
        """Rows of words, wanted and not wanted, in turns as short as can be, and page by page."""
        for number in range(60):
            self.patch(searches, "LONG", 0.0 if number % 2 else 1.0)
            words = [
                (
                    " ".join(self.chance.choices(self.WORDS, k=self.chance.randint(1, 2))),
                    self.chance.random() < 0.3,
                )
                for _ in range(self.chance.randint(1, 3))
            ]
            query = " ".join(f'{"-" * negated}"{row}"' for row, negated in words)
            account = self.chance.choice(self.people)
            due = self.naive(account.name, words)
            found: list[int] = []
            more = True
            while more:
                page = self.found(account, query, limit=7, before=found[-1] if found else 0)
                more = page.more
                self.assertEqual(len(page.messages), 7 if more else len(due) - len(found), query)
                found += [each.id for each in page.messages]
            self.assertEqual(found, due, query)
