"""C{chatctl backup}: the three files as they are at one moment, copied while the server runs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Callable

from chat.admin.audit import Report, audit
from chat.admin.command import CLEAN, FINDINGS, Unusable, add_data, counted, opening
from chat.admin.snapshot import snapshot, steadily
from chat.store.backup import copy, put_in_place, staging
from chat.store.layout import sync
from chat.store.opener import PLAIN, Opener
from chat.tls.certificate import own

NAME = "backup"
SUMMARY = "copy the three files as they are at one moment"
DESCRIPTION = """\
Copies users.db, passwords.db and messages.db as they are at one and the same
moment into a directory of its own, and audits the copy before it says that it
is done. The server may run or not; it goes on as ever meanwhile.

The directory must not exist, or be empty. It is made for its owner alone, and
so are the files: they hold the mail and the password hashes. Findings of the
audit are printed as "chatctl audit" does, and then there is no backup.

Not in it are the key and the certificate that the server has made for TLS
(tls-*.pem), which it names if there are any, and the password key.
"""


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument("target", metavar="DIR", type=Path, help="where the copy is to be")


def run(arguments: Namespace) -> int:
    """Copy, and say what was copied."""
    report = backup(arguments.data, arguments.target, opening(arguments))
    status = told(report, f"backup complete in {arguments.target}", "no backup was made")
    if status == CLEAN and (left := _left(arguments.data)):
        print(
            f"not in it: {' and '.join(left)}, which clients know the server by;"
            " copy them to a place as safe (cp -p)"
        )
    return status


def _left(directory: Path) -> list[str]:
    """Which files that the server cannot make again as they were are not in a backup of this directory."""
    pair = own(directory)
    return [file.name for file in (pair.certificate, pair.key) if file.exists()]


def told(report: Report, done: str, refused: str) -> int:
    """Print the findings or the success; the exit status."""
    with report.findings as findings:
        for line in findings:
            sys.stdout.write(line)
    if report.number:
        print(f"{counted(report.number, 'finding')}: {refused}")
        return FINDINGS
    assert report.totals is not None and report.accounts is not None  # else there was a finding
    messages = report.totals.number + sum(report.totals.folded.values()) - report.totals.folded["skipped"]
    accounts = sum(report.accounts.values())
    print(f"{done}: {counted(messages, 'message')}, {counted(accounts, 'account')}, nothing unaccounted for")
    return CLEAN


def backup(directory: Path, target: Path, opener: Opener = PLAIN) -> Report:
    """Copy the files of C{directory} into C{target}; where the audit finds something, nothing is left there.

    @return: what the audit of the copy found.
    @raise Unusable: they cannot be read, or C{target} is not empty or cannot be written.
    """
    try:
        made = _empty(target)
    except OSError as error:
        raise Unusable(f"{target} cannot be made ({error.strerror}): name another directory.") from None
    complete = False
    try:
        report = copied(directory, target, opener)
        complete = not report.number
        return report
    finally:
        if made and not complete:
            shutil.rmtree(target, ignore_errors=True)


def _empty(target: Path) -> bool:
    """Make the directory, unless there is an empty one. Whether it was made."""
    try:
        target.mkdir(mode=0o700)
        sync(target.parent)
        return True
    except FileExistsError:
        if not target.is_dir() or any(target.iterdir()):
            raise Unusable(f"{target} is not empty: name a directory that does not exist yet.") from None
        return False


def copied(
    source: Path, target: Path, opener: Opener, finish: Callable[[Path, Opener], None] | None = None
) -> Report:
    """Copy the files of one directory into another, unless the audit of the copy finds something.

    @param finish: what is still to be done to the copy, in a folder of its own, before the audit.
    @return: what it found.
    @raise Unusable: they cannot be copied.
    """
    folder: Path | None = None
    try:
        folder = staging(target)
        where = folder

        def read(_: object, shared: bool) -> None:
            shutil.rmtree(where)
            where.mkdir(mode=0o700)
            with snapshot(source, shared, opener) as connection:
                copy(connection, where, opener)

        steadily(source, read, opener)
        if finish is not None:
            finish(folder, opener)
        report = audit(folder, opener)
        if not report.number:
            _give(folder, target)
            put_in_place(folder)
        return report
    except (OSError, sqlite3.Error) as error:
        raise Unusable(
            f"{source} cannot be copied to {target} ({error}):"
            ' make room there; what "chatctl audit" finds comes first.'
        ) from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _give(folder: Path, target: Path) -> None:
    """Let the files belong to the owner of the directory: root may copy for the user of the server."""
    owner = target.stat()
    for file in folder.iterdir():
        if file.stat().st_uid != owner.st_uid:
            os.chown(file, owner.st_uid, owner.st_gid)
