"""C{chatctl new-password-key}: a key for passwords.db."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from chat.admin.command import CLEAN, Unusable
from chat.store.key import create

NAME = "new-password-key"
SUMMARY = "make a key for passwords.db"
DESCRIPTION = """\
Writes a new random key into a new file, which only its owner can read. Give it to
"chatctl encrypt-passwords", and then to the server, with --password-key.

Put it where the backups of the data do not go, and keep a copy of it in a safe
place: without it nobody can log in any more.
"""


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the file, which must not exist yet")


def run(arguments: Namespace) -> int:
    """Make it."""
    try:
        create(arguments.file)
    except OSError as error:
        raise Unusable(f"{arguments.file} cannot be made ({error.strerror}): name a new file.") from None
    print(f"a new key is in {arguments.file}; keep a copy of it in a safe place")
    return CLEAN
