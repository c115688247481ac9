"""Copies of the three files as they were at one moment: on disk, and whole, before they have their names."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from chat.store.layout import ALIASES, NAMES, path, sync
from chat.store.opener import PLAIN, Opener

#: Where a copy is until it is complete.
INCOMPLETE = "incomplete"


def copy(connection: sqlite3.Connection, directory: Path, opener: Opener = PLAIN) -> None:
    """Write what this connection sees into new files in this directory, for their owner alone.

    SQLite copies what the open transaction sees, whatever others commit meanwhile.  What is encrypted
    stays so, with the same key.

    @param connection: has the files attached as in L{ALIASES}, in a transaction that has read all of them.
    @param opener: what has opened them.
    """
    for name in NAMES:
        file = path(directory, name)
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(opener.connect(file)) as target:
            connection.backup(target, name=ALIASES[name])
    sync(directory)


def staging(directory: Path) -> Path:
    """A new folder in this directory, for its owner alone; what a copy that was cut short left there goes."""
    folder = directory / INCOMPLETE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def put_in_place(folder: Path) -> None:
    """Move the files of this folder, which are complete, one level higher; C{messages.db} last."""
    for name in NAMES:
        os.replace(path(folder, name), path(folder.parent, name))
        sync(folder.parent)
    folder.rmdir()
    sync(folder.parent)
