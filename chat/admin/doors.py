"""Whether a server answers at a door, what it speaks there, and with which certificate."""

from __future__ import annotations

import select
import socket
import ssl
from argparse import ArgumentTypeError
from contextlib import suppress
from typing import Optional, Union

from chat.admin.grade import Grade, Line, Lines
from chat.tls.fingerprint import fingerprint

#: How long a door may take to say its first word, in seconds.
PATIENCE = 5.0
#: At a door with TLS or HTTP it is for us to begin: how long to wait for a first word, in seconds.
HESITATION = 1.0
#: What a server is asked that speaks HTTP, and how its answer begins.
_QUESTION = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_HTTP = b"HTTP/1."

#: Where a door is: host and port, or the path of a UNIX socket.
Door = Union[tuple[str, int], str]


def door(address: str) -> Door:
    """Where a door is, as an operator writes it.

    @raise ArgumentTypeError: it cannot be understood.
    """
    if address.startswith("unix:") and len(address) > 5:
        return address[5:]
    try:
        return host_and_port(address)
    except ArgumentTypeError:
        raise ArgumentTypeError(f"{address!a} is neither HOST:PORT nor unix:PATH") from None


def host_and_port(address: str) -> tuple[str, int]:
    """What stands on either side of the last colon.

    @raise ArgumentTypeError: it cannot be understood.
    """
    host, colon, port = address.rpartition(":")
    number = int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else 0
    if not (colon and host and 1 <= number <= 65535):
        raise ArgumentTypeError(f"{address!a} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), number


def answers(where: Door, known: Optional[str] = None) -> Lines:
    """Whether a server says something at this door; but for HTTP, it is the server that speaks first.

    @param known: the fingerprint of the certificate that it should show where it speaks TLS.
    """
    name = f"unix:{where}" if isinstance(where, str) else f"{where[0]}:{where[1]}"
    shown = None
    try:
        first = _plainly(where)
        if first is None:
            first, shown = _encrypted(where)
    except (TimeoutError, ssl.SSLError):
        yield Line(
            Grade.WARNING,
            f"door {name} says nothing within {PATIENCE:g} seconds that a chat server would:"
            " is it another program, or a door for a proxy?",
        )
        return
    except (OSError, UnicodeError) as error:  # the latter is of a name that cannot be one
        yield Line(
            Grade.ERROR, f"door {name} cannot be reached ({getattr(error, 'strerror', None) or error})"
        )
        return
    if not first:
        yield Line(Grade.ERROR, f"door {name} hangs up without a word")
        return
    yield Line(Grade.OK, f"door {name} answers, {_language(first)}{'' if shown is None else ' over TLS'}")
    if shown is not None and known is not None and shown != known:
        yield Line(Grade.WARNING, f"door {name} shows another certificate, {shown}: is it this server's?")


def _plainly(where: Door) -> bytes | None:
    """The first that is said at this door without TLS; C{None}: nothing is that a server would say."""
    with _connected(where) as connection:
        if select.select([connection], [], [], min(HESITATION, PATIENCE))[0]:
            return connection.recv(1024)
        with suppress(OSError):  # that is no answer
            connection.sendall(_QUESTION)
            answer = connection.recv(1024)
            # What speaks TLS says in plain words, too, that it has not understood.
            if answer.startswith(_HTTP) and answer[8:12] != b" 400":
                return answer
    return None


def _encrypted(where: Door) -> tuple[bytes, str]:
    """The first that is said at this door over TLS, and the fingerprint of the certificate."""
    with _connected(where) as connection, _trusting().wrap_socket(connection) as encrypted:
        shown = fingerprint(encrypted.getpeercert(True) or b"")
        encrypted.settimeout(min(HESITATION, PATIENCE))
        try:
            return encrypted.recv(1024), shown
        except TimeoutError:
            encrypted.settimeout(PATIENCE)
            encrypted.sendall(_QUESTION)
            return encrypted.recv(1024), shown


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


def _trusting() -> ssl.SSLContext:
    """It is the operator who asks, who sees which certificate there is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _language(first: bytes) -> str:
    if first.startswith(b"{"):
        return "in JSON"
    if first.startswith(_HTTP):
        return "in HTTP"
    return "in DER" if first[0] >= 0x80 else "in text"
