"""Ids that are left out: they never were messages here, and it is noted that they were not.

After a restore the last id that was given out is not known.  Clients know messages by their ids,
and what has an id that they have had, they take for what they had then: they would confirm it
without showing it to anybody.  So behind a restore so many are left out that no id comes again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from chat.store.layout import path
from chat.store.opener import Opener

#: So many are left out behind a restore, or as many as there were messages, if those are more.
MARGIN = 1_000_000


def leave_out(connection: sqlite3.Connection, first: int, last: int) -> None:
    """Note that the ids from one to another are no messages."""
    connection.execute(
        "INSERT INTO folded (first, last, removed, returned, recalled, skipped) VALUES (?, ?, 0, 0, 0, ?)",
        (first, last, last - first + 1),
    )


def keep_clear(directory: Path, opener: Opener) -> None:
    """Have messages.db in this directory, which no server uses, go on with ids that nobody has seen.

    Only its first version, which no server of today writes, has no place to note that.
    """
    with closing(opener.connect(path(directory, "messages"))) as connection:
        row = connection.execute("SELECT id FROM counters").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if row is None or version < 2:
            return  # the first is for the audit to find
        (last,) = row
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        (skipped,) = connection.execute("SELECT coalesce(sum(skipped), 0) FROM folded").fetchone()
        behind = last + max(MARGIN, last - skipped)
        leave_out(connection, last + 1, behind)
        connection.execute("UPDATE counters SET id = ?", (behind,))
        connection.execute("COMMIT")
        # Into the file itself, which is all that is moved to its place.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
