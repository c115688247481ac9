"""C{chat trust}: which servers are known, and by what."""

from __future__ import annotations

import sys

from chat.client import options as given
from chat.client.options import Parser
from chat.client.running import complain, run_until, usual_reactor

_REFUSED = 1

_DESCRIPTION = """\
Shows the certificate that a server has now, and asks whether it is the
right one; if so, it is the only one that is accepted from then on. With its
name, that is its SHA256:... fingerprint or its eight words, it is compared
instead of asked. Without a server, lists those that are known.
"""

_MORE = """\
examples:
  chat trust
  chat trust chat.example.org:5311
  chat trust --remove chat.example.org:5311

what is known:
  Where the system's authorities vouch for a certificate, any of that kind
  is accepted from then on, so that it can be renewed. What is known is in
  the file ~/.config/chat/known_servers (or below XDG_CONFIG_HOME); another
  line for the same server there names a second certificate.

exit status:
  0  it is known now
  1  it is not, or it is the wrong one
  2  wrong usage
  5  the server could not be reached
"""


def parser() -> Parser:
    """What can be given on the command line."""
    parser = given.parser("chat trust", _DESCRIPTION, _MORE)
    parser.add_argument("server", nargs="?", metavar="HOST:PORT", help="the server")
    parser.add_argument("name", nargs="*", metavar="NAME", help="what its certificate should be called")
    parser.add_argument("--remove", action="store_true", help="forget the server")
    return parser


def run(arguments: list[str]) -> int:
    """Look, compare, ask, list or forget; the exit status."""
    taken = parser()
    options = taken.parse_args(arguments)

    from chat.client.address import host_from
    from chat.client.console import PlainConsole
    from chat.client.errors import Distrust
    from chat.client.known import KnownServers
    from chat.client.trust import claim
    from chat.client.trusting import Trusting

    reactor = usual_reactor()
    console = PlainConsole(reactor, encoding=sys.stdin.encoding or "utf-8")
    trusting = Trusting(KnownServers(), console, complain)
    try:
        if options.server is None:
            if options.remove:
                taken.error("which server is to be forgotten?")
            return trusting.list()
        host = host_from(options.server)
        if host is None:
            taken.error(f"{options.server!r} is no HOST:PORT")
        if options.remove:
            return trusting.remove(host)
        expected = claim(" ".join(options.name)) if options.name else None
    except ValueError as error:
        taken.error(str(error))
    except Distrust as error:
        complain(str(error))
        return _REFUSED
    return run_until(reactor, lambda: trusting.accept(reactor, host, expected))
