"""Tests for L{chat.admin.snapshot} on what a crash leaves: read as a start would, and left as it is."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Iterator, Mapping

from twisted.trial.unittest import SynchronousTestCase

from chat.admin import leftovers
from chat.admin.audit import audit
from chat.admin.command import Unusable
from chat.admin.leftovers import committed
from chat.admin.snapshot import headers, signature, snapshot, steadily
from chat.store.layout import Header, path
from tests.crash.disk import SECTOR
from tests.town import LAST, called, inhabit, names, town
from tests.world import World

#: The beginning of a frame in a -wal file, and the page after it.
FRAME = 24 + 4096


def everything(directory: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Each file with what tells that it was touched, and each byte of it."""
    found = {}
    for file in sorted(directory.iterdir()):
        of = file.stat()
        found[file.name] = (of.st_ino, of.st_mode, of.st_mtime_ns, file.read_bytes())
    return found


class LeftCase(SynchronousTestCase):
    """A data directory that no server has tidied up."""

    def setUp(self) -> None:
        """The files of a server that was killed, with the -shm files that it had."""
        self.path = Path(self.mktemp())
        world = World(self.mktemp())
        inhabit(world)
        shutil.copytree(world.path, self.path)
        world.close()
        self.file = path(self.path, "messages")
        self.log = Path(f"{self.file}-wal")
        self.shm = Path(f"{self.file}-shm")

    def assertClean(self, directory: Path, messages: int = LAST) -> None:
        """The audit finds so many messages and no fault, and not a byte of the directory is another one."""
        before = everything(directory)
        report = audit(directory, deep=True)
        self.assertEqual(names(report), [])
        self.assertEqual(everything(directory), before)
        assert report.totals is not None
        self.assertEqual(report.totals.number, messages)

    def stopped(self) -> Path:
        """The directory of a server that was stopped in order: no log, and nothing else beside the files."""
        copy = Path(self.mktemp())
        shutil.copytree(town(), copy)
        return copy


class IndexTests(LeftCase):
    """What is in a -shm file that no server has open means nothing."""

    def test_asItWas(self) -> None:
        """As the killed server had it."""
        self.assertGreater(self.log.stat().st_size, FRAME)
        self.assertClean(self.path)

    def test_unwritten(self) -> None:
        """As a power cut may leave it: nothing but zeros, rubbish, too short, or not there."""
        size = self.shm.stat().st_size
        for content in (bytes(size), b"?" * size, b"?" * 100, b""):
            self.shm.write_bytes(content)
            self.assertClean(self.path)
        self.shm.unlink()
        self.assertClean(self.path)

    def test_stale(self) -> None:
        """Of an earlier moment, whole in itself: what was logged since then counts."""
        world = World(self.mktemp())
        alice, _ = world.sign_up("alice", "bob")
        stale = Path(f"{path(world.path, 'messages')}-shm").read_bytes()
        for _ in range(3):
            world.send(alice, "bob", "hello " * 1000)
        copy = Path(self.mktemp())
        shutil.copytree(world.path, copy)
        world.close()
        Path(f"{path(copy, 'messages')}-shm").write_bytes(stale)
        self.assertClean(copy, 3)

    def test_others(self) -> None:
        """One from another server, beside a log of which nothing counts."""
        copy = self.stopped()
        shutil.copy(self.shm, copy)
        (copy / self.log.name).write_bytes(b"?" * 2 * FRAME)
        self.assertClean(copy)


class LogTests(LeftCase):
    """A log counts as far as its transactions are whole, and stays where it is."""

    def logs(self) -> Iterator[bytes]:
        """Logs that hold no whole transaction."""
        log = self.log.read_bytes()
        yield b"?" * 5000
        yield bytes(5000)
        yield log[: 32 + 10]
        yield log[:31] + b"?" + log[32:]  # the checksum of the beginning
        yield log[:40] + b"?" * 8 + log[48:]  # a page of an earlier log
        yield log[:32] + b"?" * SECTOR + log[32 + SECTOR :]
        yield log[: 32 + FRAME // 2] + bytes(len(log) - 32 - FRAME // 2)

    def test_nothingCommitted(self) -> None:
        """One of which nothing counts is neither believed, nor removed; with a -shm file and without."""
        copy = self.stopped()
        log, shm = copy / self.log.name, copy / self.shm.name
        for content in self.logs():
            log.write_bytes(content)
            self.assertClean(copy)
            shm.write_bytes(bytes(32768))
            self.assertClean(copy)
            shm.unlink()

    def test_unfinished(self) -> None:
        """What was written and not committed does not count."""
        before = self.log.stat().st_size
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            connection.executescript(
                "PRAGMA cache_size = 1; BEGIN; DELETE FROM ledger; CREATE TABLE big (b);"
                "INSERT INTO big VALUES (randomblob(100000));"
            )
            copy = Path(self.mktemp())
            shutil.copytree(self.path, copy)
        self.assertGreater((copy / self.log.name).stat().st_size, before)
        self.assertClean(copy)

    def test_asSQLite(self) -> None:
        """Wherever it is cut or spoiled, a log holds a whole transaction just when SQLite finds one."""
        place = Path(self.mktemp())
        place.mkdir()
        whole = self.log.read_bytes()
        chance = random.Random(3)
        found = []
        for _ in range(80):
            torn = bytearray(whole[: chance.choice((chance.randrange(len(whole)), 5 * FRAME))])
            if torn and chance.random() < 0.5:
                place_ = chance.randrange(min(len(torn), chance.choice((32, 3 * FRAME, len(torn)))))
                torn[place_] ^= 1 << chance.randrange(8)
            file = place / "x.db"
            file.write_bytes(path(town(), "messages").read_bytes())
            log = Path(f"{file}-wal")
            log.write_bytes(torn)
            found.append(committed(log))
            with closing(sqlite3.connect(file)) as connection:
                ((_, frames, _),) = connection.execute("PRAGMA wal_checkpoint").fetchall()
            self.assertEqual(found[-1], frames > 0, len(torn))
        self.assertEqual(set(found), {True, False})

    def test_byteOrder(self) -> None:
        """A log that was written where the bytes of a number are the other way round is read as well."""
        (large, small), page = (0x377F0683, 0x377F0682), bytes(range(256)) * 16
        for magic in (large, small):
            log = self.path / "other-wal"
            log.write_bytes(_log(magic, page))
            self.assertTrue(committed(log), hex(magic))
            log.write_bytes(_log(magic, page)[:-1] + b"?")
            self.assertFalse(committed(log))

    def test_otherFile(self) -> None:
        """What begins as no log does, or has pages of a size that there is not, holds nothing."""
        log = self.path / "other-wal"
        for magic, size in ((0x377F0684, 4096), (0x377F0682, 4104), (0x377F0682, 256), (0x377F0682, 131072)):
            log.write_bytes(_log(magic, bytes(size)))
            self.assertFalse(committed(log), (magic, size))
        log.write_bytes(_log(0x377F0682, bytes(4096), 0))  # there is no page of this number
        self.assertFalse(committed(log))
        log.write_bytes(_log(0x377F0682, bytes(65536)))
        self.assertTrue(committed(log))

    def test_tornFirstPage(self) -> None:
        """Where the beginning of a file is torn, the log has it: also to tell what the file is."""
        world = World(self.mktemp())
        alice, _ = world.sign_up("alice", "bob")
        world.send(alice, "bob", "hello " * 2000)  # new pages: how many there are is in the first one
        self.path = Path(self.mktemp())
        shutil.copytree(world.path, self.path)
        world.close()
        file = path(self.path, "messages")
        content = file.read_bytes()
        file.write_bytes(b"?" * SECTOR + content[SECTOR:])
        self.assertClean(self.path, 1)
        _, out, _ = called("check", "--data", str(self.path))
        self.assertIn("ok       messages.db has ", out)
        self.assertIn("ok       messages.db is whole, says SQLite (quick_check)", out)
        self.assertIn("ok       the three files belong together", out)
        Path(f"{file}-wal").write_bytes(b"")
        self.assertRaises(Unusable, audit, self.path)
        _, out, _ = called("check", "--data", str(self.path))
        self.assertIn("error    messages.db is no SQLite file", out)

    def test_newerInTheLog(self) -> None:
        """A file that was upgraded by a later version, all of that still in the log, is refused."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            connection.execute("PRAGMA user_version = 9")
            copy = Path(self.mktemp())
            shutil.copytree(self.path, copy)
        self.assertIn("schema 9", str(self.assertRaises(Unusable, headers, copy)))


def _log(magic: int, page: bytes, number: int = 1) -> bytes:
    """A log with one committed page, by the book (SQLite, "Database File Format", section 4)."""
    order = "big" if magic & 1 else "little"

    def checksum(content: bytes, first: int, second: int) -> tuple[int, int]:
        numbers = [int.from_bytes(content[at : at + 4], order) for at in range(0, len(content), 4)]  # type: ignore[arg-type]
        for one, other in zip(numbers[::2], numbers[1::2]):
            first = (first + one + second) % 2**32
            second = (second + other + first) % 2**32
        return first, second

    def numbers(*each: int) -> bytes:
        return b"".join(number.to_bytes(4, "big") for number in each)

    begin = numbers(magic, 3007000, len(page), 0, 77, 78)
    sums = checksum(begin, 0, 0)
    frame = numbers(number, 1)
    last = checksum(page, *checksum(frame, *sums))
    return begin + numbers(*sums) + frame + numbers(77, 78, *last) + page


class JournalTests(LeftCase):
    """A rollback journal that was not played back counts: what it undoes was never committed."""

    def setUp(self) -> None:
        """The files of a server that was cut down while it switched to a log."""
        super().setUp()
        self.path = self.stopped()
        self.file = path(self.path, "messages")
        self.journal = Path(f"{self.file}-journal")
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            # More than fits into memory: so the file is written before the commit.
            connection.executescript(
                "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1;"
                "BEGIN; DELETE FROM ledger; CREATE TABLE half (b);"
                "INSERT INTO half VALUES (randomblob(100000));"
            )
            copy = Path(self.mktemp())
            shutil.copytree(self.path, copy)
        self.path = copy
        self.file = path(copy, "messages")
        self.journal = Path(f"{self.file}-journal")
        self.temporary = Path(self.mktemp())
        self.temporary.mkdir()
        self.patch(tempfile, "tempdir", str(self.temporary))

    def assertClean(self, directory: Path, messages: int = LAST) -> None:
        """And what was copied to look at it is gone."""
        super().assertClean(directory, messages)
        self.assertEqual(list(self.temporary.iterdir()), [])

    def test_halfWritten(self) -> None:
        """Half a transaction in the file is undone for the one who looks, and for nobody else."""
        self.assertGreater(self.journal.stat().st_size, 512)
        self.assertClean(self.path)
        _, out, _ = called("check", "--data", str(self.path))
        self.assertIn("ok       messages.db is whole, says SQLite (quick_check)", out)

    def test_tornFirstPage(self) -> None:
        """The beginning of the file, torn while it was written, is in the journal."""
        content = self.file.read_bytes()
        self.file.write_bytes(b"?" * SECTOR + content[SECTOR:])
        self.assertClean(self.path)

    def test_withALog(self) -> None:
        """A journal that came back beside a log; one that undoes nothing leaves the log in force."""
        Path(f"{self.file}-wal").write_bytes(b"")
        self.assertClean(self.path)
        world = World(self.mktemp())
        inhabit(world)
        copy = Path(self.mktemp())
        world.kill(copy)
        (copy / self.journal.name).write_bytes(bytes(4616))
        self.assertClean(copy)

    def test_unwritten(self) -> None:
        """A journal that was never synchronized undoes nothing: then nothing was written to the file."""
        copy = self.stopped()
        for content in (b"", bytes(4616), b"?" * 4616):
            (copy / self.journal.name).write_bytes(content)
            self.assertClean(copy)

    def test_secret(self) -> None:
        """The copy is for its owner alone."""
        with snapshot(self.path, False):
            (folder,) = self.temporary.iterdir()
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
            self.assertEqual([each.name for each in folder.iterdir()], ["messages.db"])
        self.assertEqual(list(self.temporary.iterdir()), [])

    def test_noRoom(self) -> None:
        """Where there is no room for a copy, or the file may not be read, one line says so."""

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        self.patch(leftovers, "copyfile", full)
        status, out, err = called("audit", "--data", str(self.path))
        self.assertEqual((status, out), (2, ""))
        self.assertEqual(err.count("\n"), 1)
        for words in ("messages.db", "No space left on device", "TMPDIR"):
            self.assertIn(words, err)
        status, out, _ = called("check", "--data", str(self.path))
        self.assertEqual(status, 1)
        self.assertIn("No space left on device", out)
        self.assertEqual(list(self.temporary.iterdir()), [])

    def test_noRoomToMend(self) -> None:
        """The same, if it is SQLite that finds no room."""

        def copied(source: str, target: str) -> None:
            if not target.endswith(("-journal", "-wal")):
                os.mkdir(target)

        self.patch(leftovers, "copyfile", copied)
        self.assertIn("TMPDIR", str(self.assertRaises(Unusable, audit, self.path)))

    def test_beyondMending(self) -> None:
        """If the journal does not help, the file is named as damaged."""
        content = self.file.read_bytes()
        self.file.write_bytes(content[:100] + b"?" * (len(content) - 100))
        self.journal.write_bytes(b"?" * 600)
        (finding,) = names(audit(self.path))
        self.assertIn("messages.db: damaged: ", finding)

    def test_journalMeanwhile(self) -> None:
        """Where a start mends the file while it is read, nothing of that counts, nor what went wrong."""
        times: list[int] = []

        def read(found: Mapping[str, Header], shared: bool) -> str:
            times.append(1)
            if len(times) == 1:
                World(self.path).close()
                raise sqlite3.DatabaseError("half of this and half of that")
            return "read"

        self.assertEqual(steadily(self.path, read), "read")
        self.assertEqual(len(times), 2)
        self.assertFalse(self.journal.exists())

    def test_unchanged(self) -> None:
        """What goes wrong while nobody changes anything is told."""

        def read(found: Mapping[str, Header], shared: bool) -> str:
            raise sqlite3.DatabaseError("out of order")

        self.assertRaises(sqlite3.DatabaseError, steadily, self.path, read)

    def test_signature(self) -> None:
        """That the journal has gone is a change."""
        before = signature(self.path)
        self.assertEqual(signature(self.path), before)
        self.journal.unlink()
        self.assertNotEqual(signature(self.path), before)
