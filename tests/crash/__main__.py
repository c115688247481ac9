"""Stops the server at every storage call, or cuts the power: C{python -m tests.crash --help}."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser

from tests.crash.aftermath import Trial, crash_everywhere
from tests.crash.cuts import cut_power
from tests.crash.place import scratch
from tests.crash.scenarios import SCENARIOS, small_portions


def main() -> int:
    """Run what the arguments say; returns 1 if anything went wrong."""
    parser = ArgumentParser("python -m tests.crash", description="Stop a server anywhere, and go on.")
    parser.add_argument("--cuts", type=int, help="cut the power so often, instead of stopping at each call")
    parser.add_argument("--seed", type=int, default=0, help="what chance makes of it (default: 0)")
    parser.add_argument("scenario", nargs="*", help=f"by default all: {', '.join(SCENARIOS)}")
    arguments = parser.parse_args()
    names = arguments.scenario or list(SCENARIOS)
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    total = Trial()
    began = time.monotonic()
    with small_portions(), scratch() as place:
        for number, name in enumerate(names):
            if arguments.cuts is None:
                trial = crash_everywhere(name, SCENARIOS[name], place / name, seed=arguments.seed)
            else:
                share = arguments.cuts // len(names) + (number < arguments.cuts % len(names))
                trial = cut_power(name, SCENARIOS[name], place / name, share, arguments.seed)
            print(
                f"{name:<16}{trial.points:>6} points {trial.runs:>6} runs {len(trial.failures):>4} failures"
            )
            for failure in trial.failures:
                print(f"    {failure}", flush=True)
            total.points += trial.points
            total.runs += trial.runs
            total.failures += trial.failures
    print(
        f"{'all':<16}{total.points:>6} points {total.runs:>6} runs {len(total.failures):>4} failures"
        f" in {time.monotonic() - began:.0f} s"
    )
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
