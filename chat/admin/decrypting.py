"""C{chatctl decrypt-passwords}: passwords.db of a stopped server is a plain file again."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from chat.admin.command import CLEAN, Unusable, add_data, opening
from chat.admin.encrypting import told
from chat.store.opener import PLAIN

NAME = "decrypt-passwords"
SUMMARY = "make passwords.db a plain file again (the server must not run)"
DESCRIPTION = """\
Decrypts passwords.db, as safely as "chatctl encrypt-passwords" encrypts it. The
hashes in it are then protected by the rights of the file alone.
"""
RECORDED = True


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)


def run(arguments: Namespace) -> int:
    """Decrypt."""
    old = opening(arguments)
    if old is PLAIN:
        raise Unusable("No key: name the one that it is encrypted with with --password-key.")
    told(arguments.data, old, PLAIN, "plain, and can be read by whoever gets the file")
    return CLEAN
