"""Tests for L{chat.codes} and L{chat.invitation}: codes for people, and the line that is pasted."""

from __future__ import annotations

import shlex

from twisted.trial.unittest import SynchronousTestCase

from chat.codes import INVITATION_GROUPS, RECOVERY_GROUPS, digest, new_code, plain
from chat.invitation import LONGEST, Invitation, build, command, looks_like, parse
from chat.tls.fingerprint import fingerprint
from chat.tls.fingerprint import parse as parse_fingerprint

CODE = "7q2m-x0vd-3hfk-p9ws-c41n-ztj8-r5ye"
PIN = "5f" * 32
WHOLE = f"chat://chat.example:5311/?code={CODE}&pin={PIN}"


class CodeTests(SynchronousTestCase):
    """What a person copies or reads out."""

    def test_form(self) -> None:
        """Groups of four letters and digits, none of which is easily taken for another."""
        self.assertRegex(new_code(RECOVERY_GROUPS), "^([0-9a-hjkmnp-tv-z]{4}-){3}[0-9a-hjkmnp-tv-z]{4}$")
        self.assertEqual(len(new_code(INVITATION_GROUPS).replace("-", "")), 28)

    def test_random(self) -> None:
        """Each is another, and every place of it can be any of the letters."""
        codes = [new_code(RECOVERY_GROUPS) for _ in range(1000)]
        self.assertEqual(len(set(codes)), 1000)
        for place in (0, 5, 18):
            self.assertEqual(len({code[place] for code in codes}), 32)

    def test_enough(self) -> None:
        """An invitation has at least 128 random bits, a recovery code 80."""
        self.assertGreaterEqual(INVITATION_GROUPS * 4 * 5, 128)
        self.assertGreaterEqual(RECOVERY_GROUPS * 4 * 5, 80)

    def test_asTyped(self) -> None:
        """Capitals, other groups and letters taken for digits make no difference."""
        for typed in (CODE, CODE.upper(), CODE.replace("-", ""), f" {CODE[:9]} {CODE[9:]} "):
            self.assertEqual(plain(typed, INVITATION_GROUPS), CODE)
        self.assertEqual(plain("oOiI-lL01-0011-2345", RECOVERY_GROUPS), "0011-1101-0011-2345")

    def test_none(self) -> None:
        """What has another length or other letters is none, and has the digest of none."""
        for typed in (
            "",
            "-",
            CODE[:-1],
            CODE + "0",
            CODE.replace("7", "u"),
            "é" * 28,
            "\ud800",
            "0" * 10_000,
        ):
            self.assertIs(plain(typed, INVITATION_GROUPS), None)
            self.assertEqual(digest(typed, INVITATION_GROUPS), digest("", INVITATION_GROUPS))
        self.assertNotEqual(digest(CODE, INVITATION_GROUPS), digest("", INVITATION_GROUPS))

    def test_digest(self) -> None:
        """However a code is typed, its digest is the same; another one's is another."""
        self.assertEqual(digest(CODE.upper(), INVITATION_GROUPS), digest(CODE, INVITATION_GROUPS))
        self.assertNotEqual(digest(CODE[:-1] + "0", INVITATION_GROUPS), digest(CODE, INVITATION_GROUPS))


class LineTests(SynchronousTestCase):
    """The line of an invitation."""

    def test_thereAndBack(self) -> None:
        """What is built is read again, whatever the host."""
        for host in (
            "chat.example",
            "localhost",
            "192.0.2.7",
            "2001:db8::7",
            "::1",
            "xn--bcher-kva.example",
            "a_b",
        ):
            for pin in (None, PIN):
                invitation = Invitation(host, 5311, CODE, pin)
                self.assertEqual(parse(build(invitation)), invitation)
                self.assertEqual(parse(command(invitation)), invitation)

    def test_form(self) -> None:
        """It looks as the manual says."""
        self.assertEqual(build(Invitation("chat.example", 5311, CODE, PIN)), WHOLE)
        self.assertEqual(build(Invitation("::1", 1, CODE)), f"chat://[::1]:1/?code={CODE}")

    def test_shell(self) -> None:
        """Pasted into a shell, it is a command and one argument."""
        words = shlex.split(command(Invitation("chat.example", 5311, CODE, PIN)))
        self.assertEqual(words, ["chat", "join", WHOLE])

    def test_pasted(self) -> None:
        """Blanks, quotes and brackets around it, and a code in capitals, do no harm."""
        for text in (
            f"  {WHOLE}\n",
            f'"{WHOLE}"',
            f"<{WHOLE}>",
            f"chat join {WHOLE}",
            WHOLE.replace(CODE, CODE.upper()),
        ):
            self.assertEqual(parse(text), Invitation("chat.example", 5311, CODE, PIN))
            self.assertTrue(looks_like(text))

    def test_pin(self) -> None:
        """The pin is the fingerprint of the certificate, and read as one."""
        called = fingerprint(b"a certificate")
        invitation = Invitation("h", 1, CODE, called.partition(":")[2].replace(":", "").lower())
        self.assertEqual(parse_fingerprint(parse(build(invitation)).pin or ""), called)

    def test_none(self) -> None:
        """Anything else is refused, with a word on what it should be and none of what it was."""
        for text in (
            "",
            "chat join",
            "alice",
            WHOLE[:-1],
            WHOLE + "0",
            WHOLE + "&x=1",
            WHOLE.replace("chat://", "http://"),
            WHOLE.replace("chat://", "chat:/"),
            WHOLE.replace(":5311", ""),
            WHOLE.replace(":5311", ":0"),
            WHOLE.replace(":5311", ":65536"),
            WHOLE.replace(":5311", ":99999999"),
            WHOLE.replace("code=", "code="[:-1]),
            WHOLE.replace(CODE, CODE[:-1]),
            WHOLE.replace(CODE, CODE + CODE),
            WHOLE.replace(PIN, PIN.upper()),
            WHOLE.replace("chat.example", ""),
            WHOLE.replace("chat.example", "chat example"),
            WHOLE.replace("chat.example", "-rf"),
            WHOLE.replace("chat.example", "user@host"),
            WHOLE.replace("chat.example", "[::z]"),
            WHOLE.replace("chat.example", "[1.2.3.4]"),
            WHOLE.replace("chat.example", "x" * 300),
            WHOLE.replace("chat.example", "\u202eexample"),
            f"{WHOLE} {WHOLE}",
            WHOLE.replace("/?", "/path?"),
            " " * LONGEST + WHOLE,
            "\ud800",
        ):
            error = self.assertRaises(ValueError, parse, text)
            self.assertIn("chat://HOST:PORT/?code=CODE", str(error))
            self.assertNotIn(CODE, str(error))

    def test_notBuilt(self) -> None:
        """What could not be read again is not built."""
        for host, port, code in (
            ("", 1, CODE),
            ("a b", 1, CODE),
            ("h", 0, CODE),
            ("h", 70000, CODE),
            ("h", 1, "code"),
            ("h", 1, CODE.upper()),
        ):
            error = self.assertRaises(ValueError, build, Invitation(host, port, code))
            self.assertIn("no invitation can lead to", str(error))

    def test_looks(self) -> None:
        """A user name is not taken for one, but what was meant as one is, though it is broken."""
        for text in ("alice", "chat", "chat join", "", "http://chat.example", "x" * 5000):
            self.assertFalse(looks_like(text))
        for text in ("chat://", "CHAT://x", "chat join 'chat://"):
            self.assertTrue(looks_like(text))

    def test_notShown(self) -> None:
        """The code of an invitation is in no repr, which may be logged."""
        self.assertNotIn(CODE, repr(Invitation("h", 1, CODE)))
