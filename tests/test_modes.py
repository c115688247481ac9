"""Tests for L{chat.store.modes}: nobody but the user of the server gets at its files."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.logger import capturedLogs
from twisted.trial.unittest import SkipTest

from chat.store import layout, modes
from chat.store.files import LOCK, NAMES, path
from tests.test_files import NOBODY, FilesCase
from tests.test_service import ServiceTestCase
from tests.town import called
from tests.world import World, open_world


class ModesCase(FilesCase):
    """A data directory from an earlier run."""

    def setUp(self) -> None:
        """Everything in it is as the server makes it."""
        super().setUp()
        self.made("alice")

    def open_to_others(self) -> set[str]:
        """What in the directory has rights for others, and itself."""
        found = (self.path, *self.path.rglob("*"))
        return {str(each.relative_to(self.path)) for each in found if each.stat().st_mode & 0o077}


class MadeTests(FilesCase):
    """What the server makes is for its user alone, whatever the umask."""

    def test_umask(self) -> None:
        """The directory, the files, and all that SQLite keeps beside them while they are open."""
        before = os.umask(0)
        try:
            world = open_world(self)
            (alice,) = world.sign_up("alice")
            world.send(alice, "alice")
        finally:
            os.umask(before)
        found = {each.name: each.stat().st_mode & 0o777 for each in world.path.iterdir()}
        self.assertEqual(
            set(found), {LOCK, *(f"{name}.db{suffix}" for name in NAMES for suffix in ("", "-wal", "-shm"))}
        )
        self.assertEqual(set(found.values()), {0o600})
        self.assertEqual(world.path.stat().st_mode & 0o777, 0o700)

    def test_copies(self) -> None:
        """So are backups and what is restored from them."""
        self.made("alice")
        target, restored = Path(self.mktemp()), Path(self.mktemp())
        before = os.umask(0)
        try:
            self.assertEqual(called("backup", "--data", str(self.path), str(target))[0], 0)
            self.assertEqual(called("restore", "--data", str(restored), str(target))[0], 0)
        finally:
            os.umask(before)
        for folder in (target, restored):
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
            self.assertEqual({each.stat().st_mode & 0o777 for each in folder.iterdir()}, {0o600})


class TightenTests(ModesCase):
    """What others could get at is closed to them at the next start, and the operator is told."""

    def test_closed(self) -> None:
        """Nothing was open: there is nothing to tell."""
        self.assertEqual(self.opened().tightened, [])

    def test_tightened(self) -> None:
        """The directory, the files, keys, the record of operators, and the copies from before upgrades."""
        kept = self.path / "backup-schema-1-20261122T210700Z"
        kept.mkdir()
        ours = [self.path, kept, self.path / LOCK, self.path / "tls-key.pem", self.path / "admin.log"]
        for name in NAMES:
            ours += [path(self.path, name), kept / f"{name}.db"]
        for each in ours:
            if not each.exists():
                each.touch()
            each.chmod(0o755 if each.is_dir() else 0o664)
        data = self.opened()
        self.assertEqual(self.open_to_others(), set())
        # Some versions of filelock set the mode of the lock themselves, when they take it.
        ours.remove(self.path / LOCK)
        told = [line for line in data.tightened if not line.startswith(f"{self.path / LOCK} ")]
        self.assertEqual(len(told), len(ours))
        for each in ours:
            mode, now = ("0755", "0700") if each.is_dir() else ("0664", "0600")
            self.assertIn(f"{each} was open to others (mode {mode}): it has mode {now} now", data.tightened)

    def test_leftovers(self) -> None:
        """The logs of a killed server hold as much as the files."""
        world = open_world(self)
        world.sign_up("bob")
        self.path = Path(self.mktemp())
        world.kill(self.path)
        for each in self.path.iterdir():
            each.chmod(0o644)
        data = self.opened()
        self.assertEqual(self.open_to_others(), set())
        self.assertIn("passwords.db-wal was open to others (mode 0644)", "".join(data.tightened))

    def test_othersFiles(self) -> None:
        """What else lies in the directory is none of the server's business."""
        (self.path / "notes.txt").touch(mode=0o644)
        os.chmod(self.path / "notes.txt", 0o644)
        self.assertEqual(self.opened().tightened, [])
        self.assertEqual(self.open_to_others(), {"notes.txt"})

    def test_notWhenRefused(self) -> None:
        """A start that fails changes no mode, either."""
        self.path.chmod(0o755)
        path(self.path, "users").unlink()
        self.assertRefused("users.db is missing")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o755)

    def test_cannot(self) -> None:
        """Where it cannot be changed, the server does not start, and says the command that would do it."""

        def chmod(file: Path, mode: int) -> None:
            raise OSError(30, "Read-only file system")

        path(self.path, "users").chmod(0o640)
        self.patch(Path, "chmod", chmod)
        self.assertRefused("users.db is open to others", "Read-only", f"chmod 600 {path(self.path, 'users')}")

    def test_noModes(self) -> None:
        """On a file system without modes the server starts all the same, and says so."""
        path(self.path, "users").chmod(0o755)
        self.patch(Path, "chmod", lambda file, mode: None)
        (line,) = self.opened().tightened
        self.assertIn("users.db is open to others (mode 0755), and this file system does not keep", line)


class OwnerTests(ModesCase):
    """What belongs to somebody else can be changed by somebody else."""

    def setUp(self) -> None:
        """Files can be given away."""
        super().setUp()
        if os.geteuid() != 0:
            raise SkipTest("Only root can give a file away.")

    def test_directory(self) -> None:
        """A directory of another user is refused, with the command that makes it ours."""
        os.chown(self.path, NOBODY, NOBODY)
        self.assertRefused(
            f"{self.path} belongs to user {NOBODY}", f"twistd --uid {NOBODY}", f"chown -R 0 {self.path}"
        )

    def test_file(self) -> None:
        """So is each file."""
        for name in NAMES:
            file = path(self.path, name)
            os.chown(file, NOBODY, NOBODY)
            self.assertRefused(f"{file} belongs to user {NOBODY}, and the server runs as user 0")
            os.chown(file, 0, 0)
        self.opened()

    def test_others(self) -> None:
        """What is not a database and not ours is left as it is."""
        file = self.path / "admin.log"
        file.touch()
        file.chmod(0o644)
        os.chown(file, NOBODY, NOBODY)
        self.assertEqual(self.opened().tightened, [])
        self.assertEqual(file.stat().st_mode & 0o777, 0o644)


class WindowsTests(ModesCase):
    """Where there are no such modes, nothing is looked at; nor are directories opened there."""

    def test_skipped(self) -> None:
        """Nobody owns anything, and nothing is tightened."""
        self.path.chmod(0o755)

        class Windows:
            name = "nt"

        self.patch(modes, "os", Windows)
        self.assertEqual(self.opened().tightened, [])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o755)

    def test_notOpened(self) -> None:
        """A start needs no directory to be opened."""

        class Windows:
            name = "nt"

        self.patch(layout, "os", Windows)
        layout.sync(self.path)


class ServiceTests(ServiceTestCase):
    """The server as the operator sees it."""

    def test_told(self) -> None:
        """What was open to others is told in the log."""
        World(self.data).close()
        path(self.data, "passwords").chmod(0o644)
        with capturedLogs() as logged:
            self.start()
        lines = [event["line"] for event in logged if "line" in event]
        self.assertEqual(
            lines,
            [f"{path(self.data, 'passwords')} was open to others (mode 0644): it has mode 0600 now"],
        )

    def test_unixSocket(self) -> None:
        """A UNIX socket is for the user of the server, unless the operator says who else may connect."""
        for endpoint, mode in (
            ("unix:a", 0o600),
            ("unix:address=a", 0o600),
            ("unix:a:lockfile=0", 0o600),
            (r"unix:a\:b", 0o600),
            ("unix:a:mode=660", 0o660),
            ("unix:mode=660:address=a", 0o660),
            ("unix:a:660", 0o660),
        ):
            started = self.service(("json", endpoint))
            started.startService()
            self.assertEqual((endpoint, self.reactor.unixServers[-1][3]), (endpoint, mode))
            self.stop(started)
