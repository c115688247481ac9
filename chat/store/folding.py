"""Folding: of messages that were settled long ago only runs of ids remain, and what became of them.

Runs in the database thread.  The audit's sum stays what it was: each id is in a
row of the ledger or in one run.
"""

from __future__ import annotations

from typing import Sequence

from chat.ledger import State
from chat.store.commit import Cursor
from chat.store.stretches import SENT, Stretches

#: How many messages one transaction folds.
FOLDED_AT_ONCE = 1000

#: A run: its first and last id, and how many were removed, returned and recalled.
Run = list[int]


def fold(cursor: Cursor, before: int, stretches: Stretches) -> bool:
    """Fold some of the messages that are in no mailbox and were settled before this moment.

    Whether there may be more.  A dead letter is never folded.
    """
    rows = cursor.execute(
        "SELECT id, state, code IS NOT NULL, sender FROM ledger WHERE state IN (2, 3) AND settled < ?"
        " ORDER BY settled LIMIT ?",
        (before, FOLDED_AT_ONCE),
    ).fetchall()
    for run in _runs(sorted(rows)):
        cursor.execute("DELETE FROM ledger WHERE id BETWEEN ? AND ?", run[:2])
        _enter(cursor, run)
    stretches.leave(cursor, SENT, [row[3] for row in rows], [row[0] for row in rows])
    return len(rows) == FOLDED_AT_ONCE


def _runs(rows: Sequence[tuple[int, int, int, int]]) -> list[Run]:
    """The runs of consecutive ids among these rows of id, state, whether it came back, and sender."""
    runs: list[Run] = []
    for id, state, back, _ in rows:
        if not runs or id != runs[-1][1] + 1:
            runs.append([id, id - 1, 0, 0, 0])
        run = runs[-1]
        run[1] = id
        run[4 if state == State.RECALLED else 3 if back else 2] += 1
    return runs


def _enter(cursor: Cursor, run: Run) -> None:
    """Note the run as one with those that it touches."""
    neighbours = cursor.execute(
        # The ids that an import left out stay apart: it may be for another import to fill them.
        "SELECT * FROM (SELECT * FROM folded WHERE first < ?1 ORDER BY first DESC LIMIT 1)"
        " WHERE last = ?1 - 1 AND skipped = 0"
        " UNION ALL SELECT * FROM folded WHERE first = ?2 + 1 AND skipped = 0",
        run[:2],
    ).fetchall()
    for first, last, *numbers, _ in neighbours:
        cursor.execute("DELETE FROM folded WHERE first = ?", (first,))
        run[0], run[1] = min(run[0], first), max(run[1], last)
        for place, number in enumerate(numbers, 2):
            run[place] += number
    cursor.execute(
        "INSERT INTO folded (first, last, removed, returned, recalled, skipped) VALUES (?, ?, ?, ?, ?, 0)",
        run,
    )
