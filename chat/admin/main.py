"""C{chatctl}, the operator's program: one subcommand for each module listed in L{COMMANDS}."""

from __future__ import annotations

import io
import os
import sqlite3
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from contextlib import suppress
from typing import Callable, Sequence

from chat import __version__
from chat.admin import (
    audit,
    backup,
    check,
    deadletters,
    decrypting,
    encrypting,
    exporting,
    importing,
    invite,
    invites,
    newkey,
    passwd,
    restore,
)
from chat.admin.command import FINDINGS, UNUSABLE, Unusable
from chat.admin.record import record
from chat.errors import StartError
from chat.wire.text_words import visible

#: Each has C{NAME}, C{SUMMARY}, C{DESCRIPTION}, C{configure(parser)} and C{run(arguments)}, which
#: returns the exit status or raises L{Unusable}; and C{RECORDED}, if operators are to be held to it.
COMMANDS = (
    audit,
    check,
    backup,
    restore,
    exporting,
    importing,
    deadletters,
    invite,
    invites,
    passwd,
    newkey,
    encrypting,
    decrypting,
)

_DESCRIPTION = """\
Looks after the data of a chat server. Nothing here needs the server to be
stopped, unless the command says so.
"""
_EPILOG = """\
exit status:
  0  all is well
  1  something was found; each finding is on a line of its own
  2  wrong usage, or no such data; the reason is on standard error

examples:
  chatctl audit --data /var/lib/chat
  chatctl check --data /var/lib/chat --door 127.0.0.1:5311
  chatctl backup --data /var/lib/chat /var/backups/chat/monday

"chatctl COMMAND --help" tells more about a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run C{chatctl} with these arguments (by default the program's own); returns the exit status."""
    _open_all()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that this terminal cannot show is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as done:  # argparse has said what it had to say
        return done.code if isinstance(done.code, int) else UNUSABLE
    status = _carry_out(arguments)
    if arguments.recorded:
        record(arguments.data, sys.argv[1:] if argv is None else argv, status)
    return status


def _carry_out(arguments: Namespace) -> int:
    run: Callable[[Namespace], int] = arguments.run
    try:
        status = run(arguments)
        sys.stdout.flush()
        return status
    except (Unusable, StartError) as error:
        return _refused(str(error))
    except BrokenPipeError:
        # Whoever reads this has seen enough of a long list.
        _let_go()
        return FINDINGS
    except KeyboardInterrupt:
        return 130
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter in the words of a damaged file
        return _refused(
            f"The files cannot be used ({error}): run this as the user that the server runs as;"
            ' "chatctl audit" tells whether they are damaged.'
        )
    except OSError as error:
        if error.filename is not None:
            return _refused(
                f"{error.filename} cannot be used ({error.strerror}):"
                " run this as the user that the server runs as."
            )
        _let_go()
        return _refused(
            f"The output cannot be written ({error.strerror}), at least not all of it: make room for it."
        )


def _refused(why: str) -> int:
    print(f"chatctl: {visible(why)}", file=sys.stderr)
    return UNUSABLE


def _let_go() -> None:
    """What nobody took of the output goes nowhere: that it cannot be written has been seen."""
    with suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_all() -> None:
    """Whoever starts this with a closed stream gets no word there, or says none."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "chatctl",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"chatctl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        one = commands.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.configure(one)
        one.set_defaults(run=command.run, recorded=getattr(command, "RECORDED", False))
    return parser


if __name__ == "__main__":
    sys.exit(main())
