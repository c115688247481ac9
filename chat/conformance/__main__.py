"""C{python -m chat.conformance HOST:PORT}: make all checks, one line each."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Callable, Iterable, Optional, Sequence

from chat.conformance import (
    account,
    der_door,
    frames,
    http_door,
    json_door,
    login,
    mailboxes,
    receiving,
    searching,
    sending,
    strangers,
    tokens,
    unwanted,
)
from chat.conformance.check import (
    CHECKS,
    CLOSED,
    INVITED,
    OPEN,
    TERMINATE,
    TIMEOUT,
    Check,
    NotThere,
    Room,
    Server,
)
from chat.conformance.codecs import CODECS
from chat.conformance.talk import Failure
from chat.conformance.wires import parse_address

PASSED, FAILED, USAGE = 0, 1, 2
#: Where the checks are, in the order in which they are made.
MODULES = [
    module.__name__
    for module in (
        login,
        frames,
        json_door,
        der_door,
        http_door,
        sending,
        receiving,
        mailboxes,
        searching,
        account,
        tokens,
        strangers,
        unwanted,
    )
]


class Parser(argparse.ArgumentParser):
    """The command line."""

    def __init__(self) -> None:
        super().__init__(
            prog="python -m chat.conformance",
            description="Check from outside whether a server keeps docs/protocol.rst."
            " Each check makes accounts of its own, which stay on the server: use one that is for trying.",
            epilog="Exit status: 0 all passed, 1 some failed, 2 wrong usage or no such server.",
        )
        self.add_argument(
            "address",
            metavar="DOOR",
            nargs="?",
            help="what is to be checked: HOST:PORT, tls:HOST:PORT, ws://HOST:PORT/socket or http://HOST:PORT",
        )
        self.add_argument(
            "names", metavar="NAME", nargs="*", help="only these checks; * and ? as in file names"
        )
        self.add_argument(
            "--codec", choices=sorted(CODECS), default="json", help="what that door speaks (json)"
        )
        self.add_argument("--list", action="store_true", help="say what the checks are, and make none")
        self.add_argument(
            "--patience", type=_seconds, default=10.0, metavar="SECONDS", help="for what must come (10)"
        )
        self.add_argument(
            "--quiet", type=_seconds, default=0.2, metavar="SECONDS", help="for what must not come (0.2)"
        )
        self.add_argument(
            "--closed", action="store_true", help="nobody can sign up there: make the check of that"
        )
        self.add_argument("--known", metavar="NAME", help="with --closed: the name of an account there")
        self.add_argument(
            "--invitation", metavar="CODE", help="one that is good for an account there: use it"
        )
        self.add_argument(
            "--login-timeout",
            type=_seconds,
            metavar="SECONDS",
            help="what a login may take there: wait for it",
        )
        self.add_argument(
            "--terminate",
            type=_process,
            metavar="PID",
            help="the server's process: end it, as the last check",
        )


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= 3600:
            return float(text)
    raise argparse.ArgumentTypeError(f"not a number of seconds over 0 and up to 3600: {text!r}")


def _process(text: str) -> int:
    """A process; 0 and what is below it would be many."""
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"not the number of a process: {text!r}")


def chosen(names: Sequence[str]) -> list[Check]:
    """The checks of these names, those that end the server last.

    @raise ValueError: there is no check of a name.
    """
    for name in names:
        if not any(fnmatchcase(each, name) for each in CHECKS):
            raise ValueError(f"there is no check {name}; --list names them all")
    found = [each for each in CHECKS.values() if not names or any(fnmatchcase(each.name, n) for n in names)]
    return sorted(found, key=lambda each: (each.needs == TERMINATE, MODULES.index(each.run.__module__)))


def obstacle(check: Check, server: Server) -> Optional[str]:
    """Why this check cannot be made with this server, if so."""
    if server.address.http != (check.codec == "http"):
        return "of HTTP" if check.codec == "http" else "of the other doors"
    if check.codec not in (None, "http", server.codec.name):
        return f"of the {check.codec} door"
    if check.needs == INVITED:
        return None if server.invitation is not None else "needs --invitation"
    if check.needs == CLOSED:
        return None if server.closed else "needs --closed"
    if server.closed:
        return "needs sign-up"
    if check.needs == TIMEOUT and server.login_timeout is None:
        return "needs --login-timeout"
    if check.needs == TERMINATE and server.process is None:
        return "needs --terminate"
    assert check.needs in (OPEN, TIMEOUT, TERMINATE)
    return None


def fault(check: Check, server: Server) -> Optional[str]:
    """What is wrong with the server, if this check finds anything.

    @raise NotThere: the check cannot be made.
    """
    room = Room(server)
    try:
        check.run(room)
    except Failure as failure:
        return str(failure)
    except OSError as error:
        return f"the server takes no connection ({error})"
    finally:
        room.close()
    return None


def make(checks: Iterable[Check], server: Server, say: Callable[[str], None]) -> bool:
    """Make these checks, one line each and a summary; whether none failed."""
    passed = failed = skipped = 0
    for check in checks:
        why = obstacle(check, server)
        wrong = None
        if why is None:
            try:
                wrong = fault(check, server)
            except NotThere as error:
                why = str(error)
        if why is not None:
            skipped += 1
            say(f"skip {check.name}: {why}")
        elif wrong is not None:
            failed += 1
            say(f"FAIL {check.name}: {check.sentence} ({check.section}) -- {wrong}")
        else:
            passed += 1
            say(f"ok   {check.name}")
    say(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return not failed


def show(line: str) -> None:
    """Print a line at once, with what a terminal must not be sent spelled out."""
    print("".join(c if c.isprintable() else repr(c)[1:-1] for c in line), flush=True)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; the exit status."""
    parser = Parser()
    try:
        options = parser.parse_intermixed_args(arguments)
    except SystemExit as end:
        return USAGE if end.code else PASSED
    if options.list:
        for check in chosen([]):
            only = f", {check.codec} only" if check.codec else ""
            show(f"{check.name} ({check.section}{only}): {check.sentence}")
        return PASSED
    try:
        address = parse_address(options.address or "")
    except ValueError:
        parser.print_usage(sys.stderr)
        print(
            "The door is given as HOST:PORT, for example 127.0.0.1:5311; with tls: before it where it speaks"
            " TLS; or as ws://HOST:PORT/socket or http://HOST:PORT, wss:// or https:// with TLS.",
            file=sys.stderr,
        )
        return USAGE
    if address.path and options.codec != "json":
        print("The web speaks JSON: leave out --codec.", file=sys.stderr)
        return USAGE
    server = Server(
        address=address,
        codec=CODECS[options.codec],
        patience=options.patience,
        quiet=options.quiet,
        closed=options.closed,
        login_timeout=options.login_timeout,
        known=options.known,
        process=options.terminate,
        invitation=options.invitation,
    )
    try:
        # Where HTTP is asked for, the hundred checks of the other doors are nothing to be told of.
        checks = [each for each in chosen(options.names) if address.http <= (each.codec == "http")]
        if not checks:
            raise ValueError("none of these checks is of HTTP; --list tells which are")
        Room(server).connect().close()
    except ValueError as error:
        print(f"chat.conformance: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"chat.conformance: nobody answers at {options.address} ({error})", file=sys.stderr)
        return USAGE
    return PASSED if make(checks, server, show) else FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
