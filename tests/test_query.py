"""Tests for L{chat.query}: what people type becomes what is searched for, or they are told what to type."""

# ruff: noqa: RUF001 -- the letters that look like others are what this is about

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat import spelling
from chat.errors import Code, Refusal
from chat.messages import QUERY_BYTES
from chat.query import BEFORE, EXCERPT, MOST_TERMS, Person, Query, Role, Words, about, parse, wanted
from chat.query import excerpt as cut
from chat.spelling import folded
from tests.strategies import ALWAYS

#: 2026-11-01 and the day behind it, in milliseconds since 1970-01-01.
FIRST, SECOND = 1_793_491_200_000, 1_793_577_600_000


def excerpt(body: str, query: Query) -> str:
    """The excerpt of a body that is shown for a query."""
    return cut(body, wanted(query))


class ParseTests(SynchronousTestCase):
    """Queries and their meaning."""

    def test_conditions(self) -> None:
        """Each condition means what the protocol says."""
        for text, query in {
            "disk": Query(words=(Words("disk"),)),
            "  disk\tfull ": Query(words=(Words("disk"), Words("full"))),
            '"disk full"': Query(words=(Words("disk full"),)),
            '"disk"full': Query(words=(Words("disk"), Words("full"))),
            "dis*": Query(words=(Words("dis", prefix=True),)),
            "di**": Query(words=(Words("di", prefix=True),)),
            '"dis*"': Query(words=(Words("dis*"),)),
            "*disk": Query(words=(Words("*disk"),)),
            "-disk": Query(words=(Words("disk", negated=True),)),
            '-"a b"': Query(words=(Words("a b", negated=True),)),
            "subject:disk": Query(words=(Words("disk", subject=True),)),
            "Subject:dis*": Query(words=(Words("dis", subject=True, prefix=True),)),
            '-subject:"a b"': Query(words=(Words("a b", subject=True, negated=True),)),
            "from:bob": Query(people=(Person(Role.FROM, "bob"),)),
            "TO:Bob": Query(people=(Person(Role.TO, "Bob"),)),
            'with:"a b"': Query(people=(Person(Role.WITH, "a b"),)),
            'with:"a""b"': Query(people=(Person(Role.WITH, 'a"b'),)),
            "-from:b*": Query(people=(Person(Role.FROM, "b*", negated=True),)),
            "since:2026-11-01": Query(since=FIRST),
            "until:2026-11-01": Query(until=SECOND),
            "since:2026-11-02 until:2026-11-01": Query(since=SECOND, until=SECOND),
            "since:2026-11-02 since:2026-11-01": Query(since=SECOND),
            "since:2026-11-01 since:2026-11-02": Query(since=SECOND),
            "until:2026-10-31 until:2026-11-01": Query(until=FIRST),
            "until:2026-11-01 until:2026-10-31": Query(until=FIRST),
            "http://x.org": Query(words=(Words("http://x.org"),)),
            "subjects:x": Query(words=(Words("subjects:x"),)),
            "Größe 東京 №1": Query(words=(Words("Größe"), Words("東京"), Words("№1"))),
        }.items():
            self.assertEqual(parse(text), query, text)

    def test_refused(self) -> None:
        """What cannot be read is refused, and the reason says what was wrong and how to write it."""
        for text, beginning in {
            "": "There is nothing to search for",
            "  ": "There is nothing to search for",
            '"disk': "A quotation mark is not closed",
            'from:"bob': "A quotation mark is not closed",
            '"a""': "A quotation mark is not closed",
            "from:": "Write a name directly behind from:",
            "with: bob": "Write a name directly behind with:",
            'to:""': "Write a name directly behind to:",
            "since:": "Behind since: stands a day",
            "since:yesterday": "Behind since: stands a day",
            "until:2026-02-30": "Behind until: stands a day",
            "until:9999-12-31": "Behind until: stands a day",
            "until:2026-11-011": "Behind until: stands a day",
            "since:\u0662026-11-01": "Behind since: stands a day",
            "-since:2026-11-01": "since: cannot be negated",
            "!!!": "Only words can be searched for",
            "\U0001f600": "Only words can be searched for",
            '""': "Only words can be searched for",
            "subject:": "Only words can be searched for",
            "-": "Only words can be searched for",
            "d*": "Before * there must be",
            "subject:-d*": "Before * there must be",
            " ".join(["a"] * (MOST_TERMS + 1)): "A query has at most",
        }.items():
            refusal = self.assertRaises(Refusal, parse, text)
            self.assertEqual(refusal.code, Code.BAD_QUERY, text)
            self.assertEqual(refusal.reason[: len(beginning)], beginning, text)
            self.assertIn("For example: ", refusal.reason)
        self.assertEqual(len(parse(" ".join(["a"] * MOST_TERMS) + " ").words), MOST_TERMS)

    def test_example(self) -> None:
        """The example in the refusals is a query."""
        refusal = self.assertRaises(Refusal, parse, "")
        query = parse(refusal.reason.partition("For example: ")[2])
        self.assertEqual((len(query.words), len(query.people), query.since), (3, 1, FIRST))

    def test_tooLarge(self) -> None:
        """A query has as many bytes as the protocol says, and no more."""
        parse("x" * QUERY_BYTES)
        for text in ("x" * (QUERY_BYTES + 1), "é" * (QUERY_BYTES // 2 + 1)):
            self.assertEqual(self.assertRaises(Refusal, parse, text).code, Code.TOO_LARGE)

    def test_anything(self) -> None:
        """Whatever is typed is read or refused."""

        @ALWAYS
        @given(st.one_of(st.text(), st.text('"-*:abfromsince 2026', max_size=40)))
        def typed(text: str) -> None:
            try:
                query = parse(text)
            except Refusal as refusal:
                self.assertIn(refusal.code, (Code.BAD_QUERY, Code.TOO_LARGE))
            else:
                self.assertNotEqual(query, Query())

        typed()

    def test_about(self) -> None:
        """Whatever a name is made of, the query for a person finds that name again."""
        for name in ("bob", "alice.smith", 'a"b', '"', '"x" y', "*", "-x", "from:x", "ä"):
            self.assertEqual(parse(about(Role.WITH, name)), Query(people=(Person(Role.WITH, name),)))


class ExcerptTests(SynchronousTestCase):
    """A piece of the body that shows why it was found."""

    LONG = f"{'before ' * 40}The disk is full.{' behind' * 40}"

    def assertExcerpt(self, query: str, body: str, expected: str) -> None:
        """This is the excerpt."""
        self.assertEqual(excerpt(body, parse(query)), expected, query)

    def test_short(self) -> None:
        """A short body is shown whole, on one line."""
        for query in ("disk", "nothing", "from:bob"):
            self.assertExcerpt(query, " The disk\r\n\tis  full.\n", "The disk is full.")
        self.assertExcerpt("disk", "", "")

    def test_around(self) -> None:
        """Of a long body the part around the first of the words, cut between words."""
        for query in ("disk", "full DISK", '"disk is full"', '"DISK, is"', "di*", "xyz disk", "fu* disk"):
            found = excerpt(self.LONG, parse(query))
            self.assertTrue(found.startswith("... before "), found)
            self.assertTrue(found.endswith(" ..."), found)
            self.assertIn("The disk is full.", found)
            self.assertLess(len(found), EXCERPT + 9)

    def test_underscores(self) -> None:
        """What is no letter separates words, an underscore too, as the index has it."""
        body = f"{'before ' * 40}my_disk_full{' behind' * 40}"
        for query in ("disk", '"disk full"', "full", "my_disk"):
            self.assertIn("my_disk_full", excerpt(body, parse(query)), query)
        self.assertIn("disk", excerpt(f"{'-- ' * 200}disk{' behind' * 40}", parse("disk")))

    def test_beginning(self) -> None:
        """If no word is in it, or only in other words, its beginning."""
        for query in ("xyz", "dis", "isk", "the_d", "-disk", "subject:disk", "with:bob", '"full disk"'):
            self.assertEqual(excerpt(self.LONG, parse(query))[:13], "before before", query)

    def test_accents(self) -> None:
        """Case and accents make no difference, and what is shown is as it was written."""
        body = f"{'x ' * 200}Das Café in der GRÖSSE"
        for query in ("cafe", "CAFÉ", "größse grosse", "cafe\u0301"):
            self.assertIn("Café in der GRÖSSE", excerpt(body, parse(query)), query)

    def test_forms(self) -> None:
        """However the word is written there: the part around it is shown as it was written."""
        for query, word in (
            ("strasse", "Straße"),
            ("STRASSE", "straße"),
            ("Straße", "STRASSE"),
            ("office", "o\ufb03ce"),
            ("abc", "ＡＢＣ"),
            ("σίσυφος", "ΣΊΣΥΦΟΣ"),
            ("resume", "re\u0301sume\u0301"),
            ("offen", "of\u00adfen"),
            ("カ", "㍿ｶ"),
            ("viii", "Ⅷ"),
        ):
            for before in ("ß ", "\ufdfa ", "a\u0301\u0327 ", "x " * 200 + "ﬁ"):
                long = f"{before * 300} {word} und{' danach' * 40}"
                found = excerpt(long, parse(query))
                self.assertIn(f"{word} und danach danach", found, (query, before))
                self.assertTrue(found.endswith(" ..."), found)
                self.assertLessEqual(found.index(word), BEFORE + len("... "), found)

    def test_anyForm(self) -> None:
        """Wherever a word is in a text of whatever characters, it is in the excerpt."""

        @ALWAYS
        @given(st.text(max_size=400), st.text(max_size=200))
        def shown(before: str, after: str) -> None:
            found = excerpt(f"{before} Zyklopenstraße {after}", parse("ZYKLOPENSTRASSE"))
            self.assertIn("Zyklopenstraße", found)

        shown()

    def test_manyAccents(self) -> None:
        """As many accents on one letter as fit into a message do not take longer than other characters."""
        body = "x" + "\u0301\u0316" * 16_000
        forms = [len(piece) for piece, _ in spelling.pieces(body)]
        self.assertEqual((sum(forms), max(forms)), (len(body), 256))
        self.assertEqual(folded(body)[:2], "x\u0316")
        self.assertEqual(excerpt("\u0301", parse("disk")), "\u0301")
        for query in ("disk", '"x disk"'):
            self.assertIn("disk", excerpt(f"{body} x disk é", parse(query)))

    def test_withoutSpaces(self) -> None:
        """In a script without spaces between words, too."""
        body = f"{'あ' * 200}東京タワーに行った{'い' * 200}"
        for query in ("東京", "タワー", "ワ に"):
            self.assertIn("東京タワーに", excerpt(body, parse(query)), query)
        self.assertIn("がぎぐ", excerpt(f"{'あ' * 200}がぎぐ", parse("ぎ")))

    def test_noWord(self) -> None:
        """What is no word is nowhere."""
        self.assertEqual(wanted(Query(words=(Words("!"),))), [])

    def test_longWord(self) -> None:
        """One endless word is cut where it must be."""
        found = excerpt("x" * 500, parse("disk"))
        self.assertEqual(found, f"{'x' * EXCERPT} ...")
        found = excerpt(f"{'x' * 500}-disk", parse("disk"))
        self.assertEqual(found, f"... {'x' * 39}-disk")
