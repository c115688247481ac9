"""Tests for C{chatctl encrypt-passwords} and its reverse: the one file or the other, whole, always."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.trial.unittest import SkipTest

from chat.errors import StartError
from chat.store import conversion
from chat.store.conversion import convert
from chat.store.files import DataDirectory, path, schemas
from chat.store.key import create, read
from chat.store.layout import header, sync
from chat.store.opener import PLAIN, Opener
from tests.encrypted import EncryptedCase, bytes_of, encrypted
from tests.test_files import NOBODY
from tests.town import ALICE, called
from tests.world import PASSWORD, World

#: So many C calls apart are the moments at which a conversion is cut off.
EVERY = 7


class ConversionCase(EncryptedCase):
    """A server without a key that was stopped."""

    def setUp(self) -> None:
        """People have signed up and hold tokens."""
        super().setUp()
        self.plain()
        self.file = path(self.path, "passwords")
        with closing(PLAIN.connect(self.file)) as connection:
            connection.execute("INSERT INTO tokens VALUES (7, 1, zeroblob(32), 1)")
            connection.execute("INSERT INTO tokens VALUES (8, 1, x'00', 1)")
            connection.execute("DELETE FROM tokens WHERE id = 8")
        self.before = rows(self.path, PLAIN)

    def assertHolds(self, with_key: Opener) -> None:
        """passwords.db is opened so, holds what it held, and nothing else is left."""
        self.assertEqual(rows(self.path, with_key), self.before)
        self.assertEqual(encrypted(self.path), with_key is not PLAIN)
        self.assertEqual(
            sorted(file.name for file in self.path.iterdir() if file.name != "admin.log"),
            ["lock", "messages.db", "passwords.db", "users.db"],
        )
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)

    def other(self) -> Path:
        """One more key."""
        file = self.keys / "other"
        create(file)
        return file


class ConversionTests(ConversionCase):
    """There and back."""

    def test_thereAndBack(self) -> None:
        """Encrypted, the server starts with the key and everybody can log in; decrypted, without it."""
        status, out, err = self.call("encrypt-passwords")
        self.assertEqual((status, out, err), (0, f"{self.file} is encrypted\n", ""))
        self.assertHolds(self.opener)
        world = self.world()
        self.assertTrue(world.result(world.store.passwords.verify(ALICE, PASSWORD.encode())))
        world.close()
        self.before = rows(self.path, self.opener)
        status, out, err = self.call("decrypt-passwords")
        self.assertEqual((status, err), (0, ""))
        self.assertIn(f"{self.file} is plain", out)
        self.assertHolds(PLAIN)
        self.world(with_key=PLAIN)

    def test_newKey(self) -> None:
        """An encrypted file gets another key, and the one it had opens it no more."""
        self.call("encrypt-passwords")
        old, self.key = self.key, self.other()
        status, _, err = self.call("encrypt-passwords", "--old-password-key", old)
        self.assertEqual((status, err), (0, ""))
        self.assertHolds(Opener(read(self.key, self.path)))
        self.assertRaises(sqlite3.DatabaseError, rows, self.path, self.opener)

    def test_twice(self) -> None:
        """A conversion that was done already does no harm: it may have been cut off at its last step."""
        for _ in range(2):
            self.assertEqual(self.call("encrypt-passwords")[0], 0)
            self.assertHolds(self.opener)

    def test_crashed(self) -> None:
        """What a killed server has left in its logs is in the new file, and not beside it."""
        world = World(self.path)
        world.result(world.store.passwords.set(ALICE, b"another one"))
        world.kill(self.keys / "killed")
        self.path = self.keys / "killed"
        self.assertOverwrites(self.path / "passwords.db-wal")
        world = self.world(self.path)
        self.assertTrue(world.result(world.store.passwords.verify(ALICE, b"another one")))

    def test_crashedBefore(self) -> None:
        """The same of the log of a change that was not finished, begun in the file or not."""
        log = Path(f"{self.file}-journal")
        for begun in (bytes(12), bytes.fromhex("d9d505f920a163d7ffffffff")):
            with closing(PLAIN.connect(self.file)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("BEGIN")
                connection.execute("UPDATE passwords SET hash = 'lost'")
                content = log.read_bytes()
            log.write_bytes(begun + content[len(begun) :])
            self.assertOverwrites(log)
            self.assertHolds(self.opener)
            self.call("decrypt-passwords")

    def assertOverwrites(self, log: Path) -> None:
        """The passwords are encrypted, and nothing is left of those in the file's log."""
        with open(log, "rb") as opened:
            content = opened.read()
            self.assertIn(b"$2b$", content)
            self.assertEqual(self.call("encrypt-passwords")[0], 0)
            self.assertFalse(log.exists())
            opened.seek(0)
            self.assertEqual(opened.read(), bytes(len(content)))

    def test_logWithAnotherName(self) -> None:
        """A log that cannot be overwritten is told of like the file itself."""
        world = World(self.path)
        world.result(world.store.passwords.set(ALICE, b"another one"))
        world.kill(self.keys / "killed")
        self.path = self.keys / "killed"
        kept = self.keys / "kept-wal"
        os.link(self.path / "passwords.db-wal", kept)
        content = kept.read_bytes()
        status, out, _ = self.call("encrypt-passwords")
        self.assertEqual(status, 0)
        self.assertIn("could not be overwritten: it may have another name", out)
        self.assertEqual(kept.read_bytes(), content)

    def test_overwritten(self) -> None:
        """The bytes of the old file are gone from where they were, unless it has another name."""
        with open(self.file, "rb") as before:
            self.assertEqual(self.call("encrypt-passwords")[0], 0)
            content = before.read()
            self.assertTrue(content)
            self.assertEqual(content, bytes(len(content)))
        kept = self.keys / "kept.db"
        os.link(self.file, kept)
        content = kept.read_bytes()
        status, out, _ = self.call("decrypt-passwords")
        self.assertEqual(status, 0)
        self.assertIn("could not be overwritten: it may have another name", out)
        self.assertEqual(kept.read_bytes(), content)

    def test_cannotOverwrite(self) -> None:
        """That the old bytes cannot be overwritten is said, and the conversion is done all the same."""

        def pwrite(*_: object) -> None:
            raise OSError("no room")

        self.patch(os, "pwrite", pwrite)
        self.assertFalse(convert(self.path, PLAIN, self.opener))
        self.assertHolds(self.opener)

    def test_notSynchronized(self) -> None:
        """Where the new name may not last, the old bytes are left: they could be all that there is."""

        def broken(_: Path) -> None:
            raise OSError("no disk")

        self.patch(conversion, "sync", broken)
        with open(self.file, "rb") as before:
            self.assertFalse(convert(self.path, PLAIN, self.opener))
            self.assertTrue(before.read(16).startswith(b"SQLite"))

    def test_synchronized(self) -> None:
        """The new name is on the disk before the old bytes are overwritten: one of them is always whole."""
        steps = []
        pwrite = os.pwrite

        def noted_sync(directory: Path) -> None:
            steps.append(("sync", header(self.file) is None))
            sync(directory)

        def noted_pwrite(*arguments: Any) -> int:
            steps.append(("pwrite", header(self.file) is None))
            return pwrite(*arguments)

        self.patch(conversion, "sync", noted_sync)
        self.patch(os, "pwrite", noted_pwrite)
        self.assertTrue(convert(self.path, PLAIN, self.opener))
        self.assertEqual(steps, [("sync", True), ("pwrite", True)])

    def test_earlierCopies(self) -> None:
        """Copies from before that lie in the data directory are named: they are as plain as they were."""
        kept = self.path / "backup-schema-1-20261122T210700Z"
        kept.mkdir()
        shutil.copy(self.file, kept)
        _, out, _ = self.call("encrypt-passwords")
        self.assertIn(f"{kept / 'passwords.db'} is not encrypted", out)

    def test_owner(self) -> None:
        """Root converts for the user whose the files are."""
        if os.geteuid() != 0:
            raise SkipTest("Only root can do this.")
        for each in (self.path, *self.path.iterdir()):
            os.chown(each, NOBODY, NOBODY)
        self.assertEqual(self.call("encrypt-passwords")[0], 0)
        self.assertEqual((self.file.stat().st_uid, self.file.stat().st_gid), (NOBODY, NOBODY))


class RefusedTests(ConversionCase):
    """What cannot be converted stays as it is."""

    def assertRefused(self, *words: str, command: str = "encrypt-passwords", touched: bool = False) -> None:
        """The command is refused in one line with these words, and nothing is changed or left.

        @param touched: the file may be another one byte for byte, as long as it holds the same.
        """
        before = bytes_of(self.path)
        status, out, err = self.call(command)
        self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)
        for word in words:
            self.assertIn(word, err)
        after = bytes_of(self.path)
        for each in (before, after):
            each.pop("admin.log", None)
        if touched:
            self.assertEqual(rows(self.path, PLAIN), self.before)
            after["passwords.db"] = before["passwords.db"]
        self.assertEqual(after, before)

    def test_running(self) -> None:
        """While a server runs."""
        world = World(self.path)
        self.assertRefused("A server is using", "stop it first")
        world.close()

    def test_noKey(self) -> None:
        """Without a key there is nothing to do it with."""
        for command in ("encrypt-passwords", "decrypt-passwords"):
            status, out, err = called(command, "--data", str(self.path))
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertIn("No key", err)
            self.assertIn("--password-key", err)

    def test_wrongKey(self) -> None:
        """With another key than the one that it has, neither back nor to a new one."""
        self.call("encrypt-passwords")
        self.key = self.other()
        self.assertRefused("cannot be opened with this password key", command="decrypt-passwords")
        self.assertRefused("cannot be opened with this password key")

    def test_plain(self) -> None:
        """A plain file cannot be decrypted."""
        self.assertRefused("is not encrypted", command="decrypt-passwords")

    def test_missing(self) -> None:
        """No file, no directory."""
        self.file.unlink()
        self.assertRefused("passwords.db does not exist", "--data")
        shutil.rmtree(self.path)
        self.assertRefused("does not exist", "--data")

    def test_notOurs(self) -> None:
        """Another program's file."""
        with closing(PLAIN.connect(self.file)) as connection:
            connection.execute("PRAGMA application_id = 1")
        self.assertRefused("is not a file of a chat server")

    def test_damaged(self) -> None:
        """A damaged file is not made into one that looks whole."""
        content = bytearray(self.file.read_bytes())
        for place in (36, 4096 * 2):  # how many pages are free; what is in one that is not
            damaged = bytearray(content)
            damaged[place : place + 4] = b"????"
            self.file.write_bytes(damaged)
            self.assertRefused("cannot be converted", "damaged")

    def test_inUse(self) -> None:
        """While something else has the file open, which could not be told that it is another one now."""
        with closing(PLAIN.connect(self.file)) as reader:
            reader.execute("PRAGMA journal_mode = WAL")
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM passwords").fetchone()
            self.patch(sqlite3, "connect", partial(sqlite3.connect, timeout=0))
            error = self.assertRaises(StartError, convert, self.path, PLAIN, self.opener)
            self.assertIn("cannot be converted (database is locked)", str(error))
        self.assertEqual(rows(self.path, PLAIN), self.before)

    def test_noRoom(self) -> None:
        """Without room for the new file, or the right to make it."""

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(conversion, "_copy", full)
        self.assertRefused("cannot be converted (database or disk is full)", "make room", touched=True)

        def forbidden(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(conversion, "_make", forbidden)
        self.assertRefused("cannot be converted (Permission denied)", touched=True)

    def test_different(self) -> None:
        """Were what is written not what was there, the old file would stay."""
        copy = conversion._copy
        for statement in (
            "DELETE FROM tokens",
            "UPDATE passwords SET hash = hash || ' ' WHERE account = 1",
            "INSERT INTO identity VALUES ('more')",
            "PRAGMA user_version = 1",
            "DROP INDEX tokens_account",
            "UPDATE sqlite_sequence SET seq = 99",
        ):

            def wrong(source: sqlite3.Connection, target: sqlite3.Connection, more: str = statement) -> None:
                copy(source, target)
                target.execute(more)

            self.patch(conversion, "_copy", wrong)
            self.assertRefused("cannot be converted (what was written is not what was there)", touched=True)


class CrashTests(ConversionCase):
    """A conversion that is cut off leaves one of the two files, whole, and the next start finds it."""

    def test_everyMoment(self) -> None:
        """The process ends at one moment after the other, from the first to the last."""
        if not hasattr(os, "fork"):
            raise SkipTest("There is no fork here.")
        ends = {"old": 0, "new": 0}
        begun = self.keys / "begun"
        shutil.copytree(self.path, begun)
        moment, ended = EVERY, False
        while not ended:
            shutil.rmtree(self.path)
            shutil.copytree(begun, self.path)
            ended = self.cut(moment)
            moment += EVERY
            is_new = header(self.file) is None
            ends["new" if is_new else "old"] += 1
            with_key = self.opener if is_new else PLAIN
            data = DataDirectory(self.path, schemas(), None, with_key)
            data.open()
            data.close()
            self.assertEqual(rows(self.path, with_key), self.before)
            self.assertEqual(list(self.path.glob("*.new*")), [])
        self.assertGreater(ends["old"], 5)
        self.assertGreater(ends["new"], 1)

    def cut(self, moment: int) -> bool:
        """Convert in a process that ends at its C call of this number; whether it came to its own end."""
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            ended = os.waitstatus_to_exitcode(status)
            self.assertIn(ended, (0, 9), "The conversion failed by itself.")
            return ended == 0
        try:
            left = moment

            def count(frame: FrameType, event: str, argument: object) -> None:
                nonlocal left
                left -= event == "c_call"
                if left == 0:
                    os._exit(9)

            sys.setprofile(count)
            convert(self.path, PLAIN, self.opener)
            sys.setprofile(None)
            os._exit(0)
        finally:
            os._exit(1)


def rows(directory: Path, with_key: Opener) -> dict[str, object]:
    """What is in passwords.db, table by table, and what it says of itself."""
    with closing(with_key.connect(path(directory, "passwords"))) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        found: dict[str, object] = {"schema": [sql for _, sql in tables]}
        for name, sql in tables:
            if sql and sql.startswith("CREATE TABLE"):
                found[name] = connection.execute(f"SELECT * FROM {name}").fetchall()
        for setting in ("application_id", "user_version"):
            found[setting] = connection.execute(f"PRAGMA {setting}").fetchone()
        return found
