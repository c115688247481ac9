"""C{admin.log} in the data directory: which operator did what to it with C{chatctl}, and when.

A line holds the time, the user, the command as it was typed and its exit status.  Nothing
secret is ever an argument of C{chatctl}, so nothing secret is in it.
"""

from __future__ import annotations

import os
import pwd
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Sequence

from chat.store.layout import APPLICATION, header, path
from chat.wire.text_words import visible

FILE = "admin.log"


def record(directory: Path, words: Sequence[str], status: int) -> None:
    """Write down that this command ended so; where that cannot be written, say so on standard error."""
    if not _is_ours(directory):
        return  # nothing was done there
    moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    what = " ".join(visible(word) for word in words)
    line = f"{moment} {visible(who())}: chatctl {what} (exit status {status})\n"
    try:
        # Append in one write: two commands at the same time make two lines.  And only to a file that is
        # really there: root must not be led to another one by whoever owns the directory.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(directory / FILE, flags, 0o600)
        try:
            _give(descriptor, directory)
            os.write(descriptor, line.encode(errors="backslashreplace"))
        finally:
            os.close(descriptor)
    except OSError as error:
        print(f"chatctl: not recorded in {directory / FILE} ({error.strerror})", file=sys.stderr)


def _is_ours(directory: Path) -> bool:
    """Whether this is the data directory of a server."""
    try:
        head = header(path(directory, "users"))
    except OSError:
        return False
    return head is not None and head.application == APPLICATION


def _give(descriptor: int, directory: Path) -> None:
    """What root has just made belongs to whom the directory belongs to, who may be the next to append."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and os.fstat(descriptor).st_size == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def who() -> str:
    """The user who runs this, and the one who became that user by C{sudo}."""
    number = os.getuid()
    try:
        user = pwd.getpwuid(number).pw_name  # not what the environment says, which may be of an earlier user
    except KeyError:
        user = str(number)
    before = os.environ.get("SUDO_USER")
    return f"{before} as {user}" if before and before != user else user
