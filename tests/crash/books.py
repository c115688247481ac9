"""What the files of a stopped server hold, in a form in which two runs can be compared."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from chat.admin.audit import audit
from chat.store.files import NAMES, path

Rows = list[tuple[Any, ...]]

_QUERIES = {
    # Accounts by name: a sign-up that was cut short may have used up an id.
    "ledger": (
        "SELECT m.id, s.name, r.name, m.position, m.time, m.settled, m.state, m.options, m.ref, m.digest,"
        " m.code, m.addressee, m.subject, m.body"
        " FROM ledger AS m LEFT JOIN users.accounts AS s ON s.id = m.sender"
        " LEFT JOIN users.accounts AS r ON r.id = m.recipient ORDER BY m.id"
    ),
    "counters": "SELECT id, position FROM counters",
    "folded": "SELECT first, last, removed, returned, recalled, skipped FROM folded ORDER BY first",
    "mailboxes": (
        "SELECT a.name, b.waiting FROM mailboxes AS b LEFT JOIN users.accounts AS a ON a.id = b.account"
        " ORDER BY a.id"
    ),
    "stretches": (
        "SELECT a.name, n.box, n.stretch FROM stretches AS n"
        " LEFT JOIN users.accounts AS a ON a.id = n.account ORDER BY a.id, n.box, n.stretch"
    ),
    "accounts": "SELECT name, state, created, freed FROM users.accounts ORDER BY id",
    "blocks": (
        "SELECT a.name, b.name FROM users.blocks JOIN users.accounts AS a ON a.id = account"
        " JOIN users.accounts AS b ON b.id = blocked ORDER BY a.id, b.id"
    ),
    "invitations": "SELECT digest, uses FROM users.invitations ORDER BY digest",
    "recoveries": (
        "SELECT a.name, count(*) FROM passwords.recoveries AS r"
        " LEFT JOIN users.accounts AS a ON a.id = r.account GROUP BY r.account ORDER BY a.id"
    ),
    # The hash itself is salted.
    "passwords": (
        "SELECT a.name, substr(p.hash, 1, 7) FROM passwords.passwords AS p"
        " LEFT JOIN users.accounts AS a ON a.id = p.account ORDER BY a.id"
    ),
}


def books(directory: Path) -> dict[str, Rows]:
    """All that counts."""
    with closing(sqlite3.connect(path(directory, "messages"))) as connection:
        for name in ("users", "passwords"):
            connection.execute(f"ATTACH ? AS {name}", (str(path(directory, name)),))
        return {what: connection.execute(query).fetchall() for what, query in _QUERIES.items()}


def audited(directory: Path) -> None:
    """Nothing is unaccounted for, as far as there are files already."""
    if not all(path(directory, name).exists() for name in NAMES):
        return
    report = audit(directory)
    with report.findings as findings:
        if report.number:
            raise AssertionError(f"The audit found: {findings.read()}")


def compare(expected: dict[str, Rows], found: dict[str, Rows]) -> None:
    """They are the same; or which row is not."""
    for what, rows in expected.items():
        if found[what] != rows:
            missing = [row for row in rows if row not in found[what]]
            surplus = [row for row in found[what] if row not in rows]
            raise AssertionError(f"{what}: {missing} should be there, {surplus} should not")
