"""Tests for chatctl audit: directories that cannot be audited, and moments at which others can."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.admin import audit as auditing
from chat.admin import books, snapshot
from chat.admin.audit import Report, audit
from chat.admin.books import ledger
from chat.admin.books.terms import Findings
from chat.admin.command import Unusable
from chat.ledger import Account
from chat.store.files import NAMES, VERSIONS, path
from chat.store.layout import ALIASES
from tests.busy import busy, grown
from tests.daemon import PATIENCE, ROOT, until
from tests.town import ALICE, LAST, called, names, town
from tests.world import World, open_world


class UnusableTests(SynchronousTestCase):
    """Where there is nothing to audit, one line says why, and the exit status is 2."""

    def setUp(self) -> None:
        """A town of our own to spoil."""
        self.path = Path(self.mktemp())
        shutil.copytree(town(), self.path)

    def assertUnusable(self, directory: Path, *words: str) -> None:
        """One line on standard error, with these words in it."""
        status, out, err = called("audit", "--data", str(directory))
        self.assertEqual((status, out), (2, ""))
        self.assertEqual(err.count("\n"), 1, err)
        for word in ("chatctl: ", *words):
            self.assertIn(word, err)

    def test_noDirectory(self) -> None:
        """There is no such directory, or it is none."""
        self.assertUnusable(self.path / "x", "x does not exist", "--data")
        self.assertUnusable(self.path / "users.db", "users.db is no directory", "--data")
        self.assertUnusable(self.path / "users.db" / "x", "cannot be read (Not a directory)", "--data")

    def test_noFile(self) -> None:
        """One of the files is missing, or all of them are."""
        for name in NAMES:
            os.rename(path(self.path, name), self.path / "away")
            self.assertUnusable(self.path, f"{name}.db does not exist", "backup")
            os.rename(self.path / "away", path(self.path, name))
        empty = self.path / "empty"
        empty.mkdir()
        self.assertUnusable(empty, "does not exist")
        self.assertEqual(list(empty.iterdir()), [])

    def test_noDatabase(self) -> None:
        """A file that SQLite did not write, or too little of one."""
        whole = path(self.path, "users").read_bytes()
        for content in (b"", b"hello", b"x" * 5000, whole[:99]):
            path(self.path, "users").write_bytes(content)
            self.assertUnusable(self.path, "users.db is no SQLite file", "backup")

    def test_otherProgram(self) -> None:
        """Files of another program that happen to have these names."""
        for name in NAMES:
            connection = sqlite3.connect(path(self.path, name))
            connection.execute("PRAGMA application_id = 0")
            connection.close()
        self.assertUnusable(self.path, "not those of a chat server", "--data")

    def test_newer(self) -> None:
        """A file of a later version, which this program cannot judge."""
        for name, newest in VERSIONS.items():
            for version in (newest + 1, newest):
                connection = sqlite3.connect(path(self.path, name))
                connection.execute(f"PRAGMA user_version = {version}")
                connection.close()
                if version > newest:
                    self.assertUnusable(
                        self.path, f"{name}.db was written by a newer version", f"schema {version}"
                    )

    def test_forbidden(self) -> None:
        """A directory or a file that this user may not read."""

        def forbidden(*_: object) -> Any:
            raise PermissionError(13, "Permission denied")

        self.patch(snapshot, "header", forbidden)
        self.assertUnusable(self.path, "cannot be read (Permission denied)", "as the user")
        self.patch(Path, "stat", forbidden)
        self.assertUnusable(self.path, "cannot be read (Permission denied)", "--data")

    def test_lockForbidden(self) -> None:
        """A lock that this user may not look at."""
        os.unlink(self.path / "lock")
        os.symlink("lock", self.path / "lock")
        self.assertUnusable(self.path, "lock cannot be read", "as the user")

    def test_logForbidden(self) -> None:
        """A -wal file that cannot be opened: without it the files do not tell everything."""
        (self.path / "messages.db-wal").mkdir()
        self.assertUnusable(self.path, "cannot be opened", "as the user")

    def test_noRoom(self) -> None:
        """No room for the temporary files that sorting takes."""

        def full(*_: object) -> Findings:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(books, "CHECKS", (full,))
        self.assertUnusable(self.path, "no room for temporary files", "SQLITE_TMPDIR")

    def test_interrupted(self) -> None:
        """An operator who has waited long enough is not shown a traceback."""

        def interrupted(*_: object) -> int:
            raise KeyboardInterrupt

        self.patch(auditing, "run", interrupted)
        self.assertEqual(called("audit", "--data", str(self.path)), (130, "", ""))

    def test_usage(self) -> None:
        """A command or an option that there is not."""
        for arguments in ([], ["x"], ["audit", "--x"], ["audit", "x"], ["audit", "--data"]):
            status, out, err = called(*arguments)
            self.assertEqual((status, out), (2, ""))
            self.assertIn("usage: chatctl", err)

    def test_help(self) -> None:
        """Help is at hand, for the program and for each command."""
        for arguments, word in (
            (["--help"], "exit status:"),
            (["audit", "--help"], "--deep"),
            (["check", "--help"], "--door"),
            (["--version"], "chatctl 0"),
        ):
            status, out, err = called(*arguments)
            self.assertEqual((status, err), (0, ""))
            self.assertIn(word, out)


class _Interrupted:
    """A connection between whose snapshots something happens."""

    def __init__(self, connection: sqlite3.Connection, happen: Any) -> None:
        self._connection = connection
        self._happen = happen

    def execute(self, statement: str) -> sqlite3.Cursor:
        """Read; just before messages.db is, it happens."""
        if "main.sqlite_schema" in statement:
            self._happen()
        return self._connection.execute(statement)


class MomentTests(SynchronousTestCase):
    """What is judged is one moment of all three files, however busy the server is."""

    def setUp(self) -> None:
        """A server, and two connections that read."""
        self.world = open_world(self)
        self.alice, self.bob = self.world.sign_up("alice", "bob")
        self.world.send(self.alice, "bob")
        files = {alias: path(self.world.path, name) for name, alias in ALIASES.items()}
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.connection = stack.enter_context(snapshot.opened(files, True))
        self.probe = stack.enter_context(snapshot.opened(files, True))

    def findings(self) -> list[str]:
        """What the connection sees."""
        totals = ledger.totals(self.connection)
        return [line for check in books.CHECKS for line in check(self.connection, totals)]

    def join(self) -> None:
        """Somebody signs up and writes."""
        (erin,) = self.world.sign_up("erin")
        self.world.send(erin, "bob")

    def test_accountBetween(self) -> None:
        """Somebody new writes between the snapshots of users.db and messages.db: they are taken again."""
        happenings = [self.join]
        torn = _Interrupted(self.connection, lambda: happenings.pop()() if happenings else None)
        snapshot.together(torn, self.probe)  # type: ignore[arg-type]
        self.assertEqual(happenings, [])
        self.assertEqual(self.findings(), [])

    def test_tornOtherwise(self) -> None:
        """The same, taken as they come: it is a moment that never was, and looks like damage."""
        snapshot._begin(_Interrupted(self.connection, self.join))  # type: ignore[arg-type]
        self.assertEqual(
            self.findings(), ["message 2: sender, account 3, does not exist: it should be in users.db"]
        )

    def test_messagesBetween(self) -> None:
        """Messages alone may come in between: they do not touch the accounts."""
        times: list[int] = []

        def send() -> None:
            times.append(1)
            self.world.send(self.alice, "bob")

        snapshot.together(_Interrupted(self.connection, send), self.probe)  # type: ignore[arg-type]
        self.assertEqual(len(times), 1)
        self.assertEqual(self.findings(), [])

    def test_never(self) -> None:
        """Accounts that come and go each time: the audit gives up, and says so."""
        self.patch(snapshot, "ATTEMPTS", 3)
        number = iter(range(10))
        torn = _Interrupted(self.connection, lambda: self.world.sign_up(f"user{next(number)}"))
        with self.assertRaises(Unusable):
            snapshot.together(torn, self.probe)  # type: ignore[arg-type]
        self.assertEqual(next(number), 3)

    def test_changedMeanwhile(self) -> None:
        """Files of a server that did not run, changed while they were read, are read again."""
        copy = Path(self.mktemp())
        shutil.copytree(town(), copy)
        examine = auditing._examine
        times: list[int] = []

        def slow(connection: sqlite3.Connection, report: Report, deep: bool) -> None:
            times.append(1)
            if len(times) == 1:
                report.add(["a page that was only half written"])
                world = World(copy)
                world.send(Account(ALICE, "alice"), "bob")
                world.close()
            examine(connection, report, deep)

        self.patch(auditing, "_examine", slow)
        report = audit(copy)
        self.assertEqual(names(report), [])
        self.assertEqual(len(times), 2)
        assert report.totals is not None
        self.assertEqual(report.totals.number, LAST + 1)

    def test_stoppedMeanwhile(self) -> None:
        """A server that stops just when its files are to be opened: they are opened as they are now."""
        examine = auditing._audit

        def stopping(*arguments: Any) -> Report:
            if snapshot.is_running(self.world.path):
                self.world.close()
                raise Unusable("The files have just been put away.")
            return examine(*arguments)

        self.patch(auditing, "_audit", stopping)
        self.assertEqual(names(audit(self.world.path)), [])

    def test_unreadableForNoReason(self) -> None:
        """Files that SQLite refuses without finding fault with any of them: that is said."""

        def refusing(*_: object) -> Any:
            raise sqlite3.DatabaseError("out of order")

        self.patch(auditing, "snapshot", refusing)
        self.assertEqual(
            names(audit(self.world.path)),
            ["messages.db, users.db, passwords.db: nothing proven: out of order"],
        )

    def test_changedForEver(self) -> None:
        """Files that something other than a server keeps changing cannot be judged."""
        copy = Path(self.mktemp())
        shutil.copytree(town(), copy)

        def slow(*_: object) -> None:
            with open(path(copy, "users"), "ab") as file:
                file.write(b"x")

        self.patch(auditing, "_examine", slow)
        with self.assertRaises(Unusable):
            audit(copy)

    def test_busy(self) -> None:
        """A server with people who sign up, write, read and leave all the time: always clean."""
        copy = Path(self.mktemp()).absolute()
        program = busy(self, copy)
        before = 0
        for _ in range(15):
            until(lambda seen=before: grown(copy) > seen)  # type: ignore[misc]
            report = audit(copy)
            self.assertEqual(names(report), [])
            assert report.totals is not None
            before = report.totals.number
        self.assertEqual(program.poll(), None)


class ProgramTests(SynchronousTestCase):
    """The program itself, started as an operator does."""

    def chatctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        return subprocess.run(
            [sys.executable, "-m", "chat.admin.main", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def test_exitStatus(self) -> None:
        """0 where all is well, 1 with findings, 2 where there is no data."""
        copy = Path(self.mktemp()).absolute()
        shutil.copytree(town(), copy)
        done = self.chatctl("audit", "--data", str(copy))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(done.stdout.endswith("nothing unaccounted for\n"))
        connection = sqlite3.connect(path(copy, "messages"))
        with connection:
            connection.execute("DELETE FROM ledger WHERE id = 6")
        connection.close()
        done = self.chatctl("audit", "--data", str(copy))
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("message 6: missing", done.stdout)
        done = self.chatctl("audit", "--data", str(copy / "x"))
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_readerGone(self) -> None:
        """Whoever reads the findings may stop reading: no traceback."""
        copy = Path(self.mktemp()).absolute()
        shutil.copytree(town(), copy)
        connection = sqlite3.connect(path(copy, "messages"))
        with connection:
            connection.execute("UPDATE counters SET id = 90000")
        connection.close()
        command = [sys.executable, "-m", "chat.admin.main", "audit", "--data", str(copy)]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None and running.stderr is not None
            self.assertIn("message 12: missing", running.stdout.readline())
            running.stdout.close()
            self.assertEqual(running.stderr.read(), "")
            self.assertEqual(running.wait(PATIENCE), 1)
