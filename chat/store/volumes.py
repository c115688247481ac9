"""The index: which words are in which messages. Runs in the database thread.

It is cut into volumes of L{VOLUME} ids, each a table of FTS5 (C{words_N}): so nothing that
is done to it or asked of it takes longer than one volume takes, however many messages
there are.  A volume knows of each word which messages have it, but neither where nor how
often: that takes a quarter of the room.  Besides the words of subject and body, a message
has L{Marks}: whose inbox it is in, whose it was, and with whom; and the words of its subject
have another mark each (L{as_subject}).

The messages with ids from C{indexed.first} to C{indexed.last} that are in a mailbox are in
the index, no others.  New ones enter it behind C{last}, a batch at a time, since to find
their words takes as long as to accept them; those that were there before there was an
index enter it before C{first}.  What leaves the mailboxes leaves the index at once.

An index that was made by other rules of what is the same word (L{chat.spelling.RULES}) counts
for nothing: all messages enter anew, and each outdated volume goes when its turn comes.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from itertools import groupby
from typing import Any, Callable, Iterable, NamedTuple, Sequence

from chat.prepared import NAME_BYTES
from chat.spelling import RULES, apart
from chat.store import stretches
from chat.store.commit import Cursor
from chat.store.spoken import MARK, TOKENIZER, spread, vocabularies
from chat.store.users import Users

#: How many ids a volume has.
VOLUME = 128 * stretches.STRETCH
#: How many messages enter the index at once, and about how many characters of them.
BATCH_MESSAGES = 500
BATCH_CHARACTERS = 256 * 1024
#: A page of a volume, in bytes: with larger ones more is read in vain, which is most of what is read;
#: with smaller ones a volume takes more room.
PAGE = 2000
#: How many pages of a volume are written anew at once, to bring together what was written apart.
MERGED_PAGES = 80
#: So many pieces of about the same size become one.
PIECES = 8

_PARTS = re.compile(r"[^\W_]+")

_COLUMNS = "id, sender, recipient, code, addressee, subject, body, state, time"


def parts(name: str) -> tuple[str, ...]:
    """What a name is made of; each can be searched for."""
    # What is longer is the name of no account, and must not fill the memory.
    return _parts_of(name) if len(name) <= NAME_BYTES else _parts_of.__wrapped__(name)


@lru_cache(maxsize=4096)
def _parts_of(name: str) -> tuple[str, ...]:
    return tuple(_PARTS.findall(apart(name)))


def creation(volume: int) -> str:
    """The statement that makes a volume."""
    return (
        f"CREATE VIRTUAL TABLE words_{volume} USING fts5"
        f"(text, content='', columnsize=0, detail=none, tokenize='{TOKENIZER}')"
    )


def as_subject(word: str) -> str:
    """What those have that have this word in their subject."""
    return f"{MARK}w{word}"


class Marks:
    """The words of the index that stand for what an account can find."""

    def __init__(self, account: int) -> None:
        self.inbox = f"{MARK}{account}i"
        self.sent = f"{MARK}{account}s"
        self._sender = f"{MARK}{account}f"
        self._addressee = f"{MARK}{account}t"

    def box(self, sent: bool) -> str:
        """What every message in this box has."""
        return self.sent if sent else self.inbox

    def correspondent(self, sent: bool, part: str) -> str:
        """What those have that went to, or came from, somebody with this part in their name."""
        return f"{self._addressee if sent else self._sender}{part}"


#: The last ones, for most messages are between accounts that others are from or to.
_marks_of = lru_cache(maxsize=4096)(Marks)


class Left(NamedTuple):
    """What is indexed, and what is not yet.

    @ivar first: the first id that is.
    @ivar last: the last one that is.
    @ivar newest: the last one there is.
    """

    first: int
    last: int
    newest: int


class Volumes:
    """The index of the ledger."""

    def __init__(self, users: Users, now: Callable[[], int]) -> None:
        """Index messages.

        @param now: the time in milliseconds since 1970-01-01 UTC.
        """
        self._users = users
        self._now = now
        self._made: set[int] = set()

    def forget(self) -> None:
        """What was remembered may not be true any more."""
        self._made.clear()

    # --- in and out ---

    def extend(self, cursor: Cursor, older: bool) -> Left:
        """Let some messages enter the index: new ones or, if it has those and they are wanted, older ones."""
        if not _counts(cursor):
            begin_anew(cursor)
            self._made.clear()
        first, last, newest = left(cursor)
        if last < newest:
            volume = (last + 1) // VOLUME
            self._make_way(cursor, volume)
            end = (volume + 1) * VOLUME - 1
            rows, whole = _batch(cursor, last + 1, min(newest, end), "ASC")
            last = min(newest, end) if whole else rows[-1][0]
            self._enter(cursor, volume, rows)
            cursor.execute("UPDATE indexed SET last = ?, rules = ?", (last, RULES))
            if last == end:
                self._complete(cursor, volume)
        elif older and first > 1:
            volume = (first - 1) // VOLUME
            self._make_way(cursor, volume)
            end = max(1, volume * VOLUME)
            rows, whole = _batch(cursor, end, first - 1, "DESC")
            first = end if whole else rows[-1][0]
            self._enter(cursor, volume, rows[::-1])
            cursor.execute("UPDATE indexed SET first = ?, rules = ?", (first, RULES))
            if first == end:
                self._complete(cursor, volume)
        return Left(first, last, newest)

    def _complete(self, cursor: Cursor, volume: int) -> None:
        """Nothing new comes into this volume: it is worth while to have it in one piece."""
        self._stale(cursor, volume)

    def _stale(self, cursor: Cursor, volume: int) -> None:
        """This volume is to be written anew."""
        cursor.execute(
            "UPDATE volumes SET stale = coalesce(stale, ?) WHERE number = ?", (self._now(), volume)
        )

    def renew(self, cursor: Cursor, before: int) -> int | None:
        """Write a part of a volume anew that has been stale since before this moment.

        @return: since when the next one is stale; C{None}: there is none.
        """
        row = cursor.execute(
            "SELECT stale, number FROM volumes WHERE stale NOT NULL AND NOT outdated ORDER BY stale LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        since, volume = row
        # What became stale later than now did so before the clock was set back.
        due = since < before or since > self._now()
        if due and not merge(cursor, volume, -MERGED_PAGES):
            cursor.execute("UPDATE volumes SET stale = NULL WHERE number = ?", (volume,))
        return int(since)

    def leave(self, cursor: Cursor, ids: Sequence[int]) -> None:
        """These are about to leave the mailbox they are in, or their content is about to go."""
        rows = _indexed(cursor, ids)
        for volume, texts in self._texts(cursor, rows):
            words = f"words_{volume}"
            cursor.executemany(f"INSERT INTO {words} ({words}, rowid, text) VALUES ('delete', ?, ?)", texts)
            self._stale(cursor, volume)

    def enter(self, cursor: Cursor, ids: Sequence[int]) -> None:
        """These have come into another mailbox than the one they have left."""
        for volume, rows in groupby(_indexed(cursor, ids), lambda row: int(row[0]) // VOLUME):
            self._enter(cursor, volume, list(rows))

    def _enter(self, cursor: Cursor, volume: int, rows: Sequence[tuple[Any, ...]]) -> None:
        """These are in the index from now on, as far as they are in a mailbox."""
        for _, texts in self._texts(cursor, rows):
            self._make(cursor, volume)
            cursor.executemany(f"INSERT INTO words_{volume} (rowid, text) VALUES (?, ?)", texts)
            times: dict[int, list[int]] = {}
            for row in rows:
                times.setdefault(row[0] // stretches.STRETCH, []).append(row[8])
            cursor.executemany(
                "INSERT INTO moments (stretch, earliest, latest) VALUES (?1, ?2, ?3) ON CONFLICT (stretch) DO"
                " UPDATE SET earliest = min(earliest, ?2), latest = max(latest, ?3)",
                [(stretch, min(each), max(each)) for stretch, each in times.items()],
            )
            merge(cursor, volume, MERGED_PAGES)

    def _texts(
        self, cursor: Cursor, rows: Iterable[tuple[Any, ...]]
    ) -> Iterable[tuple[int, list[tuple[int, str]]]]:
        """Of those rows that are in a mailbox the id and all the words, by volume."""
        marks: dict[tuple[Any, ...], str] = {}  # many are between the same people
        boxed = [row for row in rows if row[7] < 2]
        subjects = vocabularies(cursor, {row[0]: row[5] for row in boxed if row[5] is not None})
        for volume, each in groupby(boxed, lambda row: int(row[0]) // VOLUME):
            texts = []
            for id, sender, recipient, code, addressee, subject, body, *_ in each:
                between = (sender, recipient, code, addressee)
                if between not in marks:
                    marks[between] = self._marks(cursor, *between)
                text = f"{marks[between]} {spread(body)}"
                if subject is not None:
                    text = f"{text} {spread(subject)} {' '.join(map(as_subject, subjects[id]))}"
                texts.append((id, text))
            yield volume, texts

    def _marks(
        self, cursor: Cursor, sender: int, recipient: int, code: str | None, addressee: str | None
    ) -> str:
        """The marks of a message."""
        owner, author = _marks_of(recipient), _marks_of(sender)
        to = self._users.name(cursor, recipient) if addressee is None else addressee
        # What came back to its sender is with whom it was meant for.
        correspondent = self._users.name(cursor, sender) if code is None else to
        marks = [owner.inbox, author.sent]
        marks += [owner.correspondent(False, part) for part in parts(correspondent)]
        marks += [author.correspondent(True, part) for part in parts(to)]
        return " ".join(marks)

    def _make_way(self, cursor: Cursor, volume: int) -> None:
        """If this volume is outdated, it goes."""
        if volume not in self._made:
            cursor.execute("DELETE FROM volumes WHERE number = ? AND outdated", (volume,))
            if cursor.rowcount:
                cursor.execute(f"DROP TABLE IF EXISTS words_{volume}")

    def _make(self, cursor: Cursor, volume: int) -> None:
        """Make sure that there is this volume."""
        if volume in self._made:
            return
        cursor.execute("INSERT OR IGNORE INTO volumes (number, outdated) VALUES (?, 0)", (volume,))
        if cursor.rowcount:
            words = f"words_{volume}"
            cursor.execute(creation(volume))
            # Otherwise it does so while messages enter, and for as long as it takes.
            for setting, value in (
                ("automerge", 0),
                ("crisismerge", 1000),
                ("usermerge", PIECES),
                ("pgsz", PAGE),
            ):
                cursor.execute(f"INSERT INTO {words} ({words}, rank) VALUES (?, ?)", (setting, value))
        self._made.add(volume)


def left(cursor: Cursor) -> Left:
    """What there is still to be indexed."""
    first, last, newest = cursor.execute("SELECT first, last, id FROM indexed, counters").fetchone()
    return Left(first, last, newest) if _counts(cursor) else Left(newest + 1, newest, newest)


def current(cursor: Cursor, highest: int) -> list[int]:
    """The volumes up to this one that count, the newest first."""
    if not _counts(cursor):
        return []
    found = cursor.execute(
        "SELECT number FROM volumes WHERE number <= ? AND NOT outdated ORDER BY number DESC", (highest,)
    )
    return [number for (number,) in found]


def _counts(cursor: Cursor) -> bool:
    """Whether what is indexed was indexed by the rules of today, or nothing is."""
    found = cursor.execute("SELECT 1 FROM indexed WHERE rules = ? OR last < first", (RULES,))
    return found.fetchone() is not None


def begin_anew(cursor: Cursor) -> None:
    """Nothing is indexed: the server lets everything enter anew, the newest messages first."""
    cursor.execute("UPDATE volumes SET outdated = 1")
    ((newest,),) = cursor.execute("SELECT id FROM counters").fetchall()
    cursor.execute("UPDATE indexed SET first = ?, last = ?, rules = ?", (newest + 1, newest, RULES))


def merge(cursor: Cursor, volume: int, pages: int) -> bool:
    """Bring some of what was written to a volume apart together; whether that was anything.

    @param pages: how much, at most; less than 0: until all is together, and nothing is left of what has left.
    """
    before = cursor.connection.total_changes
    words = f"words_{volume}"
    cursor.execute(f"INSERT INTO {words} ({words}, rank) VALUES ('merge', ?)", (pages,))
    return cursor.connection.total_changes - before > 1


def _batch(cursor: Cursor, low: int, high: int, order: str) -> tuple[list[tuple[Any, ...]], bool]:
    """Rows from the front of this range of ids, and whether they are all there are."""
    found = cursor.execute(
        f"SELECT {_COLUMNS} FROM ledger WHERE id BETWEEN ? AND ? ORDER BY id {order}", (low, high)
    )
    rows = []
    size = 0
    for row in found:
        rows.append(row)
        size += len(row[6] or "")
        if size >= BATCH_CHARACTERS or len(rows) == BATCH_MESSAGES:
            return rows, False
    return rows, True


def _indexed(cursor: Cursor, ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """Those of these messages that are in the range of the index, in their order."""
    first, last, _ = left(cursor)
    return cursor.execute(
        f"SELECT {_COLUMNS} FROM ledger WHERE id IN (SELECT value FROM json_each(?))"
        " AND id BETWEEN ? AND ? ORDER BY id",
        (json.dumps(list(ids)), first, last),
    ).fetchall()
