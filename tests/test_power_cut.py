"""Tests that a power cut takes nothing that was answered: whatever the disk forgets that it may forget."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chat.errors import StartError
from chat.store import files, opener, pool, upgrade
from chat.store.files import DataDirectory, path, schemas
from chat.store.layout import ALIASES
from tests.crash.aftermath import Trial
from tests.crash.case import CrashCase, EveryScenario
from tests.crash.cuts import cut_power
from tests.crash.disk import SECTOR, Disk, File
from tests.crash.scenarios import SCENARIOS
from tests.world import World

#: How often the power is cut in each scenario.
CUTS = 24


class _PowerCase(CrashCase):
    def cut(self, name: str, runs: int = CUTS, first: bool = False) -> Trial:
        """Cut the power so many times."""
        return cut_power(name, SCENARIOS[name], self.place / name, runs, seed=0, first=first)


class PowerCutTests(EveryScenario, _PowerCase):
    """After a power cut at any moment, the next server and the same clients come to the same end."""

    def survives(self, name: str) -> None:
        """With the power cut so many times."""
        trial = self.cut(name)
        self.assertGreater(trial.runs, CUTS)
        self.assertEqual([], trial.failures)


class SynchronousTests(_PowerCase):
    """It is the store's settings that make it so."""

    def test_normalForgets(self) -> None:
        """With C{synchronous = NORMAL} for messages.db, accepted messages are lost: FULL it must be."""
        self.patch(pool, "_PRAGMAS", (*pool._PRAGMAS, "PRAGMA main.synchronous = NORMAL"))
        trial = self.cut("accept")
        self.assertTrue(any("is lost" in each or "should be there" in each for each in trial.failures))

    def test_unsynchronizedNames(self) -> None:
        """Were the directory not synchronized when the files are made, a start could fail for ever."""
        self.patch(files, "_sync", lambda directory: None)
        self.assertNotEqual([], self.cut("first-start", first=True).failures)

    def test_unsynchronizedBackup(self) -> None:
        """Were a backup not on the disk before an upgrade begins, nothing could be left of what was there."""

        def hasty(connection: sqlite3.Connection, folder: Path, _: opener.Opener) -> None:
            for name, alias in ALIASES.items():
                file = path(folder, name)
                with closing(opener.sqlite3.connect(file)) as target:  # type: ignore[attr-defined]
                    target.execute("PRAGMA synchronous = OFF")
                    connection.backup(target, name=alias)

        self.patch(upgrade, "copy", hasty)
        self.assertNotEqual([], self.cut("upgrade", first=True).failures)

    def test_namesAreSynchronized(self) -> None:
        """The data directory's own name is synchronized, and each file's before the next one has its."""
        synchronized: list[object] = []

        def noting(directory: object) -> None:
            synchronized.append((directory, sorted(each.name for each in self.place.glob("new/*.db"))))

        self.patch(files, "_sync", noting)
        directory = self.place / "new"
        data = DataDirectory(directory, schemas())
        data.open()
        data.close()
        self.assertEqual(
            [
                (self.place, []),
                (directory, ["passwords.db"]),
                (directory, ["passwords.db", "users.db"]),
                (directory, ["messages.db", "passwords.db", "users.db"]),
            ],
            synchronized,
        )


class StartTests(CrashCase):
    """A start mends what a power cut has left half done, before it judges the files."""

    def setUp(self) -> None:
        """A server that was killed: what happened is in the logs beside its files."""
        super().setUp()
        world = World(self.place / "killed")
        alice, _ = world.sign_up("alice", "bob")
        world.send(alice, "bob", "hello " * 2000)
        world.kill(self.place / "copy")
        self.directory = self.place / "copy"
        self.file = path(self.directory, "messages")

    def _tear(self) -> None:
        content = bytearray(self.file.read_bytes())
        content[:SECTOR] = b"?" * SECTOR
        self.file.write_bytes(content)

    def test_tornFirstPage(self) -> None:
        """A file whose beginning is torn is mended from its log."""
        self._tear()
        world = World(self.directory)
        self.addCleanup(world.close)
        self.assertEqual([("hello " * 2000,)], world.sql("SELECT body FROM ledger"))

    def test_nothingToMendWith(self) -> None:
        """If the log does not help, the start fails with a reason."""
        self._tear()
        Path(f"{self.file}-wal").write_bytes(b"")
        error = self.assertRaises(StartError, World, self.directory)
        self.assertIn("messages.db is damaged", str(error))

    def test_rollback(self) -> None:
        """A rollback journal that came back with the log beside it is used first."""
        world = World(self.place / "stopped")
        world.close()
        file = path(world.path, "messages")
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            # More than fits into memory: so the file is written before the commit.
            connection.executescript(
                "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1;"
                "BEGIN; CREATE TABLE half (b); INSERT INTO half VALUES (randomblob(100000));"
            )
            copied = self.place / "half"
            shutil.copytree(world.path, copied)
        self.assertTrue(Path(f"{path(copied, 'messages')}-journal").exists())
        Path(f"{path(copied, 'messages')}-wal").write_bytes(b"")
        again = World(copied)
        self.addCleanup(again.close)
        self.assertEqual([], again.sql("SELECT name FROM sqlite_schema WHERE name = 'half'"))


class DiskTests(SynchronousTestCase):
    """The disk forgets only what it may forget, and sometimes that."""

    def _after(self, file: File) -> set[bytes]:
        return {file.cut(random.Random(seed)) for seed in range(300)}

    def test_synchronized(self) -> None:
        """What was synchronized is there."""
        file = File(b"old")
        file.write(0, b"new")
        file.sync()
        self.assertEqual({b"new"}, self._after(file))

    def test_written(self) -> None:
        """What was only written is there, or not, or torn, or rubbish."""
        file = File(b"-" * 2 * SECTOR)
        file.write(0, b"+" * 2 * SECTOR)
        old, new = b"-" * SECTOR, b"+" * SECTOR
        after = self._after(file)
        self.assertLessEqual({old + old, new + old, old + new, new + new}, after)
        self.assertTrue(any(content[:SECTOR] not in (old, new) for content in after))

    def test_sectors(self) -> None:
        """A write is torn where a sector of the disk ends, not where the write began."""
        file = File(b"-" * 2 * SECTOR)
        file.write(SECTOR - 1, b"++")
        self.assertIn(b"-" * (SECTOR - 1) + b"+" + b"-" * SECTOR, self._after(file))

    def test_truncated(self) -> None:
        """A file that was cut may still be long; one that was lengthened may be filled with nothing."""
        file = File(b"long")
        file.truncate(1)
        self.assertEqual({b"long", b"l"}, self._after(file))
        file.truncate(2)
        file.sync()
        self.assertEqual({b"l\0"}, self._after(file))

    def test_names(self) -> None:
        """A file that was made, renamed or removed may still have its old name, or none."""
        directory = self._directory()
        disk = Disk(directory)
        disk.sync_parent()
        disk.open("kept").write(0, b"kept")
        disk.open("kept").sync()
        disk.open("gone")
        disk.sync_names()
        disk.rename("kept", "renamed")
        disk.unlink("gone")
        disk.open("made")
        seen = set()
        for seed in range(100):
            after = self._directory()
            disk.cut(random.Random(seed), after)
            names = {each.name for each in after.iterdir()}
            seen |= names
            self.assertEqual(1, len(names & {"kept", "renamed"}))
            self.assertEqual(b"kept", (after / (names & {"kept", "renamed"}).pop()).read_bytes())
        self.assertEqual({"kept", "renamed", "gone", "made"}, seen)

    def test_directory(self) -> None:
        """A directory whose parent was not synchronized may be gone altogether."""
        disk = Disk(self._directory())
        disk.open("file")
        disk.sync_names()
        there = set()
        for seed in range(20):
            after = self._directory()
            disk.cut(random.Random(seed), after)
            there.add(after.exists())
        self.assertEqual({True, False}, there)
        disk.sync_parent()
        for seed in range(20):
            after = self._directory()
            disk.cut(random.Random(seed), after)
            self.assertTrue((after / "file").exists())

    def _directory(self) -> Path:
        return Path(self.mktemp())
