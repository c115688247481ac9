"""SQLite on a L{Disk}: a VFS of C{apsw} that tells the disk what is written, and what synchronized.

The store uses C{sqlite3}, which can have no VFS of its own, so L{Dbapi} gives C{apsw} the part of that
module's interface that the store uses.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator
from unittest.mock import patch

import apsw
from twisted.enterprise.adbapi import ConnectionPool

from chat.store.pool import DirectPool
from tests.crash.disk import Disk, File
from tests.crash.storage import MODULES

#: A write-ahead log of so many pages is copied into its file: with few, that happens now and then.
CHECKPOINT = 12
#: When one of these was made, its first synchronization includes the directory (os_unix.c).
_WITH_DIRECTORY = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class PoweredStorage:
    """Storage on a disk, see L{tests.crash.stage.Pools}; C{point} is called before each change to it."""

    def __init__(self, disk: Disk, point: Callable[[str], None]) -> None:
        self._disk = disk
        self._point = point
        self._descriptors: dict[int, Path] = {}
        self._dbapi = Dbapi(self)

    def pool(self, directory: Path) -> ConnectionPool:
        """The one connection to the files."""
        assert directory == self._disk.directory
        pool = DirectPool(directory)
        pool.dbapi = self._dbapi
        return pool

    @contextmanager
    def installed(self) -> Iterator[None]:
        """What makes the files goes through here, too."""
        self.vfs = _Vfs(self)
        try:
            with ExitStack() as stack:
                for module in MODULES:
                    for name, stand_in in (("sqlite3", self._dbapi), ("os", _Os(self))):
                        if hasattr(module, name):
                            stack.enter_context(patch.object(module, name, stand_in))
                stack.enter_context(patch.object(Path, "unlink", self._unlinking(Path.unlink)))
                yield
        finally:
            self.vfs.unregister()

    def name(self, path: object) -> str | None:
        """What the disk calls this path; C{None} if it is none of its."""
        path = Path(os.fsdecode(path))  # type: ignore[arg-type]
        if path.parent != self._disk.directory or path.name.endswith("-shm"):
            return None
        return path.name

    # --- files ---

    def open(self, name: str) -> File:
        """A file is opened, or made."""
        self._point(f"open {name}")
        return self._disk.open(name)

    def write(self, file: File, offset: int, content: bytes, name: str) -> None:
        """Bytes are written."""
        self._point(f"write {name}")
        file.write(offset, content)

    def truncate(self, file: File, size: int, name: str) -> None:
        """A file is cut."""
        self._point(f"truncate {name}")
        file.truncate(size)

    def sync(self, file: File, with_directory: bool, name: str) -> None:
        """A file is synchronized."""
        self._point(f"sync {name}")
        file.sync()
        if with_directory:
            self._disk.sync_directory()

    # --- names ---

    def unlink(self, name: str, and_sync: bool = False) -> None:
        """A name is removed."""
        self._point(f"unlink {name}")
        self._disk.unlink(name)
        if and_sync:
            self._disk.sync_directory()

    def _unlinking(self, unlink: Callable[..., None]) -> Callable[..., None]:
        def unlinking(path: Path, missing_ok: bool = False) -> None:
            name = self.name(path)
            if name is not None and path.exists():
                self.unlink(name)
            unlink(path, missing_ok=missing_ok)

        return unlinking

    def os_open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        """As C{os.open}."""
        descriptor = os.open(path, flags, mode)
        self._descriptors[descriptor] = Path(path)
        name = self.name(path)
        if flags & os.O_CREAT and name is not None:
            self.open(name)
        return descriptor

    def os_replace(self, old: Any, new: Any) -> None:
        """As C{os.replace}."""
        before, after = self.name(old), self.name(new)
        assert before is not None and after is not None
        self._point(f"rename {before} {after}")
        os.replace(old, new)
        self._disk.rename(before, after)

    def os_fsync(self, descriptor: int) -> None:
        """As C{os.fsync}, of a directory or of a file."""
        path = self._descriptors[descriptor]
        os.fsync(descriptor)
        self._point(f"sync {path.name}")
        name = self.name(path)
        if path == self._disk.directory:
            self._disk.sync_directory()
        elif path == self._disk.directory.parent:
            self._disk.sync_parent()
        elif name is not None:
            self._disk.open(name).sync()


class _Os:
    """Stands in for the module C{os}."""

    def __init__(self, storage: PoweredStorage) -> None:
        self.open = storage.os_open
        self.replace = storage.os_replace
        self.fsync = storage.os_fsync

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


class _Vfs(apsw.VFS):
    """The VFS of the system, watched."""

    def __init__(self, storage: PoweredStorage) -> None:
        self._storage = storage
        self.label = f"chat-{id(self)}"
        super().__init__(self.label, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        """A file that tells what is done to it; temporary ones need not."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        called = None if path is None else self._storage.name(path)
        if called is None:
            return apsw.VFSFile("", name, flags)
        return _File(self._storage, called, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """A name is removed."""
        called = self._storage.name(filename)
        if called is not None and os.path.exists(filename):
            self._storage.unlink(called, bool(syncdir))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, storage: PoweredStorage, called: str, name: Any, flags: list[int]) -> None:
        made = bool(flags[0] & apsw.SQLITE_OPEN_CREATE)
        self._with_directory = made and bool(flags[0] & _WITH_DIRECTORY)
        super().__init__("", name, flags)
        self._storage = storage
        self._called = called
        self._file = storage.open(called)

    def xWrite(self, data: Any, offset: int) -> None:
        """Bytes are written."""
        content = bytes(data)
        self._storage.write(self._file, offset, content, self._called)
        super().xWrite(content, offset)

    def xTruncate(self, newsize: int) -> None:
        """The file is cut."""
        self._storage.truncate(self._file, newsize, self._called)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        """What was written is there to stay."""
        self._storage.sync(self._file, self._with_directory, self._called)
        self._with_directory = False
        # The system itself need not: it is not its power that fails.


class Dbapi:
    """Stands in for the module C{sqlite3}."""

    Error = apsw.Error
    OperationalError = apsw.Error

    def __init__(self, storage: PoweredStorage) -> None:
        self._storage = storage

    def connect(self, database: Any, uri: bool = False, **_: Any) -> _Connection:
        """A connection on the disk; it is in autocommit mode, as with C{isolation_level=None}."""
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(str(database), flags=flags, vfs=self._storage.vfs.label)
        connection.wal_autocheckpoint(CHECKPOINT)
        return _Connection(connection)


class _Connection:
    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def cursor(self) -> _Cursor:
        return _Cursor(self._connection)

    def execute(self, statement: str, parameters: Any = ()) -> _Cursor:
        return self.cursor().execute(statement, parameters)

    def executescript(self, script: str) -> None:
        self._connection.execute(script)

    def commit(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


class _Cursor:
    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self.rowcount = -1
        self.lastrowid: int | None = None

    def execute(self, statement: str, parameters: Any = ()) -> _Cursor:
        before = self._connection.total_changes()
        self._cursor.execute(statement, parameters)
        self._changed(before)
        return self

    def executemany(self, statement: str, parameters: Iterable[Any]) -> _Cursor:
        before = self._connection.total_changes()
        self._cursor.executemany(statement, parameters)
        self._changed(before)
        return self

    def _changed(self, before: int) -> None:
        self.rowcount = self._connection.total_changes() - before
        self.lastrowid = self._connection.last_insert_rowid()

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> Any:
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)

    def close(self) -> None:
        self._cursor.close(True)
