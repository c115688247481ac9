"""A data directory with something of everything in it, and chatctl called on it, for tests."""

from __future__ import annotations

import atexit
import contextlib
import io
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from chat.admin.audit import Report
from chat.admin.main import main
from tests.world import World

ALICE, BOB, CAROL, DAVE = 1, 2, 3, 4


#: The messages of L{inhabit}, by what became of them.
WAITING, DELIVERED, REMOVED, RECALLED = 1, 2, 3, 4


RETURNED, RETURNED_DELIVERED, RETURNED_REMOVED = 5, 6, 7


TURNED, DEAD, TO_ONESELF, LAST = 8, 9, 10, 11


def inhabit(world: World) -> None:
    """Let people live there until a message is in each state there is."""
    alice, bob, carol, dave = world.sign_up("alice", "bob", "carol", "dave")
    world.send(alice, "bob")
    world.send(alice, "bob", ref="c2", subject="hi", receipt=True)
    world.confirm(bob, DELIVERED)
    world.send(alice, "bob", ref="c3", subject="hi")
    world.result(world.mailroom.remove(bob, [REMOVED]))
    world.send(alice, "bob")
    world.result(world.mailroom.remove(alice, [RECALLED]))
    world.send(alice, "nobody")
    world.send(alice, "nobody")
    world.confirm(alice, RETURNED_DELIVERED)
    world.send(alice, "nobody", ref="c7")
    world.result(world.mailroom.remove(alice, [RETURNED_REMOVED]))
    world.send(alice, "carol")
    world.send(dave, "carol")
    world.send(alice, "alice")
    world.delete(dave)
    world.delete(carol)
    world.send(bob, "alice")
    world.waiting(alice)


@lru_cache
def town() -> Path:
    """The data directory of a server that was stopped, with messages in every state."""
    place = Path(tempfile.mkdtemp(prefix="chat-audit-"))
    atexit.register(shutil.rmtree, place, True)
    world = World(place / "town")
    inhabit(world)
    world.close()
    return world.path


def names(report: Report) -> list[str]:
    """The findings, in order."""
    with report.findings as findings:
        return findings.read().splitlines()


def listing(directory: Path) -> list[tuple[object, ...]]:
    """All there is to see of the files in a directory."""
    seen: list[tuple[object, ...]] = [(directory.stat().st_mtime_ns,)]
    for file in sorted(directory.iterdir()):
        of = file.stat()
        # The server's own -shm is memory, not storage: a reader notes there where it reads.
        written = None if file.name.endswith("-shm") else (of.st_mtime_ns, file.read_bytes())
        seen.append((file.name, of.st_ino, of.st_uid, of.st_mode, of.st_size, written))
    return seen


def called(*arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of chatctl."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()
