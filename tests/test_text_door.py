"""The text door as people use it: stock telnet and nc, against the real daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import PATIENCE, ROOT
from tests.terminals import put_away

try:
    import pexpect
except ImportError:  # pragma: no cover
    pexpect = None


def obstacle() -> str | None:
    """Why these tests cannot run here, if so."""
    if pexpect is None:
        return "pexpect is not installed"
    missing = [program for program in ("telnet", "nc") if shutil.which(program) is None]
    return f"not installed here: {', '.join(missing)}" if missing else None


class Person:
    """Someone at a terminal, with a program that is connected to the door."""

    def __init__(self, program: str, port: int) -> None:
        environment = {**os.environ, "TERM": "dumb", "LC_ALL": "C.UTF-8"}
        self.terminal = pexpect.spawn(
            program,
            ["127.0.0.1", str(port)],
            timeout=PATIENCE,
            encoding="utf-8",
            env=environment,
        )
        self.terminal.delaybeforesend = None
        self.seen = ""

    def sees(self, text: str) -> None:
        """Wait for this text on the screen."""
        self.terminal.expect_exact(text)
        self.seen += self.terminal.before + self.terminal.after

    def types(self, line: str) -> None:
        """Type a line, and Enter."""
        self.terminal.send(line + "\r")

    def signs_up(self, name: str) -> None:
        """Make an account and log in."""
        for _ in "once for the account, once for the login":
            self.sees("Username: ")
            self.types(name)
            self.terminal.expect(["New password: ", "\nPassword: "])
            self.seen += self.terminal.before + self.terminal.after
            self.types(f"{name} has a secret")
            if self.terminal.after == "\nPassword: ":
                break
            self.sees("Again: ")
            self.types(f"{name} has a secret")
        self.sees(f"Welcome, {name}.")
        self.sees("/help lists the commands.")

    def logs_in(self, name: str) -> None:
        """With an account that is there."""
        self.sees("Username: ")
        self.types(name)
        self.sees("Password: ")
        self.types(f"{name} has a secret")
        self.sees(f"Welcome, {name}.")

    def hangs_up(self) -> None:
        """The program is ended from outside."""
        put_away(self.terminal)


class TextDoorTests(SynchronousTestCase):
    """People at real terminals talk to a real server."""

    skip = obstacle()

    def setUp(self) -> None:
        """Start a server on files of its own, with the text door only."""
        self.server = pexpect.spawn(
            sys.executable,
            [
                *("-m", "twisted", "chat", "--data", self.mktemp(), "--bcrypt-rounds", "4"),
                *("--text", "tcp:0:interface=127.0.0.1"),
            ],
            timeout=PATIENCE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.addCleanup(put_away, self.server)
        self.server.expect(r"text door listening on 127\.0\.0\.1:(\d+)")
        self.port = int(self.server.match[1])

    def person(self, program: str) -> Person:
        """Someone who has just connected."""
        person = Person(program, self.port)
        self.addCleanup(person.hangs_up)
        return person

    def test_telnet_and_nc(self) -> None:
        """Two people write to each other; telnet confirms by itself, nc by the next line."""
        alice, bob = self.person("telnet"), self.person("nc")
        alice.signs_up("alice")
        self.assertNotIn("secret", alice.seen, "telnet does not show passwords")
        bob.signs_up("bob")

        alice.types("/to bob Tea at five?")
        alice.sees("Message 1 to bob: waiting.\r\n")
        bob.sees("Message 1 from alice, ")
        bob.sees("UTC\r\n| Tea at five?\r\n")
        alice.types("/status 1")
        alice.sees("Message 1 to bob: waiting.\r\n")
        bob.types("/reply Yes, please")
        alice.sees("Message 1 to bob: delivered, ")
        alice.sees("Message 2 from bob, ")
        alice.sees("| Yes, please\r\n")
        bob.sees("Message 2 to alice: waiting.")
        bob.sees("Message 2 to alice: delivered, ")

        alice.types("/write bob")
        alice.sees("Subject: ")
        alice.types("The cake")
        for line in ("First line", "", "..", "."):
            alice.types(line)
        alice.sees("Message 3 to bob: waiting.")
        bob.sees("UTC, subject: The cake\r\n| First line\r\n| \r\n| .\r\n")

    def test_all_commands(self) -> None:
        """A person with telnet can do all that the protocol offers."""
        alice = self.person("telnet")
        alice.signs_up("alice")
        for line, seen in (
            ("/help", "/delete-account   delete your account"),
            ("/to alice hello", "Message 1 to alice: delivered, "),
            ("/to zed hello?", "Message 2 to zed: returned to its sender."),
            ("", 'Message 2 to "zed" came back, not delivered: '),
            ("/inbox", "Inbox 1 from alice, "),
            ("/sent 1", "Sent 2 to zed, "),
            ("/read 1 9", "| hello\r\nNot in your mailbox: message 9."),
            ("/status 2", "Message 2 to zed: returned to its sender: "),
            ("/delete 1 9", "Deleted: message 1."),
            ("/ping", "The server is there."),
            ("/passwd", "Password: "),
            ("alice has a secret", "New password: "),
            ("another secret", "Again: "),
            ("another secret", "Your password is changed."),
            ("/delete-account", "Password: "),
            ("alice has a secret", "(wrong-password)"),
            ("/delete-account", "Password: "),
            ("another secret", "Your account is deleted.\r\nUsername: "),
            ("/quit", "Goodbye."),
        ):
            alice.types(line)
            alice.sees(seen)
        alice.terminal.expect(pexpect.EOF)
        self.assertNotIn("secret", alice.seen)

    def test_any_alphabet(self) -> None:
        """Octets that telnet would take for control keys arrive as what was typed."""
        alice = self.person("telnet")
        alice.signs_up("alice")
        alice.types("/to alice я 日本 😀 Нет?")
        alice.sees("\r\n| я 日本 😀 Нет?\r\n")

    def test_ctrl_c(self) -> None:
        """It ends a dialog, and what comes afterwards is shown."""
        alice = self.person("telnet")
        alice.signs_up("alice")
        alice.types("/write alice")
        alice.sees("Subject: ")
        alice.terminal.send("half a li\x03")
        alice.types("/ping")
        alice.sees("The server is there.")
        alice.types("/to alice still here")
        alice.sees("| still here\r\n")

    def test_shown_again(self) -> None:
        """What was not confirmed when the connection was cut comes again, marked; then no more."""
        alice = self.person("nc")
        alice.signs_up("alice")
        alice.types("/to alice once")
        alice.sees("| once\r\n")
        alice.hangs_up()
        again = self.person("telnet")
        again.logs_in("alice")
        again.sees("1 message is waiting.")
        again.sees("Message 1 (again) from alice, ")
        again.types("/status 1")
        again.sees("Message 1 to alice: delivered.")
        again.hangs_up()
        last = self.person("nc")
        last.logs_in("alice")
        last.sees("No messages are waiting.")

    def test_no_stray_byte(self) -> None:
        """A script with nc gets lines that end with LF, and no byte that is not text."""
        typed = "alice\nsecret123\nsecret123\nalice\nsecret123\n/to alice hi\n/passwd\n/cancel\n/quit\n"
        script = subprocess.run(
            ["nc", "127.0.0.1", str(self.port)],
            input=typed.encode(),
            capture_output=True,
            timeout=PATIENCE,
        )
        self.assertEqual(script.stderr, b"")
        lines = script.stdout.decode("ascii").splitlines()
        self.assertNotIn(b"\r", script.stdout)
        self.assertIn("Message 1 to alice: waiting.", lines)
        self.assertEqual(lines[-1], "Goodbye.")
