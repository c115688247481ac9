"""C{chat send}: one message, for scripts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from chat.client import options as given
from chat.client.options import ADDRESSES, PASSWORDS, PROFILES, TRUST, Parser
from chat.client.running import complain, run_until, usual_reactor
from chat.wire import Codec

if TYPE_CHECKING:
    from chat.client.letters import Keeping
    from chat.client.once import Sender

#: The most bytes of a body that are read: one more than any server takes would do.
_MOST_INPUT = 1024 * 1024

_REFUSED = 1

_DESCRIPTION = """\
Sends one message, whose body is read from the standard input, and tells by
its exit status what became of it. The last line end of the input is not
part of the body, so that "echo hello | chat send bob" sends "hello";
everything else is sent as it is.
"""

_MORE = """\
examples:
  echo "disk full" | chat send bob -s "host seven" --user bot --password-file F
  chat send bob --wait 30 --profile work <report.txt
  date | chat send bob --queue --user bot --password-file F

exit status:
  0  delivered: the recipient's client has confirmed it (without --wait:
     the server has accepted it)
  1  refused; the reason is on the standard error
  2  wrong usage
  3  accepted, and still waiting after --wait seconds; it will be
     delivered, or come back
  4  it came back, because there is no such account for example; the reason
     is on the standard error, and the message itself is in your mailbox
  5  the server could not be reached, or did not answer within --timeout:
     it is not known whether the message was accepted. With --ref, running
     the same command again does not send it twice.
  6  with --queue: the same, or the server has no room for it now. The
     message is kept on this machine, and sent, once, by the next "chat send
     --queue", "chat outbox --send" or "chat" of the same user, server and
     profile. Do not send it again.
"""


def parser() -> Parser:
    """What can be given on the command line."""
    parser = given.parser("chat send", _DESCRIPTION, _MORE, ADDRESSES, PROFILES, TRUST, PASSWORDS)
    parser.add_argument("recipient", metavar="NAME", help="whom to send it to")
    parser.add_argument("-s", "--subject", help="the subject; none if not given")
    parser.add_argument(
        "-w",
        "--wait",
        type=given.seconds,
        metavar="SECONDS",
        help="wait so long for the delivery; if not given, leave once it is accepted",
    )
    add_sending(parser)
    parser.add_argument(
        "--ref",
        metavar="ID",
        help="your own identifier of this message, at most 64 bytes: sending again what "
        "has the same one does not send it twice",
    )
    parser.add_argument(
        "--automatic",
        action="store_true",
        help="no person writes this: programs that answer mail by themselves leave it alone",
    )
    parser.add_argument(
        "--queue",
        action="store_true",
        help="keep it on disk before it is sent, and for later if the server is not there",
    )
    return parser


def add_sending(parser: Parser) -> None:
    """Where to, as whom, and how long to try."""
    given.add_server(parser, "--server")
    given.add_user(parser, "log in under this name; needed, unless just one stays logged in")
    given.add_profile(parser)
    given.add_codec(parser)
    given.add_trust(parser)
    parser.add_argument(
        "--timeout",
        type=given.seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to try to reach the server and have the message accepted; 10",
    )


def run(arguments: list[str]) -> int:
    """Send it; the exit status."""
    taken = parser()
    options = given.parsed(taken, arguments)
    prepared = prepare(taken, options, keeps=options.queue)
    if prepared is None:
        return _REFUSED
    sender, keeping = prepared
    try:
        body = _read_body()
    except UnicodeDecodeError:
        complain("Not sent: the input is not UTF-8 text.")
        return _REFUSED

    from chat.client.once import Order, send_once

    order = Order(
        recipient=options.recipient,
        body=body,
        subject=options.subject,
        ref=options.ref,
        wait=options.wait,
        patience=options.timeout,
        automatic=options.automatic,
    )
    queue = keeping if options.queue else None
    return run_until(sender.reactor, lambda: send_once(sender, order, complain, queue))


def prepare(taken: Parser, options: Any, keeps: bool) -> tuple[Sender, Keeping] | None:
    """Who sends, and their outbox; C{None} if it is not safe, which has been said.

    @param keeps: it is of no use without an outbox: then the program ends where there can be none.
    """
    state = given.state(options, needed=taken if keeps else None)
    codec = Codec(options.codec)
    address = given.address(taken, options.server, codec)
    password = given.read_password(taken, options.password_file)
    reactor = usual_reactor()

    from chat.client.errors import Distrust
    from chat.client.memory import Memory, own_form
    from chat.client.once import Sender

    memory = Memory(reactor, state, given.place(address, codec))
    username, token = options.user, None
    stayed = memory.stayed(username) if password is None else None
    if stayed is not None:
        username, token = stayed
    if username is None:
        taken.error("--user is missing: who sends it?")
    try:
        endpoint, _ = given.way_to(taken, reactor, options, address)
    except Distrust as error:
        complain(f"Not sent: {error}")
        return None
    memory.account = own_form(username)
    if password is None and token is None:
        password = given.type_password(taken, username)
    return Sender(reactor, endpoint, codec, username, password, token), memory.keeping()


def _read_body() -> str:
    octets = sys.stdin.buffer.read(_MOST_INPUT)
    # Far too large for any message, and perhaps cut in the middle of a character: the server says so.
    body = octets.decode(errors="ignore" if len(octets) == _MOST_INPUT else "strict")
    return body.removesuffix("\n").removesuffix("\r") if body.endswith("\n") else body
