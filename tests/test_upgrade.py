"""Tests for L{chat.store.upgrade}: files of an earlier version are kept, then become files of this one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Mapping

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from chat.admin.audit import audit
from chat.errors import StartError
from chat.ledger import Account, State
from chat.messages import Accepted, Failed, Message
from chat.store import files
from chat.store import upgrade as upgrading
from chat.store.backup import copy
from chat.store.digest import contents_digest
from chat.store.files import APPLICATION, LOCK, NAMES, VERSIONS, DataDirectory, header, path, schema, schemas
from chat.store.opener import Opener
from chat.store.stretches import INBOX, SENT, STRETCH
from chat.store.upgrade import steps
from tests.test_backup import contents
from tests.test_files import contents as bytes_of
from tests.town import ALICE, DELIVERED, LAST, called, names, town
from tests.world import World

FIRST = dict.fromkeys(NAMES, 1)
SECOND = {**FIRST, "messages": 2}
#: The tables that came after the first version, as they begin.
NEW: dict[str, list[Any]] = {
    "messages.folded": [],
    "messages.volumes": [],
    "messages.moments": [],
    "passwords.tokens": [],
    "passwords.sqlite_sequence": [],
    "passwords.recoveries": [],
    "passwords.resets": [],
    "users.invitations": [],
    "users.blocks": [],
    "users.skeletons": [],
}


def first_version(directory: Path) -> Path:
    """A data directory as the first version made it, with the people and the messages of the town."""
    return earlier_version(directory, FIRST)


def second_version(directory: Path) -> Path:
    """The same as the second version made it; there was an import, and what was removed is folded."""
    return earlier_version(
        directory,
        SECOND,
        "DELETE FROM ledger WHERE id IN (3, 4)",
        f"UPDATE ledger SET id = 5000 WHERE id = {LAST}",
        "UPDATE counters SET id = 5000",
        "INSERT INTO folded VALUES (3, 4, 1, 0, 1, 0), (11, 4999, 0, 0, 0, 4989)",
    )


def earlier_version(directory: Path, version: Mapping[str, int], *statements: str) -> Path:
    """A data directory as that version made it.

    @param statements: what happened to the messages after all that had happened in the town.
    """
    directory.mkdir(mode=0o700)
    for name in NAMES:
        connection = sqlite3.connect(path(directory, name), isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(schema(name, version[name]))
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {version[name]}")
        connection.execute("ATTACH ? AS town", (str(path(town(), name)),))
        tables = connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall()
        connection.execute("BEGIN")
        for (table,) in tables:
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"DELETE FROM main.{table}")
            there = columns.replace("receipt", "options")  # as it was called
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {there} FROM town.{table}")
        connection.execute("COMMIT")
        if name == "messages":
            # What waited was not settled, and the digest was made at once.
            connection.create_function("contents_digest", 3, contents_digest)
            connection.execute("ATTACH ? AS users", (str(path(town(), "users")),))
            for statement in (
                "UPDATE ledger SET settled = NULL WHERE state = 0",
                "UPDATE ledger SET digest = contents_digest(coalesce(addressee, (SELECT name FROM"
                " users.accounts AS a WHERE a.id = recipient)), subject, body)"
                " WHERE ref IS NOT NULL AND body IS NOT NULL",
                *statements,
            ):
                connection.execute(statement)
        connection.close()
        path(directory, name).chmod(0o600)
    return directory


def upgraded(before: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """What the rows of an earlier version are in this one."""
    after = {**NEW, **before}
    ledger = before["messages.ledger"]
    after["messages.ledger"] = [(*row[:5], row[4] if row[5] is None else row[5], *row[6:]) for row in ledger]
    notes = {(row[2], INBOX, row[0] // STRETCH) for row in ledger if row[6] < State.REMOVED}
    notes |= {(row[1], SENT, row[0] // STRETCH) for row in ledger}
    after["messages.stretches"] = sorted(notes)
    ((last, _),) = before["messages.counters"]
    after["messages.indexed"] = [(last + 1, last, "")]
    return after


def versions(directory: Path) -> dict[str, int]:
    """What each file says that it is, its log included."""
    found = {}
    for name in NAMES:
        connection = sqlite3.connect(path(directory, name))
        (found[name],) = connection.execute("PRAGMA user_version").fetchone()
        connection.close()
    return found


def drawn(file: Path) -> list[tuple[object, ...]]:
    """The schema of a file, word for word."""
    connection = sqlite3.connect(file)
    try:
        query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
        return connection.execute(query).fetchall()
    finally:
        connection.close()


class UpgradeTests(SynchronousTestCase):
    """The first start of a new version."""

    def setUp(self) -> None:
        """The directory of a server of the first version, stopped in order."""
        self.path = first_version(Path(self.mktemp()))
        self.before = contents(self.path)

    def opened(self) -> DataDirectory:
        """The directory, opened by this version and let go."""
        data = DataDirectory(self.path, schemas())
        data.open()
        data.close()
        return data

    def kept(self) -> list[Path]:
        """The backups there are."""
        return sorted(self.path.glob("backup-*"))

    def test_firstVersion(self) -> None:
        """What the test takes for files of the first version passes the audit as such."""
        self.assertEqual(versions(self.path), FIRST)
        self.assertEqual(names(audit(self.path, deep=True)), [])
        status, out, _ = called("check", "--data", str(self.path))
        self.assertIn(status, (0, 1))  # 1: nobody has the lock file yet, or too little room here
        for name, version in VERSIONS.items():
            self.assertIn(f"{name}.db is brought up to schema version {version} at the next start", out)

    def test_fresh(self) -> None:
        """An upgraded file has the very schema of a fresh one."""
        fresh = Path(self.mktemp())
        World(fresh).close()
        self.opened()
        self.assertEqual(versions(self.path), VERSIONS)
        for name in NAMES:
            self.assertEqual(drawn(path(self.path, name)), drawn(path(fresh, name)))

    def test_everythingStays(self) -> None:
        """No row is lost or changed, the audit is clean, and the server goes on."""
        self.opened()
        self.assertEqual(contents(self.path), upgraded(self.before))
        self.assertEqual(names(audit(self.path, deep=True)), [])
        world = World(self.path)
        alice = world.result(world.store.find("alice"))
        assert alice is not None
        world.send(alice, "bob")
        world.close()
        self.assertEqual(names(audit(self.path, deep=True)), [])

    def test_backup(self) -> None:
        """The files as they were are kept beside, for their owner alone, and can be restored."""
        data = self.opened()
        (kept,) = self.kept()
        self.assertEqual(data.kept, kept)
        self.assertRegex(kept.name, r"^backup-schema-1-\d{8}T\d{6}Z$")
        self.assertEqual(kept.stat().st_mode & 0o777, 0o700)
        self.assertEqual(sorted(os.listdir(kept)), sorted(f"{name}.db" for name in NAMES))
        self.assertEqual(path(kept, "messages").stat().st_mode & 0o777, 0o600)
        self.assertEqual(versions(kept), FIRST)
        self.assertEqual(contents(kept), self.before)
        self.assertEqual(names(audit(kept, deep=True)), [])
        again = Path(self.mktemp())
        self.assertEqual(called("restore", "--data", str(again), str(kept))[0], 0)
        self.assertEqual(versions(again), FIRST)

    def test_once(self) -> None:
        """The next start finds nothing to do."""
        self.opened()
        before = bytes_of(self.path)
        self.assertEqual(self.opened().kept, None)
        self.assertEqual(bytes_of(self.path), before)

    def test_firstStartCutShort(self) -> None:
        """Where the first start of an earlier version was cut short, some is upgraded, the rest is made."""
        tables = {"passwords": "passwords", "users": "accounts"}
        for there in (("passwords",), ("passwords", "users")):
            self.path = first_version(Path(self.mktemp()))
            for name in NAMES:
                if name in there:
                    with closing(sqlite3.connect(path(self.path, name))) as connection:
                        connection.executescript(f"DELETE FROM {tables[name]};")
                else:
                    path(self.path, name).unlink()
            self.opened()
            self.assertEqual(versions(self.path), VERSIONS)
            World(self.path).close()
            self.assertEqual(names(audit(self.path, deep=True)), [])

    def test_twiceInASecond(self) -> None:
        """Two backups of one second are two backups."""
        self.patch(time, "strftime", lambda *_: "now")
        self.opened()
        (kept,) = self.kept()
        for file in kept.iterdir():
            shutil.copy(file, self.path)
        self.opened()
        self.assertEqual(
            [each.name for each in self.kept()], ["backup-schema-1-now", "backup-schema-1-now-2"]
        )

    def test_afterACrash(self) -> None:
        """What the old version left in its log when it was killed is upgraded and kept, too."""
        connection = sqlite3.connect(path(self.path, "messages"), isolation_level=None)
        connection.execute("UPDATE ledger SET subject = 'in the log' WHERE id = 1")
        place = Path(self.mktemp())
        shutil.copytree(self.path, place, ignore=shutil.ignore_patterns("*-shm"))
        connection.close()
        self.assertTrue((place / "messages.db-wal").stat().st_size)
        self.path = place
        self.opened()
        (kept,) = self.kept()
        for directory in (self.path, kept):
            self.assertIn("in the log", {row[12] for row in contents(directory)["messages.ledger"]})

    def test_olderProgram(self) -> None:
        """A program that knows the first version only refuses the upgraded file, and changes nothing."""
        self.opened()
        before = bytes_of(self.path)
        self.patch(upgrading, "VERSIONS", FIRST)
        self.patch(files, "VERSIONS", FIRST)
        data = DataDirectory(self.path, {name: schema(name, 1) for name in NAMES})
        error = self.assertRaises(StartError, data.open)
        newer = f"passwords.db was written by a newer version of this server (schema {VERSIONS['passwords']}"
        self.assertIn(newer, str(error))
        self.assertEqual(bytes_of(self.path), before)

    def test_versionNone(self) -> None:
        """A file of a version that never was is damaged."""
        connection = sqlite3.connect(path(self.path, "users"))
        connection.execute("PRAGMA user_version = 0")
        connection.close()
        error = self.assertRaises(StartError, self.opened)
        self.assertIn("users.db is damaged", str(error))

    def test_noRoomForBackup(self) -> None:
        """Where the backup cannot be made nothing is upgraded, and nothing is left."""

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(upgrading, "copy", full)
        error = self.assertRaises(StartError, self.opened)
        self.assertIn("cannot be copied (database or disk is full)", str(error))
        self.assertEqual(self.kept(), [])
        self.assertEqual(versions(self.path), FIRST)
        self.assertEqual(contents(self.path), self.before)

    def test_damagedCopy(self) -> None:
        """A copy that is not whole is none: nothing is upgraded."""

        def spoilt(connection: sqlite3.Connection, directory: Path, opener: Opener) -> None:
            copy(connection, directory, opener)
            messages = sqlite3.connect(path(directory, "messages"))
            messages.execute("PRAGMA writable_schema = ON")
            with messages:
                messages.execute("UPDATE sqlite_schema SET rootpage = 9 WHERE name = 'ledger_sent'")
            messages.close()

        self.patch(upgrading, "copy", spoilt)
        error = self.assertRaises(StartError, self.opened)
        self.assertIn("cannot be copied", str(error))
        self.assertEqual(versions(self.path), FIRST)
        self.assertEqual(self.kept(), [])

    def test_noRoomForUpgrade(self) -> None:
        """A step that fails changes nothing; the backup stays and is named."""
        broken = {**steps(), ("messages", 1): f"{steps()['messages', 1]} CREATE TABLE half (;"}
        error = self.assertRaises(StartError, DataDirectory(self.path, schemas(), broken).open)
        (kept,) = self.kept()
        self.assertIn("messages.db cannot be upgraded from schema 1", str(error))
        self.assertIn(str(kept), str(error))
        self.assertEqual(versions(self.path), FIRST)
        self.assertEqual(contents(self.path), self.before)
        self.opened()
        self.assertEqual(versions(self.path), VERSIONS)

    def test_noRoomForCommit(self) -> None:
        """One file may be new while another's commit fails; the next start completes it."""
        connect: Any = sqlite3.connect

        class Cramped(sqlite3.Connection):
            """Finds no room at the end."""

            def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
                """As ever, but for the commit."""
                if statement == "COMMIT":
                    raise sqlite3.OperationalError("database or disk is full")
                return super().execute(statement, *arguments)

        def cramped(file: Any, *arguments: Any, **options: Any) -> Any:
            if Path(file) == path(self.path, "passwords"):
                options["factory"] = Cramped
            return connect(file, *arguments, **options)

        self.patch(sqlite3, "connect", cramped)
        error = self.assertRaises(StartError, self.opened)
        self.assertIn("passwords.db cannot be upgraded from schema 1 (database or disk is full)", str(error))
        (kept,) = self.kept()
        self.assertEqual(contents(kept), self.before)
        self.assertEqual(versions(self.path), {**VERSIONS, "passwords": 1})
        self.patch(sqlite3, "connect", connect)
        self.opened()
        self.assertEqual(versions(self.path), VERSIONS)

    def test_crashAnywhere(self) -> None:
        """Killed before any statement of it, either version is whole, and the next start completes it."""
        moments: list[Path] = []
        place = Path(self.mktemp())
        place.mkdir()
        connect: Any = sqlite3.connect

        def noting(*arguments: Any, **options: Any) -> Any:
            connection = connect(*arguments, **options)

            def note(_: str) -> None:
                moment = place / str(len(moments))
                shutil.copytree(self.path, moment, ignore=shutil.ignore_patterns("*-shm", LOCK))
                moments.append(moment)

            connection.set_trace_callback(note)
            return connection

        self.patch(sqlite3, "connect", noting)
        self.opened()
        self.patch(sqlite3, "connect", connect)
        shutil.copytree(self.path, place / "end")
        self.assertGreater(len(moments), 10)
        seen = set()
        for moment in [*moments, place / "end"]:
            self.path = moment
            before = versions(moment)
            self.assertEqual(names(audit(moment, deep=True)), [])
            seen.add(tuple(before.values()))
            kept = [each for each in self.kept() if not each.name.endswith(".incomplete")]
            for each in kept:
                self.assertEqual(contents(each), self.before)
            if before != FIRST:
                self.assertTrue(kept)
            self.opened()
            self.assertEqual(versions(moment), VERSIONS)
            self.assertEqual(contents(moment), upgraded(self.before))
            self.assertEqual([each for each in self.kept() if each.name.endswith(".incomplete")], [])
        # One file after the other is committed, in this order.
        between = [{**FIRST, "messages": VERSIONS["messages"]}, {**VERSIONS, "passwords": 1}]
        self.assertEqual(seen, {tuple(each.values()) for each in (FIRST, *between, VERSIONS)})

    def test_stillInTheLog(self) -> None:
        """An upgrade that lies in the log when its program is killed counts, whatever the header says."""
        connections = []
        for name in NAMES:
            connections.append(sqlite3.connect(path(self.path, name), isolation_level=None))
            script = "".join(steps()[name, version] for version in range(1, VERSIONS[name]))
            connections[-1].executescript(f"BEGIN;{script}PRAGMA user_version = {VERSIONS[name]};COMMIT")
        place = Path(self.mktemp())
        shutil.copytree(self.path, place, ignore=shutil.ignore_patterns("*-shm"))
        for connection in connections:
            connection.close()
        found = header(path(place, "messages"))
        assert found is not None
        self.assertEqual(found.version, 1)
        self.path = place
        self.assertEqual(names(audit(place)), [])
        self.assertEqual(self.opened().kept, None)


class TokenTests(SynchronousTestCase):
    """The same from the version that had tokens, but no recovery codes and no invitations."""

    def test_everythingStays(self) -> None:
        """Passwords and tokens are good as before, and the schema is that of fresh files."""
        directory = earlier_version(Path(self.mktemp()), {"passwords": 2, "users": 1, "messages": 3})
        with closing(sqlite3.connect(path(directory, "passwords"))) as connection, connection:
            connection.execute("INSERT INTO tokens (account, digest, issued) VALUES (?, x'00', 7)", (ALICE,))
        before = contents(directory)
        World(directory).close()
        after = contents(directory)
        for table in ("passwords.passwords", "passwords.tokens", "users.accounts"):
            self.assertEqual(after[table], before[table])
            self.assertTrue(after[table])
        fresh = Path(self.mktemp())
        World(fresh).close()
        for name in ("users", "passwords"):
            self.assertEqual(drawn(path(directory, name)), drawn(path(fresh, name)))


class SecondTests(SynchronousTestCase):
    """The same from the second version, which had folded runs and no stretches."""

    def setUp(self) -> None:
        """The directory of its server, stopped in order."""
        self.path = second_version(Path(self.mktemp()))
        self.before: dict[str, list[Any]] = {**contents(self.path)}

    def opened(self) -> World:
        """The server goes on with this version."""
        world = World(self.path)
        self.addCleanup(world.close)
        return world

    def test_secondVersion(self) -> None:
        """What the test takes for files of the second version passes the audit as such."""
        self.assertEqual(versions(self.path), SECOND)
        self.assertEqual(names(audit(self.path, deep=True)), [])
        _, out, _ = called("check", "--data", str(self.path))
        newest = VERSIONS["messages"]
        self.assertIn(f"messages.db is brought up to schema version {newest} at the next start", out)

    def test_everythingStays(self) -> None:
        """Every row is there, with a note for each stretch, and the schema is that of fresh files."""
        world = self.opened()
        world.close()
        self.assertEqual(versions(self.path), VERSIONS)
        after = contents(self.path)
        self.assertEqual(after, upgraded(self.before))
        self.assertIn((ALICE, INBOX, 4), after["messages.stretches"])
        self.assertEqual(names(audit(self.path, deep=True)), [])
        fresh = Path(self.mktemp())
        World(fresh).close()
        for name in NAMES:
            self.assertEqual(drawn(path(self.path, name)), drawn(path(fresh, name)))

    def test_backup(self) -> None:
        """The backup is one of the second version, and is named so."""
        self.opened().close()
        (kept,) = self.path.glob("backup-*")
        self.assertRegex(kept.name, r"^backup-schema-2-\d{8}T\d{6}Z$")
        self.assertEqual((versions(kept), contents(kept)), (SECOND, self.before))
        self.assertEqual(names(audit(kept, deep=True)), [])

    def test_listed(self) -> None:
        """Both boxes list what they listed before, and what is sent now."""
        world = self.opened()
        alice = Account(ALICE, "alice")
        new = world.send(alice, "alice").id
        listed = {
            box: [entry.id for entry in world.result(world.mailroom.listing(alice, box, 0, 100)).messages]
            for box in ("inbox", "sent")
        }
        ledger = self.before["messages.ledger"]
        self.assertEqual(
            listed,
            {
                "inbox": [row[0] for row in ledger if row[2] == ALICE and row[6] < State.REMOVED] + [new],
                "sent": [row[0] for row in ledger if row[1] == ALICE] + [new],
            },
        )

    def test_repeatedRef(self) -> None:
        """A ref from before is known, and its reuse refused, while the contents are there and afterwards."""
        world = self.opened()
        alice, bob = Account(ALICE, "alice"), Account(2, "bob")
        same = Message(recipient="bob", subject="hi", body="hello", ref="c2")
        for step in (lambda: None, lambda: world.result(world.mailroom.remove(bob, [DELIVERED]))):
            step()
            (answer,) = world.accept(alice, same)
            assert isinstance(answer, Accepted), answer
            self.assertEqual(answer.id, DELIVERED)
            for part in ("body", "subject", "recipient"):
                (answer,) = world.accept(alice, replace(same, **{part: "changed"}))
                assert isinstance(answer, Failed), answer
                self.assertEqual((answer.code, answer.ref), ("ref-reused", "c2"))
        world.close()
        self.assertEqual(names(audit(self.path, deep=True)), [])
