"""What must be true of the accounts, and of what belongs to each: its mailbox, its password, its tokens."""

from __future__ import annotations

import sqlite3

from chat.admin.books.ledger import Totals
from chat.admin.books.terms import EXISTED, Findings, account_state, listed, version_of
from chat.ledger import AccountState
from chat.wire.text_words import visible


def members(connection: sqlite3.Connection) -> dict[AccountState, int]:
    """How many accounts there are in each state."""
    found = dict(connection.execute("SELECT state, count(*) FROM users.accounts GROUP BY state"))
    return {state: found.get(state, 0) for state in AccountState}


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
        f" WHERE a.state IS NULL OR a.state NOT IN {EXISTED}"
    ):
        yield f"mailbox of account {account}: there is no such account: it should be in users.db"


def accounts(connection: sqlite3.Connection, _: Totals) -> Findings:
    """A name has one account at a time, and each account is in one lawful state."""
    known = listed(int(state) for state in AccountState)
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
            yield f"account {id}: {account_state(state)}, but freed at {freed}: it should not be freed"
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
    if version_of(connection, "passwords") > 1:  # the first version has no tokens
        for number, account in connection.execute(
            "SELECT id, account FROM passwords.tokens WHERE account NOT IN"
            " (SELECT account FROM passwords.passwords)"
        ):
            yield f"token {number}: of account {account}, which has no password: it should be gone"
    if version_of(connection, "passwords") > 2:
        for what, table in (("recovery codes", "recoveries"), ("a reset", "resets")):
            for (account,) in connection.execute(
                f"SELECT DISTINCT account FROM passwords.{table} WHERE account NOT IN"
                " (SELECT account FROM passwords.passwords)"
            ):
                yield f"account {account}: has {what}, but no password: they should be gone"


def invitations(connection: sqlite3.Connection, _: Totals) -> Findings:
    """No invitation was used more often than it was good for."""
    if version_of(connection, "users") > 1:
        for number, uses in connection.execute("SELECT id, uses FROM users.invitations WHERE uses < 0"):
            yield f"invitation {number}: good for {uses} accounts: it should be 0 or more"
