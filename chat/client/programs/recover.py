"""C{chat recover}: for a forgotten password."""

from __future__ import annotations

from chat.client import options as given
from chat.client.options import ADDRESSES, PROFILES, TRUST, Parser
from chat.client.programs.talk import add_talking, converse

_DESCRIPTION = """\
For a forgotten password: asks for one of the recovery codes that you wrote
down when you signed up (or that whoever runs the server has given you) and
for a new password, logs in with that, and goes on. The code is of no use
afterwards.
"""

_MORE = """\
example:
  chat recover chat.example.org:5311 --user alice
"""


def parser() -> Parser:
    """What can be given on the command line."""
    parser = given.parser("chat recover", _DESCRIPTION, _MORE, ADDRESSES, PROFILES, TRUST)
    given.add_server(parser, "server", nargs="?")
    given.add_user(parser, "whose password it was; asked if not given")
    given.add_codec(parser)
    given.add_trust(parser)
    add_talking(parser)
    return parser


def run(arguments: list[str]) -> int:
    """Log in by a code and go on; the exit status."""
    taken = parser()
    options = given.parsed(taken, arguments)
    return converse(taken, options, options.server, recover=True)
