"""C{chatctl invites}: the invitations that are out, and revoking them."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace

from chat.admin.beside import beside, writing
from chat.admin.command import CLEAN, FINDINGS, add_data, counted, identifier, opening
from chat.store import invitations
from chat.store.invitations import Kept
from chat.times import rfc3339

NAME = "invites"
SUMMARY = "list invitations, or revoke one"
RECORDED = True
DESCRIPTION = """\
Lists the invitations that "chatctl invite" has made, one a line: the number, when
it was made, and for how many accounts until when it is good. Those that have ended
are listed for a week. Who was invited with which is not written down.

--revoke N makes invitation N worthless at once. Accounts that were made with it
stay. The server may run or not.
"""


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument("--revoke", metavar="N", type=identifier, help="revoke invitation N")


def run(arguments: Namespace) -> int:
    """List them, or revoke one; status 1 if there is none of that number."""
    now = int(time.time() * 1000)
    with beside(arguments.data, ("users",), opening(arguments)) as connection:
        if arguments.revoke is None:
            found = invitations.kept(connection.cursor())
            kept = [each for each in found if each.expires > now - invitations.LISTED]
        else:
            with writing(connection) as cursor:
                revoked = invitations.revoke(cursor, arguments.revoke)
            print(f"invitation {arguments.revoke} {'is revoked' if revoked else 'does not exist'}")
            return CLEAN if revoked else FINDINGS
    for each in kept:
        print(_line(each, now))
    print(counted(len(kept), "invitation"))
    return CLEAN


def _line(invitation: Kept, now: int) -> str:
    number, made, expires, uses = invitation
    if expires <= now:
        fate = f"ended {rfc3339(expires)}"
    elif not uses:
        fate = "used up"
    else:
        fate = f"good for {counted(uses, 'account')} until {rfc3339(expires)}"
    return f"{number}  made {rfc3339(made)}, {fate}"
