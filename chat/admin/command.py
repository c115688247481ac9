"""What the subcommands of C{chatctl} have in common: exit statuses, the data option, plain output."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

#: Exit statuses.
CLEAN = 0
FINDINGS = 1
UNUSABLE = 2


class Unusable(Exception):
    """It cannot be done on these files: one line that names the thing and the remedy."""


def add_data(parser: ArgumentParser) -> None:
    """The option that every subcommand has: which server's data."""
    parser.add_argument(
        "--data",
        "-d",
        metavar="DIR",
        type=Path,
        default=Path("chat-data"),
        help="the data directory of the server: what it was given as --data (default: chat-data)",
    )


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: C{1 message}, C{2,000 messages}."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
