"""C{python -m tests.fuzz json|der|text|session|web --inputs N --seed S}: say what was found, and count."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Callable, NamedTuple, Optional, Sequence

from tests.fuzz.targets import (
    LONG_BYTES,
    DecoderTarget,
    SessionTarget,
    Target,
    TextTarget,
    check_memory,
    check_time,
)
from tests.fuzz.web import WebTarget

CORPUS = Path(__file__).parent / "corpus"
#: One input in so many has its memory measured, and each that is long.
MEMORY_EACH = 100
#: So many bytes of what finds something are printed.
SHOWN = 500

TARGETS: dict[str, Callable[[Path], Target]] = {
    "json": lambda directory: DecoderTarget("json"),
    "der": lambda directory: DecoderTarget("der"),
    "text": lambda directory: TextTarget(),
    "session": SessionTarget,
    "web": WebTarget,
}


class Tally(NamedTuple):
    """What a campaign came to."""

    inputs: int
    seconds: float
    slowest: float
    largest: int
    found: dict[bytes, str]


def attempt(target: Target, wire: bytes, memory: bool) -> tuple[float, int, Optional[str]]:
    """One input: its CPU time, its memory (if measured), and what is wrong."""
    try:
        taken = check_time(target.run, wire)
        return taken, check_memory(target, wire) if memory else 0, None
    except Exception:
        return 0.0, 0, traceback.format_exc()


def campaign(target: Target, seed: int, inputs: Optional[int], seconds: Optional[float]) -> Tally:
    """Feed a target with what this seed gives, for so many inputs or seconds."""
    begun = time.monotonic()
    found: dict[bytes, str] = {}
    slowest, largest, count = 0.0, 0, 0
    while (inputs is None or count < inputs) and (seconds is None or time.monotonic() - begun < seconds):
        wire = target.make(Random(f"{seed}/{count}"))
        measured = count % MEMORY_EACH == 0 or len(wire) > LONG_BYTES
        taken, memory, wrong = attempt(target, wire, measured)
        slowest, largest = max(slowest, taken), max(largest, memory)
        count += 1
        if wrong is not None and len(found) < 20:
            found[wire] = wrong
    return Tally(count, time.monotonic() - begun, slowest, largest, found)


def guided(name: str, directory: Path, arguments: Sequence[str]) -> None:
    """Feed a target with what covers new code of ours; atheris has to be installed."""
    atheris = import_module("atheris")
    for module in [module for module in sys.modules if module.partition(".")[0] in ("chat", "tests")]:
        if module not in ("tests", "tests.fuzz"):
            del sys.modules[module]
    with atheris.instrument_imports(include=["chat"]):
        target = import_module("tests.fuzz.__main__").TARGETS[name](directory)
    atheris.Setup([sys.argv[0], *arguments], lambda wire: check_time(target.run, wire))
    atheris.Fuzz()


def kept(name: str) -> list[Path]:
    """The inputs that once found something in this target."""
    return sorted(CORPUS.glob(f"{name}-*"))


def read(path: Path) -> bytes:
    """An input of the corpus; a long one is compressed."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: nothing found; 1: something; 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feed a decoder hostile bytes.")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--inputs", type=int, metavar="N", help="how many")
    parser.add_argument("--seconds", type=float, metavar="N", help="or for how long (10)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="where all randomness comes from (0)"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write what finds something here")
    parser.add_argument(
        "--guided", nargs=argparse.REMAINDER, help="by coverage, with these options of atheris"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        if options.guided is not None:
            guided(options.target, Path(directory), options.guided)
        target = TARGETS[options.target](Path(directory))
        seconds = 10.0 if options.inputs is None and options.seconds is None else options.seconds
        tally = campaign(target, options.seed, options.inputs, seconds)
        target.close()
    for wire, wrong in tally.found.items():
        print(f"{wire[:SHOWN]!r}{'...' if len(wire) > SHOWN else ''} ({len(wire)} bytes)\n{wrong}")
        if options.keep is not None:
            (options.keep / f"{options.target}-{hashlib.sha256(wire).hexdigest()[:12]}").write_bytes(wire)
    print(
        f"{options.target}: {tally.inputs} inputs of seed {options.seed} in {tally.seconds:.0f} s,"
        f" slowest {tally.slowest * 1000:.1f} ms of CPU, most memory {tally.largest} bytes,"
        f" {len(tally.found)} found something"
    )
    return 1 if tally.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
