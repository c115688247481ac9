"""SQLite on a L{Disk}: a VFS of C{apsw} that tells the disk what is written, and what synchronized.

The store uses C{sqlite3}, which can have no VFS of its own, so L{Dbapi} gives C{apsw} the part of that
module's interface that the store uses.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, NamedTuple
from unittest.mock import patch

import apsw
from twisted.enterprise.adbapi import ConnectionPool

from chat.store.pool import DirectPool
from tests.crash.disk import Disk, File, Folder
from tests.crash.storage import MODULES, Shutil

#: A write-ahead log of so many pages is copied into its file: with few, that happens now and then.
CHECKPOINT = 12
#: When one of these was made, its first synchronization includes the directory (os_unix.c).
_WITH_DIRECTORY = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class _Place(NamedTuple):
    """Where the disk has something."""

    folder: Folder
    name: str

    @property
    def file(self) -> File:
        """The file there, which is made if it was not there."""
        return self.folder.open(self.name)


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
                    for name, stand_in in (("sqlite3", self._dbapi), ("os", _Os(self)), ("shutil", Shutil())):
                        if hasattr(module, name):
                            stack.enter_context(patch.object(module, name, stand_in))
                for name, stood_in in (
                    ("unlink", self._removing(Path.unlink)),
                    ("rmdir", self._removing(Path.rmdir)),
                    ("mkdir", self._making(Path.mkdir)),
                    ("rename", self._renaming(Path.rename)),
                ):
                    stack.enter_context(patch.object(Path, name, stood_in))
                yield
        finally:
            self.vfs.unregister()

    def place(self, path: object) -> _Place | None:
        """Where the disk has this path; C{None} if it is none of its."""
        path = Path(os.fsdecode(path))  # type: ignore[arg-type]
        if self._disk.directory not in path.parents or path.name.endswith("-shm"):
            return None
        folder: Folder = self._disk
        for each in path.relative_to(self._disk.directory).parts[:-1]:
            folder = folder.folder(each)
        return _Place(folder, path.name)

    # --- files ---

    def open(self, place: _Place) -> File:
        """A file is opened, or made."""
        self._point(f"open {place.name}")
        return place.file

    def write(self, file: File, offset: int, content: bytes, name: str) -> None:
        """Bytes are written."""
        self._point(f"write {name}")
        file.write(offset, content)

    def truncate(self, file: File, size: int, name: str) -> None:
        """A file is cut."""
        self._point(f"truncate {name}")
        file.truncate(size)

    def sync(self, file: File, folder: Folder | None, name: str) -> None:
        """A file is synchronized, and perhaps the names in its folder."""
        self._point(f"sync {name}")
        file.sync()
        if folder is not None:
            folder.sync_names()

    # --- names ---

    def unlink(self, place: _Place, and_sync: bool = False) -> None:
        """A name is removed."""
        self._point(f"unlink {place.name}")
        place.folder.unlink(place.name)
        if and_sync:
            place.folder.sync_names()

    def _removing(self, remove: Callable[..., None]) -> Callable[..., None]:
        def removing(path: Path, **keywords: bool) -> None:
            place = self.place(path)
            if place is not None and path.exists():
                self.unlink(place)
            remove(path, **keywords)

        return removing

    def _making(self, make: Callable[..., None]) -> Callable[..., None]:
        def making(path: Path, **keywords: Any) -> None:
            place = self.place(path)
            if place is not None:
                self._point(f"mkdir {place.name}")
            make(path, **keywords)
            if place is not None:
                place.folder.make(place.name)

        return making

    def _renaming(self, rename: Callable[..., Path]) -> Callable[..., Path]:
        def renaming(path: Path, target: Path) -> Path:
            self._renamed(path, target, rename)
            return target

        return renaming

    def _renamed(self, old: Any, new: Any, rename: Callable[[Any, Any], object]) -> None:
        before, after = self.place(old), self.place(new)
        assert before is not None and after is not None and before.folder is after.folder
        self._point(f"rename {before.name} {after.name}")
        rename(old, new)
        before.folder.rename(before.name, after.name)

    def os_open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        """As C{os.open}."""
        descriptor = os.open(path, flags, mode)
        self._descriptors[descriptor] = Path(path)
        place = self.place(path)
        if flags & os.O_CREAT and place is not None:
            self.open(place)
        return descriptor

    def os_replace(self, old: Any, new: Any) -> None:
        """As C{os.replace}."""
        self._renamed(old, new, os.replace)

    def os_fsync(self, descriptor: int) -> None:
        """As C{os.fsync}, of a directory or of a file."""
        path = self._descriptors[descriptor]
        os.fsync(descriptor)
        self._point(f"sync {path.name}")
        place = self.place(path)
        if path == self._disk.directory:
            self._disk.sync_names()
        elif path == self._disk.directory.parent:
            self._disk.sync_parent()
        elif place is not None and path.is_dir():
            place.folder.folder(place.name).sync_names()
        elif place is not None:
            place.file.sync()


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
        place = None if path is None else self._storage.place(path)
        if place is None:
            return apsw.VFSFile("", name, flags)
        return _File(self._storage, place, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """A name is removed."""
        place = self._storage.place(filename)
        if place is not None and os.path.exists(filename):
            self._storage.unlink(place, bool(syncdir))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, storage: PoweredStorage, place: _Place, name: Any, flags: list[int]) -> None:
        made = bool(flags[0] & apsw.SQLITE_OPEN_CREATE)
        self._folder = place.folder if made and flags[0] & _WITH_DIRECTORY else None
        super().__init__("", name, flags)
        self._storage = storage
        self._called = place.name
        self._file = storage.open(place)

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
        self._storage.sync(self._file, self._folder, self._called)
        self._folder = None
        # The system itself need not: it is not its power that fails.


class Dbapi:
    """Stands in for the module C{sqlite3}."""

    Error = apsw.Error
    DatabaseError = apsw.Error
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
        return _Cursor(self, self._connection)

    def execute(self, statement: str, parameters: Any = ()) -> _Cursor:
        return self.cursor().execute(statement, parameters)

    def executescript(self, script: str) -> None:
        self._connection.execute(script)

    def create_function(
        self, name: str, narg: int, function: Callable[..., Any], *, deterministic: bool = False
    ) -> None:
        self._connection.create_scalar_function(name, function, narg, deterministic=deterministic)

    def backup(self, target: _Connection, *, name: str = "main") -> None:
        with target._connection.backup("main", self._connection, name) as copy:
            copy.step()

    def commit(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

    @property
    def total_changes(self) -> int:
        return self._connection.total_changes()

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        # One that only reads fails to get the lock to tidy up. SQLite takes that as it is; apsw raises it.
        with suppress(apsw.IOError):
            self._connection.close()


class _Cursor:
    def __init__(self, connection: _Connection, below: apsw.Connection) -> None:
        self.connection = connection
        self._connection = below
        self._cursor = below.cursor()
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
