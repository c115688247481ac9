"""C{chatctl invite}: a line with which somebody can sign up."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from chat.admin.beside import beside, writing
from chat.admin.command import CLEAN, Unusable, add_data, counted, opening
from chat.admin.doors import host_and_port
from chat.codes import INVITATION_GROUPS, digest, new_code
from chat.invitation import Invitation, command
from chat.store import invitations
from chat.times import rfc3339
from chat.tls.certificate import own
from chat.tls.fingerprint import fingerprint

NAME = "invite"
SUMMARY = "make an invitation: one line with which somebody can sign up"
RECORDED = True
DESCRIPTION = """\
Makes an invitation and prints the line for the one who is invited to paste:

  chat join 'chat://chat.example:5311/?code=...&pin=...'

It holds the address, a code that is good for one account, and the fingerprint of
the server's certificate, if that is one that the server has made itself: so
nobody in between can take the server's place. Send it by a way that you trust.
Whoever has only the code, at the text door say, types /invite CODE.

The server may run or not. Only a digest of the code is kept: the line cannot be
shown again. "chatctl invites" lists and revokes invitations.
"""
_DAY = 24 * 60 * 60 * 1000
_PORT = 5311
#: How many days, and accounts, an invitation may be good for.
_MOST = 36_500


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument("--days", metavar="N", type=number, default=7, help="end in N days (default: 7)")
    parser.add_argument(
        "--uses", metavar="N", type=number, default=1, help="be good for N accounts (default: 1)"
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        type=host_and_port,
        help=f"how a JSON door is reached from outside (default: the name of this machine, port {_PORT})",
    )
    parser.add_argument(
        "--certificate",
        metavar="FILE",
        type=Path,
        help="pin this certificate (PEM), which the server shows (default: the one that it has made itself)",
    )


def run(arguments: Namespace) -> int:
    """Make it, and print the line; everything else goes to standard error."""
    host, port = arguments.address or (socket.getfqdn(), _PORT)
    by_itself = own(arguments.data).certificate
    shown = arguments.certificate or (by_itself if by_itself.exists() else None)
    certificate = None if arguments.certificate is None and _is_loopback(host) else shown
    code = new_code(INVITATION_GROUPS)
    pin = None if certificate is None else _pin(certificate)
    try:
        line = command(Invitation(host, port, code, pin))
    except ValueError as error:
        raise Unusable(f"{error}: name the server with --address HOST:PORT.") from None
    now = int(time.time() * 1000)
    expires = now + arguments.days * _DAY
    with beside(arguments.data, ("users",), opening(arguments)) as connection, writing(connection) as cursor:
        made = invitations.make(cursor, digest(code, INVITATION_GROUPS), now, expires, arguments.uses)
    print(line)
    if arguments.address is None:
        print(f"chatctl: leads to {host}:{port}; --address HOST:PORT names another place", file=sys.stderr)
    if certificate is not shown:
        print(
            "chatctl: no fingerprint is in the line, since doors on loopback speak TLS only with --tls:"
            f" if this one does, --certificate {shown} puts it there",
            file=sys.stderr,
        )
    print(
        f"chatctl: invitation {made}, good for {counted(arguments.uses, 'account')} until {rfc3339(expires)}",
        file=sys.stderr,
    )
    return CLEAN


def _pin(certificate: Path) -> str:
    """The fingerprint of the first certificate in this file, as an invitation holds it."""
    try:
        text = certificate.read_text("ascii")
        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
        first = text[text.index(begin) : text.index(end) + len(end)]
        called = fingerprint(ssl.PEM_cert_to_DER_cert(first))
    except OSError as error:
        raise Unusable(f"{certificate} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise Unusable(f"{certificate} holds no certificate in PEM.") from None
    return called.partition(":")[2].replace(":", "").lower()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def number(text: str) -> int:
    """A number of days or accounts, for C{argparse}."""
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:9]) <= _MOST:
        raise ArgumentTypeError(f"{text!a} is no number from 1 to {_MOST}")
    return int(text)
