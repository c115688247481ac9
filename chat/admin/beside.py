"""Writing to the files of a data directory while its server may be running.

SQLite lets one write at a time, and a transaction here is short; the server looks again at
what another program has written.  So nothing has to be stopped for it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Iterator

from chat.admin.command import Unusable
from chat.admin.snapshot import headers
from chat.store.layout import VERSIONS, path
from chat.store.opener import Opener

#: For how many seconds to wait until the server is not writing.
PATIENCE = 30


@contextmanager
def beside(directory: Path, names: tuple[str, ...], opener: Opener) -> Iterator[sqlite3.Connection]:
    """A connection to these files, under their names, but not yet in a transaction.

    @raise Unusable: there are no such files, or they are of another version.
    """
    found = headers(directory, opener)
    for name in names:
        if found[name].version != VERSIONS[name]:
            raise Unusable("The files are of an earlier version: start the server once to upgrade them.")
    with closing(opener.connect(Path(":memory:"))) as connection:
        connection.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000}")
        for name in names:
            opener.attach(connection, name, path(directory, name))
            connection.execute(f"PRAGMA {name}.synchronous = FULL")
            connection.execute(f"PRAGMA {name}.secure_delete = ON")
        yield connection


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """One transaction: all of it is on disk afterwards, or, after an error, nothing.

    @raise Unusable: it could not be written.
    """
    cursor = connection.cursor()
    try:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
    except sqlite3.Error as error:
        remedy = "make room, or run this as the user that the server runs as"
        if "locked" in str(error):
            remedy = "another program is writing all the time; try again"
        raise Unusable(f"Nothing was written ({error}): {remedy}.") from None
