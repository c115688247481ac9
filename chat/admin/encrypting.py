"""C{chatctl encrypt-passwords}: passwords.db of a stopped server is encrypted from now on."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from chat.admin.command import CLEAN, Unusable, add_data, opening
from chat.admin.restore import held
from chat.admin.snapshot import there
from chat.store.conversion import convert
from chat.store.key import read
from chat.store.layout import header, path
from chat.store.opener import PLAIN, SECRET, Opener

NAME = "encrypt-passwords"
SUMMARY = "encrypt passwords.db, or change its key (the server must not run)"
DESCRIPTION = """\
Encrypts passwords.db with the key of --password-key, which "chatctl
new-password-key" makes and the server then needs. The server must be stopped.
With --old-password-key, a file that is encrypted already gets the new key.

The new file is written beside the old one, compared with it, and takes its
place at once: whatever happens, one of them is there and whole.

The old file is overwritten; a disk may keep what was written to it before all
the same, and older backups are as they were.
"""
RECORDED = True


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument(
        "--old-password-key", metavar="FILE", type=Path, help="the file with the key that it has now"
    )


def run(arguments: Namespace) -> int:
    """Encrypt, and say what remains to be done."""
    new = opening(arguments)
    if new is PLAIN:
        raise Unusable("No key: name one with --password-key; chatctl new-password-key FILE makes one.")
    key = arguments.old_password_key
    old = PLAIN if key is None else Opener(read(key, arguments.data))
    told(arguments.data, old, new, "encrypted")
    plain = [each for each in sorted(arguments.data.glob(f"backup-*/{SECRET}.db")) if header(each)]
    for each in plain:
        print(f"{each} is not encrypted: it was copied before")
    return CLEAN


def told(directory: Path, old: Opener, new: Opener, done: str) -> None:
    """Convert, and say so.

    @raise Unusable: there is no such file, or a server uses it.
    @raise chat.errors.StartError: it cannot be done.
    """
    there(directory)
    file = path(directory, SECRET)
    if not file.exists():
        raise Unusable(f"{file} does not exist: name the data directory of the server with --data.")
    with held(directory):
        if old is PLAIN and new is not PLAIN and header(file) is None:
            old = new  # this was done before, or it is not known by which key it can be opened
        overwritten = convert(directory, old, new)
    print(f"{file} is {done}")
    if not overwritten:
        print("what it was before could not be overwritten: it may have another name, as a hard link has")
