"""The program C{chat}: the line client, C{chat send} for scripts, and what goes with them."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import Sequence

from chat.client.options import COMMANDS
from chat.client.running import INTERRUPTED, flush


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments, and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _stand_in()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that this terminal cannot show is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    try:
        command = arguments.pop(0) if arguments[:1] and arguments[0] in COMMANDS else "talk"
        # Only this one is imported: programs that run often should begin at once.
        status: int = import_module(f"chat.client.programs.{command}").run(arguments)
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        flush()


def _stand_in() -> None:
    """Put nothing in the place of a standard stream that is closed; else the next file would be there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
