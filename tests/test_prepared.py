"""Tests for L{chat.prepared}: the forms of names and passwords."""

from __future__ import annotations

from precis_i18n import get_profile
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code, Refusal
from chat.prepared import (
    LONGEST_PASSWORD,
    NAME_BYTES,
    address,
    new_password,
    prepare_name,
    prepare_password,
)

#: What nobody can be called.
NO_NAMES = [
    "",
    " ",
    "two words",
    " alice",
    "alice ",
    "tab\there",
    "line\nfeed",
    "nul\0",
    "\x1b[2J",
    "\x7f",
    "no\u00a0break",
    "line\u2028separator",
    "right\u202eto left",
    "\ufeffalice",
    "zero\u200bwidth",
    "\ue000private",
    "\ud800",
    "x" * 65,
    "é" * 33,
    "x" * 300,
    "x" * 5000,
]
#: What is typed, and what it becomes.
NAMES = {
    "alice": "alice",
    "Alice": "alice",
    "ALICE": "alice",
    "\uff21lice": "alice",  # fullwidth A
    "a\u0308nne": "\u00e4nne",  # decomposed
    "\u00c4NNE": "\u00e4nne",
    "a.b-c_d+e@f": "a.b-c_d+e@f",
    "x" * 64: "x" * 64,
    "é" * 32: "é" * 32,
    "\u0645\u0631\u062d\u0628\u0627": "\u0645\u0631\u062d\u0628\u0627",
    "日本": "日本",
}


class NameTests(SynchronousTestCase):
    """One person, one name, however it is typed."""

    def test_prepared(self) -> None:
        """Case, width and composition make no difference; a prepared name stays as it is."""
        for typed, name in NAMES.items():
            self.assertEqual(prepare_name(typed), name)
            self.assertEqual(prepare_name(name), name)
            self.assertEqual(address(typed), name)

    def test_refused(self) -> None:
        """What cannot be a name is C{bad-name} at sign-up, and no address for a message."""
        for typed in NO_NAMES:
            refusal = self.assertRaises(Refusal, prepare_name, typed)
            self.assertEqual(refusal.code, Code.BAD_NAME)
            self.assertIn(str(NAME_BYTES), refusal.reason)
            self.assertIs(address(typed), None)

    def test_plain(self) -> None:
        """What is made of ASCII is prepared as the profile says, though it is not asked."""
        profile = get_profile("UsernameCaseMapped")
        for number in range(128):
            for typed in (chr(number), f"A{chr(number)}z", f"a{chr(number)}"):
                try:
                    expected = profile.enforce(typed)
                except UnicodeError:
                    expected = None
                self.assertEqual(address(typed), expected, repr(typed))

    def test_everyCharacter(self) -> None:
        """No character does harm: each is part of a name that stays as it is, or of none."""
        count = 0
        for number in (*range(0x3000), *range(0xD7F0, 0xE010), *range(0xF900, 0x10000), 0x1F600, 0x10FFFF):
            name = address("a" + chr(number))
            if name is not None:
                count += 1
                self.assertEqual(address(name), name)
        self.assertGreater(count, 3000)


class PasswordTests(SynchronousTestCase):
    """Which passwords may be chosen, and when two are the same."""

    def assertBad(self, password: str) -> None:
        """This is no password to choose."""
        refusal = self.assertRaises(Refusal, new_password, password)
        self.assertEqual(refusal.code, Code.BAD_PASSWORD)
        self.assertNotIn(password or "(nothing)", refusal.reason)

    def test_length(self) -> None:
        """8 to 1024 bytes, whatever the number of characters."""
        for password in ("", "x" * 7, "x" * 1025, "é" * 513, "x" * 100_000):
            self.assertBad(password)
        for password in ("x" * 8, "x" * 1024, "é" * 4, "é" * 512):
            self.assertEqual(new_password(password), password.encode())

    def test_notAllowed(self) -> None:
        """Control characters, and what is no text, cannot be in a password."""
        for odd in ("\0", "\t", "\n", "\x1b", "\x7f", "\x85", "\ud800"):
            self.assertBad("correct" + odd + "horse")
            self.assertIs(prepare_password("correct" + odd + "horse"), None)

    def test_sameWhereverTyped(self) -> None:
        """Composition and the kind of space make no difference; case and width do (RFC 8265)."""
        self.assertEqual(new_password("a\u0308 password"), new_password("\u00e4\u3000password"))
        self.assertNotEqual(new_password("Password"), new_password("password"))
        self.assertNotEqual(new_password("\uff50assword"), new_password("password"))
        self.assertEqual(new_password("  spaces count  "), b"  spaces count  ")

    def test_tooLongToPrepare(self) -> None:
        """What is far too long is not even looked at."""
        self.assertIs(prepare_password("x" * (LONGEST_PASSWORD + 1)), None)
        self.assertIs(prepare_password(""), None)
