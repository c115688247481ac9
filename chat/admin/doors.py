"""Whether a server answers at a door, what it speaks there, and with which certificate."""

from __future__ import annotations

import select
import socket
import ssl
from argparse import ArgumentTypeError
from typing import Optional, Union

from chat.admin.grade import Grade, Line, Lines
from chat.tls.fingerprint import fingerprint

#: How long a door may take to say its first word, in seconds.
PATIENCE = 5.0
#: At a door with TLS it is for us to begin: how long to wait for a first word before that, in seconds.
HESITATION = 1.0

#: Where a door is: host and port, or the path of a UNIX socket.
Door = Union[tuple[str, int], str]


def door(address: str) -> Door:
    """Where a door is, as an operator writes it.

    @raise ArgumentTypeError: it cannot be understood.
    """
    if address.startswith("unix:") and len(address) > 5:
        return address[5:]
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ArgumentTypeError(f"{address!r} is neither HOST:PORT nor unix:PATH")
    return host.removeprefix("[").removesuffix("]"), int(port)


def answers(where: Door, known: Optional[str] = None) -> Lines:
    """Whether a server says something at this door; it is the server that speaks first.

    @param known: the fingerprint of the certificate that it should show where it speaks TLS.
    """
    name = f"unix:{where}" if isinstance(where, str) else f"{where[0]}:{where[1]}"
    shown = None
    try:
        with _connected(where) as connection:
            if _speaks(connection):
                first = connection.recv(1024)
            else:
                with _trusting().wrap_socket(connection) as encrypted:
                    shown = fingerprint(encrypted.getpeercert(True) or b"")
                    first = encrypted.recv(1024)
    except (TimeoutError, ssl.SSLError):
        yield Line(
            Grade.WARNING,
            f"door {name} says nothing within {PATIENCE:g} seconds, nor does it speak TLS:"
            " is it another program?",
        )
        return
    except OSError as error:
        yield Line(Grade.ERROR, f"door {name} cannot be reached ({error.strerror or error})")
        return
    if not first:
        yield Line(Grade.ERROR, f"door {name} hangs up without a word")
        return
    yield Line(Grade.OK, f"door {name} answers, {_language(first)}{'' if shown is None else ' over TLS'}")
    if shown is not None and known is not None and shown != known:
        yield Line(Grade.WARNING, f"door {name} shows another certificate, {shown}: is it this server's?")


def _connected(where: Door) -> socket.socket:
    if not isinstance(where, str):
        return socket.create_connection(where, PATIENCE)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(where)
    except BaseException:
        connection.close()
        raise
    return connection


def _speaks(connection: socket.socket) -> bool:
    """Whether something is said, or hung up, before it is our turn."""
    return bool(select.select([connection], [], [], min(HESITATION, PATIENCE))[0])


def _trusting() -> ssl.SSLContext:
    """It is the operator who asks, who sees which certificate there is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _language(first: bytes) -> str:
    if first.startswith(b"{"):
        return "in JSON"
    return "in DER" if first[0] >= 0x80 else "in text"
