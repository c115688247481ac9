"""Stores whose passwords.db has a key, for tests: skipped where sqlcipher3 is not installed."""

from __future__ import annotations

import atexit
import importlib.util
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chat.store.conversion import convert
from chat.store.key import Key
from chat.store.layout import NAMES, path
from chat.store.opener import PLAIN, Opener
from tests.town import called, town
from tests.world import World

#: Why a test that needs SQLCipher cannot run, or C{None}.
MISSING = None if importlib.util.find_spec("sqlcipher3") else "sqlcipher3 is not installed"
SECRET = bytes(range(32))
#: What tells of a database file, and of a hash in it.
MARKS = (b"SQLite format 3", b"$2b$")


@lru_cache
def sealed_town() -> Path:
    """The town, with L{SECRET} for its key."""
    place = Path(tempfile.mkdtemp(prefix="chat-sealed-"))
    atexit.register(shutil.rmtree, place, True)
    shutil.copytree(town(), place / "town")
    convert(place / "town", PLAIN, opener())
    return place / "town"


def opener(secret: bytes = SECRET) -> Opener:
    """Opens with this key."""
    return Opener(Key(secret))


class EncryptedCase(SynchronousTestCase):
    """A place for a data directory, and one for keys."""

    skip = MISSING

    def setUp(self) -> None:
        """Nothing is there but a key that the operator has made."""
        self.path = Path(self.mktemp())
        self.keys = Path(self.mktemp())
        self.keys.mkdir()
        self.key = self.keys / "key"
        self.key.touch(mode=0o600)
        self.key.write_text(SECRET.hex())
        self.opener = opener()

    def world(self, directory: Path | None = None, with_key: Opener | None = None) -> World:
        """A world with this key on this directory, until the test is over."""
        world = World(directory or self.path, opener=with_key or self.opener)
        self.addCleanup(world.close)
        return world

    def plain(self) -> None:
        """The directory is that of a server without a key that was stopped, with messages in every state."""
        shutil.copytree(town(), self.path)

    def sealed(self) -> None:
        """The same of a server with the key."""
        shutil.copytree(sealed_town(), self.path)

    def call(self, command: str, *arguments: object) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of C{chatctl} on the directory, with the key."""
        options = ("--data", str(self.path), "--password-key", str(self.key))
        return called(command, *options, *map(str, arguments))


def bytes_of(directory: Path) -> dict[str, bytes]:
    """Every file of a directory, byte for byte; but for the lock, and what SQLite keeps in shared memory."""
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file() and file.name != "lock" and not file.name.endswith("-shm")
    }


def encrypted(directory: Path) -> bool:
    """Whether neither passwords.db nor anything beside it tells what it is."""
    found = {name: content for name, content in bytes_of(directory).items() if name.startswith("passwords")}
    assert found and all(path(directory, name).exists() for name in NAMES)
    return not any(mark in content for content in found.values() for mark in MARKS)
