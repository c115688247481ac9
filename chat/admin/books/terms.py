"""What every check is made of: its findings, and lists of states and versions of a schema as SQL has them."""

from __future__ import annotations

import sqlite3
from typing import Iterator

from chat.ledger import AccountState
from chat.store.layout import ALIASES

Findings = Iterator[str]


def listed(values: object) -> str:
    """A list for C{IN}, of members of an enumeration or of codes."""
    return "(" + ", ".join(repr(each) for each in sorted(values)) + ")"  # type: ignore[call-overload]


#: Accounts that ever existed for others.
EXISTED = listed({int(AccountState.ACTIVE), int(AccountState.LEAVING), int(AccountState.DELETED)})


def account_state(state: int) -> str:
    """The word for the state of an account, or its number where it is none."""
    return AccountState(state).name.lower() if state in set(AccountState) else f"in state {state}"


def version_of(connection: sqlite3.Connection, name: str) -> int:
    """The version of the schema that this file says it has."""
    (version,) = connection.execute(f"PRAGMA {ALIASES[name]}.user_version").fetchone()
    return int(version)


def as_called(connection: sqlite3.Connection, query: str) -> str:
    """The query in the words of this version of C{messages.db}."""
    return query.replace("m.options", "m.receipt") if version_of(connection, "messages") < 4 else query
