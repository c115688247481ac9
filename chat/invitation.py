"""An invitation as one line that can be sent to somebody, and pasted: where to go, the code, whom to trust.

    chat join 'chat://chat.example:5311/?code=7q2m-...-x0vd&pin=5f0b...c4'

The code is good for an account.  The pin is the fingerprint of the server's certificate (see
C{chat.tls.fingerprint}), so that nobody in between can take the server's place; it is absent where the
connection is not encrypted, or the certificate is one that everybody trusts.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from chat.codes import INVITATION_GROUPS, plain

#: What stands before an invitation in a line that is to be pasted.
COMMAND = "chat join"
#: The longest line that can be an invitation.
LONGEST = 600

_LINE = re.compile(
    r"chat://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z](?:[0-9A-Za-z._-]{0,252}[0-9A-Za-z])?)"
    r":(?P<port>[1-9][0-9]{0,4})/\?code=(?P<code>[0-9A-Za-z-]{1,80})(?:&pin=(?P<pin>[0-9a-f]{64}))?"
)


class Invitation(NamedTuple):
    """What an invitation says.

    @ivar host: a name, or an address without brackets.
    @ivar code: as L{chat.codes.new_code} writes it.
    @ivar pin: the SHA-256 of the server's certificate, 64 hexadecimal digits in small letters, or C{None}.
    """

    host: str
    port: int
    code: str
    pin: str | None = None

    def __repr__(self) -> str:
        """Leave the code out: a repr may be logged."""
        return f"Invitation(host={self.host!r}, port={self.port!r}, pin={self.pin!r})"


def build(invitation: Invitation) -> str:
    """The line: a URL.

    @raise ValueError: it could not be read again.
    """
    host = f"[{invitation.host}]" if ":" in invitation.host else invitation.host
    pin = "" if invitation.pin is None else f"&pin={invitation.pin}"
    line = f"chat://{host}:{invitation.port}/?code={invitation.code}{pin}"
    try:
        if parse(line) == invitation:
            return line
    except ValueError:
        pass
    raise ValueError(f"no invitation can lead to {invitation.host!a}, port {invitation.port}")


def command(invitation: Invitation) -> str:
    """The line as it is pasted into a shell.

    @raise ValueError: as L{build}.
    """
    return f"{COMMAND} '{build(invitation)}'"


def parse(text: str) -> Invitation:
    """The invitation in what somebody has pasted: the URL, with or without the command and quotes around it.

    @raise ValueError: it is none; the text says what one looks like, and not what this one was.
    """
    found = _LINE.fullmatch(_bare(text)) if len(text) <= LONGEST else None
    if found is None:
        raise _none()
    host, port = found["host"], int(found["port"])
    if host.startswith("["):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise _none() from None
    code = plain(found["code"], INVITATION_GROUPS)
    if code is None or port > 65535:
        raise _none()
    return Invitation(host, port, code, found["pin"])


def looks_like(text: str) -> bool:
    """Whether somebody meant this as an invitation, whole or not."""
    return _bare(text[: len(COMMAND) + 40]).lower().startswith("chat://")


def _bare(text: str) -> str:
    """Without what stands around the URL."""
    text = text.strip()
    if text.startswith(COMMAND):
        text = text[len(COMMAND) :].strip()
    return text.strip("'\"<>")


def _none() -> ValueError:
    return ValueError(
        "That is no invitation: one looks like chat://HOST:PORT/?code=CODE&pin=FINGERPRINT."
        " Paste the whole line."
    )
