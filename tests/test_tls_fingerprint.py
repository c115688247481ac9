"""Fingerprints: what people and programs know a certificate by."""

from __future__ import annotations

import hashlib

from twisted.trial.unittest import SynchronousTestCase

from chat.tls.fingerprint import COUNT, fingerprint, parse, same, words
from chat.tls.wordlist import dictionary

#: SHA-256 of "abc", from FIPS 180-2.
ABC = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
PAIRS = "SHA256:" + ":".join(ABC[at : at + 2] for at in range(0, 64, 2))


class FingerprintTests(SynchronousTestCase):
    """The digest in the way C{openssl x509 -fingerprint -sha256} prints it."""

    def test_form(self) -> None:
        """Pairs of capital digits with colons, and which digest it is."""
        self.assertEqual(fingerprint(b"abc"), PAIRS)

    def test_parsed(self) -> None:
        """However it was typed or pasted, it is understood."""
        for text in (PAIRS, PAIRS.lower(), f"  {PAIRS}\n", PAIRS[7:], ABC, ABC.lower(), f"sha256:{ABC}"):
            self.assertEqual(parse(text), PAIRS)

    def test_notParsed(self) -> None:
        """Anything else is refused with what a fingerprint looks like."""
        for text in (
            "",
            "SHA256:",
            PAIRS[:-1],
            PAIRS + ":00",
            "SHA1:" + ABC,
            ABC.replace("B", "G"),
            ABC + "\n0",
        ):
            error = self.assertRaises(ValueError, parse, text)
            self.assertIn("64 hexadecimal digits", str(error))

    def test_same(self) -> None:
        """A certificate is known by its own fingerprint only."""
        self.assertTrue(same(b"abc", PAIRS))
        self.assertFalse(same(b"abd", PAIRS))
        self.assertFalse(same(b"abc", "é"))


class WordsTests(SynchronousTestCase):
    """The same for the telephone."""

    def test_words(self) -> None:
        """Eight words, each for the next eleven bits."""
        bits = f"{int(ABC, 16):0256b}"
        expected = [dictionary()[int(bits[at : at + 11], 2)] for at in range(0, 11 * COUNT, 11)]
        self.assertEqual(words(b"abc"), " ".join(expected))
        self.assertEqual(words(b"abc"), "risk scheme quiz bulk brother vivid agree chimney")

    def test_list(self) -> None:
        """The words are those of BIP 39: with others, every fingerprint would be called otherwise."""
        self.assertEqual(len(dictionary()), 2048)
        text = "".join(f"{word}\n" for word in dictionary())
        self.assertEqual(
            hashlib.sha256(text.encode()).hexdigest(),
            "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda",
        )

    def test_firstLetters(self) -> None:
        """The first four letters tell each word from all others."""
        self.assertEqual(len({word[:4] for word in dictionary()}), 2048)
