"""Tests for C{chatctl backup} and C{chatctl restore}: what was accepted is in the copy."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.admin import backup as backing
from chat.admin import gap
from chat.admin.audit import audit
from chat.admin.backup import backup
from chat.admin.gap import MARGIN
from chat.admin.restore import restore
from chat.store import backup as copying
from chat.store.files import LOCK, NAMES, DataDirectory, path, schemas
from chat.store.opener import Opener
from chat.tls.certificate import own
from tests.busy import busy, grown
from tests.daemon import until
from tests.town import called, listing, names, town
from tests.world import World, open_world

FILES = sorted(f"{name}.db" for name in NAMES)


def contents(directory: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table of the three files."""
    found = {}
    for name in NAMES:
        connection = sqlite3.connect(f"{path(directory, name).absolute().as_uri()}?immutable=1", uri=True)
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            found[f"{name}.{table}"] = sorted(connection.execute(f"SELECT * FROM {table}").fetchall())
        connection.close()
    return found


def restored(
    before: dict[str, list[tuple[object, ...]]], left_out: int = MARGIN
) -> dict[str, list[tuple[object, ...]]]:
    """What restoring makes of such files: the same, but that so many ids are left out."""
    ((last, position),) = before["messages.counters"]
    assert isinstance(last, int)
    run: tuple[object, ...] = (last + 1, last + left_out, 0, 0, 0, left_out)
    return {
        **before,
        "messages.counters": [(last + left_out, position)],
        "messages.folded": [*before["messages.folded"], run],
    }


class BackupTests(SynchronousTestCase):
    """A backup is everything as it was at one moment, or nothing at all."""

    def setUp(self) -> None:
        """A place for the copy."""
        self.target = Path(self.mktemp())

    def test_stopped(self) -> None:
        """Of a server that is stopped: all rows, for the owner alone; the source is untouched."""
        before = listing(town())
        status, out, err = called("backup", "--data", str(town()), str(self.target))
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(
            out, f"backup complete in {self.target}: 11 messages, 4 accounts, nothing unaccounted for\n"
        )
        self.assertEqual(listing(town()), before)
        self.assertEqual(sorted(os.listdir(self.target)), FILES)
        self.assertEqual(self.target.stat().st_mode & 0o777, 0o700)
        for name in NAMES:
            self.assertEqual(path(self.target, name).stat().st_mode & 0o777, 0o600)
        self.assertEqual(contents(self.target), contents(town()))

    def test_left(self) -> None:
        """What of the data directory is not in it is named, and how to keep it."""
        data = Path(self.mktemp())
        shutil.copytree(town(), data)
        pair = own(data)
        for file in (pair.certificate, pair.key):
            file.touch()
        status, out, _ = called("backup", "--data", str(data), str(self.target))
        self.assertEqual(status, 0)
        self.assertEqual(
            out.splitlines()[1:],
            [
                "not in it: tls-certificate.pem and tls-key.pem, which clients know the server by;"
                " copy them to a place as safe (cp -p)"
            ],
        )
        self.assertEqual(sorted(os.listdir(self.target)), FILES)

    def test_running(self) -> None:
        """Of a server that runs, with most of it still in the logs; the server goes on."""
        world = open_world(self)
        alice, _ = world.sign_up("alice", "bob")
        world.send(alice, "bob")
        report = backup(world.path, self.target)
        self.assertEqual(report.number, 0)
        self.assertEqual(sorted(os.listdir(self.target)), FILES)
        world.send(alice, "bob")
        copy = World(self.target)
        self.addCleanup(copy.close)
        self.assertEqual(copy.sql("SELECT id FROM ledger"), [(1,)])
        self.assertEqual(len(copy.sql("SELECT id FROM users.accounts")), 2)

    def test_oneMoment(self) -> None:
        """What is committed while the files are copied one after the other is in none of the copies."""
        world = open_world(self)
        world.sign_up("alice")
        copy = copying.copy

        def slowly(connection: sqlite3.Connection, directory: Path, opener: Opener) -> None:
            (bob,) = world.sign_up("bob")
            world.send(bob, "alice")
            copy(connection, directory, opener)

        self.patch(backing, "copy", slowly)
        backup(world.path, self.target)
        found = contents(self.target)
        self.assertEqual([len(found[table]) for table in ("users.accounts", "passwords.passwords")], [1, 1])
        self.assertEqual(found["messages.ledger"], [])
        self.assertEqual(len(world.sql("SELECT id FROM ledger")), 1)

    def test_afterACrash(self) -> None:
        """Of a server that was killed: what lies in the logs is in the copy."""
        world = open_world(self)
        (alice,) = world.sign_up("alice")
        world.send(alice, "alice")
        place = Path(self.mktemp())
        world.kill(place)
        self.assertEqual(backup(place, self.target).number, 0)
        self.assertEqual(len(contents(self.target)["messages.ledger"]), 1)

    def test_emptyDirectory(self) -> None:
        """A directory that is there, but empty, is used as it is; the parent need not be writable."""
        self.target.mkdir(mode=0o750)
        self.assertEqual(backup(town(), self.target).number, 0)
        self.assertEqual(sorted(os.listdir(self.target)), FILES)
        self.assertEqual(self.target.stat().st_mode & 0o777, 0o750)

    def test_notEmpty(self) -> None:
        """Nothing is ever written over."""
        self.target.mkdir()
        (self.target / "notes").write_text("mine")
        status, out, err = called("backup", "--data", str(town()), str(self.target))
        self.assertEqual((status, out), (2, ""))
        self.assertIn("is not empty", err)
        self.assertEqual(os.listdir(self.target), ["notes"])
        for wrong in (self.target / "notes", self.target / "deep" / "deeper"):
            status, out, err = called("backup", "--data", str(town()), str(wrong))
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))

    def test_findings(self) -> None:
        """Where the audit finds something there is no backup, and the status says so."""
        copy = Path(self.mktemp())
        shutil.copytree(town(), copy)
        connection = sqlite3.connect(path(copy, "messages"))
        with connection:
            connection.execute("DELETE FROM ledger WHERE id = 6")
        connection.close()
        status, out, err = called("backup", "--data", str(copy), str(self.target))
        self.assertEqual((status, err), (1, ""))
        self.assertIn("message 6: missing", out)
        self.assertTrue(out.endswith(": no backup was made\n"))
        self.assertFalse(self.target.exists())
        self.target.mkdir()
        self.assertEqual(called("backup", "--data", str(copy), str(self.target))[0], 1)
        self.assertEqual(os.listdir(self.target), [])

    def test_damaged(self) -> None:
        """A file that cannot be copied for its damage: one line, and nothing is left."""
        copy = Path(self.mktemp())
        shutil.copytree(town(), copy)
        file = path(copy, "messages")
        whole = file.read_bytes()
        file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
        status, _, err = called("backup", "--data", str(copy), str(self.target))
        self.assertIn(status, (1, 2))
        self.assertLessEqual(err.count("\n"), 1)
        self.assertFalse(self.target.exists())

    def test_noRoom(self) -> None:
        """A disk that is full: one line, and nothing is left."""

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(backing, "copy", full)
        status, out, err = called("backup", "--data", str(town()), str(self.target))
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertIn("full", err)
        self.assertFalse(self.target.exists())

    def test_tooFast(self) -> None:
        """Files that something else changes all the time: one line, and nothing is left."""
        copy = Path(self.mktemp())
        shutil.copytree(town(), copy)
        whole = copying.copy

        def changing(connection: sqlite3.Connection, directory: Path, opener: Opener) -> None:
            whole(connection, directory, opener)
            os.utime(path(copy, "users"), (len(times), len(times)))
            times.append(1)

        times: list[int] = []
        self.patch(backing, "copy", changing)
        status, out, err = called("backup", "--data", str(copy), str(self.target))
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertIn("changed by something", err)
        self.assertEqual(len(times), 3)
        self.assertFalse(self.target.exists())

    def test_noData(self) -> None:
        """No such data: one line, and nothing is left."""
        status, out, err = called("backup", "--data", self.mktemp(), str(self.target))
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertFalse(self.target.exists())

    def test_busy(self) -> None:
        """Of a server under load, time and again: each is clean, the same when restored, and starts."""
        source = Path(self.mktemp()).absolute()
        program = busy(self, source)
        before = 0
        for number in range(5):
            until(lambda seen=before: grown(source) > seen)  # type: ignore[misc]
            target, data = Path(f"{self.target}-{number}"), Path(self.mktemp())
            self.assertEqual(names(backup(source, target)), [])
            self.assertEqual(names(restore(target, data)), [])
            self.assertEqual(contents(data), restored(contents(target)))
            world = World(data)
            world.result(world.accounts.finish())
            (ledger,) = world.sql("SELECT count(*) FROM ledger")[0]
            world.close()
            self.assertEqual(names(audit(data)), [])
            self.assertGreater(ledger, before)
            before = ledger
        self.assertEqual(program.poll(), None)


class RestoreTests(SynchronousTestCase):
    """Restoring puts all files in place or none, and never in the place of others."""

    def setUp(self) -> None:
        """A backup, and a place for the data."""
        self.backup = Path(self.mktemp())
        backup(town(), self.backup)
        self.data = Path(self.mktemp())

    def assertRefused(self, *words: str) -> None:
        """One line with these words, and the directory is as it was, but for the record of what was tried."""
        before = self.found()
        status, out, err = called("restore", "--data", str(self.data), str(self.backup))
        self.assertEqual((status, out, err.count("\n")), (2, "", 1), out + err)
        for word in words:
            self.assertIn(word, err)
        self.assertEqual(self.found(), before)

    def found(self) -> list[tuple[object, ...]] | None:
        """What is there; of the lock only its name, for some versions of filelock set its mode again."""
        if not self.data.exists():
            return None
        files = [file for file in listing(self.data)[1:] if file[0] != "admin.log"]
        return [file[:1] if file[0] == LOCK else file for file in files]

    def test_whole(self) -> None:
        """Everything is there again, for its owner alone, and the server goes on from there."""
        before = listing(self.backup)
        status, out, err = called("restore", "--data", str(self.data), str(self.backup))
        self.assertEqual((status, err), (0, ""))
        self.assertIn(f"restored to {self.data}: 11 messages", out)
        self.assertEqual(sorted(os.listdir(self.data)), sorted([*FILES, LOCK, "admin.log"]))
        self.assertEqual(self.data.stat().st_mode & 0o777, 0o700)
        for name in (*FILES, LOCK):
            self.assertEqual((self.data / name).stat().st_mode & 0o777, 0o600)
        self.assertEqual(contents(self.data), restored(contents(town())))
        self.assertEqual(listing(self.backup), before)
        world = World(self.data)
        alice = world.result(world.store.find("alice"))
        assert alice is not None
        self.assertEqual(world.send(alice, "bob").id, 1_000_012)
        self.assertIn("the next message has the id 1000012", out)
        world.close()
        self.assertEqual(names(audit(self.data)), [])

    def test_noIdAgain(self) -> None:
        """No message gets the id of one that came after the backup: clients would take it for that one."""
        self.patch(gap, "MARGIN", 7)
        for left_out in (11, 12, 13):  # as many as there were messages, if those are more
            before = contents(self.backup)
            self.assertEqual(names(restore(self.backup, self.data)), [])
            self.assertEqual(contents(self.data), restored(before, left_out))
            world = World(self.data)
            alice = world.result(world.store.find("alice"))
            assert alice is not None
            world.send(alice, "bob")
            world.close()
            shutil.rmtree(self.backup)
            self.assertEqual(names(backup(self.data, self.backup)), [])
            shutil.rmtree(self.data)

    def test_emptyBackup(self) -> None:
        """Where there was no message yet it is the same."""
        empty, target = open_world(self), Path(self.mktemp())
        self.assertEqual(names(backup(empty.path, target)), [])
        self.assertEqual(names(restore(target, self.data)), [])
        world = World(self.data)
        (alice,) = world.sign_up("alice")
        self.assertEqual(world.send(alice, "alice").id, MARGIN + 1)
        world.close()
        self.assertEqual(names(audit(self.data)), [])

    def test_noCounters(self) -> None:
        """A backup without its counters is not restored, and the audit says why."""
        connection = sqlite3.connect(path(self.backup, "messages"))
        with connection:
            connection.execute("DELETE FROM counters")
        connection.close()
        status, out, err = called("restore", "--data", str(self.data), str(self.backup))
        self.assertEqual((status, err), (1, ""))
        self.assertIn("table counters has no rows", out)

    def test_live(self) -> None:
        """The directory of a running server is refused."""
        world = open_world(self)
        self.data = world.path
        self.assertRefused("A server is using", "stop it")
        (alice,) = world.sign_up("alice")
        world.send(alice, "alice")

    def test_liveButEmpty(self) -> None:
        """The lock alone counts, whatever files there are."""
        data = DataDirectory(self.data, schemas())
        data.open()
        self.addCleanup(data.close)
        for name in FILES:
            (self.data / name).unlink()
        self.assertRefused("A server is using")

    def test_thereAlready(self) -> None:
        """A directory that has any of the files is refused, also one with a log alone."""
        for left in (*FILES, "messages.db-wal"):
            self.data.mkdir()
            (self.data / LOCK).touch()
            (self.data / left).write_text("mine")
            self.assertRefused(left, "move the old files away")
            shutil.rmtree(self.data)

    def test_findings(self) -> None:
        """A backup in which something is missing is not restored."""
        connection = sqlite3.connect(path(self.backup, "users"))
        with connection:
            connection.execute("UPDATE accounts SET state = 0, freed = NULL WHERE id = 4")
        connection.close()
        status, out, err = called("restore", "--data", str(self.data), str(self.backup))
        self.assertEqual((status, err), (1, ""))
        self.assertIn("account 4: has no password", out)
        self.assertTrue(out.endswith(": nothing was restored\n"))
        self.assertFalse(self.data.exists())

    def test_noBackup(self) -> None:
        """Something that is no backup, or half of one."""
        path(self.backup, "messages").unlink()
        self.assertRefused("messages.db does not exist")
        self.backup = self.backup / "users.db"
        self.assertRefused("is no directory")

    def test_cannotMake(self) -> None:
        """A place that cannot be."""
        self.data = self.backup / "users.db" / "data"
        self.assertRefused("cannot be made")
        self.data = self.backup / "users.db"
        status, out, err = called("restore", "--data", str(self.data), str(self.backup))
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))

    def test_cutShort(self) -> None:
        """What a restore left that was killed before it was complete is replaced by the next one."""
        (self.data / copying.INCOMPLETE).mkdir(parents=True)
        (self.data / copying.INCOMPLETE / "users.db").write_text("half of it")
        self.assertEqual(restore(self.backup, self.data).number, 0)
        self.assertEqual(sorted(os.listdir(self.data)), sorted([*FILES, LOCK]))

    def test_ownership(self) -> None:
        """Root restores for the user whom the directory belongs to."""
        given: list[tuple[str, int]] = []

        def chown(file: Any, user: int, group: int) -> None:
            given.append((Path(file).name, user))

        self.data.mkdir()
        self.patch(os, "chown", chown)
        real = Path.stat

        def stat(file: Path, **options: Any) -> os.stat_result:
            found = real(file, **options)
            return os.stat_result((*found[:4], 4711, *found[5:10])) if file == self.data else found

        self.patch(Path, "stat", stat)
        restore(self.backup, self.data)
        self.assertEqual(sorted(given), [(name, 4711) for name in sorted([*FILES, LOCK])])
