"""Storage that takes a snapshot before and after each of its calls.

A storage call is: to open a database, each C{execute} and C{executemany} (so C{BEGIN} and C{ATTACH},
too), C{COMMIT} and C{ROLLBACK}, to close; and, where files are made, to make, rename, remove or
synchronize one.
"""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
import sqlite3
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, TypeVar
from unittest.mock import patch

from twisted.enterprise.adbapi import ConnectionPool

from chat.store import backup, files, layout, opener, upgrade
from chat.store.files import LOCK
from chat.store.pool import DirectPool
from tests.crash.known import Known

R = TypeVar("R")

#: What makes files, and changes them before the server runs.
MODULES = (layout, opener, files, backup, upgrade)


class Snapshot(NamedTuple):
    """One moment at which everything may have stopped.

    @ivar directory: what the next server finds.
    @ivar known: what the clients know.
    @ivar where: the moment, for a person.
    """

    directory: Path
    known: Known
    where: str


class Plain:
    """Storage as it is."""

    def pool(self, directory: Path) -> ConnectionPool:
        """See L{tests.crash.stage.Pools}."""
        return DirectPool(directory)


class Calls:
    """Storage that tells of each call: C{point("before COMMIT")}, C{point("after COMMIT")}."""

    def __init__(self, point: Callable[[str], None]) -> None:
        self._point = point
        self._inside = False

    def pool(self, directory: Path) -> ConnectionPool:
        """See L{tests.crash.stage.Pools}."""
        pool = DirectPool(directory)
        pool.dbapi = _Sqlite(self)
        return pool

    @contextmanager
    def installed(self) -> Iterator[None]:
        """What makes the files goes through here, too."""
        with ExitStack() as stack:
            for module in MODULES:
                for name, stand_in in (("sqlite3", _Sqlite(self)), ("os", _Os(self)), ("shutil", Shutil())):
                    if hasattr(module, name):
                        stack.enter_context(patch.object(module, name, stand_in))
            for name in ("mkdir", "rename", "rmdir", "unlink"):
                stack.enter_context(patch.object(Path, name, self._watched(getattr(Path, name), name)))
            yield

    def call(self, name: str, function: Callable[..., R], /, *arguments: Any, **keywords: Any) -> R:
        """Carry out one storage call."""
        if self._inside:
            return function(*arguments, **keywords)
        self._inside = True
        try:
            self._point(f"before {name}")
            result = function(*arguments, **keywords)
            self._point(f"after {name}")
            return result
        finally:
            self._inside = False

    def _watched(self, function: Callable[..., R], name: str) -> Callable[..., R]:
        def watched(*arguments: Any, **keywords: Any) -> R:
            return self.call(name, function, *arguments, **keywords)

        return watched


class _Cursor(sqlite3.Cursor):
    connection: _Connection

    def execute(self, statement: str, *parameters: Any) -> _Cursor:
        self.connection.calls.call(_short(statement), super().execute, statement, *parameters)
        return self

    def executemany(self, statement: str, parameters: Any) -> _Cursor:
        self.connection.calls.call(f"many {_short(statement)}", super().executemany, statement, parameters)
        return self

    def executescript(self, script: str) -> _Cursor:
        for statement in statements(script):
            self.execute(statement)
        return self


class _Connection(sqlite3.Connection):
    calls: Calls

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    # The short cuts do not come by there.

    def execute(self, statement: str, *parameters: Any) -> Any:
        return self.cursor().execute(statement, *parameters)

    def executemany(self, statement: str, parameters: Any) -> Any:
        return self.cursor().executemany(statement, parameters)

    def executescript(self, script: str) -> Any:
        return self.cursor().executescript(script)

    def commit(self) -> None:
        self.calls.call("COMMIT", super().commit)

    def rollback(self) -> None:
        self.calls.call("ROLLBACK", super().rollback)

    def backup(self, target: sqlite3.Connection, **keywords: Any) -> None:
        self.calls.call("backup", super().backup, target, **keywords)

    def close(self) -> None:
        self.calls.call("close", super().close)


class _Sqlite:
    """Stands in for the module C{sqlite3}."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, *arguments: Any, **keywords: Any) -> _Connection:
        """A connection that tells of each call."""
        connection = self._calls.call("open", sqlite3.connect, *arguments, factory=_Connection, **keywords)
        assert isinstance(connection, _Connection)
        connection.calls = self._calls
        return connection


class _Os:
    """Stands in for the module C{os}."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        function = getattr(os, name)
        if name not in ("open", "replace", "fsync"):
            return function
        return lambda *arguments, **keywords: self._calls.call(name, function, *arguments, **keywords)


class Shutil:
    """Stands in for the module C{shutil}: a folder is removed piece by piece, and may be stopped at each."""

    def __getattr__(self, name: str) -> Any:
        return getattr(shutil, name)

    def rmtree(self, folder: Path, ignore_errors: bool = False) -> None:
        """Remove the folder and all that is in it."""
        if ignore_errors and not folder.exists():
            return
        for each in sorted(folder.iterdir()):
            if each.is_dir():
                self.rmtree(each)
            else:
                each.unlink()
        folder.rmdir()


def _short(statement: str) -> str:
    return " ".join(statement.split())[:60]


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one."""
    begun = ""
    for part in script.split(";"):
        begun += part + ";"
        if sqlite3.complete_statement(begun):
            if begun.strip("; \n"):
                yield begun
            begun = ""


def leave_copy(directory: Path, copied: Path) -> None:
    """The files as C{kill -9} leaves them at this moment."""
    if directory.exists():
        shutil.copytree(directory, copied, ignore=shutil.ignore_patterns(LOCK))


def fingerprint(directory: Path, known: Known) -> bytes:
    """The same for two moments that nobody can tell apart."""
    digest = hashlib.blake2b(repr(known).encode())
    for name, content in contents(directory).items():
        digest.update(b"%b %d:" % (name.encode(), len(content)))
        digest.update(content)
    return digest.digest()


def contents(directory: Path) -> dict[str, bytes]:
    """Each file in a directory and its folders, byte by byte; none if there is no directory."""
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in sorted(directory.rglob("*"))
        if file.name != LOCK and file.is_file()
    }


class Snapshots:
    """Copies what is there at each of the moments, once if nothing has changed.

    @ivar points: how many moments there were.
    @ivar taken: those that differ from the one before.
    """

    def __init__(self, directory: Path, known: Known, place: Path, name: str) -> None:
        """Watch C{directory}; the copies go to C{place}."""
        self._directory = directory
        self._known = known
        self._place = place
        self._name = name
        self._last = b""
        self.points = 0
        self.taken: list[Snapshot] = []

    def point(self, what: str) -> None:
        """A moment."""
        self.points += 1
        now = fingerprint(self._directory, self._known)
        if now == self._last:
            return
        self._last = now
        copied = self._place / f"{self._name}-{self.points}"
        leave_copy(self._directory, copied)
        where = f"{self._name}, step {self._known.step}, point {self.points}, {what}"
        self.taken.append(Snapshot(copied, copy.deepcopy(self._known), where))
