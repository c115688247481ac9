"""Tests for an encrypted passwords.db: the server and chatctl work with it, and only with its key."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from chat import tap
from chat.admin.audit import audit
from chat.admin.command import Unusable
from chat.admin.snapshot import headers
from chat.errors import Refusal, StartError
from chat.rights import Rights
from chat.service import ChatService, Settings
from chat.store import opener as opening
from chat.store.conversion import convert
from chat.store.files import APPLICATION, VERSIONS, DataDirectory, Header, header, path, schemas
from chat.store.key import CREDENTIAL, CREDENTIALS, Key, create, read
from chat.store.opener import PLAIN, Opener
from chat.store.pool import DirectPool
from tests import test_conversation
from tests.daemon import ROOT, TWISTD, Daemon, environment, execute
from tests.encrypted import MISSING, SECRET, EncryptedCase, bytes_of, encrypted, opener
from tests.test_service import ServiceTestCase
from tests.test_upgrade import FIRST, first_version
from tests.town import ALICE, LAST, called, inhabit, names
from tests.world import PASSWORD

OTHER = SECRET[::-1]
#: Fails when it comes to the last of its rows.
TOO_LARGE = "SELECT abs(column1) FROM (VALUES (1), (2), (-9223372036854775808))"


class StoreTests(EncryptedCase):
    """The store on an encrypted file."""

    def test_atRest(self) -> None:
        """No hash, no word of the schema and no mark of SQLite is in the file, nor in what lies beside it."""
        world = self.world()
        inhabit(world)
        self.assertTrue(Path(f"{path(self.path, 'passwords')}-wal").stat().st_size)
        self.assertTrue(encrypted(self.path))
        content = b"".join(each for name, each in bytes_of(self.path).items() if name.startswith("passwords"))
        (dataset,) = world.sql("SELECT dataset FROM passwords.identity")[0]
        for word in (b"CREATE TABLE", b"account", b"alice", b"tokens", dataset.encode(), SECRET):
            self.assertNotIn(word, content)
        self.assertIn(b"$2b$04$", world.sql("SELECT hash FROM passwords.passwords")[0][0].encode())
        world.close()
        self.assertTrue(encrypted(self.path))

    def test_othersArePlain(self) -> None:
        """The other two files are what they always are."""
        self.world()
        self.assertEqual(header(path(self.path, "messages")), Header(APPLICATION, VERSIONS["messages"]))
        self.assertEqual(header(path(self.path, "users")), Header(APPLICATION, VERSIONS["users"]))

    def test_plainWouldShow(self) -> None:
        """Without a key all of that is there to be read: the search can find it."""
        self.plain()
        self.assertFalse(encrypted(self.path))

    def test_settings(self) -> None:
        """The encrypted file is as durable as the others, and has SQLCipher's own settings."""
        self.world().close()
        pool = DirectPool(self.path, self.opener)
        self.addCleanup(pool.close)
        connection = pool.connect()
        for file in ("main", "users", "passwords"):
            found = [
                connection.execute(f"PRAGMA {file}.{what}").fetchone()[0]
                for what in ("journal_mode", "synchronous", "secure_delete")
            ]
            self.assertEqual(found, ["wal", 2, 1])
        (size,) = connection.execute("PRAGMA passwords.cipher_page_size").fetchone()
        self.assertEqual(int(size), 4096)

    def test_reopened(self) -> None:
        """What was stored is there after a stop and after a crash."""
        world = self.world()
        (alice,) = world.sign_up("alice")
        world = world.reopen(opener=self.opener)
        self.addCleanup(world.close)
        self.assertTrue(world.result(world.store.passwords.verify(alice.id, PASSWORD.encode())))
        world.result(world.store.passwords.set(alice.id, b"another one"))
        world = world.crash(self.mktemp(), opener=self.opener)
        self.addCleanup(world.close)
        self.assertTrue(encrypted(world.path))
        self.assertFalse(world.result(world.store.passwords.verify(alice.id, PASSWORD.encode())))
        self.assertTrue(world.result(world.store.passwords.verify(alice.id, b"another one")))

    def test_nul(self) -> None:
        """A message with NUL in it that is sent again once it was removed is known all the same."""
        world = self.world()
        alice, bob = world.sign_up("alice", "bob")
        contents = {"body": "half\0 of it", "subject": "\0", "ref": "one"}
        sent = world.send(alice, "bob", **contents)
        world.confirm(bob, sent.id)
        world.result(world.store.remove(bob.id, [sent.id]))
        self.assertEqual(world.send(alice, "bob", **contents).id, sent.id)

    def test_errors(self) -> None:
        """A failure is the same as with a plain file: kinds of errors, and that nothing is half done."""
        world = self.world()
        (alice,) = world.sign_up("alice")
        world.pool.room = 0
        error = self.assertRaises(Refusal, world.result, world.store.passwords.set(alice.id, b"another one"))
        self.assertEqual(error.code, "storage-full")
        world.pool.room = None
        self.assertTrue(world.result(world.store.passwords.verify(alice.id, PASSWORD.encode())))

    def test_driver(self) -> None:
        """Every call of the driver fails with the errors of sqlite3."""
        world = self.world()
        connection = self.opener.connect(path(self.path, "passwords"))
        self.addCleanup(connection.close)
        other = self.opener.connect(Path(":memory:"))
        self.addCleanup(other.close)
        cursor = connection.cursor()
        for call in (
            lambda: connection.execute("SELECT nothing"),
            lambda: connection.executescript("nothing;"),
            lambda: cursor.executemany("INSERT INTO nothing VALUES (?)", [(1,)]),
            lambda: [rows() for rows in [connection.execute(TOO_LARGE).fetchone] * 3],
            lambda: connection.execute(TOO_LARGE).fetchmany(3),
            lambda: connection.execute(TOO_LARGE).fetchall(),
            lambda: list(connection.execute(TOO_LARGE)),
            lambda: connection.backup(other, name="nothing"),
            lambda: self.opener.connect(self.path / "none" / "users.db"),
        ):
            self.assertRaises(sqlite3.OperationalError, call)
        self.assertRaises(
            sqlite3.IntegrityError, connection.execute, "INSERT INTO passwords VALUES (1, NULL)"
        )
        world.close()
        connection.close()
        self.assertRaises(sqlite3.ProgrammingError, connection.execute, "SELECT 1")
        self.assertRaises(sqlite3.ProgrammingError, connection.commit)
        self.assertRaises(sqlite3.ProgrammingError, connection.rollback)

    def test_dialect(self) -> None:
        """SQLCipher's SQLite is new enough for all that the store and chatctl ask of it."""
        connection = self.opener.connect(Path(":memory:"))
        self.addCleanup(connection.close)
        (version,) = connection.execute("SELECT sqlite_version()").fetchone()
        self.assertGreaterEqual(tuple(map(int, version.split("."))), (3, 37))
        options = {option for (option,) in connection.execute("PRAGMA compile_options")}
        self.assertIn("THREADSAFE=1", options)
        self.assertIn("TEMP_STORE=2", options)  # what SQLite sets aside while it writes stays in memory


class KeyTests(EncryptedCase):
    """With another key, without one, or with one that is not needed, nothing is started, made or changed."""

    def assertRefused(self, with_key: Opener, *words: str) -> None:
        """The server does not start, chatctl does not either, and not a byte is another one."""
        before = bytes_of(self.path)
        error = self.assertRaises(StartError, DataDirectory(self.path, schemas(), None, with_key).open)
        refused = self.assertRaises(Unusable, headers, self.path, with_key)
        for word in (str(path(self.path, "passwords")), *words):
            self.assertIn(word, str(error))
            self.assertIn(word, str(refused))
        self.assertNotIn("\n", str(error) + str(refused))
        self.assertEqual(bytes_of(self.path), before)

    def left(self) -> None:
        """What a server with a key leaves when it is killed."""
        world = self.world(Path(self.mktemp()))
        world.sign_up("alice")
        world.kill(self.path)

    def test_wrongKey(self) -> None:
        """Another key, whether the server was stopped or killed."""
        self.sealed()
        self.assertRefused(opener(OTHER), "cannot be opened with this password key", "the right one")
        shutil.rmtree(self.path)
        self.left()
        self.assertRefused(opener(OTHER), "cannot be opened with this password key")
        self.world()

    def test_quiet(self) -> None:
        """SQLCipher writes nothing of it to standard error by itself."""
        self.sealed()
        noise, before = self.keys / "noise", os.dup(2)
        self.addCleanup(os.close, before)
        descriptor = os.open(noise, os.O_CREAT | os.O_WRONLY)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        try:
            self.assertRaises(Unusable, headers, self.path, opener(OTHER))
        finally:
            os.dup2(before, 2)
        self.assertEqual(noise.read_bytes(), b"")

    def test_noKey(self) -> None:
        """No key for an encrypted file."""
        self.sealed()
        self.assertRefused(PLAIN, "is encrypted or damaged", "--password-key")
        shutil.rmtree(self.path)
        self.left()
        self.assertRefused(PLAIN, "is encrypted or damaged", "--password-key")

    def test_notEncrypted(self) -> None:
        """A key for a file that is plain."""
        self.plain()
        self.assertRefused(self.opener, "is not encrypted", "chatctl encrypt-passwords", "--password-key")

    def test_missing(self) -> None:
        """An encrypted file that is gone is not made anew, with whatever key."""
        self.sealed()
        path(self.path, "passwords").unlink()
        before = bytes_of(self.path)
        for with_key in (self.opener, opener(OTHER), PLAIN):
            data = DataDirectory(self.path, schemas(), None, with_key)
            self.assertIn("passwords.db is missing", str(self.assertRaises(StartError, data.open)))
        self.assertEqual(bytes_of(self.path), before)

    def test_damaged(self) -> None:
        """A file that is spoilt is not taken for one whose key is wrong, where that can be told."""
        self.sealed()
        file = path(self.path, "passwords")
        content = bytearray(file.read_bytes())
        content[4096 + 100] ^= 1
        file.write_bytes(content)
        (finding, *_) = [line for line in names(audit(self.path, self.opener)) if "passwords.db" in line]
        self.assertIn("damaged", finding)

    def test_notInstalled(self) -> None:
        """Without the package a key cannot be used, and the server says what to install."""

        def import_module(name: str) -> None:
            raise ImportError(name)

        self.patch(opening, "import_module", import_module)
        error = self.assertRaises(StartError, Opener, Key(SECRET))
        self.assertIn("pip install 'txchat[encrypted]'", str(error))


class PlainTests(SynchronousTestCase):
    """Where there is no key, nothing is as it was not before."""

    def test_notImported(self) -> None:
        """The package of SQLCipher is not even imported."""
        script = (
            "import sys; from tests.world import World; World(sys.argv[1]).close();"
            " print([name for name in sys.modules if 'cipher' in name.partition('.')[0]])"
        )
        command = [sys.executable, "-c", script, str(Path(self.mktemp()).absolute())]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
        )
        self.assertEqual(done.stdout, "[]\n")


class AdminTests(EncryptedCase):
    """C{chatctl} on an encrypted file."""

    def setUp(self) -> None:
        """A server with messages in every state, which runs."""
        super().setUp()
        self.sealed()
        self.running = self.world()
        self.running.result(self.running.store.passwords.set(ALICE, PASSWORD.encode()))

    def assertCommands(self) -> None:
        """Those that only read find what is there."""
        for command, more, expected in (
            ("audit", ["--deep"], f"{LAST} messages accepted"),
            ("check", [], f"schema version {VERSIONS['passwords']}, encrypted\n"),
            ("check", [], "passwords.db is whole"),
            ("check", [], "the three files belong together"),
            ("export", ["alice"], '"account":"alice"'),
            ("deadletters", [], "1 dead letter"),
        ):
            status, out, err = self.call(command, *more)
            self.assertEqual((status, err), (0, ""))
            self.assertIn(expected, out)

    def test_commands(self) -> None:
        """Each command works with the key: while the server runs, after a crash, and when it is stopped."""
        self.assertCommands()
        self.path = Path(self.mktemp())
        self.running.kill(self.path)
        before = databases(self.path)
        self.assertCommands()
        self.assertEqual(databases(self.path), before)
        self.world(self.path).close()
        self.assertCommands()
        exported = self.keys / "alice.jsonl"
        self.assertEqual(self.call("export", "alice", "-o", exported)[0], 0)
        status, out, err = self.call("import", "alice", exported)
        self.assertEqual((status, err), (0, ""))
        self.assertIn("0 messages imported", out)

    def test_passwd(self) -> None:
        """What changes passwords while the server runs changes them in the encrypted file."""
        self.patch(sys, "stdin", io.StringIO("another one\n"))
        status, _, err = self.call("passwd", "alice")
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(encrypted(self.path))
        passwords = self.running.store.passwords
        self.assertFalse(self.running.result(passwords.verify(ALICE, PASSWORD.encode())))
        self.assertTrue(self.running.result(passwords.verify(ALICE, b"another one")))

    def test_halfWritten(self) -> None:
        """A file that a power cut has left with a journal beside it is read as the next start will do."""
        self.running.close()
        file = path(self.path, "passwords")
        with closing(self.opener.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO passwords VALUES (?, ?)", [(n, "x" * 2000) for n in range(100, 200)]
            )
            for suffix in ("", "-journal"):
                shutil.copy(f"{file}{suffix}", self.keys)
            connection.execute("ROLLBACK")
        for suffix in ("", "-journal"):
            shutil.copy(self.keys / f"{file.name}{suffix}", self.path)
        self.assertTrue(encrypted(self.path))
        before = databases(self.path)
        self.assertEqual(names(audit(self.path, self.opener)), [])
        self.assertEqual(databases(self.path), before)
        self.world().close()
        self.assertEqual(names(audit(self.path, self.opener)), [])

    def test_backup(self) -> None:
        """A backup is encrypted with the same key, holds none, and can be restored."""
        target, restored = Path(self.mktemp()), Path(self.mktemp())
        status, _, err = self.call("backup", target)
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(encrypted(target))
        for digits in (self.key.read_text().strip(), read(self.key, target).phrase()[2:-1]):
            for content in bytes_of(target).values():
                self.assertNotIn(digits.encode(), content)
                self.assertNotIn(bytes.fromhex(digits), content)
        self.path = restored
        status, _, err = self.call("restore", target)
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(encrypted(restored))
        world = self.world(restored)
        self.assertTrue(world.result(world.store.passwords.verify(ALICE, PASSWORD.encode())))

    def test_withoutKey(self) -> None:
        """Without the key each command says in one line what is missing, and makes nothing."""
        self.running.close()
        target = Path(self.mktemp())
        for command, *more in (["audit"], ["backup", str(target)], ["export", "alice"], ["deadletters"]):
            status, out, err = called(command, "--data", str(self.path), *more)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertIn("name its key with --password-key", err)
        self.assertFalse(target.exists())
        status, out, _ = called("check", "--data", str(self.path))
        self.assertEqual(status, 1)
        self.assertIn("error    passwords.db is encrypted or damaged: name its key with --password-key", out)

    def test_badKey(self) -> None:
        """A key that cannot be used is one line, too."""
        self.key.chmod(0o644)
        status, out, err = self.call("audit")
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertIn(f"chmod 600 {self.key}", err)


class UpgradeTests(EncryptedCase):
    """Files of an earlier version whose passwords.db is encrypted."""

    def test_upgraded(self) -> None:
        """They are kept, encrypted, and become files of this version."""
        first_version(self.path)
        convert(self.path, PLAIN, self.opener)
        data = DataDirectory(self.path, schemas(), None, self.opener)
        data.open()
        self.addCleanup(data.close)
        assert data.kept is not None
        self.assertTrue(encrypted(self.path))
        self.assertTrue(encrypted(data.kept))
        found = {name: head.version for name, head in headers(data.kept, self.opener).items()}
        self.assertEqual(found, FIRST)
        self.assertEqual(
            {name: head.version for name, head in headers(self.path, self.opener).items()}, VERSIONS
        )


class ConversationTests(test_conversation.WordForWordTests):
    """The whole conversation of protocol.md, with a key."""

    skip = MISSING

    def start(self, **settings: Any) -> None:
        """Start a server with a key."""
        super().start(opener=opener(), **settings)

    def tearDown(self) -> None:
        """It was an encrypted store that the conversation was held with."""
        self.assertTrue(encrypted(self.network.data))


class ServiceTests(ServiceTestCase):
    """The service with a key."""

    skip = MISSING

    def setUp(self) -> None:
        """There is a key, and no systemd."""
        super().setUp()
        self.patch(os, "environ", {name: value for name, value in os.environ.items() if name != CREDENTIALS})
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.key = self.folder / CREDENTIAL
        create(self.key)

    def test_started(self) -> None:
        """It starts on a new directory and on its own, and says nothing of the key."""
        with capturedLogs() as logged:
            started = self.start(password_key=self.key)
            self.say(self.connect(), b'{"type":"login","data":{"field":"username","value":"alice"}}')
            self.stop(started)
            self.start(password_key=self.key)
        self.assertTrue(encrypted(self.data))
        for secret in (self.key.read_text().strip(), read(self.key, self.data).phrase()[2:-1]):
            self.assertNotIn(secret, repr(logged))

    def test_wrongKey(self) -> None:
        """With another key, or none, it does not start."""
        self.stop(self.start(password_key=self.key))
        other = self.folder / "other"
        create(other)
        self.assertIn("the right one", self.assertCannotStart(password_key=other))
        self.assertIn("name its key with --password-key", self.assertCannotStart())

    def test_badKey(self) -> None:
        """A key that cannot be used ends it before anything is touched."""
        self.key.unlink()
        error = self.assertRaises(StartError, self.service, password_key=self.key)
        self.assertIn("cannot be read", str(error))
        self.assertFalse(self.data.exists())

    def test_jail(self) -> None:
        """Where the server cannot leave its directory, the key is outside of it, and read before."""
        self.data = Path("/")
        rights = Rights(self.folder / "jail")
        ChatService(self.reactor, Settings(data=self.data, password_key=self.key), rights)
        error = self.assertRaises(
            StartError,
            ChatService,
            self.reactor,
            Settings(data=self.data, password_key=self.key),
            Rights(self.folder),
        )
        self.assertIn("in the data directory", str(error))

    def test_option(self) -> None:
        """The key is named by an option, or systemd has it."""
        keys: list[Path | None] = []
        self.patch(tap, "ChatService", lambda reactor, settings, rights: keys.append(settings.password_key))

        def make(*arguments: str) -> None:
            options = tap.Options()
            options.parseOptions(arguments)
            tap.makeService(options)

        make()
        os.environ[CREDENTIALS] = str(self.folder)
        make()
        make("--password-key", "key")
        self.assertEqual(keys, [None, self.key, Path("key")])

    def test_refusedOption(self) -> None:
        """A key that cannot be used ends the program with one line."""
        options = tap.Options()
        for file in (str(self.folder / "none"), ""):
            options.parseOptions(["--data", str(self.data), "--password-key", file])
            error = self.assertRaises(SystemExit, tap.makeService, options)
            self.assertIn("chat: The password key", str(error))
            self.assertNotIn("\n", str(error))


class DaemonTests(EncryptedCase):
    """C{twistd chat} with a key."""

    def test_killed(self) -> None:
        """It starts, is killed and starts again; the key is nowhere but in its file."""
        daemon = Daemon(self)
        options = ("--password-key", str(self.key.absolute()), "--json", "tcp:0:interface=127.0.0.1")
        daemon.start(*options)
        alice = daemon.user("alice")
        alice.send("alice", "hello")
        alice.expect("accepted", "message")
        digits = self.key.read_text().strip()
        secrets = (digits, read(self.key, self.path).phrase()[2:-1])
        arguments = Path(f"/proc/{daemon.pid}/cmdline")
        told = arguments.read_text() if arguments.exists() else ""
        daemon.kill()
        self.assertTrue(encrypted(daemon.folder / "data"))
        daemon.start(*options)
        daemon.user("alice").expect("message")
        daemon.stop()
        told += "\n".join(daemon.log)
        for secret in secrets:
            self.assertNotIn(secret, told)
        ended = execute(*TWISTD, "-n", "chat", "--data", "data", *options[2:], folder=daemon.folder)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(
            "is encrypted or damaged: name its key with --password-key", ended.stdout + ended.stderr
        )


def databases(directory: Path) -> dict[str, bytes]:
    """Every file that the server makes, byte for byte."""
    return {name: content for name, content in bytes_of(directory).items() if ".db" in name}
