"""Ends a server under load again and again: C{python -m tests.force --help}."""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from traceback import print_exc
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import provider

from tests.force.books import Broken
from tests.force.run import Ordeal


def main() -> None:
    """Do what the arguments say; the exit status is 1 if the promise was broken."""
    parser = ArgumentParser("python -m tests.force", description="End a server under load, again and again.")
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="how often (default: 20)")
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL", help="how (default: KILL)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the messages (default: 0)")
    parser.add_argument("--folder", type=Path, help="keep everything in this new folder")
    arguments = parser.parse_args()
    globalLogBeginner.beginLoggingTo([_quiet], redirectStandardIO=False, discardBuffer=True)
    react(lambda reactor: Deferred.fromCoroutine(_run(reactor, arguments)))


@provider(ILogObserver)
def _quiet(event: LogEvent) -> None:
    """The clients' log of how often they had to connect again."""


async def _run(reactor: Any, arguments: Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="chat-") as scratch:
        folder: Path = arguments.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        ordeal = Ordeal(reactor, folder, arguments.seed, arguments.signal)
        try:
            await ordeal.run(arguments.kills, lambda line: print(line, flush=True))
        except Broken as broken:
            print(f"{ordeal.tell()}\nBROKEN: {broken}")
            sys.exit(1)
        except Exception:
            print_exc()
            sys.exit(1)
        print(ordeal.tell())


if __name__ == "__main__":
    main()
