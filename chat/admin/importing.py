"""C{chatctl import}: what C{chatctl export} has written is in the mailbox again."""

from __future__ import annotations

import sqlite3
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import IO

from chat.admin.audit import Report, judge
from chat.admin.command import CLEAN, FINDINGS, Unusable, add_data, counted, opening
from chat.admin.gap import leave_out
from chat.admin.mailbox import Record, account, read_lines, records
from chat.admin.restore import held
from chat.admin.snapshot import headers
from chat.errors import Code
from chat.ledger import AUTOMATIC, IN_MAILBOX, RECEIPT, AccountState, State
from chat.store.layout import ALIASES, VERSIONS, path
from chat.store.opener import PLAIN, Opener
from chat.store.stretches import INBOX, SENT, Stretches
from chat.store.volumes import begin_anew
from chat.times import milliseconds

NAME = "import"
SUMMARY = "put an exported mailbox back (the server must not run)"
RECORDED = True
DESCRIPTION = """\
Puts the messages of a file that "chatctl export" has written (as jsonl) back
into the mailbox of the account. The account must exist, and the server must be
stopped: it keeps in memory what this changes. Everything is put back, or, if
anything is wrong with the file or the audit finds something afterwards, nothing.

A message keeps its id if that is free, or still its own; else it gets a new
one. What is there already stays as it is, so repeating an import is harmless.
It changes no other mailbox, except that what the account sent and what waited
there, but is gone, waits there again. Where a message that it sent was
delivered long ago, its fate is noted, without the text. Correspondents that
this server does not know are noted as accounts deleted long ago.
"""


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument("account", metavar="NAME", help="whose mailbox")
    parser.add_argument("file", metavar="FILE", type=Path, help="the file")


def run(arguments: Namespace) -> int:
    """Import, and say what was done."""
    try:
        with open(arguments.file, "rb") as lines:
            entry = load(arguments.data, arguments.account, lines, str(arguments.file), opening(arguments))
    except OSError as error:
        raise Unusable(f"{arguments.file} cannot be read ({error.strerror}).") from None
    if entry.report.number:
        with entry.report.findings as findings:
            sys.stdout.writelines(findings)
        print(f"{counted(entry.report.number, 'finding')}: nothing was imported")
        return FINDINGS
    print(
        f"{counted(entry.restored + entry.added, 'message')} imported"
        f" ({entry.moved:,} under a new id), {entry.passed:,} there already"
    )
    return CLEAN


def load(directory: Path, name: str, lines: IO[bytes], where: str, opener: Opener = PLAIN) -> Entry:
    """Put the messages of these lines into the mailbox of the account of this name.

    @param where: what the file is called.
    @raise Unusable: the server runs, there is no such account, or the file is not as it should be.
    """
    headers(directory, opener)
    with held(directory), closing(_opened(directory, opener)) as connection:
        id, prepared = account(connection, name)
        entry = Entry(connection, id, prepared)
        try:
            batch = list(read_lines(lines, where, prepared))
            # In a transaction of its own, as a commit over two files might be cut in between; alone it is
            # harmless.
            connection.execute("BEGIN IMMEDIATE")
            entry.meet(batch)
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            entry.put(batch)
            begin_anew(connection.cursor())
            entry.report = judge(connection)
            connection.execute("ROLLBACK" if entry.report.number else "COMMIT")
        except sqlite3.Error as error:
            raise Unusable(f"Nothing was imported ({error}): make room, or restore the files.") from None
        return entry


def _opened(directory: Path, opener: Opener) -> sqlite3.Connection:
    connection = opener.connect(path(directory, "messages"))
    try:
        opener.attach_others(connection, directory)
        for name, alias in ALIASES.items():
            if connection.execute(f"PRAGMA {alias}.user_version").fetchone() != (VERSIONS[name],):
                raise Unusable("The files are of an earlier version: start the server once to upgrade them.")
            connection.execute(f"PRAGMA {alias}.synchronous = FULL")
            connection.execute(f"PRAGMA {alias}.secure_delete = ON")
    except BaseException:
        connection.close()
        raise
    return connection


class Entry:
    """The entry of messages into the ledger, in one transaction.

    @ivar restored: how many are in the row that they always had.
    @ivar added: how many have a new row.
    @ivar moved: how many of those have another id than in the file.
    @ivar passed: how many were there already.
    @ivar report: what the audit found before the commit.
    """

    def __init__(self, connection: sqlite3.Connection, account: int, name: str) -> None:
        self._connection = connection
        self._account = account
        self._name = name
        self._now = int(time.time() * 1000)
        self._people: dict[str, tuple[int, bool]] = {name: (account, True)}
        self._id = self._position = 0
        self._stretches = Stretches()
        self.restored = self.added = self.moved = self.passed = 0
        self.report = Report()

    # --- people ---

    def meet(self, batch: list[Record]) -> None:
        """Find the accounts of all correspondents; those unknown here become accounts deleted long ago."""
        names = {record.sender for record in batch} | {record.recipient for record in batch}
        for name in sorted(names - self._people.keys()):
            row = self._connection.execute(
                "SELECT id, state FROM users.accounts WHERE name = ? AND state <> ?"
                " ORDER BY state = 2, id DESC LIMIT 1",
                (name, AccountState.JOINING),
            ).fetchone()
            if row is None:
                cursor = self._connection.execute(
                    # Freed so long ago that the name is not reserved: whoever wants it may have it.
                    "INSERT INTO users.accounts (name, state, created, freed) VALUES (?, ?, 0, 0)",
                    (name, AccountState.DELETED),
                )
                row = (cursor.lastrowid, AccountState.DELETED)
            self._people[name] = (row[0], row[1] == AccountState.ACTIVE)

    # --- messages ---

    def put(self, batch: list[Record]) -> None:
        """Enter all of them; the books are true afterwards."""
        execute = self._connection.execute
        self._id, self._position = execute("SELECT id, position FROM counters").fetchone()
        known = Counter(self._likeness(record) for record in records(self._connection, self._account))
        others: list[Record] = []
        for record in sorted(batch, key=lambda each: each.id):
            row = execute(
                # Sender, time and the one it was meant for stay the same whatever becomes of a message.
                "SELECT s.name, m.time, coalesce(m.addressee, r.name), m.recipient, m.state, m.code"
                " FROM ledger AS m JOIN users.accounts AS s ON s.id = m.sender"
                " JOIN users.accounts AS r ON r.id = m.recipient WHERE m.id = ?",
                (record.id,),
            ).fetchone()
            if row is not None and row[:3] == (record.sender, milliseconds(record.time), _meant(record)):
                known[self._likeness(record)] -= 1
                self._restore(record, *row[3:])
            elif row is None and self._free(record.id):
                self._add(record, record.id)
            else:
                others.append(record)
        for record in others:  # when all that keep their ids have them
            likeness = self._likeness(record)
            if known[likeness] > 0:
                known[likeness] -= 1
                self.passed += 1
            else:
                self._id += 1
                self.moved += 1
                self._add(record, self._id)
        execute("UPDATE counters SET id = ?, position = ?", (self._id, self._position))

    def _restore(self, record: Record, recipient: int, state: int, code: str | None) -> None:
        """Its row is there: give it back what it has lost, unless somebody else has decided otherwise."""
        if record.sender == self._name and (record.receipt or record.ref is not None):
            # From the mailbox of its recipient it came without these.
            self._connection.execute(
                "UPDATE ledger SET options = ?, ref = ?, digest = ?"
                " WHERE id = ? AND sender = ? AND ref IS NULL AND ? IS NULL",
                (
                    _options(record),
                    record.ref,
                    record.digest,
                    record.id,
                    self._account,
                    self._known_ref(record.ref),
                ),
            )
        own = recipient == self._account and state == State.REMOVED and record.recipient == self._name
        recalled = (
            state == State.RECALLED
            and record.sender == self._name
            and record.state == "waiting"
            and self._people[record.recipient] == (recipient, True)
        )
        came_back = record.returned is not None
        if record.body is None or not (own or recalled) or (code is not None) != came_back:
            self.passed += 1
            return
        waiting = record.state == "waiting"
        self._connection.execute(
            "UPDATE ledger SET state = ?, settled = iif(?, time, settled), subject = ?,"
            " body = ? WHERE id = ?",
            (State.WAITING if waiting else State.DELIVERED, waiting, record.subject, record.body, record.id),
        )
        self._stretches.note(self._connection.cursor(), INBOX, [recipient], [record.id])
        if waiting:
            self._count(recipient)
        self.restored += 1

    def _free(self, id: int) -> bool:
        """Whether no message ever had this id here; then it is taken now."""
        execute = self._connection.execute
        if id > self._id:
            if id > self._id + 1:
                leave_out(self._connection, self._id + 1, id - 1)
            self._id = id
            return True
        run = execute(
            "SELECT first, last FROM (SELECT * FROM folded WHERE first <= ?1 ORDER BY first DESC LIMIT 1)"
            " WHERE last >= ?1 AND skipped > 0",
            (id,),
        ).fetchone()
        if run is None:
            return False
        execute("DELETE FROM folded WHERE first = ?", run[:1])
        for first, last in ((run[0], id - 1), (id + 1, run[1])):
            if first <= last:
                leave_out(self._connection, first, last)
        return True

    def _add(self, record: Record, id: int) -> None:
        """A row of its own."""
        sender, _ = self._people[record.sender]
        recipient, active = self._people[record.recipient]
        state = State[record.state.upper()]
        code = addressee = None
        if record.returned is not None:
            code, addressee = record.returned.code, record.returned.recipient
        elif recipient != self._account and state is State.WAITING and not active:
            # It cannot wait for somebody who is not here: it comes back, as if it was sent now.
            recipient, code, addressee = sender, Code.UNKNOWN_RECIPIENT.value, record.recipient
        elif recipient != self._account and state is State.DELIVERED:
            state = State.REMOVED  # the mailbox that it was delivered to is not for this import to fill
        boxed = state in IN_MAILBOX
        ref, digest = record.ref, record.digest
        if self._known_ref(ref) is not None:
            ref = digest = None
        self._position += 1
        self._connection.execute(
            "INSERT INTO ledger (id, sender, recipient, position, time, settled, state, options, ref, digest,"
            " code, addressee, subject, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                id,
                sender,
                recipient,
                self._position,
                milliseconds(record.time),
                milliseconds(record.time) if state is State.WAITING else self._now,
                state,
                _options(record),
                ref,
                digest,
                code,
                addressee,
                record.subject if boxed else None,
                record.body if boxed else None,
            ),
        )
        cursor = self._connection.cursor()
        self._stretches.note(cursor, SENT, [sender], [id])
        if boxed:
            self._stretches.note(cursor, INBOX, [recipient], [id])
        if state is State.WAITING:
            self._count(recipient)
        self.added += 1

    def _likeness(self, record: Record) -> bytes:
        """The same of two records that tell of one message under different ids."""
        parts = [record.sender, _meant(record), record.time]
        if record.recipient == self._name or record.state != "delivered":
            parts += [repr(record.subject), repr(record.body)]  # the text of other mailboxes is not kept
        digest = blake2b(digest_size=16)
        for part in parts:
            digest.update(b"%d:%b" % (len(part), part.encode()))
        return digest.digest()

    def _known_ref(self, ref: str | None) -> int | None:
        """The message that the account has used this ref for."""
        row = self._connection.execute(
            "SELECT id FROM ledger WHERE sender = ? AND ref = ?", (self._account, ref)
        ).fetchone()
        return None if row is None else int(row[0])

    def _count(self, account: int) -> None:
        self._connection.execute(
            "INSERT INTO mailboxes (account, waiting, offered) VALUES (?, 1, 0)"
            " ON CONFLICT (account) DO UPDATE SET waiting = waiting + 1",
            (account,),
        )


def _options(record: Record) -> int:
    """What it was sent with, as the ledger holds it."""
    return (RECEIPT if record.receipt else 0) + (AUTOMATIC if record.automatic else 0)


def _meant(record: Record) -> str:
    """The name of the one it was sent to, who has it unless it came back."""
    return record.recipient if record.returned is None else record.returned.recipient
