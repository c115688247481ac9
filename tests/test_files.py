"""Tests for L{chat.store.files}: the data directory is fit to be used, or left exactly as it was."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Iterator

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chat.errors import StartError
from chat.store import files
from chat.store.files import APPLICATION, LOCK, NAMES, VERSIONS, DataDirectory, Header, header, path, schemas
from chat.store.opener import Opener
from tests.world import World, open_world

#: A user without any rights, where the tests run as root.
NOBODY = 65534
FILES = ["messages.db", "passwords.db", "users.db"]


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a directory, byte for byte; long ones by their digest.

    Without the shared memory of SQLite's WAL: it holds nothing, and every reader rebuilds it.
    """
    found = {}
    for file in directory.iterdir():
        if not file.name.endswith("-shm"):
            content = file.read_bytes() if file.is_file() else b"(a directory)"
            found[file.name] = content if len(content) < 100 else sha256(content).digest()
    return found


@contextmanager
def without_rights() -> Iterator[None]:
    """Run the body as a user for whom the modes of files count."""
    if os.getuid() != 0:
        yield
        return
    try:
        os.setresuid(NOBODY, NOBODY, 0)
    except OSError:
        raise SkipTest("Root cannot become somebody else here.") from None
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def give_away(directory: Path) -> None:
    """Let the directory belong to the user that L{without_rights} makes of root."""
    if os.getuid() == 0:
        for each in (directory, *directory.iterdir()):
            os.chown(each, NOBODY, NOBODY)


class FilesCase(SynchronousTestCase):
    """A place for a data directory."""

    def setUp(self) -> None:
        """Nothing is there yet; whoever has the rights may get there."""
        self.path = Path(self.mktemp())
        self.path.parent.chmod(0o755)

    def opened(self, directory: Path | None = None) -> DataDirectory:
        """The data directory, opened until the test is over."""
        data = DataDirectory(directory or self.path, schemas())
        data.open()
        self.addCleanup(data.close)
        return data

    def made(self, *accounts: str) -> None:
        """A data directory from an earlier run, in which these have signed up."""
        world = World(self.path)
        world.sign_up(*accounts)
        world.close()

    def execute(self, name: str, statement: str) -> None:
        """Change one of the files from outside."""
        connection = sqlite3.connect(path(self.path, name), isolation_level=None)
        connection.execute(statement)
        connection.close()

    def assertRefused(self, *words: str, data: DataDirectory | None = None) -> None:
        """The directory is refused in one line with these words, and nothing in it was changed."""
        before = contents(self.path)
        error = self.assertRaises(StartError, (data or DataDirectory(self.path, schemas())).open)
        for word in words:
            self.assertIn(word, str(error))
        self.assertNotIn("\n", str(error))
        self.assertEqual(contents(self.path), before)


class FirstStartTests(FilesCase):
    """The first start makes everything, or nothing."""

    def test_made(self) -> None:
        """A directory for its owner alone, three files that belong together, and the lock."""
        self.opened()
        self.assertEqual(sorted(contents(self.path)), sorted([*FILES, LOCK]))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)
        datasets = set()
        for name in NAMES:
            file = path(self.path, name)
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)
            self.assertEqual(header(file), Header(APPLICATION, VERSIONS[name]))
            connection = sqlite3.connect(file)
            datasets.update(connection.execute("SELECT dataset FROM identity").fetchall())
            connection.close()
        self.assertEqual(len(datasets), 1)

    def test_emptyDirectory(self) -> None:
        """A directory made by the operator is used, and closed to others."""
        self.path.mkdir(mode=0o750)
        self.opened()
        self.assertEqual(sorted(contents(self.path)), sorted([*FILES, LOCK]))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)

    def test_oddName(self) -> None:
        """Characters that mean something in a URI or in SQL are nothing special in a path."""
        odd = Path(self.mktemp() + " 100%?mode=ro#'\"é")
        World(odd).close()
        world = World(odd)
        self.addCleanup(world.close)
        self.assertEqual(len(world.sign_up("alice")), 1)

    def test_noParent(self) -> None:
        """Directories above it are not made by the way: a slip in the path would go unnoticed."""
        error = self.assertRaises(StartError, DataDirectory(self.path / "deep", schemas()).open)
        self.assertIn(str(self.path / "deep"), str(error))
        self.assertFalse(self.path.exists())

    def test_belowAFile(self) -> None:
        """A path that cannot be a directory is a clear error."""
        self.path.write_text("a file")
        for directory in (self.path, self.path / "data"):
            error = self.assertRaises(StartError, DataDirectory(directory, schemas()).open)
            self.assertIn("cannot be made", str(error))
            self.assertIn("--data", str(error))
        self.assertEqual(self.path.read_text(), "a file")

    def test_cutShort(self) -> None:
        """What a first start that was cut short left is completed, with the identity it began with."""
        data = self.opened()
        data.close()
        whole = contents(self.path)
        for there in ((), ("passwords",), ("passwords", "users")):
            for name in NAMES:
                if name not in there:
                    path(self.path, name).unlink(missing_ok=True)
                    path(self.path, name).with_suffix(".new").write_bytes(b"half a fi")
            before = contents(self.path)
            data.open()
            data.close()
            self.assertEqual(sorted(contents(self.path)), sorted(whole))
            for name in there:
                self.assertEqual(contents(self.path)[f"{name}.db"], before[f"{name}.db"])
            world = World(self.path)
            self.assertEqual(world.sql("SELECT count(*) FROM users.accounts"), [(0,)])
            world.close()

    def test_cannotMake(self) -> None:
        """When a file cannot be made, those made before it are removed, and so is the directory."""
        for place in ("fresh", "there"):
            directory = self.path if place == "fresh" else Path(self.mktemp())
            if place == "there":
                directory.mkdir()
            data = DataDirectory(directory, {**schemas(), "users": "CREATE TABLE half (;"})
            error = self.assertRaises(StartError, data.open)
            self.assertIn("users.db cannot be made", str(error))
            self.assertEqual(directory.exists(), place == "there")
        self.assertEqual(contents(directory), {})

    def test_cannotSync(self) -> None:
        """The same where it is made, but could be gone after a power cut."""
        self.path.mkdir()
        synced: list[Path] = []

        def sync(directory: Path) -> None:
            synced.append(directory)
            if len(synced) == 2:
                raise OSError(5, "Input/output error")

        self.patch(files, "_sync", sync)
        self.assertRefused("users.db cannot be made", "Input/output error")

    def test_inTheWay(self) -> None:
        """Something in the way of a new file is named, and left alone."""
        self.path.mkdir()
        path(self.path, "users").with_suffix(".new").mkdir()
        self.assertRefused("users.db cannot be made")


class AbilityTests(FilesCase):
    """A SQLite that cannot do what is needed."""

    def without(self, what: str, error: str) -> None:
        """SQLite knows nothing of this."""

        class Poor(sqlite3.Connection):
            """Built without it."""

            def execute(self, statement: str, *_: object) -> sqlite3.Cursor:
                """No tables of other kinds."""
                if what in statement:
                    raise sqlite3.OperationalError(error)
                return super().execute(statement)

        def connect(_: Opener, location: str, **keywords: Any) -> sqlite3.Connection:
            return sqlite3.connect(location, factory=Poor)

        self.path.mkdir()
        self.patch(Opener, "_connect", connect)

    def test_cannotSearch(self) -> None:
        """Without FTS5 nothing is made, and the error says what is missing."""
        self.without("fts5", "no such module: fts5")
        self.assertRefused("The SQLite of this Python cannot search", "no such module: fts5", "FTS5")

    def test_tooOld(self) -> None:
        """So it is with one from before there were strict tables."""
        self.without("STRICT", 'near "STRICT": syntax error')
        self.assertRefused("The SQLite of this Python is too old", "3.37 or later")


class NextStartTests(FilesCase):
    """A later start finds everything as it was, or changes nothing."""

    def test_unchanged(self) -> None:
        """Opening and closing changes no byte."""
        self.made("alice")
        before = contents(self.path)
        self.opened().close()
        self.assertEqual(contents(self.path), before)

    def test_secondServer(self) -> None:
        """Only one server at a time; the next one can have the directory when the first has closed it."""
        first = self.opened()
        self.assertRefused("Another server", str(self.path), "--data")
        first.close()
        self.opened()

    def test_cannotLock(self) -> None:
        """A lock that cannot be taken is a clear error, and left alone."""
        self.path.mkdir()
        (self.path / LOCK).mkdir()
        self.assertRefused("cannot be locked")

    def test_notWritable(self) -> None:
        """A directory in which this user may not write is a clear error."""
        self.path.mkdir()
        self.path.chmod(0o555)
        self.addCleanup(self.path.chmod, 0o755)
        give_away(self.path)
        with without_rights():
            self.assertRefused("cannot be written", str(self.path), "--data")

    def test_fileNotWritable(self) -> None:
        """A file that this user may only read, or not even that, is a clear error."""
        self.made("alice")
        give_away(self.path)
        error: StartError | None = None
        for mode, words in ((0o444, "cannot be read and written"), (0o000, "cannot be read")):
            path(self.path, "users").chmod(mode)
            before = contents(self.path) if os.getuid() == 0 else None
            with without_rights():
                error = self.assertRaises(StartError, DataDirectory(self.path, schemas()).open)
            self.assertIn("users.db", str(error))
            self.assertIn(words, str(error))
            if before is not None:
                self.assertEqual(contents(self.path), before)

    def test_damaged(self) -> None:
        """A file that is not what was written is named, with the remedy."""
        self.made("alice")
        for name in NAMES:
            file = path(self.path, name)
            whole = file.read_bytes()
            for damage in (
                b"",
                b"# Notes\n\nnot a database at all" * 100,
                whole[:50],
                whole[:100],
                whole[:4096],
                whole[:-4096],
                b"SQLite format 2\0" + whole[16:],
                whole[:100] + bytes(4096 - 100) + whole[4096:],
                whole[:100] + b"\xff" * (4096 - 100) + whole[4096:],
            ):
                file.write_bytes(damage)
                self.assertRefused(f"{name}.db", "backup")
            file.write_bytes(whole)
        self.opened()

    def test_notAFile(self) -> None:
        """A directory where a file should be is a clear error."""
        self.made("alice")
        path(self.path, "users").unlink()
        path(self.path, "users").mkdir()
        self.assertRefused("users.db", "backup")

    def test_withoutIdentity(self) -> None:
        """A file that does not say to which data it belongs is damaged."""
        self.made("alice")
        self.execute("users", "DELETE FROM identity")
        self.assertRefused("users.db", "backup")
        self.execute("users", "DROP TABLE identity")
        self.assertRefused("users.db", "backup")

    def test_foreign(self) -> None:
        """Another program's database is not touched."""
        self.made("alice")
        self.execute("users", "PRAGMA application_id = 1")
        self.assertRefused("users.db", "not a file of this server")

    def test_newer(self) -> None:
        """What a newer version has written is left to that version."""
        self.made("alice")
        self.execute("users", f"PRAGMA user_version = {VERSIONS['users'] + 1}")
        self.assertRefused("users.db", "newer version", f"schema {VERSIONS['users'] + 1}")

    def test_missing(self) -> None:
        """One or two missing files are not replaced by empty ones: what they held would be lost."""
        self.made("alice")
        for names in (NAMES[:1], NAMES[1:2], NAMES[2:], NAMES[:2], NAMES[1:], (NAMES[0], NAMES[2])):
            for name in names:
                file = path(self.path, name)
                file.rename(file.with_suffix(".away"))
            self.assertRefused(f"{names[0]}.db is missing", "backup")
            for name in names:
                file = path(self.path, name)
                file.with_suffix(".away").rename(file)
        self.opened()

    def test_mixed(self) -> None:
        """Files from different servers are not used together."""
        self.made("alice")
        other = Path(self.mktemp())
        World(other).close()
        path(self.path, "passwords").write_bytes(path(other, "passwords").read_bytes())
        self.assertRefused("do not belong together", "backup")

    def test_afterACrash(self) -> None:
        """Where a server was killed, the files with the rest of its writing are not touched either."""
        world = open_world(self)
        (alice,) = world.sign_up("alice")
        world.send(alice, "alice")
        world.kill(self.path)
        for name in NAMES:
            self.assertGreater(Path(f"{path(self.path, name)}-wal").stat().st_size, 0)
        messages = path(self.path, "messages")
        whole = messages.read_bytes()
        messages.write_bytes(b"damaged" * 1000)
        self.assertRefused("messages.db", "backup")
        messages.write_bytes(whole)
        world = World(self.path)
        self.addCleanup(world.close)
        self.assertEqual(world.sql("SELECT name FROM users.accounts"), [("alice",)])


class UndoTests(FilesCase):
    """A start that failed later leaves everything as it was found."""

    def test_everything(self) -> None:
        """What the first start made goes, with all that SQLite put beside it."""
        data = DataDirectory(self.path, schemas())
        data.open()
        for name in NAMES:
            for suffix in ("-wal", "-shm"):
                Path(f"{path(self.path, name)}{suffix}").write_bytes(b"")
        data.undo()
        self.assertFalse(self.path.exists())

    def test_inADirectory(self) -> None:
        """What was in the directory before stays, and so does the directory."""
        self.path.mkdir()
        (self.path / "notes").write_text("mine")
        data = DataDirectory(self.path, schemas())
        data.open()
        data.undo()
        self.assertEqual(contents(self.path), {"notes": b"mine"})

    def test_somethingElse(self) -> None:
        """A directory in which somebody else has put something meanwhile stays."""
        data = DataDirectory(self.path, schemas())
        data.open()
        (self.path / "notes").write_text("mine")
        data.undo()
        self.assertEqual(contents(self.path), {"notes": b"mine"})

    def test_nextStart(self) -> None:
        """A later start made nothing, so nothing goes; and the next server can have the directory."""
        self.made("alice")
        before = contents(self.path)
        data = DataDirectory(self.path, schemas())
        data.open()
        data.undo()
        self.assertEqual(contents(self.path), before)
        self.opened()
