"""A server under load, in a process of its own: what is done with its files meets them in any state."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chat.store.files import path
from tests.daemon import ROOT

_BUSY = """
import itertools, select, sys
from tests.world import World
world = World(sys.argv[1], reserved=0)
for number in itertools.count():
    alice, bob = world.sign_up(f"alice{number}", f"bob{number}")
    ids = [world.send(alice, name).id for name in (bob.name, "nobody", bob.name, f"bob{number - 1}")]
    world.confirm(bob, ids[0])
    world.delete(bob)
    if not number:
        print("ready", flush=True)
    if select.select([sys.stdin], [], [], 0)[0]:
        break
"""


def busy(case: SynchronousTestCase, directory: Path) -> subprocess.Popen[str]:
    """People sign up, write, read and leave all the time, until this program, or the test, ends."""
    program = subprocess.Popen(
        [sys.executable, "-c", _BUSY, str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    case.addCleanup(program.communicate)
    case.addCleanup(program.kill)
    case.assertEqual(program.stdout.readline(), "ready\n")
    return program


def grown(directory: Path) -> int:
    """How many messages the ledger there has by now."""
    with closing(sqlite3.connect(path(directory, "messages"))) as connection:
        return int(connection.execute("SELECT count(*) FROM ledger").fetchone()[0])
