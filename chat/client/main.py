"""The program C{chat}: the line client, C{chat send} for scripts, and what goes before them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, Sequence

from chat import __version__
from chat.client import options as given
from chat.client.options import ADDRESSES, PASSWORDS, TRUST, Parser
from chat.client.running import INTERRUPTED, asyncio_reactor, complain, flush, run, usual_reactor
from chat.wire import Codec

if TYPE_CHECKING:
    from chat.client.console import Console

#: The most bytes of a body that are read: one more than any server takes would do.
_MOST_INPUT = 1024 * 1024

_REFUSED = 1

_CHAT = """\
Connects to a chat server, logs in (or signs up, when the name is free), shows what came
while you were away, and then sends what you type. /help lists the commands.

On a terminal there is a line editor, and what arrives is shown above the line that you
are typing. Otherwise, and with --plain, lines are read and lines are appended, and
nothing is redrawn: for pipes, transcripts and screen readers.

When the connection is lost, it says so, connects again by itself, and sends then what you
typed meanwhile. Nothing is sent twice.
"""

_CHAT_MORE = """\
scripts:
  chat --user bot --password-file F </dev/null      prints what came, and leaves
  echo "/to bob Backup done." | chat --user bot --password-file F
  At the end of the input it waits until everything sent is accepted. To stay and
  listen, keep the input open. To send one message and know what became of it, there is
  "chat send"; see "chat send --help".

exit status:
  0  left        1  refused, by the password for example        2  wrong usage
  5  the server could not be reached, or went away with something unsent
"""

_SEND = """\
Sends one message, whose body is read from the standard input, and tells by its exit
status what became of it. The last line end of the input is not part of the body, so that
"echo hello | chat send bob" sends "hello"; everything else is sent as it is.
"""

_SEND_MORE = """\
exit status:
  0  delivered: the recipient's client has confirmed it (without --wait: the server has
     accepted it)
  1  refused; the reason is on the standard error
  2  wrong usage
  3  accepted, and still waiting after --wait seconds; it will be delivered, or come back
  4  it came back, because there is no such account for example; the reason is on the
     standard error, and the message itself is in your mailbox
  5  the server could not be reached, or did not answer within --timeout: it is not known
     whether the message was accepted. With --ref, running the same command again does
     not send it twice.
"""

_JOIN = """\
Makes an account on a server that you were invited to, and goes on there. Paste the whole
line that you were sent, with the quotes; without it, it is asked, and then nobody on this
machine can read the code among the arguments of its programs.

The line names the server's certificate, so that nobody in between can take its place. A server
that is known by another one already is refused: anybody may have written the line.
"""

_RECOVER = """\
For a forgotten password: asks for one of the recovery codes that you wrote down when you
signed up (or that whoever runs the server has given you) and for a new password, logs in
with that, and goes on. The code is of no use afterwards.
"""

_TRUST = """\
Shows the certificate that a server has now, and asks whether it is the right one; if so, it
is the only one that is accepted from then on. With its name, that is its SHA256:... fingerprint
or its eight words, it is compared instead of asked. Without a server, lists those that are known.
"""

_TRUST_MORE = """\
Where the system's authorities vouch for a certificate, any of that kind is accepted from then
on, so that it can be renewed. What is known is in the file ~/.config/chat/known_servers (or below
XDG_CONFIG_HOME); another line for the same server there names a second certificate.

exit status:
  0  it is known now        1  it is not, or it is the wrong one        2  wrong usage
  5  the server could not be reached
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments, and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] and arguments[0] in _COMMANDS:
            return _COMMANDS[arguments[0]](arguments[1:])
        return _chat(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        flush()


def _chat(arguments: list[str]) -> int:
    parser = given.parser("chat", _CHAT, ADDRESSES, TRUST, PASSWORDS, _CHAT_MORE)
    parser.usage = (
        "chat [HOST:PORT | unix:PATH] [options]\n"
        "       chat send NAME [options]\n"
        "       chat join LINE [options]\n"
        "       chat recover [HOST:PORT] [options]\n"
        "       chat trust [HOST:PORT [NAME]] [options]     (each of them has a --help)"
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
    _add_plain(parser)
    parser.add_argument("--version", action="version", version=f"chat {__version__}")
    options = parser.parse_args(arguments)
    return _converse(parser, options, options.server, sign_up=options.sign_up)


def _join(arguments: list[str]) -> int:
    from chat.invitation import parse

    parser = given.parser("chat join", _JOIN, PASSWORDS)
    parser.add_argument("invitation", nargs="*", metavar="LINE", help="the line; asked if not given")
    given.add_user(parser, "the name to sign up under; asked if not given")
    given.add_codec(parser)
    given.add_plaintext(parser)
    _add_plain(parser)
    options = parser.parse_args(arguments)
    line = " ".join(options.invitation)
    if not line and not sys.stdin.isatty():
        parser.error("the invitation is missing, and there is no terminal to ask for it")
    try:
        invitation = parse(line or input("Invitation: "))
    except (ValueError, EOFError) as error:
        parser.error(str(error) or "no invitation was typed")
    host = f"[{invitation.host}]" if ":" in invitation.host else invitation.host
    options.trust, options.accept_new = invitation.pin, False
    return _converse(parser, options, f"{host}:{invitation.port}", sign_up=True, invite=invitation.code)


def _recover(arguments: list[str]) -> int:
    parser = given.parser("chat recover", _RECOVER, ADDRESSES, TRUST)
    given.add_server(parser, "server", nargs="?")
    given.add_user(parser, "whose password it was; asked if not given")
    given.add_codec(parser)
    given.add_trust(parser)
    _add_plain(parser)
    options = parser.parse_args(arguments)
    return _converse(parser, options, options.server, recover=True)


def _add_plain(parser: Parser) -> None:
    parser.add_argument("--plain", action="store_true", help="no line editor, also on a terminal")


def _converse(
    parser: Parser, options: Any, server: str | None, invite: str | None = None, **more: Any
) -> int:
    """Be the line client."""
    codec = Codec(options.codec)
    address = given.address(parser, server, codec, tuple(_COMMANDS))
    if options.password_file is not None and options.user is None:
        parser.error("--password-file is of use only together with --user")
    password = None if options.user is None else given.read_password(parser, options.password_file)
    edited = not options.plain and sys.stdin.isatty() and sys.stdout.isatty()
    reactor = asyncio_reactor() if edited else usual_reactor()

    from chat.client.console import PlainConsole
    from chat.client.errors import Distrust
    from chat.client.line import LineClient

    try:
        endpoint, trust = given.way_to(parser, reactor, options, address, invited=invite is not None)
    except Distrust as error:
        complain(str(error))
        return _REFUSED
    console: Console
    if edited:
        from chat.client.editor import EditedConsole

        console = EditedConsole()
    else:
        console = PlainConsole(reactor, encoding=sys.stdin.encoding or "utf-8")
    reactor.addSystemEventTrigger("before", "shutdown", console.close)
    client = LineClient(
        reactor,
        endpoint,
        codec,
        console,
        username=options.user,
        password=password,
        trust=trust,
        complain=complain,
        invite=invite,
        **more,
    )
    return run(reactor, client.run)


def _send(arguments: list[str]) -> int:
    parser = given.parser("chat send", _SEND, _SEND_MORE, ADDRESSES, TRUST, PASSWORDS)
    parser.add_argument("recipient", metavar="NAME", help="whom to send it to")
    parser.add_argument("-s", "--subject", help="the subject; none if not given")
    parser.add_argument(
        "-w",
        "--wait",
        type=given.seconds,
        metavar="SECONDS",
        help="wait so long for the delivery; if not given, leave once it is accepted",
    )
    given.add_server(parser, "--server")
    given.add_user(parser, "log in under this name; always needed")
    given.add_codec(parser)
    given.add_trust(parser)
    parser.add_argument(
        "--timeout",
        type=given.seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to try to reach the server and have the message accepted; 10",
    )
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
    options = parser.parse_args(arguments)
    codec = Codec(options.codec)
    address = given.address(parser, options.server, codec, ())
    if options.user is None:
        parser.error("--user is missing: who sends it?")
    password = given.read_password(parser, options.password_file)
    reactor = usual_reactor()

    from chat.client.errors import Distrust

    try:
        endpoint, _ = given.way_to(parser, reactor, options, address)
    except Distrust as error:
        complain(f"Not sent: {error}")
        return _REFUSED
    if password is None:
        password = given.type_password(parser, options.user)
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
    return run(
        reactor,
        lambda: send_once(reactor, endpoint, codec, options.user, password, order, complain),
    )


def _read_body() -> str:
    octets = sys.stdin.buffer.read(_MOST_INPUT)
    # Far too large for any message, and perhaps cut in the middle of a character: the server says so.
    body = octets.decode(errors="ignore" if len(octets) == _MOST_INPUT else "strict")
    return body.removesuffix("\n").removesuffix("\r") if body.endswith("\n") else body


def _trust(arguments: list[str]) -> int:
    parser = given.parser("chat trust", _TRUST, _TRUST_MORE)
    parser.add_argument("server", nargs="?", metavar="HOST:PORT", help="the server")
    parser.add_argument("name", nargs="*", metavar="NAME", help="what its certificate should be called")
    parser.add_argument("--remove", action="store_true", help="forget the server")
    options = parser.parse_args(arguments)

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
                parser.error("which server is to be forgotten?")
            return trusting.list()
        host = host_from(options.server)
        if host is None:
            parser.error(f"{options.server!r} is no HOST:PORT")
        if options.remove:
            return trusting.remove(host)
        expected = claim(" ".join(options.name)) if options.name else None
    except ValueError as error:
        parser.error(str(error))
    except Distrust as error:
        complain(str(error))
        return _REFUSED
    return run(reactor, lambda: trusting.accept(reactor, host, expected))


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "send": _send,
    "join": _join,
    "recover": _recover,
    "trust": _trust,
}

if __name__ == "__main__":
    sys.exit(main())
