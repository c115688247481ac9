"""Tests for C{chatctl check}: it says what is well, and what is not, in words."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chat.admin import check as checking
from chat.admin import doors
from chat.admin.check import room, versions
from chat.admin.doors import answers, door
from chat.admin.grade import Grade, Line
from chat.admin.main import main
from chat.errors import StartError
from chat.store.files import NAMES, VERSIONS, DataDirectory, path, schemas
from chat.store.opener import Opener
from tests.daemon import PATIENCE
from tests.world import World

ROOT = Path(__file__).resolve().parent.parent


def called(*arguments: str) -> tuple[int, list[str], str]:
    """Exit status, the lines of standard output, and standard error of chatctl."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return status, out.getvalue().splitlines(), err.getvalue()


class DirectoryTests(SynchronousTestCase):
    """What is said of a data directory and its files."""

    def setUp(self) -> None:
        """The files of a server that was stopped."""
        self.path = Path(self.mktemp())
        data = DataDirectory(self.path, schemas())
        data.open()
        data.close()

    def assertSays(self, status: int, *lines: str) -> None:
        """These are the lines that are not ok, and the exit status."""
        found, said, err = called("check", "--data", str(self.path))
        self.assertEqual([line for line in said if not line.startswith("ok ")], list(lines))
        self.assertEqual((found, err), (status, ""))

    def assertHas(self, words: str) -> None:
        """There is a line that is ok, and has these words."""
        _, said, _ = called("check", "--data", str(self.path))
        self.assertIn(f"ok       {words}", said)

    def test_well(self) -> None:
        """Where all is well, each line says so, and nothing was touched."""
        before = sorted((file.name, file.stat().st_mtime_ns) for file in self.path.iterdir())
        self.assertSays(0)
        self.assertHas("no server is running on this directory")
        self.assertHas("the three files belong together")
        for name in NAMES:
            self.assertHas(f"{name}.db is whole, says SQLite (quick_check)")
        after = sorted((file.name, file.stat().st_mtime_ns) for file in self.path.iterdir())
        self.assertEqual(after, before)

    def test_running(self) -> None:
        """A server is running, and its -wal files are measured."""
        world = World(self.path)
        self.addCleanup(world.close)
        world.sign_up("alice")
        world.settle()
        self.assertHas("a server is running on this directory")
        self.assertSays(0)
        _, said, _ = called("check", "--data", str(self.path))
        self.assertTrue(any(line.startswith("ok       users.db-wal has ") for line in said), said)

    def test_neverStarted(self) -> None:
        """Without a lock file nobody is running, and none is made."""
        os.unlink(self.path / "lock")
        self.assertHas("no server is running on this directory; none has been started here yet")
        self.assertFalse((self.path / "lock").exists())

    def test_lockUnreadable(self) -> None:
        """A lock that cannot be looked at is an error."""
        os.unlink(self.path / "lock")
        os.symlink("lock", self.path / "lock")
        status, said, _ = called("check", "--data", str(self.path))
        self.assertEqual(status, 1)
        self.assertTrue(any(line.startswith("error    ") and "lock cannot be read" in line for line in said))

    def test_twoLookers(self) -> None:
        """Somebody else who only looks is not taken for a server."""
        with open(self.path / "lock") as looking:
            fcntl.flock(looking, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self.assertHas("no server is running on this directory")

    def test_modes(self) -> None:
        """A directory or a file that others may read, or that has an odd mode, is worth a warning."""
        os.chmod(self.path, 0o755)
        os.chmod(path(self.path, "users"), 0o640)
        os.chmod(path(self.path, "messages"), 0o400)
        self.assertSays(
            0,
            f"warning  directory {self.path} has mode 0755: make it 0700 (chmod)",
            "warning  messages.db has mode 0400: make it 0600 (chmod)",
            "warning  users.db has mode 0640: make it 0600 (chmod)",
        )

    def test_owner(self) -> None:
        """A file that belongs to somebody else than the directory is worth a warning."""
        lines = list(checking._access(path(self.path, "users"), "users.db", 0o600, os.getuid() + 1))
        self.assertEqual(
            lines,
            [
                Line(
                    Grade.WARNING,
                    f"users.db belongs to user {os.getuid()}, the directory to {os.getuid() + 1}:"
                    " give both one owner (chown)",
                )
            ],
        )

    def test_notYours(self) -> None:
        """Whoever may not write there is told so."""
        self.patch(os, "access", lambda *_: False)
        lines = list(checking._access(path(self.path, "users"), "users.db", 0o600, os.getuid()))
        self.assertEqual([line.grade for line in lines], [Grade.WARNING])
        self.assertIn("not yours", lines[0].text)

    def test_stray(self) -> None:
        """What a start that was cut short has left."""
        (self.path / "users.new").touch()
        self.assertSays(
            0,
            f"warning  {self.path / 'users.new'} is left from a start that was cut short: it can be removed",
        )

    def test_fileMissing(self) -> None:
        """A file that is not there."""
        os.unlink(path(self.path, "users"))
        self.assertSays(1, "error    users.db is missing: restore the three files from a backup")

    def test_fileUnreadable(self) -> None:
        """A file that cannot be read."""
        os.unlink(path(self.path, "users"))
        path(self.path, "users").mkdir()
        self.assertSays(1, "error    users.db cannot be read (Is a directory): run this as its owner")

    def test_noDatabase(self) -> None:
        """A file that is something else."""
        path(self.path, "users").write_bytes(b"x" * 5000)
        self.assertSays(1, *["error    users.db is no SQLite file: restore the three files from a backup"])

    def test_labels(self) -> None:
        """A file of another program, and one of another version."""
        for name, pragma in (("users", "application_id"), ("messages", "user_version")):
            connection = sqlite3.connect(path(self.path, name))
            connection.execute(f"PRAGMA {pragma} = {VERSIONS['messages'] + 1}")
            connection.close()
        known = VERSIONS["messages"]
        self.assertSays(
            1,
            f"error    messages.db has schema version {known + 1}: this program knows {known}",
            "error    users.db is not a file of a chat server: it is another program's",
        )

    def test_damaged(self) -> None:
        """A file whose pages are damaged."""
        file = path(self.path, "users")
        whole = file.read_bytes()
        file.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
        status, said, err = called("check", "--data", str(self.path))
        self.assertEqual((status, err), (1, ""))
        damage = [line for line in said if "db: damaged" in line]
        self.assertTrue(damage)
        self.assertTrue(all(line.startswith("error    users.db: damaged: ") for line in damage), damage)
        self.assertFalse(any("users.db is whole" in line for line in said))

    def test_schemaDamaged(self) -> None:
        """A file that cannot even be opened."""
        file = path(self.path, "users")
        whole = file.read_bytes()
        file.write_bytes(whole[:100] + b"\xa5" * 3996 + whole[4096:])
        status, said, err = called("check", "--data", str(self.path))
        self.assertEqual((status, err), (1, ""))
        self.assertTrue(any(line.startswith("error    users.db") for line in said), said)

    def test_mixed(self) -> None:
        """A file of another server."""
        other = Path(self.mktemp())
        data = DataDirectory(other, schemas())
        data.open()
        data.close()
        os.replace(path(other, "users"), path(self.path, "users"))
        self.assertSays(
            1,
            "error    the three files do not belong together: restore all of them from the same backup",
        )

    def test_noIdentity(self) -> None:
        """Files that do not say whose they are do not belong together."""
        for name, statement in (
            ("users", "DELETE FROM identity"),
            ("passwords", "DROP TABLE identity"),
            ("users", "DROP TABLE identity"),
            ("messages", "DROP TABLE identity"),
        ):
            connection = sqlite3.connect(path(self.path, name))
            with connection:
                connection.execute(statement)
            connection.close()
            self.assertSays(
                1,
                "error    the three files do not belong together: restore all of them from the same backup",
            )

    def test_search(self) -> None:
        """Without what the index is made of the server does not start."""
        self.patch(Opener, "able", mock.Mock(side_effect=StartError("This SQLite cannot search.")))
        self.assertSays(1, "error    This SQLite cannot search")

    def test_keyAlone(self) -> None:
        """A key without the certificate that it is for is not passed over."""
        status, said, err = called("check", "--data", str(self.path), "--key", "/nowhere")
        self.assertEqual((status, said), (2, []))
        self.assertIn("--certificate", err)

    def test_certificateUnreadable(self) -> None:
        """A certificate that cannot be got at is an error like others."""
        error = PermissionError(13, "Permission denied", "tls-certificate.pem")
        self.patch(checking, "looked_over", mock.Mock(side_effect=error))
        self.assertSays(1, "error    tls-certificate.pem cannot be read (Permission denied)")

    def test_noDirectory(self) -> None:
        """No such directory: one line on standard error, exit status 2."""
        for directory, why in ((self.path / "x", "does not exist"), (path(self.path, "users"), "is no dir")):
            status, said, err = called("check", "--data", str(directory))
            self.assertEqual((status, said), (2, []))
            self.assertIn(why, err)
            self.assertEqual(err.count("\n"), 1)

    def test_program(self) -> None:
        """The program itself, started as an operator does."""
        done = subprocess.run(
            [sys.executable, "-m", "chat.admin.main", "check", "--data", str(self.path.absolute())],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("ok       the three files belong together\n", done.stdout)


class GradeTests(SynchronousTestCase):
    """Where the line is drawn between well and not so well."""

    def grades(self, lines: Iterator[Line]) -> list[str]:
        """How well each thing is."""
        return [line.grade.value for line in lines]

    def test_sqlite(self) -> None:
        """SQLite 3.37 and later will do, if it was built for threads."""
        for sqlite, threads, expected in (
            ("3.36.9", True, "error"),
            ("3.37.0", True, "ok"),
            ("3.100.1", True, "ok"),
            ("4.0.0", True, "ok"),
            ("3.40.1", False, "error"),
        ):
            self.assertEqual(self.grades(versions(sqlite, threads))[-1], expected, sqlite)

    def test_room(self) -> None:
        """Little room is worth a warning; it is an error where the server takes nothing more."""
        gib, mib = 1 << 30, 1 << 20
        for free, reserve, expected in (
            (40 * gib, 256 * mib, "ok"),
            (gib + 8 * mib, 8 * mib, "ok"),
            (gib + 8 * mib - 1, 8 * mib, "warning"),
            (256 * mib + 1, 256 * mib, "warning"),
            (256 * mib, 256 * mib, "error"),
            (8 * mib, 8 * mib, "error"),
        ):
            self.assertEqual(self.grades(room(free, reserve)), [expected], (free, reserve))

    def test_reserve(self) -> None:
        """What is kept in reserve is what the server keeps."""
        self.patch(shutil, "disk_usage", lambda _: mock.Mock(total=10 << 30, free=200 << 20))
        directory = Path(self.mktemp())
        data = DataDirectory(directory, schemas())
        data.open()
        data.close()
        status, said, _ = called("check", "--data", str(directory))
        self.assertEqual(status, 1)
        self.assertIn("error    200.0 MiB free on the disk, 256.0 MiB are kept in reserve", "\n".join(said))

    def test_log(self) -> None:
        """A -wal file that only grows is worth a warning."""
        self.assertEqual(checking._log("x-wal", 1 << 20).grade, Grade.OK)
        self.assertEqual(checking._log("x-wal", 1 << 30).grade, Grade.WARNING)

    def test_sizes(self) -> None:
        """Sizes are told in units that a person reads."""
        for number, expected in (
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (5 << 20, "5.0 MiB"),
            (3 << 39, "1.5 TiB"),
            (1 << 60, "1048576.0 TiB"),
        ):
            self.assertEqual(checking._size(number), expected)


class DoorTests(SynchronousTestCase):
    """What is said of a door."""

    def setUp(self) -> None:
        """Who speaks first is waited for, however slow the machine is."""
        self.patch(doors, "PATIENCE", PATIENCE)
        self.patch(doors, "HESITATION", PATIENCE)

    def test_addresses(self) -> None:
        """A door is HOST:PORT or unix:PATH."""
        self.assertEqual(door("127.0.0.1:5311"), ("127.0.0.1", 5311))
        self.assertEqual(door("[::1]:5311"), ("::1", 5311))
        self.assertEqual(door("unix:/run/chat:json"), "/run/chat:json")
        wrongs = ("", "x", "x:", ":5", "x:0", "x:65536", "x:0000065536", "x:y", "x:\u0665", "unix:")
        for wrong in (*wrongs, "x:" + "9" * 5000):
            with self.assertRaises(ArgumentTypeError):
                door(wrong)

    def serve(self, said: bytes | None, listening: socket.socket | None = None) -> tuple[str, int]:
        """The address of a door that says this, or for C{None} nothing, to one visitor."""
        if listening is None:
            listening = socket.socket()
            listening.bind(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        listening.listen()
        visitors: list[socket.socket] = []

        def serve(listening: socket.socket = listening) -> None:
            visitor, _ = listening.accept()
            visitors.append(visitor)
            if said is not None:
                visitor.sendall(said)
                visitor.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(lambda: visitors.pop().close())
        self.addCleanup(thread.join, PATIENCE)
        address: tuple[str, int] = listening.getsockname()
        return address

    def say(self, where: tuple[str, int] | str) -> Line:
        """What is said of a door."""
        (line,) = answers(where)
        return line

    def test_languages(self) -> None:
        """A door that answers, and what it speaks."""
        for said, words in (
            (b'{"type":"system"}\n', "in JSON"),
            (b"\xa0\x03\x02\x01\x01", "in DER"),
            (b"Username: ", "in text"),
        ):
            line = self.say(self.serve(said))
            self.assertEqual(line.grade, Grade.OK)
            self.assertTrue(line.text.endswith(f"answers, {words}"), line)

    def test_unixSocket(self) -> None:
        """A UNIX socket is a door, too."""
        # A socket's path has to be short, so it is named from its own folder.
        self.addCleanup(os.chdir, os.getcwd())
        place = Path(self.mktemp())
        place.mkdir()
        os.chdir(place)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind("json")
        self.serve(b"{", listening)
        self.assertEqual(self.say("json"), Line(Grade.OK, "door unix:json answers, in JSON"))
        self.assertEqual(self.say("nothing").grade, Grade.ERROR)

    def test_silent(self) -> None:
        """A door where nothing is said may be one of something else."""
        self.patch(doors, "PATIENCE", 0.05)
        line = self.say(self.serve(None))
        self.assertEqual(line.grade, Grade.WARNING)
        self.assertIn("says nothing within 0.05 seconds", line.text)

    def test_hangsUp(self) -> None:
        """A door that closes at once is no server that works."""
        self.assertEqual(self.say(self.serve(b"")).grade, Grade.ERROR)

    def test_closed(self) -> None:
        """A door where nobody is, with the exit status that says so."""
        taken = socket.socket()  # so that nobody can listen there
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        directory = Path(self.mktemp())
        data = DataDirectory(directory, schemas())
        data.open()
        data.close()
        status, said, _ = called("check", "--data", str(directory), "--door", f"127.0.0.1:{port}")
        self.assertEqual(status, 1)
        self.assertEqual(said[-1], f"error    door 127.0.0.1:{port} cannot be reached (Connection refused)")

    def test_noName(self) -> None:
        """A name that cannot be one is a door that cannot be reached."""
        for host in ("a..b", "x" * 70, "\udcff"):
            line = self.say((host, 5311))
            self.assertEqual(line.grade, Grade.ERROR)
            self.assertIn("cannot be reached", line.text)

    def test_web(self) -> None:
        """A door that speaks HTTP is asked, for there it is not the server that speaks first."""
        self.patch(doors, "HESITATION", 0.05)
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        asked: list[bytes] = []

        def serve() -> None:
            visitor, _ = listening.accept()
            with visitor:
                asked.append(visitor.recv(1024))
                visitor.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)
        line = self.say(listening.getsockname())
        self.assertEqual(line.grade, Grade.OK)
        self.assertTrue(line.text.endswith("answers, in HTTP"), line)
        self.assertTrue(asked[0].startswith(b"GET /health HTTP/1.1\r\nHost: "), asked)
