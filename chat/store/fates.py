"""How many messages met each fate: counted in the file from time to time, and kept true meanwhile.

A count looks at every row of the ledger, in a thread and on a connection of its own, as the file was
at one moment; meanwhile, and until the next count, each transaction adds what it changes.  So the
numbers are there at once however long the ledger is, and what is lost from the file without
a transaction shows with the next count.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Optional

from chat.health.gauges import Census
from chat.store.commit import Cursor
from chat.store.layout import path
from chat.store.opener import PLAIN, Opener

#: How often all messages are looked at, in seconds.
EVERY = 3600.0
#: The fates, as places in a list of numbers.
WAITING, DELIVERED, RETURNED, REMOVED, RECALLED, DEAD = range(6)
FATES = ("waiting", "delivered", "returned", "removed", "recalled", "dead")
#: What is true of the rows with each of them; a message that came back is I{returned} whatever its
#: sender did with it then, unless it is dead.  A row that is in no lawful state has none of them.
_IN_LEDGER = (
    "state = 0 AND code IS NULL",
    "state = 1 AND code IS NULL",
    "state IN (0, 1, 2) AND code IS NOT NULL",
    "state = 2 AND code IS NULL",
    "state = 3 AND code IS NULL",
    "state = 4 AND code IS NOT NULL",
)
#: The ids that were never given out do not stand in for those that are missing.
_COUNT = (
    f"SELECT {', '.join(f'count(*) FILTER (WHERE {condition})' for condition in _IN_LEDGER)}"
    " FROM ledger NOT INDEXED WHERE id BETWEEN 1 AND (SELECT max(id) FROM counters)"
)
_FOLDED = (
    "SELECT coalesce(sum(returned), 0), coalesce(sum(removed), 0), coalesce(sum(recalled), 0),"
    " coalesce(sum(skipped), 0) FROM folded"
)


#: So many of SQLite's steps are between two moments at which a count can be given up: some ten milliseconds.
STEPS = 1_000_000


class Counted(NamedTuple):
    """What a count found.

    @ivar fates: how many messages met each, in the order of L{FATES}.
    @ivar skipped: how many ids never were messages here.
    @ivar time: when the file was as it was counted, in milliseconds since 1970-01-01 UTC.
    """

    fates: list[int]
    skipped: int
    time: int


class Count:
    """One count. Begun in the database thread, carried out in another, and given up from a third."""

    def __init__(self, directory: Path, opener: Opener = PLAIN) -> None:
        """Open nothing yet.

        @param directory: where C{messages.db} is.
        @param opener: the one by which all else is opened: two copies of SQLite in one process
            would undo each other's locks.
        """
        self._opener = opener
        self._file = path(directory, "messages")
        self._connection: Optional[sqlite3.Connection] = None
        self._time = 0
        self._given_up = False
        self._guard = Lock()  # it is one of the threads that closes the connection

    def begin(self, now: int) -> None:
        """Hold fast what the file is like at this moment; to say it again gives up what was held before."""
        with self._guard:
            self._close()
            if not self._given_up:
                self._connection = connection = self._opener.connect(self._file, "mode=ro", one_thread=False)
                # Asked by SQLite as it goes on: any thread may let it end.
                connection.set_progress_handler(lambda: self._given_up, STEPS)
                connection.execute("BEGIN")
                connection.execute("SELECT id FROM counters").fetchone()  # only now it is held
                self._time = now

    def perform(self) -> Counted:
        """Count; takes its time.

        @raise sqlite3.OperationalError: it was given up.
        """
        with self._guard:
            connection, self._connection = self._connection, None
        if connection is None:
            raise sqlite3.OperationalError("interrupted")
        with closing(connection):
            fates = list(connection.execute(_COUNT).fetchone())
            *folded, skipped = connection.execute(_FOLDED).fetchone()
        for fate, number in zip((RETURNED, REMOVED, RECALLED), folded):
            fates[fate] += number
        return Counted(fates, skipped, self._time)

    def give_up(self) -> None:
        """Let go of the file; L{perform} fails, soon if it is under way. Afterwards it changes nothing."""
        self._given_up = True
        with self._guard:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Fates:
    """The numbers. Runs in the database thread."""

    def __init__(self) -> None:
        self._counted: Optional[Counted] = None
        self._changed = False  # in the transaction under way
        self._changes = [0] * len(FATES)  # by how much
        self._since = [0] * len(FATES)  # committed since the last count
        self._meanwhile = [0] * len(FATES)  # committed since the count under way began

    def begin(self) -> None:
        """A transaction begins: what the last one changed is on disk, for it was not rolled back."""
        if self._changed:
            for fate, number in enumerate(self._changes):
                self._since[fate] += number
                self._meanwhile[fate] += number
            self.forget()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._changed = False
        self._changes = [0] * len(FATES)

    def accepted(self, fate: int, number: int) -> None:
        """There are so many messages more."""
        self._changed = True
        self._changes[fate] += number

    def turned(self, old: int, new: int, number: int = 1) -> None:
        """So many messages met another fate than before."""
        self._changed = True
        self._changes[old] -= number
        self._changes[new] += number

    def hold(self, count: Count, now: int) -> None:
        """A count begins."""
        count.begin(now)
        self._meanwhile = [0] * len(FATES)

    def adopt(self, counted: Counted) -> None:
        """It is complete."""
        self._counted = counted
        self._since = self._meanwhile.copy()

    def census(self, cursor: Cursor) -> Census | None:
        """What is on disk, this transaction not included; C{None}: nobody has counted yet."""
        counted = self._counted
        if counted is None:
            return None
        (last,) = cursor.execute("SELECT id FROM counters").fetchone()
        numbers = [number + since for number, since in zip(counted.fates, self._since)]
        return Census(last - counted.skipped, dict(zip(FATES, numbers)), counted.time)
