"""What must be true of the three files as such: whose they are, what is declared in them, and their pages."""

from __future__ import annotations

import sqlite3
from typing import Mapping

from chat.admin.books.terms import Findings, version_of
from chat.store.layout import ALIASES, APPLICATION, VERSIONS, Header, schema
from chat.store.volumes import creation


def prepare(connection: sqlite3.Connection) -> None:
    """Files of an earlier version have no folded messages: that is no finding."""
    if version_of(connection, "messages") == 1:
        connection.execute("CREATE TEMP TABLE folded (first, last, removed, returned, recalled, skipped)")


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
        version = version_of(connection, name)
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
