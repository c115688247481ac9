"""C{chatctl check}: is the installation sound?"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import stat
import sys
import time
from argparse import ArgumentParser, Namespace
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Callable

from chat import __version__
from chat.admin.books.files import pages
from chat.admin.certificates import looked_over
from chat.admin.command import CLEAN, FINDINGS, Unusable, add_data, opening
from chat.admin.doors import Door, answers, door
from chat.admin.grade import Grade, Line, Lines
from chat.admin.snapshot import alone, in_use, is_running, there, told
from chat.errors import StartError
from chat.store.files import APPLICATION, LOCK, NAMES, VERSIONS, path
from chat.store.opener import PLAIN, Opener
from chat.store.room import default_reserve
from chat.tls.certificate import Pair, own

NAME = "check"
SUMMARY = "check that the installation and the data directory are sound"
DESCRIPTION = """\
Looks over the installation and the data directory, and says for each thing in
a line of its own whether it is well:

  ok       as it should be
  warning  it works, but somebody should look at it
  error    the server cannot work with this, or must not

The server may run or not; nothing is changed. It looks at the versions of
Python, Twisted and SQLite, the room on the disk, whether a server is running,
who may read the directory and the files, what the files say they are, how big
they are, and what SQLite thinks of their pages; at the certificate that the
server has made for TLS, or the one that --certificate and --key name: its
fingerprint, when it expires, and who may read the key. With --door it also
looks whether a server answers there.

Whether every message is accounted for is what "chatctl audit" tells. The exit
status is 0 with warnings, too; it is 1 if there is an error.
"""

#: What the store's SQL needs: STRICT tables.
OLDEST_SQLITE = (3, 37)
MIB = 1024 * 1024
#: Less room than this on the disk, beside what is kept in reserve, is worth a warning.
SCARCE = 1024 * MIB
#: A write-ahead log of this size is not checkpointed as it should be.
LARGE_LOG = 256 * MIB


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument(
        "--door",
        metavar="ADDRESS",
        type=door,
        action="append",
        default=[],
        help="look whether a server answers at HOST:PORT or unix:PATH; may be repeated",
    )
    parser.add_argument(
        "--certificate", metavar="FILE", type=Path, help="the certificate that the server was given"
    )
    parser.add_argument(
        "--key", metavar="FILE", type=Path, help="its key [default: in the file of the certificate]"
    )


def run(arguments: Namespace) -> int:
    """Look at everything, and print it line by line."""
    worst = CLEAN
    given = None
    if arguments.certificate is None and arguments.key is not None:
        raise Unusable("--key is the key of a certificate: name that with --certificate, too.")
    if arguments.certificate is not None:
        given = Pair(arguments.certificate, arguments.key or arguments.certificate)
    for line in check(arguments.data, arguments.door, opening(arguments), given):
        print(f"{line.grade.value:<8} {line.text}", flush=True)
        if line.grade is Grade.ERROR:
            worst = FINDINGS
    return worst


def check(directory: Path, doors: list[Door], opener: Opener = PLAIN, given: Pair | None = None) -> Lines:
    """Look at the installation, the directory, the files, the certificate and the doors.

    @param given: where the operator's certificate is; C{None}: the server makes its own if it needs one.
    @raise Unusable: there is no such directory.
    """
    there(directory)
    yield from versions(sqlite3.sqlite_version, sqlite_threads())
    yield from _search(opener)
    yield from room(shutil.disk_usage(directory).free, default_reserve(directory))
    yield from _directory(directory)
    yield from _server(directory)
    for name in sorted(NAMES):
        yield from _file(path(directory, name), name, opener)
    yield from _together(directory, opener)
    try:
        lines, fingerprint = looked_over(given or own(directory), time.time())
    except OSError as error:
        lines, fingerprint = [Line(Grade.ERROR, f"{error.filename} cannot be read ({error.strerror})")], None
    yield from lines
    for each in doors:
        yield from answers(each, fingerprint)


def sqlite_threads() -> bool:
    """Whether this SQLite may be used from several threads."""
    with closing(sqlite3.connect(":memory:")) as connection:
        options = {option for (option,) in connection.execute("PRAGMA compile_options")}
    return "THREADSAFE=0" not in options


def versions(sqlite: str, threads: bool) -> Lines:
    """What the server runs on."""
    yield Line(Grade.OK, f"chat {__version__}, Twisted {version('twisted')}")
    yield Line(Grade.OK, f"Python {platform.python_version()} ({sys.executable})")
    oldest = ".".join(map(str, OLDEST_SQLITE))
    if tuple(int(part) for part in sqlite.split(".")[:2]) < OLDEST_SQLITE:
        yield Line(Grade.ERROR, f"SQLite {sqlite} is too old: use a Python with SQLite {oldest} or later")
    elif not threads:
        yield Line(Grade.ERROR, f"SQLite {sqlite} was built without threads: use a Python with another one")
    else:
        yield Line(Grade.OK, f"SQLite {sqlite}, safe with threads")


def _search(opener: Opener) -> Lines:
    """Whether there is what the index is made of."""
    try:
        opener.able()
    except StartError as error:
        yield Line(Grade.ERROR, str(error).rstrip("."))


def room(free: int, reserve: int) -> Lines:
    """Whether there is room for more messages.

    @param reserve: so much the server keeps free, unless C{--reserve-space} says otherwise.
    """
    if free <= reserve:
        yield Line(
            Grade.ERROR,
            f"{_size(free)} free on the disk, {_size(reserve)} are kept in reserve (--reserve-space):"
            " make room, new messages are refused",
        )
    elif free - reserve < SCARCE:
        yield Line(Grade.WARNING, f"{_size(free)} free on the disk: make room soon")
    else:
        yield Line(Grade.OK, f"{_size(free)} free on the disk")


def _directory(directory: Path) -> Lines:
    yield from _access(directory, f"directory {directory}", 0o700, directory.stat().st_uid)
    for stray in sorted(directory.glob("*.new")):
        yield Line(Grade.WARNING, f"{stray} is left from a start that was cut short: it can be removed")


def _access(file: Path, what: str, mode: int, owner: int) -> Lines:
    """Who may get at it, and whose it is."""
    found = file.stat()
    actual = stat.S_IMODE(found.st_mode)
    if found.st_uid != owner:
        yield Line(
            Grade.WARNING,
            f"{what} belongs to user {found.st_uid}, the directory to {owner}: give both one owner (chown)",
        )
    elif actual != mode:
        yield Line(Grade.WARNING, f"{what} has mode {actual:04o}: make it {mode:04o} (chmod)")
    elif not os.access(file, os.R_OK | os.W_OK):
        yield Line(Grade.WARNING, f"{what} is not yours: run this as the user that the server runs as")
    else:
        yield Line(Grade.OK, f"{what}, mode {actual:04o}")


def _server(directory: Path) -> Lines:
    try:
        running = is_running(directory)
    except Unusable as error:
        yield Line(Grade.ERROR, str(error))
        return
    if running:
        yield Line(Grade.OK, "a server is running on this directory")
    elif (directory / LOCK).exists():
        yield Line(Grade.OK, "no server is running on this directory")
    else:
        yield Line(Grade.OK, "no server is running on this directory; none has been started here yet")


def _file(file: Path, name: str, opener: Opener) -> Lines:
    """One of the three: there, readable, ours, and whole."""
    try:
        head = told(file.parent, name, opener)
    except FileNotFoundError:
        yield Line(Grade.ERROR, f"{file.name} is missing: restore the three files from a backup")
        return
    except OSError as error:
        yield Line(Grade.ERROR, f"{file.name} cannot be read ({error.strerror}): run this as its owner")
        return
    yield from _access(file, file.name, 0o600, file.parent.stat().st_uid)
    if head is None:
        yield Line(Grade.ERROR, f"{file.name} {opener.mismatch(file)}")
        return
    if head.application != APPLICATION:
        yield Line(Grade.ERROR, f"{file.name} is not a file of a chat server: it is another program's")
        return
    known = VERSIONS[name]
    if not 1 <= head.version <= known:
        yield Line(Grade.ERROR, f"{file.name} has schema version {head.version}: this program knows {known}")
        return
    how = ", encrypted" if opener.encrypts(file) else ""
    yield Line(Grade.OK, f"{file.name} has {_size(file.stat().st_size)}, schema version {head.version}{how}")
    if head.version < known:
        yield Line(Grade.WARNING, f"{file.name} is brought up to schema version {known} at the next start")
    log = Path(f"{file}-wal")
    if log.exists():
        yield _log(log.name, log.stat().st_size)
    damage = list(_each(file.parent, name, opener, lambda connection: list(_pages(connection, name))))
    yield from damage or [Line(Grade.OK, f"{file.name} is whole, says SQLite (quick_check)")]


def _log(name: str, size: int) -> Line:
    if size >= LARGE_LOG:
        return Line(
            Grade.WARNING,
            f"{name} has {_size(size)}: some program keeps reading the file, or the disk is slow;"
            " it shrinks when the server is stopped",
        )
    return Line(Grade.OK, f"{name} has {_size(size)}")


def _pages(connection: sqlite3.Connection, name: str) -> Lines:
    for finding in pages(connection, "quick_check", {name: "main"}):
        yield Line(Grade.ERROR, f"{finding}; restore the three files from a backup")


def _each(
    directory: Path, name: str, opener: Opener, look: Callable[[sqlite3.Connection], list[Line]]
) -> list[Line]:
    """What there is to see in one file; that it cannot be opened, if so."""
    try:
        with alone(directory, name, in_use(directory), opener) as connection:
            return look(connection)
    except Unusable as error:
        return [Line(Grade.ERROR, str(error))]
    except sqlite3.Error as error:
        return [Line(Grade.ERROR, f"{name}.db cannot be read: {error}")]


def _together(directory: Path, opener: Opener) -> Lines:
    """Whether the three files are from the same server."""
    datasets: set[tuple[object, ...]] = set()

    def look(connection: sqlite3.Connection) -> list[Line]:
        named = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'identity'").fetchone()
        datasets.add(tuple(connection.execute("SELECT dataset FROM identity")) if named else ())
        return []

    for name in NAMES:
        if not os.path.exists(path(directory, name)) or _each(directory, name, opener, look):
            return  # said above already
    if len(datasets) == 1 and all(datasets):
        yield Line(Grade.OK, "the three files belong together")
    else:
        yield Line(
            Grade.ERROR, "the three files do not belong together: restore all of them from the same backup"
        )


def _size(number: int) -> str:
    if number < 1024:
        return f"{number} bytes"
    value, units = number / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}"
