"""What the client keeps on this machine for one profile, in one small database that is its owner's alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chat.client import places
from chat.messages import TokenIssued

#: How long another client of the same profile may be writing.
_BUSY_SECONDS = 10.0
#: So many names are offered for completion.
_NAMES = 500

_VERSION = 1
_SCHEMA = """
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,  -- the order in which they were written
    ref TEXT NOT NULL,
    owner TEXT NOT NULL,    -- the running client that sends it; see chat.client.spool
    server TEXT NOT NULL,
    account TEXT NOT NULL,
    frame BLOB NOT NULL,    -- the message, as it goes to the server in JSON
    UNIQUE (server, account, ref)
);
CREATE TABLE tokens (
    server TEXT NOT NULL,
    account TEXT NOT NULL,
    value TEXT NOT NULL,
    expires TEXT NOT NULL,
    PRIMARY KEY (server, account)
);
CREATE TABLE names (
    server TEXT NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    met INTEGER NOT NULL,   -- grows with each meeting
    PRIMARY KEY (server, account, name)
);
"""


class StateError(Exception):
    """What is kept on this machine cannot be read or written; the text says where and why."""


class State:
    """The database of one profile; any number of clients may use it at the same time.

    It is made when something is to be kept, and not before.  What was written is on disk,
    and would survive a power cut, when the call returns.
    """

    def __init__(self, folder: Path) -> None:
        """
        @param folder: where it is; need not exist.
        """
        self.folder = folder
        self.path = folder / "state.db"
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of what is done in it is kept, or nothing.

        @raise StateError: it cannot be.
        """
        with self._explained():
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # not every error leaves it open
                    connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query finds; nothing where nothing was ever kept.

        @raise StateError: it cannot be read.
        """
        with self._explained():
            if self._connection is None and not self.path.exists():
                return []
            return self._opened().execute(query, values).fetchall()

    def close(self) -> None:
        """Keep nothing open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- staying logged in --------------------------------------------------------------

    def accounts(self, server: str) -> list[str]:
        """Who stays logged in at a server.

        @raise StateError: it cannot be read.
        """
        return [name for (name,) in self.rows("SELECT account FROM tokens WHERE server = ?", server)]

    def token(self, server: str, account: str) -> TokenIssued | None:
        """What logs an account in without its password, if that was kept.

        @raise StateError: it cannot be read.
        """
        query = "SELECT value, expires FROM tokens WHERE server = ? AND account = ?"
        for value, expires in self.rows(query, server, account):
            return TokenIssued(value=value, expires=expires)
        return None

    def keep_token(self, server: str, account: str, token: TokenIssued | None) -> None:
        """Keep a token in place of any other one, or C{None}.

        @raise StateError: it cannot be written.
        """
        with self.change() as connection:
            connection.execute("DELETE FROM tokens WHERE server = ? AND account = ?", (server, account))
            if token is not None:
                values = (server, account, token.value, token.expires)
                connection.execute("INSERT INTO tokens VALUES (?, ?, ?, ?)", values)

    # --- whom one has met ---------------------------------------------------------------

    def names(self, server: str, account: str) -> list[str]:
        """Whom this account has written to or heard from, the latest first.

        @raise StateError: it cannot be read.
        """
        query = "SELECT name FROM names WHERE server = ? AND account = ? ORDER BY met DESC LIMIT ?"
        return [name for (name,) in self.rows(query, server, account, _NAMES)]

    def meet(self, server: str, account: str, names: Iterable[str]) -> None:
        """Remember names.

        @raise StateError: it cannot be written.
        """
        latest = "(SELECT coalesce(max(met), 0) + 1 FROM names)"
        insert = f"INSERT OR REPLACE INTO names VALUES (?, ?, ?, {latest})"
        with self.change() as connection:
            connection.executemany(insert, [(server, account, name) for name in names])

    # --- the file -----------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            places.private_file(self.path)
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # Not WAL: a home may be on a network, where that does not work between machines.
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA secure_delete = ON")  # what was sent is nobody's business any more
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
        if version > _VERSION:
            raise StateError(f"{self.path} was made by a newer version of this program")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateError(f"{self.folder} cannot be used: {error.strerror}") from None
        except (sqlite3.Error, NotImplementedError) as error:  # the latter: no locks on this file system
            raise StateError(f"{self.path} cannot be used: {error}") from None
