"""C{python -m tests.simulation --seed N --steps M}: run one world, or many, and say what was found."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from time import perf_counter
from traceback import print_exception
from typing import Sequence

from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import implementer

from tests.simulation.run import Failure, shortest, simulate
from tests.simulation.world import EDITION

STEPS = 400


@implementer(ILogObserver)
def _ignore(event: LogEvent) -> None:
    """What the server logs about the faults of a world is part of it."""


def _range(text: str) -> range:
    first, _, last = text.partition("..")
    try:
        return range(int(first), int(last) + 1)
    except ValueError:
        raise ArgumentTypeError("FROM..TO, two numbers") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run; the exit status is 1 if a promise was broken."""
    parser = ArgumentParser("python -m tests.simulation", description="The seeded simulation of the server.")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="run this world")
    parser.add_argument("--seeds", type=_range, metavar="FROM..TO", help="run these worlds instead")
    parser.add_argument(
        "--steps", type=int, default=STEPS, metavar="M", help=f"how many steps each ({STEPS})"
    )
    parser.add_argument(
        "--edition", type=int, default=EDITION, metavar="E", help=f"of the worlds: 1 to {EDITION} ({EDITION})"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="write down all that happens")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure")
    parser.add_argument("--traceback", action="store_true", help="show where a failure was found")
    arguments = parser.parse_args(argv)
    seeds = arguments.seeds or [arguments.seed]
    began = perf_counter()
    failures = 0
    for seed in seeds:
        lines: list[str] = []
        try:
            simulate(seed, arguments.steps, lines.append if arguments.log else None, arguments.edition)
        except Failure as failure:
            failures += 1
            print(f"FAILED {failure}")
            steps, least = shortest(seed, min(failure.step, arguments.steps), arguments.edition)
            print(
                f"  shortest: python -m tests.simulation --seed {seed} --steps {steps}"
                f" --edition {arguments.edition}\n  {least}",
                flush=True,
            )
            if arguments.traceback:
                print_exception(failure)
            if not arguments.keep_going:
                break
        finally:
            if arguments.log:
                arguments.log.write_text("\n".join(lines) + "\n", "utf-8")
    seconds = perf_counter() - began
    print(f"{len(seeds)} seeds, {arguments.steps} steps each, {failures} failures, {seconds:.1f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    globalLogBeginner.beginLoggingTo([_ignore], redirectStandardIO=False, discardBuffer=True)
    sys.exit(main())
