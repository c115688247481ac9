"""C{chat}: the line client."""

from __future__ import annotations

import os
import sys
from argparse import BooleanOptionalAction, Namespace
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from chat import __version__
from chat.client import options as given
from chat.client.options import ADDRESSES, PASSWORDS, PROFILES, TRUST, Parser
from chat.client.running import asyncio_reactor, complain, run_until, usual_reactor
from chat.wire import Codec

if TYPE_CHECKING:
    from chat.client.console import Console
    from chat.client.state import State
    from chat.client.teller import Teller

_REFUSED = 1

_DESCRIPTION = """\
Connects to a chat server, logs in (or signs up, when the name is free),
shows what came while you were away, and then sends what you type. /help
lists the commands.

Lines are only ever appended: what was shown is never changed, so that it
can be read aloud. On a terminal there is a line editor with a history, and
Tab completes commands and names. What arrives while you type waits for a
pause of a second; then it is shown below the unfinished line, and that once
more below it. With --plain, and where there is no terminal, there is no
editor.

What you type is on this machine's disk before it is sent, and stays there
until the server has it. When the connection is lost, or the program is
killed, it is sent the next time; nothing is sent twice.
"""

_MORE = """\
examples:
  chat
  chat chat.example.org:5311 --user alice
  chat chat.example.org --user alice --stay
  chat --profile work
  chat --user bot --password-file F </dev/null
  echo "/to bob Backup done." | chat --user bot --password-file F
  tail -f orders.json | chat --json --user bot --password-file F

scripts:
  At the end of the input it waits until everything sent is accepted. To
  stay and listen, keep the input open. With --json, everything that happens
  is one JSON object a line, and an input line that begins with a brace is a
  message or a request in JSON, as these are. To send one message and know
  what became of it, there is "chat send".

requests:
  {"recipient": "bob", "subject": "news", "body": "Two\\nlines."}
  {"recipient": "bob", "body": "Once, however often.", "ref": "n-1"}
  {"keyword": "search", "query": "from:bob"}

exit status:
  0  left
  1  refused, by the password for example
  2  wrong usage
  5  the server could not be reached, or went away with something unsent,
     which is kept, and sent the next time
"""


def parser() -> Parser:
    """What can be given on the command line."""
    parser = given.parser("chat", _DESCRIPTION, _MORE, ADDRESSES, PROFILES, TRUST, PASSWORDS)
    parser.usage = (
        "chat [HOST:PORT | unix:PATH] [options]\n"
        "       chat send NAME [options]\n"
        "       chat join LINE [options]\n"
        "       chat recover [HOST:PORT] [options]\n"
        "       chat trust [HOST:PORT [NAME]] [options]\n"
        "       chat profile [NAME HOST:PORT] [options]\n"
        "       chat outbox [options]                       (each of them has a --help)"
    )
    given.add_server(parser, "server", nargs="?")
    given.add_user(parser, "log in under this name; asked if not given")
    given.add_codec(parser)
    given.add_trust(parser)
    parser.add_argument(
        "--sign-up",
        action="store_true",
        help="create the account with the password of the file, if the name is free",
    )
    add_talking(parser)
    parser.add_argument("--version", action="version", version=f"chat {__version__}")
    return parser


def add_talking(parser: Parser) -> None:
    """What there is for all programs that end in a conversation."""
    given.add_profile(parser)
    parser.add_argument(
        "--stay",
        action=BooleanOptionalAction,
        default=False,
        help="stay logged in: keep a token on this machine, so that the password need not "
        "be typed the next time; /logout ends it",
    )
    parser.add_argument("--plain", action="store_true", help="no line editor, also on a terminal")
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="a little colour; auto, if not given: on a terminal, unless NO_COLOR is set",
    )
    parser.add_argument(
        "--bell",
        action=BooleanOptionalAction,
        default=False,
        help="ring the terminal's bell when a message comes",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="for programs: one JSON object a line for everything that happens",
    )
    parser.add_argument(
        "--history",
        action=BooleanOptionalAction,
        default=True,
        help="keep the lines typed, for the next time; no passwords. Kept if not given",
    )
    parser.add_argument(
        "--outbox",
        action=BooleanOptionalAction,
        default=True,
        help="keep what is not sent yet on disk. Kept if not given",
    )


def run(arguments: list[str]) -> int:
    """Be the line client; the exit status."""
    taken = parser()
    options = given.parsed(taken, arguments)
    return converse(taken, options, options.server, sign_up=options.sign_up)


def converse(
    parser: Parser, options: Namespace, server: str | None, invite: str | None = None, **more: Any
) -> int:
    """Log in and talk; the exit status."""
    codec = Codec(options.codec)
    address = given.address(parser, server, codec)
    if options.password_file is not None and options.user is None:
        parser.error("--password-file is of use only together with --user")
    password = None if options.user is None else given.read_password(parser, options.password_file)
    edited = not (options.plain or options.json) and _can_be_edited()
    reactor = asyncio_reactor() if edited else usual_reactor()

    from chat.client.console import OutputGone
    from chat.client.errors import ClientError, Distrust
    from chat.client.line import LineClient
    from chat.client.memory import Memory

    try:
        endpoint, trust = given.way_to(parser, reactor, options, address, invited=invite is not None)
    except Distrust as error:
        complain(str(error))
        return _REFUSED
    state = given.state(options)
    console = _console(reactor, options, edited, state)
    reactor.addSystemEventTrigger("before", "shutdown", console.close)
    place = given.place(address, codec)
    teller = _teller(options, console)

    def end(reason: str) -> None:
        complain(reason)
        if options.json:
            with suppress(OutputGone):
                teller.over(ClientError(reason))

    client = LineClient(
        reactor,
        endpoint,
        codec,
        console,
        username=options.user,
        password=password,
        trust=trust,
        complain=end,
        teller=teller,
        memory=lambda: Memory(reactor, state, place, options.stay, options.outbox, teller.failed),
        programs=options.json,
        invite=invite,
        **more,
    )
    return run_until(reactor, client.run)


def _can_be_edited() -> bool:
    """Whether somebody sits at a terminal that can do what a line editor needs."""
    dumb = os.name == "posix" and os.environ.get("TERM", "dumb") == "dumb"
    return sys.stdin.isatty() and sys.stdout.isatty() and not dumb


def _console(reactor: Any, options: Namespace, edited: bool, state: State | None) -> Console:
    from chat.client.look import Look, look

    if edited:
        from chat.client.editor import EditedConsole
        from chat.client.history import LineHistory

        history = LineHistory(state.folder / "history") if state is not None and options.history else None
        return EditedConsole(reactor, look(sys.stdout, options.color, False), history)

    from chat.client.console import PlainConsole

    encoding = sys.stdin.encoding or "utf-8"
    if options.json:
        return PlainConsole(reactor, encoding=encoding, look=Look(), interactive=False)
    return PlainConsole(reactor, encoding=encoding, look=look(sys.stdout, options.color, True))


def _teller(options: Namespace, console: Console) -> Teller:
    from time import time

    from chat.client.teller import JsonTeller, WordTeller
    from chat.client.wording import Wording

    return JsonTeller(console) if options.json else WordTeller(console, Wording(time), options.bell)
