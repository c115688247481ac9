"""What the subcommands of C{chatctl} have in common: exit statuses, the data option, plain output."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from chat.store.key import found, read
from chat.store.opener import PLAIN, Opener

#: Exit statuses.
CLEAN = 0
FINDINGS = 1
UNUSABLE = 2


class Unusable(Exception):
    """It cannot be done on these files: one line that names the thing and the remedy."""


def add_data(parser: ArgumentParser) -> None:
    """The options that every subcommand has: which server's data, and what opens them."""
    parser.add_argument(
        "--data",
        "-d",
        metavar="DIR",
        type=Path,
        default=Path("chat-data"),
        help="the data directory of the server: what it was given as --data (default: chat-data)",
    )
    parser.add_argument(
        "--password-key",
        metavar="FILE",
        type=Path,
        help="the file with the key of passwords.db, if the server has one",
    )


def opening(arguments: Namespace) -> Opener:
    """How these options say that the files are opened.

    @raise chat.errors.StartError: the key cannot be used.
    """
    file = found(arguments.password_key)
    return PLAIN if file is None else Opener(read(file, arguments.data))


def identifier(text: str) -> int:
    """The id of a message, or the number of an invitation, for C{argparse}."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
        raise ArgumentTypeError(f"{text!a} is no number from 1 on")
    return int(text)


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: C{1 message}, C{2,000 messages}."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
