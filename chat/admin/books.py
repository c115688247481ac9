"""What must be true of the three files, as SQL: each check yields one line for each finding.

The connection is that of L{chat.admin.snapshot}: C{messages.db} is C{main}.  SQLite
does the work, and every check streams, so five million messages take no more
memory than five.  No subject, no body and no hash is ever read.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Callable, Iterator, Mapping

from chat.admin.command import counted
from chat.admin.volumes import volumes
from chat.ledger import IN_MAILBOX, LAWFUL, AccountState, State
from chat.mailroom import NOTES
from chat.store.layout import ALIASES, APPLICATION, VERSIONS, Header, schema
from chat.store.stretches import INBOX, SENT, STRETCH
from chat.store.volumes import creation
from chat.wire.text_words import visible

Findings = Iterator[str]
#: A stretch, who says it, and the boxes that have something there: their accounts, and which they are.
_Side = tuple[int, str, set[tuple[int, int]]]
_STRETCH = itemgetter(0)

#: A gap with more ids than this is named by its first and its last one.
LONGEST_LIST = 100_000


def _in(values: object) -> str:
    """A list for C{IN}, of members of an enumeration or of codes."""
    return "(" + ", ".join(repr(each) for each in sorted(values)) + ")"  # type: ignore[call-overload]


_WITH_CONTENT = {int(state) for state in IN_MAILBOX | {State.DEAD}}
_CONTENT = _in(_WITH_CONTENT)
_NO_CONTENT = _in(int(state) for state in set(State) - _WITH_CONTENT)
_BOXED = _in(int(state) for state in IN_MAILBOX)
_UNBOXED = _in(int(state) for state in set(State) - IN_MAILBOX)
_KNOWN = _in(int(state) for state in State)
_PAIRS = sorted(LAWFUL)
_PAIR = {
    (state, back): f"(m.state = {int(state)} AND m.code IS {'NOT ' if back else ''}NULL)"
    for state, back in _PAIRS
}
_CODES = _in(code.value for code in NOTES)
#: Accounts that messages may be in the mailbox of, and those that ever existed for others.
_HAS_MAILBOX = _in({int(AccountState.ACTIVE), int(AccountState.LEAVING)})
_EXISTED = _in({int(AccountState.ACTIVE), int(AccountState.LEAVING), int(AccountState.DELETED)})

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
        f"s.state IS NULL OR s.state NOT IN {_EXISTED}",
        "sender, account {sender}, does not exist: it should be in users.db",
    ),
    (
        f"m.state IN {_BOXED} AND (r.state IS NULL OR r.state NOT IN {_HAS_MAILBOX})",
        "{name} in the mailbox of account {recipient}, which {fate}: it should be with its sender, or dead",
    ),
    (
        f"m.state IN {_UNBOXED} AND (r.state IS NULL OR r.state NOT IN {_EXISTED})",
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
_INDEXES = {
    "ledger_ref": "m.ref IS NOT NULL",
    "ledger_sent": "1",
    "ledger_inbox": "m.state < 2",
    "ledger_waiting": "m.state = 0",
    "ledger_settled": "m.state IN (2, 3)",
}
#: The versions of messages.db that have those which not all of them have.
_OF_ALL = range(1, VERSIONS["messages"] + 1)
_VERSIONS = {"ledger_sent": range(1, 3), "ledger_inbox": range(1, 3), "ledger_settled": _OF_ALL[1:]}
_BOXES = {INBOX: "inbox", SENT: "sent"}
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
    conditions = [_ANY, *(_PAIR[pair] for pair in _PAIRS), *_INDEXES.values()]
    asked = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
    query = f"SELECT count(*), min(m.id), max(m.id), {asked} FROM {_ROWS}"
    row = connection.execute(_as_called(connection, query)).fetchone()
    number, first, last, faulty, *found = row
    sums = ", ".join(f"coalesce(sum({fate}), 0)" for fate in FOLDED)
    folded = connection.execute(f"SELECT {sums} FROM folded").fetchone()
    return Totals(
        number,
        first,
        last,
        faulty,
        dict(zip(_PAIRS, found)),
        dict(zip(_INDEXES, found[len(_PAIRS) :])),
        dict(zip(FOLDED, folded)),
    )


def members(connection: sqlite3.Connection) -> dict[AccountState, int]:
    """How many accounts there are in each state."""
    found = dict(connection.execute("SELECT state, count(*) FROM users.accounts GROUP BY state"))
    return {state: found.get(state, 0) for state in AccountState}


# --- the files ---


def prepare(connection: sqlite3.Connection) -> None:
    """Files of an earlier version have no folded messages: that is no finding."""
    if _version(connection, "messages") == 1:
        connection.execute("CREATE TEMP TABLE folded (first, last, removed, returned, recalled, skipped)")


def _as_called(connection: sqlite3.Connection, query: str) -> str:
    """The query in the words of this version of C{messages.db}."""
    return query.replace("m.options", "m.receipt") if _version(connection, "messages") < 4 else query


def _version(connection: sqlite3.Connection, name: str) -> int:
    """The version of the schema that this file says it has."""
    (version,) = connection.execute(f"PRAGMA {ALIASES[name]}.user_version").fetchone()
    return int(version)


def labels(found: Mapping[str, Header]) -> Findings:
    """The files say that they are ours, and of this version."""
    for name, head in found.items():
        if head.application != APPLICATION:
            yield (
                f"{name}.db: application id {head.application:#x} is not that of a chat server:"
                f" it should be {APPLICATION:#x}"
            )
        if not 1 <= head.version <= VERSIONS[name]:
            yield f"{name}.db: schema version {head.version} is none: it should be {VERSIONS[name]}"


def tables(connection: sqlite3.Connection) -> Findings:
    """The tables and indexes are those of the schema, word for word."""
    for name, newest in VERSIONS.items():
        version = _version(connection, name)
        model = sqlite3.connect(":memory:")
        # What is no version at all was found by its label; it is held to the newest one.
        model.executescript(schema(name, version if 1 <= version <= newest else newest))
        if name == "messages" and version > 4:
            for (volume,) in connection.execute("SELECT number FROM volumes"):
                model.execute(creation(volume))
        query = "SELECT type || ' ' || name, sql FROM {}.sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
        expected = dict(model.execute(query.format("main")))
        model.close()
        found = dict(connection.execute(query.format(ALIASES[name])))
        for what in sorted(expected.keys() | found.keys()):
            if what not in found:
                yield f"{name}.db: {what} is missing: it should be there"
            elif what not in expected:
                yield f"{name}.db: {what} is unknown: it should not be there"
            elif found[what] != expected[what]:
                yield f"{name}.db: {what} was altered: it should be as the server made it"


def identities(connection: sqlite3.Connection) -> Findings:
    """The three files belong together."""
    datasets = set()
    for name, alias in ALIASES.items():
        rows = connection.execute(f"SELECT dataset FROM {alias}.identity LIMIT 2").fetchall()
        if len(rows) != 1:
            yield f"{name}.db: table identity has {len(rows) or 'no'} rows: it should have one"
        datasets.update(rows)
    if len(datasets) > 1:
        yield (
            "messages.db, users.db, passwords.db: the datasets differ:"
            " the three files should be from the same server and the same backup"
        )


# --- the ledger ---


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


def rows(connection: sqlite3.Connection, totals: Totals) -> Findings:
    """Each row of the ledger is in exactly one lawful state, and with accounts that exist."""
    if not totals.faulty:
        return
    faults = ", ".join(f"coalesce({condition}, 0)" for condition, _ in _FAULTS)
    query = (
        "SELECT m.id, m.state, m.code, m.sender, m.recipient, m.settled, m.options, m.position,"
        f" c.id, c.position, r.state, {faults} FROM {_ROWS} WHERE {_ANY}"
    )
    found = connection.execute(_as_called(connection, query))
    for row in found:
        id, state, code, sender, recipient, settled, options, position, last_id, last, account, *flags = row
        values = {
            "state": state,
            "name": State(state).name.lower() if state in set(State) else f"in state {state}",
            "code": code,
            "coded": "has no code" if code is None else f"has the code {code!a}",
            "sender": sender,
            "recipient": recipient,
            "settled": settled,
            "options": options,
            "position": position,
            "last_id": last_id,
            "last_position": last,
            "fate": "does not exist" if account is None else f"is {_account_state(account)}",
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


def indexes(connection: sqlite3.Connection, totals: Totals) -> Findings:
    """What the indexes hold is what the ledger holds: what waits is found when it is looked for."""
    for index, condition in _INDEXES.items():
        if _version(connection, "messages") not in _VERSIONS.get(index, _OF_ALL):
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
    if _version(connection, "messages") < 3:
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
    return volumes(connection) if _version(connection, "messages") > 4 else iter(())


# --- mailboxes and accounts ---


def mailboxes(connection: sqlite3.Connection, _: Totals) -> Findings:
    """The counts of the mailboxes are true, and each belongs to somebody."""
    waiting = "SELECT recipient, count(*) AS number FROM ledger WHERE state = 0 GROUP BY recipient"
    counts = connection.execute(
        f"SELECT w.recipient, w.number, b.waiting FROM ({waiting}) AS w"
        " LEFT JOIN mailboxes AS b ON b.account = w.recipient WHERE b.waiting IS NOT w.number"
        " UNION ALL SELECT account, 0, waiting FROM mailboxes AS b WHERE waiting <> 0"
        " AND NOT EXISTS (SELECT 1 FROM ledger WHERE state = 0 AND recipient = b.account)"
    )
    for account, number, said in counts:
        yield f"mailbox of account {account}: says that {said or 0} wait: it should say {number}"
    for account, offered, last in connection.execute(
        "SELECT b.account, b.offered, c.position"
        " FROM mailboxes AS b JOIN (SELECT max(position) AS position FROM counters) AS c"
        " WHERE b.offered NOT BETWEEN 0 AND c.position"
    ):
        yield f"mailbox of account {account}: offered up to position {offered}: it should be 0 to {last}"
    for (account,) in connection.execute(
        "SELECT b.account FROM mailboxes AS b LEFT JOIN users.accounts AS a ON a.id = b.account"
        f" WHERE a.state IS NULL OR a.state NOT IN {_EXISTED}"
    ):
        yield f"mailbox of account {account}: there is no such account: it should be in users.db"


def accounts(connection: sqlite3.Connection, _: Totals) -> Findings:
    """A name has one account at a time, and each account is in one lawful state."""
    known = _in(int(state) for state in AccountState)
    for id, state, freed in connection.execute(
        f"SELECT id, state, freed FROM users.accounts WHERE state NOT IN {known}"
        " OR (state = 2) <> (freed IS NOT NULL) OR id < 1"
    ):
        if state not in set(AccountState):
            yield f"account {id}: state {state} is none: it should be 0 to 3"
        elif id < 1:
            yield f"account {id}: this id was never given out: it should be 1 or more"
        elif freed is None:
            yield f"account {id}: deleted, but not freed: it should say when"
        else:
            yield f"account {id}: {_account_state(state)}, but freed at {freed}: it should not be freed"
    for id, name in connection.execute(
        "SELECT id, name FROM users.accounts AS a NOT INDEXED WHERE state <> 2 AND name IN"
        " (SELECT name FROM users.accounts NOT INDEXED WHERE state <> 2 GROUP BY name HAVING count(*) > 1)"
        " ORDER BY name, id"
    ):
        yield f"account {id}: another one is called {visible(name)}, too: it should be alone with its name"
    for id, last in connection.execute(
        "SELECT a.id, q.seq FROM (SELECT max(id) AS id FROM users.accounts) AS a"
        " LEFT JOIN users.sqlite_sequence AS q ON q.name = 'accounts' WHERE a.id > coalesce(q.seq, 0)"
    ):
        yield f"account {id}: the last id given out is said to be {last or 0}: it should be {id} or more"


def passwords(connection: sqlite3.Connection, _: Totals) -> Findings:
    """Each account has a password, each password an account, each token and code a password it stands for."""
    for (id,) in connection.execute(
        "SELECT id FROM users.accounts AS a WHERE state = 0"
        " AND NOT EXISTS (SELECT 1 FROM passwords.passwords WHERE account = a.id)"
    ):
        yield f"account {id}: has no password: it should have one in passwords.db"
    for account, state in connection.execute(
        "SELECT p.account, a.state FROM passwords.passwords AS p"
        " LEFT JOIN users.accounts AS a ON a.id = p.account WHERE a.state IS NULL OR a.state = 2"
    ):
        whose = "an account that does not exist" if state is None else "a deleted account"
        yield f"password of account {account}: belongs to {whose}: it should be gone"
    if _version(connection, "passwords") > 1:  # the first version has no tokens
        for number, account in connection.execute(
            "SELECT id, account FROM passwords.tokens WHERE account NOT IN"
            " (SELECT account FROM passwords.passwords)"
        ):
            yield f"token {number}: of account {account}, which has no password: it should be gone"
    if _version(connection, "passwords") > 2:
        for what, table in (("recovery codes", "recoveries"), ("a reset", "resets")):
            for (account,) in connection.execute(
                f"SELECT DISTINCT account FROM passwords.{table} WHERE account NOT IN"
                " (SELECT account FROM passwords.passwords)"
            ):
                yield f"account {account}: has {what}, but no password: they should be gone"


def invitations(connection: sqlite3.Connection, _: Totals) -> Findings:
    """No invitation was used more often than it was good for."""
    if _version(connection, "users") > 1:
        for number, uses in connection.execute("SELECT id, uses FROM users.invitations WHERE uses < 0"):
            yield f"invitation {number}: good for {uses} accounts: it should be 0 or more"


# --- the pages of the files ---


def pages(connection: sqlite3.Connection, pragma: str, aliases: Mapping[str, str] = ALIASES) -> Findings:
    """What SQLite says of the files.

    @param aliases: the files, and what they are called in SQL.
    @param pragma: C{quick_check}, or C{integrity_check}, which also holds the indexes to the tables.
    """
    for name, alias in aliases.items():
        try:
            for (text,) in connection.execute(f"PRAGMA {alias}.{pragma}(1000000)"):
                for line in text.splitlines():
                    if line != "ok" and not line.startswith("***"):
                        yield f"{name}.db: damaged: {line}"
        except sqlite3.DatabaseError as error:
            yield f"{name}.db: damaged: {error}"


#: What is looked at without the totals, and what with them.
BEFORE: tuple[Callable[[sqlite3.Connection], Findings], ...] = (tables, identities)
CHECKS: tuple[Callable[[sqlite3.Connection, Totals], Findings], ...] = (
    missing,
    folds,
    rows,
    positions,
    refs,
    indexes,
    notes,
    index,
    mailboxes,
    accounts,
    passwords,
    invitations,
)


def _account_state(state: int) -> str:
    return AccountState(state).name.lower() if state in set(AccountState) else f"in state {state}"
