"""Writes the manual pages from what the programs say with --help: python docs/man/make.py

Run it after a change of the options; tests/test_manual.py notices when somebody has not.
"""

from __future__ import annotations

import argparse
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any, Iterator

from chat.admin.main import _parser as chatctl
from chat.client.commands import HELP_HERE
from chat.client.options import COMMANDS
from chat.tap import Options
from chat.wire.text_words import HELP, SEARCH_HELP

HERE = Path(__file__).resolve().parent

#: Sections whose lines stay as they are.
_LITERAL = ("examples", "example", "exit status", "requests")

_FILES = """\
.SH ENVIRONMENT
.TP
.B CHAT_PASSWORD_FILE
A file whose first line is the password, in place of \\-\\-password\\-file.
.TP
.B CHAT_PROFILE
The profile, in place of \\-\\-profile.
.TP
.B NO_COLOR
If it is set, there are no colours unless \\-\\-color asks for them.
.TP
.BR XDG_CONFIG_HOME ", " XDG_STATE_HOME
In place of ~/.config and ~/.local/state.
.SH FILES
.TP
.I ~/.config/chat/known_servers
Servers and their certificates, as they were accepted.
.TP
.I ~/.config/chat/profiles.ini
The profiles.
.TP
.I ~/.local/state/chat/profiles/NAME
Of each profile what is not sent yet, the history, and the tokens of those who stay logged in.
.SH SEE ALSO
.BR chatctl (1),
.BR twistd\\-chat (1)
"""

_OPERATOR = """\
.SH SEE ALSO
.BR chat (1),
.BR twistd\\-chat (1)
"""

#: What stands behind an option of the daemon; behind others, a number.
_VALUES = {
    "data": "DIR",
    "registration": "MODE",
    "certificate": "FILE",
    "key": "FILE",
    "password-key": "FILE",
    "login-timeout": "SECONDS",
    "token-days": "DAYS",
    "reserve-names": "DAYS",
    "expire": "DAYS",
    "fold": "DAYS",
    "reserve-space": "MIB",
}

#: What the runner says for itself, of which the server says nothing.
_DAEMON = """\
the runner:
  twistd --help lists its own options, which stand before the word chat: --nodaemon (-n) stays in the
  foreground, --logfile and --syslog say where the log goes, --pidfile where the process id is; --uid, --gid,
  --chroot and --umask take rights away.

examples:
  twistd -n chat                      # for this machine, the log on standard output
  twistd chat --data /var/lib/chat    # in the background, the log in twistd.log
  twistd -n chat --json tcp:5311      # for other machines, by TLS
  twistd -n chat --web tcp:443 --certificate chain.pem --key key.pem

exit status:
  0 or SIGTERM, SIGINT  stopped in order: everything accepted is on disk
  1                     not started; the last line says why
"""

_DAEMON_FILES = """\
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
Stop in order: what is under way is answered, what was accepted is on disk.
.TP
.B SIGHUP
Read the certificate and its key again.
.TP
.B SIGUSR1
Begin a new log file; without \\-\\-logfile, end the server.
.SH FILES
.TP
.IR DIR /users.db
Accounts.
.TP
.IR DIR /passwords.db
Hashes of passwords; nothing else reads it.
.TP
.IR DIR /messages.db
Every message ever accepted, and what became of it.
.TP
.IR DIR /tls\\-certificate.pem ", " DIR /tls\\-key.pem
The server's own certificate and its key, once they were needed.
.SH SEE ALSO
.BR chat (1),
.BR chatctl (1)
"""


def pages() -> dict[str, str]:
    """Each page, by its file's name."""
    chat = [import_module(f"chat.client.programs.{name}").parser() for name in ("talk", *COMMANDS)]
    admin = chatctl()
    commands = [action for action in admin._actions if isinstance(action, argparse._SubParsersAction)]
    operator = [*dict.fromkeys(commands[0].choices.values())]
    typed = "\n".join([".SH COMMANDS", *literal("\n".join([*HELP, "", *HELP_HERE, "", *SEARCH_HELP])), ""])
    return {
        "chat.1": page("chat", "talk on a chat server that loses nothing", chat) + typed + _FILES,
        "chatctl.1": page("chatctl", "look after the data of a chat server", [admin, *operator]) + _OPERATOR,
        "twistd-chat.1": page("twistd-chat", "run a chat server that loses nothing", [daemon()])
        + _DAEMON_FILES,
    }


def daemon() -> argparse.ArgumentParser:
    """The options of the daemon, which are Twisted's and not argparse's, as a parser."""
    made = argparse.ArgumentParser(
        "twistd chat",
        usage="twistd [OPTIONS OF twistd] chat [options]",
        description=Options.longdesc,
        epilog=_DAEMON,
        add_help=False,
    )
    for name, method in vars(Options).items():
        if name.startswith("opt_"):
            (value,) = list(inspect.signature(method).parameters)[1:]
            option = f"--{name.removeprefix('opt_').replace('_', '-')}"
            made.add_argument(option, metavar=value.upper(), help=method.__doc__)
    parameters: Any = Options.optParameters
    flags: Any = Options.optFlags
    for name, letter, default, text in parameters:
        told = "" if default is None else f" [default: {default}]"
        made.add_argument(*_names(name, letter), metavar=_VALUES.get(name, "N"), help=text + told)
    for name, letter, text in flags:
        made.add_argument(*_names(name, letter), action="store_true", help=text)
    made.add_argument("--help", action="store_true", help="Show the options.")
    return made


def _names(name: str, letter: str | None) -> list[str]:
    return [f"-{letter}", f"--{name}"] if letter else [f"--{name}"]


def page(name: str, summary: str, parsers: list[argparse.ArgumentParser]) -> str:
    """One manual page: a program, and those of its commands that have options of their own."""
    first, *others = parsers
    lines = [
        f'.\\" Made by docs/man/make.py from {first.prog} --help; change it there.',
        f'.TH {name.upper()} 1 "" "txchat" "User Commands"',
        ".SH NAME",
        f"{name} \\- {summary}",
        ".SH SYNOPSIS",
        *literal(usage(first)),
        ".SH DESCRIPTION",
        *prose(first.description or ""),
        ".SH OPTIONS",
        *options(first),
    ]
    for title, body in sections(first.epilog or ""):
        lines += [f".SH {title.upper()}", *told(title, body)]
    for parser in others:
        lines += [f".SH {parser.prog.upper()}", *literal(usage(parser))]
        lines += [*prose(parser.description or ""), *options(parser)]
        for title, body in sections(parser.epilog or ""):
            if title not in [title for title, _ in sections(first.epilog or "")] or title in _LITERAL:
                lines += [f".SS {title.capitalize()}", *told(title, body)]
    return "\n".join(lines) + "\n"


def usage(parser: argparse.ArgumentParser) -> str:
    """How to call it, without the word."""
    words = [parser.prog]
    if parser.usage:
        return re.sub(r"\n {7}", "\n", re.sub(r" +\(each.*", "", parser.usage))
    for action in parser._actions:
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            words.append(f"[{action.metavar}]" if action.nargs in ("?", "*") else f"{action.metavar}")
    return " ".join([*words, "[options]"])


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Each argument and option, and what it means."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help is argparse.SUPPRESS:
            continue
        names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        if action.option_strings and action.nargs != 0:
            of = (
                "|".join(map(str, action.choices))
                if action.choices
                else action.metavar or action.dest.upper()
            )
            names += f" {of}"
        text = parser._get_formatter()._expand_help(action) if action.help else ""
        # Some versions of Python add this to the switches that have a --no- form.
        text = re.sub(r" \(default: \w+\)$", "", text).replace("program's", "the program's")
        yield from (".TP", f".B {escaped(names)}", escaped(text))


def sections(epilog: str) -> list[tuple[str, str]]:
    """The parts of an epilog, by their titles."""
    found: list[tuple[str, str]] = []
    for paragraph in epilog.strip("\n").split("\n\n"):
        title, _, body = paragraph.partition(":\n")
        if body:
            found.append((title, body))
        else:
            found.append(("notes", paragraph))
    return found


def told(title: str, body: str) -> Iterator[str]:
    """The body of a section."""
    text = re.sub("^  ", "", body, flags=re.M)
    yield from literal(text) if title in _LITERAL else prose(text)


def prose(text: str) -> Iterator[str]:
    """Paragraphs; lists and tables stay as they are."""
    for paragraph in text.strip("\n").split("\n\n"):
        if re.search(r"^ *- |\S  +\S", paragraph, flags=re.M):
            yield from literal(paragraph)
        else:
            yield from (".PP", *(escaped(line.strip()) for line in paragraph.split("\n")))


def literal(text: str) -> list[str]:
    """Lines as they are."""
    return [".PP", ".nf", *map(escaped, text.strip("\n").split("\n")), ".fi"]


def escaped(text: str) -> str:
    """Text that means itself to roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, "utf-8")
