"""What must be true of everything that helps to find messages: it holds what the ledger holds."""

from __future__ import annotations

import sqlite3
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Iterator

from chat.admin.books.ledger import INDEXES, Totals
from chat.admin.books.terms import Findings, version_of
from chat.admin.volumes import volumes
from chat.store.layout import VERSIONS
from chat.store.stretches import INBOX, SENT, STRETCH

#: A stretch, who says it, and the boxes that have something there: their accounts, and which they are.
_Side = tuple[int, str, set[tuple[int, int]]]
_STRETCH = itemgetter(0)

#: The versions of messages.db that have those which not all of them have.
_OF_ALL = range(1, VERSIONS["messages"] + 1)
_VERSIONS = {"ledger_sent": range(1, 3), "ledger_inbox": range(1, 3), "ledger_settled": _OF_ALL[1:]}
_BOXES = {INBOX: "inbox", SENT: "sent"}


def indexes(connection: sqlite3.Connection, totals: Totals) -> Findings:
    """What the indexes hold is what the ledger holds: what waits is found when it is looked for."""
    for index, condition in INDEXES.items():
        if version_of(connection, "messages") not in _VERSIONS.get(index, _OF_ALL):
            continue
        total = totals.indexed[index]
        query = f"SELECT {{}} FROM ledger AS m {{}} WHERE {condition}"
        (held,) = connection.execute(query.format("count(*)", f"INDEXED BY {index}")).fetchone()
        if held == total:
            continue
        yield (
            f"messages.db: index {index} has {held} entries: it should have {total};"
            f" stop the server and rebuild it with sqlite3 (REINDEX {index})"
        )
        lost = f"{query.format('id', 'NOT INDEXED')} EXCEPT {query.format('id', f'INDEXED BY {index}')}"
        for (id,) in connection.execute(lost):
            yield f"message {id}: is not in index {index}: it should be"


def notes(connection: sqlite3.Connection, _: Totals) -> Findings:
    """What the notes of the stretches say is what the ledger holds: a listing finds what is there."""
    if version_of(connection, "messages") < 3:
        return
    # Side by side, stretch by stretch: each of the two is read once, and little of it is kept.
    sides = merge(_due(connection), _noted(connection), key=_STRETCH)
    for stretch, found in groupby(sides, key=_STRETCH):
        places = {side: there for _, side, there in found}
        due, noted = (places.get(side, set()) for side in ("due", "noted"))
        for account, box in sorted(due ^ noted):
            where = f"{_BOXES.get(box, f'box {box}')} of account {account}: messages"
            where += f" {stretch * STRETCH} to {(stretch + 1) * STRETCH - 1}"
            if (account, box) in due:
                yield f"{where}: some are there, but that is not noted: it should be in stretches"
            else:
                yield f"{where}: noted in stretches, but none is there: it should not be noted"


def _due(connection: sqlite3.Connection) -> Iterator[_Side]:
    """The boxes with messages in each stretch of the ledger, in their order."""
    found = connection.execute(
        f"SELECT id / {STRETCH}, sender, recipient, state < 2 FROM ledger NOT INDEXED ORDER BY id"
    )
    for stretch, rows in groupby(found, key=_STRETCH):
        places = set()
        for _, sender, recipient, boxed in rows:
            places.add((sender, SENT))
            if boxed:
                places.add((recipient, INBOX))
        yield stretch, "due", places


def _noted(connection: sqlite3.Connection) -> Iterator[_Side]:
    """The boxes noted for each stretch, in their order."""
    found = connection.execute("SELECT stretch, account, box FROM stretches ORDER BY stretch")
    for stretch, rows in groupby(found, key=_STRETCH):
        yield stretch, "noted", {(account, box) for _, account, box in rows}


def index(connection: sqlite3.Connection, _: Totals) -> Findings:
    """The index has the messages that it should have, in the boxes that they are in, and no others."""
    return volumes(connection) if version_of(connection, "messages") > 4 else iter(())
