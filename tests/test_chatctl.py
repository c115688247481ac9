"""C{chatctl} itself: whatever goes wrong, one line says what, and what to do."""

from __future__ import annotations

import io
import os
import sqlite3
import sys
from contextlib import redirect_stderr
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chat.admin.main import main
from chat.store.files import DataDirectory, path, schemas
from chat.store.key import create
from tests.town import called


class ChatctlCase(SynchronousTestCase):
    """A server that was stopped."""

    def setUp(self) -> None:
        """Its files."""
        self.path = Path(self.mktemp()).absolute()
        data = DataDirectory(self.path, schemas())
        data.open()
        data.close()


class RefusalTests(ChatctlCase):
    """What cannot be done ends with one line and status 2, never with a traceback."""

    def assertRefused(self, words: str, command: str, *arguments: str) -> None:
        """One line with these words."""
        status, out, err = called(command, "--data", str(self.path), *arguments)
        self.assertEqual((status, out, err.count("\n")), (2, "", 1), out + err)
        self.assertTrue(err.startswith("chatctl: "), err)
        self.assertIn(words, err)

    def test_damaged(self) -> None:
        """Pages that cannot be read, wherever they are met."""
        connection = sqlite3.connect(path(self.path, "users"))
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'invitations'")
        connection.close()
        with open(path(self.path, "users"), "r+b") as stream:
            stream.seek((page - 1) * 4096)
            stream.write(b"\xff" * 4096)
        self.assertRefused(
            'malformed): run this as the user that the server runs as; "chatctl audit"', "invites"
        )

    def test_noText(self) -> None:
        """A schema that is damaged so that SQLite's complaint of it is no text."""
        file = path(self.path, "users")
        whole = file.read_bytes()
        self.assertEqual(whole.count(b"uses    INTEGER NOT"), 1)
        file.write_bytes(whole.replace(b"uses    INTEGER NOT", b"uses    INTEGER \xffOT"))
        self.assertRefused("The files cannot be used (", "invites")

    def test_notYours(self) -> None:
        """Files that somebody else may only read."""
        error = sqlite3.OperationalError("attempt to write a readonly database")
        for command in (
            ["invites"],
            ["invite", "--address", "chat.example:1"],
            ["passwd", "--code", "alice"],
        ):
            with mock.patch("chat.store.opener.Opener.attach", side_effect=error):
                self.assertRefused("run this as the user that the server runs as", *command)

    def test_closed(self) -> None:
        """A directory that somebody else may not look into."""
        key = Path(self.mktemp()).absolute()
        create(key)
        error = PermissionError(13, "Permission denied", "/closed/passwords.db")
        for command in (
            ["invite", "--address", "chat.example:1"],
            ["encrypt-passwords", "--password-key", str(key)],
            ["restore", str(self.path)],
        ):
            with mock.patch.object(Path, "exists", side_effect=error):
                self.assertRefused("/closed/passwords.db cannot be used (Permission denied): run", *command)


class StreamTests(ChatctlCase):
    """What is printed where it cannot be, and what is read where there is nothing."""

    def test_full(self) -> None:
        """Who prints to a full disk is told so: what is missing there is not to be taken for nothing."""
        error = io.StringIO()
        with open("/dev/full", "w") as full, redirect_stderr(error):
            self.patch(sys, "stdout", full)
            self.assertEqual(main(["audit", "--data", str(self.path)]), 2)
        self.assertIn("The output cannot be written (No space left on device)", error.getvalue())

    def test_closed(self) -> None:
        """With nowhere to print to the work is done all the same; with nothing to read there is no input."""
        for name in ("stdin", "stdout"):
            self.patch(sys, name, None)
        self.addCleanup(lambda: (sys.stdin.close(), sys.stdout.close()))
        with redirect_stderr(io.StringIO()):
            self.assertEqual(main(["audit", "--data", str(self.path)]), 0)
            self.assertEqual(main(["export", "--data", str(self.path), "alice"]), 2)
        self.assertFalse(sys.stdin.isatty())
        self.assertEqual(sys.stdin.read(), "")

    def test_enough(self) -> None:
        """Who has read enough and goes is no error worth a word."""
        reading, writing = os.pipe()
        os.close(reading)
        error = io.StringIO()
        with open(writing, "w") as gone, redirect_stderr(error):
            self.patch(sys, "stdout", gone)
            self.assertEqual(main(["audit", "--data", str(self.path)]), 1)
        self.assertEqual(error.getvalue(), "")
