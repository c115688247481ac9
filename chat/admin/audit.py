"""C{chatctl audit}: is every message that was ever accepted accounted for?"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Callable, Iterable, Iterator, Mapping

from chat.admin import books
from chat.admin.books import files, ledger, members
from chat.admin.books.terms import Findings
from chat.admin.command import CLEAN, FINDINGS, Unusable, add_data, counted, opening
from chat.admin.snapshot import alone, snapshot, steadily
from chat.ledger import AccountState, State
from chat.store.layout import ALIASES, Header
from chat.store.opener import PLAIN, Opener

NAME = "audit"
SUMMARY = "prove that every message ever accepted is accounted for"
DESCRIPTION = """\
Proves on the files that every message ever accepted is accounted for:

  - ids run from 1 to the last one given out, without a gap, counting the
    messages that were folded;
  - each message is in exactly one lawful state, with its content there as
    long as it must be, and with a sender and a recipient that exist;
  - no two messages are at one position, no ref was accepted twice;
  - the indexes hold what the ledger holds, so that what waits is found;
  - the count of each mailbox is true, and nothing is in the mailbox of an
    account that does not exist;
  - a name has one account at a time, each account has a password, and each
    password an account;
  - the three files belong together and are as the server made them.

The server may run or not: the audit sees one moment of all three files, only
reads, and leaves nothing behind. It never reads a subject, a body or a
password hash.

Each finding is one line on standard output: what it is about, with its id,
what is wrong, and what it should be.
"""
#: Findings up to this many bytes are kept in memory until they are printed.
_SPOOL = 1024 * 1024


def _spool() -> IO[str]:
    # Not printed at once: what is found counts only if the files stayed as they were.
    return tempfile.SpooledTemporaryFile(_SPOOL, "w+", encoding="utf-8")


@dataclass
class Report:
    """What an audit found.

    @ivar findings: the lines, each with its newline, to be read once from where it stands.
    @ivar number: how many they are.
    @ivar totals: of the ledger, or C{None} where that could not be read.
    @ivar accounts: how many in each state, or C{None}.
    """

    findings: IO[str] = field(default_factory=_spool)
    number: int = 0
    totals: ledger.Totals | None = None
    accounts: dict[AccountState, int] | None = None

    def add(self, lines: Iterable[str]) -> None:
        """Note these findings."""
        for line in lines:
            self.findings.write(f"{line}\n")
            self.number += 1


def audit(directory: Path, opener: Opener = PLAIN, *, deep: bool = False) -> Report:
    """Audit the files in this data directory; changes nothing.

    @param opener: how the files are opened.
    @param deep: have SQLite check every page of the files, too.
    @raise Unusable: there are no such files, they cannot be read, or they are of a later version.
    """
    report = steadily(directory, lambda found, shared: _audit(directory, found, shared, opener, deep), opener)
    report.findings.seek(0)
    return report


def judge(connection: sqlite3.Connection) -> Report:
    """Audit what this connection sees: what it has changed, too, and not committed yet.

    @param connection: has the files attached as L{ALIASES} says.
    """
    report = Report()
    _examine(connection, report, False)
    report.findings.seek(0)
    return report


def _audit(directory: Path, found: Mapping[str, Header], shared: bool, opener: Opener, deep: bool) -> Report:
    report = Report()
    report.add(files.labels(found))
    try:
        with snapshot(directory, shared, opener) as connection:
            _examine(connection, report, deep)
    except sqlite3.DatabaseError as error:
        before = report.number
        for name in ALIASES:
            report.add(_damage(directory, name, shared, opener))
        if report.number == before:
            report.add([f"messages.db, users.db, passwords.db: nothing proven: {error}"])
    return report


def _damage(directory: Path, name: str, shared: bool, opener: Opener) -> Iterator[str]:
    """What is wrong with this file, in SQLite's words."""
    try:
        with alone(directory, name, shared, opener) as connection:
            yield from files.pages(connection, "quick_check", {name: "main"})
    except sqlite3.DatabaseError as error:
        yield f"{name}.db: damaged: {error}"


def _examine(connection: sqlite3.Connection, report: Report, deep: bool) -> None:
    """Everything, as far as it can be read: what cannot is a finding, too."""
    broken = False

    def prove(check: Callable[..., Findings], *arguments: object) -> None:
        nonlocal broken
        try:
            report.add(check(connection, *arguments))
        except Exception as error:  # a damaged page may have anything in place of a value
            if isinstance(error, sqlite3.DatabaseError) and "full" in str(error):
                raise Unusable(
                    "There is no room for temporary files: make some, or name another place in SQLITE_TMPDIR."
                ) from None
            broken = True
            report.add([f"not proven: {(check.__doc__ or '').splitlines()[0]} ({error})"])

    def count(connection: sqlite3.Connection) -> Findings:
        """The ledger and the accounts can be read from end to end."""
        report.totals = ledger.totals(connection)
        report.accounts = members.members(connection)
        return iter(())

    files.prepare(connection)
    for check in (*books.BEFORE, count):
        prove(check)
    if report.totals is not None:
        for examine in books.CHECKS:
            prove(examine, report.totals)
    if deep:
        prove(files.pages, "integrity_check")
    elif broken:
        prove(files.pages, "quick_check")


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument(
        "--deep",
        action="store_true",
        help="have SQLite check every page of the files as well; this takes several times as long",
    )


def run(arguments: Namespace) -> int:
    """Audit, and print what was found."""
    report = audit(arguments.data, opening(arguments), deep=arguments.deep)
    with report.findings as findings:
        for line in findings:
            sys.stdout.write(line)
    if report.number:
        print(counted(report.number, "finding"))
        return FINDINGS
    assert report.totals is not None and report.accounts is not None  # else there was a finding
    print("\n".join(_summary(report.totals, report.accounts)))
    return CLEAN


def _summary(totals: ledger.Totals, accounts: dict[AccountState, int]) -> list[str]:
    states = totals.states
    folded = {fate: number for fate, number in totals.folded.items() if number and fate != "skipped"}
    lines = [f"{counted(totals.number + sum(folded.values()), 'message')} accepted"]
    for state in State:
        back, forth = states.get((state, True), 0), states.get((state, False), 0)
        came_back = f", {back:,} of them returned" if back and state is not State.DEAD else ""
        lines.append(f"  {state.name.lower():<10}{forth + back:>14,}{came_back}")
    if folded:
        fates = ", ".join(f"{number:,} {fate}" for fate, number in folded.items())
        lines.append(f"  {'folded':<10}{sum(folded.values()):>14,}: {fates}")
    if totals.folded["skipped"]:
        lines.append(f"{counted(totals.folded['skipped'], 'id')} left out by an import or a restore")
    lines.append(f"{counted(sum(accounts.values()), 'account')} ever made")
    lines.extend(f"  {state.name.lower():<10}{number:>14,}" for state, number in accounts.items())
    lines.append("nothing unaccounted for")
    return lines
