"""What must be true of each message in the ledger, and of one beside the other."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from chat.admin.books.terms import EXISTED, Findings, account_state, as_called, listed
from chat.ledger import IN_MAILBOX, LAWFUL, AccountState, State
from chat.letters import NOTES
from chat.times import LAST

_WITH_CONTENT = {int(state) for state in IN_MAILBOX | {State.DEAD}}
_CONTENT = listed(_WITH_CONTENT)
_NO_CONTENT = listed(int(state) for state in set(State) - _WITH_CONTENT)
_BOXED = listed(int(state) for state in IN_MAILBOX)
_UNBOXED = listed(int(state) for state in set(State) - IN_MAILBOX)
_KNOWN = listed(int(state) for state in State)
_PAIRS = sorted(LAWFUL)
_PAIR = {
    (state, back): f"(m.state = {int(state)} AND m.code IS {'NOT ' if back else ''}NULL)"
    for state, back in _PAIRS
}
_CODES = listed(code.value for code in NOTES)
#: Accounts that messages may be in the mailbox of.
_HAS_MAILBOX = listed({int(AccountState.ACTIVE), int(AccountState.LEAVING)})

#: What must not be, of one row of the ledger, and the words for it.  C{typeof} looks at a value's kind
#: without reading the value.  C{s} and C{r} are the accounts of sender and recipient, C{c} the counters.
_FAULTS = (
    (f"m.state NOT IN {_KNOWN}", "state {state} is none: it should be 0 to 4"),
    (
        f"m.state IN {_KNOWN} AND NOT ({' OR '.join(_PAIR.values())})",
        "{name}, but {coded}: that is no lawful pair",
    ),
    (f"m.code NOT IN {_CODES}", f"code {{code!a}} is not known: it should be one of {_CODES}"),
    ("(m.code IS NULL) AND m.addressee IS NOT NULL", "has an addressee, but no code: it should have both"),
    ("(m.code IS NOT NULL) AND m.addressee IS NULL", "has a code, but no addressee: it should have both"),
    (
        "m.code IS NOT NULL AND m.recipient IS NOT m.sender",
        "came back ({code!a}), but to account {recipient}: it should be with its sender, account {sender}",
    ),
    (
        f"m.state IN {_CONTENT} AND typeof(m.body) = 'null'",
        "{name}, but its body is gone: it should be there",
    ),
    (
        f"m.state IN {_NO_CONTENT} AND (typeof(m.body) <> 'null' OR typeof(m.subject) <> 'null')",
        "{name}, but its content is there: it should be gone",
    ),
    (
        "m.state = 0 AND m.settled <> m.time",
        "waiting, but settled at {settled}: it should not be settled yet",
    ),
    (
        f"m.state IN {_KNOWN} AND m.state <> 0 AND m.settled IS NULL",
        "{name}, but never settled: it should say when",
    ),
    (f"m.time NOT BETWEEN 0 AND {LAST}", "accepted at {time}: that is no moment from 1970 to 9999"),
    (f"m.settled NOT BETWEEN 0 AND {LAST}", "settled at {settled}: that is no moment from 1970 to 9999"),
    ("m.options NOT BETWEEN 0 AND 3", "options {options} are none: they should be 0 to 3"),
    ("m.ref IS NULL AND m.digest IS NOT NULL", "has a digest, but no ref: it should have both or none"),
    (
        f"m.state IN {_NO_CONTENT} AND m.ref IS NOT NULL AND m.digest IS NULL",
        "has a ref, but no digest: what its content was should be known",
    ),
    (
        "m.position NOT BETWEEN 1 AND c.position",
        "position {position} was never given out: it should be 1 to {last_position}",
    ),
    ("m.id NOT BETWEEN 1 AND c.id", "this id was never given out: it should be 1 to {last_id}"),
    (
        f"s.state IS NULL OR s.state NOT IN {EXISTED}",
        "sender, account {sender}, does not exist: it should be in users.db",
    ),
    (
        f"m.state IN {_BOXED} AND (r.state IS NULL OR r.state NOT IN {_HAS_MAILBOX})",
        "{name} in the mailbox of account {recipient}, which {fate}: it should be with its sender, or dead",
    ),
    (
        f"m.state IN {_UNBOXED} AND (r.state IS NULL OR r.state NOT IN {EXISTED})",
        "recipient, account {recipient}, does not exist: it should be in users.db",
    ),
    (
        f"m.state = {int(State.DEAD)} AND s.state = {int(AccountState.ACTIVE)}",
        "dead, but its sender, account {sender}, exists: it should wait there",
    ),
)
_ANY = " OR ".join(f"({condition})" for condition, _ in _FAULTS)
_ROWS = (
    "ledger AS m NOT INDEXED JOIN (SELECT max(id) AS id, max(position) AS position FROM counters) AS c"
    " LEFT JOIN users.accounts AS s ON s.id = m.sender LEFT JOIN users.accounts AS r ON r.id = m.recipient"
)
#: Each index on the ledger, with the rows that must be in it.
INDEXES = {
    "ledger_ref": "m.ref IS NOT NULL",
    "ledger_sent": "1",
    "ledger_inbox": "m.state < 2",
    "ledger_waiting": "m.state = 0",
    "ledger_settled": "m.state IN (2, 3)",
}
#: What became of the messages of a folded run; the last are ids that never were messages here.
FOLDED = ("removed", "returned", "recalled", "skipped")


@dataclass
class Totals:
    """What one walk through the whole ledger tells.

    @ivar first: the lowest id, or C{None}.
    @ivar last: the highest id, or C{None}.
    @ivar faulty: how many rows have a fault of their own.
    @ivar states: how many messages are in each lawful state.
    @ivar indexed: how many entries each index should have.
    @ivar folded: what became of the messages that are folded, see L{FOLDED}.
    """

    number: int
    first: int | None
    last: int | None
    faulty: int
    states: dict[tuple[State, bool], int]
    indexed: dict[str, int]
    folded: dict[str, int]


def totals(connection: sqlite3.Connection) -> Totals:
    """Walk through the ledger once, row by row, without the help of an index."""
    conditions = [_ANY, *(_PAIR[pair] for pair in _PAIRS), *INDEXES.values()]
    asked = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
    query = f"SELECT count(*), min(m.id), max(m.id), {asked} FROM {_ROWS}"
    row = connection.execute(as_called(connection, query)).fetchone()
    number, first, last, faulty, *found = row
    sums = ", ".join(f"coalesce(sum({fate}), 0)" for fate in FOLDED)
    folded = connection.execute(f"SELECT {sums} FROM folded").fetchone()
    return Totals(
        number,
        first,
        last,
        faulty,
        dict(zip(_PAIRS, found)),
        dict(zip(INDEXES, found[len(_PAIRS) :])),
        dict(zip(FOLDED, folded)),
    )


def rows(connection: sqlite3.Connection, totals: Totals) -> Findings:
    """Each row of the ledger is in exactly one lawful state, and with accounts that exist."""
    if not totals.faulty:
        return
    faults = ", ".join(f"coalesce({condition}, 0)" for condition, _ in _FAULTS)
    query = (
        "SELECT m.id, m.state, m.code, m.sender, m.recipient, m.time, m.settled, m.options, m.position,"
        f" c.id, c.position, r.state, {faults} FROM {_ROWS} WHERE {_ANY}"
    )
    found = connection.execute(as_called(connection, query))
    for row in found:
        id, state, code, sender, recipient, time, settled, options, position, last_id, last, *rest = row
        account, *flags = rest
        values = {
            "state": state,
            "name": State(state).name.lower() if state in set(State) else f"in state {state}",
            "code": code,
            "coded": "has no code" if code is None else f"has the code {code!a}",
            "sender": sender,
            "recipient": recipient,
            "time": time,
            "settled": settled,
            "options": options,
            "position": position,
            "last_id": last_id,
            "last_position": last,
            "fate": "does not exist" if account is None else f"is {account_state(account)}",
        }
        for flag, (_, words) in zip(flags, _FAULTS):
            if flag:
                yield f"message {id}: {words.format(**values)}"


def positions(connection: sqlite3.Connection, _: Totals) -> Findings:
    """No two messages are at the same position."""
    found = connection.execute(
        "SELECT id, position FROM ledger WHERE position IN"
        " (SELECT position FROM ledger NOT INDEXED GROUP BY position HAVING count(*) > 1)"
        " ORDER BY position, id"
    )
    for id, position in found:
        yield f"message {id}: another one is at position {position}, too: it should be alone there"


def refs(connection: sqlite3.Connection, _: Totals) -> Findings:
    """No sender has used a ref for two messages."""
    unique = connection.execute(
        "SELECT \"unique\" FROM pragma_index_list('ledger') WHERE name = 'ledger_ref'"
    ).fetchone()
    if unique == (1,):
        return  # as long as the index is as it was made, no two can get in
    found = connection.execute(
        "SELECT min(id), max(id), sender FROM ledger WHERE ref IS NOT NULL"
        " GROUP BY sender, ref HAVING count(*) > 1"
    )
    for first, last, sender in found:
        yield (
            f"message {last}: has the same sender, account {sender}, and the same ref as"
            f" message {first}: it should not have been accepted again"
        )
