"""What must be true of the ids: each that was given out is in the ledger or folded, and not in both."""

from __future__ import annotations

import sqlite3

from chat.admin.books.ledger import FOLDED, Totals
from chat.admin.books.terms import Findings
from chat.admin.command import counted

#: A gap with more ids than this is named by its first and its last one.
LONGEST_LIST = 100_000


def missing(connection: sqlite3.Connection, totals: Totals) -> Findings:
    """Every id from 1 to the last one given out is there."""
    rows = connection.execute("SELECT id, position FROM counters LIMIT 2").fetchall()
    if len(rows) != 1:
        yield f"messages.db: table counters has {len(rows) or 'no'} rows: it should have one"
        return
    ((last, _),) = rows
    number, first, final = connection.execute(
        "SELECT ?1 + coalesce(sum(last - first + 1), 0),"
        " min(coalesce(?2, min(first)), coalesce(min(first), ?2)),"
        " max(coalesce(?3, max(last)), coalesce(max(last), ?3)) FROM folded",
        (totals.number, totals.first, totals.last),
    ).fetchone()
    whole = (first, final) == ((1, last) if last else (None, None))
    if number == last and whole and not any(_overlaps(connection)):
        return  # no id is there twice, so there is no room for a gap
    gaps = connection.execute(
        # The first id behind each gap, and the last one before it.
        "WITH known AS (SELECT id AS first, id AS last FROM ledger UNION ALL SELECT first, last FROM folded)"
        " SELECT before, first FROM (SELECT coalesce(max(last) OVER (ORDER BY first"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before, first FROM known)"
        " WHERE first > max(before, 0) + 1"
        " UNION ALL SELECT last, ?1 + 1 FROM (SELECT coalesce(max(last), 0) AS last FROM known)"
        " WHERE last < ?1",
        (last,),
    )
    for before, behind in gaps:
        begin, end = max(before + 1, 1), min(behind - 1, last)
        if end - begin < LONGEST_LIST:
            for id in range(begin, end + 1):
                yield f"message {id}: missing: it should be in the ledger, whatever became of it"
        else:
            yield (
                f"messages {begin} to {end}: missing, {counted(end - begin + 1, 'message')}:"
                " they should be in the ledger, whatever became of them"
            )


def _overlaps(connection: sqlite3.Connection) -> Findings:
    for (id,) in connection.execute(
        "SELECT m.id FROM folded AS f JOIN ledger AS m ON m.id BETWEEN f.first AND f.last"
    ):
        yield f"message {id}: folded, but in the ledger, too: it should be in one of them"
    for first, last, before in connection.execute(
        "SELECT first, last, before FROM (SELECT first, last, max(last) OVER (ORDER BY first"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM folded) WHERE first <= before"
    ):
        yield (
            f"messages {first} to {last}: folded, but so are those up to {before} before them:"
            " no message should be folded twice"
        )


def folds(connection: sqlite3.Connection, _: Totals) -> Findings:
    """Each folded run says what became of each of its messages, and none is in the ledger or folded twice."""
    yield from _overlaps(connection)
    negative = " OR ".join(f"{fate} < 0" for fate in FOLDED)
    for first, last, number, last_id in connection.execute(
        f"SELECT f.first, f.last, {' + '.join(FOLDED)}, c.id FROM folded AS f"
        " JOIN (SELECT max(id) AS id FROM counters) AS c"
        f" WHERE {' + '.join(FOLDED)} <> f.last - f.first + 1 OR f.first < 1 OR f.last > c.id OR {negative}"
    ):
        if not 1 <= first <= last <= last_id:
            yield f"messages {first} to {last}: folded, but never given out: they should be 1 to {last_id}"
        else:
            yield (
                f"messages {first} to {last}: folded, but there are fates for {number}:"
                f" there should be one for each of {last - first + 1}"
            )
