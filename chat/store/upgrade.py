"""From the schema of an earlier version to this one's: a backup first, then one transaction for each file.

SQLite does not commit over several files at once, so each transaction is complete but
for its commit before the first one is committed: what can go wrong goes wrong before.
A crash in between is no harm; the next start upgrades what is left.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import ExitStack, closing
from importlib.resources import files
from pathlib import Path
from typing import Mapping

from chat.errors import StartError
from chat.store.backup import copy
from chat.store.layout import ALIASES, NAMES, VERSIONS, path, sync
from chat.store.opener import PLAIN, Opener

#: The SQL of each step: the name of the file, and the version that it begins with.
Steps = Mapping["tuple[str, int]", str]


def steps() -> dict[tuple[str, int], str]:
    """The SQL of all upgrades there are. Read this before a chroot."""
    folder = files("chat.store") / "schema"
    return {
        (name, version): (folder / f"{name}-{version}-to-{version + 1}.sql").read_text("utf-8")
        for name in NAMES
        for version in range(1, VERSIONS[name])
    }


def upgrade(directory: Path, found: Mapping[str, int], steps: Steps, opener: Opener = PLAIN) -> Path:
    """Bring the files of a data directory, which this process holds, to the versions of this program.

    @param found: the version of each file as it is.
    @param opener: how they are opened.
    @return: the backup of the files as they were.
    @raise StartError: it cannot be done; nothing was changed.
    """
    try:
        kept = _keep(directory, found["messages"], opener)
    except (OSError, sqlite3.Error) as error:
        raise StartError(
            f"The files in {directory} cannot be copied ({error}), as they must be before they are upgraded:"
            " make room or give this user the right to write there."
        ) from None
    old = [name for name in NAMES if found[name] < VERSIONS[name]]
    with ExitStack() as stack:
        try:
            ready = {}
            for name in old:
                ready[name] = stack.enter_context(closing(opener.connect(path(directory, name))))
                _apply(ready[name], name, found[name], steps)
            # The one that takes most room goes first.
            for name in reversed(old):
                ready[name].execute("COMMIT")
        except sqlite3.Error as error:
            raise StartError(
                f"{path(directory, name)} cannot be upgraded from schema {found[name]} ({error}):"
                f" make room, or start the version before with the files in {kept}."
            ) from None
    return kept


def _keep(directory: Path, version: int, opener: Opener) -> Path:
    """Copy the three files, and be sure that the copies are whole."""
    folder = directory / f"backup-schema-{version}.incomplete"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        with closing(opener.connect(path(directory, "messages"))) as connection:
            opener.attach_others(connection, directory)
            connection.execute("BEGIN")
            for alias in ALIASES.values():
                connection.execute(f"SELECT count(*) FROM {alias}.sqlite_schema").fetchone()
            copy(connection, folder, opener)
        for name in NAMES:
            with closing(opener.connect(path(folder, name))) as connection:
                ((verdict,), *_) = connection.execute("PRAGMA quick_check").fetchall()
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"{name}.db is damaged: {verdict}")
        kept = _free(directory / f"backup-schema-{version}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        folder.rename(kept)
        sync(directory)
        return kept
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _free(folder: Path) -> Path:
    """This path, or one like it that nothing has yet."""
    free, number = folder, 1
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _apply(connection: sqlite3.Connection, name: str, version: int, steps: Steps) -> None:
    """All of it but the commit, without which nothing counts, whenever it ends."""
    script = "".join(steps[name, each] for each in range(version, VERSIONS[name]))
    connection.executescript(f"BEGIN IMMEDIATE;{script}PRAGMA user_version = {VERSIONS[name]};")
