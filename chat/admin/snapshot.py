"""One moment of the three files of a data directory, read without leaving a trace.

SQLite may write even for a connection that only reads: it makes C{-wal} and
C{-shm} files, brings the latter up to date, or removes them.  So how a file is
opened depends on what there is beside it, see L{opened}.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import sys
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator, Mapping, TypeVar

from chat.admin.command import Unusable
from chat.admin.leftovers import committed, mended
from chat.store.layout import ALIASES, APPLICATION, LOCK, NAMES, VERSIONS, Header, header, path
from chat.store.opener import PLAIN, Opener

#: How often to begin anew before giving up.
ATTEMPTS = 100
#: How often files that change under a reader are read again.
READINGS = 3

R = TypeVar("R")
#: What tells that a file was changed: inode, size, time.
Signature = tuple[object, ...]


def there(directory: Path) -> None:
    """Make sure that there is such a directory.

    @raise Unusable: there is not.
    """
    why = "is no directory"
    try:
        if stat.S_ISDIR(directory.stat().st_mode):
            return
    except FileNotFoundError:
        why = "does not exist"
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    raise Unusable(f"{directory} {why}: name the data directory of the server with --data.")


def headers(directory: Path, opener: Opener = PLAIN) -> dict[str, Header]:
    """What each of the three files says it is.

    @param opener: how the files are opened, here and below.
    @raise Unusable: there are no such files, they cannot be read, or they are of a later version.
    """
    there(directory)
    found: dict[str, Header] = {}
    for name in NAMES:
        file = path(directory, name)
        try:
            head = told(directory, name, opener)
        except FileNotFoundError:
            raise Unusable(
                f"{file} does not exist: name the data directory of the server with --data,"
                " or restore the three files from a backup."
            ) from None
        except OSError as error:
            raise Unusable(
                f"{file} cannot be read ({error.strerror}): run this as the user that the server runs as."
            ) from None
        if head is None:
            raise Unusable(f"{file} {opener.mismatch(file)}.")
        found[name] = head
    if all(head.application != APPLICATION for head in found.values()):
        raise Unusable(
            f"The files in {directory} are not those of a chat server: name another directory with --data."
        )
    for name, head in found.items():
        if head.application == APPLICATION and head.version > VERSIONS[name]:
            raise Unusable(
                f"{path(directory, name)} was written by a newer version of the server (schema"
                f" {head.version}, this program knows up to {VERSIONS[name]}):"
                " use the chatctl of that version."
            )
    return found


def told(directory: Path, name: str, opener: Opener = PLAIN) -> Header | None:
    """What a file says it is, with what counts beside it; C{None}: it is no SQLite file, or not for this key.

    @raise OSError: it cannot be read.
    """
    file = path(directory, name)
    head = header(file)
    encrypted = opener.encrypts(file)
    if encrypted or any(_length(file, suffix) for suffix in ("-wal", "-journal")):
        # The beginning of the file itself may be out of date, or torn by a power cut.
        if encrypted:
            head = None
        with (
            suppress(Unusable, sqlite3.Error),
            alone(directory, name, in_use(directory), opener) as connection,
        ):
            application, version = (
                connection.execute(f"PRAGMA {what}").fetchone()[0]
                for what in ("application_id", "user_version")
            )
            return Header(application, version)
    return head


def is_running(directory: Path) -> bool:
    """Whether a server is using this data directory. Changes nothing.

    @raise Unusable: its lock cannot be looked at.
    """
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Unusable(
            f"{directory / LOCK} cannot be read ({error.strerror}):"
            " run this as the user that the server runs as."
        ) from None
    try:
        # Shared: so two who look do not take each other for a server.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def in_use(directory: Path) -> bool:
    """Whether a server has the files open, so that they are read by the rules it goes by.

    One that has the lock, but nothing to do yet, has no file open.

    @raise Unusable: its lock cannot be looked at.
    """
    return is_running(directory) and all(
        Path(f"{path(directory, name)}{suffix}").exists() for name in NAMES for suffix in ("-wal", "-shm")
    )


def signature(directory: Path) -> Signature:
    """What changes when anybody writes to files that are not in use."""
    return tuple(
        _stat(Path(f"{path(directory, name)}{suffix}"))
        for name in NAMES
        for suffix in ("", "-wal", "-journal")
    )


def steadily(directory: Path, read: Callable[[Mapping[str, Header], bool], R], opener: Opener = PLAIN) -> R:
    """What C{read} makes of the files; it is asked again if they were changed meanwhile.

    @param read: called with their headers, and with what L{snapshot} wants to know.
    @raise Unusable: there are no such files, they cannot be read, or they do not stay as they are.
    """
    for _ in range(READINGS):
        before = signature(directory)
        found = headers(directory, opener)
        shared = in_use(directory)
        try:
            result = read(found, shared)
        except (Unusable, sqlite3.Error):
            if shared == in_use(directory) and (shared or signature(directory) == before):
                raise
            continue
        if shared or (signature(directory) == before and not in_use(directory)):
            return result
    raise Unusable(f"The files in {directory} are changed by something that is not a server: stop it first.")


@contextmanager
def snapshot(directory: Path, shared: bool, opener: Opener = PLAIN) -> Iterator[sqlite3.Connection]:
    """A connection that sees all three files as they were at one and the same moment.

    @param shared: what L{in_use} said just now. If it is false, what was read holds only if
        the L{signature} is the same afterwards.
    @raise Unusable: they cannot be opened, or accounts come and go too fast.
    """
    files = {alias: path(directory, name) for name, alias in ALIASES.items()}
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(opened(files, shared, opener))
            if shared:
                with opened(files, shared, opener) as probe:
                    together(connection, probe)
            else:
                _begin(connection)
        except sqlite3.OperationalError as error:
            raise Unusable(
                f"The files in {directory} cannot be opened ({error}):"
                " run this as the user that the server runs as."
            ) from None
        yield connection


@contextmanager
def alone(directory: Path, name: str, shared: bool, opener: Opener = PLAIN) -> Iterator[sqlite3.Connection]:
    """A connection that sees just one of the files, as C{main}.

    @param shared: see L{snapshot}.
    """
    with opened({"main": path(directory, name)}, shared, opener) as connection:
        yield connection


def together(connection: sqlite3.Connection, probe: sqlite3.Connection) -> None:
    """Begin a read transaction that sees the attached files at one and the same moment.

    SQLite takes the snapshot of each file when that file is first read.  If neither users.db nor
    passwords.db was changed until messages.db had its snapshot, that was the moment of all.

    @param probe: another connection to the same files, to see whether they were changed.
    @raise Unusable: they were, each time.
    """
    for _ in range(ATTEMPTS):
        before = _versions(probe)
        _begin(connection)
        if _versions(probe) == before:
            return
        connection.execute("ROLLBACK")
    raise Unusable("Accounts come and go too fast to be audited: try again when it is quieter.")


def _versions(probe: sqlite3.Connection) -> list[int]:
    return [probe.execute(f"PRAGMA {alias}.data_version").fetchone()[0] for alias in ("users", "passwords")]


def _begin(connection: sqlite3.Connection) -> None:
    """Take the snapshots, that of messages.db last."""
    connection.execute("BEGIN")
    for alias in ("users", "passwords", "main"):
        connection.execute(f"SELECT count(*) FROM {alias}.sqlite_schema").fetchone()


@contextmanager
def opened(files: Mapping[str, Path], shared: bool, opener: Opener = PLAIN) -> Iterator[sqlite3.Connection]:
    """These files, under their names in SQL, open so that nothing is made, changed or removed beside them.

    While a server has them open, C{-wal} and C{-shm} are there, and reading by the rules leaves
    them so.  If not, what a crash left counts as it will at the next start, but nothing else does: not
    what is in C{-shm}, which may be of any moment.

    @param files: C{main} first.
    @param shared: see L{snapshot}.
    """
    with ExitStack() as stack:
        places = {}
        logged = False
        for alias, file in files.items():
            mode = "mode=ro"
            if not shared and _length(file, "-journal"):
                file, mode = stack.enter_context(mended(file, opener)), "mode=ro&immutable=1"
            elif not shared and _committed(file):
                # Without locks there is no -shm either; see below.
                mode, logged = "mode=ro&vfs=unix-none", True
            elif not shared:
                mode = "mode=ro&immutable=1"
            places[alias] = (file, mode)
        try:
            yield stack.enter_context(closing(_connect(places, logged, opener)))
        except UnicodeDecodeError as error:  # SQLite cites what it complains of, damaged as it is
            raise sqlite3.DatabaseError(_text(error.object)) from None


def _connect(places: dict[str, tuple[Path, str]], logged: bool, opener: Opener) -> sqlite3.Connection:
    connection = opener.connect(*places.pop("main"))
    try:
        connection.text_factory = _text
        if logged:
            # Before the first look into any file: then SQLite keeps in memory what -shm is for.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        if sys.version_info >= (3, 12) and isinstance(connection, sqlite3.Connection):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA temp_store = FILE")  # of large sums, whatever this build of SQLite prefers
        for alias, (file, mode) in places.items():
            opener.attach(connection, alias, file, mode)
    except BaseException:
        connection.close()
        raise
    return connection


def _committed(file: Path) -> bool:
    log = Path(f"{file}-wal")
    try:
        return committed(log)
    except OSError as error:
        raise Unusable(
            f"{log} cannot be opened ({error.strerror}): run this as the user that the server runs as."
        ) from None


def _length(file: Path, suffix: str) -> int:
    found = _stat(Path(f"{file}{suffix}"))
    return 0 if found is None else found[1]


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _text(value: bytes) -> str:
    """Text out of a file that may be damaged."""
    return value.decode("utf-8", "backslashreplace")
