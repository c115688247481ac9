"""Where in the ledger the messages of a box are: a coarse index, kept by hand.

The ledger is cut into stretches of L{STRETCH} ids.  For each box (an account's
inbox, or what it has sent) there is a row for every stretch with a message of
it, so a listing looks through those stretches and no others.  An index of
SQLite would have one entry for every message, each written at another place
in the file: two of them cost as much as all else that accepting takes.
"""

from __future__ import annotations

from typing import Any, Iterator, Sequence

from chat.store.commit import Cursor

#: How many ids a stretch has. With fewer, notes are written too often; with more, a listing looks
#: through too many messages of others for each of its own.
STRETCH = 1024
#: The boxes, as C{stretches.box} holds them.
INBOX, SENT = 0, 1
#: What holds for the messages in each.
IN_BOX = {INBOX: "recipient = ? AND state < 2", SENT: "sender = ?"}

#: The account, the box, and the number of the stretch.
Place = tuple[int, int, int]

#: How many notes are remembered; more are looked up again.
_REMEMBERED = 10_000
_SOMETHING_LEFT = {
    box: f"SELECT 1 FROM ledger WHERE id BETWEEN ? AND ? AND {condition} LIMIT 1"
    for box, condition in IN_BOX.items()
}


class Stretches:
    """The notes. Runs in the database thread."""

    def __init__(self) -> None:
        self._noted: set[Place] = set()

    def forget(self) -> None:
        """What was remembered may not be true any more."""
        self._noted.clear()

    def note(self, cursor: Cursor, box: int, accounts: Sequence[int], ids: Sequence[int]) -> None:
        """Messages have come into this box of these accounts, one each.

        @param ids: those of the messages.
        """
        stretches = {id // STRETCH for id in ids}
        if len(stretches) == 1:  # as nearly always
            new = {(account, box, stretch) for stretch in stretches for account in set(accounts)}
        else:
            new = {(account, box, id // STRETCH) for account, id in zip(accounts, ids)}
        new -= self._noted
        if new:
            cursor.executemany(
                "INSERT OR IGNORE INTO stretches (account, box, stretch) VALUES (?, ?, ?)", new
            )
            if len(self._noted) + len(new) > _REMEMBERED:
                self._noted.clear()
            self._noted |= new

    def leave(self, cursor: Cursor, box: int, accounts: Sequence[int], ids: Sequence[int]) -> None:
        """The same have left it: strike out the notes with nothing behind them."""
        for place in {(account, box, id // STRETCH) for account, id in zip(accounts, ids)}:
            account, _, stretch = place
            first = stretch * STRETCH
            if not cursor.execute(_SOMETHING_LEFT[box], (first, first + STRETCH - 1, account)).fetchone():
                self._noted.discard(place)
                cursor.execute("DELETE FROM stretches WHERE account = ? AND box = ? AND stretch = ?", place)


def behind(cursor: Cursor, account: int, box: int, after: int, most: int) -> list[int]:
    """The first C{most} stretches with messages of a box from C{after} on."""
    found = cursor.execute(
        "SELECT stretch FROM stretches WHERE account = ? AND box = ? AND stretch >= ?"
        " ORDER BY stretch LIMIT ?",
        (account, box, (after + 1) // STRETCH, most),
    )
    return [stretch for (stretch,) in found]


def ahead(cursor: Cursor, account: int, box: int, before: int, most: int) -> list[int]:
    """The last C{most} stretches with messages of a box up to C{before}, the last one first."""
    found = cursor.execute(
        "SELECT stretch FROM stretches WHERE account = ? AND box = ? AND stretch <= ?"
        " ORDER BY stretch DESC LIMIT ?",
        (account, box, (before - 1) // STRETCH, most),
    )
    return [stretch for (stretch,) in found]


def look(
    cursor: Cursor, columns: str, account: int, box: int, stretch: int, after: int
) -> Iterator[tuple[Any, ...]]:
    """These columns of a box's messages in one stretch, those with an id above C{after}, in their order."""
    first = stretch * STRETCH
    return cursor.execute(
        f"SELECT {columns} FROM ledger WHERE id BETWEEN ? AND ? AND {IN_BOX[box]} ORDER BY id",
        (max(first, after + 1), first + STRETCH - 1, account),
    )


def look_back(
    cursor: Cursor, columns: str, account: int, box: int, stretch: int, before: int
) -> Iterator[tuple[Any, ...]]:
    """The same of those with an id below C{before}, the last one first."""
    first = stretch * STRETCH
    return cursor.execute(
        f"SELECT {columns} FROM ledger WHERE id BETWEEN ? AND ? AND {IN_BOX[box]} ORDER BY id DESC",
        (first, min(first + STRETCH, before) - 1, account),
    )
