"""C{chatctl export}: one account's mailbox as a file."""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import IO

from chat.admin.command import CLEAN, Unusable, add_data, opening
from chat.admin.mailbox import account, records, write_lines, write_mbox
from chat.admin.snapshot import snapshot, steadily
from chat.store.opener import PLAIN, Opener
from chat.wire.text_words import visible

NAME = "export"
SUMMARY = "write one account's mailbox to a file"
RECORDED = True
DESCRIPTION = """\
Writes what is in the mailbox of an account, and what it sent, to standard
output or to a file that only its owner may read; with subjects and bodies.
The server may run or not; nothing is changed.

  jsonl  a heading, then one message a line, as JSON; "chatctl import" takes it
  mbox   for mail programs; control characters are not kept, and messages whose
         text is gone are left out
"""
#: Mailboxes up to this many bytes are kept in memory until they are written.
_SPOOL = 1024 * 1024
_BLOCK = 1024 * 1024


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument("account", metavar="NAME", help="whose mailbox")
    parser.add_argument("--format", choices=("jsonl", "mbox"), default="jsonl", help="default: jsonl")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="default: standard output")


def run(arguments: Namespace) -> int:
    """Write the mailbox."""
    with export(arguments.data, arguments.account, arguments.format, opening(arguments)) as found:
        if arguments.output is None:
            _show(found)
        else:
            _save(found, arguments.output)
    return CLEAN


def export(directory: Path, name: str, form: str = "jsonl", opener: Opener = PLAIN) -> IO[bytes]:
    """The mailbox of the account of this name as a file to be read once.

    @param form: C{jsonl} or C{mbox}.
    @raise Unusable: there is no such account, or the files cannot be read.
    """

    def read(_: object, shared: bool) -> IO[bytes]:
        out = _spool()
        with snapshot(directory, shared, opener) as connection:
            connection.text_factory = str
            id, prepared = account(connection, name)
            found = records(connection, id)
            if form == "mbox":
                write_mbox(found, out)
            else:
                write_lines(found, prepared, out)
        out.seek(0)
        return out

    try:
        return steadily(directory, read, opener)
    except OSError as error:
        raise Unusable(
            f"The mailbox cannot be copied ({error.strerror}): make room for temporary files, or name another"
            " place in TMPDIR."
        ) from None
    except (ValueError, sqlite3.Error) as error:
        raise Unusable(f'The mailbox cannot be read ({error}): see what "chatctl audit" finds.') from None


def _spool() -> IO[bytes]:
    # Not written at once: what is read counts only if the files stayed as they were.
    return tempfile.SpooledTemporaryFile(_SPOOL)


def _show(found: IO[bytes]) -> None:
    if sys.stdout.isatty():
        for line in found:  # for a person to look at: no program reads a terminal
            print(visible(line.decode(errors="replace").rstrip("\n")))
    elif hasattr(sys.stdout, "buffer"):
        _write(found, sys.stdout.buffer)
    else:
        sys.stdout.write(found.read().decode())


def _save(found: IO[bytes], file: Path) -> None:
    try:
        if file.exists() and not file.is_file():
            with open(file, "wb") as out:  # a device or a pipe, whose place is not to be taken
                _write(found, out)
        else:
            _replace(found, file)
    except OSError as error:
        raise Unusable(f"{file} cannot be written ({error.strerror}): name another file.") from None


def _replace(found: IO[bytes], file: Path) -> None:
    """Write a file that only its owner may read; until all of it is there, what was there stays."""
    descriptor, new = tempfile.mkstemp(prefix=".chatctl-", dir=file.parent)
    try:
        with open(descriptor, "wb") as out:
            _write(found, out)
            os.fsync(out.fileno())
        os.replace(new, file)
    except BaseException:
        os.unlink(new)
        raise


def _write(found: IO[bytes], out: IO[bytes]) -> None:
    while block := found.read(_BLOCK):
        out.write(block)
    out.flush()
