"""Which names look alike, by the rules of Unicode."""

# ruff: noqa: RUF001 -- the letters that look like others are what this is about

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat.lookalikes import one_script, skeleton
from chat.prepared import address
from tests.strategies import ALWAYS


class SkeletonTests(SynchronousTestCase):
    """L{skeleton}."""

    def test_alike(self) -> None:
        """Names that look alike have the same skeleton."""
        for one, other in (
            ("paypal", "раураӏ"),  # all of it Cyrillic
            ("paypal", "pаypal"),  # one letter Cyrillic
            ("modern", "modem"),
            ("bill", "bi11"),
            ("bill", "bıll"),  # a dotless i
            ("omicron", "οmicron"),  # a Greek letter
            ("scope", "ѕсоре"),
            ("ノ", "丿"),  # a Kana and a Han character
        ):
            self.assertEqual(skeleton(one), skeleton(other), (one, other))

    def test_different(self) -> None:
        """Names that a reader can tell apart have different skeletons."""
        names = [
            "alice",
            "bob",
            "bobo",
            "bob0",
            "élan",
            "elan",
            "иван",
            "ivan",
            "张伟",
            "張偉",
            "user1",
            "user10",
        ]
        self.assertEqual(len({skeleton(name) for name in names}), len(names))

    def test_numbers(self) -> None:
        """Names that differ in their digits are different."""
        self.assertEqual(len({skeleton(f"u{number}") for number in range(20000)}), 20000)

    def test_decomposed(self) -> None:
        """It does not matter how a character is made up."""
        for name in ("é", "ǖ", "한글", "ά"):
            self.assertEqual(skeleton(name), skeleton(unicodedata.normalize("NFD", name)))

    @ALWAYS
    @given(st.text(max_size=20))
    def test_any(self, text: str) -> None:
        """Every name has one, and it is its own."""
        name = address(text)
        if name is not None:
            once = skeleton(name)
            self.assertEqual(skeleton(once), once)


class ScriptTests(SynchronousTestCase):
    """L{one_script}."""

    def test_one(self) -> None:
        """Names of one script, with digits and punctuation, and of several that are written together."""
        for name in (
            "alice",
            "alice_99",
            "żółć",
            "иван",
            "иван-2",
            "αλέξανδρος",
            "张伟",
            "さくら",
            "サクラ",
            "東京タワー",
            "sakuraさくら",
            "東京tokyoタワー",
            "한국",
            "김kim",
            "ㄅㄆ注音abc",
            "שלום",
            "محمد",
            "राम",
            "७",
            "12345",
            "l·l",
        ):
            self.assertTrue(one_script(name), name)

    def test_mixed(self) -> None:
        """Names that mix scripts which are not written together."""
        for name in (
            "pаypal",
            "аdmin",
            "οmicron",
            "иvan",
            "さくраra",
            "한かな",
            "张伟иван",
            "aא",
            "ㄅ한",
        ):
            self.assertFalse(one_script(name), name)

    def test_digits(self) -> None:
        """Digits are of one kind."""
        self.assertTrue(one_script("محمد٣٤"))
        self.assertTrue(one_script("محمد34"))
        self.assertFalse(one_script("محمد3٤"))

    @ALWAYS
    @given(st.text(max_size=20))
    def test_any(self, text: str) -> None:
        """Any name is one thing or the other."""
        name = address(text)
        if name is not None:
            self.assertIn(one_script(name), (True, False))
            self.assertTrue(all(one_script(character) for character in name))
