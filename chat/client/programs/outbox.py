"""C{chat outbox}: what was written on this machine and the server does not have yet."""

from __future__ import annotations

import argparse

from chat.client import options as given
from chat.client.options import ADDRESSES, PASSWORDS, PROFILES, TRUST, Parser
from chat.client.programs.send import add_sending, prepare
from chat.client.running import complain, run_until

_DONE, _REFUSED = 0, 1

_DESCRIPTION = """\
Lists what you wrote and the server is not known to have, because there was
no connection or the program was killed. "chat" sends it by itself when you
log in again; with --send it is sent now, without reading your mailbox, and
with --drop it is thrown away.
"""

_MORE = """\
examples:
  chat outbox
  chat outbox --send --user bot --password-file F
  chat outbox --drop 17

exit status:
  0  listed, or all sent, or dropped
  1  refused, or there is no such number
  2  wrong usage
  5  the server could not be reached, or has no room, and something is
     still unsent
"""


def parser() -> Parser:
    """What can be given on the command line."""
    parser = given.parser("chat outbox", _DESCRIPTION, _MORE, ADDRESSES, PROFILES, TRUST, PASSWORDS)
    parser.add_argument("--send", action="store_true", help="send what is there for this server and user")
    parser.add_argument("--drop", type=int, metavar="N", help="throw away number N of the list")
    add_sending(parser)
    return parser


def run(arguments: list[str]) -> int:
    """List, send or drop; the exit status."""
    from chat.client.state import StateError

    taken = parser()
    options = given.parsed(taken, arguments)
    try:
        return _send(taken, options) if options.send else _look(taken, options)
    except StateError as error:
        complain(f"{error}.")
        return _REFUSED


def _look(taken: Parser, options: argparse.Namespace) -> int:
    from chat.client.spool import drop, no_message, waiting
    from chat.wire.text_words import beginning

    state = given.state(options, needed=taken)
    assert state is not None
    if options.drop is not None:
        if not drop(state, options.drop):
            complain(f"There is no number {options.drop} in the outbox.")
            return _REFUSED
        print(f"Number {options.drop} is dropped.")
        return _DONE
    there = list(waiting(state))
    for number, server, account, message in there:
        if message is None:
            print(f"{number}: {no_message(number)}")
            continue
        to, text = beginning(message.recipient), beginning(message.body)
        print(f"{number} to {to}, as {beginning(account)} at {server}: {text}")
    if not there:
        print("The outbox is empty.")
    return _DONE


def _send(taken: Parser, options: argparse.Namespace) -> int:
    prepared = prepare(taken, options, keeps=True)
    if prepared is None:
        return _REFUSED
    sender, keeping = prepared

    from chat.client.once import send_kept

    return run_until(sender.reactor, lambda: send_kept(sender, keeping, options.timeout, complain))
