"""What the programs of the client take on their command lines in common."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn, Sequence

from chat.wire import Codec

if TYPE_CHECKING:
    from chat.client.state import State

#: Where the server is unless it is said.
DEFAULT_SERVERS = {Codec.JSON: "127.0.0.1:5311", Codec.DER: "127.0.0.1:5312"}

USAGE = 2

#: The words that are commands, and no addresses.
COMMANDS = ("send", "join", "recover", "trust", "profile", "outbox")

#: What a profile says of its own server, and of no other one.
_OF_ITS_SERVER = frozenset({"password_file", "trust", "accept_new", "plaintext"})

#: Titles of what must stay line by line.
_LITERAL = frozenset({"example:", "examples:", "requests:"})

ADDRESSES = """\
addresses:
  HOST:PORT or [IPv6]:PORT; tls://HOST:PORT; unix:PATH; or any Twisted
  client endpoint string. HOST may stand alone if it is localhost or has a
  dot in it; any other single word is never an address, so a host called
  "send" is written with its port: send:5311.
"""

PROFILES = """\
profiles:
  --profile NAME takes the server, the name and other options from a profile
  that "chat profile NAME HOST:PORT --user NAME" has written down; see "chat
  profile --help".
"""

TRUST = """\
encryption:
  A server on another machine is spoken to with TLS; so is tls://HOST on
  this one. What an authority vouches for is taken. Any other certificate is
  shown to you when it is met for the first time, and known from then on; a
  server that shows another one later is refused. See "chat trust --help".
  Where nobody can be asked, --trust or --accept-new must say beforehand
  what to do. Nothing is ever sent before that is decided.
"""

PASSWORDS = """\
passwords:
  A password is typed, or read from the first line of a file:
  --password-file, or the file that the environment variable
  CHAT_PASSWORD_FILE names. It is never an argument, because everybody on a
  machine can read the arguments of its programs. Who stays logged in needs
  none; see --stay of "chat".
"""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where help is."""

    def error(self, message: str) -> NoReturn:
        """See L{argparse.ArgumentParser.error}."""
        self.exit(USAGE, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


class _Page(argparse.RawDescriptionHelpFormatter):
    """Help that stays as it is written where there is room, and is broken at spaces on a narrow terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for paragraph in text.split("\n\n"):
            for line in _whole_lines(paragraph, width):
                hanging = " " * _margin(line)
                lines += textwrap.wrap(
                    line, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
                )
            lines.append("")
        return "\n".join(lines)


def _whole_lines(paragraph: str, width: int) -> list[str]:
    """The lines of a paragraph; where there is no room for them, without the breaks inside sentences."""
    lines = paragraph.strip("\n").split("\n")
    if lines[0] in _LITERAL or max(map(len, lines)) <= width:
        return lines
    whole = [lines[0]]
    for before, line in pairwise(lines):
        if len(before) > 60 and _margin(before) == len(line) - len(line.lstrip()):
            whole[-1] += f" {line.lstrip()}"
        else:
            whole.append(line)
    return whole


def _margin(line: str) -> int:
    """Where the text of a line begins, behind a number if it begins with one."""
    return len(line) - len(line.lstrip(" 0123456789"))


def parser(program: str, description: str, *more: str) -> Parser:
    """A parser whose help says C{more}, paragraph by paragraph, below the options."""
    return Parser(
        prog=program,
        description=description,
        epilog="\n".join(more),
        formatter_class=_Page,
    )


def add_server(parser: Parser, *names: str, **more: Any) -> None:
    """The address of the server, as C{--server} or in its place."""
    parser.add_argument(
        *names,
        metavar="HOST:PORT",
        help="the server; 127.0.0.1:5311 if not given, with der 127.0.0.1:5312",
        **more,
    )


def add_user(parser: Parser, user: str) -> None:
    """Who logs in."""
    parser.add_argument("-u", "--user", metavar="NAME", help=user)
    parser.add_argument(
        "--password-file",
        metavar="PATH",
        help="read the password from the first line of this file",
    )


def add_codec(parser: Parser) -> None:
    """In which codec."""
    parser.add_argument(
        "--codec",
        choices=[codec.value for codec in Codec],
        default=Codec.JSON.value,
        help="how to talk to the server; json if not given",
    )


def add_trust(parser: Parser) -> None:
    """What to do about TLS and certificates."""
    parser.add_argument(
        "--trust",
        metavar="NAME",
        help="the server must have this certificate: its SHA256:... fingerprint, or its eight words",
    )
    parser.add_argument(
        "--accept-new",
        action="store_true",
        help="take the certificate of a server that is not known yet, whatever it is",
    )
    add_plaintext(parser)


def add_plaintext(parser: Parser) -> None:
    """Do without TLS."""
    parser.add_argument(
        "--plaintext",
        action="store_true",
        help="no TLS: everybody on the way can read all of it, the password as well",
    )


def add_profile(parser: Parser) -> None:
    """Under which name the server and the account are written down."""
    parser.add_argument(
        "-p",
        "--profile",
        metavar="NAME",
        help="take what is not given here from this profile; see chat profile --help",
    )


def parsed(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """What was given, completed by the profile that it names; ends the program if that is none.

    Where another server is named than the profile's own, the password of the one is not for the other.
    """
    from chat.client.places import Homeless
    from chat.client.profiles import ProfileError, Profiles
    from chat.client.text import is_text

    options = parser.parse_args(arguments)
    name = options.profile or os.environ.get("CHAT_PROFILE") or None
    try:
        settings = Profiles().settings(name)
    except ProfileError as error:
        parser.error(str(error))
    except Homeless as error:
        if name is not None:
            parser.error(f"there are no profiles: {error}")
        settings = {}
    said = {key.replace("-", "_"): value for key, value in settings.items()}
    if _elsewhere(options, said):
        said = {key: value for key, value in said.items() if key not in _OF_ITS_SERVER}
    parser.set_defaults(**{key: value for key, value in said.items() if key in vars(options)})
    options = parser.parse_args(arguments)
    options.profile = name
    if options.user is not None and not is_text(options.user):
        parser.error("the name of the user is not UTF-8 text")
    return options


def _elsewhere(options: argparse.Namespace, said: Mapping[str, Any]) -> bool:
    """Whether another server was named than the one that a profile is about; an invitation always does."""
    if "server" not in vars(options):
        return True
    if options.server is None or "server" not in said:
        return False
    codec = Codec(said.get("codec", options.codec))
    try:
        return place(options.server, codec) != place(said["server"], codec)
    except ValueError:  # which is told when it is to be used
        return True


def state(options: argparse.Namespace, needed: Parser | None = None) -> State | None:
    """What is kept on this machine for the profile that was named, if anything can be.

    @param needed: ends the program if nothing can be.
    """
    from chat.client import places
    from chat.client.profiles import DEFAULT
    from chat.client.state import State

    try:
        return State(places.state(options.profile or DEFAULT))
    except places.Homeless as error:
        if needed is not None:
            needed.error(f"there is no outbox: {error}")
        return None


def place(address: str, codec: Codec) -> str:
    """A server's address in the one form under which something is kept of it."""
    from chat.client.address import host_from

    host = host_from(address, codec)
    return address if host is None else host.name


def seconds(text: str) -> float:
    """A number of seconds, for L{argparse}.

    @raise ValueError: it is none.
    """
    number = float(text)
    if not 0 <= number <= 10**9:
        raise ValueError
    return number


def address(parser: Parser, server: str | None, codec: Codec) -> str:
    """The address that was given, or the usual one; ends the program where a command was meant."""
    if server in COMMANDS:
        parser.error(f'"{server}" comes first: chat {server} ...')
    return DEFAULT_SERVERS[codec] if server is None else server


def way_to(
    parser: Parser, reactor: Any, options: argparse.Namespace, address: str, invited: bool = False
) -> tuple[Any, Any]:
    """The endpoint that an address and the options of L{add_trust} mean, and whom it asks to trust.

    Ends the program if they mean none.

    @param invited: the certificate is named by an invitation, and not by the user.
    @raise Distrust: it is not safe.
    """
    from chat.client.address import endpoint_from, host_from
    from chat.client.known import KnownServers
    from chat.client.trust import Trust, claim

    try:
        if options.trust is not None:
            if options.plaintext:
                parser.error("--plaintext will not do where the certificate is named")
            if host_from(address) is None:
                parser.error(f"--trust is of use only with HOST:PORT, not with {address!r}")
            options.trust = claim(options.trust)
        trust = Trust(
            KnownServers(),
            expected=options.trust,
            replace=not invited,
            accept_new=options.accept_new,
            learn=True,
        )
        endpoint = endpoint_from(
            reactor, address, codec=options.codec, trust=trust, plaintext=options.plaintext
        )
    except ValueError as error:
        parser.error(str(error))
    return endpoint, trust


def read_password(parser: Parser, path: str | None) -> str | None:
    """The password in this file, or in the one that the environment names, if there is one.

    Ends the program if there is none in it.
    """
    path = path or os.environ.get("CHAT_PASSWORD_FILE")
    if not path:
        return None
    try:
        with open(path, encoding="utf-8", newline="") as file:
            password = file.readline(65536).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        parser.error(f"the password file {path!r} cannot be read: {reason}")
    if not password:
        parser.error(f"the first line of the password file {path!r} is empty")
    return password


def type_password(parser: Parser, username: str) -> str:
    """Ask on the terminal itself: the standard input is for something else."""
    if os.name == "posix":
        try:
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        except OSError:
            parser.error("there is no terminal to ask for the password: use --password-file")
    import getpass

    try:
        return getpass.getpass(f"Password of {username}: ")
    except EOFError:
        parser.error("no password was typed")
