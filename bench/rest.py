"""The memory of a server that nobody uses, and what is asked for beside it.

    python -m bench.rest

Each server is a C{twistd chat} of its own with fresh files, as its users start it, and is looked at a few
seconds after it listens.  What it keeps for itself (C{private}) is the honest figure where several
programs in the same Python run on a machine: they share the rest of C{VmRSS}.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from bench.load import LoadError, resident_bytes
from bench.run import BARE, CHAT, TWISTD, bare_loop, simple_table, started

MIB = 2**20
#: The doors that are open where none is named, at ports that are free.
DEFAULT = "with its default doors"
_DOORS = {kind: ("--" + kind, "tcp:0:interface=127.0.0.1") for kind in ("text", "json", "der", "web")}
#: What is started: the doors, and more words for it.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    DEFAULT: (tuple(_DOORS), ()),
    "with the JSON door alone": (("json",), ()),
    "all doors with TLS": (tuple(_DOORS), ("--tls",)),
    "its numbers asked for": (tuple(_DOORS), ()),
}
SCRAPED = "its numbers asked for"


def command(data: Path, kind: str) -> list[str]:
    """What starts a server of this kind."""
    doors, more = KINDS[kind]
    words = [word for door in doors for word in _DOORS[door]]
    return [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "chat", "--data", str(data), *words, *more]


def private_bytes(pid: int) -> int:
    """The memory that no other process shares."""
    found = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_"):
            found += int(line.split()[1]) * 1024
    return found


def measure(folder: Path, kind: str, settle: float) -> tuple[int, int]:
    """Start a server, let it settle, and look: C{VmRSS} and what is private."""
    data = folder / kind.replace(" ", "-")
    words = bare_loop(data, "json") if kind == BARE else command(data, kind)
    door = "web" if kind == SCRAPED else "json"
    with started(BARE if kind == BARE else CHAT, data, door, words) as server:
        if kind == SCRAPED:
            host, port = server.target.address
            urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30).read()
        time.sleep(settle)
        return resident_bytes(server.pid), private_bytes(server.pid)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.rest",
        description="Measure the memory of servers that nobody uses.",
        epilog=f"--at-most: measure only {CHAT} {DEFAULT}; exit status 1 when its VmRSS is more.",
    )
    add = parser.add_argument
    add("--settle", type=float, default=5, help="seconds from listening to looking (%(default)s)")
    add("--at-most", type=float, metavar="MIB", help="fail when it takes more, see below")
    options = parser.parse_args(arguments)
    kinds = [DEFAULT] if options.at_most else [BARE, *KINDS]
    folder = Path(tempfile.mkdtemp(prefix="chat-bench-"))
    rows = [["MiB", "VmRSS", "private"]]
    taken = 0
    try:
        for kind in kinds:
            taken, private = measure(folder, kind, options.settle)
            name = kind if kind == BARE else f"{CHAT}, {kind}"
            rows.append([name, f"{taken / MIB:.1f}", f"{private / MIB:.1f}"])
    except (LoadError, OSError) as error:
        print(f"bench.rest: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(simple_table(rows))
    if options.at_most is None:
        return 0
    verdict = "too much" if taken > options.at_most * MIB else "fine"
    print(f"{taken / MIB:.1f} MiB, at most {options.at_most:g}: {verdict}")
    return int(taken > options.at_most * MIB)


if __name__ == "__main__":
    raise SystemExit(main())
