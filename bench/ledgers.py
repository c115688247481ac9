"""Data directories that have grown: accounts and messages by the million, in minutes.

The server itself makes the first account and the first message; all others are copies of
those rows, written straight into the files and counted in the books, so that
C{chatctl audit} finds nothing amiss.  The bare loop's file can be grown likewise.  The messages
are not in the index of the search until L{index} puts them there, as a server does that has the
time for it.

    python -m bench.ledgers DIR --accounts 1000 --messages 5000000
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from bench import load
from bench.run import BARE, CHAT, make_room, started
from chat.store.spoken import prepare
from chat.store.stretches import INBOX, SENT, STRETCH
from chat.store.users import Users
from chat.store.volumes import Volumes

#: Begins the names of the two accounts whose rows all others are copies of.
FIRST = "first-"
#: Bytes in the body of each message.
BODY = 200
#: How many batches enter the index in one transaction.
_BATCHES = 50


def grow(data: Path, names: Sequence[str], messages: int = 0) -> None:
    """Make a data directory with these accounts, and with messages between pairs of them.

    The first half of C{names} has sent the messages, the second half has received and
    confirmed them, each one from one sender.  The password of all is L{load.PASSWORD}.
    """
    data.mkdir(parents=True, exist_ok=True)
    with started(CHAT, data) as server:
        crowd = load.Crowd(server.target, 1, body=BODY, prefix=FIRST)
        crowd.pipelined(1, 1)
        crowd.close()
    with closing(sqlite3.connect(data / "users.db", isolation_level=None)) as users:
        base = _accounts(users, names)
    with closing(sqlite3.connect(data / "passwords.db", isolation_level=None)) as passwords:
        _passwords(passwords, base, len(names))
    with closing(sqlite3.connect(data / "messages.db", isolation_level=None)) as ledger:
        _messages(ledger, base, len(names) // 2, messages)
    settle(data)


def grow_bare(data: Path, names: Sequence[str], messages: int) -> None:
    """The same messages in a file of the bare loop; it has no accounts."""
    data.mkdir(parents=True, exist_ok=True)
    with started(BARE, data):
        pass
    pairs = len(names) // 2
    with closing(sqlite3.connect(data / "messages.db", isolation_level=None)) as ledger:
        values = {"n": messages, "pairs": pairs, "body": f"{'0' * load.DIGITS} {'x' * (BODY - 10)}"}
        ledger.execute("CREATE TEMP TABLE name (number INTEGER PRIMARY KEY, name TEXT)")
        ledger.executemany("INSERT INTO name VALUES (?, ?)", list(enumerate(names)))
        insert = (
            f"{_NUMBERS} INSERT INTO message (id, sender, ref, recipient, time, subject, body, state)"
            " SELECT n, s.name, printf('grown-%012d', n), r.name, 1700000000000 + n, NULL, :body, 1"
            " FROM numbers CROSS JOIN name s ON s.number = n % :pairs"
            " CROSS JOIN name r ON r.number = :pairs + n % :pairs"
        )
        _in_bulk(ledger, "message", insert, values)
    settle(data)


def index(data: Path) -> None:
    """Let all messages enter the index, and nothing of that be left to be done."""
    with closing(sqlite3.connect(data / "messages.db", isolation_level=None)) as ledger:
        ledger.execute("ATTACH ? AS users", (str(data / "users.db"),))
        for pragma in ("synchronous = OFF", "cache_size = -65536", "wal_autocheckpoint = 20000"):
            ledger.execute(f"PRAGMA {pragma}")
        prepare(ledger)
        cursor = ledger.cursor()
        volumes = Volumes(Users(), lambda: 0)
        more = True
        while more:
            cursor.execute("BEGIN")
            for _ in range(_BATCHES):
                left = volumes.extend(cursor, True)
            cursor.execute("COMMIT")
            more = left.first > 1 or left.last < left.newest
        while volumes.renew(cursor, 1) is not None:
            pass
    settle(data)


def settle(data: Path, forget: bool = False) -> None:
    """Let these files be on the disk, so that nobody who measures waits for that.

    @param forget: let the kernel keep nothing of them in memory, as after a start of the machine.
    """
    for path in data.iterdir():
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
            if forget:
                os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(number)


_NUMBERS = (
    "WITH RECURSIVE numbers (n) AS (SELECT 1 WHERE :n > 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :n)"
)


def _accounts(users: sqlite3.Connection, names: Iterable[str]) -> int:
    """Make the accounts; their ids follow the one returned."""
    (base,) = users.execute("SELECT max(id) FROM accounts").fetchone()
    columns = _columns(users, "accounts")
    copy = _copy("accounts", columns, {"id": "?", "name": "?"})
    users.execute("BEGIN")
    users.executemany(copy, enumerate(names, base + 1))
    users.execute("COMMIT")
    return int(base)


def _passwords(passwords: sqlite3.Connection, base: int, count: int) -> None:
    columns = _columns(passwords, "passwords")
    copy = _copy("passwords", columns, {"account": ":base + n"}, "numbers")
    passwords.execute("BEGIN")
    passwords.execute(f"{_NUMBERS} {copy}", {"n": count, "base": base})
    passwords.execute("COMMIT")


def _messages(ledger: sqlite3.Connection, base: int, pairs: int, count: int) -> None:
    last, position = ledger.execute("SELECT id, position FROM counters").fetchone()
    values = {"n": count, "last": last, "position": position, "base": base, "pairs": pairs}
    told = {
        "id": ":last + n",
        "sender": ":base + 1 + n % :pairs",
        "recipient": ":base + 1 + :pairs + n % :pairs",
        "position": ":position + n",
        "time": "template.time + n",
        "settled": "template.time + n + 1",
        "state": "1",
        "ref": "printf('grown-%012d', n)",
    }
    copy = _copy("ledger", _columns(ledger, "ledger"), told, "numbers")
    _in_bulk(ledger, "ledger", f"{_NUMBERS} {copy}", values)
    ledger.execute("BEGIN")
    ledger.execute(
        "INSERT INTO mailboxes (account, waiting, offered)"
        " SELECT recipient, 0, max(position) FROM ledger WHERE id > ? GROUP BY recipient",
        (last,),
    )
    ledger.execute(
        "INSERT OR IGNORE INTO stretches (account, box, stretch)"
        " SELECT recipient, :inbox, id / :stretch FROM ledger WHERE id > :last"
        " UNION SELECT sender, :sent, id / :stretch FROM ledger WHERE id > :last",
        {"inbox": INBOX, "sent": SENT, "stretch": STRETCH, "last": last},
    )
    ledger.execute("UPDATE counters SET id = id + ?, position = position + ?", (count, count))
    ledger.execute("COMMIT")


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _copy(table: str, columns: Sequence[str], told: dict[str, str], each: str = "") -> str:
    """A statement that copies the first row, once for each row of C{each}, but for what is told."""
    values = ", ".join(told.get(column, f"template.{column}") for column in columns)
    source = f"(SELECT * FROM {table} ORDER BY rowid LIMIT 1) AS template"
    if each:
        source = f"{each} CROSS JOIN {source}"
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {source}"


def _in_bulk(connection: sqlite3.Connection, table: str, insert: str, values: dict[str, object]) -> None:
    """Insert many rows; the indexes are built behind them, which is far faster."""
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
        (table,),
    ).fetchall()
    # Whoever loses these files makes them anew.
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -262144")
    connection.execute("BEGIN")
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    connection.execute(insert, values)
    for _, sql in indexes:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")


def crowd_names(pairs: int, prefix: str = "") -> list[str]:
    """The accounts of a L{load.Crowd}: first those who send, then those who receive."""
    return [f"{prefix}{role}{number}" for role in "sr" for number in range(pairs)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a data directory."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.ledgers", description="Make a grown data directory."
    )
    parser.add_argument("data", type=Path, metavar="DIR", help="a folder that is not there yet")
    parser.add_argument("--accounts", type=int, default=100, help="half of them senders (%(default)s)")
    parser.add_argument(
        "--messages", type=int, default=100_000, help="all delivered, and in the index (%(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.data.exists():
        parser.error(f"{options.data} is there already")
    try:
        grow(options.data.resolve(), crowd_names(options.accounts // 2), options.messages)
        index(options.data.resolve())
    except (load.LoadError, OSError, sqlite3.Error) as error:
        print(f"bench.ledgers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
