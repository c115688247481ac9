"""What must be true of the three files, as SQL: each check yields one line for each finding.

The connection is that of L{chat.admin.snapshot}: C{messages.db} is C{main}.  SQLite
does the work, and every check streams, so five million messages take no more
memory than five.  No subject, no body and no hash is ever read.
"""

from __future__ import annotations

import sqlite3
from typing import Callable

from chat.admin.books.files import identities, tables
from chat.admin.books.ids import folds, missing
from chat.admin.books.ledger import Totals, positions, refs, rows
from chat.admin.books.members import accounts, invitations, mailboxes, passwords
from chat.admin.books.places import index, indexes, notes
from chat.admin.books.terms import Findings

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
