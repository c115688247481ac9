"""SQLCipher's driver with the errors of L{sqlite3}: whoever catches those need not know which one it is.

Imported only where passwords.db has a key.
"""

from __future__ import annotations

import sqlite3
from functools import wraps
from typing import Any, Callable

from sqlcipher3 import dbapi2


def _translated(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, failing as that of L{sqlite3} would."""

    @wraps(method)
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            return method(*arguments, **keywords)
        except dbapi2.Error as error:
            raise getattr(sqlite3, type(error).__name__)(*error.args) from None

    return call


class Cursor(dbapi2.Cursor):  # type: ignore[misc]
    """See L{sqlite3.Cursor}."""

    execute = _translated(dbapi2.Cursor.execute)
    executemany = _translated(dbapi2.Cursor.executemany)
    executescript = _translated(dbapi2.Cursor.executescript)
    fetchone = _translated(dbapi2.Cursor.fetchone)
    fetchmany = _translated(dbapi2.Cursor.fetchmany)
    fetchall = _translated(dbapi2.Cursor.fetchall)
    __next__ = _translated(dbapi2.Cursor.__next__)


class Connection(dbapi2.Connection):  # type: ignore[misc]
    """See L{sqlite3.Connection}."""

    backup = _translated(dbapi2.Connection.backup)
    commit = _translated(dbapi2.Connection.commit)
    rollback = _translated(dbapi2.Connection.rollback)

    @_translated
    def cursor(self, factory: type[Cursor] = Cursor) -> Any:
        """See L{sqlite3.Connection.cursor}; C{execute} and its like go this way, too."""
        return super().cursor(factory)


def connect(database: str, **keywords: Any) -> Any:
    """See L{sqlite3.connect}."""
    connection = _translated(dbapi2.connect)(database, factory=Connection, **keywords)
    # A wrong key is for the caller to tell of; SQLCipher would write to standard error besides.
    connection.execute("PRAGMA cipher_log_level = NONE")
    return connection
