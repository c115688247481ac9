"""C{chatctl restore}: the files of a backup become those of a server that does not run."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from filelock import FileLock, Timeout

from chat.admin.audit import Report
from chat.admin.backup import copied, told
from chat.admin.command import CLEAN, Unusable, add_data, opening
from chat.admin.gap import keep_clear
from chat.store.layout import LOCK, NAMES, path, sync
from chat.store.opener import PLAIN, Opener

NAME = "restore"
SUMMARY = "put the files of a backup in place (the server must not run)"
RECORDED = True
DESCRIPTION = """\
Copies the three files of a backup into the data directory of a server that is
stopped, after an audit: each of them gets its name only when all are complete.

The directory may not exist yet. One that a server uses, or that has any of the
files, is refused: nothing is ever written over. Move the old files away first,
with their -wal files. The files of the backup stay as they are; those of an
earlier version are upgraded by the next start of the server.

The messages that were accepted after the backup are gone, but clients may know
their ids. So that no other message gets one of these, new ones begin a million
behind the last one of the backup, or twice as high if it has more messages.

Run as root, it gives the files to the owner of the data directory. The key and
the certificate for TLS (tls-*.pem) are not in a backup: leave them where they
are, or put a copy back, or clients will not know the server again.
"""


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument("backup", metavar="BACKUP", type=Path, help='what "chatctl backup" has written')


def run(arguments: Namespace) -> int:
    """Restore, and say what was restored."""
    report = restore(arguments.backup, arguments.data, opening(arguments))
    status = told(report, f"restored to {arguments.data}", "nothing was restored")
    if status == CLEAN and report.totals is not None and report.totals.folded["skipped"]:
        following = report.totals.number + sum(report.totals.folded.values()) + 1
        print(f"the next message has the id {following}: none that came after the backup is given out again")
    return status


def restore(backup: Path, directory: Path, opener: Opener = PLAIN) -> Report:
    """Copy the files of C{backup} into C{directory}; where the audit finds something, nothing is left there.

    No message to come has the id of one that was accepted after the backup.

    @return: what the audit found.
    @raise Unusable: C{directory} is in use or has files, or the files cannot be copied.
    """
    made = _made(directory)
    complete = False
    try:
        with held(directory):
            for name in NAMES:
                for suffix in ("", "-wal", "-shm", "-journal"):
                    file = Path(f"{path(directory, name)}{suffix}")
                    if file.exists():
                        raise Unusable(f"{file} exists: move the old files away first, all of them.")
            report = copied(backup, directory, opener, keep_clear)
            complete = not report.number
            return report
    finally:
        if made and not complete:
            (directory / LOCK).unlink(missing_ok=True)
            directory.rmdir()


def _made(directory: Path) -> bool:
    """Make the directory if it is not there. Whether it was made."""
    try:
        directory.mkdir(mode=0o700)
        sync(directory.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise Unusable(f"{directory} cannot be made ({error.strerror}): make it first.") from None
    return True


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold the data directory: no server starts on it meanwhile.

    @raise Unusable: a server uses it, or it cannot be locked.
    """
    file = directory / LOCK
    there = file.exists()
    lock = FileLock(file, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise Unusable(f"A server is using {directory}: stop it first.") from None
    except OSError as error:
        raise Unusable(
            f"{directory} cannot be locked ({error.strerror}): run this as the user that the server runs as."
        ) from None
    try:
        owner = directory.stat()
        if not there and owner.st_uid != os.geteuid():
            os.chown(file, owner.st_uid, owner.st_gid)
        yield
    finally:
        lock.release()
