"""C{chat join}: an account on a server that somebody is invited to."""

from __future__ import annotations

import sys

from chat.client import options as given
from chat.client.options import PASSWORDS, Parser
from chat.client.programs.talk import add_talking, converse

_DESCRIPTION = """\
Makes an account on a server that you were invited to, and goes on there.
Paste the whole line that you were sent, with the quotes; without it, it is
asked, and then nobody on this machine can read the code among the arguments
of its programs.

The line names the server's certificate, so that nobody in between can take
its place. A server that is known by another one already is refused: anybody
may have written the line.
"""

_MORE = """\
example:
  chat join 'chat://chat.example.org:5311/?code=7q2m-...&pin=5f0b...'
"""


def parser() -> Parser:
    """What can be given on the command line."""
    parser = given.parser("chat join", _DESCRIPTION, _MORE, PASSWORDS)
    parser.add_argument("invitation", nargs="*", metavar="LINE", help="the line; asked if not given")
    given.add_user(parser, "the name to sign up under; asked if not given")
    given.add_codec(parser)
    given.add_plaintext(parser)
    add_talking(parser)
    return parser


def run(arguments: list[str]) -> int:
    """Sign up and go on; the exit status."""
    from chat.invitation import parse

    taken = parser()
    options = given.parsed(taken, arguments)
    line = " ".join(options.invitation)
    if not line and not sys.stdin.isatty():
        taken.error("the invitation is missing, and there is no terminal to ask for it")
    try:
        invitation = parse(line or input("Invitation: "))
    except (ValueError, EOFError) as error:
        taken.error(str(error) or "no invitation was typed")
    host = f"[{invitation.host}]" if ":" in invitation.host else invitation.host
    options.trust, options.accept_new = invitation.pin, False
    return converse(taken, options, f"{host}:{invitation.port}", sign_up=True, invite=invitation.code)
