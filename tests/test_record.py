"""C{admin.log}: what operators do is written down."""

from __future__ import annotations

import io
import os
import sqlite3
import stat
from contextlib import closing, redirect_stderr
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chat.admin import record as recording
from chat.admin.record import FILE, record, who
from chat.store.layout import APPLICATION
from tests.town import called
from tests.world import open_world


class RecordTests(SynchronousTestCase):
    """L{record}."""

    def setUp(self) -> None:
        """A data directory, and a user."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        with closing(sqlite3.connect(self.folder / "users.db")) as users:
            users.execute(f"PRAGMA application_id = {APPLICATION}")
            users.execute("CREATE TABLE accounts (id)")
        self.patch(recording, "who", lambda: "carol")

    @property
    def lines(self) -> list[str]:
        """What is written down."""
        return (self.folder / FILE).read_text("utf-8").splitlines()

    def test_lines(self) -> None:
        """Each command is a line with time, user, words and end; nobody else can read it."""
        record(self.folder, ["passwd", "alice"], 0)
        record(self.folder, ["import", "bob", "mail.jsonl"], 2)
        time = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
        self.assertRegex(self.lines[0], time + r"carol: chatctl passwd alice \(exit status 0\)$")
        self.assertRegex(self.lines[1], time + r"carol: chatctl import bob mail.jsonl \(exit status 2\)$")
        self.assertEqual(stat.S_IMODE((self.folder / FILE).stat().st_mode), 0o600)

    def test_injection(self) -> None:
        """No argument can look like a line of its own, or steer the terminal that shows it."""
        record(self.folder, ["passwd", "a\n2026 carol: chatctl\x1b[2J\u202e\udcff"], 0)
        (line,) = self.lines
        self.assertTrue(line.isprintable())

    def test_notWritable(self) -> None:
        """Where it cannot be written the command has been carried out all the same."""
        (self.folder / FILE).mkdir()
        complaints = io.StringIO()
        with redirect_stderr(complaints):
            record(self.folder, ["passwd", "alice"], 0)
        self.assertIn("not recorded", complaints.getvalue())

    def test_elsewhere(self) -> None:
        """A directory without the data of a server is left alone."""
        (self.folder / "users.db").unlink()
        record(self.folder, ["passwd", "alice"], 2)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_owner(self) -> None:
        """What root writes first, the server's user can write to afterwards; nothing else changes hands."""
        given: list[tuple[int, int]] = []
        self.patch(os, "fchown", lambda _, user, group: given.append((user, group)))
        self.patch(os, "geteuid", lambda: 1000)
        record(self.folder, ["passwd", "alice"], 0)
        self.patch(os, "geteuid", lambda: 0)
        record(self.folder, ["passwd", "alice"], 0)
        self.assertEqual(given, [])
        (self.folder / FILE).unlink()
        record(self.folder, ["passwd", "alice"], 0)
        record(self.folder, ["passwd", "alice"], 0)
        folder = self.folder.stat()
        self.assertEqual(given, [(folder.st_uid, folder.st_gid)])

    def test_ledAstray(self) -> None:
        """A link in the place of the file is not followed: it could lead root to any other."""
        other = self.folder / "other"
        other.write_text("precious")
        (self.folder / FILE).symlink_to(other)
        complaints = io.StringIO()
        with redirect_stderr(complaints):
            record(self.folder, ["passwd", "alice"], 0)
        self.assertEqual(other.read_text(), "precious")
        self.assertIn("not recorded", complaints.getvalue())

    def test_who(self) -> None:
        """Who became another user by sudo is named, too."""
        self.patch(os, "getuid", lambda: 0)
        self.patch(os, "environ", {"SUDO_USER": "carol"})
        self.assertEqual(who(), "carol as root")
        self.patch(os, "environ", {"SUDO_USER": "root"})
        self.assertEqual(who(), "root")

    def test_environment(self) -> None:
        """Who it is does not depend on what the environment says, which everybody can set."""
        self.patch(os, "getuid", lambda: 0)
        self.patch(os, "environ", {"LOGNAME": "mallory", "USER": "mallory"})
        self.assertEqual(who(), "root")

    def test_nameless(self) -> None:
        """A user without a name is a number."""
        self.patch(os, "getuid", lambda: 4_000_000_000)
        self.patch(os, "environ", {})
        self.assertEqual(who(), "4000000000")


class CommandTests(SynchronousTestCase):
    """Which commands are written down."""

    def setUp(self) -> None:
        """A server with an account."""
        self.world = open_world(self)
        self.world.sign_up("alice")

    def test_export(self) -> None:
        """Who read somebody's mail can be seen."""
        self.assertEqual(called("export", "--data", str(self.world.path), "alice")[0], 0)
        self.assertEqual(called("export", "--data", str(self.world.path), "nobody")[0], 2)
        first, second = (self.world.path / FILE).read_text("utf-8").splitlines()
        self.assertIn(f"chatctl export --data {self.world.path} alice (exit status 0)", first)
        self.assertIn("nobody (exit status 2)", second)

    def test_deadLetters(self) -> None:
        """Who read what nobody is left to read can be seen, too."""
        self.assertEqual(called("deadletters", "--data", str(self.world.path), "--show", "1")[0], 1)
        (line,) = (self.world.path / FILE).read_text("utf-8").splitlines()
        self.assertIn(f"chatctl deadletters --data {self.world.path} --show 1 (exit status 1)", line)

    def test_looking(self) -> None:
        """What reads nobody's mail and changes nothing leaves no trace."""
        self.assertEqual(called("audit", "--data", str(self.world.path))[0], 0)
        self.assertFalse((self.world.path / FILE).exists())

    def test_wrongUse(self) -> None:
        """What was not understood was not done."""
        self.assertEqual(called("export", "--data", str(self.world.path))[0], 2)
        self.assertFalse((self.world.path / FILE).exists())
