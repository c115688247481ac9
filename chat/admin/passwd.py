"""C{chatctl passwd}: a new password, or a way to one, for somebody who has forgotten the old one."""

from __future__ import annotations

import getpass
import sqlite3
import sys
import time
from argparse import ArgumentParser, Namespace

from chat.admin.beside import beside, writing
from chat.admin.command import CLEAN, Unusable, add_data, opening
from chat.admin.invite import number
from chat.admin.mailbox import account
from chat.codes import RECOVERY_GROUPS, digest, new_code
from chat.errors import Refusal
from chat.prepared import new_password
from chat.store import passwords, recoveries
from chat.times import rfc3339

NAME = "passwd"
SUMMARY = "give an account a new password, or its owner a code to choose one"
RECORDED = True
DESCRIPTION = """\
Asks for a new password on the terminal, or reads it as one line from standard
input, and makes it that of the account. Its tokens are revoked, and its recovery
codes are not good any more: its owner gets new ones with /recovery. Sessions that
are logged in go on, but are given no tokens until they log in again; restarting
the server ends them.

With --code nothing is changed: it prints a code with which the owner can choose a
new password, once (in the client: chat recover; at the text door: /recover NAME),
so that you need not know it.

The server may run or not. Neither a password nor a code is ever an argument.
"""
_DAY = 24 * 60 * 60 * 1000


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument("account", metavar="NAME", help="whose password")
    parser.add_argument("--code", action="store_true", help="print a recovery code for the owner instead")
    parser.add_argument(
        "--days", metavar="N", type=number, default=7, help="with --code: it ends in N days (default: 7)"
    )


def run(arguments: Namespace) -> int:
    """Do it, and say what was done."""
    with beside(arguments.data, ("users", "passwords"), opening(arguments)) as connection:
        try:
            id, name = account(connection, arguments.account)
            rounds = passwords.cost(connection.cursor(), id)
        except sqlite3.Error as error:
            raise Unusable(f'The files cannot be read ({error}): see what "chatctl audit" finds.') from None
        now = int(time.time() * 1000)
        if arguments.code:
            code = new_code(RECOVERY_GROUPS)
            expires = now + arguments.days * _DAY
            with writing(connection) as cursor:
                done = recoveries.add(cursor, id, digest(code, RECOVERY_GROUPS), expires)
        else:
            hashed = passwords.make_hash(_asked(name), rounds)
            with writing(connection) as cursor:
                done = passwords.reset(cursor, id, hashed, int(time.time() * 1000))
    if not done:
        raise Unusable(f"The account {name!a} is just being deleted.")
    if arguments.code:
        print(code)
        print(f"chatctl: a recovery code for {name!a}, good once until {rfc3339(expires)}", file=sys.stderr)
    else:
        print(f"the password of {name!a} is changed; its tokens and recovery codes are void")
    return CLEAN


def _asked(name: str) -> bytes:
    """The new password.

    @raise Unusable: it is none that may be chosen, or was typed in two ways.
    """
    try:
        if sys.stdin.isatty():
            typed = getpass.getpass(f"New password for {name!a}: ")
            if getpass.getpass("Again: ") != typed:
                raise Unusable("The two were not the same; nothing was changed.")
        else:
            typed = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    except EOFError:
        raise Unusable("No password was typed; nothing was changed.") from None
    except UnicodeDecodeError:  # which would show some of it
        raise Unusable("That is no text in the encoding of this terminal; nothing was changed.") from None
    try:
        return new_password(typed)
    except Refusal as refusal:
        raise Unusable(f"{refusal.reason} Nothing was changed.") from None
