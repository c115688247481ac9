"""The program C{chat}: the line client, and C{chat send} for scripts."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Callable, Coroutine, NoReturn, Sequence

from chat import __version__
from chat.wire import Codec

#: Where the server listens unless it is told otherwise.
DEFAULT_SERVERS = {Codec.JSON: "127.0.0.1:5311", Codec.DER: "127.0.0.1:5312"}

#: The most bytes of a body that are read: one more than any server takes would do.
_MOST_INPUT = 1024 * 1024

_USAGE, _INTERRUPTED = 2, 130

_ADDRESSES = """\
addresses:
  HOST:PORT, [IPv6]:PORT, unix:PATH, or any Twisted client endpoint string, such as
  tls:chat.example.org:5321. A word without a colon is never an address, so a host
  called "send" is written with its port: send:5311.
"""

_PASSWORDS = """\
passwords:
  A password is typed, or read from the first line of a file: --password-file, or the
  file that the environment variable CHAT_PASSWORD_FILE names. It is never an argument,
  because everybody on a machine can read the arguments of its programs.
"""

_CHAT = """\
Connects to a chat server, logs in (or signs up, when the name is free), shows what came
while you were away, and then sends what you type. /help lists the commands.

On a terminal there is a line editor, and what arrives is shown above the line that you
are typing. Otherwise, and with --plain, lines are read and lines are appended, and
nothing is redrawn: for pipes, transcripts and screen readers.

When the connection is lost, it says so, connects again by itself, and sends then what you
typed meanwhile. Nothing is sent twice.
"""

_CHAT_MORE = (
    _ADDRESSES
    + "\n"
    + _PASSWORDS
    + """
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
)

_SEND = """\
Sends one message, whose body is read from the standard input, and tells by its exit
status what became of it. The last line end of the input is not part of the body, so that
"echo hello | chat send bob" sends "hello"; everything else is sent as it is.
"""

_SEND_MORE = (
    """\
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
    + _ADDRESSES
    + "\n"
    + _PASSWORDS
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments, and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["send"]:
            return _send(arguments[1:])
        return _chat(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        _flush()


def _chat(arguments: list[str]) -> int:
    parser = _parser("chat", _CHAT, _CHAT_MORE)
    parser.usage = (
        "chat [HOST:PORT | unix:PATH] [options]\n       chat send NAME [options]   (see chat send --help)"
    )
    parser.add_argument(
        "server",
        nargs="?",
        metavar="HOST:PORT | unix:PATH",
        help="the server; 127.0.0.1:5311 if not given, with der 127.0.0.1:5312",
    )
    _add_common(parser, "log in under this name; asked if not given")
    parser.add_argument(
        "--sign-up",
        action="store_true",
        help="create the account with the password of the file, if the name is free",
    )
    parser.add_argument("--plain", action="store_true", help="no line editor, also on a terminal")
    parser.add_argument("--version", action="version", version=f"chat {__version__}")
    options = parser.parse_args(arguments)
    codec = Codec(options.codec)
    address = _address(parser, options.server, codec)
    if options.password_file is not None and options.user is None:
        parser.error("--password-file is of use only together with --user")
    password = None if options.user is None else _read_password(parser, options.password_file)
    edited = not options.plain and sys.stdin.isatty() and sys.stdout.isatty()
    reactor = _asyncio_reactor() if edited else _reactor()
    endpoint = _endpoint(parser, reactor, address)

    from chat.client.console import Console, PlainConsole
    from chat.client.line import LineClient

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
        sign_up=options.sign_up,
        complain=_complain,
    )
    return _run(reactor, client.run)


def _send(arguments: list[str]) -> int:
    parser = _parser("chat send", _SEND, _SEND_MORE)
    parser.add_argument("recipient", metavar="NAME", help="whom to send it to")
    parser.add_argument("-s", "--subject", help="the subject; none if not given")
    parser.add_argument(
        "-w",
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help="wait so long for the delivery; if not given, leave once it is accepted",
    )
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        help="the server; 127.0.0.1:5311 if not given, with der 127.0.0.1:5312",
    )
    _add_common(parser, "log in under this name; always needed")
    parser.add_argument(
        "--timeout",
        type=_seconds,
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
    options = parser.parse_args(arguments)
    codec = Codec(options.codec)
    address = _address(parser, options.server, codec)
    if options.user is None:
        parser.error("--user is missing: who sends it?")
    password = _read_password(parser, options.password_file)
    if password is None:
        password = _type_password(parser, options.user)
    reactor = _reactor()
    endpoint = _endpoint(parser, reactor, address)
    try:
        body = _read_body()
    except UnicodeDecodeError:
        _complain("Not sent: the input is not UTF-8 text.")
        return 1

    from chat.client.once import Order, send_once

    order = Order(
        recipient=options.recipient,
        body=body,
        subject=options.subject,
        ref=options.ref,
        wait=options.wait,
        patience=options.timeout,
    )
    return _run(
        reactor,
        lambda: send_once(reactor, endpoint, codec, options.user, password, order, _complain),
    )


# --- the command line ------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where help is."""

    def error(self, message: str) -> NoReturn:
        """See L{argparse.ArgumentParser.error}."""
        self.exit(_USAGE, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


def _parser(program: str, description: str, more: str) -> _Parser:
    return _Parser(
        prog=program,
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_common(parser: argparse.ArgumentParser, user: str) -> None:
    parser.add_argument("-u", "--user", metavar="NAME", help=user)
    parser.add_argument(
        "--password-file",
        metavar="PATH",
        help="read the password from the first line of this file",
    )
    parser.add_argument(
        "--codec",
        choices=[codec.value for codec in Codec],
        default=Codec.JSON.value,
        help="how to talk to the server; json if not given",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 10**9:
        raise ValueError
    return seconds


def _address(parser: _Parser, server: str | None, codec: Codec) -> str:
    if server is None:
        return DEFAULT_SERVERS[codec]
    if server == "send":
        parser.error('"send" comes first: chat send NAME [options]')
    return server


def _endpoint(parser: _Parser, reactor: Any, address: str) -> Any:
    from chat.client.address import endpoint_from

    try:
        return endpoint_from(reactor, address)
    except ValueError as error:
        parser.error(str(error))


def _read_password(parser: _Parser, path: str | None) -> str | None:
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


def _type_password(parser: _Parser, username: str) -> str:
    """Ask on the terminal itself: the standard input is the body."""
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


def _read_body() -> str:
    octets = sys.stdin.buffer.read(_MOST_INPUT)
    # Far too large for any message, and perhaps cut in the middle of a character: the server says so.
    body = octets.decode(errors="ignore" if len(octets) == _MOST_INPUT else "strict")
    return body.removesuffix("\n").removesuffix("\r") if body.endswith("\n") else body


# --- running ---------------------------------------------------------------------------------


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor


def _asyncio_reactor() -> Any:
    """The reactor that shares its loop with the line editor."""
    import asyncio

    from twisted.internet import asyncioreactor

    loop = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    return _reactor()


def _run(reactor: Any, start: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run the reactor until this has ended, and return what it returns."""
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    status = _INTERRUPTED

    def ended(result: int | Failure) -> None:
        nonlocal status
        if isinstance(result, Failure):
            # A defect; its traceback is of more use than a polite sentence.
            status = 1
            result.printTraceback(sys.stderr)
        else:
            status = result
        if reactor.running:
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()).addBoth(ended))
    reactor.run()
    return status


def _complain(text: str) -> None:
    print(f"chat: {text}", file=sys.stderr, flush=True)


def _flush() -> None:
    """Let nothing be flushed at exit into a pipe that nobody reads."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
