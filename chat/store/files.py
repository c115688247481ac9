"""The data directory: its lock, its three files, and whether they are fit to be used.

All of this blocks; it happens before anything runs.  Nothing is changed on disk
before everything was found in order.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from chat.errors import StartError
from chat.store.layout import APPLICATION, LOCK, NAMES, VERSIONS, Header, header, path, schema, schemas
from chat.store.layout import sync as _sync
from chat.store.modes import check_owner, tighten
from chat.store.opener import NOT_ONE, PLAIN, SECRET, Opener
from chat.store.upgrade import Steps, steps, upgrade

__all__ = [
    "APPLICATION",
    "LOCK",
    "NAMES",
    "VERSIONS",
    "DataDirectory",
    "Found",
    "Header",
    "header",
    "path",
    "schema",
    "schemas",
]

#: A table of each file that has rows once there is something to lose; messages.db is made
#: last: when it is there, the others were.
_FILLED = {"passwords": "passwords", "users": "accounts", "messages": "counters"}


class Found(NamedTuple):
    """What a file that is there holds: which data it belongs to, whether anything would be lost."""

    dataset: str
    filled: int
    version: int


class DataDirectory:
    """A data directory, held by this process from L{open} to L{close}.

    @ivar kept: where the files are as they were before L{open} upgraded them; C{None}: they were up to date.
    @ivar tightened: what others could get at before L{open}, a line for each.
    """

    def __init__(
        self,
        directory: Path,
        schemas: dict[str, str],
        steps: Steps | None = None,
        opener: Opener = PLAIN,
    ) -> None:
        """Nothing is touched yet.

        @param schemas: what L{schemas} says.
        @param steps: what L{chat.store.upgrade.steps} says; by default it is asked when it is needed.
        @param opener: how the files are opened.
        """
        self.directory = directory
        self.kept: Path | None = None
        self.tightened: list[str] = []
        self._schemas = schemas
        self._steps = steps
        self._opener = opener
        self._versions: dict[str, int] = {}
        self._lock: FileLock | None = None
        self._made: list[Path] = []

    def open(self) -> None:
        """Lock the directory and make sure that its files are there and fit.

        @raise chat.errors.StartError: they are not; nothing was changed.
        """
        try:
            self._opener.able()
            self._make_directory()
            self._acquire()
            self._check()
            self.tightened = tighten(self.directory)
            self._create_missing()
            self._upgrade()
        except BaseException:
            self.undo()
            raise

    def close(self) -> None:
        """Let the directory go."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def undo(self) -> None:
        """Let the directory go and remove what L{open} made: the start failed."""
        for made in reversed(self._made):
            if made.is_dir():
                with suppress(OSError):  # somebody has put something there meanwhile
                    made.rmdir()
            else:
                for suffix in ("", "-wal", "-shm", "-journal"):
                    Path(f"{made}{suffix}").unlink(missing_ok=True)
        self._made.clear()
        self.close()

    def _make_directory(self) -> None:
        directory = self.directory
        try:
            if not directory.is_dir():
                directory.mkdir(mode=0o700)
                self._made.append(directory)
                _sync(directory.parent)
            check_owner(directory)
        except OSError as error:
            raise StartError(
                f"The data directory {directory} cannot be made ({error.strerror}):"
                " make it, or name another one with --data."
            ) from None
        if not os.access(directory, os.W_OK | os.X_OK):
            raise StartError(
                f"The data directory {directory} cannot be written:"
                " give this user the right to write there, or name another one with --data."
            )

    def _acquire(self) -> None:
        file = self.directory / LOCK
        there = file.exists()
        lock = FileLock(file, timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise StartError(
                f"Another server is using the data directory {self.directory}:"
                " stop it, or name another directory with --data."
            ) from None
        except OSError as error:
            raise StartError(
                f"The data directory {self.directory} cannot be locked ({error.strerror}):"
                " give this user the right to write there, or name another one with --data."
            ) from None
        self._lock = lock
        if not there:
            self._made.append(file)

    def _check(self) -> None:
        """Every file that is there must be one of ours, whole, and of the same data."""
        found: dict[str, Found] = {}
        for name in NAMES:
            file = path(self.directory, name)
            if not file.exists():
                continue
            check_owner(file)
            try:
                found[name] = _inspect(file, _FILLED[name], VERSIONS[name], self._opener)
            except (OSError, sqlite3.Error) as error:
                raise StartError(_unreadable(file, self._opener, error)) from None
        missing = [name for name in NAMES if name not in found]
        if missing and any(each.filled for each in found.values()):
            raise StartError(
                f"{path(self.directory, missing[0])} is missing while others are there:"
                " restore the three files from a backup."
            )
        datasets = {each.dataset for each in found.values()}
        if len(datasets) > 1:
            raise StartError(
                f"The three files in {self.directory} do not belong together:"
                " restore all of them from the same backup."
            )
        self._dataset = datasets.pop() if datasets else secrets.token_hex(16)
        self._versions = {name: each.version for name, each in found.items()}

    def _upgrade(self) -> None:
        """Files of an earlier version become files of this one."""
        if any(version < VERSIONS[name] for name, version in self._versions.items()):
            self.kept = upgrade(
                self.directory,
                self._versions,
                steps() if self._steps is None else self._steps,
                self._opener,
            )

    def _create_missing(self) -> None:
        """Each new file is complete before it has its name."""
        for name in NAMES:
            file = path(self.directory, name)
            new = file.with_suffix(".new")
            try:
                for left in (new, Path(f"{new}-journal")):
                    if left.exists():  # by a start or a conversion that was cut short
                        left.unlink()
                if file.exists():
                    continue
                os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                self._made.append(new)
                with closing(self._opener.connect(new)) as connection:
                    connection.executescript(
                        f"BEGIN;{self._schemas[name]}"
                        f"INSERT INTO identity (dataset) VALUES ('{self._dataset}');"
                        f"PRAGMA application_id = {APPLICATION};"
                        f"PRAGMA user_version = {VERSIONS[name]};"
                        "COMMIT;"
                    )
                os.replace(new, file)
                self._made[-1] = file
                # Before the next one gets its name: after a power cut, too, messages.db is the last.
                _sync(self.directory)
            except (OSError, sqlite3.Error) as error:
                raise StartError(
                    f"{file} cannot be made ({error}): make room or give this user the right to write there."
                ) from None
            self._versions[name] = VERSIONS[name]


def _inspect(file: Path, table: str, known: int, opener: Opener) -> Found:
    """What the file holds; C{table} is the one that is empty as long as nothing does.

    @param known: the newest version of it that this program knows.
    @raise chat.errors.StartError: not a file of this program, or of a later version of it, or not
        encrypted as it should be.
    """
    journal = Path(f"{file}-journal").exists()
    wal = Path(f"{file}-wal").exists()
    found = header(file)
    if opener.encrypts(file):
        if found is not None:
            raise StartError(f"{file} {opener.mismatch(file)}.")
    elif found is None and not (journal or wal):
        raise StartError(_unreadable(file, opener, NOT_ONE))
    # Where a server was killed, SQLite would complete the writing; that has to wait until all is in order.
    # What a power cut left half done has to be undone first: without that, the file cannot be read.
    mode = "mode=ro" if wal and not journal else "mode=rw"
    if found is None:
        # Encrypted; or torn by a power cut, perhaps: what stands beside it may make it whole.
        with closing(opener.connect(file, mode)) as connection:
            application, version = (
                connection.execute(f"PRAGMA {what}").fetchone()[0]
                for what in ("application_id", "user_version")
            )
        found = Header(application, version)
    if found.application != APPLICATION:
        raise StartError(f"{file} is not a file of this server: name another directory with --data.")
    if not os.access(file, os.R_OK | os.W_OK):
        raise StartError(f"{file} cannot be read and written: give this user the right to.")
    with closing(opener.connect(file, mode)) as connection:
        # What the header says may be out of date: an upgrade can still lie in the log.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > known:
            raise StartError(
                f"{file} was written by a newer version of this server (schema {version},"
                f" this one knows up to {known}): start that version."
            )
        if version < 1:
            raise StartError(
                f"{file} is damaged: schema {version} is none. Restore the three files from a backup."
            )
        row = connection.execute(f"SELECT dataset, EXISTS (SELECT 1 FROM {table}) FROM identity").fetchone()
    if row is None:
        raise StartError(f"{file} is damaged: it has no identity. Restore the three files from a backup.")
    dataset, filled = row
    return Found(dataset, filled, version)


def _unreadable(file: Path, opener: Opener, why: object) -> str:
    """What is wrong with a file that SQLite cannot make anything of, and what to do."""
    if file.stem == SECRET and NOT_ONE in str(why) and header(file) is None:
        return f"{file} {opener.mismatch(file)}."
    return f"{file} is damaged or cannot be read ({why}): restore the three files from a backup."
