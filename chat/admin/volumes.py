"""What must be true of the index: it has the messages that it should have, and no others.

See L{chat.store.volumes}.  One volume is looked at after the other, so however many messages
there are, this takes the memory of one volume.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Iterator

from chat.admin.books.terms import version_of
from chat.store import stretches
from chat.store import volumes as store
from chat.store.spoken import MARK

Findings = Iterator[str]

#: A mark that says in whose inbox a message is, or who sent it.
_BOX = re.compile(f"{MARK}([0-9]+)([is])", re.ASCII)
_BOXES = {"i": "in the mailbox of", "s": "sent by"}


def volumes(connection: sqlite3.Connection) -> Findings:
    """Findings of all of them."""
    rows = connection.execute(
        "SELECT first, last, (SELECT max(id) FROM counters) FROM indexed LIMIT 2"
    ).fetchall()
    if len(rows) != 1:
        yield f"messages.db: table indexed has {len(rows) or 'no'} rows: it should have one"
        return
    ((first, last, newest),) = rows
    if newest is not None and not 1 <= first <= last + 1 <= newest + 1:
        yield f"index: of messages {first} to {last}: it should be within those given out, 1 to {newest}"
    # Outdated volumes count for nothing; before version 6 there were none.
    condition = "NOT outdated" if version_of(connection, "messages") > 5 else "TRUE"
    made = [number for (number,) in connection.execute(f"SELECT number FROM volumes WHERE {condition}")]
    due = connection.execute(
        "SELECT DISTINCT id / ? FROM ledger NOT INDEXED WHERE state < 2 AND id BETWEEN ? AND ?",
        (store.VOLUME, first, last),
    )
    for volume in sorted({*made, *(number for (number,) in due)}):
        if volume in made:
            yield from _volume(connection, volume, first, last)
        else:
            yield f"index: volume {volume} is missing: it should be there, for there are messages in it"
    yield from _moments(connection, first, last)


def _volume(connection: sqlite3.Connection, volume: int, first: int, last: int) -> Findings:
    """The boxes that it has for each message are those of the ledger."""
    low, high = volume * store.VOLUME, (volume + 1) * store.VOLUME - 1
    due = {
        id: {("i", recipient), ("s", sender)}
        for id, sender, recipient in connection.execute(
            "SELECT id, sender, recipient FROM ledger WHERE state < 2 AND id BETWEEN ? AND ?",
            (max(low, first), min(high, last)),
        )
    }
    for id, box in _held(connection, volume):
        try:
            due[id].remove(box)
        except KeyError:
            kind, account = box
            yield f"message {id}: indexed as {_BOXES[kind]} account {account}: it should not be"
    for id, left in sorted(due.items()):
        for kind, account in sorted(left):
            yield f"message {id}: {_BOXES[kind]} account {account}, but not indexed as such: it should be"


def _held(connection: sqlite3.Connection, volume: int) -> Iterator[tuple[int, tuple[str, int]]]:
    """Each message of a volume with each box that it is in, as far as the volume knows."""
    connection.execute(f"CREATE VIRTUAL TABLE temp.held USING fts5vocab(main, words_{volume}, instance)")
    try:
        # Those of boxes, which begin with a number; the others have words of subjects in them.
        for term, id in connection.execute(
            "SELECT term, doc FROM temp.held WHERE term >= ? AND term < ?", (f"{MARK}0", f"{MARK}:")
        ):
            if box := _BOX.fullmatch(term):
                yield id, (box[2], int(box[1]))
    finally:
        connection.execute("DROP TABLE temp.held")


def _moments(connection: sqlite3.Connection, first: int, last: int) -> Findings:
    """What is noted of the times of a stretch is true of each message in it: a search for days finds it."""
    for stretch, earliest, latest in connection.execute(
        f"SELECT stretch, low, high FROM (SELECT id / {stretches.STRETCH} AS stretch,"
        " min(time) AS low, max(time) AS high FROM ledger NOT INDEXED"
        " WHERE state < 2 AND id BETWEEN ? AND ? GROUP BY 1)"
        " LEFT JOIN moments USING (stretch) WHERE earliest IS NULL OR earliest > low OR latest < high",
        (first, last),
    ):
        begins = stretch * stretches.STRETCH
        yield (
            f"messages {begins} to {begins + stretches.STRETCH - 1}: accepted from {earliest} to"
            f" {latest}, but moments says otherwise: it should have all of that"
        )
