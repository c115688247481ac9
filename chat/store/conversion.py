"""passwords.db becomes encrypted, or plain again, or gets another key: at any moment it is there, and whole.

The new file is written beside the old one, looked through, and takes its name; a crash
leaves either one or the other, and perhaps a file in the making, which the next start removes.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any, Iterator

from chat.errors import StartError
from chat.store.layout import APPLICATION, path, sync
from chat.store.opener import NOT_ONE, SECRET, Opener

_BLOCK = 1024 * 1024
#: Not tables that can be made: SQLite makes them.
_OWN = "sqlite_%"


def convert(directory: Path, old: Opener, new: Opener) -> bool:
    """Have C{new} open passwords.db, which C{old} opened before; no server may use it.

    @return: whether what was there before is overwritten, in the file and in its logs.
    @raise StartError: it cannot be done; nothing was changed.
    """
    file = path(directory, SECRET)
    made = file.with_suffix(".new")
    logs = [Path(f"{file}-wal"), Path(f"{file}-journal")]
    try:
        with ExitStack() as stack:
            # Before SQLite removes them: there are passwords in them as well.
            left = [stack.enter_context(open(log, "r+b")) for log in logs if log.exists()]
            with closing(old.connect(file, "mode=rw")) as source:
                _settle(source, file)
                try:
                    _make(made, file.stat())
                    with closing(new.connect(made)) as target:
                        _copy(source, target)
                    with closing(new.connect(made, "mode=ro")) as target:
                        _compare(source, target)
                except BaseException:
                    for each in (made, Path(f"{made}-journal")):
                        each.unlink(missing_ok=True)
                    raise
            for log in logs:  # SQLite leaves one that it has no use for
                log.unlink(missing_ok=True)
            left.append(stack.enter_context(open(file, "r+b")))
            os.replace(made, file)
            overwritten = [_overwrite(each.fileno(), directory) for each in left]
            return all(overwritten)
    except sqlite3.Error as error:
        why = f"{file} {old.mismatch(file)}." if NOT_ONE in str(error) else _failed(file, error)
        raise StartError(why) from None
    except OSError as error:
        raise StartError(_failed(file, error.strerror)) from None


def _failed(file: Path, why: object) -> str:
    return f"{file} cannot be converted ({why}): make room and have nothing else use it; it is as it was."


def _settle(connection: sqlite3.Connection, file: Path) -> None:
    """What a crash has left beside the file goes into it, lest it be taken for a part of the next one."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise StartError(f"{file} is not a file of a chat server: name another directory with --data.")
    _whole(connection)
    connection.execute("PRAGMA journal_mode = DELETE")


def _make(file: Path, like: os.stat_result) -> None:
    """A new file for the user alone whose the old one is: root may convert for the user of the server."""
    file.unlink(missing_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    if file.stat().st_uid != like.st_uid:
        os.chown(file, like.st_uid, like.st_gid)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Everything in the file, in one transaction."""
    target.execute("PRAGMA synchronous = FULL")
    target.execute("BEGIN")
    later = []
    for kind, name, statement in _made_by(source):
        if kind != "table":
            later.append(statement)
            continue
        target.execute(statement)
        _fill(source, target, name)
    if _sequence(source):
        target.execute("DELETE FROM sqlite_sequence")
        _fill(source, target, "sqlite_sequence")
    for statement in later:
        target.execute(statement)
    for setting in ("application_id", "user_version"):
        (value,) = source.execute(f"PRAGMA {setting}").fetchone()
        target.execute(f"PRAGMA {setting} = {value}")
    target.execute("COMMIT")


def _fill(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    rows = _rows(source, table)
    places = ", ".join("?" * len(rows.description))
    target.executemany(f"INSERT INTO {table} VALUES ({places})", rows)


def _rows(connection: sqlite3.Connection, table: str) -> sqlite3.Cursor:
    """All of them, in the order of the table itself."""
    return connection.execute(f"SELECT * FROM {table} NOT INDEXED")


def _made_by(connection: sqlite3.Connection) -> list[Any]:
    """What makes tables and indexes, in the order in which they were made."""
    return connection.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE ? ORDER BY rowid",
        (_OWN,),
    ).fetchall()


def _sequence(connection: sqlite3.Connection) -> bool:
    """Whether SQLite keeps the last number that it gave out."""
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchall())


def _whole(connection: sqlite3.Connection) -> None:
    ((verdict,), *_) = connection.execute("PRAGMA quick_check").fetchall()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"it is damaged: {verdict}")


def _compare(one: sqlite3.Connection, other: sqlite3.Connection) -> None:
    """Both hold the same, row by row."""
    _whole(other)
    for mine, its in zip_longest(_everything(one), _everything(other)):
        if mine != its:
            raise sqlite3.DatabaseError("what was written is not what was there")


def _everything(connection: sqlite3.Connection) -> Iterator[object]:
    for setting in ("application_id", "user_version"):
        yield connection.execute(f"PRAGMA {setting}").fetchone()
    made = _made_by(connection)
    yield sorted(made)
    tables = sorted(name for kind, name, _ in made if kind == "table")
    for table in (*tables, *(["sqlite_sequence"] if _sequence(connection) else [])):
        yield from _rows(connection, table)


def _overwrite(descriptor: int, directory: Path) -> bool:
    """Put zeros where passwords were, unless the file has another name, which is not ours to touch."""
    with suppress(OSError):  # the file is converted all the same
        sync(directory)  # or else it is the new one that could be gone after a power cut
        found = os.fstat(descriptor)
        if found.st_nlink == 0:
            for place in range(0, found.st_size, _BLOCK):
                os.pwrite(descriptor, bytes(min(_BLOCK, found.st_size - place)), place)
            os.fsync(descriptor)
            return True
    return False
