"""How the files of a data directory are opened: all of them plain, or passwords.db with its key."""

from __future__ import annotations

import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any

from chat.errors import StartError
from chat.store.key import Key
from chat.store.layout import ALIASES, header, path

#: The file that a key is for.
SECRET = "passwords"
#: What SQLite says of a file when it is none of its own, or the key is wrong.
NOT_ONE = "file is not a database"
#: What SQLite is asked to do, and what is said of one that cannot.
_NEEDED = {
    "is too old": "CREATE TABLE kept (text TEXT) STRICT",
    "cannot search": "CREATE VIRTUAL TABLE words USING fts5(text)",
}


class Opener:
    """Opens database files; one with a key opens passwords.db with it, and all others plain.

    @ivar driver: the module, as L{twisted.enterprise.adbapi} wants it named.
    """

    def __init__(self, key: Key | None = None) -> None:
        """Import the driver; without a key that is the one of Python itself.

        @raise StartError: the one that is needed is not installed.
        """
        self._key = key
        self.driver = "sqlite3"
        if key is not None:
            self.driver = "chat.store.cipher"
            try:
                import_module(self.driver)
            except ImportError:
                raise StartError(
                    "A password key needs the package sqlcipher3: pip install 'txchat[encrypted]'."
                ) from None

    def encrypts(self, file: Path) -> bool:
        """Whether the key is for this file: the one of the passwords, also while it is in the making."""
        return self._key is not None and file.stem == SECRET

    def mismatch(self, file: Path) -> str:
        """What is wrong with a file that is no database when it is opened so, and what to do."""
        restore = "restore the three files from a backup"
        if file.stem != SECRET:
            return f"is no SQLite file: {restore}"
        if not self.encrypts(file):
            return f"is encrypted or damaged: name its key with --password-key, or {restore}"
        if header(file) is None:
            return f"cannot be opened with this password key: name the right one, or {restore}"
        return (
            "is not encrypted, but there is a key: run chatctl encrypt-passwords, or leave out --password-key"
        )

    def connect(self, file: Path, mode: str = "", *, one_thread: bool = True) -> sqlite3.Connection:
        """Open one file by itself.

        @param mode: what SQLite's URIs have after the question mark.
        @param one_thread: whether only the thread that asks may use it; if not, only one at a time.
        """
        connection: Any = self._connect(
            _location(file, mode), uri=bool(mode), isolation_level=None, check_same_thread=one_thread
        )
        if self._key is not None and self.encrypts(file):
            connection.set_key(self._key.phrase().encode())
        opened: sqlite3.Connection = connection
        return opened

    def able(self) -> None:
        """Make sure that this build of SQLite can do what is asked of it.

        @raise StartError: it cannot.
        """
        connection: Any = self._connect(":memory:")
        try:
            for without, statement in _NEEDED.items():
                try:
                    connection.execute(statement)
                except sqlite3.OperationalError as error:
                    raise StartError(
                        f"The SQLite of this Python {without} ({error}):"
                        " use a Python whose SQLite is 3.37 or later and has FTS5."
                    ) from None
        finally:
            connection.close()

    def attach(self, connection: sqlite3.Connection, alias: str, file: Path, mode: str = "") -> None:
        """Open one more file in a connection to a plain one."""
        location = _location(file, mode)
        if self._key is not None and self.encrypts(file):
            connection.execute(f"ATTACH ? AS {alias} KEY ?", (location, self._key.phrase()))
        else:
            connection.execute(f"ATTACH ? AS {alias}", (location,))

    def attach_others(self, connection: sqlite3.Connection, directory: Path) -> None:
        """Open the other two files in a connection to messages.db."""
        for name, alias in ALIASES.items():
            if alias != "main":
                self.attach(connection, alias, path(directory, name))

    def _connect(self, location: str, **keywords: Any) -> Any:
        if self._key is None:
            return sqlite3.connect(location, **keywords)
        return import_module(self.driver).connect(location, **keywords)


def _location(file: Path, mode: str) -> str:
    return f"{file.absolute().as_uri()}?{mode}" if mode else str(file)


#: For files that are all plain.
PLAIN = Opener()
